/* engine.h - the seam under a store: what an embedded LevelDB, a test's memory and a replicated journal have
 * in common.
 *
 * Keys at this level are whole: 's' + shard byte + the key inside the shard, or 'h' + name for what belongs
 * to the node. Reads may come from any thread.  submit is asynchronous: one completion per batch, in order
 * per shard.  After an outcome that is not COMMITTED the shard is closed to the epoch that got it: later
 * batches of that epoch are FENCED, until the shard is acquired again under a new epoch.  Only store.c calls
 * these.
 */
#pragma once
#include "persistence/batch.h"

typedef enum {
    GR_COMMITTED,                     /* durable, at the position told */
    /* Not written: the epoch is over or the batch does not follow the newest one. */
    GR_FENCED,
    GR_COMMIT_UNKNOWN,                /* perhaps written: forget what was assumed and read again */
} gr_outcome;

/* Called once per batch on the engine's committing thread (or in step); it must not block nor call the
 * engine. */
typedef void gr_done_fn(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number);

typedef struct gr_engine gr_engine;
typedef struct gr_snapshot gr_snapshot;

/* Keys from <= key < to; an empty `to` has no upper end.  limit 0 has no limit. */
typedef struct { gr_str from, to; bool descending; size_t limit; } gr_range;

/* A walk over a range in order.  Belongs to one thread; closed soon, since a store that recovers waits for
 * it. */
typedef struct gr_cursor gr_cursor;
struct gr_cursor {
    /* Views until the next call; false at end or error. */
    bool (*next)(gr_cursor *, gr_str *key, gr_str *value);
    /* Frees; tells what went wrong on the way. */
    gr_err (*close)(gr_cursor *);
};

/* False stops the walk. */
typedef bool gr_row_fn(void *arg, gr_str key, gr_str value);
typedef bool gr_batch_fn(void *arg, const gr_batch *);

typedef struct {
    bool writable;                    /* false from a failed write until a probe write has succeeded */
    uint64_t failures;                /* failed writes and syncs since the start */
    uint64_t groups, batches, bytes;  /* written since the start; groups is the number of syncs */
    char error[256];                  /* of the newest failure; empty when there was none */
} gr_engine_status;

typedef struct {
    const char *name;
    bool keeps_tail;                  /* false: tail always answers that nothing is kept */
    /* Value.ptr NULL: absent. */
    gr_err (*get)(gr_engine *, gr_snapshot *, gr_str key, gr_arena *, gr_str *value);
    gr_err (*scan)(gr_engine *, gr_snapshot *, const gr_range *, gr_cursor **);
    gr_err (*snapshot)(gr_engine *, gr_snapshot **);
    void (*release)(gr_engine *, gr_snapshot *);
    /* Atomic, synced, this node only, outside any journal. */
    gr_err (*write)(gr_engine *, const gr_ops *);
    gr_err (*acquire)(gr_engine *, uint8_t shard, uint64_t *epoch, gr_position *);
    void (*submit)(gr_engine *, const gr_batch *, size_t count, uint64_t token, gr_done_fn *, void *arg);
    /* Without a thread: completes what is due; how many. */
    size_t (*step)(gr_engine *);
    gr_err (*tail)(gr_engine *, uint8_t shard, uint64_t from, gr_batch_fn *, void *arg);
    gr_err (*truncate)(gr_engine *, uint8_t shard, uint64_t upto); /* forgets kept batches numbered <= upto */
    void (*status)(gr_engine *, gr_engine_status *);
    /* Answers what is outstanding, then frees. */
    void (*close)(gr_engine *);
} gr_engine_ops;

struct gr_engine { const gr_engine_ops *ops; };
