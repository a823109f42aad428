/* recent_rooms.c - rooms that other servers spoke of. See recent_rooms.h. */
#include "edge/recent_rooms.h"

#include <stdlib.h>

typedef struct {
    gr_str rooms[GR_RECENT_ROOMS];     /* the newest first; owned */
    size_t count;
} recent;

static void drop(void *value)
{
    recent *r = value;
    for (size_t i = 0; i < r->count; i++) free((char *)r->rooms[i].ptr);
}

gr_lru *gr_recent_rooms_new(void) { return gr_lru_new(sizeof(recent), GR_RECENT_SERVERS_MAX, 0, drop); }

void gr_recent_rooms_note(gr_lru *l, gr_str server, gr_str room_id)
{
    recent *r = gr_lru_find(l, server);
    size_t at = 0;
    if (!r) r = gr_lru_add(l, server, 0);
    while (at < r->count && !gr_str_eq(r->rooms[at], room_id)) at++;
    gr_str room = at < r->count ? r->rooms[at] : gr_str_keep(room_id);
    if (at == GR_RECENT_ROOMS) free((char *)r->rooms[--at].ptr);
    else if (at == r->count) r->count++;
    for (; at > 0; at--) r->rooms[at] = r->rooms[at - 1];
    r->rooms[0] = room;
}

gr_strs gr_recent_rooms_of(gr_lru *l, gr_str server, gr_arena *a)
{
    const recent *r = gr_lru_find(l, server);
    gr_strs out = {gr_arena_alloc(a, GR_RECENT_ROOMS * sizeof(gr_str)), r ? r->count : 0};
    for (size_t i = 0; i < out.count; i++) out.at[i] = gr_arena_str(a, r->rooms[i]);
    return out;
}
