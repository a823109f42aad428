/* json_test.c - parsing in both modes, printing by the examples of the appendices, look-ups, writer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proto/json.h"

static gr_arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static const gr_json *parsed(const char *text, gr_json_mode mode)
{
    const gr_json *out = NULL;
    gr_err e = gr_json_parse(arena, gr_str_c(text), mode, &out);
    if (gr_failed(e)) fail_msg("%s: %s", text, e.text);
    return out;
}

static const gr_json *lax(const char *text) { return parsed(text, GR_JSON_LAX); }

static gr_errcode code_of_bytes(gr_str text, gr_json_mode mode)
{
    static const gr_json left_over;
    const gr_json *out = &left_over;
    gr_err e = gr_json_parse(arena, text, mode, &out);
    if (gr_failed(e)) {
        assert_null(out);
        assert_true(gr_str_utf8(gr_str_c(e.text)));
    }
    return e.code;
}

static gr_errcode code_of(const char *text, gr_json_mode mode) { return code_of_bytes(gr_str_c(text), mode); }

static void check_both(const char *text, gr_errcode wanted)
{
    for (int mode = GR_JSON_LAX; mode <= GR_JSON_CANONICAL; mode++) {
        gr_errcode code = code_of(text, (gr_json_mode)mode);
        if (code != wanted) fail_msg("mode %d, %s: code %d", mode, text, (int)code);
    }
}

static void check_printed(const char *text, gr_json_mode mode, const char *wanted)
{
    gr_str printed = gr_json_printed(arena, parsed(text, mode));
    assert_string_equal(printed.ptr, wanted);
    assert_int_equal(printed.size, strlen(wanted));
}

static void prints_the_examples_of_the_appendices(void **state)
{
    (void)state;
    static const char *const examples[][2] = {
        {"{}", "{}"},
        {"{\n    \"one\": 1,\n    \"two\": \"Two\"\n}", "{\"one\":1,\"two\":\"Two\"}"},
        {"{\n    \"b\": \"2\",\n    \"a\": \"1\"\n}", "{\"a\":\"1\",\"b\":\"2\"}"},
        {"{\"b\":\"2\",\"a\":\"1\"}", "{\"a\":\"1\",\"b\":\"2\"}"},
        {"{\"auth\": {\"success\": true, \"mxid\": \"@john.doe:example.com\", \"profile\": "
         "{\"display_name\": \"John Doe\", \"three_pids\": [{\"medium\": "
         "\"email\", \"address\": \"john.doe@example.org\"}, "
         "{\"medium\": \"msisdn\", \"address\": \"123456789\"}]}}}",
         "{\"auth\":{\"mxid\":\"@john.doe:example.com\",\"profile\":{\"display_name\":\"John Doe\","
         "\"three_pids\":[{\"address\":\"john.doe@example.org\",\"medium\":\"email\"},"
         "{\"address\":\"123456789\",\"medium\":"
         "\"msisdn\"}]},\"success\":true}}"},
        {"{\"a\": \"日本語\"}", "{\"a\":\"日本語\"}"},
        {"{\"本\": 2, \"日\": 1}", "{\"日\":1,\"本\":2}"},
        {"{\"a\": \"\\u65E5\"}", "{\"a\":\"日\"}"},
        {"{\"a\": null}", "{\"a\":null}"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        check_printed(examples[i][0], GR_JSON_LAX, examples[i][1]);
        check_printed(examples[i][0], GR_JSON_CANONICAL, examples[i][1]);
    }
    check_printed("{\"a\": -0, \"b\": 1e10}", GR_JSON_LAX, "{\"a\":0,\"b\":10000000000}");
}

static void prints_the_shortest_escapes(void **state)
{
    (void)state;
    check_printed("\"\\u0008\\u0009\\u000A\\u000c\\u000d\\u0022\\u005c\\/\"", GR_JSON_CANONICAL,
                  "\"\\b\\t\\n\\f\\r\\\"\\\\/\"");
    check_printed("\"\\u0000\\u0001\\u0007\\u000b\\u000E\\u0010\\u001F\"", GR_JSON_CANONICAL,
                  "\"\\u0000\\u0001\\u0007\\u000b\\u000e\\u0010\\u001f\"");
    check_printed("\"\\u007f\\u0080\\u2028\\ud83d\\ude00\"", GR_JSON_CANONICAL,
                  "\"\x7f\xc2\x80\xe2\x80\xa8\xf0\x9f\x98\x80\"");
}

/* The scan goes eight bytes at a time: every byte at every place of a long string must come back. */
static void escapes_each_byte_at_every_place(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 0x80; byte++)
        for (size_t place = 0; place < 19; place++) {
            char raw[19];
            memset(raw, '!', sizeof raw);
            raw[place] = (char)byte;
            gr_json v = {.kind = GR_JSON_STRING, .string = {raw, sizeof raw}};
            const gr_json *back = NULL;
            gr_str text = gr_json_printed(arena, &v);
            assert_int_equal(gr_json_parse(arena, text, GR_JSON_CANONICAL, &back).code, GR_OK);
            assert_true(gr_json_equal(back, &v));
            bool paired = byte && strchr("\b\t\n\f\r\"\\", (int)byte);
            size_t extra = paired ? 1 : byte < 0x20 ? 5 : 0;
            assert_int_equal(text.size, sizeof raw + 2 + extra);
        }
}

