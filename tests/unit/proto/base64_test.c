/* base64_test.c - vectors of RFC 4648 and of the appendices, and every text that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "proto/base64.h"

static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
static const char *const coded[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
static const char *const padded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};

static void encodes_without_padding(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    for (size_t i = 0; i < 7; i++) {
        assert_true(gr_str_is(gr_base64(a, gr_str_c(plain[i])), coded[i]));
        assert_true(gr_str_is(gr_base64_url(a, gr_str_c(plain[i])), coded[i]));
    }
    assert_true(gr_str_is(gr_base64(a, GR_STR("\xfb\xff\xfe")), "+//+"));
    assert_true(gr_str_is(gr_base64_url(a, GR_STR("\xfb\xff\xfe")), "-__-"));
    gr_arena_free(&a);
}

static void decodes_with_and_without_padding(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_str raw;
    for (size_t i = 0; i < 7; i++) {
        assert_true(gr_base64_decode(a, gr_str_c(coded[i]), &raw));
        assert_true(gr_str_is(raw, plain[i]));
        assert_true(gr_base64_decode(a, gr_str_c(padded[i]), &raw));
        assert_true(gr_str_is(raw, plain[i]));
    }
    gr_arena_free(&a);
}

static void decodes_both_alphabets_but_no_mixture(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_str raw;
    assert_true(gr_base64_decode(a, GR_STR("+//+"), &raw));
    assert_true(gr_str_eq(raw, GR_STR("\xfb\xff\xfe")));
    assert_true(gr_base64_decode(a, GR_STR("-__-"), &raw));
    assert_true(gr_str_eq(raw, GR_STR("\xfb\xff\xfe")));
    assert_false(gr_base64_decode(a, GR_STR("+__+"), &raw));
    gr_arena_free(&a);
}

static void refuses_what_is_not_base64(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z", "Zg=", "Zg===", "=", "==", "====", "Zm9v=", "Zm9v====", "Z=g=",
                                      "Zm 9v",
                                      "Zm9v\n", "Zh", "Zm9", "Zm9vY", "Zm9v*", "\xc3\xa9", "Zg==Zg=="};
    gr_arena *a = gr_arena_new(0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gr_str raw = GR_STR("left over");
        if (gr_base64_decode(a, gr_str_c(bad[i]), &raw)) fail_msg("accepted \"%s\"", bad[i]);
        assert_int_equal(raw.size, 0);
    }
    gr_arena_free(&a);
}

static void refuses_a_text_past_the_limit(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_str raw, text = gr_str_of(gr_alloc(GR_BASE64_MAX + 4), GR_BASE64_MAX + 4);
    memset((char *)text.ptr, 'A', text.size);
    assert_false(gr_base64_decode(a, text, &raw));
    assert_true(gr_base64_decode(a, gr_str_head(text, GR_BASE64_MAX), &raw));
    assert_int_equal(raw.size, GR_BASE64_MAX / 4 * 3);
    gr_arena_free(&a);
    gr_buf_free(&(gr_buf){.ptr = (char *)text.ptr});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_without_padding),
        cmocka_unit_test(decodes_with_and_without_padding),
        cmocka_unit_test(decodes_both_alphabets_but_no_mixture),
        cmocka_unit_test(refuses_what_is_not_base64),
        cmocka_unit_test(refuses_a_text_past_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
