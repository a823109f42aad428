/* http_answer.c - answers: their head, and their way out of the connection. See http.h and http_conn.h.
 *
 * Small bodies are copied behind their head into c->out; a borrowed body goes out beside it without a copy; a
 * streamed one is pulled into c->out piece by piece.  One big or streamed answer is under way at a time.
 */
#include "edge/http_core.h"

#include <stdio.h>
#include <stdlib.h>

enum { DISCARD_MAX = 65536, CHUNK_FRAME = 16 };

const char *gr_http_status_text(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

static void add_number(gr_buf *b, uint64_t n)
{
    char text[20];
    size_t at = sizeof text;
    do text[--at] = (char)('0' + n % 10);
    while (n /= 10);
    gr_buf_add(b, text + at, sizeof text - at);
}

/* A field value may carry outside text (a file name, a redirect): no byte of it ends the line. */
static void add_header(gr_buf *b, const gr_http_header *header)
{
    gr_assert(gr_http_is_token(header->name));
    gr_buf_str(b, header->name);
    gr_buf_add(b, ": ", 2);
    size_t at = b->size;
    gr_buf_str(b, header->value);
    for (; at < b->size; at++)
        if ((unsigned char)b->ptr[at] < 0x20 || b->ptr[at] == 0x7f) b->ptr[at] = ' ';
    gr_buf_add(b, "\r\n", 2);
}

static void add_head(gr_http_conn *c, const gr_http_answer *a, bool close, int64_t length)
{
    gr_buf *b = &c->out;
    const gr_http *h = c->http;
    gr_buf_add(b, "HTTP/1.1 ", 9);
    add_number(b, (uint64_t)a->status);
    gr_buf_char(b, ' ');
    gr_buf_c(b, gr_http_status_text(a->status));
    gr_buf_add(b, "\r\n", 2);
    if (h->date[0]) {
        gr_buf_add(b, "Date: ", 6);
        gr_buf_c(b, h->date);
        gr_buf_add(b, "\r\n", 2);
    }
    for (size_t i = 0; i < a->header_count; i++) add_header(b, &a->headers[i]);
    gr_buf_str(b, h->limits.common_headers);
    if (length >= 0 && a->status != 204) {
        gr_buf_c(b, "Content-Length: ");
        add_number(b, (uint64_t)length);
        gr_buf_add(b, "\r\n", 2);
    } else if (c->pull_chunked) {
        gr_buf_c(b, "Transfer-Encoding: chunked\r\n");
    }
    if (close) gr_buf_c(b, "Connection: close\r\n");
    else if (c->version_0) gr_buf_c(b, "Connection: keep-alive\r\n");
    gr_buf_add(b, "\r\n", 2);
}

/* The bodies of an answer that is not (or no longer) wanted. */
static void give_back(const gr_http_answer *a, bool whole)
{
    if (a->release) a->release(a->release_ctx);
    if (a->pull && a->pull_done) a->pull_done(a->pull_ctx, whole);
}

void gr_http_release_answer(gr_http_conn *c, bool whole)
{
    void (*release)(void *) = c->release;
    void (*done)(void *, bool) = c->pull ? c->pull_done : NULL;
    c->release = NULL;
    c->pull = NULL;
    c->pull_done = NULL;
    c->big = (gr_str){0};
    c->big_at = 0;
    if (release) release(c->release_ctx);
    if (done) done(c->pull_ctx, whole);
}

static void write_answer(gr_http_conn *c, const gr_http_answer *a)
{
    bool bodiless = c->head_only || a->status == 204 || a->status == 304;
    int64_t length = a->pull ? a->pull_length : (int64_t)a->body.size;
    c->pull_chunked = a->pull && length < 0 && !c->version_0;
    if (a->pull && length < 0 && !c->pull_chunked) c->keep_alive = false;
    if (a->close || c->http->stopping) c->keep_alive = false;
    c->answered = true;
    c->http->counts.answers++;
    add_head(c, a, !c->keep_alive, length);
    if (bodiless || length == 0) {
        c->pull_chunked = false;
        give_back(a, true);
    } else if (a->pull) {
        c->pull = a->pull;
        c->pull_done = a->pull_done;
        c->pull_ctx = a->pull_ctx;
        c->pull_left = length < 0 ? UINT64_MAX : (uint64_t)length;
        c->pull_stalled = false;
    } else if (a->release) {
        c->big = a->body;
        c->big_at = 0;
        c->release = a->release;
        c->release_ctx = a->release_ctx;
    } else {
        gr_buf_str(&c->out, a->body);
    }
}

/* An answer before the body is whole: a short rest is read and dropped, and the connection serves on. */
static void cut_body(gr_http_conn *c)
{
    if (c->keep_alive && !c->chunked && !c->expects && c->body_left <= DISCARD_MAX) {
        c->discard = true;
        c->body_max = UINT64_MAX;
        c->in_due_ms = c->http->now_ms + c->http->limits.body_ms;
        c->paused = false;
        gr_http_arm(c);
    } else {
        c->keep_alive = false;
        c->phase = GR_HTTP_WAIT_PHASE;
        c->in_due_ms = 0;
    }
}

bool gr_http_reply(gr_http *h, gr_http_id id, const gr_http_answer *a)
{
    gr_assert(a->status >= 200 && a->status < 600);
    gr_assert(!(a->pull && a->release));
    gr_http_conn *c = gr_http_find(h, id);
    if (!c || c->answered) {
        h->counts.late_answers++;
        give_back(a, false);
        return false;
    }
    if (c->accepted) h->counts.held--;
    c->accepted = false;
    if (c->phase == GR_HTTP_BODY_PHASE) cut_body(c);
    else c->in_due_ms = 0;
    write_answer(c, a);
    gr_http_touch(c);
    return true;
}

/* {"errcode","error"}; the texts are our own, so that escaping quotes and controls is enough. */
static void error_body(gr_buf *b, gr_err err)
{
    gr_buf_c(b, "{\"errcode\":\"");
    gr_buf_c(b, gr_errcode_wire(err.code));
    gr_buf_c(b, "\",\"error\":\"");
    for (const char *p = err.text ? err.text : ""; *p; p++) {
        if (*p == '"' || *p == '\\') gr_buf_char(b, '\\');
        gr_buf_char(b, (unsigned char)*p < 0x20 ? ' ' : *p);
    }
    gr_buf_char(b, '"');
    if (err.retry_after_ms) {
        gr_buf_c(b, ",\"retry_after_ms\":");
        add_number(b, err.retry_after_ms);
    }
    gr_buf_char(b, '}');
}

bool gr_http_reply_error(gr_http *h, gr_http_id id, int status, gr_err err)
{
    char seconds[24];
    gr_buf body = {0};
    error_body(&body, err);
    snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)((err.retry_after_ms + 999) / 1000));
    gr_http_header headers[] = {{GR_STR("Content-Type"), GR_STR("application/json")},
                                {GR_STR("Retry-After"), gr_str_c(seconds)}};
    bool sent = gr_http_reply(h, id,
                              &(gr_http_answer){.status = status ? status : gr_errcode_status(err.code),
                                                .headers = headers,
                                                .header_count = err.retry_after_ms ? 2 : 1,
                                                .body = gr_buf_view(&body)});
    gr_buf_free(&body);
    return sent;
}

