/* told_rooms.c - see told_rooms.h. */
#include "edge/told_rooms.h"

#include <stdlib.h>

typedef struct { uint64_t until_ms; gr_str body; } told;

static void drop(void *value) { free((char *)((told *)value)->body.ptr); }

gr_lru *gr_told_rooms_new(void) { return gr_lru_new(sizeof(told), GR_TOLD_ROOMS_MAX, GR_TOLD_ROOMS_BYTES, drop); }

static gr_str key_of(gr_arena *a, const gr_told_room *r)
{
    return gr_arena_cat(a, 4, (gr_str[]){r->suggested ? GR_STR("s") : GR_STR("a"), r->server, {"", 1}, r->room_id});
}

gr_str gr_told_rooms_find(gr_lru *l, const gr_told_room *r, uint64_t now_ms, gr_arena *a)
{
    const told *t = gr_lru_find(l, key_of(a, r));
    return t && t->until_ms > now_ms ? gr_arena_str(a, t->body) : (gr_str){0};
}

void gr_told_rooms_keep(gr_lru *l, const gr_told_room *r, uint64_t now_ms, gr_str body)
{
    if (body.size == 0 || body.size > GR_TOLD_ROOM_BYTES) return;
    gr_arena *a = gr_arena_new(0);
    told *t = gr_lru_add(l, key_of(a, r), body.size);
    *t = (told){now_ms + GR_TOLD_ROOMS_MS, gr_str_keep(body)};
    gr_arena_free(&a);
}
