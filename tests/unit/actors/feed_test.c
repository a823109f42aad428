/* feed_test.c - the feed of a shard: order, rows, unread counts, typing, waking, notifications. */
#include "actors/feed/feed_private.h"
#include "tests/unit/actors/feed_rig.h"

static gr_feed_head head_now(rig *r)
{
    gr_str bytes;
    gr_feed_head head = {0};
    to_feed(r);
    assert_true(gr_stage_get(r->s, GR_STR("h" ROOM), &bytes));
    assert_true(gr_feed_head_read(bytes, &head));
    return head;
}

static rig joined(void)
{
    rig r = rig_new();
    make_user(&r);
    membership(&r, ROOM, "join");
    return r;
}

static void each_event_moves_the_head_by_one_row(void **state)
{
    (void)state;
    rig r = joined();
    gr_feed_head before = head_now(&r);
    say(&r, "@bob:there", "one");
    say(&r, "@bob:there", "two");
    gr_feed_head after = head_now(&r);
    assert_int_equal(after.rows, before.rows + 2);
    assert_int_equal(after.room_pos, r.room_pos);
    assert_true(after.position > before.position);
    to_feed(&r);
    gr_stage_reload(r.s);
    assert_int_equal(head_now(&r).position, after.position);
    rig_free(&r);
}

static void old_rows_are_trimmed_and_the_head_says_below_which(void **state)
{
    (void)state;
    rig r = joined();
    for (int i = 0; i < GR_FEED_ROWS_KEPT + GR_FEED_TRIM_STEP; i++) say(&r, "@bob:there", "x");
    gr_feed_head head = head_now(&r);
    assert_true(head.rows <= GR_FEED_ROWS_KEPT + GR_FEED_TRIM_STEP && head.rows >= GR_FEED_ROWS_KEPT);
    assert_true(head.oldest > 0);
    assert_false(gr_stage_over_bounds(r.s));
    rig_free(&r);
}

static void a_burst_is_trimmed_slowly_and_keeps_a_bound(void **state)
{
    (void)state;
    rig r = joined();
    while (head_now(&r).rows < GR_FEED_ROWS_KEPT + 4 * GR_FEED_TRIM_STEP) say(&r, "@bob:there", "x");
    uint64_t oldest = head_now(&r).oldest;
    gr_stage_clock(r.s, gr_stage_now(r.s) + GR_FEED_TRIM_MS);
    say(&r, "@bob:there", "x");
    assert_true(head_now(&r).oldest > oldest);
    for (int i = 0; i < GR_FEED_ROWS_MAX; i++) say(&r, "@bob:there", "x");
    assert_true(head_now(&r).rows < GR_FEED_ROWS_MAX);
    assert_false(gr_stage_over_bounds(r.s));
    rig_free(&r);
}

static void others_messages_are_unread_until_read_and_own_ones_never(void **state)
{
    (void)state;
    rig r = joined();
    assert_unread(&r, 0, 0);
    say(&r, "@bob:there", "one");
    say(&r, "@bob:there", "two");
    assert_unread(&r, 2, 0);
    uint64_t second = r.room_pos;
    say(&r, "@bob:there", "three");
    receipt(&r, 1, second);
    assert_unread(&r, 1, 0);
    receipt(&r, 2, second - 1);            /* a receipt never moves backwards */
    assert_unread(&r, 1, 0);
    say(&r, ANN, "I am here");
    assert_unread(&r, 0, 0);
    event_in(&r, ROOM, "@bob:there", "m.reaction", "{}");
    assert_unread(&r, 0, 0);
    rig_free(&r);
}

static void own_messages_read_each_mention_before_them(void **state)
{
    (void)state;
    rig r = joined();
    for (int i = 0; i < 3; i++) {
        say(&r, ANN, "mine");
        assert_unread(&r, 0, 0);
        event_in(&r, ROOM, "@bob:there", "m.room.message", MENTION);
        assert_unread(&r, 1, 1);
    }
    say(&r, ANN, "mine again");
    assert_unread(&r, 0, 0);
    rig_free(&r);
}

static void a_mention_is_a_highlight_until_it_is_read(void **state)
{
    (void)state;
    rig r = joined();
    event_in(&r, ROOM, "@bob:there", "m.room.message", MENTION);
    assert_unread(&r, 1, 1);
    say(&r, "@bob:there", "ann, ann, ann");        /* the name in the text is no mention */
    assert_unread(&r, 2, 1);
    receipt(&r, 1, r.room_pos - 1);
    assert_unread(&r, 1, 0);
    rig_free(&r);
}

