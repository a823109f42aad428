/* token_test.c - tokens: made, read, mistyped; the hash under which they are stored. */
#include "proto/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static gr_arena *arena;
static const gr_token_kind kinds[] = {GR_TOKEN_ACCESS, GR_TOKEN_REFRESH, GR_TOKEN_LOGIN, GR_TOKEN_BROWSER};

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static gr_str made(gr_token_kind kind, uint8_t shard, unsigned first)
{
    unsigned char random[GR_TOKEN_RANDOM];
    for (size_t i = 0; i < sizeof random; i++) random[i] = (unsigned char)(first + 7 * i);
    return gr_token_make(arena, kind, shard, random);
}

static bool is_token(gr_str token, gr_token_kind kind)
{
    uint8_t shard = 99;
    bool good = gr_token_read(token, kind, &shard);
    if (!good) assert_int_equal(shard, 0);
    return good;
}

static void a_token_names_its_kind_and_shard(void **state)
{
    (void)state;
    for (size_t k = 0; k < 4; k++)
        for (unsigned i = 0; i < 256; i++) {
            uint8_t shard = 0;
            gr_str token = made(kinds[k], (uint8_t)i, i);
            assert_true(token.size <= GR_TOKEN_TEXT_MAX);
            assert_true(gr_token_read(token, kinds[k], &shard));
            assert_int_equal(shard, i);
            for (size_t other = 0; other < 4; other++) assert_int_equal(is_token(token, kinds[other]), other == k);
        }
}

static void a_token_goes_into_a_header_and_a_query_as_it_is(void **state)
{
    (void)state;
    gr_str token = made(GR_TOKEN_ACCESS, 200, 255);
    for (size_t i = 0; i < token.size; i++) {
        char c = token.ptr[i];
        assert_true((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_');
    }
}

static void the_form_of_tokens_given_out_stays(void **state)
{
    (void)state;
    gr_str head = GR_STR("grt_17_AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK-2vcTL0tk_");
    gr_str token = made(GR_TOKEN_ACCESS, 17, 0);
    assert_true(gr_str_starts(token, head));
    assert_int_equal(token.size, head.size + 6);
}

static void a_mistyped_character_is_refused_wherever_it_is(void **state)
{
    (void)state;
    gr_str token = made(GR_TOKEN_ACCESS, 17, 3);
    char *text = gr_arena_alloc(arena, token.size + 1);
    for (size_t i = 0; i < token.size; i++)
        for (const char *c = "aZ0_-/"; *c; c++) {
            memcpy(text, token.ptr, token.size);
            if (text[i] == *c) continue;
            text[i] = *c;
            if (is_token(gr_str_of(text, token.size), GR_TOKEN_ACCESS)) fail_msg("'%c' at %zu is taken", *c, i);
        }
}

static void a_token_that_is_cut_or_longer_is_refused(void **state)
{
    (void)state;
    gr_str token = made(GR_TOKEN_ACCESS, 255, 9);
    for (size_t size = 0; size < token.size; size++) {
        assert_false(is_token(gr_str_head(token, size), GR_TOKEN_ACCESS));
        assert_false(is_token(gr_str_from(token, token.size - size), GR_TOKEN_ACCESS));
    }
    assert_false(is_token(gr_arena_cat(arena, 2, (gr_str[]){token, GR_STR("x")}), GR_TOKEN_ACCESS));
    assert_false(is_token(gr_arena_cat(arena, 2, (gr_str[]){token, GR_STR(" ")}), GR_TOKEN_ACCESS));
    assert_false(is_token(gr_arena_cat(arena, 3, (gr_str[]){token, token, token}), GR_TOKEN_ACCESS));
    assert_false(is_token((gr_str){0}, GR_TOKEN_ACCESS));
}

static void the_hash_is_sha_256_of_the_whole_text(void **state)
{
    (void)state;
    unsigned char hash[GR_TOKEN_HASH], other[GR_TOKEN_HASH];
    gr_token_hash(GR_STR("abc"), hash);
    assert_memory_equal(hash, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8);
    gr_token_hash(made(GR_TOKEN_ACCESS, 1, 1), hash);
    gr_token_hash(made(GR_TOKEN_ACCESS, 1, 2), other);
    assert_memory_not_equal(hash, other, sizeof hash);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_token_names_its_kind_and_shard),
        CASE(a_token_goes_into_a_header_and_a_query_as_it_is),
        CASE(the_form_of_tokens_given_out_stays),
        CASE(a_mistyped_character_is_refused_wherever_it_is),
        CASE(a_token_that_is_cut_or_longer_is_refused),
        CASE(the_hash_is_sha_256_of_the_whole_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
