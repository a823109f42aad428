/* told_rooms.h - what other servers told of rooms that are not here lately, so that walking a space asks them once.
 *
 * Client-server API, "Spaces", "Server behaviour"; server-server API, "GET /hierarchy".  One table per edge thread, bounded in
 * time and bytes.  An answer is that of one server: another, which may lie about a room, never stands in for it.  It is what this
 * server may know; what a user may is judged each time.
 */
#pragma once
#include "edge/lru.h"

enum { GR_TOLD_ROOMS_MAX = 4096, GR_TOLD_ROOMS_BYTES = 16 << 20, GR_TOLD_ROOM_BYTES = 1 << 20, GR_TOLD_ROOMS_MS = 5 * 60 * 1000 };

typedef struct { gr_str server, room_id; bool suggested; } gr_told_room;      /* suggested: only these children */

gr_lru *gr_told_rooms_new(void);
/* The answer, in the arena; empty: there is none that still holds. */
gr_str gr_told_rooms_find(gr_lru *, const gr_told_room *, uint64_t now_ms, gr_arena *);
/* One of more than GR_TOLD_ROOM_BYTES is not kept. */
void gr_told_rooms_keep(gr_lru *, const gr_told_room *, uint64_t now_ms, gr_str body);
