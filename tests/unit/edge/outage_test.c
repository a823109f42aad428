/* outage_test.c - when it is our own network that is out. */
#include "edge/outage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SERVERS = 100, MINUTE = 60 * 1000 };

static gr_outage o;
static gr_outage_server servers[SERVERS];

static int set_up(void **state)
{
    (void)state;
    o = (gr_outage){0};
    for (int i = 0; i < SERVERS; i++) servers[i] = (gr_outage_server){0};
    for (int i = 0; i < 10; i++) gr_outage_answered(&o, &servers[i], MINUTE);
    return 0;
}

static void servers_that_never_worked_tell_nothing(void **state)
{
    (void)state;
    for (int i = 10; i < SERVERS; i++) gr_outage_lost(&o, &servers[i], 2 * MINUTE);
    assert_false(gr_outage_is(&o));
}

static void servers_that_worked_long_ago_tell_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) gr_outage_lost(&o, &servers[i], MINUTE + GR_OUTAGE_WORKED_MS + 1);
    assert_false(gr_outage_is(&o));
}

static void one_server_that_fails_often_is_one(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) gr_outage_lost(&o, &servers[0], 2 * MINUTE);
    assert_false(gr_outage_is(&o));
}

static void an_answer_in_between_shows_that_the_network_works(void **state)
{
    (void)state;
    for (int i = 0; i < GR_OUTAGE_SERVERS - 1; i++) gr_outage_lost(&o, &servers[i], 2 * MINUTE);
    gr_outage_answered(&o, &servers[9], 2 * MINUTE);
    gr_outage_lost(&o, &servers[GR_OUTAGE_SERVERS], 2 * MINUTE);
    assert_false(gr_outage_is(&o));
}

static void when_all_fail_at_once_few_are_tried_until_one_answers(void **state)
{
    unsigned tried = 0;
    (void)state;
    for (int i = 0; i < GR_OUTAGE_SERVERS; i++) gr_outage_lost(&o, &servers[i], 2 * MINUTE);
    assert_true(gr_outage_is(&o));
    for (uint64_t now = 2 * MINUTE; now < 3 * MINUTE; now += 10) tried += gr_outage_may_try(&o, now);
    assert_in_range(tried, MINUTE / GR_OUTAGE_PROBE_MS - 1, MINUTE / GR_OUTAGE_PROBE_MS);
    gr_outage_answered(&o, &servers[5], 3 * MINUTE);
    assert_false(gr_outage_is(&o));
    assert_true(gr_outage_may_try(&o, 3 * MINUTE));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        T(servers_that_never_worked_tell_nothing), T(servers_that_worked_long_ago_tell_nothing),
        T(one_server_that_fails_often_is_one), T(an_answer_in_between_shows_that_the_network_works),
        T(when_all_fail_at_once_few_are_tried_until_one_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
