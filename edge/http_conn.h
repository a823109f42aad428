/* http_conn.h - connections as state machines over bytes and time, without sockets.
 *
 * Used by the socket loop (http_server.c), by simulations and by the fuzz target.  The driver opens a
 * connection, feeds bytes, end of input or loss, calls gr_http_run, and takes connections from
 * gr_http_next_dirty: for each it writes what gr_http_conn_out shows, and when gr_http_conn_done says so
 * closes and frees it.  At most one request of a connection is with the handler; what is pipelined behind it
 * waits, bounded.
 */
#pragma once
#include "edge/http_chunk.h"
#include "edge/http_head.h"

#include <sys/uio.h>

typedef struct gr_http_conn gr_http_conn;

typedef enum {
    GR_HTTP_HEAD_PHASE,   /* waiting for or inside a head */
    GR_HTTP_BODY_PHASE,
    GR_HTTP_WAIT_PHASE,   /* the request is whole; its answer is not yet out */
    GR_HTTP_LINGER_PHASE, /* all said; reading on a moment, so that no reset overtakes the answer */
    GR_HTTP_DONE_PHASE    /* to be closed and freed by the driver */
} gr_http_phase;

struct gr_http_conn {
    gr_http *http;
    gr_http_id id;                             /* of the request the handler knows, or 0 */
    uint32_t slot, heap_at;                    /* heap_at: index + 1 in http->heap, 0 when not in it */
    uint64_t heap_ms, in_due_ms, out_due_ms;   /* 0: none */
    gr_http_conn *next_dirty;

    uint8_t phase;
    bool tls, dirty, eof;
    uint8_t door;
    bool served;                               /* at least one request */
    bool busy;                /* in the middle of a turn: its driver looks at it afterwards anyway */
    bool started, blank_seen; /* a byte of the present head, an empty line before it has come */
    bool accepted;                             /* on_head said yes and no reply was given yet */
    bool streamed, paused, discard;            /* of the body */
    bool chunked, head_only, version_0, keep_alive, expects;
    bool answered;                             /* the present request has its reply */
    bool pull_stalled, pull_chunked;

    gr_http_scan scan;
    gr_http_chunk chunk;
    gr_buf in, body, out;
    size_t in_at, out_at;                      /* bytes at the front that are used up */
    uint64_t body_left, body_seen, body_max, lingered;
    gr_http_req *req;                          /* kept with its bytes while the body comes; one allocation */

    gr_str big;                                /* borrowed body of an answer, and how much of it is out */
    size_t big_at;
    void (*release)(void *);
    void *release_ctx;
    gr_http_pull pull;
    void (*pull_done)(void *, bool);
    void *pull_ctx;
    uint64_t pull_left;

    uint8_t peer_key[16];
    char peer[46];

    /* The socket loop's own; untouched by the machine. */
    int fd;
    bool readable, writable, hung_up, shut;
    void *ssl;
};

/* NULL when a limit is reached (counted). peer is numeric text. */
gr_http_conn *gr_http_conn_open(gr_http *, uint64_t now_ms, const char *peer, bool tls);
void gr_http_conn_bytes(gr_http_conn *, uint64_t now_ms, gr_str bytes);
void gr_http_conn_eof(gr_http_conn *, uint64_t now_ms);    /* the client will send no more */
void gr_http_conn_lost(gr_http_conn *);                    /* broken: nothing can be sent either */
bool gr_http_conn_wants_bytes(const gr_http_conn *);
/* Fills at most two pieces to write; returns their number. Asks the pull of a streamed answer when there is
 * room. */
int gr_http_conn_out(gr_http_conn *, uint64_t now_ms, struct iovec iov[2]);
void gr_http_conn_wrote(gr_http_conn *, uint64_t now_ms, size_t size);
bool gr_http_conn_closing(const gr_http_conn *);           /* all written: shut the sending side */
static inline bool gr_http_conn_done(const gr_http_conn *c) { return c->phase == GR_HTTP_DONE_PHASE; }
void gr_http_conn_free(gr_http_conn **);

/* Ends what is overdue and goes on with what was answered or resumed. */
void gr_http_run(gr_http *, uint64_t now_ms);
/* A connection that has something to write, to read on or to be closed; NULL when none is left. */
gr_http_conn *gr_http_next_dirty(gr_http *);
bool gr_http_any_dirty(const gr_http *);
uint64_t gr_http_next_due(const gr_http *); /* earliest deadline (possibly too early), UINT64_MAX for none */
void gr_http_set_date(gr_http *, int64_t unix_s); /* for the Date header; none before the first call */
void gr_http_stop_conns(gr_http *);               /* the part of gr_http_stop that needs no sockets */
