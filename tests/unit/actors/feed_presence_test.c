/* feed_presence_test.c - who shares a room sees presence by /sync, once, and is woken for it a bounded number of times. */
#include "tests/unit/actors/feed_rig.h"

#include "actors/presence/presence.h"

static void show(rig *r, const char *user, const char *presence, const char *room)
{
    gr_str rooms[] = {gr_str_c(room)};
    gr_feed_presence m = {.user = gr_str_c(user), .presence = gr_str_c(presence), .status_msg = GR_STR("hm"),
                          .rooms = {rooms, 1}, .active_ms = gr_stage_now(r->s) - 5};
    to_feed(r);
    gr_stage_tell(r->s, "herald/@x:there", &gr_type_feed_presence, &m);
}

static size_t woken(rig *r) { return gr_stage_sent(r->s, GR_TELL, &gr_type_user_wake); }

static gr_str next_now(rig *r) { return gr_arena_str(r->arena, sync_now(r, (gr_str){0})->next_batch); }

static const char *told(rig *r, gr_str since) { return gr_arena_str(r->arena, sync_now(r, since)->presence).ptr; }

static rig in_room(void)
{
    rig r = rig_new();
    make_user(&r);
    membership(&r, ROOM, "join");
    return r;
}

static void presence_is_told_once_to_who_shares_a_room(void **state)
{
    (void)state;
    rig r = in_room();
    gr_str before = next_now(&r);
    show(&r, "@bob:there", "online", ROOM);
    show(&r, "@eve:there", "online", "!other:here");
    const gr_user_changes *c = sync_now(&r, before);
    assert_text(c->presence, "[{\"content\":{\"currently_active\":false,\"last_active_ago\":5,\"presence\":\"online\","
                             "\"status_msg\":\"hm\"},\"sender\":\"@bob:there\",\"type\":\"m.presence\"}]");
    gr_str after = gr_arena_str(r.arena, c->next_batch);
    assert_string_equal(told(&r, after), "");
    show(&r, "@bob:there", "offline", ROOM);
    assert_non_null(strstr(told(&r, after), "\"offline\""));
    assert_string_equal(told(&r, (gr_str){0}), "");        /* to begin with, who is offline is not worth telling */
    rig_free(&r);
}

static void a_room_joined_since_brings_the_presence_of_who_is_there(void **state)
{
    (void)state;
    rig r = in_room();
    show(&r, "@eve:there", "online", "!other:here");
    gr_str before = next_now(&r);
    assert_string_equal(told(&r, before), "");
    membership(&r, "!other:here", "join");
    assert_non_null(strstr(told(&r, before), "@eve:there"));
    rig_free(&r);
}

static void who_waits_is_woken_at_once_and_then_not_for_a_while(void **state)
{
    bool fired;
    (void)state;
    rig r = in_room();
    assert_null(sync_within(&r, next_now(&r), 30000));
    const gr_stage_effect *e = gr_stage_find(r.s, GR_TELL, &gr_type_feed_waiting, 0);
    const gr_feed_waiting waiting = *(const gr_feed_waiting *)e->body;
    to_feed(&r);
    gr_stage_tell(r.s, "user/" ANN, &gr_type_feed_waiting, &waiting);
    show(&r, "@bob:there", "online", ROOM);
    assert_int_equal(woken(&r), 1);
    uint64_t due_ms = gr_stage_now(r.s) + GR_FEED_PRESENCE_WAKE_MS;
    for (int i = 0; i < 50; i++) {
        show(&r, "@bob:there", i % 2 ? "online" : "offline", ROOM);
        assert_int_equal(woken(&r), 0);
    }
    to_feed(&r);
    gr_stage_fire(r.s, &fired);
    assert_true(fired);
    assert_int_equal(woken(&r), 1);
    assert_int_equal(gr_stage_now(r.s), due_ms);
    rig_free(&r);
}

static void who_is_not_heard_of_again_counts_as_offline(void **state)
{
    (void)state;
    rig r = in_room();
    show(&r, "@bob:there", "online", ROOM);
    gr_stage_clock(r.s, gr_stage_now(r.s) + GR_PRESENCE_FORGET_MS - 1);
    assert_non_null(strstr(told(&r, (gr_str){0}), "@bob:there"));
    gr_stage_clock(r.s, gr_stage_now(r.s) + 1);
    assert_string_equal(told(&r, (gr_str){0}), "");
    rig_free(&r);
}

static void more_users_than_are_kept_push_out_the_oldest(void **state)
{
    (void)state;
    rig r = in_room();
    for (int i = 0; i <= GR_FEED_PRESENCE_MAX; i++)
        show(&r, gr_arena_printf(r.arena, "@u%d:there", i).ptr, "online", i ? "!other:here" : ROOM);
    assert_string_equal(told(&r, (gr_str){0}), "");
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presence_is_told_once_to_who_shares_a_room),
        cmocka_unit_test(a_room_joined_since_brings_the_presence_of_who_is_there),
        cmocka_unit_test(who_waits_is_woken_at_once_and_then_not_for_a_while),
        cmocka_unit_test(who_is_not_heard_of_again_counts_as_offline),
        cmocka_unit_test(more_users_than_are_kept_push_out_the_oldest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
