/* resolve_test.c - the steps of "Resolving server names", one by one; and how long delegations are kept. */
#include "edge/resolve.h"
#include "edge/well_known.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE };
#define NOW 1700000000000u

static gr_resolve r;

static void begin(const char *name) { gr_resolve_begin(&r, gr_str_c(name)); }
static void told(const char *delegate) { gr_resolve_well_known(&r, gr_str_c(delegate)); }
static void no_records(void) { gr_resolve_srv(&r, NULL, 0, 0); }

static void record(const char *host, uint16_t port)
{
    gr_resolve_record one = {.host = host, .port = port, .priority = 1, .weight = 1};
    gr_resolve_srv(&r, &one, 1, 0);
}

static void goes_to(const char *host, uint16_t port, const char *name, const char *header)
{
    assert_int_equal(r.step, GR_RESOLVE_DONE);
    assert_int_equal(r.target_count, 1);
    assert_string_equal(r.targets[0].host, host);
    assert_int_equal(r.targets[0].port, port);
    assert_string_equal(r.name, name);
    assert_string_equal(r.header, header);
}

static void step_1_an_address_is_where_it_says(void **state)
{
    (void)state;
    begin("192.0.2.1");
    goes_to("192.0.2.1", 8448, "192.0.2.1", "192.0.2.1");
    begin("[2001:db8::1]:99");
    goes_to("2001:db8::1", 99, "2001:db8::1", "[2001:db8::1]:99");
}

static void step_2_a_name_with_a_port_is_taken_as_it_is(void **state)
{
    (void)state;
    begin("a.example:99");
    goes_to("a.example", 99, "a.example", "a.example:99");
}

static void step_3_a_delegate_takes_the_place_of_the_name(void **state)
{
    (void)state;
    begin("a.example");
    assert_int_equal(r.step, GR_RESOLVE_WELL_KNOWN);
    assert_string_equal(r.wanted, "a.example");
    told("192.0.2.1");
    goes_to("192.0.2.1", 8448, "192.0.2.1", "192.0.2.1");
    begin("a.example");
    told("b.example:99");
    goes_to("b.example", 99, "b.example", "b.example:99");
    begin("a.example");
    told("b.example");
    assert_int_equal(r.step, GR_RESOLVE_SRV);
    assert_string_equal(r.wanted, "_matrix-fed._tcp.b.example");
    record("c.example", 7);
    goes_to("c.example", 7, "b.example", "b.example");
    begin("a.example");
    told("b.example");
    no_records();
    assert_string_equal(r.wanted, "_matrix._tcp.b.example");
    record("c.example", 7);
    goes_to("c.example", 7, "b.example", "b.example");
    begin("a.example");
    told("b.example");
    no_records();
    no_records();
    goes_to("b.example", 8448, "b.example", "b.example");
}

static void steps_4_to_6_without_a_delegate_the_name_is_looked_up(void **state)
{
    (void)state;
    begin("a.example");
    told("");
    assert_string_equal(r.wanted, "_matrix-fed._tcp.a.example");
    record("c.example", 7);
    goes_to("c.example", 7, "a.example", "a.example");
    begin("a.example");
    told("");
    no_records();
    assert_string_equal(r.wanted, "_matrix._tcp.a.example");
    no_records();
    goes_to("a.example", 8448, "a.example", "a.example");
}

static void a_dot_as_target_means_no_such_service(void **state)
{
    (void)state;
    begin("a.example");
    told("");
    record(".", 7);
    assert_int_equal(r.step, GR_RESOLVE_NOWHERE);
    begin("not a name");
    assert_int_equal(r.step, GR_RESOLVE_NOWHERE);
}

static void records_are_tried_by_priority_then_by_weight(void **state)
{
    static const gr_resolve_record records[] = {
        {"late", 1, 20, 100}, {"light", 1, 10, 1}, {"heavy", 1, 10, 1000}, {"first", 1, 5, 0}};
    unsigned heavy = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        begin("a.example");
        told("");
        gr_resolve_srv(&r, records, 4, seed * 0x9e3779b97f4a7c15u);
        assert_int_equal(r.target_count, 4);
        assert_string_equal(r.targets[0].host, "first");
        assert_string_equal(r.targets[3].host, "late");
        heavy += strcmp(r.targets[1].host, "heavy") == 0;
    }
    assert_in_range(heavy, 185, 200);
}

/* --- delegations ------------------------------------------------------------------------------------------- */
static bool found(gr_lru *w, const char *host, uint64_t at, const char *delegate)
{
    gr_str is;
    uint64_t until;
    return gr_well_known_find(w, gr_str_c(host), at, &is, &until) && gr_str_is(is, delegate);
}

static void tell(gr_lru *w, uint64_t at, int status, const char *body, const char *cache)
{
    gr_well_known_told(w, GR_STR("a"), at, status, gr_str_c(body), gr_str_c(cache), (gr_str){0});
}

