/* http.h - the HTTP/1.1 server: requests come up by callbacks, answers go down by id, at once or much later.
 *
 * One gr_http is driven by one thread, which alone may call these functions; gr_http_wake is the exception.
 * A request is known by an id that is never used again, so that an answer which comes too late does nothing.
 * The protocol itself (http_conn.h) touches no socket and no clock: a simulation opens connections there and feeds them bytes
 * and time.  Accepted is strict HTTP/1.0 and 1.1, RFC 9112; whatever two parsers could read in two ways is answered 400 and
 * the connection closed.  Paths and queries are passed raw (edge/route.h takes them apart).
 */
#pragma once
#include "proto/err.h"

typedef struct gr_http gr_http;
typedef struct gr_http_tls gr_http_tls;
typedef uint64_t gr_http_id;                  /* 0 is no request */

typedef enum {
    GR_HTTP_GET, GR_HTTP_HEAD, GR_HTTP_POST, GR_HTTP_PUT, GR_HTTP_DELETE, GR_HTTP_OPTIONS, GR_HTTP_PATCH,
    GR_HTTP_OTHER,                            /* a well-formed method we do not know; deserves a 405 */
    GR_HTTP_METHOD_COUNT
} gr_http_method;

typedef struct { gr_str name, value; } gr_http_header;

/* One request; every view is valid until the callback that got it returns. */
typedef struct {
    gr_http_method method;
    gr_str method_name;
    gr_str path;                              /* raw bytes, begins with '/' (or is "*" for OPTIONS) */
    gr_str query;                             /* raw, without '?' */
    gr_str authority;                         /* of a target in absolute form, else empty */
    const gr_http_header *headers;            /* as received, in order */
    size_t header_count;
    int64_t length;                           /* of the body; -1 when chunked; 0 without a body */
    uint64_t declared;                        /* Content-Length as sent, saturated */
    uint8_t version_minor;                    /* HTTP/1.0 or HTTP/1.1 */
    bool version_known, chunked, keep_alive, expects_continue;
    bool tls;
    bool has_query;                           /* there is a '?', even if nothing follows it */
    uint8_t door;                             /* as given with the listener it came in by */
    gr_str peer;                              /* "192.0.2.7" or "2001:db8::7" */
} gr_http_req;

/* What on_head may change before the body is read. */
typedef struct {
    uint64_t body_max;                        /* preset from the limits; a larger body gets 413 */
    bool stream;                              /* body by on_body pieces instead of in one view */
} gr_http_take;

typedef struct {
    /* The head is complete, nothing of the body was read and no 100-continue sent.  True accepts.
     * False refuses: the callback has called gr_http_reply for id (without a reply the client gets 500). */
    bool (*on_head)(void *ctx, gr_http_id id, const gr_http_req *, gr_http_take *);
    /* A piece of a streamed body.  May be NULL when nothing is ever streamed. */
    void (*on_body)(void *ctx, gr_http_id id, gr_str piece);
    /* The request is complete; body is empty when it was streamed.  Reply now or later. */
    void (*on_request)(void *ctx, gr_http_id id, const gr_http_req *, gr_str body);
    /* An accepted request without a reply has lost its client (or was ended by a limit): forget it. */
    void (*on_gone)(void *ctx, gr_http_id id);
} gr_http_handler;

/* Bytes of a streamed answer: at most room bytes to dst.  Returns how many; 0 for "none now" (call
 * gr_http_resume when there are); -1 at the end of a body of unknown length, or for a failure that ends the
 * connection. */
typedef int64_t (*gr_http_pull)(void *ctx, char *dst, size_t room);

typedef struct {
    int status;
    const gr_http_header *headers;            /* copied; Content-Length, Date and Connection are ours */
    size_t header_count;
    gr_str body;                              /* copied, unless release is set */
    void (*release)(void *release_ctx);       /* body is borrowed until this is called, exactly once */
    void *release_ctx;
    gr_http_pull pull;                        /* instead of body */
    int64_t pull_length;                      /* -1: unknown (chunked for 1.1, until close for 1.0) */
    void (*pull_done)(void *pull_ctx, bool whole);  /* called exactly once; may be NULL */
    void *pull_ctx;
    bool close;                               /* end the connection after this answer */
} gr_http_answer;

