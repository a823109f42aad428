/* here.c - a join to a restricted room that is here, vouched for by a member of another server. See join.h.
 *
 * The join was made by that server's knowledge of the room, so it may cite what is not here yet.  Then it is given to the room
 * as if it had been pushed, which has the gap before it filled, and the step is repeated until the join is in the room.
 */
#include "actors/join/join_private.h"

#include "proto/ident.h"

/* Who signed it and is not this server. */
static gr_str voucher_of(const gr_join *j, gr_ctx *ctx)
{
    const gr_json *event = NULL;
    if (gr_failed(gr_json_parse(gr_ctx_arena(ctx), j->flow->event, GR_JSON_LAX, &event))) return (gr_str){0};
    return gr_ident_domain(gr_json_string(gr_json_path(event, "content/join_authorised_via_users_server")));
}

bool gr_join_here_waits(gr_join *j, gr_ctx *ctx, gr_err err)
{
    gr_str text = j->flow->event, server = voucher_of(j, ctx);
    if (!j->flow->is_here || j->flow->step != GR_JOIN_ENTER || err.code != GR_UNAVAILABLE || server.size == 0) return false;
    gr_keys_known keys = gr_join_keys_of(ctx, server);
    gr_room_incoming m = {.origin = j->flow->servers.at[j->flow->next], .pdus = {&text, 1}, .keys = {&keys, 1}};
    gr_join_ask_room(j, ctx, &gr_type_room_incoming, &m);
    return true;
}

void gr_join_on_here_staged(gr_join *j, gr_ctx *ctx)
{
    gr_ctx_timer(ctx, GR_STR("step"), gr_ctx_now_ms(ctx) + GR_JOIN_HERE_MS, true);
    j->open = 0;
}