/* "main 2, $t1 1!": counts of the main timeline and of each thread; with a mark where something is a highlight. */
static gr_str unread_by_thread(rig *r)
{
    const gr_sync_room *room = room_in(sync_now(r, (gr_str){0}), ROOM);
    assert_non_null(room);
    gr_str out = gr_arena_printf(r->arena, "main %d%s", (int)room->notifications, room->highlights ? "!" : "");
    for (size_t i = 0; i < room->threads.count; i++) {
        const gr_thread_unread *t = &room->threads.at[i];
        out = gr_arena_printf(r->arena, "%.*s, %.*s %d%s", GR_ARG(out), GR_ARG(t->thread), (int)t->notifications,
                              t->highlights ? "!" : "");
    }
    return out;
}

static void reply(rig *r, const char *thread, const char *sender)
{
    event_in_thread(r, ROOM, thread, sender, "m.room.message", "{\"body\":\"x\"}");
}

static void each_thread_is_counted_and_read_by_itself(void **state)
{
    (void)state;
    rig r = joined();                              /* $1 */
    say(&r, "@bob:there", "root");                 /* $2 */
    say(&r, "@bob:there", "another root");         /* $3 */
    reply(&r, "$2", "@bob:there");                 /* $4 */
    reply(&r, "$3", "@bob:there");                 /* $5 */
    reply(&r, "$2", "@bob:there");                 /* $6 */
    assert_text(unread_by_thread(&r), "main 2, $2 2, $3 1");
    receipt_in_thread(&r, "main", 1, 3);
    assert_text(unread_by_thread(&r), "main 0, $2 2, $3 1");
    receipt_in_thread(&r, "$2", 2, 4);
    assert_text(unread_by_thread(&r), "main 0, $2 1, $3 1");
    receipt_in_thread(&r, "$2", 3, 2);             /* none moves backwards */
    say(&r, "@bob:there", "more");                 /* $7 */
    assert_text(unread_by_thread(&r), "main 1, $2 1, $3 1");
    to_feed(&r);
    gr_stage_reload(r.s);
    receipt(&r, 4, 5);                             /* of everything: what was read further stays read */
    assert_text(unread_by_thread(&r), "main 1, $2 1");
    reply(&r, "$2", ANN);
    assert_text(unread_by_thread(&r), "main 1");
    receipt(&r, 5, r.room_pos);
    assert_text(unread_by_thread(&r), "main 0");
    rig_free(&r);
}

static void a_mention_in_a_thread_is_a_highlight_of_that_thread(void **state)
{
    (void)state;
    rig r = joined();
    event_in_thread(&r, ROOM, "$9", "@bob:there", "m.room.message", MENTION);
    event_in_thread(&r, ROOM, NULL, "@bob:there", "m.room.message", MENTION);
    assert_text(unread_by_thread(&r), "main 1!, $9 1!");
    receipt_in_thread(&r, "main", 1, r.room_pos);
    assert_text(unread_by_thread(&r), "main 0, $9 1!");
    receipt_in_thread(&r, "$9", 2, r.room_pos);
    assert_text(unread_by_thread(&r), "main 0");
    rig_free(&r);
}

static void threads_are_counted_when_their_oldest_rows_are_gone(void **state)
{
    (void)state;
    rig r = joined();
    for (int i = 0; i < 10; i++) reply(&r, "$2", "@bob:there");
    for (int i = 0; i < GR_FEED_ROWS_KEPT + GR_FEED_TRIM_STEP - 8; i++) say(&r, "@bob:there", "x");
    for (int i = 0; i < 2; i++) reply(&r, "$2", "@bob:there");
    reply(&r, "$3", "@bob:there");
    assert_true(head_now(&r).oldest > 0);
    gr_str text = unread_by_thread(&r);
    assert_true(gr_str_ends(text, GR_STR("$3 1, $2 2")));
    assert_false(gr_stage_over_bounds(r.s));
    rig_free(&r);
}

static void rules_of_a_users_own_change_what_counts_for_them(void **state)
{
    (void)state;
    rig r = joined();
    gr_feed_rules mute = {.user = GR_STR(ANN),
                          .rules = GR_STR("{\"room\":[{\"rule_id\":\"" ROOM "\",\"enabled\":true,\"actions\":[]}]}")};
    to_feed(&r);
    gr_stage_post(r.s, "user/" ANN, &gr_type_feed_rules, &mute, (gr_str){0});
    say(&r, "@bob:there", "quiet");
    assert_unread(&r, 0, 0);
    to_feed(&r);
    gr_stage_reload(r.s);
    say(&r, "@bob:there", "still quiet");
    assert_unread(&r, 0, 0);
    to_feed(&r);
    gr_stage_post(r.s, "user/" ANN, &gr_type_feed_rules, &(gr_feed_rules){.user = GR_STR(ANN)}, (gr_str){0});
    say(&r, "@bob:there", "loud");
    assert_unread(&r, 1, 0);
    rig_free(&r);
}

