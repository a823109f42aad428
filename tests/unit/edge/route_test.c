/* The router: segments, encodings, precedence, methods, versions, queries. */
#include "edge/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum {
    VERSIONS,
    SEND,
    STATE_GET,
    STATE_PUT,
    STATE_BARE,
    EVENTS,
    ALIAS,
    SYNC,
    RULES,
    RULE,
    RULE_ENABLED,
    DEFAULTS
};

static const gr_route routes[] = {
    {GR_HTTP_GET, "/_matrix/client/versions", VERSIONS},
    {GR_HTTP_PUT, "/_matrix/client/(r0|v3)/rooms/{roomId}/send/{eventType}/{txnId}", SEND},
    {GR_HTTP_GET, "/_matrix/client/(r0|v3)/rooms/{roomId}/state/{eventType}/{stateKey}", STATE_GET},
    {GR_HTTP_PUT, "/_matrix/client/(r0|v3)/rooms/{roomId}/state/{eventType}/{stateKey}", STATE_PUT},
    {GR_HTTP_GET, "/_matrix/client/(r0|v3)/rooms/{roomId}/state/{eventType}", STATE_BARE},
    {GR_HTTP_GET, "/_matrix/client/(r0|v3)/rooms/{roomId}/event/{eventId}", EVENTS},
    {GR_HTTP_DELETE, "/_matrix/client/(r0|v3)/directory/room/{roomAlias}", ALIAS},
    {GR_HTTP_GET, "/_matrix/client/(r0|v3)/sync", SYNC},
    {GR_HTTP_GET, "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", RULE},
    {GR_HTTP_PUT, "/_matrix/client/v3/pushrules/{scope}/default/{ruleId}", DEFAULTS},
    {GR_HTTP_GET, "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", RULE_ENABLED},
};

typedef struct { gr_arena *arena; gr_route_tree *tree; gr_route_match match; } fixture;

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    f->arena = gr_arena_new(0);
    f->tree = gr_route_tree_new(routes, sizeof routes / sizeof *routes);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gr_route_tree_free(&f->tree);
    gr_arena_free(&f->arena);
    free(f);
    return 0;
}

static gr_route_answer find(fixture *f, gr_http_method method, const char *path)
{
    return gr_route_find(f->tree, f->arena, method, gr_str_c(path), &f->match);
}

static void assert_param(fixture *f, const char *name, const char *value)
{
    assert_true(gr_str_is(gr_route_param(&f->match, name), value));
}

static void a_path_finds_its_entry_and_decoded_parameters(void **state)
{
    fixture *f = *state;
    assert_int_equal(
        find(f, GR_HTTP_PUT, "/_matrix/client/v3/rooms/%21a%2Fb%3Ac.d/send/m.room.message/t%25x+y"),
        GR_ROUTE_FOUND);
    assert_int_equal(f->match.route->handler, SEND);
    assert_int_equal(f->match.count, 3);
    assert_param(f, "roomId", "!a/b:c.d");
    assert_param(f, "eventType", "m.room.message");
    assert_param(f, "txnId", "t%x+y");
}

static void several_versions_share_an_entry(void **state)
{
    fixture *f = *state;
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/r0/sync"), GR_ROUTE_FOUND);
    assert_int_equal(f->match.route->handler, SYNC);
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v3/sync"), GR_ROUTE_FOUND);
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v1/sync"), GR_ROUTE_NO_PATH);
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/(r0|v3)/sync"), GR_ROUTE_NO_PATH);
}

static void an_empty_last_segment_is_an_empty_parameter(void **state)
{
    fixture *f = *state;
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v3/rooms/!a/state/m.room.name/"), GR_ROUTE_FOUND);
    assert_int_equal(f->match.route->handler, STATE_GET);
    assert_param(f, "stateKey", "");
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v3/rooms/!a/state/m.room.name"), GR_ROUTE_FOUND);
    assert_int_equal(f->match.route->handler, STATE_BARE);
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v3/rooms//state/m.room.name"), GR_ROUTE_NO_PATH);
}

