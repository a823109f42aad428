/* move.c - the current state becomes another one that differs in more than an event, and what hangs on it follows.
 * See graph.h.
 *
 * A few keys move at once.  Else it goes in steps of a durable timer: when the state is not known yet the pool resolves it
 * (resolving.h); then come the rows by which readers find members and visibility, then the room's root, with the entry that
 * tells readers of it, and last the members here whose membership is another now hear of it.  What a step needs to know the
 * pool has looked up (moved.c).  Until the root has moved states are read as before, while lists of members run ahead;
 * whatever writes waits.
 */
#include "actors/room/graph.h"
#include "actors/room/moved.h"
#include "actors/room/resolving.h"

enum {
    AT_ONCE = 10,                      /* keys: four look-ups each, and the way to them */
    STEP_COST = 56, LOOK_UP_COST = 4,  /* a step puts so many members, whose servers are counted, or looks up 14 events */
    STEP_DELAY_MS = 10,                /* others have the store to themselves between: 50,000 members take some ten seconds */
    AGAIN_MS = 10000                   /* when nothing was heard of the pool */
};

static const char timer_name[] = "moving";

/* --- one key ------------------------------------------------------------------------------------------------ */
static bool load_event(gr_room *room, gr_ctx *ctx, uint64_t number, gr_event *out)
{
    gr_room_record record;
    return gr_room_record_at(ctx, number, &record) && gr_room_event_of(room, gr_ctx_arena(ctx), &record, out);
}

/* pos: of the entry. */
static void apply(gr_room *room, gr_ctx *ctx, const gr_room_moved *m, uint64_t pos)
{
    gr_event event = {0};
    if (m->kind != GR_MOVED_MEMBER && m->number && !load_event(room, ctx, m->number, &event)) return;
    switch (m->kind) {
    case GR_MOVED_MEMBER:
        gr_room_apply_key(room, ctx, &(gr_room_moved_key){.type = GR_STR("m.room.member"), .state_key = m->state_key,
                                                          .number = m->number, .pos = pos, .row = &m->row, .now = m->now});
        return;
    case GR_MOVED_OTHER:
        gr_room_apply_key(room, ctx, &(gr_room_moved_key){.type = m->type, .state_key = m->state_key, .number = m->number,
                                                          .pos = pos, .content = event.content});
        return;
    case GR_MOVED_TELL_THERE:
    case GR_MOVED_TELL_GONE: gr_room_post_moved_member(room, ctx, &event, m->kind == GR_MOVED_TELL_THERE, pos);
    }
}

/* --- at once ------------------------------------------------------------------------------------------------ */
typedef struct { gr_room *room; gr_ctx *ctx; gr_str told; uint64_t pos; } mover;

static bool move_key(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    mover *m = arg;
    gr_room_moved moved;
    if (gr_room_moved_find(m->room, m->ctx, m->told, key, before, after, &moved)) apply(m->room, m->ctx, &moved, m->pos);
    return true;
}

static void move_all(mover *m, uint64_t from, uint64_t to)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, m->room, m->ctx);
    gr_trie_diff(&trie, from, to, move_key, m);
}

static void arrive(gr_room *room, gr_ctx *ctx, uint64_t target)
{
    room->root = target;
    gr_room_put_pos(ctx, room->next_pos++, GR_POS_STATE, 0, target);
}

static bool count_key(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    (void)key, (void)before, (void)after;
    return ++*(size_t *)arg < AT_ONCE;
}

void gr_room_move_at(gr_ctx *ctx, uint64_t delay_ms)
{
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + delay_ms, true);
}

static void begin(gr_room *room, gr_ctx *ctx, gr_room_moving_phase phase, uint64_t target)
{
    room->moving = (gr_room_moving){.phase = phase, .target = target, .from = room->root};
    gr_room_save_moving(room, ctx);
}

