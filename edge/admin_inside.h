/* admin_inside.h - what the files of the admin socket share. Included by admin*.c only.
 *
 * admin.c         the thread, /send, /inspect, /actors, /metrics
 * admin_ops.c     /counters, /dead, /resume, /user, /schema, /updates
 * admin_backup.c  /backup
 */
#pragma once
#include "edge/admin.h"

#include <pthread.h>
#include <stdatomic.h>

/* One request of the owner that waits for an actor's answer. */
typedef struct {
    UT_hash_handle hh;
    uint64_t seq;
    gr_http_id id;
    uint64_t trace;
} gr_admin_waiting;

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
    gr_admin_backup *backup; /* the newest; NULL: none yet */
    pthread_t thread;
    bool running;
    atomic_bool stopping;
    uint64_t now_ms;
};

/* Answers 200 with this JSON and frees it. */
void gr_admin_answer(gr_admin *, gr_http_id, gr_buf *json);
/* The request is answered with what the actor says. */
GR_MUST_USE gr_err gr_admin_ask(gr_admin *, gr_http_id, gr_str to, const gr_type *, const void *body);

/* The routes of admin_ops.c and admin_backup.c. */
GR_MUST_USE gr_err gr_admin_op(gr_admin *, gr_arena *, gr_http_id, const gr_http_req *, gr_str body);

/* Starts a backup into a directory that is made for it; one at a time. */
GR_MUST_USE gr_err gr_admin_backup_begin(gr_admin *, gr_arena *, gr_str to);
void gr_admin_backup_state(gr_admin *, gr_buf *json); /* of the newest */
void gr_admin_backup_end(gr_admin *); /* gives up one that is under way, and waits for its thread */
