/* resolve.c - the state before an event, from the states after its predecessors. See graph.h. */
#include "actors/room/graph.h"

gr_err gr_room_resolve(gr_room *room, gr_ctx *ctx, gr_u64s roots, uint64_t *root)
{
    (void)room;
    (void)ctx;
    *root = roots.count ? roots.at[0] : 0;
    for (size_t i = 1; i < roots.count; i++)
        if (roots.at[i] != *root)
            return gr_fail(GR_UNAVAILABLE,
                           "The room's history has branches with different state, which this server "
                           "does not resolve");
    return gr_ok();
}

gr_err gr_room_state_before(gr_room *room, gr_ctx *ctx, gr_strs prevs, uint64_t *root)
{
    uint64_t *roots = gr_arena_alloc(gr_ctx_arena(ctx), (prevs.count + 1) * sizeof *roots);
    *root = 0;
    for (size_t i = 0; i < prevs.count; i++) {
        uint64_t number;
        gr_room_record record;
        if (!gr_room_number_of(ctx, prevs.at[i], &number) || !gr_room_record_at(ctx, number, &record)
            || (record.flags & GR_ROOM_OUTLIER))
            return gr_failf(gr_ctx_arena(ctx), GR_UNAVAILABLE,
                            "The event %.*s, which this one follows, is not known here", GR_ARG(prevs.at[i]));
        roots[i] = record.state_after;
    }
    return gr_room_resolve(room, ctx, (gr_u64s){roots, prevs.count}, root);
}