static void sorts_keys_by_code_point_and_not_by_utf16(void **state)
{
    (void)state;
    check_printed("{\"\\ud83d\\ude00\":1,\"\\uff5e\":2,\"ab\":3,\"a\":4,\"\":5,\"a\\u0000\":6}",
                  GR_JSON_CANONICAL,
                  "{\"\":5,\"a\":4,\"a\\u0000\":6,\"ab\":3,\"\xef\xbd\x9e\":2,\"\xf0\x9f\x98\x80\":1}");
}

static void refuses_text_that_is_not_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}",
        "{1:1}", "nul",
        "truee", "True", "NaN", "Infinity", "-", "+1", "01", "-01", "1.", ".5", "1e", "0x10", "\"a",
        "\"\\x\"",
        "\"\\u12\"", "\"\\u12g4\"", "[1 2]", "{} {}", "{}x", "1,", "[]]", "\"a\" \"b\"", "// x\n1",
        "\xef\xbb\xbf{}",
        "1e400", "-1e400", "18446744073709551616", "-9223372036854775809", "\"tab\there\"", "\"line\nbreak\"",
        "\"\x01\"", "\f1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check_both(bad[i], GR_NOT_JSON);
    assert_int_equal(code_of_bytes(GR_STR("{}\0"), GR_JSON_LAX), GR_NOT_JSON);
    assert_int_equal(code_of_bytes(GR_STR("\"a\0b\""), GR_JSON_LAX), GR_NOT_JSON);
    assert_int_equal(code_of_bytes((gr_str){0}, GR_JSON_LAX), GR_NOT_JSON);
}

static void refuses_malformed_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"\x80\"", "\"\xc3\"", "\"\xc0\xaf\"", "\"\xe0\x80\xaf\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"", "\"\xff\"", "{\"\xc3\x28\":1}",
                                      "\"\xf0\x9f\x98\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check_both(bad[i], GR_NOT_JSON);
}

static void refuses_half_surrogate_pairs(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"\\ud800\"", "\"\\udc00\"", "\"\\udfff\"", "\"\\ud800x\"", "\"\\ud800\\n\"", "\"\\ud800\\ud800\"",
        "\"\\udc00\\ud800\"", "\"\\ud800\\u0041\"", "\"\\ud800\\uffff\"", "\"\\ud800\\ue000\"",
        "{\"\\udead\":1}",
        "[\"\\ud83d\\ude00\",\"\\ude00\"]", "\"\\\\\\udc00\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check_both(bad[i], GR_NOT_JSON);
    check_both("\"\\\\ud800\"", GR_OK);             /* an escaped backslash and then letters */
    check_both("\"\\uD83D\\uDE00\"", GR_OK);
}

