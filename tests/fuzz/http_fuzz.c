/* http_fuzz.c - arbitrary bytes, arbitrarily split, through the connection machine.
 *
 * The first byte chooses the split.  Checked: the same bytes in one piece give the same answers (or, when the
 * handler aborts the connection and so drops what was not yet written, the beginning of them); what the judge
 * of heads let pass has one reading only; nothing is left held, buffered or listed when the connection is gone.
 */
#include "tests/unit/edge/http_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A head that may be served has a form that any other parser reads in the same way. */
static void check_one_reading(gr_str head)
{
    gr_http_header room[GR_HTTP_HEADERS_MAX];
    gr_http_req req = {0};
    gr_http_limits limits = gr_http_limits_default();
    gr_http_scan scan = {0};
    if (gr_http_scan_head(&scan, head, &limits) != 200) return;
    head = gr_str_head(head, scan.seen);
    if (!gr_http_parse_head(head, room, &req) || gr_http_check_head(&req)) return;
    unsigned lengths = 0, codings = 0, hosts = 0;
    for (size_t i = 0; i < req.header_count; i++) {
        gr_assert(gr_http_is_token(req.headers[i].name));
        gr_assert(gr_str_find(req.headers[i].value, '\r') < 0 && gr_str_find(req.headers[i].value, '\n') < 0);
        lengths += gr_http_same_name(req.headers[i].name, "content-length");
        codings += gr_http_same_name(req.headers[i].name, "transfer-encoding");
        hosts += gr_http_same_name(req.headers[i].name, "host");
    }
    gr_assert(lengths + codings <= 1 && hosts <= 1 && hosts + (req.version_minor == 0) >= 1);
    gr_assert((req.length == -1) == (codings == 1) && (lengths || req.length <= 0));
    gr_assert(req.path.size && (req.path.ptr[0] == '/' || req.path.ptr[0] == '*'));
}

/* Feeds all, lets time pass until the connection is gone, and leaves what was answered in output. */
static void run(gr_str bytes, size_t step, gr_buf *output)
{
    gr_http_limits limits = gr_http_limits_default();
    sim s;
    sim_open(&s, &limits);
    sim_send(&s, bytes, step);
    if (step % 2 && s.conn) gr_http_conn_eof(s.conn, s.now_ms);
    gr_buf_str(output, gr_buf_view(&s.output));
    for (int i = 0; i < 8 && s.conn; i++) {
        gr_http_pause(s.http, s.last, false);
        if (s.held) gr_http_reply_error(s.http, s.held, 0, gr_fail(GR_NOT_FOUND, "Nothing"));
        s.held = 0;
        sim_pass(&s, 31000);
    }
    if (s.conn) {
        gr_http_conn_lost(s.conn);
        sim_drain(&s, SIZE_MAX);
    }
    gr_assert(gr_http_count(s.http)->open == 0 && gr_http_count(s.http)->held == 0);
    gr_assert(gr_http_count(s.http)->bodies_bytes == 0 && !gr_http_any_dirty(s.http));
    gr_assert(gr_http_next_due(s.http) == UINT64_MAX);
    sim_close(&s);
}

static bool depends_on_pieces(gr_str bytes)
{
    return memmem(bytes.ptr, bytes.size, "/stream", 7) || memmem(bytes.ptr, bytes.size, "/pause", 6) ||
           memmem(bytes.ptr, bytes.size, "/early", 6);
}

static bool same_answers(gr_str bytes, gr_str whole, gr_str split)
{
    if (memmem(bytes.ptr, bytes.size, "/abort", 6))
        return gr_str_starts(whole, split) || gr_str_starts(split, whole);
    return gr_str_eq(whole, split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    gr_str bytes = gr_str_of(data + 1, size - 1);
    gr_buf whole = {0}, split = {0};
    check_one_reading(bytes);
    run(bytes, SIZE_MAX, &whole);
    run(bytes, (size_t)data[0] + 1, &split);
    gr_assert(depends_on_pieces(bytes) || same_answers(bytes, gr_buf_view(&whole), gr_buf_view(&split)));
    gr_buf_free(&whole);
    gr_buf_free(&split);
    return 0;
}
