/* rate_test.c - buckets: how much at once, how fast they fill, whom they keep apart. Time is an argument. */
#include "edge/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { NOW = 1000000 };
#define ALICE GR_STR("@alice:x")

static gr_rates *rates;

static int set_up(void **state)
{
    (void)state;
    rates = gr_rates_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_rates_free(&rates);
    return rates != NULL;
}

/* How many in a row are let through. */
static unsigned burst(gr_rate what, gr_str who, uint64_t now_ms)
{
    unsigned count = 0;
    while (count < 100000 && !gr_failed(gr_rates_take(rates, what, who, now_ms))) count++;
    return count;
}

static void every_kind_of_act_has_an_end_and_tells_how_long_to_wait(void **state)
{
    (void)state;
    for (int what = 0; what < GR_RATE_COUNT; what++) {
        unsigned count = burst((gr_rate)what, ALICE, NOW);
        assert_true(count >= 5 && count <= 200);
        gr_err err = gr_rates_take(rates, (gr_rate)what, ALICE, NOW);
        assert_int_equal(err.code, GR_LIMIT_EXCEEDED);
        assert_true(err.retry_after_ms > 0 && err.retry_after_ms <= (what == GR_RATE_EMAIL ? 10 * 60 * 1000 : 10000));
        assert_true(gr_failed(gr_rates_take(rates, (gr_rate)what, ALICE, NOW + err.retry_after_ms / 2)));
        assert_false(gr_failed(gr_rates_take(rates, (gr_rate)what, ALICE, NOW + err.retry_after_ms)));
        assert_true(gr_failed(gr_rates_take(rates, (gr_rate)what, ALICE, NOW + err.retry_after_ms)));
    }
}

static void acts_and_people_have_buckets_of_their_own(void **state)
{
    (void)state;
    unsigned reads = burst(GR_RATE_READ, ALICE, NOW);
    assert_int_equal(burst(GR_RATE_READ, ALICE, NOW), 0);
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW), 50);
    assert_int_equal(burst(GR_RATE_READ, GR_STR("@alice:y"), NOW), reads);
    assert_int_equal(burst(GR_RATE_READ, GR_STR("@alice:x\0PHONE"), NOW), reads);
    assert_int_equal(burst(GR_RATE_READ, GR_STR(""), NOW), reads);
}

static void a_bucket_fills_at_its_rate_and_never_over_its_brim(void **state)
{
    (void)state;
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW), 50);
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW + 1000), 10);
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW + 3000), 20);
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW + 100000000), 50);
}

static void a_clock_set_back_gives_nothing_and_takes_nothing_for_long(void **state)
{
    (void)state;
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW), 50);
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW - 500000), 0);
    assert_int_equal(burst(GR_RATE_MESSAGE, ALICE, NOW - 499000), 10);
}

static void a_full_table_forgives_the_one_seen_longest_ago(void **state)
{
    (void)state;
    burst(GR_RATE_MESSAGE, ALICE, NOW);
    burst(GR_RATE_MESSAGE, GR_STR("@bob:x"), NOW);
    assert_true(gr_failed(gr_rates_take(rates, GR_RATE_MESSAGE, ALICE, NOW)));         /* seen again, after bob */
    for (int i = 0; i < GR_RATE_BUCKETS_MAX - 1; i++) {
        char who[32];
        int size = snprintf(who, sizeof who, "@u%d:x", i);
        assert_false(gr_failed(gr_rates_take(rates, GR_RATE_MESSAGE, gr_str_of(who, (size_t)size), NOW)));
    }
    assert_true(gr_failed(gr_rates_take(rates, GR_RATE_MESSAGE, ALICE, NOW)));
    assert_false(gr_failed(gr_rates_take(rates, GR_RATE_MESSAGE, GR_STR("@bob:x"), NOW)));
}

static void who_has_one_address_of_ipv6_has_the_network(void **state)
{
    static const struct { const char *address, *network; } cases[] = {
        {"192.0.2.1", "192.0.2.1"}, {"2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002/64"},
        {"2001:db8:1:2::9", "2001:0db8:0001:0002/64"}, {"2001:db8:1:3::9", "2001:0db8:0001:0003/64"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"}, {"::1", "0000:0000:0000:0000/64"}, {"no:address", "no:address"}};
    (void)state;
    gr_arena *a = gr_arena_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(gr_str_is(gr_rates_network(a, gr_str_c(cases[i].address)), cases[i].network));
    gr_arena_free(&a);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(every_kind_of_act_has_an_end_and_tells_how_long_to_wait),
        CASE(acts_and_people_have_buckets_of_their_own),
        CASE(a_bucket_fills_at_its_rate_and_never_over_its_brim),
        CASE(a_clock_set_back_gives_nothing_and_takes_nothing_for_long),
        CASE(who_has_one_address_of_ipv6_has_the_network),
        CASE(a_full_table_forgives_the_one_seen_longest_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
