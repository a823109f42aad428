/* log_test.c - facts about the server's own log. */
#include "edge/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct {
    gr_buf text;
    uint64_t now_ms;
} sink;

static void take(void *to, gr_str line)
{
    (void)to;
    gr_buf_str(&sink.text, line);
}

static uint64_t now(void *to)
{
    (void)to;
    return sink.now_ms;
}

static int set_up(void **state)
{
    (void)state;
    sink.now_ms = 1700000000123;
    gr_log_setup(GR_LOG_INFO, GR_LOG_TEXT, (gr_log_sink){take, NULL, now});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_buf_free(&sink.text);
    return 0;
}

static void written(const char *wanted)
{
    gr_buf_char(&sink.text, 0);
    assert_string_equal(sink.text.ptr, wanted);
    gr_buf_clear(&sink.text);
}

static void redacted(const char *text, const char *wanted)
{
    gr_buf out = {0};
    gr_log_redact(&out, gr_str_c(text));
    gr_buf_char(&out, 0);
    assert_string_equal(out.ptr, wanted);
    gr_buf_free(&out);
}

static void a_line_has_time_level_and_part(void **state)
{
    (void)state;
    gr_log(GR_LOG_WARNING, "http", "slow client %d", 7);
    written("2023-11-14T22:13:20.123Z warning http: slow client 7\n");
    gr_log_setup(GR_LOG_INFO, GR_LOG_JSON, (gr_log_sink){take, NULL, now});
    gr_log(GR_LOG_ERROR, "store", "a \"b\"\n");
    written("{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"error\",\"part\":\"store\","
            "\"text\":\"a \\\"b\\\"\\\\x0a\"}\n");
}

static void lines_below_the_level_are_left_out(void **state)
{
    (void)state;
    gr_log(GR_LOG_DEBUG, "http", "x");
    assert_int_equal(sink.text.size, 0);
    assert_false(gr_log_wants(GR_LOG_DEBUG));
}

static void a_text_of_a_stranger_cannot_forge_a_line(void **state)
{
    (void)state;
    gr_log(GR_LOG_INFO, "http", "%s", "a\n2023 error x: \033[2Jb \xff");
    written("2023-11-14T22:13:20.123Z info    http: a\\x0a2023 error x: \\x1b[2Jb \\xff\n");
}

static void repeated_lines_are_held_back_and_counted(void **state)
{
    (void)state;
    size_t lines = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++) gr_log(GR_LOG_INFO, "http", "again %d", i);
        sink.now_ms += GR_LOG_REPEAT_WINDOW_MS;
    }
    for (size_t i = 0; i < sink.text.size; i++) lines += sink.text.ptr[i] == '\n';
    assert_int_equal(lines, 2 * GR_LOG_REPEATS_MAX);
    gr_buf_char(&sink.text, 0);
    assert_non_null(strstr(sink.text.ptr, "again 0 (and 15 more like it)\n"));
    assert_null(strstr(sink.text.ptr, "again 5"));
}

static void texts_made_below_are_repeats_only_when_they_are_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) gr_log_text(GR_LOG_WARNING, "cluster", GR_STR("dropped a connection"));
    gr_buf_clear(&sink.text);
    gr_log_text(GR_LOG_WARNING, "cluster", GR_STR("dropped a connection"));
    written("");
    gr_log_text(GR_LOG_WARNING, "cluster", GR_STR("the link is down"));
    written("2023-11-14T22:13:20.123Z warning cluster: the link is down\n");
}

static void tokens_and_passwords_are_redacted(void **state)
{
    (void)state;
    redacted("token grt_3a_abcdefghijkl_c1 ok", "token grt_[redacted] ok");
    redacted("GET /sync?access_token=abc&since=1", "GET /sync?access_token=[redacted]&since=1");
    redacted("{\"access_token\": \"a\\\"b\", \"user\":\"u\"}",
             "{\"access_token\": \"[redacted]\", \"user\":\"u\"}");
    redacted("{\\\"password\\\":\\\"hunter2\\\"}", "{\\\"password\\\":\\\"[redacted]\\\"}");
    redacted("Authorization: Bearer xyz, next", "Authorization: Bearer [redacted], next");
    redacted("authorization: bearer  xyz", "authorization: bearer  [redacted]");
    redacted("refresh_token='q r' x", "refresh_token='[redacted]' x");
    redacted("password=", "password=");
    redacted("\"password\":\"never ends", "\"password\":\"[redacted]");
}

static void what_is_no_secret_stays(void **state)
{
    (void)state;
    redacted("group gr_str grt_short tokenizer: x", "group gr_str grt_short tokenizer: x");
    redacted("m.login.password and {\"type\":\"m.room\"}", "m.login.password and {\"type\":\"m.room\"}");
    redacted("", "");
}

static void a_secret_in_an_argument_never_reaches_the_log(void **state)
{
    (void)state;
    gr_log(GR_LOG_INFO, "http", "refused %s", "/x?access_token=syt_abc");
    written("2023-11-14T22:13:20.123Z info    http: refused /x?access_token=[redacted]\n");
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FACT(a_line_has_time_level_and_part),
        FACT(lines_below_the_level_are_left_out),
        FACT(a_text_of_a_stranger_cannot_forge_a_line),
        FACT(repeated_lines_are_held_back_and_counted),
        FACT(texts_made_below_are_repeats_only_when_they_are_the_same),
        FACT(tokens_and_passwords_are_redacted),
        FACT(what_is_no_secret_stays),
        FACT(a_secret_in_an_argument_never_reaches_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
