/* Passwords: which are good enough, their hashes, and those of other servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/login/password.h"

#define BCRYPT "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
enum { MEMORY = 64 * 1024 };
static const unsigned char salt[GR_PASSWORD_SALT] = "0123456789abcde";

static gr_errcode judged(const gr_env *env, const char *password)
{
    gr_arena *a = gr_arena_new(0);
    gr_errcode code = gr_password_check(a, env, GR_STR("@ann:here"), gr_str_c(password)).code;
    gr_arena_free(&a);
    return code;
}

static void a_password_needs_its_length_in_characters_and_what_is_required(void **state)
{
    const gr_env plain = {.password_min_length = 4};
    const gr_env strict = {.password_min_length = 4, .password_needs = GR_PASSWORD_NEEDS_LOWERCASE | GR_PASSWORD_NEEDS_UPPERCASE
                                                                       | GR_PASSWORD_NEEDS_DIGIT | GR_PASSWORD_NEEDS_SYMBOL};
    (void)state;
    assert_int_equal(judged(&plain, "abc"), GR_WEAK_PASSWORD);
    assert_int_equal(judged(&plain, "äöü"), GR_WEAK_PASSWORD);     /* six bytes, three characters */
    assert_int_equal(judged(&plain, "äöüß"), GR_OK);
    assert_int_equal(judged(&plain, "@ann:here"), GR_WEAK_PASSWORD);
    assert_int_equal(judged(&strict, "aB3!"), GR_OK);
    static const char *const lacking[] = {"AB3!", "ab3!", "aBc!", "aB34"};
    for (size_t i = 0; i < sizeof lacking / sizeof lacking[0]; i++)
        assert_int_equal(judged(&strict, lacking[i]), GR_WEAK_PASSWORD);
    char longest[GR_PASSWORD_SIZE_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[GR_PASSWORD_SIZE_MAX + 1] = 0;
    assert_int_equal(judged(&plain, longest), GR_INVALID_PARAM);
    longest[GR_PASSWORD_SIZE_MAX] = 0;
    assert_int_equal(judged(&plain, longest), GR_OK);
}

/* What the work says of a password and a hash; freed by the caller. */
static gr_buf verified(const char *hash, gr_str password)
{
    gr_arena *a = gr_arena_new(0);
    gr_buf out = {0};
    gr_str input = gr_password_verify_input(a, MEMORY, salt, gr_str_c(hash), password);
    assert_true(gr_password_verify_work.run(a, input, NULL, &out));
    gr_arena_free(&a);
    return out;
}

static void a_password_of_bcrypt_is_verified_and_hashed_anew(void **state)
{
    (void)state;
    gr_buf right = verified(BCRYPT, GR_STR("secret")), wrong = verified(BCRYPT, GR_STR("Secret"));
    assert_true(gr_str_is(gr_buf_view(&wrong), "0"));
    assert_true(gr_str_starts(gr_buf_view(&right), GR_STR("1$argon2id$")));
    gr_buf_char(&right, 0);
    gr_buf again = verified(right.ptr + 1, GR_STR("secret"));
    assert_true(gr_str_is(gr_buf_view(&again), "1"));
    gr_buf nul = verified(BCRYPT, gr_str_of("secret\0x", 8));
    assert_true(gr_str_is(gr_buf_view(&nul), "0"));
    gr_buf_free(&right), gr_buf_free(&wrong), gr_buf_free(&again), gr_buf_free(&nul);
}

static void a_password_that_is_too_long_is_nobodys(void **state)
{
    (void)state;
    char *huge = gr_alloc(1 << 20);
    memset(huge, 'x', 1 << 20);
    gr_arena *a = gr_arena_new(0);
    gr_buf hash = {0};
    gr_str input = gr_password_hash_input(a, MEMORY, salt, gr_str_of(huge, GR_PASSWORD_SIZE_MAX));
    assert_true(gr_password_hash_work.run(a, input, NULL, &hash));
    gr_buf_char(&hash, 0);
    gr_buf right = verified(hash.ptr, gr_str_of(huge, GR_PASSWORD_SIZE_MAX));
    gr_buf longer = verified(hash.ptr, gr_str_of(huge, 1 << 20));
    assert_true(gr_str_is(gr_buf_view(&right), "1"));
    assert_true(gr_str_is(gr_buf_view(&longer), "0"));
    gr_buf_free(&hash), gr_buf_free(&right), gr_buf_free(&longer);
    gr_arena_free(&a);
    free(huge);
}

static void only_hashes_that_can_be_verified_at_a_bearable_cost_are_taken(void **state)
{
    static const struct { const char *hash; bool good; } cases[] = {
        {BCRYPT, true}, {"$2b$15$abcdefghijklmnopqrstuuKZtBX5g6oxgqjfK7lCnSuQyvE77ZvSK", false},
        {"$2x$04$abcdefghijklmnopqrstuuKZtBX5g6oxgqjfK7lCnSuQyvE77ZvSK", false}, {"$2b$04$short", false},
        {"$argon2id$v=19$m=65536,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE", true},
        {"$argon2id$v=19$m=99999999,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE", false},
        {"$argon2id$v=19$m=64,t=2", false}, {"$6$salt$abc", false}, {"plain", false}, {"", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(gr_password_hash_good(gr_str_c(cases[i].hash)), cases[i].good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_needs_its_length_in_characters_and_what_is_required),
        cmocka_unit_test(a_password_of_bcrypt_is_verified_and_hashed_anew),
        cmocka_unit_test(a_password_that_is_too_long_is_nobodys),
        cmocka_unit_test(only_hashes_that_can_be_verified_at_a_bearable_cost_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
