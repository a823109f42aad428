/* admin_inside.h - what the files of the admin socket share. Included by admin*.c only.
 *
 * admin.c         the thread, the routes that ask an actor (/send, /inspect, /user), and which node a request is for
 * admin_node.c    requests for other nodes, and those that come from them
 * admin_ops.c     what this node answers by itself: /counters, /actors, /cluster, /dead, /resume, /schema, /updates, /metrics
 * admin_destinations.c   /destinations, and what metrics say of them
 * admin_trace.c   /trace/find and /trace/pick: the own message log
 * admin_backup.c  /backup
 */
#pragma once
#include "edge/admin.h"

#include <pthread.h>
#include <stdatomic.h>

enum { GR_ADMIN_ASK_MS = 10000, GR_ADMIN_HELD_MAX = 4, GR_ADMIN_ANSWER_MAX = 16 << 20 };

/* A request of the owner, from the socket or from another node. */
typedef struct {
    gr_http_method method;
    gr_str path;
    gr_route_query query;
    gr_str body;
} gr_admin_request;

typedef struct {
    int status;
    gr_str content_type;
    gr_buf body;
} gr_admin_answer;
#define GR_ADMIN_JSON GR_STR("application/json")

/* One that waits for the answer of an actor or of another node. */
typedef struct {
    UT_hash_handle hh;
    uint64_t seq;
    gr_http_id id;
    uint64_t trace;
    gr_str node;       /* which has to answer; of the cluster's map */
    bool is_look;      /* asked of the node itself: its answer comes in parts */
    gr_buf got;
} gr_admin_waiting;

/* An answer to another node that is fetched in parts. */
typedef struct {
    uint64_t number, used_ms; /* number 0: free */
    gr_admin_answer answer;
} gr_admin_held;

typedef struct gr_admin_backup gr_admin_backup;

struct gr_admin {
    const gr_config *config;
    const char *dir;
    gr_node *node;
    gr_store *store;
    const gr_edge_counters *edge;
    gr_fetcher *fetcher;
    gr_http *owner, *metrics; /* the metrics listener is stepped after the socket */
    gr_port *port;
    gr_admin_waiting *asks;
    gr_admin_held held[GR_ADMIN_HELD_MAX];
    gr_admin_backup *backup; /* the newest; NULL: none yet */
    pthread_t thread;
    bool running;
    atomic_bool stopping;
    uint64_t now_ms;
};

/* Sends and frees it. */
void gr_admin_reply(gr_admin *, gr_http_id, gr_admin_answer *);
/* The request waits for who runs an actor, or a node: `node` is who that is. On failure nothing waits. */
GR_MUST_USE gr_err gr_admin_ask(gr_admin *, gr_http_id, gr_str node, gr_str to, const gr_type *, const void *body);
/* A failure of an ask to that node, with the reason when it is out of reach: of a look, whose asker names the node, the
 * reason alone. */
gr_err gr_admin_explain(gr_admin *, gr_arena *, gr_str node, bool is_look, gr_err);

/* admin_ops.c: what this node answers at once. The answer is 200 and JSON already, unless something else is put. */
GR_MUST_USE gr_err gr_admin_look(gr_admin *, gr_arena *, const gr_admin_request *, gr_admin_answer *);
/* admin_destinations.c: JSON {time_ms, destinations}. */
GR_MUST_USE gr_err gr_admin_destinations(gr_admin *, gr_arena *, bool failing_only, gr_buf *out);
/* admin_trace.c: the part of that under /trace/. */
GR_MUST_USE gr_err gr_admin_trace(gr_admin *, gr_arena *, const gr_admin_request *, gr_admin_answer *);

/* admin_node.c. path: with its query. */
GR_MUST_USE gr_err gr_admin_forward(gr_admin *, gr_arena *, gr_http_id, gr_str node, gr_str path, gr_str body);
/* A part came. True: the request is answered; false: it waits for the next part. */
bool gr_admin_part(gr_admin *, gr_arena *, gr_admin_waiting *, const gr_node_part *);
/* Another node asks. */
void gr_admin_asked(gr_admin *, gr_str from, uint64_t seq, const gr_node_look *);
void gr_admin_drop_held(gr_admin *, uint64_t unused_ms);   /* answers that nobody fetched for so long */

/* Starts a backup into a directory that is made for it; one at a time. */
GR_MUST_USE gr_err gr_admin_backup_begin(gr_admin *, gr_arena *, gr_str to);
void gr_admin_backup_state(gr_admin *, gr_buf *json); /* of the newest */
void gr_admin_backup_end(gr_admin *); /* gives up one that is under way, and waits for its thread */