static void lifetimes_are_what_headers_say_within_bounds(void **state)
{
    (void)state;
    gr_str none = {0};
    assert_int_equal(gr_well_known_lifetime(none, none, NOW), 24 * HOUR);
    assert_int_equal(gr_well_known_lifetime(GR_STR("public, max-age=3600"), none, NOW), HOUR);
    assert_int_equal(gr_well_known_lifetime(GR_STR("Max-Age=1"), none, NOW), GR_WELL_KNOWN_MIN_MS);
    assert_int_equal(gr_well_known_lifetime(GR_STR("max-age=99999999999"), none, NOW), GR_WELL_KNOWN_MAX_MS);
    assert_int_equal(gr_well_known_lifetime(GR_STR("max-age=7200, no-store"), none, NOW), GR_WELL_KNOWN_MIN_MS);
    assert_int_equal(gr_well_known_lifetime(GR_STR("max-age=x"), none, NOW), 24 * HOUR);
    assert_int_equal(gr_well_known_lifetime(none, GR_STR("Wed, 15 Nov 2023 00:13:20 GMT"), NOW), 2 * HOUR);
    assert_int_equal(gr_well_known_lifetime(none, GR_STR("0"), NOW), GR_WELL_KNOWN_MIN_MS);
}

static void a_delegate_is_kept_until_its_time_is_over(void **state)
{
    gr_lru *w = gr_well_known_new();
    (void)state;
    assert_false(found(w, "a", NOW, ""));
    tell(w, NOW, 200, "{\"m.server\":\"b:1\"}", "max-age=3600");
    assert_true(found(w, "a", NOW + HOUR - 1, "b:1"));
    assert_false(found(w, "a", NOW + HOUR, "b:1"));
    assert_false(found(w, "b", NOW, "b:1"));
    gr_lru_free(&w);
}

static void failures_are_kept_longer_each_time_and_do_not_lose_a_delegate(void **state)
{
    gr_lru *w = gr_well_known_new();
    uint64_t at = NOW;
    (void)state;
    for (uint64_t wait = GR_WELL_KNOWN_ERROR_MIN_MS; wait < GR_WELL_KNOWN_ERROR_MAX_MS; wait *= 2) {
        tell(w, at, 0, "", "");
        assert_true(found(w, "a", at + wait - 1, ""));
        assert_false(found(w, "a", at + wait, ""));
        at += wait;
    }
    tell(w, at, 500, "", "");
    assert_true(found(w, "a", at + GR_WELL_KNOWN_ERROR_MAX_MS - 1, ""));
    tell(w, at, 200, "{\"m.server\":\"b:1\"}", "");
    tell(w, at + 25 * HOUR, 502, "", "");
    assert_true(found(w, "a", at + 25 * HOUR, "b:1"));
    tell(w, at + 26 * HOUR, 404, "", "");
    assert_true(found(w, "a", at + 26 * HOUR + HOUR - 1, ""));
    gr_lru_free(&w);
}

static void answers_that_are_no_delegation_count_as_none(void **state)
{
    static const char *const wrong[] = {"", "[]", "{}", "{\"m.server\":1}", "{\"m.server\":\"\"}", "{\"m.server\":\"a b\"}",
                                        "{\"m.server\":\"https://b\"}", "{\"m.server\":\"b:99999\"}"};
    gr_arena *arena = gr_arena_new(0);
    gr_str delegate;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(gr_well_known_parse(arena, gr_str_c(wrong[i]), &delegate));
    gr_arena_free(&arena);
}

static void no_more_are_kept_than_the_table_holds(void **state)
{
    gr_lru *w = gr_well_known_new();
    char host[32];
    (void)state;
    for (int i = 0; i <= GR_WELL_KNOWN_ENTRIES; i++) {
        int size = snprintf(host, sizeof host, "h%d", i);
        gr_str name = gr_str_of(host, (size_t)size);
        gr_well_known_told(w, name, NOW, 200, GR_STR("{\"m.server\":\"b:1\"}"), (gr_str){0}, (gr_str){0});
    }
    assert_false(found(w, "h0", NOW, "b:1"));
    assert_true(found(w, "h1", NOW, "b:1") && found(w, host, NOW, "b:1"));
    gr_lru_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_1_an_address_is_where_it_says),
        cmocka_unit_test(step_2_a_name_with_a_port_is_taken_as_it_is),
        cmocka_unit_test(step_3_a_delegate_takes_the_place_of_the_name),
        cmocka_unit_test(steps_4_to_6_without_a_delegate_the_name_is_looked_up),
        cmocka_unit_test(a_dot_as_target_means_no_such_service),
        cmocka_unit_test(records_are_tried_by_priority_then_by_weight),
        cmocka_unit_test(lifetimes_are_what_headers_say_within_bounds),
        cmocka_unit_test(a_delegate_is_kept_until_its_time_is_over),
        cmocka_unit_test(failures_are_kept_longer_each_time_and_do_not_lose_a_delegate),
        cmocka_unit_test(answers_that_are_no_delegation_count_as_none),
        cmocka_unit_test(no_more_are_kept_than_the_table_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
