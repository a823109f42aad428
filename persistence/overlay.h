/* overlay.h - what one shard has written but not yet committed: layers in memory over the store, one per
 * group.
 *
 * The worker that owns the shard puts and deletes here, reads through here, seals the newest layer as a
 * batch at the end of its group, drops layers as their groups are committed and drops them all when one was
 * fenced or is unknown. Usually 0-2 layers of a few to some thousand keys; every operation costs O(log keys)
 * and few allocations.
 */
#pragma once
#include "persistence/row_cache.h"
#include "persistence/store.h"

enum { GR_OVERLAY_LAYERS = 4 };       /* groups outstanding and the open one; more is a bug of the caller */

typedef struct gr_overlay gr_overlay;
/* The handle and the cache are the caller's and must outlive the overlay.  The cache may serve many overlays of one thread; NULL:
 * rows are always read from the store.  Nobody else may write to an open shard. */
gr_overlay *gr_overlay_new(gr_shard *, gr_row_cache *);
void gr_overlay_free(gr_overlay **);

/* Writes into the layer of `group`, which is the newest layer's or higher.  Key and value are copied.
 * A layer that was sealed takes no more writes. */
void gr_overlay_put(gr_overlay *, uint64_t group, gr_str key, gr_str value);
void gr_overlay_delete(gr_overlay *, uint64_t group, gr_str key);

/* Bytes that the open layer takes as a batch (at least GR_BATCH_HEADER): the group ends before this passes
 * GR_BATCH_MAX. */
size_t gr_overlay_size(const gr_overlay *);
size_t gr_overlay_memory(const gr_overlay *);              /* bytes held by all layers */
size_t gr_overlay_layers(const gr_overlay *);

/* As gr_shard_get and gr_shard_scan, with the layers seen first.  Views given to the callback hold during
 * the call; it must not write to the overlay. */
gr_err gr_overlay_get(const gr_overlay *, gr_str key, gr_arena *, gr_str *value) GR_MUST_USE;
gr_err gr_overlay_scan(const gr_overlay *, const gr_range *, gr_row_fn *, void *arg) GR_MUST_USE;

/* Makes the open layer of `group` into the shard's next batch, its keys in order, each once.
 * *out has count 0 and no bytes when that group wrote nothing here; then there is nothing to submit. */
gr_err gr_overlay_seal(gr_overlay *, uint64_t group, gr_arena *, gr_batch *out) GR_MUST_USE;

void gr_overlay_committed(gr_overlay *, uint64_t group);   /* drops the layers of groups <= group */
/* Drops all layers; the shard is to be opened again. */
void gr_overlay_drop(gr_overlay *);
