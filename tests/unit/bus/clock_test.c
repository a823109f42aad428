/* The time of day as a node takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bus/clock.h"

enum { SECOND = 1000000 };
static const uint64_t noon = 1700000000ull * SECOND;

static void a_clock_begins_with_the_wall_clock_and_runs_with_the_steady_one(void **state)
{
    (void)state;
    gr_clock c = {0};
    assert_int_equal(gr_clock_read(&c, 5, noon), noon);
    assert_int_equal(gr_clock_read(&c, 5 + SECOND, noon + SECOND), noon + SECOND);
}

static void a_wall_clock_set_back_slows_the_time_by_an_eighth(void **state)
{
    (void)state;
    gr_clock c = {0};
    uint64_t last = gr_clock_read(&c, 0, noon);
    for (uint64_t t = 1; t <= 80; t++) { /* read ten times a second */
        uint64_t now = gr_clock_read(&c, t * SECOND / 10, noon + t * SECOND / 10 - 60ull * SECOND);
        assert_true(now > last);
        last = now;
    }
    assert_in_range(last, noon + 7 * SECOND - 10, noon + 7 * SECOND + 10);
}

static void a_wall_clock_set_ahead_is_followed_by_an_eighth_until_it_is_reached(void **state)
{
    (void)state;
    gr_clock c = {0};
    gr_clock_read(&c, 0, noon);
    assert_int_equal(gr_clock_read(&c, 8 * SECOND, noon + 68ull * SECOND), noon + 9 * SECOND);
    assert_int_equal(gr_clock_read(&c, 800ull * SECOND, noon + 860ull * SECOND), noon + 860ull * SECOND);
}

static void reading_often_follows_as_fast_as_reading_seldom(void **state)
{
    (void)state;
    gr_clock c = {0};
    gr_clock_read(&c, 0, noon);
    for (uint64_t us = 3; us <= 3 * 80000; us += 3) gr_clock_read(&c, us, noon + us + 60ull * SECOND);
    assert_in_range(c.now_us, noon + 270000 - 5, noon + 270000);
}

static void a_wall_clock_far_ahead_is_taken_at_once(void **state)
{
    (void)state;
    gr_clock c = {0};
    gr_clock_read(&c, 0, noon);
    assert_int_equal(gr_clock_read(&c, SECOND, noon + 500ull * SECOND), noon + 500ull * SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_begins_with_the_wall_clock_and_runs_with_the_steady_one),
        cmocka_unit_test(a_wall_clock_set_back_slows_the_time_by_an_eighth),
        cmocka_unit_test(a_wall_clock_set_ahead_is_followed_by_an_eighth_until_it_is_reached),
        cmocka_unit_test(reading_often_follows_as_fast_as_reading_seldom),
        cmocka_unit_test(a_wall_clock_far_ahead_is_taken_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