void gr_http_refuse(gr_http_conn *c, int status, gr_err err)
{
    gr_buf body = {0};
    gr_http_header type = {GR_STR("Content-Type"), GR_STR("application/json")};
    error_body(&body, err);
    c->keep_alive = false;
    write_answer(c, &(gr_http_answer){
                        .status = status, .headers = &type, .header_count = 1, .body = gr_buf_view(&body)});
    c->phase = GR_HTTP_WAIT_PHASE;
    c->in_due_ms = 0;
    gr_buf_free(&body);
}

/* --- the way out ---------------------------------------------------------------------------------------- */
static void end_pull(gr_http_conn *c)
{
    if (c->pull_chunked) gr_buf_str(&c->out, GR_STR("0\r\n\r\n"));
    gr_http_release_answer(c, true);
}

/* Refills c->out, which is empty, from the pull. */
static void pull_piece(gr_http_conn *c)
{
    size_t frame = c->pull_chunked ? CHUNK_FRAME : 0;
    size_t room = c->pull_left < GR_HTTP_PULL_SIZE - frame ? (size_t)c->pull_left : GR_HTTP_PULL_SIZE - frame;
    if (c->out.room < room + frame) {
        gr_buf_free(&c->out);
        c->out = (gr_buf){gr_realloc(NULL, room + frame), 0, room + frame};
    }
    c->out.size = c->out_at = 0;
    size_t before = c->pull_chunked ? 7 : 0;               /* five digits and CRLF; CRLF after the data */
    int64_t got = c->pull(c->pull_ctx, c->out.ptr + before, room);
    gr_assert(got <= (int64_t)room);
    if (got > 0) {
        if (c->pull_chunked) {
            char size[8];
            snprintf(size, sizeof size, "%05x\r\n", (unsigned)got);
            memcpy(c->out.ptr, size, before);
            memcpy(c->out.ptr + before + got, "\r\n", 2);
        }
        c->out.size = (size_t)got + (c->pull_chunked ? 9 : 0);
        if (c->pull_left != UINT64_MAX) c->pull_left -= (uint64_t)got;
        if (c->pull_left == 0) end_pull(c);
    } else if (got == 0) {
        c->pull_stalled = true;
        gr_buf_free(&c->out);
    } else if (c->pull_left == UINT64_MAX) {
        end_pull(c);
    } else {
        gr_http_drop(c, false); /* fewer bytes than promised: only a cut tells the client */
    }
}

