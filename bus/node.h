/* node.h - one node: its store, its workers with their shards, and the threads that drive them.
 *
 * gr_node_open wires the four seams (transport, store, clock and random, work). In production gr_node_start
 * runs each worker in a thread around gr_worker_step (worker.h); the simulator calls the steps itself. The
 * store must be threaded.
 */
#pragma once
#include "bus/actor.h"
#include "bus/level.h"
#include "bus/port.h"

#include "persistence/store.h"

typedef enum { GR_NODE_LOG_OFF, GR_NODE_LOG_ON, GR_NODE_LOG_FULL } gr_node_log;

typedef struct {
    const char *name;                           /* of the node: "n1" */
    const char *dir;                            /* message log, crash page; NULL keeps none (simulation) */
    gr_store *store;                            /* stays the caller's */
    const gr_actor_kind *const *kinds;          /* NULL-ended */
    const void *env;                            /* what gr_ctx_env gives: actors/env.h */
    unsigned workers;                           /* at least 1 */
    unsigned pool_threads;                      /* for work; 0: 1 */
    /* Takes the fetches of actors; stays the caller's.  It must have handed all back before gr_node_close.  NULL: none. */
    struct gr_work_seam *http;
    unsigned ports_max;                         /* edge threads that will open a port; 0: 1 */
    unsigned in_flight_max;                     /* asks open per port; 0: 4096 */
    unsigned in_flight_max_per_worker;          /* 0: twice an equal share */
    unsigned patient_max;                       /* long polls open per port; 0: 65536 */
    size_t actors_memory_max;       /* bytes of actors per worker before idle ones go; 0: 64 MB */
    gr_node_log message_log;
    uint64_t message_log_bytes, message_log_age_ms;
    /* One of several nodes; NULL: this one runs all shards. The name is the node's in the map. Outlives. */
    const struct gr_cluster *cluster;
    const uint8_t *cluster_key;     /* CURVE secret key, 32 bytes (edge/keys.h); copied */
    const char *cluster_bind;       /* host:port; NULL: the own address in the map */
    uint32_t level_low, level_high; /* feature levels that it understands; 0: those of this program */
    /* Links that come up, break or are refused, strangers, and what nodes should not have sent: a line for the log. Any
     * thread. Must not wait. */
    void (*cluster_log)(void *arg, bool is_warning, const char *text);
    void *cluster_log_arg;
} gr_node_options;

GR_MUST_USE gr_err gr_node_open(const gr_node_options *, gr_arena *, gr_node **);
GR_MUST_USE gr_err gr_node_start(gr_node *);    /* threads; returns when all of them serve */
/* Stops timers, work and unsolicited messages, drains what is queued, commits, joins threads; at most
 * `within_ms`. True: all was clean. False: a thread did not end, and what it uses stays: gr_node_close frees
 * nothing; end the process. Ports go on being answered meanwhile, by their own threads. */
bool gr_node_stop(gr_node *, uint64_t within_ms);
void gr_node_close(gr_node **);

/* For metrics and `greenroom top`, any thread. */
typedef struct {
    uint64_t messages, asks, tells, posts, replies;
    uint64_t dropped_tells, failed_asks, dead_letters, suspended_actors;
    uint64_t groups, group_messages_max, commits, commit_us_sum;
    uint64_t actors, actors_memory, mailbox_depth, timers, outbox;
    uint64_t cached_rows, read_rows;            /* point reads answered without the store, and by it */
    uint64_t gets, rows, over_bounds;           /* reads by handlers, and handlers that passed their bounds */
    uint64_t tallies[GR_TALLIES];               /* gr_ctx_tally */
    uint64_t bad_messages, mailbox_bytes, frames_waiting, lost_shards, work;
    uint64_t log_written, log_dropped;          /* records of the message log */
    uint64_t strangers, bad_frames;             /* connections refused; frames of nodes or of nobody refused */
    uint64_t pairs_stopped;                     /* pairs of shards whose posts do not fit what is stored */
} gr_node_counters;
void gr_node_count(const gr_node *, gr_node_counters *sum);
/* Where the node stands, and what it understands (level.h). */
const gr_level *gr_node_level(const gr_node *);
/* Finishes an upgrade: raises the feature level to the highest that all nodes of the cluster understand. GR_UNAVAILABLE names
 * the node that is of an older version, or out of reach. Any thread; waits for the disk. *level: where it stands. */
GR_MUST_USE gr_err gr_node_upgrade_finish(gr_node *, gr_arena *, uint32_t *level);
/* The node that runs a shard, and the own name. Any thread. */
const char *gr_node_owner(const gr_node *, uint8_t shard);
const char *gr_node_name(const gr_node *);
const char *gr_node_other(const gr_node *, gr_str name);   /* of another node of the cluster; NULL: there is none */
/* Why nothing can be asked of another node now; empty when its link is up. Any thread. */
gr_str gr_node_why_not(gr_node *, gr_arena *, gr_str name);
/* The links to the other nodes as JSON, for `greenroom cluster status`, with how many posts wait for their
 * acknowledgement and for how long none came; asks the workers. See gr_zmq_peer. */
gr_str gr_node_peers(gr_node *, gr_arena *);
/* Lists loaded actors as JSON (kind, address, messages, memory, mailbox), at most `limit`; asks the workers.
 */
gr_str gr_node_actors(gr_node *, gr_arena *, gr_str prefix, size_t limit);

/* --- background updates (bus/upkeep.h); each asks the workers --- */
struct gr_update_info;
/* As a JSON array, for `greenroom updates`: name, state, paused, shards (own), shards_done, shards_put_off, steps, worked,
 * skipped, rate. */
gr_str gr_node_updates(gr_node *, gr_arena *);
/* The same as structs (worker.h): room for GR_UPDATES_MAX. */
size_t gr_node_update_list(gr_node *, struct gr_update_info *out);
/* Records that were skipped, as a JSON array of {shard, text}, at most 1,000. */
GR_MUST_USE gr_err gr_node_update_skipped(gr_node *, gr_arena *, gr_str name, gr_str *json);
/* Pauses one, or with an empty name all, until that is taken back: also over restarts. */
GR_MUST_USE gr_err gr_node_update_pause(gr_node *, gr_arena *, gr_str name, bool paused);
