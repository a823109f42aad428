/* lru.h - a bounded table of values by a key of bytes: when it is full, what was used least recently goes first.
 *
 * What the caches of an edge thread are made of; what their values mean and how long they hold is theirs.
 */
#pragma once
#include "proto/str.h"

typedef struct gr_lru gr_lru;

/* Values have value_size bytes; drop frees what one holds (not itself), and may be NULL.  bytes_max: what gr_lru_add was told
 * to count, in all; 0: only entries are counted. */
gr_lru *gr_lru_new(size_t value_size, size_t entries_max, size_t bytes_max, void (*drop)(void *value));
void gr_lru_free(gr_lru **);
/* Used now; NULL: there is none.  A value lives until it goes. */
void *gr_lru_find(gr_lru *, gr_str key);
/* A zeroed value in place of the one there may be, holding this many bytes, at most bytes_max. */
void *gr_lru_add(gr_lru *, gr_str key, size_t bytes);
size_t gr_lru_count(const gr_lru *);
