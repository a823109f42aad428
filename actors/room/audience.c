/* audience.c - who hears of what is new of a member: servers, and shards of users here. See read.h. */
#include "actors/room/read.h"

enum { PAGE = 200 };

typedef struct {
    gr_arena *arena;
    gr_strs servers;
} listing;

static bool on_server(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    (void)value;
    l->servers.at[l->servers.count++] = gr_arena_str(l->arena, gr_str_from(key, 1));
    return true;
}

void gr_room_on_audience(gr_room *room, gr_ctx *ctx, const gr_room_audience *m)
{
    gr_arena *a = gr_ctx_arena(ctx);
    listing l = {.arena = a, .servers = {gr_arena_alloc(a, PAGE * sizeof(gr_str)), 0}};
    gr_room_audience_is is = {.joined = room->joined};
    gr_str from = gr_arena_cat(a, 3, (gr_str[]){GR_STR("n"), m->after, {"", m->after.size ? 1 : 0}});
    gr_ctx_scan(ctx, from, GR_STR("o"), false, PAGE, on_server, &l);
    is.servers = l.servers;
    if (l.servers.count == PAGE) is.next = l.servers.at[PAGE - 1];
    is.shards.at = gr_arena_alloc(a, GR_SHARDS * sizeof(uint64_t));
    for (uint64_t shard = 0; shard < GR_SHARDS; shard++)
        if (room->local_joined[shard]) is.shards.at[is.shards.count++] = shard;
    gr_ctx_reply(ctx, &gr_type_room_audience_is, &is);
}
