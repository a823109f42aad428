/* node_inside.h - what a node consists of, for node.c, node_watch.c and node_mend.c only. */
#pragma once
#include "bus/node.h"
#include "bus/worker.h"

#include <pthread.h>
#include <stdatomic.h>

typedef enum { NODE_OPEN, NODE_STARTING, NODE_SERVING, NODE_STOPPING, NODE_ENDED } node_phase;

typedef struct {
    gr_node *node;
    unsigned index;
    gr_endpoint self;
    gr_worker *worker;
    pthread_t thread;
    bool is_running;
} node_worker;

struct gr_node {
    gr_node_options options;
    char *name;
    uint64_t clock_base_us;               /* the time of day when the monotonic clock was 0 */
    gr_endpoint shards[GR_SHARDS];
    uint8_t worker_of[GR_SHARDS];         /* index, of the own shards */
    uint16_t self;                        /* index in the cluster's list */
    gr_level level;
    struct gr_message_log *log;
    gr_transport *transport;
    struct gr_pool *pool;
    gr_poison *poison;
    unsigned worker_count;
    node_worker *workers;
    _Atomic node_phase phase;
    pthread_mutex_t lock;                 /* guards ready, failed, drained; phase is changed under it too */
    pthread_cond_t changed;
    unsigned ready, failed, drained;
    bool is_abandoned;                    /* a thread did not end in time */
};
