/* http_conn.c - the state machine of a connection. See http_conn.h.
 *
 * Bytes go through head, body and wait, one request after the other.  A handler may answer while the machine
 * is in the middle of a callback; nothing here trusts the phase to be the same after one.
 */
#include "edge/http_core.h"

#include <stdlib.h>

enum { OUTPUT_AHEAD_MAX = 65536 };

gr_http_conn *gr_http_conn_open(gr_http *h, uint64_t now_ms, const char *peer, bool tls)
{
    gr_http_conn *c = gr_alloc(sizeof *c);
    gr_str name = gr_str_head(gr_str_c(peer), sizeof c->peer - 1);
    memcpy(c->peer, name.ptr, name.size);
    c->http = h;
    c->fd = -1;
    c->tls = tls;
    if (!gr_http_slot_take(c)) {
        free(c);
        return NULL;
    }
    h->now_ms = now_ms;
    c->in_due_ms = now_ms + h->limits.head_ms;
    gr_http_arm(c);
    return c;
}

bool gr_http_has_output(const gr_http_conn *c)
{
    return c->out.size > c->out_at || c->big_at < c->big.size || (c->pull && !c->pull_stalled);
}

/* Never inside a callback: the handler's views point there. */
static void forget_body(gr_http_conn *c)
{
    c->http->counts.bodies_bytes -= c->body.size;
    gr_buf_free(&c->body);
    free(c->req);
    c->req = NULL;
}

static void forget_bytes(gr_http_conn *c)
{
    forget_body(c);
    gr_buf_free(&c->in);
    gr_buf_free(&c->out);
    c->in_at = c->out_at = 0;
}

void gr_http_conn_free(gr_http_conn **conn)
{
    gr_http_conn *c = *conn;
    gr_assert(c->phase == GR_HTTP_DONE_PHASE);
    /* A connection in the dirty list is freed only by the one who takes it from there. */
    if (c->dirty) {
        gr_http *h = c->http;
        gr_http_conn **p = &h->dirty, *before = NULL;
        for (; *p != c; p = &(*p)->next_dirty) before = *p;
        *p = c->next_dirty;
        if (h->dirty_last == c) h->dirty_last = before;
    }
    forget_bytes(c);
    gr_http_slot_leave(c);
    free(c);
    *conn = NULL;
}

/* The handler need not wait for this request any more. */
static void end_hold(gr_http_conn *c, bool tell)
{
    if (!c->accepted) return;
    c->accepted = false;
    c->http->counts.held--;
    if (!tell) return;
    c->http->counts.gone++;
    c->http->handler.on_gone(c->http->ctx, c->id);
}

void gr_http_drop(gr_http_conn *c, bool tell)
{
    if (c->phase == GR_HTTP_DONE_PHASE) return;
    c->phase = GR_HTTP_DONE_PHASE;
    end_hold(c, tell);
    gr_http_release_answer(c, false);
    if (!c->busy) forget_bytes(c);
    c->id = 0;
}

/* Ends the request with an answer of our own, whatever the handler thinks of it; the connection closes. */
static void fail(gr_http_conn *c, int status, gr_errcode code, const char *text)
{
    end_hold(c, true);
    if (c->phase == GR_HTTP_DONE_PHASE) return;
    c->keep_alive = false;
    if (!c->answered) gr_http_refuse(c, status, gr_fail(code, text));
    c->phase = GR_HTTP_WAIT_PHASE;
    c->in_due_ms = 0;
}

static void next_request(gr_http_conn *c)
{
    c->phase = GR_HTTP_HEAD_PHASE;
    c->id = 0;
    c->scan = (gr_http_scan){0};
    c->started = c->answered = c->discard = c->streamed = c->paused = c->expects = false;
    c->head_only = c->version_0 = c->blank_seen = false;
    c->served = true;
    c->in_due_ms = c->http->now_ms + c->http->limits.idle_ms;
}

/* --- body ----------------------------------------------------------------------------------------------- */
static void body_complete(gr_http_conn *c, gr_str body)
{
    c->phase = GR_HTTP_WAIT_PHASE;
    c->in_due_ms = c->eof ? c->http->now_ms + c->http->limits.half_closed_ms : 0;
    if (!c->answered) c->http->handler.on_request(c->http->ctx, c->id, c->req, body);
    forget_body(c);
}

