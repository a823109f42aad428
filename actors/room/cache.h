/* cache.h - what a loaded room keeps in memory of its store: parsed events of the current state, trie nodes, and other
 * rows that never change.
 *
 * Bounded: trimmed at the start of each handler, so that what was handed out stays valid until the handler
 * ends.  An event here is always the one of the current state with its key: whoever moves the state tells
 * gr_room_cache_moved. Only for state.c, build.c, room.c and purge.c.
 */
#pragma once
#include "actors/room/room.h"

enum { GR_ROOM_CACHE_EVENTS = 64, GR_ROOM_CACHE_BYTES = 512 * 1024, GR_ROOM_CACHE_NODES = 64, GR_ROOM_CACHE_FACTS = 128 };

typedef struct gr_room_cache gr_room_cache;
gr_room_cache *gr_room_cache_new(void);
void gr_room_cache_free(gr_room_cache **);
void gr_room_cache_trim(gr_room_cache *);
size_t gr_room_cache_memory(const gr_room_cache *);

/* True when known; *event is NULL when the state has no such event. */
bool gr_room_cache_get(gr_room_cache *, gr_str type, gr_str state_key, const gr_event **event);
/* Takes the arena, in which event lies (event NULL: remembered as absent; arena may be NULL then). */
const gr_event *gr_room_cache_put(gr_room_cache *, gr_str type, gr_str state_key, gr_arena **,
                                  const gr_event *event);
void gr_room_cache_moved(gr_room_cache *, gr_str type, gr_str state_key);

bool gr_room_cache_node(const gr_room_cache *, uint64_t node, gr_str *bytes);
void gr_room_cache_keep_node(gr_room_cache *, uint64_t node, gr_str bytes);

/* Rows that never change once they are there, until the event goes by a purge: i, c and k.  *value is valid until the next
 * one is kept. */
bool gr_room_cache_fact(const gr_room_cache *, gr_str key, gr_str *value);
void gr_room_cache_keep_fact(gr_room_cache *, gr_str key, gr_str value);
void gr_room_cache_forget_facts(gr_room_cache *);

/* Keys given while a room is being made: all there are, so that no read is needed to know that one is new. */
void gr_room_cache_fresh(gr_room_cache *, bool on);
bool gr_room_cache_is_fresh(const gr_room_cache *);
uint64_t gr_room_cache_key(const gr_room_cache *, gr_str type, gr_str state_key);
void gr_room_cache_keep_key(gr_room_cache *, gr_str type, gr_str state_key, uint64_t key);
