/* Passwords: which are good enough, their hashes, and those of other servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/login/password.h"

#include <crypt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#define BCRYPT "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
static const gr_env here = {.password_memory = 64 * 1024, .password_bcrypt_cost = 6};
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
    gr_str input = gr_password_verify_input(a, &here, salt, gr_str_c(hash), password);
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
    gr_str input = gr_password_hash_input(a, &here, salt, gr_str_of(huge, GR_PASSWORD_SIZE_MAX));
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
        {BCRYPT, true}, {"$2b$07$abcdefghijklmnopqrstuuKZtBX5g6oxgqjfK7lCnSuQyvE77ZvSK", false},
        {"$2b$00$abcdefghijklmnopqrstuuKZtBX5g6oxgqjfK7lCnSuQyvE77ZvSK", false},
        {"$2b$15$abcdefghijklmnopqrstuuKZtBX5g6oxgqjfK7lCnSuQyvE77ZvSK", false},
        {"$2x$04$abcdefghijklmnopqrstuuKZtBX5g6oxgqjfK7lCnSuQyvE77ZvSK", false}, {"$2b$04$short", false},
        {"$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE", true},
        {"$argon2id$v=19$m=32,t=4,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE", true},
        {"$argon2id$v=19$m=128,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE", false},
        {"$argon2id$v=19$m=32,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE", false},
        {"$argon2id$v=19$m=99999999,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE", false},
        {"$argon2id$v=19$m=64,t=2", false}, {"$6$salt$abc", false}, {"plain", false}, {"", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(!gr_failed(gr_password_hash_check(&here, gr_str_c(cases[i].hash))), cases[i].good);
    gr_env without = here;
    without.password_bcrypt_cost = 0;
    assert_true(gr_failed(gr_password_hash_check(&without, GR_STR(BCRYPT))));
}

/* --- what a check costs ------------------------------------------------------------------------------------ */
/* The work that was really done: the linker leads the calls to libsodium and libcrypt through here. */
static struct { uint64_t argon2id_kib, bcrypt_rounds; } work;

int __real_crypto_pwhash(unsigned char *, unsigned long long, const char *, unsigned long long, const unsigned char *,
                         unsigned long long, size_t, int);
int __wrap_crypto_pwhash(unsigned char *, unsigned long long, const char *, unsigned long long, const unsigned char *,
                         unsigned long long, size_t, int);
int __wrap_crypto_pwhash(unsigned char *out, unsigned long long size, const char *password, unsigned long long password_size,
                         const unsigned char *with, unsigned long long passes, size_t memory, int algorithm)
{
    work.argon2id_kib += passes * (memory / 1024);
    return __real_crypto_pwhash(out, size, password, password_size, with, passes, memory, algorithm);
}

int __real_crypto_pwhash_str_verify(const char *, const char *, unsigned long long);
int __wrap_crypto_pwhash_str_verify(const char *, const char *, unsigned long long);
int __wrap_crypto_pwhash_str_verify(const char *hash, const char *password, unsigned long long size)
{
    uint64_t kib = 0, passes = 0;
    assert_int_equal(sscanf(hash, "$argon2id$v=19$m=%" SCNu64 ",t=%" SCNu64 ",", &kib, &passes), 2);
    work.argon2id_kib += kib * passes;
    return __real_crypto_pwhash_str_verify(hash, password, size);
}

char *__real_crypt_r(const char *, const char *, struct crypt_data *);
char *__wrap_crypt_r(const char *, const char *, struct crypt_data *);
char *__wrap_crypt_r(const char *password, const char *setting, struct crypt_data *data)
{
    unsigned cost = 0;
    assert_int_equal(sscanf(setting + 4, "%2u$", &cost), 1);
    char *made = __real_crypt_r(password, setting, data);
    if (made && made[0] == '$') work.bcrypt_rounds += 1U << cost;      /* else it has refused, and done nothing */
    return made;
}

static void assert_costs(const gr_env *env, const char *hash, gr_str password)
{
    gr_arena *a = gr_arena_new(0);
    gr_buf out = {0};
    gr_str input = gr_password_verify_input(a, env, salt, gr_str_c(hash), password);
    memset(&work, 0, sizeof work);
    assert_true(gr_password_verify_work.run(a, input, NULL, &out));
    assert_true(gr_str_is(gr_buf_view(&out), "0"));
    assert_int_equal(work.argon2id_kib, env->password_memory / 1024 * GR_PASSWORD_PASSES);
    assert_int_equal(work.bcrypt_rounds, env->password_bcrypt_cost ? 1U << env->password_bcrypt_cost : 0);
    gr_buf_free(&out);
    gr_arena_free(&a);
}

static void a_wrong_password_costs_the_same_whatever_hash_there_is_and_without_one(void **state)
{
    static const char *const hashes[] = {
        "", BCRYPT, "$2a$05$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2y$06$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE",
        "$argon2id$v=19$m=32,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE",
        "$argon2id$v=19$m=32,t=4,p=1$MDEyMzQ1Njc4OWFiY2RlAA$qL3b9Q8n8kqVxR0m1cJ6O3u0J2wL6d8m3c5s0YgO9nE"};
    char longest[GR_PASSWORD_SIZE_MAX + 1];
    gr_env without = here;
    without.password_bcrypt_cost = 0;
    (void)state;
    memset(longest, 'x', sizeof longest);
    const gr_str tried[] = {GR_STR("wrong"), GR_STR("a\0b"), GR_STR(""), gr_str_of(longest, GR_PASSWORD_SIZE_MAX),
                            gr_str_of(longest, sizeof longest)};
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++)
        for (size_t k = 0; k < sizeof tried / sizeof tried[0]; k++) {
            assert_costs(&here, hashes[i], tried[k]);
            if (strncmp(hashes[i], "$2", 2) != 0) assert_costs(&without, hashes[i], tried[k]);
        }
}

static void a_hash_that_is_made_otherwise_than_ours_is_replaced_when_the_password_is_right(void **state)
{
    const gr_env before = {.password_memory = 32 * 1024};
    gr_arena *a = gr_arena_new(0);
    gr_buf old = {0};
    (void)state;
    assert_true(gr_password_hash_work.run(a, gr_password_hash_input(a, &before, salt, GR_STR("secret")), NULL, &old));
    gr_buf_char(&old, 0);
    gr_buf right = verified(old.ptr, GR_STR("secret"));
    assert_true(gr_str_starts(gr_buf_view(&right), GR_STR("1$argon2id$v=19$m=64,t=2,")));
    gr_buf_free(&old), gr_buf_free(&right);
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_needs_its_length_in_characters_and_what_is_required),
        cmocka_unit_test(a_password_of_bcrypt_is_verified_and_hashed_anew),
        cmocka_unit_test(a_password_that_is_too_long_is_nobodys),
        cmocka_unit_test(a_wrong_password_costs_the_same_whatever_hash_there_is_and_without_one),
        cmocka_unit_test(a_hash_that_is_made_otherwise_than_ours_is_replaced_when_the_password_is_right),
        cmocka_unit_test(only_hashes_that_can_be_verified_at_a_bearable_cost_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
