/* sync_filter_test.c - what a filter lets through of account data, presence and the like. "Filtering" of the client API. */
#include "edge/sync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static const gr_json *json(const char *text)
{
    const gr_json *out = NULL;
    assert_int_equal(gr_json_parse(arena, gr_str_c(text), GR_JSON_LAX, &out).code, GR_OK);
    return out;
}

static bool type(const char *filter, const char *name) { return gr_sync_filter_type(json(filter), gr_str_c(name)); }
static bool room(const char *filter, const char *id) { return gr_sync_filter_room(json(filter), gr_str_c(id)); }

static void without_a_filter_everything_passes(void **state)
{
    (void)state;
    assert_true(gr_sync_filter_type(NULL, GR_STR("m.x")));
    assert_true(gr_sync_filter_room(NULL, GR_STR("!a:b")));
    assert_true(type("{}", "m.x"));
    assert_true(gr_str_is(gr_sync_filter_events(arena, NULL, GR_STR("[ 1 ]")), "[ 1 ]"));
}

static void an_empty_list_of_wanted_ones_lets_nothing_through(void **state)
{
    (void)state;
    assert_false(type("{\"types\":[]}", "m.x"));
    assert_true(type("{\"not_types\":[]}", "m.x"));
    assert_false(room("{\"rooms\":[]}", "!a:b"));
}

static void what_is_not_wanted_wins_over_what_is(void **state)
{
    (void)state;
    assert_false(type("{\"types\":[\"m.x\"],\"not_types\":[\"m.x\"]}", "m.x"));
    assert_true(type("{\"types\":[\"m.*\"],\"not_types\":[\"m.x\"]}", "m.y"));
    assert_false(room("{\"rooms\":[\"!a:b\"],\"not_rooms\":[\"!a:b\"]}", "!a:b"));
}

static void a_star_in_a_type_stands_for_anything_anywhere(void **state)
{
    (void)state;
    assert_true(type("{\"types\":[\"m.*\"]}", "m.room.name"));
    assert_true(type("{\"types\":[\"*\"]}", ""));
    assert_true(type("{\"types\":[\"m.*.name\"]}", "m.room.name"));
    assert_true(type("{\"types\":[\"*name\"]}", "m.room.name"));
    assert_true(type("{\"types\":[\"m*o*e\"]}", "m.room.name"));
    assert_true(type("{\"types\":[\"m.room.name*\"]}", "m.room.name"));
    assert_false(type("{\"types\":[\"m.*.name\"]}", "m.room.topic"));
    assert_false(type("{\"types\":[\"m.*\"]}", "org.m.x"));
    assert_false(type("{\"types\":[\"\"]}", "m.x"));
    assert_false(room("{\"rooms\":[\"*\"]}", "!a:b"));
}

static void case_matters(void **state)
{
    (void)state;
    assert_false(type("{\"types\":[\"M.x\"]}", "m.x"));
}

#define EVENTS "[{\"sender\":\"@a:x\",\"type\":\"m.a\"},{\"sender\":\"@b:x\",\"type\":\"m.b\"},{\"type\":\"m.c\"}]"

static const char *events(const char *filter)
{
    return gr_arena_str(arena, gr_sync_filter_events(arena, json(filter), GR_STR(EVENTS))).ptr;
}

static void events_are_chosen_by_type_sender_and_limit_in_their_order(void **state)
{
    (void)state;
    assert_string_equal(events("{}"), EVENTS);
    assert_string_equal(events("{\"types\":[\"m.a\",\"m.c\"]}"), "[{\"sender\":\"@a:x\",\"type\":\"m.a\"},{\"type\":\"m.c\"}]");
    assert_string_equal(events("{\"senders\":[\"@b:x\"]}"), "[{\"sender\":\"@b:x\",\"type\":\"m.b\"}]");
    assert_string_equal(events("{\"not_senders\":[\"@b:x\"],\"limit\":1}"), "[{\"sender\":\"@a:x\",\"type\":\"m.a\"}]");
    assert_string_equal(events("{\"types\":[]}"), "");
    assert_int_equal(gr_sync_filter_events(arena, json("{}"), (gr_str){0}).size, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(without_a_filter_everything_passes),
        CASE(an_empty_list_of_wanted_ones_lets_nothing_through),
        CASE(what_is_not_wanted_wins_over_what_is),
        CASE(a_star_in_a_type_stands_for_anything_anywhere),
        CASE(case_matters),
        CASE(events_are_chosen_by_type_sender_and_limit_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
