/* remote_user_test.c - the device list of a user of another server follows what that server tells, is fetched again when it
 * does not, and is never told when it is not current. */
#include "actors/remote_user/remote_user.h"
#include "bus/stage.h"
#include "proto/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const gr_actor_kind *const kinds[] = {&gr_remote_user_kind, NULL};
static const gr_env env = {.server_name = {"here", 4}};
static gr_stage *s;
static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    s = gr_stage_new(kinds, "remote_user/@r:there", &env);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    gr_arena_free(&arena);
    return 0;
}

static void share(const char *room, bool is_shared)
{
    gr_remote_user_room m = {.room_id = gr_str_c(room), .is_shared = is_shared};
    gr_stage_post(s, "room/!r", &gr_type_remote_user_room, &m, (gr_str){0});
}

/* Device ids whose keys are known, separated by blanks; NULL: the server must be asked. */
static const char *known(void)
{
    const gr_json *devices = NULL;
    gr_buf out = {0};
    gr_stage_ask(s, &gr_type_user_keys_query, &(gr_user_keys_query){0});
    const gr_user_keys *keys = gr_stage_replied(s, &gr_type_user_keys);
    assert_true(keys || gr_stage_error(s).code == GR_NOT_FOUND);
    if (!keys) return NULL;
    assert_false(gr_failed(gr_json_parse(arena, keys->device_keys, GR_JSON_LAX, &devices)));
    for (uint32_t i = 0; i < devices->count; i++) gr_buf_printf(&out, "%s%.*s", i ? " " : "", GR_ARG(devices->members[i].key));
    gr_str text = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text.ptr;
}

static gr_str keys_of(const char *user, const char *device)
{
    return gr_arena_printf(arena, "{\"user_id\":\"%s\",\"device_id\":\"%s\",\"algorithms\":[],\"keys\":{\"ed25519:%s\":\"k\"},"
                           "\"signatures\":{}}", user, device, device);
}

static void update(const char *device, int stream, const char *prev, const char *more)
{
    gr_str content = gr_arena_printf(arena, "{\"user_id\":\"@r:there\",\"device_id\":\"%s\",\"stream_id\":%d,\"prev_id\":%s%s}",
                                     device, stream, prev, more);
    gr_stage_ask(s, &gr_type_remote_user_devices, &(gr_remote_user_devices){.content = content});
    assert_non_null(gr_stage_replied(s, &gr_type_done));
}

static void update_keys(const char *device, int stream, const char *prev)
{
    update(device, stream, prev, gr_arena_printf(arena, ",\"keys\":%.*s", GR_ARG(keys_of("@r:there", device))).ptr);
}

/* Fires timers until the list is asked for: that ask. */
static const gr_stage_effect *asking(void)
{
    bool fired = true;
    for (int i = 0; i < 4 && fired; i++) {
        const gr_stage_effect *ask = gr_stage_find(s, GR_ASK, &gr_type_destination_request, 0);
        if (ask) return ask;
        gr_stage_fire(s, &fired);
    }
    return NULL;
}

static void answer_list(const gr_stage_effect *ask, int stream, int devices)
{
    gr_buf out = {0};
    assert_non_null(ask);
    gr_buf_printf(&out, "{\"user_id\":\"@r:there\",\"stream_id\":%d,\"devices\":[", stream);
    for (int i = 0; i < devices; i++) {
        char name[16];
        snprintf(name, sizeof name, "D%d", i);
        gr_str keys = keys_of("@r:there", name);
        gr_buf_printf(&out, "%s{\"device_id\":\"%s\",\"keys\":%.*s}", i ? "," : "", name, GR_ARG(keys));
    }
    gr_buf_c(&out, "]}");
    gr_stage_answer(s, ask, &gr_type_result, &(gr_result){.body = gr_buf_view(&out)}, gr_ok());
    gr_buf_free(&out);
}

static void list(int stream, int devices)
{
    share("!a", true);
    assert_null(known());
    answer_list(asking(), stream, devices);
}

static size_t rooms_told(void)
{
    bool fired = true;
    for (int i = 0; i < 4 && fired; i++) {
        size_t told = gr_stage_sent(s, GR_POST, &gr_type_room_keys_changed);
        if (told) return told;
        gr_stage_fire(s, &fired);
    }
    return 0;
}

static void the_list_is_fetched_when_it_is_first_asked_for(void **state)
{
    (void)state;
    share("!a", true);
    assert_null(known());
    const gr_stage_effect *ask = asking();
    assert_string_equal(gr_arena_str(arena, ask->to).ptr, "destination/there");
    const gr_destination_request *m = ask->body;
    assert_true(gr_str_is(m->uri, "/_matrix/federation/v1/user/devices/%40r%3Athere"));
    answer_list(ask, 5, 2);
    assert_string_equal(known(), "D0 D1");
    gr_stage_reload(s);
    assert_string_equal(known(), "D0 D1");
}

static void nothing_is_kept_of_a_user_with_whom_no_room_is_shared(void **state)
{
    (void)state;
    update_keys("D0", 1, "[]");
    assert_null(known());
    assert_int_equal(gr_stage_keys(s), 0);
    list(5, 1);
    share("!b", true);
    share("!a", false);
    assert_string_equal(known(), "D0");
    share("!b", false);
    assert_null(known());
    share("!b", true);
    assert_null(known());
}

static void updates_that_follow_are_applied(void **state)
{
    (void)state;
    list(5, 2);
    update_keys("NEW", 6, "[5]");
    update("D0", 8, "[6]", ",\"deleted\":true");
    assert_string_equal(known(), "D1 NEW");
    assert_int_equal(rooms_told(), 1);
    update("D1", 9, "[]", "");                     /* has no keys any more */
    assert_string_equal(known(), "NEW");
}

