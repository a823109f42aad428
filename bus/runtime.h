/* runtime.h - what the files of the worker share: shards, mailboxes, actors, groups, peers.  Included by them
 * only.
 *
 * worker.c          options, step, calls from other threads
 * worker_shards.c   opening shards, the runtime's own keys, positions, losing a shard
 * worker_actors.c   the table of actors: mailboxes, loading, eviction, suspension
 * worker_handle.c   one message: decode, handle, take over what the handler left
 * worker_groups.c   groups: batches, completions, release of effects
 * upkeep.c          background updates of its shards: upkeep.h
 * worker_send.c     routing: local queues, frames per peer, asks waiting for a reply
 * post*.c, timer.c  durable messages and timers; dead.c: what could not be applied
 */
#pragma once
#include "bus/ctx.h"
#include "bus/worker.h"
#include "persistence/update.h"

#include <pthread.h>
#include <uthash.h>

typedef struct gr_item gr_item;
typedef struct gr_mailbox gr_mailbox;
typedef struct gr_live gr_live;
typedef struct gr_home gr_home;
typedef struct gr_group gr_group;
typedef struct gr_handled gr_handled;
typedef struct gr_peer gr_peer;
typedef struct gr_pair_out gr_pair_out;
typedef struct gr_pair_in gr_pair_in;
typedef struct gr_upkeep gr_upkeep;

/* Something that is due at a time: an entry of the worker's heap. */
typedef struct gr_due gr_due;
struct gr_due {
    uint64_t due_ms;
    size_t at;
    void (*fire)(gr_worker *, gr_due *);
}; /* at: place in the heap + 1; 0: not in it */

/* A message in a mailbox: one block, the envelope's views point into it. */
struct gr_item {
    gr_item *next;
    gr_envelope e;
    uint64_t queued_us;
    bool has_resume, is_timer, is_work_failure;
    gr_resume resume;
    uint64_t timer_due_ms;
    uint64_t dead_number; /* a dead letter tried again: removed with its effects */
    size_t size;
    char bytes[];
};

/* Takes turns with other mailboxes: one per actor, and one per pair of shards for posts, which keep their
 * order. */
struct gr_mailbox {
    gr_mailbox *next; /* in the run queue */
    bool is_queued, is_pair;
    gr_item *first, **last;
    size_t count;
};

/* An actor that has been addressed. */
struct gr_live {
    gr_mailbox box; /* first: a mailbox that is no pair's is an actor's */
    UT_hash_handle hh;
    gr_home *home;
    const gr_actor_kind *kind;
    void *self;             /* NULL: not loaded */
    gr_live *newer, *older; /* by last use, when loaded */
    uint64_t messages;
    size_t memory;
    unsigned open; /* asks and work outstanding */
    bool suspended;
    size_t address_size;
    char address[];
};

/* A shard that this worker runs. */
struct gr_home {
    gr_shard shard;
    gr_overlay *overlay;
    bool is_open;
    uint64_t generation; /* rises when the shard is lost; what older ones left is void */
    uint64_t written;    /* newest group that wrote here */
    uint64_t position, ceiling;
    uint64_t dead_next;
    gr_pair_out *out[GR_SHARDS];
    gr_pair_in *in[GR_SHARDS];
    bool was_heard[GR_SHARDS]; /* when it was lost: to be asked to send again */
    gr_pair_out *dirty_out;    /* their records go into the next batch */
    gr_pair_in *dirty_in;
    gr_pair_out *sweep;     /* acknowledged outbox entries are to be deleted */
    bool is_sweep_due;      /* those of all these pairs, however few */
    uint64_t timers_loaded; /* timers due before this are in memory */
    gr_due reload;          /* more timers, or opening the shard again */
    gr_home *next_dirty;
    gr_updates *updates;
    uint64_t updates_due_ms; /* when one may have to be run */
};

/* Somebody waits for the answer of the receiver of a post to another node: told when the way there is lost. */
typedef struct gr_forward gr_forward;
struct gr_forward {
    gr_forward *next;
    uint64_t number, reply_seq, trace, span;
    size_t size;
    char reply_to[];
};

struct gr_pair_out {
    gr_home *from;
    gr_peer *peer;
    uint8_t to;
    bool is_synced, is_stopped, is_dirty, is_sweeping, is_pumping, is_unacked;
    uint64_t last, durable, sent, acked, deleted;
    uint64_t progress_ms;
    uint64_t doubted_ms; /* since it seems that the receiver was restored; 0: it does not */
    uint64_t acked_ms;   /* of the newest acknowledgement, or when the first of those outstanding was sent */
    uint32_t *sizes;        /* of those in flight, by number modulo room */
    size_t room, in_flight; /* bytes */
    gr_forward *forwards, **forwards_last; /* by number */
    gr_pair_out *next_dirty, *next_sweep, *next_pump, *next_unacked, *prev_unacked;
};

