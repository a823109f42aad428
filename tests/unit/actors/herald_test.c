/* herald_test.c - what is new of a user goes to every server that shares a room, each once, also after a restart; presence
 * only where rooms are small. */
#include "actors/herald/herald.h"
#include "bus/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const gr_actor_kind *const kinds[] = {&gr_herald_kind, NULL};
static const gr_env env = {.server_name = {"here", 4}, .presence = {true, 100}};
static gr_stage *s;
static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    s = gr_stage_new(kinds, "herald/@a:here", &env);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    gr_arena_free(&arena);
    return 0;
}

static void post(const char *edu)
{
    gr_stage_post(s, "user/@a:here", &gr_type_herald_edu, &(gr_herald_edu){.edu = gr_str_c(edu)}, (gr_str){0});
}

/* Fires timers until it asks something. */
static const gr_stage_effect *asking(const gr_type *type)
{
    bool fired = true;
    for (int i = 0; i < 4 && fired; i++) {
        const gr_stage_effect *ask = gr_stage_find(s, GR_ASK, type, 0);
        if (ask) return ask;
        gr_stage_fire(s, &fired);
    }
    return NULL;
}

static void answer_rooms(const gr_stage_effect *ask, const char *rooms)
{
    assert_non_null(ask);
    gr_str body = gr_arena_printf(arena, "{\"joined_rooms\":[%s]}", rooms);
    gr_stage_answer(s, ask, &gr_type_result, &(gr_result){.body = body}, gr_ok());
}

static void answer_room(const gr_stage_effect *ask, size_t count, const char *const *servers, uint64_t joined, const char *next)
{
    gr_str list[300];
    uint64_t shards[] = {7, 9};
    for (size_t i = 0; i < count; i++) list[i] = gr_str_c(servers[i]);
    gr_room_audience_is is = {.servers = {list, count}, .shards = {shards, 2}, .joined = joined, .next = gr_str_c(next)};
    gr_stage_answer(s, ask, &gr_type_room_audience_is, &is, gr_ok());
}

/* "server:edu" of what was queued by the last message, separated by blanks. */
static const char *queued(gr_verb verb)
{
    gr_buf out = {0};
    const gr_stage_effect *e;
    const gr_type *type = verb == GR_TELL ? &gr_type_destination_volatile : &gr_type_destination_queue;
    for (size_t i = 0; (e = gr_stage_find(s, verb, type, i)); i++) {
        gr_str edu = verb == GR_TELL ? ((const gr_destination_volatile *)e->body)->edu
                                     : ((const gr_destination_queue *)e->body)->edu;
        gr_buf_printf(&out, "%s%.*s:%.*s", i ? " " : "", GR_ARG(gr_address_id(e->to)), GR_ARG(edu));
    }
    gr_str text = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text.ptr;
}

static void an_edu_goes_once_to_every_server_that_shares_a_room(void **state)
{
    (void)state;
    post("{1}");
    const gr_stage_effect *ask = asking(&gr_type_user_joined_rooms);
    assert_string_equal(gr_arena_str(arena, ask->to).ptr, "user/@a:here");
    answer_rooms(ask, "\"!a\",\"!b\"");
    const gr_stage_effect first = *gr_stage_find(s, GR_ASK, &gr_type_room_audience, 0);
    const gr_stage_effect second = *gr_stage_find(s, GR_ASK, &gr_type_room_audience, 1);
    answer_room(&second, 2, (const char *[]){"one", "two"}, 3, "");
    answer_room(&first, 1, (const char *[]){"three"}, 3, "three");
    const gr_stage_effect more = *gr_stage_find(s, GR_ASK, &gr_type_room_audience, 0);
    assert_true(gr_str_is(((const gr_room_audience *)more.body)->after, "three"));
    answer_room(&more, 1, (const char *[]){"two"}, 3, "");
    assert_string_equal(queued(GR_POST), "one:{1} three:{1} two:{1}");
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_reload(s);
}

static void many_servers_are_told_in_steps_that_a_restart_goes_on_with(void **state)
{
    char names[120][8];
    const char *servers[120];
    size_t told = 0;
    (void)state;
    for (int i = 0; i < 120; i++) {
        snprintf(names[i], sizeof names[i], "s%03d", i);
        servers[i] = names[i];
    }
    post("{1}");
    post("{2}");
    for (int round = 0; round < 2; round++) {          /* the second after a restart, in the middle */
        answer_rooms(asking(&gr_type_user_joined_rooms), "\"!a\"");
        answer_room(gr_stage_find(s, GR_ASK, &gr_type_room_audience, 0), 120, servers, 200, "");
        size_t posts = gr_stage_sent(s, GR_POST, &gr_type_destination_queue);
        assert_true(posts > 0 && posts <= GR_HERALD_STEP);
        told += posts;
        if (round == 0) gr_stage_reload(s);
    }
    for (bool fired = true; fired && told < 240;) {
        gr_stage_fire(s, &fired);
        told += gr_stage_sent(s, GR_POST, &gr_type_destination_queue);
    }
    assert_int_equal(told, 240);
    assert_int_equal(gr_stage_keys(s), 0);
}

