/* worker.h - one worker: many shards, their actors and mailboxes, run a step at a time.
 *
 * A step takes frames from the transport, runs handlers until the group is full, hands the shards' batches to
 * the store, and releases the effects of groups that have become durable.  Everything but gr_worker_call and
 * the completions (which come through the store's done function and gr_job_run) is called by the worker's one
 * thread: a loop of step and transport->wait in production (node.h), the simulator in tests (sim.h).
 */
#pragma once
#include "bus/actor.h"
#include "bus/level.h"
#include "bus/poison.h"
#include "bus/transport.h"
#include "bus/work.h"
#include "persistence/store.h"

enum {
    GR_GROUP_MESSAGES = 512,     /* handlers of one group */
    GR_GROUP_US = 2000,          /* time after which a group is closed */
    GR_GROUP_BYTES = 1 << 20,    /* of messages handled in one group */
    GR_GROUP_BATCH = 256 * 1024, /* a group is closed when the writes of one shard have passed this */
    GR_HANDLER_WRITES_MAX =
        240 * 1024, /* bytes that one handler may write; more is undone and fails TOO_LARGE */
    GR_GROUPS_OUTSTANDING = 2,
    GR_TURN_MESSAGES = 16,       /* of one actor in its turn */
    GR_MAILBOX_BYTES = 32 << 20, /* of messages waiting in a worker; past it asks fail LIMIT_EXCEEDED */
    GR_MAILBOX_ACTOR = 4096,     /* messages waiting for one actor; likewise */
};

/* One handled message, for the message log. Times in microseconds of the worker's clock; 0: never. */
typedef struct {
    uint64_t trace, span, parent;
    gr_str from, to;
    unsigned type;
    gr_verb verb;
    uint64_t sent_us; /* by the clock of the node it came from; 0: of this node */
    uint64_t queued_us, started_us, handled_us, committed_us, released_us;
    uint32_t body_size;
    gr_str body; /* encoded; NULL unless log_bodies */
} gr_log_record;
typedef void gr_log_fn(void *arg, const gr_log_record *); /* called by the worker's thread; must not wait */

typedef struct {
    gr_endpoint self; /* its kind is GR_ENDPOINT_WORKER */
    const gr_endpoint
        *shards; /* GR_SHARDS of them: who runs each; the same in all of the cluster; outlives */
    /* The endpoint of "edge/<node>/<index>"; false when there is none. */
    bool (*find_edge)(void *arg, gr_str address, gr_endpoint *out);
    void *find_edge_arg;
    gr_store *store;
    const gr_actor_kind *const *kinds; /* NULL-ended */
    const void *env;
    const gr_level *level; /* of the node; outlives. NULL: nothing is held back */
    gr_transport *transport;
    gr_work_seam *work; /* NULL: all work fails */
    gr_work_seam *http; /* for fetches; NULL: all fail */
    gr_log_fn *log;     /* NULL: no log */
    void *log_arg;
    bool log_bodies;
    /* A line for the log about what another node sent that cannot be honest: at most one in a second. NULL: none. */
    void (*complain)(void *arg, const char *text);
    void *complain_arg;
    uint64_t (*clock_us)(
        void *arg); /* for the length of groups and for the log; NULL: the time given to step */
    void *clock_arg;
    void (*random)(void *arg, void *out,
                   size_t size); /* NULL: from the seed; production gives a secure one */
    void *random_arg;
    uint64_t seed;        /* also of span numbers: different in each start of a worker */
    size_t memory_max;    /* bytes of loaded actors before idle ones go; 0: 64 MB */
    gr_crash_slot *crash; /* outlives; NULL: none */
} gr_worker_options;

typedef struct gr_worker gr_worker;
/* Opens the shards that the map gives to this endpoint. Texts of errors lie in the arena. */
GR_MUST_USE gr_err gr_worker_new(const gr_worker_options *, gr_arena *, gr_worker **);
/* Does not wait for what is outstanding: drain first, or let the store answer everything before. */
void gr_worker_free(gr_worker **);

typedef struct {
    size_t handled;   /* messages */
    uint64_t next_ms; /* when it must run again unless woken: now_ms when there is more to do at once */
} gr_step;
gr_step gr_worker_step(gr_worker *, uint64_t now_ms);