static void body_piece(gr_http_conn *c, gr_str piece)
{
    gr_http *h = c->http;
    uint64_t credit_ms = piece.size * 1000 / h->limits.body_rate, full_ms = h->now_ms + h->limits.body_ms;
    c->in_due_ms = c->in_due_ms + credit_ms < full_ms ? c->in_due_ms + credit_ms : full_ms;
    c->body_seen += piece.size;
    if (c->body_seen > c->body_max) {
        h->counts.body_too_large++;
        fail(c, 413, GR_TOO_LARGE, "The body is larger than this server takes here");
    } else if (c->discard) {
        return;
    } else if (c->streamed) {
        h->handler.on_body(h->ctx, c->id, piece);
    } else if (h->counts.bodies_bytes + piece.size > h->limits.bodies_max) {
        h->counts.bodies_full++;
        fail(c, 503, GR_UNAVAILABLE, "The server is busy with other uploads; try again in a moment");
    } else {
        gr_buf_add(&c->body, piece.ptr, piece.size);
        h->counts.bodies_bytes += piece.size;
    }
}

static void read_chunked(gr_http_conn *c, gr_str *rest)
{
    gr_str piece;
    switch (gr_http_chunk_next(&c->chunk, rest, &piece)) {
    case GR_HTTP_CHUNK_MORE: break;
    case GR_HTTP_CHUNK_DATA: body_piece(c, piece); break;
    case GR_HTTP_CHUNK_END: body_complete(c, gr_buf_view(&c->body)); break;
    case GR_HTTP_CHUNK_BAD:
        c->http->counts.bad_body++;
        fail(c, 400, GR_UNKNOWN, "The chunked body is malformed");
        break;
    }
}

static void read_sized(gr_http_conn *c, gr_str *rest)
{
    gr_str piece = gr_str_head(*rest, c->body_left < rest->size ? (size_t)c->body_left : rest->size);
    *rest = gr_str_from(*rest, piece.size);
    bool at_once = piece.size == c->body_left && c->body_seen == 0 && !c->streamed && !c->discard;
    c->body_left -= piece.size;
    if (at_once) {
        body_complete(c, piece);                   /* the whole body lies in the input: no copy */
        return;
    }
    body_piece(c, piece);
    if (c->body_left == 0 && c->phase == GR_HTTP_BODY_PHASE) body_complete(c, gr_buf_view(&c->body));
}

/* False when it can do no more for now. */
static bool read_body(gr_http_conn *c, gr_str *rest)
{
    if (c->paused || rest->size == 0) return false;
    if (c->chunked) read_chunked(c, rest);
    else read_sized(c, rest);
    return true;
}

/* --- head ----------------------------------------------------------------------------------------------- */
static void refuse_head(gr_http_conn *c, int status)
{
    gr_http_counts *n = &c->http->counts;
    if (status == 414 || status == 431) n->head_too_large++;
    else n->bad_head++;
    fail(c, status, GR_UNKNOWN,
         status == 414   ? "The request line is too long"
         : status == 431 ? "The request's header is too large"
         : status == 505 ? "Only HTTP/1.0 and HTTP/1.1 are spoken here"
         : status == 417 ? "The only expectation understood is 100-continue"
                         : "The request is not well-formed HTTP");
}

static gr_str moved(gr_str s, gr_str from, const char *to)
{
    if (s.ptr < from.ptr || s.ptr > from.ptr + from.size) return s;
    return (gr_str){to + (s.ptr - from.ptr), s.size};
}

/* A copy of the request with the bytes it points to, for the time the body comes; one free(). */
static gr_http_req *keep_req(const gr_http_req *req, gr_str head)
{
    size_t fields = req->header_count * sizeof(gr_http_header);
    gr_http_req *kept = gr_realloc(NULL, sizeof *kept + fields + head.size);
    gr_http_header *headers = (gr_http_header *)(kept + 1);
    char *bytes = (char *)headers + fields;
    memcpy(bytes, head.ptr, head.size);
    *kept = *req;
    kept->headers = headers;
    kept->method_name = moved(req->method_name, head, bytes);
    kept->path = moved(req->path, head, bytes);
    kept->query = moved(req->query, head, bytes);
    kept->authority = moved(req->authority, head, bytes);
    for (size_t i = 0; i < req->header_count; i++)
        headers[i] = (gr_http_header){moved(req->headers[i].name, head, bytes),
                                      moved(req->headers[i].value, head, bytes)};
    return kept;
}

static void begin(gr_http_conn *c, const gr_http_req *req)
{
    c->id = gr_http_next_id(c);
    c->http->counts.requests++;
    c->keep_alive = req->keep_alive;
    c->head_only = req->method == GR_HTTP_HEAD;
    c->version_0 = req->version_minor == 0;
    c->chunked = req->chunked;
    c->chunk = (gr_http_chunk){0};
    c->expects = req->expects_continue;
    c->body_left = req->chunked ? 0 : (uint64_t)req->length;
    c->body_seen = 0;
    c->phase = req->length ? GR_HTTP_BODY_PHASE : GR_HTTP_WAIT_PHASE;
    c->in_due_ms = req->length ? c->http->now_ms + c->http->limits.body_ms : 0;
}