struct gr_pair_in {
    gr_mailbox box; /* first */
    gr_home *to;
    uint8_t from;
    bool is_known, is_dirty, is_acking;
    uint64_t queued, applied, durable;
    uint64_t incarnation, own_incarnation;
    uint64_t gap_told_ms;
    gr_pair_in *next_dirty, *next_ack;
};

/* A message that was handled and whose effects wait to be released. */
struct gr_handled {
    gr_handled *next;
    gr_group *group; /* whose arena it lies in */
    gr_home *home;
    uint64_t generation;
    gr_live *live; /* only where asks or work have to be counted */
    gr_effect *effects;
    gr_item *item;
    gr_pair_in *pair; /* of a post: to be acknowledged */
    uint64_t started_us, handled_us;
};

struct gr_group {
    uint64_t id;
    gr_arena *arena;
    gr_handled *first, **last; /* to be released once this group is durable */
    size_t live;               /* handled messages in the arena not yet released */
    size_t messages, bytes;
    gr_home *dirty;
    bool is_full, is_submitted;
    size_t waiting; /* batches not yet answered */
    uint64_t started_us, submitted_us, committed_us;
    uint64_t generations[GR_SHARDS];
};

/* Another endpoint, and what is on its way there. */
struct gr_peer {
    UT_hash_handle hh;
    gr_endpoint endpoint;
    bool is_self;
    gr_buf frame;
    gr_buf control[4]; /* pairs for post_ack + i, as uint64_t */
    gr_pair_in *acks;  /* numbers to be told at the end of the step */
    size_t in_flight;  /* bytes of posts */
    uint32_t link;     /* transport->link of its node, as it was seen last */
    gr_peer *next_busy;
    bool is_busy;
};

typedef struct {
    UT_hash_handle hh;
    gr_peer *peer;
    size_t size;
    char address[];
} gr_edge_entry;

/* An ask of an actor of ours that waits for its reply. */
typedef struct {
    gr_due due; /* first */
    UT_hash_handle hh;
    uint64_t seq, generation, trace, parent;
    gr_home *home;
    gr_peer *peer;
    uint32_t link; /* of the peer, when it was asked */
    gr_resume resume;
    size_t actor_size;
    char actor[];
} gr_pending;

typedef struct gr_timer_entry gr_timer_entry;

typedef struct {
    uint64_t group;
    uint8_t shard;
    gr_outcome outcome;
} gr_completion;
typedef struct gr_call gr_call;
struct gr_call {
    gr_call *next;
    void (*fn)(void *arg, gr_worker *);
    void *arg;
};

struct gr_worker {
    gr_worker_options o;
    gr_row_cache *rows;    /* of all shards here */
    gr_home *homes[GR_SHARDS];
    gr_peer *peers_of[GR_SHARDS];
    gr_peer *peers, *self, *busy;
    gr_edge_entry *edges;
    const gr_actor_kind *kinds[GR_KIND_COUNT];
    gr_live *lives, *newest, *oldest;
    size_t lives_memory;
    gr_mailbox *run_first, **run_last;
    gr_group groups[4];
    uint64_t current, released; /* ids of groups: the open one, the newest that is durable and released */
    gr_handled *ready, **ready_last; /* need nothing durable */
    gr_ctx ctx;
    gr_pending *pending;
    gr_timer_entry *timers;
    gr_due **heap;
    size_t heap_count, heap_room;
    gr_pair_out *pump, **pump_last, *unacked;
    gr_due silence, sweep;
    gr_upkeep *upkeep;
    uint64_t complained_ms;
    uint64_t now_ms, now_us, next_span, next_seq, random;
    unsigned level; /* during this step */
    bool is_stopping, is_losing, has_started;
    gr_crash_slot suspect;
    gr_buf scratch;
    gr_worker_counters n;
    gr_worker_counters shown; /* under the lock: n as it was at the end of the newest step */
    pthread_mutex_t lock;     /* of what other threads hand in */
    gr_completion *completions;
    size_t completion_count, completion_room;
    gr_job *jobs, **jobs_last;
    gr_call *calls, **calls_last;
};

static inline gr_group *gr_group_of(gr_worker *w, uint64_t id) { return &w->groups[id % 4]; }
static inline gr_str gr_live_address(const gr_live *l) { return (gr_str){l->address, l->address_size}; }
uint64_t gr_runtime_us(gr_worker *);
void gr_runtime_random(void *worker, void *out, size_t size);

