/* recent_rooms_test.c - rooms that servers spoke of: the newest first, and not without bound. */
#include "edge/recent_rooms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static gr_str room(size_t n)
{
    static char text[32];
    snprintf(text, sizeof text, "!r%zu:x", n);
    return gr_str_c(text);
}

static void the_newest_come_first_and_each_once(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_lru *r = gr_recent_rooms_new();
    assert_int_equal(gr_recent_rooms_of(r, GR_STR("x"), a).count, 0);
    for (size_t n = 0; n < 3; n++) gr_recent_rooms_note(r, GR_STR("x"), room(n));
    gr_recent_rooms_note(r, GR_STR("x"), room(1));
    gr_recent_rooms_note(r, GR_STR("y"), room(9));
    gr_strs got = gr_recent_rooms_of(r, GR_STR("x"), a);
    assert_int_equal(got.count, 3);
    assert_true(gr_str_is(got.at[0], "!r1:x") && gr_str_is(got.at[1], "!r2:x") && gr_str_is(got.at[2], "!r0:x"));
    gr_lru_free(&r);
    gr_arena_free(&a);
}

static void what_was_long_ago_is_forgotten(void **state)
{
    (void)state;
    char server[16];
    gr_arena *a = gr_arena_new(0);
    gr_lru *r = gr_recent_rooms_new();
    for (size_t n = 0; n < 2 * GR_RECENT_ROOMS; n++) gr_recent_rooms_note(r, GR_STR("x"), room(n));
    gr_strs got = gr_recent_rooms_of(r, GR_STR("x"), a);
    assert_int_equal(got.count, GR_RECENT_ROOMS);
    assert_true(gr_str_eq(got.at[0], room(2 * GR_RECENT_ROOMS - 1)));
    assert_true(gr_str_eq(got.at[GR_RECENT_ROOMS - 1], room(GR_RECENT_ROOMS)));
    for (size_t n = 0; n < GR_RECENT_SERVERS_MAX; n++) {
        snprintf(server, sizeof server, "s%zu", n);
        gr_recent_rooms_note(r, gr_str_c(server), room(n));
    }
    assert_int_equal(gr_recent_rooms_of(r, GR_STR("x"), a).count, 0);
    assert_int_equal(gr_recent_rooms_of(r, GR_STR("s0"), a).count, 1);
    gr_lru_free(&r);
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_come_first_and_each_once),
        cmocka_unit_test(what_was_long_ago_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
