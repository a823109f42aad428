/* recent_rooms.c - rooms that other servers spoke of. See recent_rooms.h. */
#include "edge/recent_rooms.h"

#include <stdlib.h>
#include <uthash.h>

typedef struct {
    UT_hash_handle hh;                 /* in order of use: the oldest is first */
    gr_str rooms[GR_RECENT_ROOMS];     /* the newest first; owned */
    size_t count, size;
    char server[];
} entry;

struct gr_recent_rooms { entry *all; };

gr_recent_rooms *gr_recent_rooms_new(void) { return gr_alloc(sizeof(gr_recent_rooms)); }

static void forget(gr_recent_rooms *r, entry *e)
{
    HASH_DEL(r->all, e);
    for (size_t i = 0; i < e->count; i++) free((char *)e->rooms[i].ptr);
    free(e);
}

void gr_recent_rooms_free(gr_recent_rooms **at)
{
    entry *e, *next;
    if (!*at) return;
    HASH_ITER(hh, (*at)->all, e, next) forget(*at, e);
    free(*at);
    *at = NULL;
}

static entry *find(gr_recent_rooms *r, gr_str server)
{
    entry *e = NULL;
    HASH_FIND(hh, r->all, server.ptr, server.size, e);
    if (!e) return NULL;
    HASH_DEL(r->all, e);
    HASH_ADD_KEYPTR(hh, r->all, e->server, e->size, e);
    return e;
}

static entry *add(gr_recent_rooms *r, gr_str server)
{
    if (HASH_COUNT(r->all) >= GR_RECENT_SERVERS_MAX) forget(r, r->all);
    entry *e = gr_alloc(sizeof *e + server.size);
    memcpy(e->server, server.ptr, server.size);
    e->size = server.size;
    HASH_ADD_KEYPTR(hh, r->all, e->server, e->size, e);
    return e;
}

void gr_recent_rooms_note(gr_recent_rooms *r, gr_str server, gr_str room_id)
{
    entry *e = find(r, server);
    size_t at = 0;
    if (!e) e = add(r, server);
    while (at < e->count && !gr_str_eq(e->rooms[at], room_id)) at++;
    gr_str room = at < e->count ? e->rooms[at] : gr_str_keep(room_id);
    if (at == GR_RECENT_ROOMS) free((char *)e->rooms[--at].ptr);
    else if (at == e->count) e->count++;
    for (; at > 0; at--) e->rooms[at] = e->rooms[at - 1];
    e->rooms[0] = room;
}

gr_strs gr_recent_rooms_of(gr_recent_rooms *r, gr_str server, gr_arena *a)
{
    const entry *e = find(r, server);
    gr_strs out = {gr_arena_alloc(a, GR_RECENT_ROOMS * sizeof(gr_str)), e ? e->count : 0};
    for (size_t i = 0; i < out.count; i++) out.at[i] = gr_arena_str(a, e->rooms[i]);
    return out;
}
