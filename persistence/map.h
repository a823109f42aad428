/* map.h - an ordered map of byte strings in memory, whose copies cost nothing.
 *
 * A treap with shared nodes: a copy is a pointer and later changes to either side leave the other alone.
 * Overlays keep a layer in one, the memory engine its contents.  Belongs to one thread together with all its
 * copies.
 */
#pragma once
#include "persistence/batch.h"

typedef struct gr_map_node gr_map_node;
typedef struct { gr_map_node *root; size_t count, bytes; uint64_t random; } gr_map;     /* {0} is empty */

/* What a key maps to.  kind is the caller's mark; overlays keep deletions as entries. */
typedef struct { gr_str key, value; gr_op_kind kind; } gr_map_entry;

typedef enum { GR_MAP_AT_OR_AFTER, GR_MAP_AFTER, GR_MAP_BEFORE } gr_map_where;

void gr_map_put(gr_map *, gr_op_kind, gr_str key, gr_str value);       /* copies both; replaces */
bool gr_map_remove(gr_map *, gr_str key);
bool gr_map_find(const gr_map *, gr_str key, gr_map_entry *out);       /* views until the entry changes */
/* The first entry at or after a key, or after it, or the last one before it.  BEFORE an empty key is the
 * last of all. */
bool gr_map_seek(const gr_map *, gr_str key, gr_map_where, gr_map_entry *out);
gr_map gr_map_copy(const gr_map *);
void gr_map_free(gr_map *);
