/* recent_rooms.h - of which rooms other servers spoke last, so that an event they ask for by its id alone is soon found.
 *
 * One table per edge thread, bounded: some rooms of each server, the newest first, and of servers the one that spoke least
 * recently goes first.
 */
#pragma once
#include "edge/lru.h"

enum { GR_RECENT_ROOMS = 16, GR_RECENT_SERVERS_MAX = 4096 };

gr_lru *gr_recent_rooms_new(void);
void gr_recent_rooms_note(gr_lru *, gr_str server, gr_str room_id);
/* The newest first; in the arena. */
gr_strs gr_recent_rooms_of(gr_lru *, gr_str server, gr_arena *);