static void nobody_is_told_while_a_room_does_not_answer(void **state)
{
    (void)state;
    post("{1}");
    answer_rooms(asking(&gr_type_user_joined_rooms), "\"!a\",\"!gone\"");
    const gr_stage_effect first = *gr_stage_find(s, GR_ASK, &gr_type_room_audience, 0);
    const gr_stage_effect second = *gr_stage_find(s, GR_ASK, &gr_type_room_audience, 1);
    gr_stage_answer(s, &first, NULL, NULL, gr_fail(GR_UNAVAILABLE, "away"));
    gr_stage_answer(s, &second, NULL, NULL, gr_fail(GR_NOT_FOUND, "no room"));
    assert_string_equal(queued(GR_POST), "");
    answer_rooms(asking(&gr_type_user_joined_rooms), "\"!a\",\"!gone\"");
    const gr_stage_effect again = *gr_stage_find(s, GR_ASK, &gr_type_room_audience, 0);
    const gr_stage_effect gone = *gr_stage_find(s, GR_ASK, &gr_type_room_audience, 1);
    answer_room(&again, 1, (const char *[]){"one"}, 2, "");
    gr_stage_answer(s, &gone, NULL, NULL, gr_fail(GR_NOT_FOUND, "no room"));
    assert_string_equal(queued(GR_POST), "one:{1}");
}

/* --- presence ----------------------------------------------------------------------------------------------- */
static void be(const char *presence)
{
    gr_herald_presence m = {.presence = gr_str_c(presence), .active_ms = gr_stage_now(s), .is_active = true};
    gr_stage_tell(s, "presence/@a:here", &gr_type_herald_presence, &m);
}

static void gather(uint64_t joined)
{
    answer_rooms(gr_stage_find(s, GR_ASK, &gr_type_user_joined_rooms, 0), "\"!a\"");
    answer_room(gr_stage_find(s, GR_ASK, &gr_type_room_audience, 0), 1, (const char *[]){"one"}, joined, "");
}

static void presence_goes_to_feeds_and_servers_and_may_be_lost(void **state)
{
    (void)state;
    be("online");
    gather(3);
    assert_int_equal(gr_stage_sent(s, GR_TELL, &gr_type_feed_presence), 2);
    const gr_feed_presence *m = gr_stage_find(s, GR_TELL, &gr_type_feed_presence, 0)->body;
    assert_true(gr_str_is(m->user, "@a:here") && gr_str_is(m->presence, "online") && m->rooms.count == 1);
    assert_string_equal(queued(GR_TELL),
                        "one:{\"content\":{\"push\":[{\"currently_active\":true,\"last_active_ago\":0,\"presence\":\"online\","
                        "\"user_id\":\"@a:here\"}]},\"edu_type\":\"m.presence\"}");
    assert_int_equal(gr_stage_keys(s), 0);
    be("unavailable");                                 /* who shares a room is known still */
    assert_int_equal(gr_stage_sent(s, GR_TELL, &gr_type_feed_presence), 2);
    gr_stage_clock(s, gr_stage_now(s) + GR_HERALD_KNOWN_MS);
    be("online");
    assert_int_equal(gr_stage_sent(s, GR_TELL, &gr_type_feed_presence), 0);
    gather(3);
    assert_int_equal(gr_stage_sent(s, GR_TELL, &gr_type_feed_presence), 2);
}

static void presence_does_not_travel_through_large_rooms(void **state)
{
    (void)state;
    be("online");
    gather(101);
    assert_int_equal(gr_stage_sent(s, GR_TELL, NULL), 0);
    post("{1}");                                       /* news of devices do */
    answer_rooms(asking(&gr_type_user_joined_rooms), "\"!a\"");
    answer_room(gr_stage_find(s, GR_ASK, &gr_type_room_audience, 0), 1, (const char *[]){"one"}, 101, "");
    assert_string_equal(queued(GR_POST), "one:{1}");
}

static void who_joins_a_room_is_seen_there(void **state)
{
    bool fired;
    (void)state;
    be("online");
    gather(3);
    gr_stage_tell(s, "user/@a:here", &gr_type_herald_moved, &(gr_herald_moved){0});
    gr_stage_fire(s, &fired);
    gather(3);
    assert_int_equal(gr_stage_sent(s, GR_TELL, &gr_type_feed_presence), 2);
}

static void of_users_of_other_servers_only_users_here_are_told(void **state)
{
    (void)state;
    gr_stage_on(s, "herald/@r:there");
    post("{1}");
    be("online");
    const gr_stage_effect *ask = gr_stage_find(s, GR_ASK, &gr_type_user_joined_rooms, 0);
    assert_string_equal(gr_arena_str(arena, ask->to).ptr, "remote_user/@r:there");
    gather(3);
    assert_int_equal(gr_stage_sent(s, GR_TELL, &gr_type_feed_presence), 2);
    assert_string_equal(queued(GR_TELL), "");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_edu_goes_once_to_every_server_that_shares_a_room), T(many_servers_are_told_in_steps_that_a_restart_goes_on_with),
        T(nobody_is_told_while_a_room_does_not_answer), T(presence_goes_to_feeds_and_servers_and_may_be_lost),
        T(presence_does_not_travel_through_large_rooms), T(who_joins_a_room_is_seen_there),
        T(of_users_of_other_servers_only_users_here_are_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