static void refuses_duplicate_keys_at_every_depth(void **state)
{
    (void)state;
    check_both("{\"a\":1,\"a\":1}", GR_BAD_JSON);
    check_both("{\"a\":1,\"b\":2,\"\\u0061\":3}", GR_BAD_JSON);
    check_both("[{\"x\":{\"\":1,\"\":2}}]", GR_BAD_JSON);
    check_both("{\"\\u0000\":1,\"\\u0000\":2}", GR_BAD_JSON);
    check_both("{\"a\":1,\"A\":1,\"a\\u0000\":1,\"b\":{\"a\":1}}", GR_OK);
    const gr_json *out;
    gr_err e = gr_json_parse(arena, GR_STR("{\"dup\":1,\"x\":2,\"dup\":3}"), GR_JSON_LAX, &out);
    assert_non_null(strstr(e.text, "\"dup\""));
}

static void many_members_are_sorted_and_found(void **state)
{
    (void)state;
    gr_buf text = {0};
    gr_jw w = gr_jw_begin(&text);
    gr_jw_object(&w);
    for (int i = 0; i < 1000; i++) {
        gr_jw_key_str(&w, gr_arena_printf(arena, "k%d", i * 7919 % 1000));
        gr_jw_int(&w, i * 7919 % 1000);
    }
    gr_jw_end_object(&w);
    const gr_json *v = NULL;
    assert_int_equal(gr_json_parse(arena, gr_buf_view(&text), GR_JSON_CANONICAL, &v).code, GR_OK);
    assert_int_equal(v->count, 1000);
    for (uint32_t i = 1; i < v->count; i++)
        assert_true(gr_str_cmp(v->members[i - 1].key, v->members[i].key) < 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(gr_json_integer(gr_json_get_str(v, gr_arena_printf(arena, "k%d", i)), -1), i);
    assert_null(gr_json_get(v, "k1000"));
    text.size--;
    gr_buf_c(&text, ",\"k500\":1}");
    assert_int_equal(code_of_bytes(gr_buf_view(&text), GR_JSON_LAX), GR_BAD_JSON);
    gr_buf_free(&text);
}

static gr_errcode code_at_depth(size_t depth, const char *open, const char *inner, const char *close)
{
    gr_buf text = {0};
    for (size_t i = 0; i < depth; i++) gr_buf_c(&text, open);
    gr_buf_c(&text, inner);
    for (size_t i = 0; i < depth; i++) gr_buf_c(&text, close);
    gr_errcode code = code_of_bytes(gr_buf_view(&text), GR_JSON_LAX);
    gr_buf_free(&text);
    return code;
}

static void depth_ends_at_the_limit(void **state)
{
    (void)state;
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX, "[", "1", "]"), GR_OK);
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX, "[", "", "]"), GR_OK);
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX, "{\"a\":", "1", "}"), GR_OK);
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX + 1, "[", "", "]"), GR_BAD_JSON);
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX + 1, "[", "1", "]"), GR_BAD_JSON);
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX, "[", "{}", "]"), GR_BAD_JSON);
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX + 1, "{\"a\":", "1", "}"), GR_BAD_JSON);
    assert_int_equal(code_at_depth(1000 * 1000, "[", "", "]"), GR_BAD_JSON);
    assert_int_equal(code_of("[]", GR_JSON_LAX), GR_OK);        /* the depth limit outlives a large text */
    assert_int_equal(code_at_depth(GR_JSON_DEPTH_MAX + 1, "[", "1", "]"), GR_BAD_JSON);
}

static void canonical_integers_end_at_2_to_the_53(void **state)
{
    (void)state;
    check_printed("[9007199254740991,-9007199254740991,0,-0,-1]", GR_JSON_CANONICAL,
                  "[9007199254740991,-9007199254740991,0,0,-1]");
    static const char *const bad[] = {"9007199254740992", "-9007199254740992", "9223372036854775807",
                                      "9223372036854775808", "18446744073709551615", "1.0", "1e3", "1E0",
                                      "0.5",
                                      "-0.0", "1.0e2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (code_of(bad[i], GR_JSON_CANONICAL) != GR_BAD_JSON) fail_msg("accepted %s", bad[i]);
        assert_int_equal(code_of(bad[i], GR_JSON_LAX), GR_OK);
    }
    assert_int_equal(code_of("{\"a\":[{\"b\":1.5}]}", GR_JSON_CANONICAL), GR_BAD_JSON);
}

