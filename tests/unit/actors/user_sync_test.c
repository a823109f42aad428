/* user_sync_test.c - what /sync tells a user: sections, positions, waiting, tokens. */
#include "tests/unit/actors/feed_rig.h"

static gr_str next_now(rig *r) { return gr_arena_str(r->arena, sync_now(r, (gr_str){0})->next_batch); }

static rig user(void)
{
    rig r = rig_new();
    make_user(&r);
    return r;
}

static void an_initial_sync_tells_joined_rooms_whole_and_invites_with_their_state(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    membership(&r, "!invited:here", "invite");
    membership(&r, "!left:here", "leave");
    say(&r, "@bob:there", "x");
    const gr_user_changes *c = sync_now(&r, (gr_str){0});
    assert_true(c->initial);
    assert_int_equal(c->rooms.count, 2);
    const gr_sync_room *room = room_in(c, ROOM);
    assert_text(room->section, "join");
    assert_true(room->full && room->events && room->counts && !room->gap);
    assert_int_equal(room->from_pos, 0);
    assert_int_equal(room->to_pos, r.room_pos);
    assert_text(room_in(c, "!invited:here")->section, "invite");
    assert_text(room_in(c, "!invited:here")->stripped, "[{}]");
    rig_free(&r);
}

static void an_incremental_sync_tells_only_what_moved_and_from_where(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    membership(&r, "!quiet:here", "join");
    gr_str next = next_now(&r);
    uint64_t seen = r.room_pos - 1;
    assert_int_equal(sync_now(&r, next)->rooms.count, 0);
    say(&r, "@bob:there", "one");
    say(&r, "@bob:there", "two");
    const gr_user_changes *c = sync_now(&r, next);
    assert_false(c->initial);
    assert_int_equal(c->rooms.count, 1);
    assert_int_equal(room_in(c, ROOM)->from_pos, seen);
    assert_int_equal(room_in(c, ROOM)->to_pos, r.room_pos);
    assert_false(room_in(c, ROOM)->full);
    assert_int_equal(sync_now(&r, c->next_batch)->rooms.count, 0);
    rig_free(&r);
}

static void data_put(rig *r, const char *content)
{
    gr_user_account_data_put m = {.room_id = GR_STR(ROOM), .type = GR_STR("m.tag"), .content = gr_str_c(content)};
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_account_data_put, &m);
}

static void a_room_that_was_left_comes_with_its_account_data(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    data_put(&r, "{\"tags\":{\"old\":{}}}");
    gr_str next = next_now(&r);
    data_put(&r, "{\"tags\":{\"new\":{}}}");
    membership(&r, ROOM, "leave");
    const gr_user_changes *c = sync_now(&r, next);
    assert_text(room_in(c, ROOM)->section, "leave");
    assert_non_null(strstr(gr_arena_printf(r.arena, "%.*s", GR_ARG(room_in(c, ROOM)->account_data)).ptr, "new"));
    next = gr_arena_str(r.arena, c->next_batch);
    data_put(&r, "{\"tags\":{\"newer\":{}}}");
    assert_int_equal(sync_now(&r, next)->rooms.count, 0);
    gr_user_sync m = {.device = GR_STR("DEV"), .include_leave = true};
    to_user(&r);
    gr_stage_ask(r.s, &gr_type_user_sync, &m);
    const gr_sync_room *left = room_in(answer_of(&r), ROOM);
    assert_text(left->section, "leave");
    assert_non_null(strstr(gr_arena_printf(r.arena, "%.*s", GR_ARG(left->account_data)).ptr, "newer"));
    rig_free(&r);
}

static void a_receipt_tells_the_counts_but_no_events(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    say(&r, "@bob:there", "one");
    gr_str next = next_now(&r);
    receipt(&r, 4, r.room_pos);
    const gr_sync_room *room = room_in(sync_now(&r, next), ROOM);
    assert_true(room->receipts && !room->events && room->counts);
    assert_int_equal(room->notifications, 0);
    rig_free(&r);
}

static void full_state_tells_every_joined_room(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    gr_user_sync m = {.device = GR_STR("DEV"), .since = next_now(&r), .full_state = true};
    gr_stage_ask(r.s, &gr_type_user_sync, &m);
    assert_true(room_in(answer_of(&r), ROOM)->full);
    rig_free(&r);
}

static void a_room_joined_since_is_told_whole_once(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = next_now(&r);
    membership(&r, ROOM, "join");
    const gr_user_changes *c = sync_now(&r, next);
    assert_true(room_in(c, ROOM)->full);
    assert_int_equal(sync_now(&r, c->next_batch)->rooms.count, 0);
    rig_free(&r);
}