/* worker_shards.c.  Keys of the runtime in a shard begin with one of these bytes. */
enum {
    GR_KEY_CEILING = 1,
    GR_KEY_PAIR_OUT = 2,
    GR_KEY_OUTBOX = 3,
    GR_KEY_PAIR_IN = 4,
    GR_KEY_TIMER = 5,
    GR_KEY_TIMER_NAME = 6,
    GR_KEY_DEAD = 7,
    GR_KEY_SUSPENDED = 8
};
GR_MUST_USE gr_err gr_home_open(gr_worker *, uint8_t shard, gr_arena *);
void gr_home_free(gr_worker *, gr_home **);
void gr_home_lose(gr_worker *, gr_home *); /* its uncommitted writes and actors are gone; opens it again */
void gr_home_put(gr_worker *, gr_home *, gr_str key, gr_str value); /* into the open group */
void gr_home_delete(gr_worker *, gr_home *, gr_str key);
void gr_home_touch(gr_worker *, gr_home *); /* makes it part of the open group's batches */
uint64_t gr_home_position(void *worker, uint8_t shard);
uint64_t gr_home_newest(void *worker, uint8_t shard);

/* worker_actors.c */
gr_live *gr_live_of(gr_worker *,
                    gr_str address); /* found or made; NULL: no actor of ours can have that address */
gr_live *gr_live_find(gr_worker *, gr_str address);
bool gr_live_load(gr_worker *, gr_live *, gr_ctx *); /* false: the store could not be read */
void gr_live_used(gr_worker *, gr_live *);
void gr_live_drop(gr_worker *, gr_live *); /* forgets its state */
void gr_live_free(gr_worker *, gr_live *); /* and the record of it */
void gr_live_evict(gr_worker *);
void gr_live_leave(gr_worker *, gr_live *); /* forgets it, unless it is busy */
void gr_live_suspend(gr_worker *, gr_live *); /* durable with the open group */
void gr_live_suspended_at_open(gr_worker *, gr_home *);
const void *gr_live_sibling(void *worker, gr_kind, uint8_t shard);
gr_item *gr_item_new(const gr_envelope *, uint64_t queued_us);
void gr_item_free(gr_item *);
void gr_mailbox_add(gr_worker *, gr_mailbox *, gr_item *);
gr_item *gr_mailbox_take(gr_worker *, gr_mailbox *);
void gr_mailbox_clear(gr_worker *, gr_mailbox *);
void gr_mailbox_queue(gr_worker *, gr_mailbox *);

/* worker_handle.c */
void gr_live_handle(gr_worker *, gr_live *, gr_item *);
void gr_pair_in_handle(gr_worker *, gr_pair_in *, gr_item *);
/* A step of an upkeep, now: what it did goes into the open group.  Fails with what the actor says, or why it can't be asked;
 * GR_UNAVAILABLE when it could not be read. */
GR_MUST_USE gr_err gr_live_upkeep(gr_worker *, gr_live *, gr_str name, gr_upkeep_done *);

/* worker_groups.c */
void gr_group_init(gr_worker *);
void gr_group_add(gr_worker *, gr_home *, gr_handled *);
void gr_group_close(gr_worker *); /* submits the open group if it wrote and may be submitted */
bool gr_group_full(gr_worker *);
void gr_group_complete(gr_worker *); /* takes in what the committer answered, releases */
void gr_group_release_ready(gr_worker *);
size_t gr_group_outstanding(const gr_worker *);
void gr_group_free(gr_worker *);

/* worker_send.c */
gr_peer *gr_peer_of(gr_worker *, gr_endpoint);
void gr_peer_send_effect(gr_worker *, gr_handled *, gr_effect *);
void gr_peer_send(gr_worker *, gr_peer *, const gr_envelope *);
void gr_peer_send_error(gr_worker *, gr_str from, gr_str to, uint64_t seq, uint64_t trace, uint64_t parent,
                        gr_err);
void gr_peer_busy(gr_worker *, gr_peer *); /* it is visited when the step sends */
void gr_peer_flush(gr_worker *);
void gr_peer_receive(gr_worker *, size_t limit);
/* Tells who asked, on a third node, who will answer: whoever that is may be lost to it. */
void gr_peer_send_moved(gr_worker *, const gr_effect *post, gr_str from);
bool gr_peer_is_linked(const gr_worker *, const gr_peer *);
void gr_peer_links(gr_worker *); /* what the links to other nodes changed: lost asks fail, posts go on */
void gr_item_deliver(gr_worker *, gr_item *); /* to an actor of ours; consumes */
void gr_pending_lose(gr_worker *, gr_home *); /* forgets the asks of a shard's actors; NULL: all */
void gr_peer_free_all(gr_worker *);
void gr_live_work_done(gr_worker *, gr_job *);

/* timer.c: the heap */
void gr_due_set(gr_worker *, gr_due *, uint64_t due_ms);
void gr_due_clear(gr_worker *, gr_due *);
bool gr_due_fire(gr_worker *, size_t limit); /* true: more are due */
uint64_t gr_due_next(const gr_worker *);

/* post_in.c; NULL: the store could not be read */
gr_pair_in *gr_pair_in_of(gr_worker *, gr_home *, uint8_t from);