static void lax_numbers_are_int64_or_real(void **state)
{
    (void)state;
    assert_true(gr_json_integer(lax("9223372036854775807"), 0) == INT64_MAX);
    assert_true(gr_json_integer(lax("-9223372036854775808"), 0) == INT64_MIN);
    check_printed("[9223372036854775807,-9223372036854775808]", GR_JSON_LAX,
                  "[9223372036854775807,-9223372036854775808]");
    assert_true(gr_json_is(lax("9223372036854775808"), GR_JSON_REAL));
    assert_true(lax("18446744073709551615")->real == 0x1p64);
    assert_true(gr_json_is(lax("1.0"), GR_JSON_REAL));
}

static void reals_print_shortest_and_read_back(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"0.1", "0.1"}, {"-1.50", "-1.5"}, {"1e3", "1000"}, {"-0.0", "0"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"1e21", "1e+21"}, {"12345678901234568e4", "1.2345678901234568e+20"}, {"5e-324", "5e-324"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"}, {"1e-7", "0.0000001"}, {"1.5e-8", "1.5e-08"},
        {"18446744073709551615", "1.8446744073709552e+19"}, {"9.1e18", "9100000000000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_printed(cases[i][0], GR_JSON_LAX, cases[i][1]);
        assert_true(gr_json_equal(lax(cases[i][0]), lax(cases[i][1])));
    }
}

static void lookups_take_anything(void **state)
{
    (void)state;
    const gr_json *v = lax("{\"content\":{\"m.x\":{\"deep\":\"yes\"},"
                           "\"n\":5,\"b\":true,\"null\":null},\"s\":\"\"}");
    assert_true(gr_str_is(gr_json_string(gr_json_path(v, "content/m.x/deep")), "yes"));
    assert_true(gr_json_is(gr_json_path(v, "content/null"), GR_JSON_NULL));
    assert_null(gr_json_path(v, "content/absent/deep"));
    assert_null(gr_json_path(v, "content/n/deep"));
    assert_null(gr_json_get(NULL, "a"));
    assert_null(gr_json_get(gr_json_get(v, "s"), "a"));
    assert_int_equal(gr_json_text(v, "content").size, 0);
    assert_int_equal(gr_json_integer(gr_json_path(v, "content/n"), 7), 5);
    assert_int_equal(gr_json_integer(gr_json_path(v, "content/b"), 7), 7);
    assert_true(gr_json_boolean(gr_json_path(v, "content/b"), false));
    assert_true(gr_json_boolean(NULL, true));
    assert_false(gr_json_is(NULL, GR_JSON_NULL));
}

static void strings_outlive_the_text_and_end_in_nul(void **state)
{
    (void)state;
    char text[] = "{\"key\":\"value\",\"e\":\"\",\"a\":[\"x\",\"\\u0000y\"]}";
    const gr_json *v = lax(text);
    memset(text, 'x', sizeof text - 1);
    assert_string_equal(gr_json_text(v, "key").ptr, "value");
    assert_string_equal(gr_json_text(v, "e").ptr, "");
    assert_true(gr_str_eq(gr_json_get(v, "a")->items[1].string, GR_STR("\0y")));
}

static void leaves_out_named_members_of_the_top_only(void **state)
{
    (void)state;
    const gr_json *v = lax("{\"signatures\":1,\"a\":{\"signatures\":2},\"unsigned\":3}");
    gr_buf out = {0};
    gr_json_print_without(&out, v, (const char *const[]){"signatures", "unsigned", NULL});
    assert_true(gr_str_is(gr_buf_view(&out), "{\"a\":{\"signatures\":2}}"));
    gr_buf_clear(&out);
    gr_json_print_without(&out, v, (const char *const[]){"signatures", "unsigned", "a", NULL});
    assert_true(gr_str_is(gr_buf_view(&out), "{}"));
    gr_buf_free(&out);
}

static void equality_is_of_values(void **state)
{
    (void)state;
    assert_true(gr_json_equal(lax("{\"a\":[1,2.5,null,true],\"b\":\"\\u0061\"}"),
                              lax("{\"b\":\"a\",\"a\":[1.0,2.5,null,true]}")));
    assert_false(gr_json_equal(lax("[1,2]"), lax("[2,1]")));
    assert_false(gr_json_equal(lax("[1]"), lax("[1,1]")));
    assert_false(gr_json_equal(lax("1"), lax("\"1\"")));
    assert_false(gr_json_equal(lax("9223372036854775807"), lax("9223372036854775808")));
    assert_false(gr_json_equal(lax("{\"a\":1}"), lax("{\"b\":1}")));
    assert_true(gr_json_equal(NULL, NULL));
    assert_false(gr_json_equal(NULL, lax("null")));
}

