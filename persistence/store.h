/* store.h - one node's store: 256 shards and a few node-wide records, behind open-shard handles.
 *
 * Opened once by the process (or per simulated node) and used by all its workers.  Reads from any thread; a
 * shard handle belongs to the worker that owns the shard.  Writes go through gr_store_submit only: sealed
 * batches (batch.h), durable and answered in order per shard.  Nothing is visible to reads before it is
 * durable: see overlay.h for one's own writes. In a shard, keys beginning with byte 0 are the store's own
 * (position, incarnation, progress of updates).
 */
#pragma once
#include "persistence/engine.h"

typedef struct gr_store gr_store;

typedef struct {
    const char *dir;
    gr_str server_name;               /* a store of another server is refused */
    bool create;                      /* make the store when there is none */
    /* commits on a thread of their own; otherwise gr_store_step does them */
    bool threaded;
    size_t write_buffer;              /* 0: 12 MB; at most 16 MB, since it bounds recovery time */
    size_t cache;                     /* bytes of uncompressed blocks; 0: 8 MB */
    int open_files;                   /* 0: 200 */
    void *env;                        /* a leveldb::Env *, for tests (fault_env.h); NULL: the system's */
    bool backup;                      /* also opens a backup that was not made into a store (backup.h) */
    gr_engine *engine;                /* used in place of LevelDB; the store closes it */
    uint64_t incarnation;             /* of a store that is created; 0 draws one at random */
} gr_store_options;

/* Opens, checks the header record, and makes it when the store is new.  Texts of errors lie in the arena. */
gr_err gr_store_open(const gr_store_options *, gr_arena *, gr_store **out) GR_MUST_USE;
/* Commits what was submitted first; NULL is fine. */
void gr_store_close(gr_store **);
uint64_t gr_store_incarnation(const gr_store *);           /* random; new after a restore from backup */
gr_engine *gr_store_engine(gr_store *);
void gr_store_status(gr_store *, gr_engine_status *);
bool gr_store_writable(gr_store *);

/* Bytes free for unprivileged users on the file system of `dir`; fails when it cannot be asked. */
gr_err gr_store_disk_free(const char *dir, uint64_t *bytes_free) GR_MUST_USE;

/* --- shards --- */
/* A shard as opened by its owner.  `newest` is the position after the batches sealed so far, committed or
 * not. */
typedef struct {
    gr_store *store;
    uint8_t shard;
    uint64_t epoch;
    uint64_t incarnation;             /* random, new after a restore: sent along with the numbers of posts */
    gr_position newest;
} gr_shard;

/* Opens a shard, or opens it again after FENCED or UNKNOWN: a new epoch, the position as the store has it.
 * Batches of an earlier epoch that are still waiting will be FENCED. */
gr_err gr_shard_open(gr_store *, uint8_t shard, gr_arena *, gr_shard *out) GR_MUST_USE;

/* value->ptr is NULL when there is no such key, otherwise a copy in the arena (an empty value has a pointer).
 * snapshot NULL reads what is committed now. */
gr_err gr_shard_get(const gr_shard *, gr_snapshot *, gr_str key, gr_arena *, gr_str *value) GR_MUST_USE;

/* A range of the shard; an empty `from` begins after the store's own keys.  Keys come without the shard
 * prefix. */
gr_err gr_shard_cursor(const gr_shard *, gr_snapshot *, const gr_range *, gr_cursor **) GR_MUST_USE;
gr_err gr_shard_scan(const gr_shard *, gr_snapshot *, const gr_range *, gr_row_fn *, void *arg) GR_MUST_USE;

/* Seals ops as the shard's next batch and advances shard->newest.  The bytes lie in the arena until
 * completed. */
gr_err gr_shard_seal(gr_shard *, const gr_ops *, gr_arena *, gr_batch *out) GR_MUST_USE;

/* A view that later commits do not change; from any thread, for work that must not hold up a worker.  It
 * goes stale (reads fail with GR_UNAVAILABLE) when the store has to be reopened after a failed write. */
gr_err gr_store_snapshot(gr_store *, gr_snapshot **) GR_MUST_USE;
void gr_store_release(gr_store *, gr_snapshot **);

/* Queues a group: at most one batch per shard and call.  Waits when the queue is full (GR_COMMITTER_MAX
 * groups). done(arg, token, shard, outcome, number) comes once for each batch. */
void gr_store_submit(gr_store *, const gr_batch *, size_t count, uint64_t token, gr_done_fn *done, void *arg);
/* Not threaded: commits what waits; how many completions. */
size_t gr_store_step(gr_store *);

/* Batches of a shard from number `from` on, oldest first.  GR_NOT_FOUND when they are not kept: LevelDB
 * keeps none. */
gr_err gr_shard_tail(const gr_shard *, uint64_t from, gr_batch_fn *, void *arg) GR_MUST_USE;
gr_err gr_shard_truncate(const gr_shard *, uint64_t upto) GR_MUST_USE;

/* Replaces all of a shard by the rows of a cursor (from gr_shard_cursor on another store; it is closed here)
 * at `position`.  Done in bounded steps: a shard whose restore was cut short is refused by gr_shard_open. */
gr_err gr_store_restore(gr_store *, uint8_t shard, gr_cursor *rows, const gr_position *position,
                        uint64_t incarnation) GR_MUST_USE;

/* --- whole keys: for schema, update, backup and fsck --- */
gr_str gr_key_node(gr_arena *, gr_str name);               /* 'h' + name */
gr_str gr_key_shard(gr_arena *, uint8_t shard, gr_str key);/* 's' + shard + key */
gr_err gr_store_get(gr_store *, gr_str whole_key, gr_arena *, gr_str *value) GR_MUST_USE;
gr_err gr_store_scan(gr_store *, gr_snapshot *, const gr_range *, gr_row_fn *, void *arg) GR_MUST_USE;
/* The same for long ascending walks: lets a store that must be reopened do so after each megabyte. */
gr_err gr_store_walk(gr_store *, gr_snapshot *, const gr_range *, gr_row_fn *, void *arg) GR_MUST_USE;
/* Adds to ops the writes that give the store and all its shards a new incarnation, as after a restore. */
gr_err gr_store_renew(gr_store *, uint64_t incarnation, gr_arena *, gr_ops *) GR_MUST_USE;
/* Atomic and synced, outside any shard's chain. */
gr_err gr_store_write(gr_store *, const gr_ops *whole_keys) GR_MUST_USE;
