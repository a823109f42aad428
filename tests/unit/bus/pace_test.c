/* pace_test.c - the share of background work follows what messages feel of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bus/pace.h"

enum { SLICE_US = 2000, LONG_AGO_US = 60000000 };

/* Rounds of: messages of the usual length, then a slice that some meet. */
static uint64_t rounds(gr_pace *p, int count, uint64_t usual_us, uint64_t met_us)
{
    uint64_t now_us = LONG_AGO_US, pause_us = 0;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < 20; k++, now_us += 1000) gr_pace_felt(p, now_us - usual_us, now_us);
        now_us += usual_us + met_us;
        gr_pace_begin(p);
        gr_pace_felt(p, now_us - met_us, now_us);
        pause_us = gr_pace_end(p, SLICE_US, now_us);
        now_us += usual_us + met_us + 1000;
    }
    return pause_us;
}

static void work_alone_takes_half_of_the_time(void **state)
{
    gr_pace p = {0};
    (void)state;
    gr_pace_begin(&p);
    assert_int_equal(gr_pace_end(&p, SLICE_US, LONG_AGO_US), SLICE_US);
}

static void work_takes_more_while_nobody_feels_it(void **state)
{
    gr_pace p = {0};
    (void)state;
    assert_int_equal(rounds(&p, 1, 30000, 31000), SLICE_US * 9);
    assert_int_equal(rounds(&p, 40, 30000, 31000), SLICE_US * 3);
    assert_int_equal(p.percent, GR_PACE_MOST);
}

static void work_takes_less_while_messages_that_meet_it_are_slower(void **state)
{
    gr_pace p = {0};
    (void)state;
    assert_int_equal(rounds(&p, 40, 1000, 50000), SLICE_US * 99);
    assert_int_equal(p.percent, GR_PACE_LEAST);
}

static void work_recovers_from_a_bad_moment(void **state)
{
    gr_pace p = {0};
    (void)state;
    rounds(&p, 10, 1000, 50000);
    rounds(&p, 40, 1000, 1000);
    assert_int_equal(p.percent, GR_PACE_MOST);
}

static void a_message_that_waited_behind_a_slice_has_met_it(void **state)
{
    gr_pace p = {0};
    (void)state;
    rounds(&p, 5, 1000, 1000);
    unsigned before = p.percent;
    uint64_t now_us = p.ended_us + 40000;
    gr_pace_felt(&p, p.ended_us - 1, now_us);
    gr_pace_begin(&p);
    gr_pace_end(&p, SLICE_US, now_us);
    assert_int_equal(p.percent, before / 2);
}

static void no_pause_is_longer_than_the_bound(void **state)
{
    gr_pace p = {.percent = 2};
    (void)state;
    gr_pace_felt(&p, 0, LONG_AGO_US);
    gr_pace_begin(&p);
    assert_int_equal(gr_pace_end(&p, LONG_AGO_US, LONG_AGO_US), GR_PACE_PAUSE_MAX_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_alone_takes_half_of_the_time),
        cmocka_unit_test(work_takes_more_while_nobody_feels_it),
        cmocka_unit_test(work_takes_less_while_messages_that_meet_it_are_slower),
        cmocka_unit_test(work_recovers_from_a_bad_moment),
        cmocka_unit_test(a_message_that_waited_behind_a_slice_has_met_it),
        cmocka_unit_test(no_pause_is_longer_than_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