typedef struct {
    uint32_t line_max, head_max, header_count_max;     /* request line, whole head (bytes), fields */
    uint64_t body_max, bodies_max;                     /* one body by default; buffered bodies in sum */
    uint32_t pipeline_max;                             /* bytes read ahead while a request is answered */
    uint32_t conn_max, conn_per_peer_max;              /* 0: no limit.  An IPv6 peer is its /64 */
    uint32_t head_ms, idle_ms, body_ms, drain_ms;      /* see below */
    uint32_t body_rate, drain_rate;                    /* bytes a second, at least */
    uint32_t half_closed_ms, linger_ms;
    uint64_t linger_max;                               /* bytes */
    gr_str common_headers; /* whole lines with CRLF, added to every answer; kept as a view */
} gr_http_limits;
/* A head must be complete head_ms after the connection, later ones after their first byte; a quiet connection
 * lives idle_ms. A body or an answer owns a time account of body_ms (drain_ms), filled by bytes at the given
 * rate up to that much again.  A client that has closed its sending side is answered for half_closed_ms,
 * after a refusal we read linger_ms more, linger_max bytes at most. */
gr_http_limits gr_http_limits_default(void);

#define GR_HTTP_COUNTS(X) \
    X(accepted) X(closed) X(refused_total) X(refused_peer) X(refused_descriptors) X(tls_failed) \
    X(requests) X(answers) X(late_answers) X(gone) X(bad_head) X(bad_body) X(head_too_large) \
    X(body_too_large) X(bodies_full) X(timeout_head) X(timeout_idle) X(timeout_body) X(timeout_drain) \
    X(bytes_in) X(bytes_out)
typedef struct {
#define X(name) uint64_t name;
    GR_HTTP_COUNTS(X)
#undef X
    uint64_t open, held, bodies_bytes;                 /* now */
} gr_http_counts;

gr_http *gr_http_new(const gr_http_limits *, const gr_http_handler *, void *ctx);
void gr_http_free(gr_http **); /* ends what is left without an answer; on_gone is not called */

/* Answers a request.  False when it is no longer there (a late answer: release and pull_done are called all
 * the same). Never calls the handler back; bytes leave with the next gr_http_step. */
bool gr_http_reply(gr_http *, gr_http_id, const gr_http_answer *);
/* {"errcode","error"} with the status of the error (or status if not 0); retry_after_ms where it applies. */
bool gr_http_reply_error(gr_http *, gr_http_id, int status, gr_err);
void gr_http_pause(gr_http *, gr_http_id, bool paused);      /* back pressure on a streamed body */
void gr_http_resume(gr_http *, gr_http_id);                  /* a pull that answered 0 has bytes again */
void gr_http_abort(gr_http *, gr_http_id); /* end the connection of this request now; no on_gone */
const gr_http_counts *gr_http_count(const gr_http *);
/* The first field of that name, in any case of letters; ptr is NULL when there is none. */
gr_str gr_http_header_get(const gr_http_req *, const char *name);
const char *gr_http_status_text(int status);

/* --- sockets and the loop (http_server.c) --------------------------------------------------------------- */
typedef struct {
    const char *address; /* numeric: "127.0.0.1", "::"; a v6 wildcard takes v4 too */
    uint16_t port;                                     /* 0: any */
    gr_http_tls *tls; /* NULL: plain.  Stays the caller's, must outlive the server */
    uint8_t door;                                      /* told with each request */
    int backlog;                                       /* 0: 1024 */
} gr_http_listener;

GR_MUST_USE gr_err gr_http_listen(gr_http *, const gr_http_listener *, gr_arena *, uint16_t *port);
/* Adds a foreign descriptor: seen is called (level-triggered) while it can be read.  At most one.  With a
 * ZeroMQ socket the owner looks at ZMQ_EVENTS after every step too: its descriptor does not tell all. */
void gr_http_watch(gr_http *, int fd, void (*seen)(void *watch_ctx), void *watch_ctx);
/* One turn: sends what was answered, ends what is overdue at now_ms (monotonic), waits at most wait_ms,
 * serves what came. Returns the number of descriptors served. */
int gr_http_step(gr_http *, uint64_t now_ms, int wait_ms);
void gr_http_wake(gr_http *); /* any thread: the present or next step returns early */
/* Closes listeners and idle connections; others close after their answer.  Done when count->open is 0. */
void gr_http_stop(gr_http *);

/* TLS 1.2 and 1.3, ALPN http/1.1; may be shared by servers of several threads. */
GR_MUST_USE gr_err gr_http_tls_new(gr_arena *, const char *cert_file, const char *key_file, gr_http_tls **);
/* Reads both files again; on failure the old certificate stays.  From any thread, but one at a time. */
GR_MUST_USE gr_err gr_http_tls_reload(gr_http_tls *, gr_arena *);
void gr_http_tls_free(gr_http_tls **);
