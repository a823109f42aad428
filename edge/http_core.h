/* http_core.h - what the connections of one server share: slots, deadlines, limits per peer, counters.
 *
 * Internal to edge/http_*.c.  A request id is a running number and the slot of its connection; an id whose
 * number is not the connection's present one is late.  Deadlines lie in a heap, updated lazily: an entry may
 * be too early, never too late, so that a busy connection moves in the heap only when its old entry comes up.
 */
#pragma once
#include "edge/http_conn.h"

enum { GR_HTTP_SLOT_BITS = 20, GR_HTTP_PEER_BUCKETS = 1024, GR_HTTP_PULL_SIZE = 65536 };

typedef struct gr_http_peer gr_http_peer;
typedef struct gr_http_loop gr_http_loop;

struct gr_http {
    gr_http_limits limits;
    gr_http_handler handler;
    void *ctx;
    gr_http_counts counts;
    uint64_t now_ms, requests;
    gr_http_conn **slots;
    uint32_t *free_slots;
    uint32_t slot_count, free_count, slot_room;
    gr_http_conn **heap;
    uint32_t heap_count, heap_room;
    gr_http_conn *dirty, *dirty_last;
    gr_http_peer *peers[GR_HTTP_PEER_BUCKETS];
    char date[40];
    int64_t date_s;
    bool stopping;
    gr_http_loop *loop;                        /* NULL without sockets */
};

gr_http_conn *gr_http_find(const gr_http *, gr_http_id);
gr_http_id gr_http_next_id(gr_http_conn *);
void gr_http_touch(gr_http_conn *);            /* into the list of gr_http_next_dirty */
void gr_http_arm(gr_http_conn *);              /* after in_due_ms or out_due_ms changed */
bool gr_http_slot_take(gr_http_conn *);        /* slot and peer; false at a limit */
void gr_http_slot_leave(gr_http_conn *);
void gr_http_loop_free(gr_http *);             /* http_server.c */

/* http_conn.c */
void gr_http_turn(gr_http_conn *);             /* go on with what lies in the input buffer */
void gr_http_expire(gr_http_conn *);           /* a deadline is over */
void gr_http_drop(gr_http_conn *, bool tell);  /* end at once; tell: call on_gone if a request is held */
bool gr_http_has_output(const gr_http_conn *);

/* http_answer.c */
/* The machine's own answer, after which the connection closes. */
void gr_http_refuse(gr_http_conn *, int status, gr_err);
void gr_http_release_answer(gr_http_conn *, bool whole);  /* gives back what an answer borrowed */
