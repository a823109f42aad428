/* remotes.c - users of other servers learn with whom they share this room: remote_user actors, which keep their device lists
 * while they share one with a user of this server. See graph.h.
 */
#include "actors/room/graph.h"

#define ROW GR_STR("Y")
#define TIMER GR_STR("remotes")

enum { STEP = 60 };                    /* members looked at with one firing */

static uint64_t locals(const gr_room *room)
{
    uint64_t count = 0;
    for (int shard = 0; shard < GR_SHARDS; shard++) count += room->local_joined[shard];
    return count;
}

static void tell(gr_room *room, gr_ctx *ctx, gr_str user, bool is_shared)
{
    gr_remote_user_room m = {.room_id = room->id, .is_shared = is_shared};
    gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_REMOTE_USER, user), &gr_type_remote_user_room, &m);
}

/* Where nobody is joined here it will be told with all others, when somebody is. */
void gr_room_remote_moved(gr_room *room, gr_ctx *ctx, gr_str user, bool joined)
{
    if (locals(room)) tell(room, ctx, user, joined);
}

void gr_room_local_moved(gr_room *room, gr_ctx *ctx, int by)
{
    uint64_t here = locals(room);
    bool is_turn = here == (by > 0 ? 1 : 0);
    if (!is_turn || room->joined == here) return;
    gr_ctx_put(ctx, ROW, (gr_str){0});
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
}

bool gr_room_is_telling_remotes(gr_ctx *ctx)
{
    gr_str cursor;
    return gr_ctx_get(ctx, ROW, &cursor);
}

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    bool is_shared;
    size_t count;
    gr_str last;
} telling;

static bool tell_member(void *arg, gr_str key, gr_str value)
{
    telling *t = arg;
    t->last = gr_arena_str(gr_ctx_arena(t->ctx), gr_str_from(key, 1));
    t->count++;
    if (value.size && value.ptr[0] == GR_MEMBER_JOIN && !gr_room_is_local(t->ctx, t->last))
        tell(t->room, t->ctx, t->last, t->is_shared);
    return true;
}

bool gr_room_remotes_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    gr_str cursor;
    telling t = {.room = room, .ctx = ctx, .is_shared = locals(room) > 0};
    if (!gr_str_eq(timer, TIMER)) return false;
    if (!gr_ctx_get(ctx, ROW, &cursor)) return true;
    gr_str from = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("u"), cursor, {"", cursor.size ? 1 : 0}});
    gr_ctx_scan(ctx, from, GR_STR("v"), false, STEP, tell_member, &t);
    if (t.count < STEP) {
        gr_ctx_del(ctx, ROW);
        return true;
    }
    gr_ctx_put(ctx, ROW, t.last);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
    return true;
}
