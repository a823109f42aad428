/* cli_table_test.c - facts about tables, amounts and the progress bar. */
#include "edge/cli_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

static const gr_cli_table_column columns[] = {
    {"ACTOR", "actor", GR_CLI_TABLE_TEXT, 12},
    {"QUEUED", "queued", GR_CLI_TABLE_COUNT, 0},
    {"MEMORY", "memory_bytes", GR_CLI_TABLE_BYTES, 0},
    {"OLDEST", "oldest_us", GR_CLI_TABLE_US, 0},
};

static void row(gr_cli_table *t, const char *name, int64_t queued, int64_t memory, int64_t oldest)
{
    gr_cli_table_text(t, gr_str_c(name));
    gr_cli_table_number(t, queued);
    gr_cli_table_number(t, memory);
    if (oldest < 0) gr_cli_table_none(t);
    else gr_cli_table_number(t, oldest);
}

static void printed(const gr_cli_table *t, bool json, const char *wanted)
{
    gr_buf out = {0};
    gr_cli_table_print(t, &out, json);
    gr_buf_char(&out, 0);
    assert_string_equal(out.ptr, wanted);
    gr_buf_free(&out);
}

static void columns_are_aligned_and_have_units(void **state)
{
    (void)state;
    gr_cli_table *t = gr_cli_table_new(columns, 4);
    row(t, "room/!a", 1234567, 1536, 850);
    row(t, "user/\xc3\xa4", 3, 12, -1);
    printed(t, false,
            "ACTOR       QUEUED  MEMORY  OLDEST\n"
            "room/!a  1,234,567  1.5 KB  850 us\n"
            "user/\xc3\xa4           3    12 B       -\n");
    assert_int_equal(gr_cli_table_rows(t), 2);
    gr_cli_table_free(&t);
    assert_null(t);
}

static void json_has_bare_numbers_and_null(void **state)
{
    (void)state;
    gr_cli_table *t = gr_cli_table_new(columns, 4);
    printed(t, true, "[]\n");
    row(t, "a\"\n", 1, 2048, -1);
    row(t, "\xff", -1, 0, 5);
    printed(t, true,
            "[\n{\"actor\":\"a\\\"\\u000a\",\"queued\":1,\"memory_bytes\":2048,\"oldest_us\":null},\n"
            "{\"actor\":\"\\ufffd\",\"queued\":-1,\"memory_bytes\":0,\"oldest_us\":5}\n]\n");
    gr_cli_table_free(&t);
}

static void a_name_cannot_drive_the_terminal(void **state)
{
    (void)state;
    static const gr_cli_table_column one[] = {{"N", "n", GR_CLI_TABLE_TEXT, 0}};
    gr_cli_table *t = gr_cli_table_new(one, 1);
    gr_cli_table_text(t, GR_STR("a\033[2J\xc2\x9b"
                                "b\xe2\x80\xae"));
    printed(t, false, "N\na\\x1b[2J\\xc2\\x9bb\\xe2\\x80\\xae\n");
    gr_cli_table_free(&t);
}

static void long_texts_are_cut_with_a_mark(void **state)
{
    (void)state;
    static const gr_cli_table_column one[] = {{"N", "n", GR_CLI_TABLE_TEXT, 5}};
    gr_cli_table *t = gr_cli_table_new(one, 1);
    gr_cli_table_text(t, GR_STR("12345"));
    gr_cli_table_text(t, GR_STR("123456"));
    printed(t, false, "N\n12345\n1234\xe2\x80\xa6\n");
    gr_cli_table_free(&t);
}

static void sorting_keeps_equal_rows_in_order(void **state)
{
    (void)state;
    static const gr_cli_table_column two[] = {{"N", "n", GR_CLI_TABLE_TEXT, 0},
                                              {"C", "c", GR_CLI_TABLE_COUNT, 0}};
    gr_cli_table *t = gr_cli_table_new(two, 2);
    static const int64_t counts[] = {1, 3, 2, 3, 1};
    for (size_t i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + i), 0};
        gr_cli_table_text(t, gr_str_c(name));
        gr_cli_table_number(t, counts[i]);
    }
    gr_cli_table_sort(t, 1, true);
    printed(t, false, "N  C\nb  3\nd  3\nc  2\na  1\ne  1\n");
    gr_cli_table_sort(t, 0, false);
    printed(t, false, "N  C\na  1\nb  3\nc  2\nd  3\ne  1\n");
    gr_cli_table_free(&t);
}

static void amounts_read_well(void **state)
{
    (void)state;
    static const struct {
        gr_cli_table_kind kind;
        int64_t n;
        const char *text;
    } cases[] = {
        {GR_CLI_TABLE_COUNT, 0, "0"},
        {GR_CLI_TABLE_COUNT, -1234, "-1,234"},
        {GR_CLI_TABLE_COUNT, 999, "999"},
        {GR_CLI_TABLE_BYTES, 1023, "1023 B"},
        {GR_CLI_TABLE_BYTES, 5LL << 40, "5.0 TB"},
        {GR_CLI_TABLE_US, 1200, "1.2 ms"},
        {GR_CLI_TABLE_US, 3400000, "3.4 s"},
        {GR_CLI_TABLE_US, 125000000, "2 m 5 s"},
        {GR_CLI_TABLE_US, 7500000000, "2 h 5 m"},
        {GR_CLI_TABLE_US, 180000000000, "2 d 2 h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gr_buf out = {0};
        gr_cli_table_amount(&out, cases[i].kind, cases[i].n);
        gr_buf_char(&out, 0);
        assert_string_equal(out.ptr, cases[i].text);
        gr_buf_free(&out);
    }
}

static void progress_is_drawn_once_a_percent(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0, drawn = 0;
    FILE *to = open_memstream(&text, &size);
    gr_cli_table_progress bar = {.what = "Copying", .to = to, .last_percent = -1};
    for (uint64_t i = 0; i <= 1000; i++) gr_cli_table_progress_show(&bar, i, 1000);
    fclose(to);
    for (size_t i = 0; i < size; i++) drawn += text[i] == '\r';
    assert_int_equal(drawn, 101);
    assert_memory_equal(text + size - 8, "] 100 %\n", 8);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned_and_have_units),
        cmocka_unit_test(json_has_bare_numbers_and_null),
        cmocka_unit_test(a_name_cannot_drive_the_terminal),
        cmocka_unit_test(long_texts_are_cut_with_a_mark),
        cmocka_unit_test(sorting_keeps_equal_rows_in_order),
        cmocka_unit_test(amounts_read_well),
        cmocka_unit_test(progress_is_drawn_once_a_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
