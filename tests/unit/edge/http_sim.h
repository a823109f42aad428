/* http_sim.h - a client of bytes for the connection machine, and a handler that writes down what it sees.
 *
 * Paths choose what the handler does: /hold keeps the request, /refuse answers 403 in on_head, /small takes
 * 10 bytes, /stream and /pause take the body in pieces, /big answers with a borrowed body, /pull and
 * /pull-open with a streamed one; anything else is answered 200 at once with the body echoed.
 */
#pragma once
#include "edge/http_conn.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    gr_http *http;
    gr_http_conn *conn;
    uint64_t now_ms;
    gr_buf log, output;
    gr_http_id held, last;
    uint64_t pulled, pull_total;
    int released, done;
    bool closed;
} sim;

static inline void sim_release(void *ctx) { ((sim *)ctx)->released++; }
static inline void sim_pull_done(void *ctx, bool whole) { ((sim *)ctx)->done += whole ? 1 : 100; }

static inline int64_t sim_pull(void *ctx, char *dst, size_t room)
{
    sim *s = ctx;
    size_t size = s->pull_total - s->pulled < room ? (size_t)(s->pull_total - s->pulled) : room;
    if (size == 0) return -1;
    memset(dst, 'p', size);
    s->pulled += size;
    return (int64_t)size;
}

static inline bool sim_on_head(void *ctx, gr_http_id id, const gr_http_req *req, gr_http_take *take)
{
    sim *s = ctx;
    if (gr_str_is(req->path, "/refuse")) {
        gr_http_reply_error(s->http, id, 0, gr_fail(GR_FORBIDDEN, "Not here"));
        return false;
    }
    if (gr_str_is(req->path, "/refuse-silently")) return false;
    if (gr_str_is(req->path, "/small")) take->body_max = 10;
    take->stream =
        gr_str_is(req->path, "/stream") || gr_str_is(req->path, "/pause") || gr_str_is(req->path, "/early");
    if (take->stream) take->body_max = 1 << 30;
    return true;
}

static inline void sim_on_body(void *ctx, gr_http_id id, gr_str piece)
{
    sim *s = ctx;
    s->last = id;
    for (size_t i = 0; i < piece.size && s->log.size < 2000; i++) gr_buf_char(&s->log, piece.ptr[i]);
    if (piece.size && piece.ptr[0] == 'P') gr_http_pause(s->http, id, true);
    if (piece.size && piece.ptr[0] == 'E') gr_http_reply(s->http, id, &(gr_http_answer){.status = 403});
    if (piece.size && piece.ptr[0] == 'A') gr_http_abort(s->http, id);
}

static inline void sim_on_request(void *ctx, gr_http_id id, const gr_http_req *req, gr_str body)
{
    sim *s = ctx;
    gr_buf_printf(&s->log, "[%" GR_FMT " %" GR_FMT "?%" GR_FMT " %zu %" GR_FMT "]", GR_ARG(req->method_name),
                  GR_ARG(req->path), GR_ARG(req->query), req->header_count, GR_ARG(gr_str_head(body, 100)));
    s->last = id;
    gr_http_answer a = {.status = 200, .body = body};
    if (gr_str_is(req->path, "/hold")) {
        s->held = id;
        return;
    }
    if (gr_str_is(req->path, "/abort")) {
        gr_http_abort(s->http, id);
        return;
    }
    if (gr_str_is(req->path, "/big")) {
        static char bytes[300000];
        a.body = gr_str_of(bytes, sizeof bytes);
        a.release = sim_release;
        a.release_ctx = s;
    }
    if (gr_str_starts(req->path, GR_STR("/pull"))) {
        s->pulled = 0;
        a = (gr_http_answer){.status = 200, .pull = sim_pull, .pull_done = sim_pull_done, .pull_ctx = s,
                             .pull_length = gr_str_is(req->path, "/pull-open") ? -1 : (int64_t)s->pull_total};
        if (gr_str_is(req->path, "/pull-short")) a.pull_length++;
    }
    gr_http_reply(s->http, id, &a);
}

static inline void sim_on_gone(void *ctx, gr_http_id id)
{
    sim *s = ctx;
    (void)id;
    s->held = 0;
    gr_buf_c(&s->log, "[gone]");
}

/* Takes all that can be written, at most max bytes. */
static inline void sim_drain(sim *s, size_t max)
{
    struct iovec iov[2];
    gr_http_run(s->http, s->now_ms);
    while (gr_http_next_dirty(s->http)) continue;
    int count;
    while (s->conn && max && (count = gr_http_conn_out(s->conn, s->now_ms, iov)) > 0) {
        size_t size = iov[0].iov_len < max ? iov[0].iov_len : max;
        gr_buf_add(&s->output, iov[0].iov_base, size);
        max -= size;
        gr_http_conn_wrote(s->conn, s->now_ms, size);
    }
    if (!s->conn) return;
    s->closed = gr_http_conn_done(s->conn) || gr_http_conn_closing(s->conn);
    if (gr_http_conn_done(s->conn)) {
        while (gr_http_next_dirty(s->http)) continue;
        gr_http_conn_free(&s->conn);
    }
}

static inline void sim_open(sim *s, const gr_http_limits *limits)
{
    gr_http_handler handler = {sim_on_head, sim_on_body, sim_on_request, sim_on_gone};
    *s = (sim){.now_ms = 1000000, .pull_total = 200000};
    s->http = gr_http_new(limits, &handler, s);
    s->conn = gr_http_conn_open(s->http, s->now_ms, "192.0.2.7", false);
}

static inline void sim_close(sim *s)
{
    gr_http_free(&s->http);
    gr_buf_free(&s->log);
    gr_buf_free(&s->output);
}

/* Feeds bytes in pieces of at most step. */
static inline void sim_send(sim *s, gr_str bytes, size_t step)
{
    while (bytes.size && s->conn) {
        gr_http_conn_bytes(s->conn, s->now_ms, gr_str_head(bytes, step));
        bytes = gr_str_from(bytes, step);
        sim_drain(s, SIZE_MAX);
    }
}

static inline void sim_say(sim *s, const char *text) { sim_send(s, gr_str_c(text), SIZE_MAX); }

static inline void sim_pass(sim *s, uint64_t ms)
{
    s->now_ms += ms;
    sim_drain(s, SIZE_MAX);
}