/* Asks the handler and makes ready for the body. */
static void start_request(gr_http_conn *c, const gr_http_req *req, gr_str head)
{
    gr_http *h = c->http;
    gr_http_take take = {.body_max = h->limits.body_max};
    begin(c, req);
    /* Held from here on: an answer given inside on_head settles it like any other. */
    c->accepted = true;
    h->counts.held++;
    bool yes = h->handler.on_head(h->ctx, c->id, req, &take);
    if (c->phase == GR_HTTP_DONE_PHASE || c->answered) return;
    if (!yes) {
        end_hold(c, false);
        gr_http_refuse(c, 500, gr_fail(GR_UNKNOWN, "The server could not take this request"));
        return;
    }
    gr_assert(!take.stream || h->handler.on_body);
    c->body_max = take.body_max;
    c->streamed = take.stream;
    if (c->body_left > c->body_max) {
        h->counts.body_too_large++;
        fail(c, 413, GR_TOO_LARGE, "The body is larger than this server takes here");
    } else if (c->phase == GR_HTTP_WAIT_PHASE) {
        if (c->eof) c->in_due_ms = h->now_ms + h->limits.half_closed_ms;
        h->handler.on_request(h->ctx, c->id, req, (gr_str){0});
    } else {
        c->req = keep_req(req, head);
        if (c->expects) gr_buf_str(&c->out, GR_STR("HTTP/1.1 100 Continue\r\n\r\n"));
        c->expects = false;
    }
}

static bool read_head(gr_http_conn *c, gr_str *rest)
{
    gr_http *h = c->http;
    if (rest->size == 0) return false;
    if (!c->started) {
        c->started = true;
        /* The first head's time runs from the connection on, later ones' from their first byte. */
        if (c->served) c->in_due_ms = h->now_ms + h->limits.head_ms;
    }
    if (c->scan.seen == 0 && rest->ptr[0] == '\r' && !c->blank_seen) {
        /* One empty line before a request is let pass, RFC 9112 2.2. */
        if (rest->size == 1) return false;
        c->blank_seen = true;
        if (rest->ptr[1] == '\n') *rest = gr_str_from(*rest, 2);
        return true;
    }
    int status = gr_http_scan_head(&c->scan, *rest, &h->limits);
    if (status == 0) return false;
    if (status == 200) {
        gr_http_header room[GR_HTTP_HEADERS_MAX];
        gr_http_req req = {.tls = c->tls, .door = c->door, .peer = gr_str_c(c->peer)};
        gr_str head = gr_str_head(*rest, c->scan.seen);
        *rest = gr_str_from(*rest, c->scan.seen);
        status = gr_http_parse_head(head, room, &req) ? gr_http_check_head(&req) : 400;
        if (status == 0) start_request(c, &req, head);
    }
    if (status) refuse_head(c, status);
    return true;
}

/* --- turns ---------------------------------------------------------------------------------------------- */
/* After an answer: the next request, or the end. False when the answer is not yet far enough. */
static bool finish_answer(gr_http_conn *c)
{
    if (!c->answered || c->pull || c->big.ptr) return false;
    size_t waiting = c->out.size - c->out_at;
    if (c->keep_alive && !c->http->stopping) {
        if (waiting > OUTPUT_AHEAD_MAX) return false;
        next_request(c);
        return true;
    }
    if (waiting) return false;
    c->id = 0;
    if (c->eof) {
        gr_http_drop(c, true);
    } else {
        c->phase = GR_HTTP_LINGER_PHASE;
        c->in_due_ms = c->http->now_ms + c->http->limits.linger_ms;
    }
    return true;
}

/* Uses up bytes as far as possible; returns what is left of them. */
static gr_str advance(gr_http_conn *c, gr_str bytes)
{
    bool more = true;
    c->busy = true;
    while (more) {
        switch ((gr_http_phase)c->phase) {
        case GR_HTTP_HEAD_PHASE: more = read_head(c, &bytes); break;
        case GR_HTTP_BODY_PHASE: more = read_body(c, &bytes); break;
        case GR_HTTP_WAIT_PHASE: more = finish_answer(c); break;
        default:
            bytes = (gr_str){0};
            more = false;
        }
    }
    c->busy = false;
    if (c->phase == GR_HTTP_DONE_PHASE) forget_bytes(c);
    return bytes;
}

