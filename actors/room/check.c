/* check.c - every event of a room: its states, its authorisation, its place in the chain cover. See check.h. */
#include "actors/room/cache.h"
#include "actors/room/check_inside.h"

#include <stdlib.h>

void gr_check_step(room_check *c)
{
    gr_arena_reset(gr_ctx_arena(c->ctx));
    gr_ctx_undo(c->ctx);
    gr_room_cache_trim(c->room->cache);
}

void gr_check_problem(room_check *c, gr_str own_key, const char *what) { c->fn(c->arg, own_key, what); }

void gr_check_event_problem(room_check *c, uint64_t number, const char *what)
{
    gr_check_problem(c, gr_room_key_number(c->ctx, 'e', number), what);
}

/* --- states --------------------------------------------------------------------------------------------- */
static bool on_difference(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    (void)key, (void)before, (void)after;
    *(bool *)arg = false;
    return false;
}

bool gr_check_same(room_check *c, uint64_t a, uint64_t b)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, c->room, c->ctx);
    bool same = true;
    if (a != b) gr_trie_diff(&trie, a, b, on_difference, &same);
    return same;
}

static void check_after(room_check *c, const gr_room_record *r)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, c->room, c->ctx);
    bool changes = r->key && !(r->flags & (GR_ROOM_REJECTED | GR_ROOM_OUTLIER));
    uint64_t wanted = changes ? gr_trie_set(&trie, r->state_before, r->key, r->number) : r->state_before;
    if (!gr_check_same(c, wanted, r->state_after))
        gr_check_event_problem(c, r->number, "the state after the event is not that before it with its own change");
}

static bool has_states(room_check *c, gr_strs prevs)
{
    for (size_t i = 0; i < prevs.count; i++) {
        uint64_t number;
        gr_room_record r;
        if (!gr_room_number_of(c->ctx, prevs.at[i], &number) || !gr_room_record_at(c->ctx, number, &r)
            || (r.flags & (GR_ROOM_OUTLIER | GR_ROOM_MENDED)))
            return false;
    }
    return true;
}

static void check_before(room_check *c, const gr_room_record *r, const gr_event *e)
{
    uint64_t root;
    if ((r->flags & (GR_ROOM_GIVEN | GR_ROOM_MENDED)) || !has_states(c, e->prev_events)) return;
    gr_err err = gr_room_state_before(c->room, c->ctx, e->prev_events, &root);
    if (gr_failed(err)) gr_check_event_problem(c, r->number, "the state before the event can't be resolved");
    else if (!gr_check_same(c, root, r->state_before))
        gr_check_event_problem(c, r->number, "the state before the event is not what its predecessors give");
}

/* --- authorisation -------------------------------------------------------------------------------------- */
/* What redaction took may have been what allowed it. */
static void check_auth(room_check *c, const gr_room_record *r, const gr_event *e)
{
    gr_room_then then;
    gr_auth_state state = gr_room_auth_state_at(&then, c->room, c->ctx, r->state_before);
    if (!(r->flags & GR_ROOM_ACCEPTED) || (r->flags & GR_ROOM_REDACTED)) return;
    if (gr_failed(gr_auth_check(gr_ctx_arena(c->ctx), e, &state)))
        gr_check_event_problem(c, r->number, "the state before the event does not allow it");
}

/* --- chain cover ---------------------------------------------------------------------------------------- */
static void check_cover_problem(room_check *c, gr_str own_key, const char *what)
{
    c->cover_is_bad = true;
    gr_check_problem(c, own_key, what);
}

static void check_cover(room_check *c, const gr_room_record *r, const gr_event *e)
{
    gr_arena *a = gr_ctx_arena(c->ctx);
    gr_chain chain = gr_room_chain(c->ctx);
    gr_u64s auth = {gr_arena_alloc(a, (e->auth_events.count + 1) * sizeof(uint64_t)), e->auth_events.count};
    for (size_t i = 0; i < auth.count; i++) gr_room_number_of(c->ctx, e->auth_events.at[i], &auth.at[i]);
    if (!c->is_covered && !gr_chain_place_of(&chain, a, r->number).chain) return;
    const char *fault = gr_chain_fault(&chain, a, r->number, auth);
    if (fault) check_cover_problem(c, gr_room_key_number(c->ctx, 'e', r->number), fault);
    gr_chain_place place = gr_chain_place_of(&chain, a, r->number);
    uint64_t before = gr_chain_before(&chain, a, r->number);
    if (before && (c->marks[before] & CHECK_CONTINUED))
        check_cover_problem(c, gr_room_key_number(c->ctx, 'e', r->number), "two events go on the same chain");
    if (before) c->marks[before] |= CHECK_CONTINUED;
    if (before && place.chain < c->room->next_number) c->tips[place.chain] = r->number;
}

static void check_tips(room_check *c)
{
    for (uint64_t n = 1; n < c->room->next_number; n++) {
        gr_str value;
        gr_check_step(c);
        bool found = gr_ctx_get(c->ctx, gr_room_key_number(c->ctx, 'C', n), &value);
        uint64_t tip = found && value.size == 8 ? gr_u64be(value.ptr) : 0;
        if (tip != c->tips[n])
            check_cover_problem(c, gr_room_key_number(c->ctx, 'C', n), "the newest event of the chain is another");
    }
}

/* --- all ------------------------------------------------------------------------------------------------ */
static void check_event(room_check *c, uint64_t number)
{
    gr_room_record r;
    gr_event e;
    if (!gr_room_record_at(c->ctx, number, &r)) return;
    if (r.number != number || !gr_room_event_of(c->room, gr_ctx_arena(c->ctx), &r, &e)) {
        gr_check_event_problem(c, number, "the event can't be read");
        return;
    }
    if (r.is_state) check_cover(c, &r, &e);
    gr_check_graph_note(c, &r, &e);
    check_after(c, &r);
    if (r.flags & GR_ROOM_OUTLIER) return;
    check_before(c, &r, &e);
    check_auth(c, &r, &e);
}

bool gr_room_check(gr_ctx *ctx, gr_room_problem_fn *fn, void *arg)
{
    gr_room room = {0};
    gr_room_load(&room, gr_address_id(gr_ctx_self(ctx)), ctx);
    room.unbounded = true;
    room_check c = {.ctx = ctx, .room = &room, .fn = fn, .arg = arg};
    if (room.exists) {
        c.marks = gr_alloc(room.next_number);
        c.tips = gr_alloc(room.next_number * sizeof *c.tips);
        c.is_covered = gr_room_is_covered(ctx);
        if (!c.is_covered)
            check_cover_problem(&c, GR_STR("Z"), "the room has no chain cover: fsck --repair, and the running server makes it");
        for (uint64_t n = 1; n < room.next_number; n++) {
            gr_check_step(&c);
            check_event(&c, n);
        }
        check_tips(&c);
        gr_check_graph_end(&c);
        if (room.moving.phase == GR_MOVING_NOT) gr_check_current(&c);
        free(c.marks);
        free(c.tips);
        free(c.stack);
    }
    gr_room_drop(&room);
    return !c.cover_is_bad;
}