uint64_t gr_room_move(gr_room *room, gr_ctx *ctx, uint64_t target)
{
    size_t differing = 0;
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    gr_assert(room->moving.phase == GR_MOVING_NOT && target);
    gr_trie_diff(&trie, room->root, target, count_key, &differing);
    if (differing == 0) return 0;
    if (differing >= AT_ONCE && !room->unbounded) {
        begin(room, ctx, GR_MOVING_ROWS, target);
        gr_room_moved_ask(room, ctx);
        gr_room_move_at(ctx, AGAIN_MS);
        return 0;
    }
    mover m = {room, ctx, {0}, room->next_pos};
    move_all(&m, room->root, target);
    arrive(room, ctx, target);
    return m.pos;
}

void gr_room_move_when_resolved(gr_room *room, gr_ctx *ctx)
{
    gr_assert(room->must_wait && room->moving.phase == GR_MOVING_NOT);
    room->must_wait = false;
    begin(room, ctx, GR_MOVING_RESOLVING, 0);
    gr_room_begin_resolving(room, ctx);
    gr_room_move_at(ctx, AGAIN_MS);
}

void gr_room_tell_moved(gr_room *room, gr_ctx *ctx, uint64_t from, uint64_t pos)
{
    mover m = {room, ctx, gr_env_of(ctx)->server_name, pos};
    move_all(&m, from, room->root);
}

/* --- steps -------------------------------------------------------------------------------------------------- */
/* What the pool can't resolve leaves the state as it is: the next event asks again. */
static void resolve(gr_room *room, gr_ctx *ctx)
{
    gr_room_moving *g = &room->moving;
    gr_err err = gr_room_current_root(room, ctx, &g->target);
    if (room->must_wait) {
        room->must_wait = false;
        gr_room_begin_resolving(room, ctx);
        return;
    }
    g->phase = gr_failed(err) || g->target == room->root ? GR_MOVING_NOT : GR_MOVING_ROWS;
}

static void next_phase(gr_room *room, gr_ctx *ctx)
{
    gr_room_moving *g = &room->moving;
    bool telling = g->phase == GR_MOVING_TELLING;
    g->cursor = 0;
    g->phase = telling ? GR_MOVING_NOT : GR_MOVING_TELLING;
    if (telling) return;
    uint64_t pos = room->next_pos;
    arrive(room, ctx, g->target);
    gr_room_post_moved(room, ctx, pos);
}

/* True: the next step may follow; else the pool is waited for, or nothing is left. */
static bool move(gr_room *room, gr_ctx *ctx)
{
    gr_room_moving *g = &room->moving;
    gr_room_moved m;
    uint64_t pos = g->phase == GR_MOVING_TELLING ? room->next_pos - 1 : room->next_pos;
    for (unsigned cost = 0; cost < STEP_COST && gr_room_moved_next(room, &m);) {
        apply(room, ctx, &m, pos);
        g->cursor = m.key;
        cost += m.kind == GR_MOVED_MEMBER ? 1 : LOOK_UP_COST;
    }
    if (gr_room_moved_has_more(room)) return true;
    if (gr_room_moved_is_here(room) && gr_room_moved_done(room)) next_phase(room, ctx);
    if (g->phase != GR_MOVING_NOT) gr_room_moved_ask(room, ctx);
    return false;
}

bool gr_room_move_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    gr_room_moving *g = &room->moving;
    bool go_on = false;
    if (!gr_str_is(timer, timer_name)) return false;
    if (g->phase == GR_MOVING_NOT) return true;            /* a timer that fired twice */
    if (g->phase == GR_MOVING_RESOLVING) resolve(room, ctx);
    if (g->phase == GR_MOVING_ROWS || g->phase == GR_MOVING_TELLING) go_on = move(room, ctx);
    if (g->phase == GR_MOVING_NOT) {
        *g = (gr_room_moving){0};
        gr_room_go_on_at(ctx, 0);
    } else {
        gr_room_move_at(ctx, go_on ? STEP_DELAY_MS : AGAIN_MS);
    }
    gr_room_save_moving(room, ctx);
    gr_room_save(room, ctx);
    return true;
}