static void what_came_before_joining_is_not_unread(void **state)
{
    (void)state;
    rig r = rig_new();
    make_user(&r);
    say(&r, "@bob:there", "before");
    membership(&r, ROOM, "join");
    assert_unread(&r, 0, 0);
    rig_free(&r);
}

static void typing_is_told_and_ends_by_itself_and_writes_nothing(void **state)
{
    (void)state;
    rig r = joined();
    gr_str next = sync_now(&r, (gr_str){0})->next_batch, bob = GR_STR("@bob:there");
    gr_feed_typing m = {.room_id = GR_STR(ROOM), .users = {&bob, 1}, .lasts_ms = 5000};
    to_feed(&r);
    gr_stage_tell(r.s, "room/" ROOM, &gr_type_feed_typing, &m);
    assert_int_equal(gr_stage_writes(r.s), 0);
    const gr_user_changes *c = sync_now(&r, next);
    assert_true(room_in(c, ROOM)->typing_moved);
    assert_int_equal(room_in(c, ROOM)->typing.count, 1);
    next = c->next_batch;
    bool fired;
    gr_stage_fire(r.s, &fired);
    assert_true(fired);
    c = sync_now(&r, next);
    assert_true(room_in(c, ROOM)->typing_moved);
    assert_int_equal(room_in(c, ROOM)->typing.count, 0);
    assert_int_equal(sync_now(&r, c->next_batch)->rooms.count, 0);
    rig_free(&r);
}

static void who_waits_is_woken_and_nobody_else(void **state)
{
    (void)state;
    rig r = joined();
    say(&r, "@bob:there", "x");
    assert_int_equal(gr_stage_sent(r.s, GR_TELL, &gr_type_user_wake), 0);
    uint64_t seen = head_now(&r).position;
    gr_stage_tell(r.s, "user/" ANN, &gr_type_feed_waiting, &(gr_feed_waiting){GR_STR(ANN), true, seen, 0});
    assert_int_equal(gr_stage_sent(r.s, GR_TELL, &gr_type_user_wake), 0);
    say(&r, "@bob:there", "x");
    assert_int_equal(gr_stage_sent(r.s, GR_TELL, &gr_type_user_wake), 1);
    event_in(&r, "!other:here", "@bob:there", "m.room.message", "{}");
    assert_int_equal(gr_stage_sent(r.s, GR_TELL, &gr_type_user_wake), 0);
    gr_stage_tell(r.s, "user/" ANN, &gr_type_feed_waiting, &(gr_feed_waiting){GR_STR(ANN), false, 0, 0});
    say(&r, "@bob:there", "x");
    assert_int_equal(gr_stage_sent(r.s, GR_TELL, &gr_type_user_wake), 0);
    rig_free(&r);
}

/* The news may have come while the message that says "waiting" was under way. */
static void who_says_that_they_wait_too_late_is_woken_at_once(void **state)
{
    (void)state;
    rig r = joined();
    uint64_t seen = head_now(&r).position;
    say(&r, "@bob:there", "x");
    gr_stage_tell(r.s, "user/" ANN, &gr_type_feed_waiting, &(gr_feed_waiting){GR_STR(ANN), true, seen, 0});
    assert_int_equal(gr_stage_sent(r.s, GR_TELL, &gr_type_user_wake), 1);
    rig_free(&r);
}

/* --- notifications ------------------------------------------------------------------------------------------- */
static gr_str notified(rig *r, gr_str from, uint64_t limit, bool highlights, gr_str *next)
{
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_notifications, &(gr_user_notifications){from, limit, highlights, 0});
    const gr_user_notified *m = gr_stage_replied(r->s, &gr_type_user_notified);
    assert_non_null(m);
    gr_str out = {0};
    for (size_t i = 0; i < m->notifications.count; i++)
        out = gr_arena_printf(r->arena, "%.*s%.*s%s", GR_ARG(out), GR_ARG(m->notifications.at[i].event_id),
                              m->notifications.at[i].read ? "r" : "");
    *next = m->next_token;
    return out;
}

static void notifications_of_all_rooms_come_newest_first_page_by_page(void **state)
{
    (void)state;
    rig r = joined();                              /* $1 */
    membership(&r, "!second:here", "join");        /* $2 */
    gr_str next;
    say(&r, "@bob:there", "x");                    /* $3 */
    event_in(&r, "!second:here", "@bob:there", "m.room.message", MENTION);     /* $4 */
    say(&r, ANN, "x");                             /* $5: reads $3 */
    say(&r, "@bob:there", "x");                    /* $6 */
    event_in(&r, "!second:here", "@bob:there", "m.reaction", "{}");            /* $7 */
    assert_text(notified(&r, (gr_str){0}, 10, false, &next), "$6$4$3r");
    assert_int_equal(next.size, 0);
    assert_text(notified(&r, (gr_str){0}, 2, false, &next), "$6$4");
    assert_true(next.size > 0);
    assert_text(notified(&r, next, 2, false, &next), "$3r");
    assert_text(notified(&r, (gr_str){0}, 10, true, &next), "$4");
    rig_free(&r);
}