int gr_http_conn_out(gr_http_conn *c, uint64_t now_ms, struct iovec iov[2])
{
    c->http->now_ms = now_ms;
    if (c->phase == GR_HTTP_DONE_PHASE) return 0;
    if (c->pull && !c->pull_stalled && c->out_at == c->out.size) {
        c->busy = true;
        pull_piece(c);
        c->busy = false;
        gr_http_turn(c);
        if (c->phase == GR_HTTP_DONE_PHASE) return 0;
    }
    int count = 0;
    if (c->out_at < c->out.size)
        iov[count++] = (struct iovec){c->out.ptr + c->out_at, c->out.size - c->out_at};
    if (c->big_at < c->big.size)
        iov[count++] = (struct iovec){(char *)c->big.ptr + c->big_at, c->big.size - c->big_at};
    return count;
}

void gr_http_conn_wrote(gr_http_conn *c, uint64_t now_ms, size_t size)
{
    gr_http *h = c->http;
    h->now_ms = now_ms;
    h->counts.bytes_out += size;
    if (c->phase == GR_HTTP_DONE_PHASE) return;
    uint64_t credit_ms = size * 1000 / h->limits.drain_rate, full_ms = now_ms + h->limits.drain_ms;
    if (c->out_due_ms)
        c->out_due_ms = c->out_due_ms + credit_ms < full_ms ? c->out_due_ms + credit_ms : full_ms;
    size_t small = c->out.size - c->out_at < size ? c->out.size - c->out_at : size;
    c->out_at += small;
    c->big_at += size - small;
    gr_assert(c->big_at <= c->big.size);
    if (c->out_at == c->out.size) {
        c->out.size = c->out_at = 0;
        if (!c->pull) gr_buf_free(&c->out);
    }
    if (c->big.ptr && c->big_at == c->big.size) gr_http_release_answer(c, true);
    gr_http_turn(c);
}
