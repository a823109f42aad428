/* move.c - the current state becomes another one that differs in more than an event, and what hangs on it follows.
 * See graph.h.
 *
 * A few keys move at once.  Else it goes in small steps of a durable timer: when the state is not known yet the pool
 * resolves it (resolving.h); then come the rows by which readers find members and visibility, then the room's root, with
 * the entry that tells readers of it, and last the members here whose membership is another now hear of it.  Until the
 * root has moved states are read as before, while lists of members run ahead; whatever writes waits.
 */
#include "actors/room/graph.h"
#include "actors/room/resolving.h"

enum {
    KEYS = 10,                         /* of one step: four look-ups each, and the way to them */
    STEP_DELAY_MS = 2,                 /* others have their turn between */
    AGAIN_MS = 10000                   /* when nothing was heard of the pool */
};

static const char timer_name[] = "moving";

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    uint64_t pos, last;                /* of the entry; the last key moved */
    size_t count, most;
} mover;

static bool load_event(mover *m, uint64_t number, gr_event *out)
{
    gr_room_record record;
    return gr_room_record_at(m->ctx, number, &record)
        && gr_room_event_of(m->room, gr_ctx_arena(m->ctx), &record, out);
}

static bool move_rows(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    mover *m = arg;
    gr_str type, state_key;
    gr_event event = {0};
    (void)before;
    m->last = key;
    if (gr_room_key_text(m->ctx, key, &type, &state_key) && (!after || load_event(m, after, &event)))
        gr_room_apply_key(m->room, m->ctx, &(gr_room_moved_key){type, state_key, after, event.content, m->pos});
    return ++m->count < m->most;
}

static bool tell_member(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    mover *m = arg;
    gr_str type, user;
    gr_event event;
    m->last = key;
    bool is_member = gr_room_key_text(m->ctx, key, &type, &user) && gr_str_is(type, "m.room.member")
                     && gr_room_is_local(m->ctx, user);
    if (is_member && load_event(m, after ? after : before, &event))
        gr_room_post_moved_member(m->room, m->ctx, &event, after != 0, m->pos);
    return ++m->count < m->most;
}

static void walk(mover *m, uint64_t from, uint64_t to, uint64_t cursor, gr_trie_diff_fn *fn)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, m->room, m->ctx);
    gr_trie_diff_from(&trie, from, to, cursor, fn, m);
}

static void arrive(gr_room *room, gr_ctx *ctx, uint64_t target)
{
    room->root = target;
    gr_room_put_pos(ctx, room->next_pos++, GR_POS_STATE, 0, target);
}

static bool count_key(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    (void)key, (void)before, (void)after;
    return ++*(size_t *)arg < KEYS;
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
    if (differing >= KEYS && !room->unbounded) {
        begin(room, ctx, GR_MOVING_ROWS, target);
        gr_room_move_at(ctx, 0);
        return 0;
    }
    mover m = {.room = room, .ctx = ctx, .pos = room->next_pos, .most = SIZE_MAX};
    walk(&m, room->root, target, 0, move_rows);
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
    mover m = {.room = room, .ctx = ctx, .pos = pos, .most = SIZE_MAX};
    walk(&m, from, room->root, 0, tell_member);
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
        gr_room_move_at(ctx, AGAIN_MS);
        return;
    }
    g->phase = gr_failed(err) || g->target == room->root ? GR_MOVING_NOT : GR_MOVING_ROWS;
}

static void move(gr_room *room, gr_ctx *ctx)
{
    gr_room_moving *g = &room->moving;
    bool telling = g->phase == GR_MOVING_TELLING;
    mover m = {.room = room, .ctx = ctx, .pos = telling ? room->next_pos - 1 : room->next_pos, .most = KEYS};
    walk(&m, g->from, g->target, g->cursor, telling ? tell_member : move_rows);
    g->cursor = m.last;
    if (m.count == KEYS) return;
    g->cursor = 0;
    g->phase = telling ? GR_MOVING_NOT : GR_MOVING_TELLING;
    if (telling) return;
    arrive(room, ctx, g->target);
    gr_room_post_moved(room, ctx, m.pos);
}

bool gr_room_move_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    gr_room_moving *g = &room->moving;
    if (!gr_str_is(timer, timer_name)) return false;
    switch (g->phase) {
    case GR_MOVING_NOT: return true;                       /* a timer that fired twice */
    case GR_MOVING_RESOLVING: resolve(room, ctx); break;
    case GR_MOVING_ROWS:
    case GR_MOVING_TELLING: move(room, ctx); break;
    }
    if (g->phase == GR_MOVING_NOT) {
        *g = (gr_room_moving){0};
        gr_room_go_on_at(ctx, 0);
    } else if (g->phase != GR_MOVING_RESOLVING) {
        gr_room_move_at(ctx, STEP_DELAY_MS);
    }
    gr_room_save_moving(room, ctx);
    gr_room_save(room, ctx);
    return true;
}
