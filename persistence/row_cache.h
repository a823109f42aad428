/* row_cache.h - rows that were read lately, also those that are not there, as the store has them.
 *
 * A read of LevelDB that finds nothing in the newest table it looks into costs more than its time: after some of them the
 * table is merged into the next level, whatever it holds.  Most reads of a server in use are of the same few rows, so they
 * are answered from here.  Belongs to one thread.  Bounded in bytes; what came first leaves first.
 */
#pragma once
#include "persistence/batch.h"

enum { GR_ROW_CACHE_BYTES = 4 << 20, GR_ROW_CACHE_ROW_MAX = 512 };      /* larger rows are not kept */

typedef struct gr_row_cache gr_row_cache;
typedef struct { uint64_t hits, misses; } gr_row_cache_count;

gr_row_cache *gr_row_cache_new(void);
void gr_row_cache_free(gr_row_cache **);
gr_row_cache_count gr_row_cache_counted(const gr_row_cache *);

/* True when it is known what the store has: *value is empty when there is no such row, else a copy in the arena. */
bool gr_row_cache_get(gr_row_cache *, uint8_t shard, gr_str key, gr_arena *, gr_str *value);
/* The store was found to have this: a value, or with GR_OP_DELETE nothing. */
void gr_row_cache_put(gr_row_cache *, uint8_t shard, gr_op_kind, gr_str key, gr_str value);
/* The same, written just now: replaces what is known of the row, if anything is. */
void gr_row_cache_written(gr_row_cache *, uint8_t shard, gr_op_kind, gr_str key, gr_str value);
/* Forgets all rows of a shard: what the store has may be something else. */
void gr_row_cache_forget(gr_row_cache *, uint8_t shard);