static void paging_through_many_notifications_gives_each_once(void **state)
{
    (void)state;
    rig r = joined();
    for (int i = 0; i < 700; i++) {
        if (i % 10 == 9) event_in(&r, ROOM, "@bob:there", "m.room.message", MENTION);
        else if (i % 3) event_in(&r, ROOM, "@bob:there", "m.reaction", "{}");
        else say(&r, "@bob:there", "x");
    }
    gr_str next = {0};
    size_t count = 0;
    for (int page = 0; page < 1000; page++) {
        to_user(&r);
        gr_stage_ask(r.s, &gr_type_user_notifications, &(gr_user_notifications){next, 7, false, 0});
        const gr_user_notified *m = gr_stage_replied(r.s, &gr_type_user_notified);
        assert_true(m->notifications.count <= 7);
        count += m->notifications.count;
        next = m->next_token;
        if (next.size == 0) break;
    }
    size_t wanted = 0;
    for (int i = 0; i < 700; i++) wanted += i % 10 == 9 || i % 3 == 0;
    assert_int_equal(count, wanted);
    rig_free(&r);
}

static void the_oldest_personal_notes_are_dropped(void **state)
{
    (void)state;
    rig r = joined();
    for (int i = 0; i < GR_FEED_NOTES_KEPT + 100; i++) event_in(&r, ROOM, "@bob:there", "m.room.message", MENTION);
    gr_str count;
    to_feed(&r);
    assert_true(gr_stage_get(r.s, GR_STR("N" ANN), &count));
    assert_true(gr_u64be(count.ptr) >= GR_FEED_NOTES_KEPT && gr_u64be(count.ptr) < GR_FEED_NOTES_KEPT + 64);
    rig_free(&r);
}

/* A restart after each step; the room is joined again in the middle. */
static void the_feed_of_a_room_that_is_gone_leaves_nothing(void **state)
{
    (void)state;
    rig r = rig_new();
    to_feed(&r);
    size_t before = gr_stage_keys(r.s);
    for (int i = 0; i < 700; i++) event_in(&r, "!gone:here", "@bob:there", "m.room.message", "{}");
    say(&r, "@bob:there", "still here");
    gr_stage_post(r.s, "room/!gone:here", &gr_type_feed_purge, &(gr_feed_purge){.room_id = GR_STR("!gone:here")}, (gr_str){0});
    event_in(&r, "!gone:here", "@bob:there", "m.room.message", "{}");
    gr_str row;
    to_feed(&r);
    int steps = 0;
    for (; gr_stage_get(r.s, GR_STR("P!gone:here"), &row); steps++) {
        gr_timer timer = {.name = GR_STR("purge")};
        gr_stage_reload(r.s);
        gr_stage_tell(r.s, r.feed, &gr_type_timer, &timer);
        assert_false(gr_stage_over_bounds(r.s));
    }
    assert_int_equal(steps, 4);
    assert_int_equal(gr_stage_keys(r.s), before + 4);      /* a head and a row each of the other, and of this one since then */
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_feed_of_a_room_that_is_gone_leaves_nothing),
        cmocka_unit_test(each_event_moves_the_head_by_one_row),
        cmocka_unit_test(old_rows_are_trimmed_and_the_head_says_below_which),
        cmocka_unit_test(a_burst_is_trimmed_slowly_and_keeps_a_bound),
        cmocka_unit_test(others_messages_are_unread_until_read_and_own_ones_never),
        cmocka_unit_test(own_messages_read_each_mention_before_them),
        cmocka_unit_test(a_mention_is_a_highlight_until_it_is_read),
        cmocka_unit_test(each_thread_is_counted_and_read_by_itself),
        cmocka_unit_test(a_mention_in_a_thread_is_a_highlight_of_that_thread),
        cmocka_unit_test(threads_are_counted_when_their_oldest_rows_are_gone),
        cmocka_unit_test(rules_of_a_users_own_change_what_counts_for_them),
        cmocka_unit_test(what_came_before_joining_is_not_unread),
        cmocka_unit_test(typing_is_told_and_ends_by_itself_and_writes_nothing),
        cmocka_unit_test(who_waits_is_woken_and_nobody_else),
        cmocka_unit_test(who_says_that_they_wait_too_late_is_woken_at_once),
        cmocka_unit_test(notifications_of_all_rooms_come_newest_first_page_by_page),
        cmocka_unit_test(paging_through_many_notifications_gives_each_once),
        cmocka_unit_test(the_oldest_personal_notes_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
