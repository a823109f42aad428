/* The connection machine, byte by byte and with a clock of its own. */
#include "tests/unit/edge/http_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define H "Host: a\r\n"
#define GET "GET /x HTTP/1.1\r\n" H

typedef struct {
    const char *name, *input;
    const char *statuses;          /* of the answers in order, and "close" when the connection ended */
    const char *seen;              /* by the handler; NULL: not looked at */
} wire_case;

static const wire_case cases[] = {
    {"a plain GET is served", GET "\r\n", "200", "[GET /x? 1 ]"},
    {"a header name and value are found whatever blanks surround the value", GET "A: \t b \t\r\n\r\n", "200",
     "[GET /x? 2 ]"},
    {"an empty value is a value", GET "A:\r\nB: \r\n\r\n", "200", "[GET /x? 3 ]"},
    {"pipelined GETs are answered in order",
     "GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\nGET /3 HTTP/1.1\r\n" H "\r\n", "200 200 200",
     "[GET /1? 1 ][GET /2? 1 ][GET /3? 1 ]"},
    {"pipelined POSTs keep their bodies",
     "POST /1 HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nonePOST /2 HTTP/1.1\r\n" H
     "Content-Length: 3\r\n\r\ntwoPOST /3 HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nthree",
     "200 200 200", "[POST /1? 2 one][POST /2? 2 two][POST /3? 2 three]"},
    {"a POST without length has no body", "POST /x HTTP/1.1\r\n" H "\r\n" GET "\r\n", "200 200",
     "[POST /x? 1 ][GET /x? 1 ]"},
    {"one empty line before a request is let pass", "\r\n" GET "\r\n", "200", NULL},
    {"two empty lines are not", "\r\n\r\n" GET "\r\n", "400 close", ""},
    {"100-continue is sent for an accepted head",
     "PUT /x HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "100 200",
     "[PUT /x? 3 hi]"},
    {"a body too large is refused instead of 100",
     "PUT /small HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n", "413 close", "[gone]"},
    {"another expectation is refused", GET "Expect: tea\r\n\r\n", "417 close", ""},
    {"a refusal in on_head sends no 100",
     "PUT /refuse HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", "403 close", ""},
    {"a refused short body is skipped", "PUT /refuse HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi" GET "\r\n",
     "403 200", "[GET /x? 1 ]"},
    {"a refused long body closes", "PUT /refuse HTTP/1.1\r\n" H "Content-Length: 200000\r\n\r\nhi",
     "403 close", ""},
    {"a refused GET keeps the connection", "GET /refuse HTTP/1.1\r\n" H "\r\n" GET "\r\n", "403 200",
     "[GET /x? 1 ]"},
    {"a refusal without an answer is a 500", "GET /refuse-silently HTTP/1.1\r\n" H "\r\n", "500 close", ""},
    {"a chunked body, then a GET",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n" GET
     "\r\n",
     "200 200", "[POST /x? 2 abc0123456789][GET /x? 1 ]"},
    {"chunk extensions and trailers are dropped",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nT: v\r\n\r\n",
     "200", "[POST /x? 2 abc]"},
    {"a chunk size of sixteen digits is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc", "400 close",
     "[gone]"},
    {"a chunk over the limit is too large",
     "POST /small HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n",
     "413 close", "[gone]"},
    {"a negative chunk size is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc", "400 close", "[gone]"},
    {"a chunk size with 0x is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc", "400 close", "[gone]"},
    {"a blank after the chunk size is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc", "400 close", "[gone]"},
    {"chunk data longer than its size is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", "400 close", "[gone]"},
    {"chunk data that does not end with CR is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\n0\r\n\r\n", "400 close",
     "[gone]"},
    {"a bare LF after a chunk size is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n", "400 close", "[gone]"},
    {"a bare LF in trailers is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n", "400 close", "[gone]"},
    {"a folded trailer is refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n", "400 close",
     "[gone]"},
    {"length and chunked together are refused",
     "POST /x HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET "\r\n",
     "400 close", ""},
    {"chunked and length together are refused",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "400 close",
     ""},
    {"two lengths that differ are refused",
     "POST /x HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "400 close", ""},
    {"two equal lengths are refused",
     "POST /x HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "400 close", ""},
    {"length +5", "POST /x HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello", "400 close", ""},
    {"length -1", "POST /x HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\nhello", "400 close", ""},
    {"length 5x", "POST /x HTTP/1.1\r\n" H "Content-Length: 5x\r\n\r\nhello", "400 close", ""},
    {"length 0x5", "POST /x HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\nhello", "400 close", ""},
    {"length list 5, 5", "POST /x HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\nhello", "400 close", ""},
    {"length with an inner blank", "POST /x HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\nhello", "400 close",
     ""},
    {"empty length", "POST /x HTTP/1.1\r\n" H "Content-Length:\r\n\r\nhello", "400 close", ""},
    {"length 2^64+5", "POST /x HTTP/1.1\r\n" H "Content-Length: 18446744073709551621\r\n\r\nhello",
     "400 close", ""},
    {"length 2^63", "POST /x HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\nhello", "413 close",
     "[gone]"},
    {"coding xchunked", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400 close",
     ""},
    {"coding chunked, identity",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400 close", ""},
    {"coding gzip, chunked", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     "400 close", ""},
    {"two codings",
     "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "400 close", ""},
    {"chunked in HTTP/1.0", "POST /x HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "400 close", ""},
    {"a blank before the colon", "POST /x HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\nhello" GET "\r\n",
     "400 close", ""},
    {"a tab before the colon", GET "A\t: b\r\n\r\n", "400 close", ""},
    {"a header name with a blank inside", GET "A b: c\r\n\r\n", "400 close", ""},
    {"a header name that is no token", GET "A(b): c\r\n\r\n", "400 close", ""},
    {"a header without a colon", GET "Abc\r\n\r\n", "400 close", ""},
    {"an empty header name", GET ": c\r\n\r\n", "400 close", ""},
    {"bare LF after the request line", "GET /x HTTP/1.1\nHost: a\r\n\r\n", "400 close", ""},
    {"bare LF after a header", "GET /x HTTP/1.1\r\nHost: a\nA: b\r\n\r\n", "400 close", ""},
    {"bare LF as the empty line", GET "\n", "400 close", ""},
    {"bare CR in a value", GET "A: b\rc\r\n\r\n", "400 close", ""},
    {"a folded header", GET "A: b\r\n c\r\n\r\n", "400 close", ""},
    {"a folded header by tab", GET "A: b\r\n\tc\r\n\r\n", "400 close", ""},
    {"a fold right after the request line", "GET /x HTTP/1.1\r\n Host: a\r\n\r\n", "400 close", ""},
    {"a control byte in a value", GET "A: b\x01\r\n\r\n", "400 close", ""},
    {"a DEL in the path", "GET /\x7f HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"no Host in 1.1", "GET /x HTTP/1.1\r\n\r\n", "400 close", ""},
    {"two Hosts", GET H "\r\n", "400 close", ""},
    {"a Host that is no authority", "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 close", ""},
    {"no Host in 1.0", "GET /x HTTP/1.0\r\n\r\n", "200 close", "[GET /x? 0 ]"},
    {"1.0 closes", "GET /x HTTP/1.0\r\n" H "\r\n", "200 close", NULL},
    {"1.0 keep-alive stays", "GET /x HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n\r\n", "200", NULL},
    {"Connection: close closes", GET "Connection: foo, Close\r\n\r\n" GET "\r\n", "200 close",
     "[GET /x? 2 ]"},
    {"HTTP/9.9", "GET /x HTTP/9.9\r\n" H "\r\n", "505 close", ""},
    {"HTTP/1.2", "GET /x HTTP/1.2\r\n" H "\r\n", "505 close", ""},
    {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 close", ""},
    {"HTTP/0.9", "GET /x\r\n\r\n", "400 close", ""},
    {"a version in lower case", "GET /x http/1.1\r\n" H "\r\n", "400 close", ""},
    {"a version of three digits", "GET /x HTTP/1.10\r\n" H "\r\n", "400 close", ""},
    {"two blanks in the request line", "GET  /x HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"a blank after the version", "GET /x HTTP/1.1 \r\n" H "\r\n", "400 close", ""},
    {"a tab in the request line", "GET\t/x HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"a path without a slash", "GET x HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"a CONNECT", "CONNECT a:443 HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"the absolute form is understood", "GET http://A/x?q HTTP/1.1\r\n" H "\r\n", "200", "[GET /x?q 1 ]"},
    {"the absolute form without a path means /", "GET http://a HTTP/1.1\r\n" H "\r\n", "200", "[GET /? 1 ]"},
    {"the absolute form with another host", "GET http://b/x HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"the absolute form without an authority", "GET http:///x HTTP/1.1\r\nHost:\r\n\r\n", "400 close", ""},
    {"another scheme", "GET ftp://a/x HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" H "\r\n", "200", "[OPTIONS *? 1 ]"},
    {"GET *", "GET * HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"HEAD has a length and no body", "HEAD /big HTTP/1.1\r\n" H "\r\n" GET "\r\n", "200 200",
     "[HEAD /big? 1 ][GET /x? 1 ]"},
    {"DELETE with a body", "DELETE /x HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n{}" GET "\r\n", "200 200",
     "[DELETE /x? 2 {}][GET /x? 1 ]"},
    {"an unknown method reaches the handler", "BREW /x HTTP/1.1\r\n" H "\r\n", "200", "[BREW /x? 1 ]"},
    {"a method that is no token", "G@T /x HTTP/1.1\r\n" H "\r\n", "400 close", ""},
    {"an upgrade is not taken up",
     GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n" GET "\r\n",
     "200 200", NULL},
    {"path bytes stay as they are", "GET /a/../b//!:#@%2F%00%zz\xc3\xa9?a=%zz&b HTTP/1.1\r\n" H "\r\n", "200",
     "[GET /a/../b//!:#@%2F%00%zz\xc3\xa9?a=%zz&b 1 ]"},
    {"junk", "\x01\x02\x03", "400 close", ""},
    {"a TLS hello on a plain port", "\x16\x03\x01\x02\x05", "400 close", ""},
    {"a streamed body arrives and is answered",
     "PUT /stream HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\nstream" GET "\r\n", "200 200",
     "stream[PUT /stream? 2 ][GET /x? 1 ]"},
    {"an early answer skips a short rest",
     "PUT /early HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\nE12345" GET "\r\n", "403 200", NULL},
    {"an abort while a body streams",
     "PUT /stream HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\nA12345" GET "\r\n", "close", NULL},
    {"an abort of a request", "GET /abort HTTP/1.1\r\n" H "\r\n" GET "\r\n", "close", "[GET /abort? 1 ]"},
};

/* "200 413 close" for an output; only heads have a number after HTTP/1.1 here. */
static void outcome(const sim *s, gr_buf *out)
{
    gr_str rest = gr_buf_view(&s->output);
    for (size_t i = 0; i + 12 <= rest.size; i++)
        if (!memcmp(rest.ptr + i, "HTTP/1.1 ", 9) && rest.ptr[i + 9] <= '9')
            gr_buf_printf(out, "%s%.3s", out->size ? " " : "", rest.ptr + i + 9);
    if (s->closed) gr_buf_printf(out, "%sclose", out->size ? " " : "");
    gr_buf_char(out, 0);
}

static void run_case(const char *name, gr_str input, const char *statuses, const char *seen)
{
    gr_http_limits limits = gr_http_limits_default();
    gr_buf first = {0};
    const size_t steps[] = {SIZE_MAX, 1, 2, 3, 7};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        sim s;
        gr_buf got = {0};
        sim_open(&s, &limits);
        sim_send(&s, input, steps[i]);
        outcome(&s, &got);
        if (statuses && strcmp(got.ptr, statuses))
            fail_msg("%s, step %zu: got '%s', wanted '%s'", name, steps[i], got.ptr, statuses);
        gr_buf_char(&s.log, 0);
        if (seen && strcmp(s.log.ptr, seen))
            fail_msg("%s, step %zu: saw '%s', wanted '%s'", name, steps[i], s.log.ptr, seen);
        if (i == 0) gr_buf_str(&first, gr_buf_view(&s.output));
        else if (!gr_str_eq(gr_buf_view(&first), gr_buf_view(&s.output)))
            fail_msg("%s: step %zu answers otherwise", name, steps[i]);
        gr_buf_free(&got);
        sim_close(&s);
    }
    gr_buf_free(&first);
}

static void every_row_is_judged_the_same_however_its_bytes_are_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(cases[i].name, gr_str_c(cases[i].input), cases[i].statuses, cases[i].seen);
}

static void a_nul_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    static const char in_value[] = GET "A: b\0c\r\n\r\n", in_path[] = "GET /\0 HTTP/1.1\r\n" H "\r\n",
                      in_name[] = GET "A\0: b\r\n\r\n";
    run_case("NUL in a value", gr_str_of(in_value, sizeof in_value - 1), "400 close", "");
    run_case("NUL in the path", gr_str_of(in_path, sizeof in_path - 1), "400 close", "");
    run_case("NUL in a name", gr_str_of(in_name, sizeof in_name - 1), "400 close", "");
}

static int judge(gr_str name, gr_str value, int minor)
{
    gr_http_header headers[] = {
        {GR_STR("Host"), GR_STR("a")}, {GR_STR("Content-Length"), GR_STR("5")}, {name, value}};
    gr_http_req req = {.version_known = true, .version_minor = (uint8_t)minor, .method_name = GR_STR("PUT"),
                       .path = GR_STR("/"), .headers = headers, .header_count = 3};
    return gr_http_check_head(&req);
}

/* Without http_parser before it, which knows some of this too. */
static void the_judge_of_heads_relies_on_nobody(void **state)
{
    (void)state;
    assert_int_equal(judge(GR_STR("A"), GR_STR("b"), 1), 0);
    assert_int_equal(judge(GR_STR("Transfer-Encoding"), GR_STR("chunked"), 1), 400);
    assert_int_equal(judge(GR_STR("content-length"), GR_STR("5"), 1), 400);
    assert_int_equal(judge(GR_STR("HOST"), GR_STR("a"), 1), 400);
    assert_int_equal(judge(GR_STR("Host"), GR_STR("a"), 0), 400);
    assert_int_equal(judge(GR_STR("A "), GR_STR("b"), 1), 400);
    assert_int_equal(judge(GR_STR(""), GR_STR("b"), 1), 400);
    assert_int_equal(judge(GR_STR("A"), GR_STR("b\rc"), 1), 400);
    assert_int_equal(judge(GR_STR("Expect"), GR_STR("tea"), 1), 417);
    assert_int_equal(judge(GR_STR("Expect"), GR_STR("tea"), 0), 0);
}

static void the_scan_of_heads_relies_on_nobody(void **state)
{
    (void)state;
    const char *bad[] = {GET "A: b\rc\r\n\r\n",
                         GET "A: b\nC: d\r\n\r\n",
                         GET "A: b\r\n c\r\n\r\n",
                         GET "A: \x0b\r\n\r\n",
                         GET "\r\r\n",
                         "\r\n",
                         " GET / HTTP/1.1\r\n\r\n"};
    gr_http_limits limits = gr_http_limits_default();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gr_http_scan scan = {0};
        assert_int_equal(gr_http_scan_head(&scan, gr_str_c(bad[i]), &limits), 400);
    }
    gr_http_scan scan = {0};
    assert_int_equal(gr_http_scan_head(&scan, GR_STR(GET "\r\nrest"), &limits), 200);
    assert_int_equal(scan.seen, strlen(GET "\r\n"));
}

static gr_str repeat(gr_buf *b, const char *before, const char *unit, size_t times, const char *after)
{
    gr_buf_clear(b);
    gr_buf_c(b, before);
    for (size_t i = 0; i < times; i++) gr_buf_c(b, unit);
    gr_buf_c(b, after);
    return gr_buf_view(b);
}

static void heads_are_limited_in_every_direction(void **state)
{
    (void)state;
    gr_buf b = {0};
    run_case("query of 16 KiB", repeat(&b, "GET /x?", "q", 16384, " HTTP/1.1\r\n" H "\r\n"), "200", NULL);
    run_case("query of 60 KiB", repeat(&b, "GET /x?", "q", 61440, " HTTP/1.1\r\n" H "\r\n"), "414 close", "");
    run_case("a line without end", repeat(&b, "", "q", 61440, ""), "414 close", "");
    run_case("90 headers", repeat(&b, GET, "A: b\r\n", 90, "\r\n"), "200", NULL);
    run_case("500 headers", repeat(&b, GET, "A: b\r\n", 500, "\r\n"), "431 close", "");
    run_case("a header of 64 KiB", repeat(&b, GET "A: ", "b", 65536, "\r\n\r\n"), "431 close", "");
    run_case("a name of 64 KiB", repeat(&b, GET, "b", 65536, ": a\r\n\r\n"), "431 close", "");
    run_case("trailers of 9 KiB",
             repeat(&b, "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n", 1600,
                    "\r\n"),
             "400 close", "[gone]");
    run_case("an extension of 300 bytes",
             repeat(&b, "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;", "e", 300, "\r\na"),
             "400 close", "[gone]");
    gr_buf_free(&b);
}

/* --- time ----------------------------------------------------------------------------------------------- */
/* The handler's ctx is the address at opening time: tests open in place. */
#define OPEN(s) gr_http_limits limits = gr_http_limits_default(); sim s; (void)state; sim_open(&s, &limits)

static void assert_outcome(sim *s, const char *want)
{
    gr_buf got = {0};
    outcome(s, &got);
    assert_string_equal(got.ptr, want);
    gr_buf_free(&got);
}

static void a_silent_connection_ends_after_the_head_time(void **state)
{
    OPEN(s);
    sim_pass(&s, 9999);
    assert_false(s.closed);
    sim_pass(&s, 1);
    assert_outcome(&s, "close");
    sim_close(&s);
}

static void a_head_of_one_byte_a_second_ends_after_the_head_time(void **state)
{
    OPEN(s);
    int seconds = 0;
    for (; !s.closed && seconds < 100; seconds++) {
        sim_send(&s, gr_str_of(&GET[seconds], 1), 1);
        sim_pass(&s, 1000);
    }
    assert_int_equal(seconds, 10);
    assert_outcome(&s, "408 close");
    assert_int_equal(gr_http_count(s.http)->timeout_head, 1);
    sim_close(&s);
}

static void the_first_heads_time_runs_from_the_connection_on(void **state)
{
    OPEN(s);
    sim_pass(&s, 9000);
    sim_say(&s, "GET");
    sim_pass(&s, 1000);
    assert_outcome(&s, "408 close");
    sim_close(&s);
}

static void a_later_heads_time_runs_from_its_first_byte(void **state)
{
    OPEN(s);
    sim_say(&s, GET "\r\n");
    sim_pass(&s, 55000);
    sim_say(&s, "GET");
    sim_pass(&s, 9999);
    assert_outcome(&s, "200");
    sim_pass(&s, 1);
    assert_outcome(&s, "200 408 close");
    sim_close(&s);
}

static void the_connection_closes_only_when_all_is_written(void **state)
{
    OPEN(s);
    const char *request = GET "Connection: close\r\n\r\n";
    gr_http_conn_bytes(s.conn, s.now_ms, gr_str_c(request));
    while (s.output.size < 40) {
        assert_false(s.closed);
        sim_drain(&s, 1);
    }
    sim_drain(&s, SIZE_MAX);
    assert_outcome(&s, "200 close");
    sim_close(&s);
}

static void a_body_of_one_byte_a_second_ends_when_its_account_is_empty(void **state)
{
    OPEN(s);
    sim_say(&s, "POST /x HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\n");
    int seconds = 0;
    for (; !s.closed && seconds < 100; seconds++) {
        sim_say(&s, "b");
        sim_pass(&s, 1000);
    }
    assert_int_equal(seconds, 16);
    assert_outcome(&s, "408 close");
    assert_int_equal(gr_http_count(s.http)->held, 0);
    sim_close(&s);
}

static void a_steady_slow_body_is_allowed(void **state)
{
    OPEN(s);
    char kilobyte[1024];
    memset(kilobyte, 'k', sizeof kilobyte);
    sim_say(&s, "POST /x HTTP/1.1\r\n" H "Content-Length: 204800\r\n\r\n");
    for (int i = 0; i < 200; i++) {
        sim_send(&s, gr_str_of(kilobyte, sizeof kilobyte), SIZE_MAX);
        sim_pass(&s, 1000);
    }
    assert_outcome(&s, "200");
    sim_close(&s);
}

static void an_early_burst_buys_no_more_than_one_full_account(void **state)
{
    OPEN(s);
    static char burst[900000];
    sim_say(&s, "POST /stream HTTP/1.1\r\n" H "Content-Length: 1000000\r\n\r\n");
    sim_send(&s, gr_str_of(burst, sizeof burst), SIZE_MAX);
    sim_pass(&s, 14999);
    assert_false(s.closed);
    sim_pass(&s, 2);
    assert_outcome(&s, "408 close");
    sim_close(&s);
}

static void a_client_that_reads_nothing_is_cut_and_its_bytes_given_back(void **state)
{
    OPEN(s);
    const char *request = "GET /big HTTP/1.1\r\n" H "\r\n";
    gr_http_conn_bytes(s.conn, s.now_ms, gr_str_c(request));
    for (int i = 0; i < 29; i++) {
        s.now_ms += 1000;
        sim_drain(&s, 1);
    }
    assert_false(s.closed);
    s.now_ms += 2000;
    sim_drain(&s, 1);
    assert_true(s.closed);
    assert_int_equal(s.released, 1);
    assert_int_equal(gr_http_count(s.http)->timeout_drain, 1);
    sim_close(&s);
}

static void a_quiet_connection_lives_for_the_idle_time(void **state)
{
    OPEN(s);
    sim_say(&s, GET "\r\n");
    sim_pass(&s, 59999);
    assert_false(s.closed);
    sim_pass(&s, 1);
    assert_outcome(&s, "200 close");
    assert_int_equal(gr_http_count(s.http)->timeout_idle, 1);
    sim_close(&s);
}

static void a_held_request_has_no_deadline_and_is_answered_once(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    gr_http_id id = s.held;
    sim_pass(&s, 3600 * 1000);
    assert_false(s.closed);
    assert_int_equal(gr_http_count(s.http)->held, 1);
    assert_true(gr_http_reply(s.http, id, &(gr_http_answer){.status = 200}));
    assert_false(gr_http_reply(s.http, id, &(gr_http_answer){.status = 200}));
    sim_drain(&s, SIZE_MAX);
    assert_outcome(&s, "200");
    assert_int_equal(gr_http_count(s.http)->held, 0);
    sim_close(&s);
}

static void a_late_answer_to_an_old_id_does_nothing(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    gr_http_id old = s.held;
    gr_http_conn_lost(s.conn);
    sim_drain(&s, SIZE_MAX);
    assert_string_equal(s.log.ptr ? (gr_buf_char(&s.log, 0), s.log.ptr) : "", "[GET /hold? 1 ][gone]");
    s.closed = false;
    s.conn = gr_http_conn_open(s.http, s.now_ms, "192.0.2.7", false);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    assert_int_not_equal(s.held, old);
    assert_false(gr_http_reply(s.http, old,
                               &(gr_http_answer){.status = 200, .release = sim_release, .release_ctx = &s}));
    assert_int_equal(s.released, 1);
    sim_drain(&s, SIZE_MAX);
    assert_int_equal(s.output.size, 0);
    sim_close(&s);
}

static void a_half_closed_client_is_answered_within_its_grace(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    gr_http_conn_eof(s.conn, s.now_ms);
    sim_pass(&s, 2999);
    gr_http_reply(s.http, s.held, &(gr_http_answer){.status = 200});
    sim_drain(&s, SIZE_MAX);
    assert_outcome(&s, "200 close");
    sim_close(&s);
}

static void a_half_closed_client_is_gone_after_its_grace(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    gr_http_conn_eof(s.conn, s.now_ms);
    sim_pass(&s, 3000);
    assert_outcome(&s, "close");
    assert_int_equal(gr_http_count(s.http)->gone, 1);
    sim_close(&s);
}

static void an_end_in_the_middle_of_a_request_ends_it_silently(void **state)
{
    OPEN(s);
    sim_say(&s, "POST /x HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nhalf");
    gr_http_conn_eof(s.conn, s.now_ms);
    sim_drain(&s, SIZE_MAX);
    assert_outcome(&s, "close");
    assert_int_equal(gr_http_count(s.http)->gone, 1);
    sim_close(&s);
}

static void what_is_sent_on_after_a_refusal_is_bounded(void **state)
{
    static const char junk[1 << 16];
    OPEN(s);
    sim_say(&s, "POST /x HTTP/1.1\r\n" H "Content-Length: 99999999\r\n\r\n");
    assert_outcome(&s, "413 close");
    for (uint64_t sent = 0; sent < limits.linger_max; sent += sizeof junk)
        sim_send(&s, gr_str_of(junk, sizeof junk), SIZE_MAX);
    assert_non_null(s.conn);
    sim_say(&s, "more");
    assert_null(s.conn);
    sim_close(&s);
}

static void requests_read_ahead_are_bounded_and_wait_their_turn(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    gr_http_id first = s.held;
    for (int i = 0; i < 2000 && gr_http_conn_wants_bytes(s.conn); i++) sim_say(&s, GET "\r\n");
    assert_false(gr_http_conn_wants_bytes(s.conn));
    assert_true(s.conn->in.size < 17000);
    assert_int_equal(s.output.size, 0);
    gr_http_reply(s.http, first, &(gr_http_answer){.status = 204});
    sim_drain(&s, SIZE_MAX);
    assert_true(gr_http_conn_wants_bytes(s.conn));
    assert_memory_equal(s.output.ptr, "HTTP/1.1 204 No Content\r\n\r\n", 27);
    assert_int_equal(gr_http_count(s.http)->requests, gr_http_count(s.http)->answers);
    assert_int_equal(s.conn->in.room, 0);
    sim_close(&s);
}

static void a_paused_upload_takes_no_bytes_and_no_time(void **state)
{
    OPEN(s);
    sim_say(&s, "PUT /pause HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\nP");
    assert_false(gr_http_conn_wants_bytes(s.conn));
    sim_pass(&s, 600000);
    assert_false(s.closed);
    gr_http_pause(s.http, s.last, false);
    sim_say(&s, "12345");
    assert_outcome(&s, "200");
    sim_close(&s);
}

static void a_streamed_download_has_its_length_or_is_chunked(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /pull HTTP/1.1\r\n" H "\r\n");
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n";
    assert_memory_equal(s.output.ptr, head, sizeof head - 1);
    assert_int_equal(s.output.size, sizeof head - 1 + 200000);
    assert_int_equal(s.done, 1);
    gr_buf_clear(&s.output);
    sim_say(&s, "GET /pull-open HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(s.done, 2);
    assert_memory_equal(s.output.ptr, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0fff0\r\npp", 56);
    assert_memory_equal(s.output.ptr + s.output.size - 7, "\r\n0\r\n\r\n", 7);
    assert_false(s.closed);
    sim_close(&s);
}

static void a_download_shorter_than_promised_cuts_the_connection(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /pull-short HTTP/1.1\r\n" H "\r\n");
    assert_true(s.closed);
    assert_int_equal(s.done, 100);
    sim_close(&s);
}

static void buffered_bodies_are_bounded_in_sum(void **state)
{
    (void)state;
    gr_http_limits limits = gr_http_limits_default();
    limits.bodies_max = 1000;
    sim s;
    sim_open(&s, &limits);
    sim_say(&s, "POST /x HTTP/1.1\r\n" H "Content-Length: 1100\r\n\r\n");
    char body[1001];
    memset(body, 'b', sizeof body);
    sim_send(&s, gr_str_of(body, sizeof body), 100);
    assert_outcome(&s, "503 close");
    sim_pass(&s, 1000);
    assert_int_equal(gr_http_count(s.http)->bodies_bytes, 0);
    sim_close(&s);
}

static void connections_are_limited_in_all_and_for_each_peer(void **state)
{
    (void)state;
    gr_http_limits limits = gr_http_limits_default();
    limits.conn_max = 4;
    limits.conn_per_peer_max = 2;
    sim s;
    sim_open(&s, &limits);
    gr_http_conn *same = gr_http_conn_open(s.http, s.now_ms, "192.0.2.7", false);
    assert_non_null(same);
    assert_null(gr_http_conn_open(s.http, s.now_ms, "192.0.2.7", false));
    assert_non_null(gr_http_conn_open(s.http, s.now_ms, "2001:db8::1", false));
    assert_non_null(gr_http_conn_open(s.http, s.now_ms, "2001:db8::2", false));
    gr_http_conn_lost(same);
    gr_http_conn_free(&same);
    assert_null(gr_http_conn_open(s.http, s.now_ms, "2001:db8::3", false));
    assert_non_null(gr_http_conn_open(s.http, s.now_ms, "192.0.2.7", false));
    assert_null(gr_http_conn_open(s.http, s.now_ms, "192.0.2.8", false));
    assert_int_equal(gr_http_count(s.http)->refused_peer, 2);
    assert_int_equal(gr_http_count(s.http)->refused_total, 1);
    sim_close(&s);
}

static void a_stop_ends_idle_connections_and_lets_the_others_finish(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    gr_http_conn *idle = gr_http_conn_open(s.http, s.now_ms, "192.0.2.9", false);
    gr_http_stop_conns(s.http);
    assert_true(gr_http_conn_done(idle));
    gr_http_conn_free(&idle);
    gr_http_reply(s.http, s.held, &(gr_http_answer){.status = 200});
    sim_drain(&s, SIZE_MAX);
    gr_buf_char(&s.output, 0);
    assert_non_null(strstr(s.output.ptr, "Connection: close\r\n"));
    assert_true(s.closed);
    sim_close(&s);
}

static void ten_thousand_idle_connections_end_in_order_of_their_deadlines(void **state)
{
    (void)state;
    gr_http_limits limits = gr_http_limits_default();
    sim s;
    sim_open(&s, &limits);
    for (unsigned i = 0; i < 10000; i++)
        gr_http_conn_open(s.http, s.now_ms + (i * 7919) % 10000, "192.0.2.7", false);
    for (unsigned second = 0; second <= 10; second++) {
        uint64_t before = gr_http_count(s.http)->open;
        gr_http_run(s.http, s.now_ms + 10000 + second * 1000 - 1);
        for (gr_http_conn *c; (c = gr_http_next_dirty(s.http));) {
            if (gr_http_conn_done(c)) gr_http_conn_free(&c);
        }
        assert_int_equal(before - gr_http_count(s.http)->open, second == 0 ? 0 : second == 1 ? 1001 : 1000);
    }
    assert_int_equal(gr_http_count(s.http)->open, 0);
    s.conn = NULL;
    sim_close(&s);
}

static void outside_text_in_a_header_cannot_end_its_line(void **state)
{
    OPEN(s);
    sim_say(&s, "GET /hold HTTP/1.1\r\n" H "\r\n");
    gr_http_header header = {GR_STR("Location"), GR_STR("/a\r\nSet-Cookie: b")};
    gr_http_reply(s.http, s.held, &(gr_http_answer){.status = 302, .headers = &header, .header_count = 1});
    sim_drain(&s, SIZE_MAX);
    gr_buf_char(&s.output, 0);
    assert_non_null(strstr(s.output.ptr, "Location: /a  Set-Cookie: b\r\n"));
    sim_close(&s);
}

static void the_date_is_written_as_rfc_9110_wants_it(void **state)
{
    OPEN(s);
    gr_http_set_date(s.http, 784111777);
    sim_say(&s, GET "\r\n");
    gr_buf_char(&s.output, 0);
    assert_non_null(strstr(s.output.ptr, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    sim_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_judged_the_same_however_its_bytes_are_split),
        cmocka_unit_test(a_nul_is_refused_wherever_it_stands),
        cmocka_unit_test(the_judge_of_heads_relies_on_nobody),
        cmocka_unit_test(the_scan_of_heads_relies_on_nobody),
        cmocka_unit_test(the_first_heads_time_runs_from_the_connection_on),
        cmocka_unit_test(a_later_heads_time_runs_from_its_first_byte),
        cmocka_unit_test(the_connection_closes_only_when_all_is_written),
        cmocka_unit_test(heads_are_limited_in_every_direction),
        cmocka_unit_test(a_silent_connection_ends_after_the_head_time),
        cmocka_unit_test(a_head_of_one_byte_a_second_ends_after_the_head_time),
        cmocka_unit_test(a_body_of_one_byte_a_second_ends_when_its_account_is_empty),
        cmocka_unit_test(a_steady_slow_body_is_allowed),
        cmocka_unit_test(an_early_burst_buys_no_more_than_one_full_account),
        cmocka_unit_test(a_client_that_reads_nothing_is_cut_and_its_bytes_given_back),
        cmocka_unit_test(a_quiet_connection_lives_for_the_idle_time),
        cmocka_unit_test(a_held_request_has_no_deadline_and_is_answered_once),
        cmocka_unit_test(a_late_answer_to_an_old_id_does_nothing),
        cmocka_unit_test(a_half_closed_client_is_answered_within_its_grace),
        cmocka_unit_test(a_half_closed_client_is_gone_after_its_grace),
        cmocka_unit_test(an_end_in_the_middle_of_a_request_ends_it_silently),
        cmocka_unit_test(what_is_sent_on_after_a_refusal_is_bounded),
        cmocka_unit_test(requests_read_ahead_are_bounded_and_wait_their_turn),
        cmocka_unit_test(a_paused_upload_takes_no_bytes_and_no_time),
        cmocka_unit_test(a_streamed_download_has_its_length_or_is_chunked),
        cmocka_unit_test(a_download_shorter_than_promised_cuts_the_connection),
        cmocka_unit_test(buffered_bodies_are_bounded_in_sum),
        cmocka_unit_test(connections_are_limited_in_all_and_for_each_peer),
        cmocka_unit_test(a_stop_ends_idle_connections_and_lets_the_others_finish),
        cmocka_unit_test(ten_thousand_idle_connections_end_in_order_of_their_deadlines),
        cmocka_unit_test(outside_text_in_a_header_cannot_end_its_line),
        cmocka_unit_test(the_date_is_written_as_rfc_9110_wants_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
