/* presence_test.c - who asks for news is online, who does nothing is unavailable, who is gone is offline; and it is told no
 * more often than it has to be. */
#include "actors/presence/presence.h"
#include "bus/stage.h"
#include "proto/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const gr_actor_kind *const kinds[] = {&gr_presence_kind, NULL};
static const gr_env env = {.server_name = {"here", 4}, .presence = {true, 100}};
static gr_stage *s;
static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    s = gr_stage_new(kinds, "presence/@a:here", &env);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    gr_arena_free(&arena);
    return 0;
}

static void seen(const char *device, const char *presence, uint64_t wait_ms, bool is_default)
{
    gr_presence_seen m = {.device = gr_str_c(device), .presence = gr_str_c(presence), .wait_ms = wait_ms,
                          .is_default = is_default};
    gr_stage_tell(s, "edge/stage/0", &gr_type_presence_seen, &m);
}

static void polls(const char *device) { seen(device, "online", 30000, true); }
static void acts(const char *device) { seen(device, "", 0, false); }

static bool puts_presence(const char *presence, const char *status)
{
    gr_presence_put m = {.device = GR_STR("D"), .presence = gr_str_c(presence), .has_status = status != NULL,
                         .status_msg = gr_str_c(status)};
    gr_stage_ask(s, &gr_type_presence_put, &m);
    return gr_stage_replied(s, &gr_type_done) != NULL;
}

/* What the last message had told; NULL: nothing. */
static const char *told(void)
{
    const gr_stage_effect *e = gr_stage_find(s, GR_TELL, &gr_type_herald_presence, 0);
    return e ? gr_arena_str(arena, ((const gr_herald_presence *)e->body)->presence).ptr : NULL;
}

/* Fires timers up to a time; what was told last meanwhile, and how often. */
static const char *wait_until(uint64_t until_ms, size_t *times)
{
    const char *last = NULL;
    uint64_t due_ms;
    *times = 0;
    while (gr_stage_timer_set(s, "look", &due_ms) && due_ms <= until_ms) {
        bool fired;
        gr_stage_fire(s, &fired);
        if (told()) last = told(), ++*times;
    }
    gr_stage_clock(s, until_ms);
    return last;
}

static const char *is(void)
{
    const gr_json *body = NULL;
    gr_stage_ask(s, &gr_type_presence_get, &(gr_presence_get){0});
    const gr_result *r = gr_stage_replied(s, &gr_type_result);
    assert_false(gr_failed(gr_json_parse(arena, r->body, GR_JSON_LAX, &body)));
    return gr_arena_str(arena, gr_json_text(body, "presence")).ptr;
}

static void who_polls_is_online_and_who_stops_is_offline_after_a_while(void **state)
{
    size_t times;
    (void)state;
    assert_string_equal(is(), "offline");
    polls("D");
    assert_string_equal(told(), "online");
    uint64_t began_ms = gr_stage_now(s);
    gr_stage_clock(s, began_ms + 30000);
    polls("D");
    assert_null(told());
    assert_null(wait_until(began_ms + 89000, &times));
    assert_string_equal(wait_until(began_ms + 91000, &times), "offline");
    assert_string_equal(is(), "offline");
}

static void who_does_nothing_is_unavailable_until_they_do_something(void **state)
{
    size_t times;
    (void)state;
    polls("D");
    for (int i = 0; i < 20; i++) {
        wait_until(gr_stage_now(s) + 20000, &times);
        polls("D");
    }
    assert_string_equal(is(), "unavailable");
    acts("D");
    assert_string_equal(told(), "online");
    assert_string_equal(is(), "online");
}

static void the_most_active_device_counts(void **state)
{
    (void)state;
    seen("A", "unavailable", 30000, false);
    assert_string_equal(told(), "unavailable");
    gr_stage_clock(s, gr_stage_now(s) + 10000);
    polls("B");
    assert_string_equal(told(), "online");
    seen("A", "unavailable", 30000, false);
    assert_null(told());
}

static void what_a_user_has_set_holds_while_the_client_does_not_say_otherwise(void **state)
{
    size_t times;
    (void)state;
    assert_true(puts_presence("unavailable", "at lunch"));
    assert_string_equal(told(), "unavailable");
    polls("D");
    assert_string_equal(is(), "unavailable");
    seen("D", "online", 30000, false);
    assert_string_equal(is(), "online");
    assert_true(puts_presence("offline", NULL));
    wait_until(gr_stage_now(s) + 3000, &times);
    assert_string_equal(is(), "offline");
    polls("D");
    assert_string_equal(is(), "online");
    assert_false(puts_presence("busy", NULL));
    char text[GR_PRESENCE_STATUS_MAX + 2] = {0};
    memset(text, 'x', sizeof text - 1);
    assert_false(puts_presence("online", text));
}

static void the_status_message_is_kept(void **state)
{
    (void)state;
    assert_true(puts_presence("online", "here"));
    gr_stage_reload(s);
    gr_stage_ask(s, &gr_type_presence_get, &(gr_presence_get){0});
    const gr_result *r = gr_stage_replied(s, &gr_type_result);
    assert_non_null(strstr(gr_arena_str(arena, r->body).ptr, "\"presence\":\"offline\",\"status_msg\":\"here\""));
}

static void changes_in_a_row_are_told_together(void **state)
{
    size_t times;
    (void)state;
    assert_true(puts_presence("online", "1"));
    assert_non_null(told());
    for (int i = 0; i < 50; i++) {
        assert_true(puts_presence(i % 2 ? "online" : "unavailable", i % 2 ? "a" : "b"));
        assert_null(told());
    }
    assert_string_equal(wait_until(gr_stage_now(s) + 10000, &times), "online");
    assert_int_equal(times, 1);
}

static void a_user_who_stays_online_is_told_again_and_again_but_rarely(void **state)
{
    size_t all = 0;
    (void)state;
    polls("D");
    for (int i = 0; i < 360; i++) {                /* an hour */
        size_t times;
        wait_until(gr_stage_now(s) + 10000, &times);
        acts("D");
        all += times + (told() != NULL);
        polls("D");
    }
    assert_true(all >= 12 && all <= 16);           /* for the time of the last activity */
}

static void another_server_tells_of_its_users_for_a_while(void **state)
{
    size_t times;
    (void)state;
    gr_stage_on(s, "presence/@r:there");
    gr_presence_told m = {.presence = GR_STR("online"), .status_msg = GR_STR("hi"), .active_ago_ms = 5};
    gr_stage_tell(s, "remote_user/@r:there", &gr_type_presence_told, &m);
    assert_string_equal(told(), "online");
    assert_string_equal(wait_until(gr_stage_now(s) + GR_PRESENCE_REMOTE_MS - 1, &times), "online");
    assert_int_equal(times, 1);                    /* so that feeds do not forget */
    assert_string_equal(wait_until(gr_stage_now(s) + 10, &times), "offline");
    assert_false(puts_presence("online", NULL));
    polls("D");
    assert_string_equal(is(), "offline");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(who_polls_is_online_and_who_stops_is_offline_after_a_while),
        T(who_does_nothing_is_unavailable_until_they_do_something), T(the_most_active_device_counts),
        T(what_a_user_has_set_holds_while_the_client_does_not_say_otherwise), T(the_status_message_is_kept),
        T(changes_in_a_row_are_told_together), T(a_user_who_stays_online_is_told_again_and_again_but_rarely),
        T(another_server_tells_of_its_users_for_a_while)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
