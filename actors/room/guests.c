/* guests.c - guests, whom a room lets in or not. See graph.h; client-server API, "Guest Access".
 *
 * Row h remembers which members are guests.  When the room stops letting guests in they leave, a few with each firing of a
 * timer, so that no step grows with their number.
 */
#include "actors/room/graph.h"
#include "actors/room/policy.h"

#define REASON "Guests may not be in this room any more"

enum { LEAVE_STEP = 4, AGAIN_MS = 1000 };

static gr_str timer(void) { return GR_STR("guests"); }

static bool lets_in(const gr_json *content) { return gr_str_is(gr_json_text(content, "guest_access"), "can_join"); }

gr_err gr_room_guest_check(gr_room *room, gr_ctx *ctx)
{
    const gr_event *e = gr_room_state(room, ctx, GR_STR("m.room.guest_access"), (gr_str){0});
    if (e && lets_in(e->content)) return gr_ok();
    return gr_fail(GR_GUEST_ACCESS_FORBIDDEN, "Guests may not join this room");
}

void gr_room_guest_mark(gr_ctx *ctx, gr_str user, bool guest)
{
    gr_str key = gr_room_key(ctx, 'h', user), value;
    if (guest) gr_ctx_put(ctx, key, GR_STR(""));
    else if (gr_ctx_get(ctx, key, &value)) gr_ctx_del(ctx, key);
}

typedef struct { gr_arena *arena; gr_str at[LEAVE_STEP]; size_t count; } guests;

static bool collect(void *arg, gr_str key, gr_str value)
{
    guests *g = arg;
    (void)value;
    g->at[g->count++] = gr_arena_str(g->arena, gr_str_from(key, 1));
    return g->count < LEAVE_STEP;
}

static guests some(gr_ctx *ctx)
{
    guests g = {.arena = gr_ctx_arena(ctx)};
    gr_ctx_scan_prefix(ctx, GR_STR("h"), LEAVE_STEP, collect, &g);
    return g;
}

void gr_room_guest_access(gr_ctx *ctx, const gr_json *content)
{
    if (!lets_in(content) && some(ctx).count) gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx), true);
}

/* False: not now; the room is busy with something larger. */
static bool leave(gr_room *room, gr_ctx *ctx, gr_str user)
{
    gr_room_made made;
    gr_room_draft d = {.sender = user, .type = GR_STR("m.room.member"), .state_key = user, .has_state_key = true,
                       .content = GR_STR("{\"membership\":\"leave\",\"reason\":\"" REASON "\"}")};
    gr_room_member asked = {.user = user, .target = user, .action = GR_STR("leave"), .reason = GR_STR(REASON)};
    bool joined = gr_room_membership(ctx, user) == GR_MEMBER_JOIN
        && !gr_room_policy_defers(room, ctx, &d, &gr_type_room_member, &asked);
    if (joined && gr_failed(gr_room_build(room, ctx, &d, &made))) return false;
    gr_room_guest_mark(ctx, user, false);
    if (!joined) return true;
    gr_room_save(room, ctx);
    gr_room_post_membership(room, ctx, &made, false);
    gr_room_post_feeds(room, ctx, &made);
    return true;
}

bool gr_room_guests_leave(gr_room *room, gr_ctx *ctx, gr_str name)
{
    if (!gr_str_eq(name, timer())) return false;
    if (!gr_failed(gr_room_guest_check(room, ctx))) return true;       /* let in again meanwhile */
    guests g = some(ctx);
    size_t left = 0;
    while (left < g.count && leave(room, ctx, g.at[left])) left++;
    if (left < g.count) gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx) + AGAIN_MS, true);
    else if (g.count == LEAVE_STEP) gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx), true);
    return true;
}
