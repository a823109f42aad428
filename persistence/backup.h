/* backup.h - a consistent copy of a running store, and making a copy usable.
 *
 * The copy is taken from one snapshot, so it holds a prefix of every shard's batches, all from one moment
 * between two commits; the server goes on meanwhile.  A restored copy gets a new incarnation, so that other
 * servers' posts notice.
 */
#pragma once
#include "persistence/store.h"

typedef struct {
    uint64_t keys, bytes;
} gr_backup_count;

/* Called after each part of about a megabyte; false gives up.  NULL is fine. */
typedef bool gr_progress_fn(void *arg, const gr_backup_count *so_far);

/* Copies the store into a new store in options->dir, which must hold none; the other options are as for
 * opening it. The copy is marked unfinished until its last write, and an unfinished copy is refused by
 * gr_backup_restore. */
gr_err gr_backup_write(gr_store *, const gr_store_options *to, gr_arena *, gr_progress_fn *, void *arg,
                       gr_backup_count *out) GR_MUST_USE;

/* Checks a finished copy (count and digest of all keys) and turns it into a store to run on: new
 * incarnation, backup record removed.  Run on a copy of the backup; the server's own data is not touched. */
gr_err gr_backup_restore(const gr_store_options *, gr_arena *, gr_backup_count *out) GR_MUST_USE;