/* No more timers, work and unsolicited messages after this; what is queued is still handled. */
void gr_worker_stop(gr_worker *);
bool gr_worker_drained(const gr_worker *); /* stopped, nothing queued, all groups durable and released */

/* Any thread: fn runs on the worker's thread in its next step (which this wakes), between two messages. */
void gr_worker_call(gr_worker *, void (*fn)(void *arg, gr_worker *), void *arg);

typedef struct {
    uint64_t messages, asks, tells, posts, replies; /* handled */
    uint64_t dropped_tells, failed_asks, refused_asks, bad_messages;
    uint64_t posts_sent, posts_resent, posts_repeated, pairs_stopped, dead_letters,
        outbox; /* outbox: not yet acknowledged */
    uint64_t groups, group_messages_max, batches, commit_us_sum, lost_shards;
    uint64_t actors, actors_memory, loads, evictions, suspended, mailbox_depth, mailbox_bytes, timers;
    uint64_t gets, rows, over_bounds, undone, work;
    uint64_t cached_rows, read_rows; /* point reads answered without the store, and by it */
    uint64_t tallies[GR_TALLIES];
} gr_worker_counters;
/* Any thread: as they were at the end of the newest step. */
void gr_worker_count(const gr_worker *, gr_worker_counters *);

/* --- on the worker's thread only (from elsewhere through gr_worker_call) -------------------------------- */
typedef struct {
    gr_str address;
    uint64_t messages;
    size_t memory, mailbox;
    bool busy, suspended;
} gr_actor_info;
typedef bool gr_actor_info_fn(void *arg, const gr_actor_info *);   /* false stops */
void gr_worker_actors(gr_worker *, gr_actor_info_fn *, void *arg); /* loaded ones, then suspended ones */
bool gr_worker_unsuspend(gr_worker *, gr_str address);
uint64_t gr_worker_digest(
    gr_worker *, gr_str address); /* of the loaded actor; 0 when it is not loaded or its kind has none */
void gr_worker_unload(gr_worker *,
                      gr_str address); /* drops it unless it is busy or has effects outstanding */

bool gr_worker_load(gr_worker *,
                    gr_str address); /* loads it as its first message would; false: it cannot be */

/* Posts to the shards of one node that wait to be acknowledged. still_ms: the longest that a pair of shards with such
 * posts has seen no acknowledgement. */
typedef struct { uint64_t posts, still_ms; } gr_lag;
void gr_worker_lags(gr_worker *, gr_lag *by_node);        /* adds to them; by index of the node in the cluster's list */

/* Background updates of the own shards (upkeep.h), the same ones in all workers and nodes, in the same order. */
typedef struct gr_update_info {
    const char *name;
    bool is_paused, recurs, by_timer;   /* by_timer: it goes on as needed, and is never done */
    unsigned shards, shards_done, shards_put_off;
    uint64_t steps, worked, skipped;    /* records */
    uint64_t rate;                      /* records per second, in the last seconds */
} gr_update_info;
enum { GR_UPDATES_MAX = 32 };
size_t gr_worker_updates(gr_worker *, gr_update_info *out, size_t room); /* how many */
typedef void gr_update_skipped_fn(void *arg, uint8_t shard, gr_str text);
void gr_worker_update_skipped(gr_worker *, const char *name, gr_update_skipped_fn *, void *arg);
/* Which are paused is a record of the store; name empty: all.  The first from any thread; then the second for every worker. */
GR_MUST_USE gr_err gr_worker_updates_store_pause(gr_store *, gr_str name, bool paused);
void gr_worker_updates_paused(gr_worker *);

/* Dead letters of own shards: posts that could not be applied. */
typedef struct {
    uint8_t shard;
    uint64_t number;
    const gr_envelope *envelope;
    gr_str reason;
} gr_dead_letter;
typedef bool gr_dead_fn(void *arg, const gr_dead_letter *);
void gr_worker_dead(gr_worker *, gr_dead_fn *, void *arg);
bool gr_worker_dead_retry(gr_worker *, uint8_t shard,
                          uint64_t number); /* handled as a tell (with its attachment) now */
bool gr_worker_dead_drop(gr_worker *, uint8_t shard, uint64_t number);
