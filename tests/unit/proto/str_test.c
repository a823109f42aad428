/* str_test.c - views, number texts, UTF-8, the fixed hash, arenas and buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proto/str.h"

static void compares_by_unsigned_bytes_and_then_length(void **state)
{
    (void)state;
    static const gr_str order[] = {{"", 0}, {"\0", 1}, {"\0\0", 2}, {"a", 1}, {"a\0", 2}, {"ab", 2}, {"b", 1},
                                   {"\x7f", 1}, {"\x80", 1}, {"\xff", 1}, {"\xff\x01", 2}};
    int count = sizeof order / sizeof *order;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++) {
            int got = gr_str_cmp(order[i], order[j]);
            assert_int_equal((got > 0) - (got < 0), (i > j) - (i < j));
            assert_int_equal(gr_str_eq(order[i], order[j]), i == j);
        }
    assert_int_equal(gr_str_cmp((gr_str){0}, GR_STR("")), 0);
}

static void cuts_never_leave_the_view(void **state)
{
    (void)state;
    gr_str s = GR_STR("!room:example.org");
    assert_true(gr_str_is(gr_str_from(s, 6), "example.org"));
    assert_int_equal(gr_str_from(s, s.size).size, 0);
    assert_int_equal(gr_str_from(s, 1000).size, 0);
    assert_true(gr_str_is(gr_str_head(s, 5), "!room"));
    assert_true(gr_str_eq(gr_str_head(s, 1000), s));
    assert_true(gr_str_starts(s, GR_STR("!room")));
    assert_true(gr_str_starts(s, (gr_str){0}));
    assert_false(gr_str_starts(GR_STR("!r"), GR_STR("!room")));
    assert_true(gr_str_ends(s, GR_STR(".org")));
    assert_true(gr_str_ends(s, GR_STR("")));
    assert_false(gr_str_ends(GR_STR("g"), GR_STR(".org")));
    assert_int_equal(gr_str_find(s, ':'), 5);
    assert_int_equal(gr_str_find(s, '#'), -1);
    assert_int_equal(gr_str_find((gr_str){0}, 'x'), -1);
    assert_true(gr_str_empty(gr_str_c(NULL)));
    char *copy = gr_str_dup(gr_str_of("a\0b", 3));
    assert_memory_equal(copy, "a\0b", 4);
    free(copy);
}

static void knows_well_formed_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"", "plain", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                       "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
                                      "\xf0\x9f\x98",
                                      "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe", "\xff",
                                      "ok\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(gr_str_utf8(gr_str_c(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (gr_str_utf8(gr_str_c(bad[i]))) fail_msg("accepted text %zu", i);
    assert_true(gr_str_utf8(GR_STR("a\0b")));
}

static void reads_u64_up_to_its_limit(void **state)
{
    (void)state;
    uint64_t n = 1;
    assert_true(gr_str_u64(GR_STR("0"), &n) && n == 0);
    assert_true(gr_str_u64(GR_STR("007"), &n) && n == 7);
    assert_true(gr_str_u64(GR_STR("18446744073709551615"), &n) && n == UINT64_MAX);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "18446744073709551616",
                                      "18446744073709551620", "99999999999999999999",
                                      "184467440737095516150", "/", ":"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        n = 1;
        if (gr_str_u64(gr_str_c(bad[i]), &n)) fail_msg("accepted \"%s\"", bad[i]);
        assert_true(n == 0);
    }
}

static void reads_i64_with_a_sign(void **state)
{
    (void)state;
    int64_t n = 1;
    assert_true(gr_str_i64(GR_STR("-9223372036854775807"), &n) && n == -INT64_MAX);
    assert_true(gr_str_i64(GR_STR("9223372036854775807"), &n) && n == INT64_MAX);
    assert_true(gr_str_i64(GR_STR("-0"), &n) && n == 0);
    assert_false(gr_str_i64(GR_STR("9223372036854775808"), &n));
    assert_false(gr_str_i64(GR_STR("-"), &n));
    assert_false(gr_str_i64(GR_STR("--1"), &n));
}

/* Stored data depends on these values: a change of the hash must not go unseen. */
static void hash_stays_what_it_was(void **state)
{
    (void)state;
    assert_true(gr_str_hash((gr_str){0}) == 0x8570e250fe4c2473u);
    assert_true(gr_str_hash(GR_STR("a")) == 0x82b19d9859a61322u);
    assert_true(gr_str_hash(GR_STR("!room:example.org")) == 0x15735a8392dd8322u);
    assert_true(gr_str_hash(GR_STR("\xff\x00\x80")) == 0xab017fac603b3520u);
    assert_true(gr_str_hash(GR_STR("\0")) != gr_str_hash((gr_str){0}));
}