/* Between the two messages that a room posts for one join. */
static void a_join_that_the_feed_has_not_heard_of_yet_is_told_once(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = next_now(&r);
    r.room_pos = 7;
    gr_user_membership m = {
        .room_id = GR_STR(ROOM), .room_version = GR_STR("12"), .membership = GR_STR("join"), .room_pos = 7};
    gr_stage_post(r.s, "room/" ROOM, &gr_type_user_membership, &m, (gr_str){0});
    const gr_user_changes *c = sync_now(&r, next);
    assert_true(room_in(c, ROOM)->full);
    assert_int_equal(room_in(c, ROOM)->to_pos, 7);
    next = c->next_batch;
    gr_feed_event f = described(&r, ROOM, ANN, "m.room.member");
    f.target = GR_STR(ANN);
    f.membership = GR_STR("join");
    to_feed(&r);
    gr_stage_post(r.s, "room/" ROOM, &gr_type_feed_event, &f, event_of(&r, ANN, "m.room.member", "{}"));
    say(&r, "@bob:there", "hello");
    const gr_sync_room *room = room_in(sync_now(&r, next), ROOM);
    assert_int_equal(room->from_pos, 7);
    assert_int_equal(room->to_pos, 8);
    rig_free(&r);
}

static void leaving_is_told_once_up_to_the_own_leave(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    uint64_t seen = r.room_pos;
    gr_str next = next_now(&r);
    membership(&r, ROOM, "leave");
    uint64_t left = r.room_pos;
    say(&r, "@bob:there", "afterwards");
    const gr_user_changes *c = sync_now(&r, next);
    const gr_sync_room *room = room_in(c, ROOM);
    assert_text(room->section, "leave");
    assert_int_equal(room->from_pos, seen);
    assert_int_equal(room->to_pos, left);
    assert_int_equal(sync_now(&r, c->next_batch)->rooms.count, 0);
    gr_stage_ask(r.s, &gr_type_user_forget, &(gr_user_forget){.room_id = GR_STR(ROOM)});
    const gr_stage_effect *told = gr_stage_find(r.s, GR_POST, &gr_type_room_forget, 0);
    assert_true(told && told->is_forwarded);       /* the room answers when it has ended what the user may read */
    assert_null(room_in(sync_now(&r, next), ROOM));
    rig_free(&r);
}

static void a_token_from_before_the_trimmed_rows_gets_a_gap(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    gr_str next = next_now(&r);
    for (int i = 0; i < GR_FEED_ROWS_KEPT + 2 * GR_FEED_TRIM_STEP; i++) say(&r, "@bob:there", "x");
    const gr_sync_room *room = room_in(sync_now(&r, next), ROOM);
    assert_true(room->gap && room->full);
    rig_free(&r);
}

/* --- waiting -------------------------------------------------------------------------------------------------- */
static void a_poll_waits_until_its_room_moves(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    gr_str next = next_now(&r);
    uint64_t until_ms = gr_stage_now(r.s) + 30000;
    assert_null(sync_within(&r, next, 30000));
    const gr_stage_effect *told = gr_stage_find(r.s, GR_TELL, &gr_type_feed_waiting, 0);
    assert_non_null(told);
    const gr_feed_waiting waiting = *(const gr_feed_waiting *)told->body;
    assert_true(waiting.waiting);
    assert_int_equal(gr_stage_timer(r.s, "wait")->due_ms, until_ms);
    uint64_t seq = gr_stage_seq(r.s);
    to_feed(&r);
    gr_stage_tell(r.s, "user/" ANN, &gr_type_feed_waiting, &waiting);
    say(&r, "@bob:there", "x");
    assert_int_equal(gr_stage_sent(r.s, GR_TELL, &gr_type_user_wake), 1);
    to_user(&r);
    gr_stage_tell(r.s, r.feed, &gr_type_user_wake, &(gr_user_wake){0});
    assert_non_null(room_in(answer_of(&r), ROOM));
    assert_int_equal(gr_stage_find(r.s, GR_REPLY, NULL, 0)->seq, seq);
    const gr_stage_effect *untold = gr_stage_find(r.s, GR_TELL, &gr_type_feed_waiting, 0);
    assert_non_null(untold);
    assert_false(((const gr_feed_waiting *)untold->body)->waiting);
    assert_false(gr_stage_timer_set(r.s, "wait", &until_ms));
    rig_free(&r);
}

static void being_woken_for_nothing_answers_nobody(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = next_now(&r);
    assert_null(sync_within(&r, next, 30000));
    gr_stage_tell(r.s, r.feed, &gr_type_user_wake, &(gr_user_wake){0});
    assert_int_equal(gr_stage_sent(r.s, GR_REPLY, NULL), 0);
    rig_free(&r);
}

