/* token_cache_test.c - leases on tokens: kept until they end, forgotten when told, bounded. */
#include "edge/token_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 1000000 };

static gr_token_cache *cache;
static unsigned char bytes[GR_TOKEN_HASH];

static int set_up(void **state)
{
    (void)state;
    cache = gr_token_cache_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_token_cache_free(&cache);
    return cache != NULL;
}

/* A hash that differs from others in its last bytes only. */
static gr_str hash(uint32_t number)
{
    memcpy(bytes + GR_TOKEN_HASH - sizeof number, &number, sizeof number);
    return gr_str_of(bytes, sizeof bytes);
}

static void put(uint32_t number, const char *user, uint64_t until_ms)
{
    gr_token_owner owner = {.user = gr_str_c(user), .device = GR_STR("PHONE")};
    gr_token_cache_put(cache, hash(number), &owner, until_ms);
}

static bool knows(uint32_t number, uint64_t now_ms)
{
    gr_token_owned owned;
    return gr_token_cache_find(cache, hash(number), now_ms, &owned);
}

static void what_was_put_is_found_whole(void **state)
{
    (void)state;
    gr_token_owned owned = {0};
    gr_token_owner admin = {.user = GR_STR("@a:x"), .device = GR_STR("D"), .admin = true};
    gr_token_owner guest = {.user = GR_STR("@g:x"), .guest = true};
    gr_token_cache_put(cache, hash(1), &admin, NOW + 10);
    gr_token_cache_put(cache, hash(2), &guest, NOW + 10);
    assert_true(gr_token_cache_find(cache, hash(1), NOW, &owned));
    assert_true(gr_str_is(owned.user, "@a:x") && gr_str_is(owned.device, "D") && owned.admin && !owned.guest);
    assert_true(gr_token_cache_find(cache, hash(2), NOW, &owned));
    assert_true(gr_str_is(owned.user, "@g:x") && owned.device.size == 0 && owned.guest && !owned.admin);
    assert_false(gr_token_cache_find(cache, hash(3), NOW, &owned));
    assert_true(owned.user.size == 0 && !owned.admin);
}

static void a_lease_ends_at_its_time_for_good(void **state)
{
    (void)state;
    put(1, "@a:x", NOW + 10);
    assert_true(knows(1, NOW + 9));
    assert_false(knows(1, NOW + 10));
    assert_false(knows(1, NOW));       /* a clock set back does not bring it back */
}

static void a_new_lease_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    gr_token_owned owned;
    put(1, "@a:x", NOW + 10);
    put(1, "@b:x", NOW + 1000);
    assert_true(gr_token_cache_find(cache, hash(1), NOW + 500, &owned));
    assert_true(gr_str_is(owned.user, "@b:x"));
}

static void what_is_forgotten_is_not_found_and_the_rest_is(void **state)
{
    (void)state;
    put(1, "@a:x", NOW + 10);
    put(2, "@b:x", NOW + 10);
    gr_token_cache_forget(cache, hash(1));
    gr_token_cache_forget(cache, hash(7));
    assert_false(knows(1, NOW));
    assert_true(knows(2, NOW));
}

static void a_full_cache_drops_the_oldest(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < GR_TOKEN_CACHE_MAX; i++) put(i, "@a:x", NOW + 10);
    assert_true(knows(0, NOW));
    put(GR_TOKEN_CACHE_MAX, "@a:x", NOW + 10);
    assert_false(knows(0, NOW));
    assert_true(knows(1, NOW));
    assert_true(knows(GR_TOKEN_CACHE_MAX, NOW));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_was_put_is_found_whole),
        CASE(a_lease_ends_at_its_time_for_good),
        CASE(a_new_lease_takes_the_place_of_the_old_one),
        CASE(what_is_forgotten_is_not_found_and_the_rest_is),
        CASE(a_full_cache_drops_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