static void arena_memory_is_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(64);
    char *before = NULL;
    for (size_t size = 0; size < 300; size++) {
        char *p = gr_arena_alloc(a, size);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        memset(p, 0xee, size);
        if (before) assert_int_equal((unsigned char)before[size - 2], 0xee);
        before = size ? p : NULL;
    }
    gr_arena_reset(a);
    assert_int_equal(gr_arena_used(a), 0);
    char *again = gr_arena_alloc(a, 256);
    for (size_t i = 0; i < 256; i++) assert_int_equal(again[i], 0);
    memset(gr_arena_alloc(a, 8 * 1024 * 1024), 1, 8 * 1024 * 1024);
    gr_arena_reset(a);
    assert_true(gr_str_is(gr_arena_str(a, GR_STR("after")), "after"));
    gr_arena_free(&a);
    assert_null(a);
    gr_arena_free(&a);
}

static void arena_texts_end_in_nul(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    assert_string_equal(gr_arena_str(a, gr_str_of("abcdef", 3)).ptr, "abc");
    assert_string_equal(gr_arena_str(a, (gr_str){0}).ptr, "");
    gr_str printed = gr_arena_printf(a, "%s=%d", "n", -5);
    assert_string_equal(printed.ptr, "n=-5");
    assert_int_equal(printed.size, 4);
    gr_str parts[] = {GR_STR("a"), {0}, GR_STR("bc")};
    assert_string_equal(gr_arena_cat(a, 3, parts).ptr, "abc");
    assert_int_equal(gr_arena_cat(a, 0, NULL).size, 0);
    gr_arena_free(&a);
}

static void buffer_keeps_all_that_was_added(void **state)
{
    (void)state;
    gr_buf b = {0};
    gr_buf_add(&b, NULL, 0);
    assert_int_equal(gr_buf_view(&b).size, 0);
    for (int i = 0; i < 10000; i++) gr_buf_char(&b, (char)i);
    gr_buf_printf(&b, "%05d", 42);
    gr_buf_c(&b, "c");
    gr_buf_str(&b, GR_STR("s"));
    assert_int_equal(b.size, 10007);
    for (int i = 0; i < 10000; i++) assert_int_equal(b.ptr[i], (char)i);
    assert_true(gr_str_is(gr_str_from(gr_buf_view(&b), 10000), "00042cs"));
    gr_buf_clear(&b);
    assert_int_equal(b.size, 0);
    gr_buf_free(&b);
    assert_null(b.ptr);
    assert_int_equal(b.room, 0);
}

static void big_endian_numbers_sort_as_numbers(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 0xff, 0x100, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                       INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        gr_buf low = {0}, high = {0};
        gr_buf_u64be(&high, numbers[i]);
        assert_int_equal(high.size, 8);
        assert_true(gr_u64be(high.ptr) == numbers[i]);
        if (i) gr_buf_u64be(&low, numbers[i - 1]);
        assert_true(gr_str_cmp(gr_buf_view(&low), gr_buf_view(&high)) < 0);
        gr_buf_free(&low);
        gr_buf_free(&high);
    }
    gr_buf b = {0};
    gr_buf_u32be(&b, 0x01020304);
    assert_memory_equal(b.ptr, "\1\2\3\4", 4);
    assert_int_equal(gr_u32be(b.ptr), 0x01020304);
    gr_buf_free(&b);
}

static void short_numbers_are_read_back_and_cut_ones_refused(void **state)
{
    (void)state;
    const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        gr_buf b = {0};
        uint64_t got;
        gr_buf_varint(&b, numbers[i]);
        gr_str rest = gr_buf_view(&b), cut = gr_str_head(rest, rest.size - 1);
        assert_true(gr_str_varint(&rest, &got) && got == numbers[i] && rest.size == 0);
        assert_false(gr_str_varint(&cut, &got));
        gr_buf_free(&b);
    }
    gr_str endless = GR_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    uint64_t got;
    assert_false(gr_str_varint(&endless, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_by_unsigned_bytes_and_then_length),
        cmocka_unit_test(cuts_never_leave_the_view),
        cmocka_unit_test(knows_well_formed_utf8), cmocka_unit_test(reads_u64_up_to_its_limit),
        cmocka_unit_test(reads_i64_with_a_sign), cmocka_unit_test(hash_stays_what_it_was),
        cmocka_unit_test(arena_memory_is_zeroed_aligned_and_apart), cmocka_unit_test(arena_texts_end_in_nul),
        cmocka_unit_test(buffer_keeps_all_that_was_added),
        cmocka_unit_test(big_endian_numbers_sort_as_numbers),
        cmocka_unit_test(short_numbers_are_read_back_and_cut_ones_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
