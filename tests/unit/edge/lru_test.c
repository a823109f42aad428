/* lru_test.c - tables that forget what was used least recently; and what other servers told of rooms, which is kept in one. */
#include "edge/told_rooms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static size_t dropped;

static void count_dropped(void *value)
{
    (void)value;
    dropped++;
}

static gr_str key(size_t n)
{
    static char text[32];
    snprintf(text, sizeof text, "k%zu", n);
    return gr_str_c(text);
}

static void what_was_used_least_recently_goes_first(void **state)
{
    (void)state;
    gr_lru *l = gr_lru_new(sizeof(size_t), 3, 0, count_dropped);
    dropped = 0;
    for (size_t n = 0; n < 3; n++) *(size_t *)gr_lru_add(l, key(n), 0) = n;
    assert_int_equal(*(size_t *)gr_lru_find(l, key(0)), 0);
    *(size_t *)gr_lru_add(l, key(3), 0) = 3;
    assert_null(gr_lru_find(l, key(1)));
    for (size_t n = 0; n < 4; n++)
        if (n != 1) assert_int_equal(*(size_t *)gr_lru_find(l, key(n)), n);
    assert_int_equal(dropped, 1);
    gr_lru_free(&l);
    assert_int_equal(dropped, 4);
}

static void one_that_is_added_again_begins_anew(void **state)
{
    (void)state;
    gr_lru *l = gr_lru_new(sizeof(size_t), 3, 100, count_dropped);
    dropped = 0;
    *(size_t *)gr_lru_add(l, key(1), 90) = 7;
    assert_int_equal(*(size_t *)gr_lru_add(l, key(1), 80), 0);
    assert_int_equal(dropped, 1);
    assert_int_equal(gr_lru_count(l), 1);
    gr_lru_free(&l);
}

static void bytes_are_bounded_too(void **state)
{
    (void)state;
    gr_lru *l = gr_lru_new(sizeof(size_t), 100, 100, NULL);
    for (size_t n = 0; n < 10; n++) gr_lru_add(l, key(n), 30);
    assert_int_equal(gr_lru_count(l), 3);
    gr_lru_add(l, key(10), 100);
    assert_int_equal(gr_lru_count(l), 1);
    assert_non_null(gr_lru_find(l, key(10)));
    gr_lru_free(&l);
}

static void what_was_told_of_a_room_holds_for_a_while(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_lru *l = gr_told_rooms_new();
    gr_told_room room = {GR_STR("there"), GR_STR("!r"), false}, suggested = room, elsewhere = room;
    suggested.suggested = true;
    elsewhere.server = GR_STR("elsewhere");
    gr_told_rooms_keep(l, &room, 1000, GR_STR("{}"));
    assert_true(gr_str_is(gr_told_rooms_find(l, &room, 1000 + GR_TOLD_ROOMS_MS - 1, a), "{}"));
    assert_int_equal(gr_told_rooms_find(l, &room, 1000 + GR_TOLD_ROOMS_MS, a).size, 0);
    assert_int_equal(gr_told_rooms_find(l, &suggested, 1000, a).size, 0);
    assert_int_equal(gr_told_rooms_find(l, &elsewhere, 1000, a).size, 0);
    gr_str large = {gr_arena_alloc(a, GR_TOLD_ROOM_BYTES + 1), GR_TOLD_ROOM_BYTES + 1};
    gr_told_rooms_keep(l, &elsewhere, 1000, large);
    assert_int_equal(gr_told_rooms_find(l, &elsewhere, 1000, a).size, 0);
    gr_lru_free(&l);
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_used_least_recently_goes_first),
        cmocka_unit_test(one_that_is_added_again_begins_anew),
        cmocka_unit_test(bytes_are_bounded_too),
        cmocka_unit_test(what_was_told_of_a_room_holds_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