/* After every turn: a client that will send no more, and the deadlines. */
static void settle(gr_http_conn *c)
{
    gr_http *h = c->http;
    if (c->eof) {
        bool reading = c->phase == GR_HTTP_HEAD_PHASE || (c->phase == GR_HTTP_BODY_PHASE && !c->paused);
        if (c->phase == GR_HTTP_LINGER_PHASE || (reading && !gr_http_has_output(c))) gr_http_drop(c, true);
    }
    bool output = gr_http_has_output(c);
    if (!output) c->out_due_ms = 0;
    else if (c->out_due_ms == 0) c->out_due_ms = h->now_ms + h->limits.drain_ms;
    gr_http_arm(c);
}

void gr_http_turn(gr_http_conn *c)
{
    gr_str rest = advance(c, gr_str_from(gr_buf_view(&c->in), c->in_at));
    if (rest.size == 0) {
        gr_buf_free(&c->in);
        c->in_at = 0;
    } else {
        c->in_at = c->in.size - rest.size;
    }
    settle(c);
}

void gr_http_conn_bytes(gr_http_conn *c, uint64_t now_ms, gr_str bytes)
{
    c->http->now_ms = now_ms;
    c->http->counts.bytes_in += bytes.size;
    if (c->phase == GR_HTTP_LINGER_PHASE) {
        c->lingered += bytes.size;
        if (c->lingered > c->http->limits.linger_max) gr_http_drop(c, true);
        return;
    }
    if (c->phase == GR_HTTP_DONE_PHASE || c->eof) return;
    if (c->in.size > c->in_at) {
        if (c->in_at) {
            memmove(c->in.ptr, c->in.ptr + c->in_at, c->in.size - c->in_at);
            c->in.size -= c->in_at;
            c->in_at = 0;
        }
        gr_buf_add(&c->in, bytes.ptr, bytes.size);
        gr_http_turn(c);
        return;
    }
    gr_str rest = advance(c, bytes);
    gr_buf_add(&c->in, rest.ptr, rest.size);
    settle(c);
}

void gr_http_conn_eof(gr_http_conn *c, uint64_t now_ms)
{
    c->http->now_ms = now_ms;
    if (c->phase == GR_HTTP_DONE_PHASE || c->eof) return;
    c->eof = true;
    if (c->phase == GR_HTTP_WAIT_PHASE && !c->answered)
        c->in_due_ms = now_ms + c->http->limits.half_closed_ms;
    gr_http_turn(c);
}

void gr_http_conn_lost(gr_http_conn *c) { gr_http_drop(c, true); }

bool gr_http_conn_wants_bytes(const gr_http_conn *c)
{
    if (c->eof || c->phase == GR_HTTP_DONE_PHASE) return false;
    if (c->phase == GR_HTTP_BODY_PHASE) return !c->paused;
    return c->phase != GR_HTTP_WAIT_PHASE || c->in.size - c->in_at < c->http->limits.pipeline_max;
}

bool gr_http_conn_closing(const gr_http_conn *c) { return c->phase == GR_HTTP_LINGER_PHASE; }

void gr_http_expire(gr_http_conn *c)
{
    gr_http *h = c->http;
    if (c->out_due_ms && c->out_due_ms <= h->now_ms) {
        h->counts.timeout_drain++;
        gr_http_drop(c, true);
    } else if (c->phase == GR_HTTP_HEAD_PHASE && c->started) {
        h->counts.timeout_head++;
        fail(c, 408, GR_UNKNOWN, "The request's header did not arrive in time");
    } else if (c->phase == GR_HTTP_HEAD_PHASE && gr_http_has_output(c)) {
        c->in_due_ms = h->now_ms + h->limits.idle_ms;          /* the client still reads: not idle */
    } else if (c->phase == GR_HTTP_BODY_PHASE) {
        h->counts.timeout_body++;
        fail(c, 408, GR_UNKNOWN, "The request's body came too slowly");
    } else {
        if (c->phase == GR_HTTP_HEAD_PHASE) h->counts.timeout_idle++;
        gr_http_drop(c, true);
    }
    settle(c);
}

void gr_http_pause(gr_http *h, gr_http_id id, bool paused)
{
    gr_http_conn *c = gr_http_find(h, id);
    if (!c || c->phase != GR_HTTP_BODY_PHASE || c->paused == paused || c->answered) return;
    c->paused = paused;
    c->in_due_ms = paused ? 0 : h->now_ms + h->limits.body_ms;
    gr_http_arm(c);
    gr_http_touch(c);
}

void gr_http_resume(gr_http *h, gr_http_id id)
{
    gr_http_conn *c = gr_http_find(h, id);
    if (!c || !c->pull) return;
    c->pull_stalled = false;
    gr_http_touch(c);
}

void gr_http_abort(gr_http *h, gr_http_id id)
{
    gr_http_conn *c = gr_http_find(h, id);
    if (!c) return;
    gr_http_drop(c, false);
    gr_http_touch(c);
}