static void a_poll_ends_empty_when_its_time_is_over(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = next_now(&r);
    assert_null(sync_within(&r, next, 1000));
    assert_null(sync_within(&r, next, 2000));
    bool fired;
    gr_stage_fire(r.s, &fired);
    assert_int_equal(gr_stage_sent(r.s, GR_REPLY, &gr_type_user_changes), 1);
    assert_int_equal(answer_of(&r)->rooms.count, 0);
    assert_true(answer_of(&r)->next_batch.size > 0);
    gr_stage_fire(r.s, &fired);
    assert_int_equal(gr_stage_sent(r.s, GR_REPLY, &gr_type_user_changes), 1);
    rig_free(&r);
}

static void an_invite_answers_who_waits(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = next_now(&r);
    assert_null(sync_within(&r, next, 1000));
    gr_user_membership m = {.room_id = GR_STR(ROOM),
                            .room_version = GR_STR("12"),
                            .membership = GR_STR("invite"),
                            .room_pos = 3,
                            .stripped = GR_STR("[]")};
    gr_stage_post(r.s, "room/" ROOM, &gr_type_user_membership, &m, (gr_str){0});
    assert_text(room_in(answer_of(&r), ROOM)->section, "invite");
    rig_free(&r);
}

static void the_oldest_poll_is_answered_when_there_are_too_many(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = next_now(&r);
    for (int i = 0; i < GR_USER_WAITERS_MAX; i++) assert_null(sync_within(&r, next, 1000));
    assert_non_null(sync_within(&r, next, 1000));
    assert_text(answer_of(&r)->next_batch, next.ptr);
    rig_free(&r);
}

/* --- tokens ---------------------------------------------------------------------------------------------------- */
static void tokens_of_another_life_or_from_the_future_get_everything(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    gr_sync_token token;
    gr_str next = next_now(&r);
    assert_true(gr_sync_token_read(next, &token));
    gr_sync_token other = {token.incarnation + 1, token.position, 0},
                  future = {token.incarnation, token.position + 1000, 0};
    assert_true(sync_now(&r, gr_sync_token_text(r.arena, &other))->initial);
    assert_true(room_in(sync_now(&r, gr_sync_token_text(r.arena, &future)), ROOM)->full);
    gr_user_sync m = {.since = GR_STR("t12_3")};
    gr_stage_ask(r.s, &gr_type_user_sync, &m);
    assert_int_equal(gr_stage_error(r.s).code, GR_INVALID_PARAM);
    rig_free(&r);
}

static void a_token_stands_at_a_position_of_each_room(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    uint64_t seen = r.room_pos;
    gr_str next = next_now(&r);
    say(&r, "@bob:there", "x");
    to_user(&r);
    gr_stage_ask(r.s, &gr_type_user_room_at, &(gr_user_room_at){GR_STR(ROOM), next, 0});
    const gr_user_room_pos *pos = gr_stage_replied(r.s, &gr_type_user_room_pos);
    assert_int_equal(pos->room_pos, seen);
    rig_free(&r);
}

static void after_being_dropped_the_user_knows_the_same(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    membership(&r, "!b:here", "invite");
    gr_str next = next_now(&r);
    to_user(&r);
    gr_stage_reload(r.s);
    assert_int_equal(sync_now(&r, next)->rooms.count, 0);
    assert_int_equal(sync_now(&r, (gr_str){0})->rooms.count, 2);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_initial_sync_tells_joined_rooms_whole_and_invites_with_their_state),
        cmocka_unit_test(an_incremental_sync_tells_only_what_moved_and_from_where),
        cmocka_unit_test(a_room_that_was_left_comes_with_its_account_data),
        cmocka_unit_test(a_receipt_tells_the_counts_but_no_events),
        cmocka_unit_test(full_state_tells_every_joined_room),
        cmocka_unit_test(a_room_joined_since_is_told_whole_once),
        cmocka_unit_test(a_join_that_the_feed_has_not_heard_of_yet_is_told_once),
        cmocka_unit_test(leaving_is_told_once_up_to_the_own_leave),
        cmocka_unit_test(a_token_from_before_the_trimmed_rows_gets_a_gap),
        cmocka_unit_test(a_poll_waits_until_its_room_moves),
        cmocka_unit_test(being_woken_for_nothing_answers_nobody),
        cmocka_unit_test(a_poll_ends_empty_when_its_time_is_over),
        cmocka_unit_test(an_invite_answers_who_waits),
        cmocka_unit_test(the_oldest_poll_is_answered_when_there_are_too_many),
        cmocka_unit_test(tokens_of_another_life_or_from_the_future_get_everything),
        cmocka_unit_test(a_token_stands_at_a_position_of_each_room),
        cmocka_unit_test(after_being_dropped_the_user_knows_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
