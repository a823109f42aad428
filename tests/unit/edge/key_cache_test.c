/* key_cache_test.c - keys of other servers are remembered for a while, within bounds. */
#include "edge/key_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { NOW = 100000000 };
static const unsigned char key[GR_SIGN_PUBLIC] = {9};

static bool has(gr_lru *c, const char *server, const char *id, uint64_t at)
{
    unsigned char out[GR_SIGN_PUBLIC];
    return gr_key_cache_find(c, gr_str_c(server), gr_str_c(id), at, out) && memcmp(out, key, sizeof key) == 0;
}

static void a_key_is_kept_for_a_while_but_never_longer_than_it_is_valid(void **state)
{
    gr_lru *c = gr_key_cache_new();
    (void)state;
    gr_key_cache_put(c, GR_STR("a"), GR_STR("ed25519:1"), NOW, UINT64_MAX, key);
    gr_key_cache_put(c, GR_STR("b"), GR_STR("ed25519:1"), NOW, NOW + 5, key);
    assert_true(has(c, "a", "ed25519:1", NOW + GR_KEY_CACHE_MS - 1));
    assert_false(has(c, "a", "ed25519:1", NOW + GR_KEY_CACHE_MS));
    assert_true(has(c, "b", "ed25519:1", NOW + 4));
    assert_false(has(c, "b", "ed25519:1", NOW + 5));
    assert_false(has(c, "a", "ed25519:2", NOW) || has(c, "ae", "d25519:1", NOW));
    gr_lru_free(&c);
}

static void a_server_is_heard_of_once_a_minute(void **state)
{
    gr_lru *c = gr_key_cache_new();
    gr_str id = GR_STR("ed25519:1");
    (void)state;
    assert_false(gr_key_cache_heard(c, GR_STR("a"), id, NOW));
    gr_key_cache_put(c, GR_STR("a"), id, NOW, UINT64_MAX, key);
    assert_true(gr_key_cache_heard(c, GR_STR("a"), id, NOW));
    assert_false(gr_key_cache_heard(c, GR_STR("a"), id, NOW + GR_KEY_CACHE_HEARD_MS - 1));
    assert_true(gr_key_cache_heard(c, GR_STR("a"), id, NOW + GR_KEY_CACHE_HEARD_MS));
    gr_lru_free(&c);
}

static void the_key_used_least_recently_goes_first(void **state)
{
    gr_lru *c = gr_key_cache_new();
    char server[32];
    (void)state;
    for (int i = 0; i < GR_KEY_CACHE_MAX; i++) {
        int size = snprintf(server, sizeof server, "s%d", i);
        gr_key_cache_put(c, gr_str_of(server, (size_t)size), GR_STR("ed25519:1"), NOW, UINT64_MAX, key);
    }
    assert_true(has(c, "s0", "ed25519:1", NOW));
    gr_key_cache_put(c, GR_STR("one more"), GR_STR("ed25519:1"), NOW, UINT64_MAX, key);
    assert_true(has(c, "s0", "ed25519:1", NOW) && has(c, "one more", "ed25519:1", NOW));
    assert_false(has(c, "s1", "ed25519:1", NOW));
    gr_lru_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_kept_for_a_while_but_never_longer_than_it_is_valid),
        cmocka_unit_test(a_server_is_heard_of_once_a_minute),
        cmocka_unit_test(the_key_used_least_recently_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