static void large_texts_do_not_disturb_small_ones(void **state)
{
    (void)state;
    gr_buf text = {0};
    gr_buf_char(&text, '[');
    for (int i = 0; i < 300000; i++) gr_buf_c(&text, "\"abcdef\",");
    gr_buf_c(&text, "0]");
    const gr_json *v = NULL;
    assert_int_equal(gr_json_parse(arena, gr_buf_view(&text), GR_JSON_LAX, &v).code, GR_OK);
    assert_int_equal(v->count, 300001);
    check_printed(" [1, 2] ", GR_JSON_CANONICAL, "[1,2]");
    assert_true(gr_str_is(v->items[299999].string, "abcdef"));
    gr_buf_free(&text);
}

static void writer_sets_commas(void **state)
{
    (void)state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "s", GR_STR("a\"b"));
    gr_jw_kc(&w, "c", "x");
    gr_jw_kint(&w, "min", INT64_MIN);
    gr_jw_kbool(&w, "t", true);
    gr_jw_kraw(&w, "raw", GR_STR("{\"z\":1}"));
    gr_jw_kjson(&w, "json", lax("{\"b\":1,\"a\":[]}"));
    gr_jw_key(&w, "list");
    gr_jw_array(&w);
    gr_jw_array(&w);
    gr_jw_end_array(&w);
    gr_jw_object(&w);
    gr_jw_end_object(&w);
    gr_jw_null(&w);
    gr_jw_bool(&w, false);
    gr_jw_int(&w, 0);
    gr_jw_str(&w, (gr_str){0});
    gr_jw_end_array(&w);
    gr_jw_key_str(&w, GR_STR("k\n"));
    gr_jw_null(&w);
    gr_jw_end_object(&w);
    gr_buf_char(&out, 0);
    assert_string_equal(out.ptr,
        "{\"s\":\"a\\\"b\",\"c\":\"x\",\"min\":-9223372036854775808,\"t\":true,\"raw\":{\"z\":1},"
        "\"json\":{\"a\":[],\"b\":1},\"list\":[[],{},null,false,0,\"\"],\"k\\n\":null}");
    gr_buf_free(&out);
}

static void writer_goes_to_its_full_depth(void **state)
{
    (void)state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    for (int i = 0; i < GR_JW_DEPTH_MAX / 2; i++) {
        gr_jw_array(&w);
        gr_jw_int(&w, 1);
        gr_jw_object(&w);
        gr_jw_kint(&w, "n", 2);
        if (i < GR_JW_DEPTH_MAX / 2 - 1) gr_jw_key(&w, "in");
    }
    for (int i = 0; i < GR_JW_DEPTH_MAX / 2; i++) {
        gr_jw_end_object(&w);
        gr_jw_int(&w, 3);
        gr_jw_end_array(&w);
    }
    assert_int_equal(code_of_bytes(gr_buf_view(&out), GR_JSON_LAX), GR_OK);
    gr_buf_free(&out);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(prints_the_examples_of_the_appendices), T(prints_the_shortest_escapes),
        T(escapes_each_byte_at_every_place),
        T(sorts_keys_by_code_point_and_not_by_utf16), T(refuses_text_that_is_not_json),
        T(refuses_malformed_utf8),
        T(refuses_half_surrogate_pairs), T(refuses_duplicate_keys_at_every_depth),
        T(many_members_are_sorted_and_found),
        T(depth_ends_at_the_limit), T(canonical_integers_end_at_2_to_the_53),
        T(lax_numbers_are_int64_or_real),
        T(reals_print_shortest_and_read_back), T(lookups_take_anything),
        T(strings_outlive_the_text_and_end_in_nul),
        T(leaves_out_named_members_of_the_top_only), T(equality_is_of_values),
        T(large_texts_do_not_disturb_small_ones),
        T(writer_sets_commas), T(writer_goes_to_its_full_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