static void unknown_paths_are_not_found(void **state)
{
    fixture *f = *state;
    const char *paths[] = {"/",
                           "",
                           "*",
                           "//",
                           "/_matrix/client/versions/",
                           "/_matrix/client",
                           "/_matrix//client/versions",
                           "/x/../_matrix/client/versions",
                           "/_matrix/client/versions/a",
                           "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(find(f, GR_HTTP_GET, paths[i]), GR_ROUTE_NO_PATH);
}

static void another_method_is_told_what_is_allowed(void **state)
{
    fixture *f = *state;
    assert_int_equal(find(f, GR_HTTP_OTHER, "/_matrix/client/v3/rooms/!a/state/t/k"), GR_ROUTE_NO_METHOD);
    assert_true(gr_str_is(gr_route_allow(f->arena, f->match.allowed), "GET, PUT"));
    assert_int_equal(find(f, GR_HTTP_POST, "/_matrix/client/versions"), GR_ROUTE_NO_METHOD);
    assert_int_equal(find(f, GR_HTTP_HEAD, "/_matrix/client/versions"), GR_ROUTE_FOUND);
}

static void a_literal_wins_but_does_not_hide_the_rest(void **state)
{
    fixture *f = *state;
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v3/pushrules/global/default/x"), GR_ROUTE_FOUND);
    assert_int_equal(f->match.route->handler, RULE);
    assert_param(f, "kind", "default");
    assert_int_equal(find(f, GR_HTTP_PUT, "/_matrix/client/v3/pushrules/global/default/x"), GR_ROUTE_FOUND);
    assert_int_equal(f->match.route->handler, DEFAULTS);
    assert_param(f, "scope", "global");
}

static void bad_encodings_are_refused(void **state)
{
    fixture *f = *state;
    const char *segments[] = {"%00", "a%00b", "%",   "%2",        "%zz", "%2x",
                              "%-1", "%ff",   "%c3", "%ed%a0%80", "\xff"};
    for (size_t i = 0; i < sizeof segments / sizeof *segments; i++) {
        gr_str path = gr_arena_printf(f->arena, "/_matrix/client/v3/rooms/!a/event/%s", segments[i]);
        assert_int_equal(gr_route_find(f->tree, f->arena, GR_HTTP_GET, path, &f->match), GR_ROUTE_BAD_PATH);
    }
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v3/rooms/!a/event/%C3%a9"), GR_ROUTE_FOUND);
    assert_param(f, "eventId", "\xc3\xa9");
}

static void a_segment_is_decoded_only_once(void **state)
{
    fixture *f = *state;
    assert_int_equal(find(f, GR_HTTP_GET, "/_matrix/client/v3/rooms/!a/event/%252F%252500"), GR_ROUTE_FOUND);
    assert_param(f, "eventId", "%2F%2500");
}

static void queries_keep_order_and_repetition(void **state)
{
    fixture *f = *state;
    gr_route_query q;
    assert_false(
        gr_failed(gr_route_query_parse(f->arena, GR_STR("a=1&&b&server_name=x%26y&a=2+3&c=&e=f=g"), &q)));
    assert_true(gr_str_is(gr_route_query_get(&q, "a"), "1"));
    assert_true(gr_str_is(gr_route_query_nth(&q, "a", 1), "2 3"));
    assert_null(gr_route_query_nth(&q, "a", 2).ptr);
    assert_true(gr_str_is(gr_route_query_get(&q, "server_name"), "x&y"));
    assert_non_null(gr_route_query_get(&q, "b").ptr);
    assert_non_null(gr_route_query_get(&q, "c").ptr);
    assert_true(gr_str_is(gr_route_query_get(&q, "e"), "f=g"));
    assert_null(gr_route_query_get(&q, "d").ptr);
    assert_false(gr_failed(gr_route_query_parse(f->arena, (gr_str){0}, &q)));
    assert_int_equal(q.count, 0);
}

static void bad_queries_are_refused(void **state)
{
    fixture *f = *state;
    gr_route_query q;
    assert_int_equal(gr_route_query_parse(f->arena, GR_STR("a=%zz"), &q).code, GR_INVALID_PARAM);
    assert_int_equal(gr_route_query_parse(f->arena, GR_STR("a%00=1"), &q).code, GR_INVALID_PARAM);
    char many[600];
    memset(many, '&', sizeof many);
    assert_int_equal(gr_route_query_parse(f->arena, gr_str_of(many, sizeof many), &q).code, GR_INVALID_PARAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_finds_its_entry_and_decoded_parameters),
        cmocka_unit_test(several_versions_share_an_entry),
        cmocka_unit_test(an_empty_last_segment_is_an_empty_parameter),
        cmocka_unit_test(unknown_paths_are_not_found),
        cmocka_unit_test(another_method_is_told_what_is_allowed),
        cmocka_unit_test(a_literal_wins_but_does_not_hide_the_rest),
        cmocka_unit_test(bad_encodings_are_refused),
        cmocka_unit_test(a_segment_is_decoded_only_once),
        cmocka_unit_test(queries_keep_order_and_repetition),
        cmocka_unit_test(bad_queries_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
