/* upkeep.c - what goes from room to room beside the service (bus/actor.h), and what a room does of it in a step. */
#include "actors/room/graph.h"

enum { DAY_MS = 24 * 3600 * 1000 };

const gr_actor_upkeep gr_room_upkeep[] = {
    {.name = GR_ROOM_UPKEEP_COVER},                        /* the chain cover of rooms that have none */
    {.name = "room-transactions", .every_ms = DAY_MS},     /* of clients: forgotten after a day, also where nobody sends */
    {.name = GR_ROOM_UPKEEP_STATES, .by_timer = true},
    {.name = GR_ROOM_UPKEEP_REDACTIONS, .by_timer = true},
    {.name = GR_ROOM_UPKEEP_PURGES, .by_timer = true},
    {0}};

void gr_room_on_upkeep(gr_room *room, gr_ctx *ctx, gr_str name)
{
    gr_upkeep_done done = {.finished = true};
    bool is_going = room->purge.phase == GR_PURGE_MEMBERS || room->purge.phase == GR_PURGE_ROOM;
    if (room->exists && !is_going) {
        if (gr_str_is(name, GR_ROOM_UPKEEP_COVER)) gr_room_cover_step(room, ctx, &done);
        else if (gr_str_is(name, "room-transactions")) done.finished = !gr_room_txn_sweep(ctx, &done.worked);
    }
    gr_ctx_reply(ctx, &gr_type_upkeep_done, &done);
}
