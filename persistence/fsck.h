/* fsck.h - a walk over all keys of a store that counts what does not fit.
 *
 * This floor checks the node's records and each shard's position; upper floors register checks for the keys
 * they know. It reads from a snapshot and changes nothing.
 */
#pragma once
#include "persistence/store.h"

typedef struct gr_fsck gr_fsck;
gr_fsck *gr_fsck_new(void);
void gr_fsck_free(gr_fsck **);

/* What a check gets to read with: the same moment for all. */
typedef struct {
    gr_store *store;
    gr_snapshot *snapshot;
    uint8_t shard;
    gr_arena *arena;
    gr_fsck *fsck;
} gr_fsck_at;

/* Called for each row of a shard whose key (inside the shard) starts with the prefix; the longest prefix
 * wins. It reports with gr_fsck_problem.  The arena is emptied between rows. */
typedef void gr_fsck_fn(void *arg, const gr_fsck_at *, gr_str key, gr_str value);
/* the prefix must outlive the fsck */
void gr_fsck_check(gr_fsck *, gr_str prefix, gr_fsck_fn *, void *arg);

/* Counts a problem; the first GR_FSCK_LISTED_MAX are kept as texts. */
enum { GR_FSCK_LISTED_MAX = 1000 };
void gr_fsck_problem(gr_fsck *, uint8_t shard, gr_str key, const char *what);

/* A check took the row but does not know its kind: listed and counted as unknown, which is no problem by itself. */
void gr_fsck_unknown(gr_fsck *, uint8_t shard, gr_str key, const char *what);

typedef struct {
    uint64_t keys, bytes, problems, unknown;       /* unknown: rows of shards that no check knows */
    gr_strs listed;                                /* "shard 7, key ...: what"; owned by the fsck */
} gr_fsck_report;

/* every 10,000 keys; false gives up */
typedef bool gr_fsck_progress_fn(void *arg, const gr_fsck_report *so_far);

/* Fails only when the store cannot be read; problems are in the report. */
gr_err gr_fsck_run(gr_fsck *, gr_store *, gr_fsck_progress_fn *, void *arg, gr_fsck_report *out) GR_MUST_USE;