static void what_does_not_follow_is_fetched_again(void **state)
{
    static const struct { int stream; const char *prev; } odd[] = {
        {9, "[7]"}, {5, "[]"}, {4, "[3]"}, {-1, "[]"}, {6, "[\"5\"]"}, {6, "{}"}, {6, "[-3]"}};
    (void)state;
    list(5, 2);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        update_keys("NEW", odd[i].stream, odd[i].prev);
        assert_null(known());
        answer_list(asking(), 5, 2);
        assert_string_equal(known(), "D0 D1");
    }
}

static void keys_of_somebody_else_make_it_stale_and_are_not_kept(void **state)
{
    (void)state;
    list(5, 1);
    update("D0", 6, "[5]", gr_arena_printf(arena, ",\"keys\":%.*s", GR_ARG(keys_of("@x:there", "D0"))).ptr);
    assert_null(known());
    answer_list(asking(), 6, 1);
    gr_str other = GR_STR("{\"user_id\":\"@x:there\",\"device_id\":\"D0\",\"stream_id\":7,\"deleted\":true}");
    gr_stage_ask(s, &gr_type_remote_user_devices, &(gr_remote_user_devices){.content = other});
    assert_string_equal(known(), "D0");
}

static void an_update_during_the_fetch_makes_it_be_fetched_again(void **state)
{
    (void)state;
    share("!a", true);
    known();
    const gr_stage_effect *ask = asking();
    update_keys("NEW", 9, "[]");
    answer_list(ask, 5, 1);
    assert_null(known());
    uint64_t asked_ms = gr_stage_now(s);
    answer_list(asking(), 9, 2);
    assert_true(gr_stage_now(s) >= asked_ms + GR_REMOTE_RESYNC_MS - 1000);
    assert_string_equal(known(), "D0 D1");
}

static void failures_are_tried_again_ever_later(void **state)
{
    uint64_t waits[4];
    (void)state;
    share("!a", true);
    known();
    for (int i = 0; i < 4; i++) {
        const gr_stage_effect *ask = asking();
        assert_non_null(ask);
        uint64_t failed_ms = gr_stage_now(s), due_ms;
        gr_stage_answer(s, ask, NULL, NULL, gr_fail(GR_BAD_GATEWAY, "away"));
        assert_true(gr_stage_timer_set(s, "resync", &due_ms));
        waits[i] = due_ms - failed_ms;
        assert_true(i == 0 || waits[i] == 2 * waits[i - 1]);
        gr_stage_reload(s);
    }
    assert_int_equal(waits[0], GR_REMOTE_RESYNC_FAILED_MS);
    answer_list(asking(), 1, 1);
    assert_string_equal(known(), "D0");
}

static void large_lists_are_not_kept(void **state)
{
    (void)state;
    list(5, GR_REMOTE_DEVICES_MAX);
    assert_false(gr_stage_over_bounds(s));
    assert_non_null(known());
    update_keys("NEW", 6, "[5]");                  /* one too many */
    assert_null(known());
    answer_list(asking(), 6, 5000);
    assert_null(known());
    assert_null(asking());
    update_keys("D0", 7, "[6]");
    assert_int_equal(rooms_told(), 1);             /* it is told still that it changes */
    assert_null(known());
}

static void rooms_are_told_a_few_at_a_time(void **state)
{
    size_t told = 0;
    (void)state;
    for (int i = 0; i < 120; i++) share(gr_arena_printf(arena, "!%d", i).ptr, true);
    update_keys("D0", 1, "[]");
    update_keys("D1", 2, "[1]");                   /* both are told together */
    for (size_t now; (now = rooms_told()); told += now) {
        assert_true(now <= GR_REMOTE_ROOMS_STEP);
        gr_stage_ask(s, &gr_type_user_in_rooms, &(gr_user_in_rooms){0});       /* its effects are the last ones */
    }
    assert_int_equal(told, 120);
}

static void cross_signing_keys_follow_too(void **state)
{
    (void)state;
    list(5, 1);
    gr_str content = GR_STR("{\"user_id\":\"@r:there\",\"master_key\":{\"user_id\":\"@r:there\",\"usage\":[\"master\"],"
                            "\"keys\":{\"ed25519:M\":\"M\"}},"
                            "\"self_signing_key\":{\"user_id\":\"@x:there\",\"keys\":{\"a\":\"b\"}}}");
    gr_stage_ask(s, &gr_type_remote_user_signing, &(gr_remote_user_signing){.content = content});
    gr_stage_ask(s, &gr_type_user_keys_query, &(gr_user_keys_query){0});
    const gr_user_keys *keys = gr_stage_replied(s, &gr_type_user_keys);
    assert_true(keys->master.size > 0 && keys->self_signing.size == 0);
}

static void users_of_this_server_are_none(void **state)
{
    (void)state;
    gr_stage_on(s, "remote_user/@a:here");
    gr_stage_ask(s, &gr_type_user_keys_query, &(gr_user_keys_query){0});
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(the_list_is_fetched_when_it_is_first_asked_for), T(nothing_is_kept_of_a_user_with_whom_no_room_is_shared),
        T(updates_that_follow_are_applied), T(what_does_not_follow_is_fetched_again),
        T(keys_of_somebody_else_make_it_stale_and_are_not_kept), T(an_update_during_the_fetch_makes_it_be_fetched_again),
        T(failures_are_tried_again_ever_later), T(large_lists_are_not_kept), T(rooms_are_told_a_few_at_a_time),
        T(cross_signing_keys_follow_too), T(users_of_this_server_are_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
