/* check_graph.c - forward and backward extremities, made of all events. See check.h.
 *
 * An event of the stream that no other names, directly or through hidden ones, is a forward extremity.  Where only
 * history lies between, or a hidden event that came before what it names, the room may not have noticed that it is named; the
 * next event names it once more.
 */
#include "actors/room/check_inside.h"

#include <stdlib.h>

enum { HIDDEN = GR_ROOM_REJECTED | GR_ROOM_SOFT_FAILED };

static bool is_followed(const gr_room_record *r)
{
    return (r->flags & GR_ROOM_ACCEPTED) && !(r->flags & (HIDDEN | GR_ROOM_OUTLIER));
}

/* --- what is named -------------------------------------------------------------------------------------- */

static void push(room_check *c, uint64_t number)
{
    if (c->stacked == c->stack_room) {
        c->stack_room = c->stack_room ? c->stack_room * 2 : 64;
        c->stack = gr_realloc(c->stack, c->stack_room * sizeof *c->stack);
    }
    c->stack[c->stacked++] = number;
}

/* Marks an event as named, and goes on behind it if it is hidden or history. */
static void name(room_check *c, uint64_t number, const gr_room_record *r, unsigned char how)
{
    bool is_new = (c->marks[number] & how) != how;
    c->marks[number] |= how;
    if (is_new && !(r->flags & GR_ROOM_OUTLIER) && (r->flags & (HIDDEN | GR_ROOM_HISTORY))) push(c, number);
}

static void name_all(room_check *c, gr_strs prevs, unsigned char how, gr_strs *missing)
{
    for (size_t i = 0; i < prevs.count; i++) {
        uint64_t number;
        gr_room_record r;
        bool known = gr_room_number_of(c->ctx, prevs.at[i], &number) && number < c->room->next_number
                     && gr_room_record_at(c->ctx, number, &r);
        if (known) name(c, number, &r, how);
        if (missing && (!known || (r.flags & GR_ROOM_OUTLIER))) missing->at[missing->count++] = prevs.at[i];
    }
}

static void go_behind(room_check *c)
{
    while (c->stacked) {
        uint64_t number = c->stack[--c->stacked];
        gr_room_record r;
        gr_event e;
        if (!gr_room_record_at(c->ctx, number, &r) || !gr_room_event_of(c->room, gr_ctx_arena(c->ctx), &r, &e)) continue;
        bool was_noticed = (r.flags & HIDDEN) && !(r.flags & GR_ROOM_GIVEN);
        unsigned char how = was_noticed ? c->marks[number] & (CHECK_NAMED | CHECK_BEHIND) : CHECK_BEHIND;
        name_all(c, e.prev_events, how, NULL);
    }
}

/* --- backward extremities ------------------------------------------------------------------------------- */
static gr_str number_text(gr_ctx *ctx, uint64_t n) { return gr_str_from(gr_room_key_number(ctx, ' ', n), 1); }

static bool names_part(gr_str row, gr_str id)
{
    for (;;) {
        ptrdiff_t zero = gr_str_find(row, 0);
        if (gr_str_eq(zero < 0 ? row : gr_str_head(row, (size_t)zero), id)) return true;
        if (zero < 0) return false;
        row = gr_str_from(row, (size_t)zero + 1);
    }
}

/* What was purged here is not waited for: only events that came with their state are. */
static void check_backward(room_check *c, const gr_room_record *r, gr_strs missing)
{
    gr_str row, value, key = gr_room_key_numbers(c->ctx, 'b', r->depth, r->number);
    if (!(r->flags & GR_ROOM_GIVEN)) return;
    bool known = gr_ctx_get(c->ctx, key, &row);
    for (size_t i = 0; i < missing.count; i++) {
        gr_str waiting = gr_room_key_parts(c->ctx, 'B', 2, (gr_str[]){missing.at[i], number_text(c->ctx, r->number)});
        if (!known || !names_part(row, missing.at[i]) || !gr_ctx_get(c->ctx, waiting, &value))
            gr_check_event_problem(c, r->number, "the event follows what is not here, and is no backward extremity");
    }
}

void gr_check_graph_note(room_check *c, const gr_room_record *r, const gr_event *e)
{
    gr_strs missing = {gr_arena_alloc(gr_ctx_arena(c->ctx), (e->prev_events.count + 1) * sizeof(gr_str)), 0};
    if (!is_followed(r)) return;
    bool is_stream = !(r->flags & GR_ROOM_HISTORY);
    if (is_stream) c->marks[r->number] |= CHECK_STREAM;
    name_all(c, e->prev_events, is_stream ? CHECK_NAMED | CHECK_BEHIND : 0, &missing);
    go_behind(c);
    check_backward(c, r, missing);
}

static bool on_backward_row(void *arg, gr_str key, gr_str value)
{
    room_check *c = arg;
    gr_room_record r;
    (void)value;
    bool fits = key.size == 17 && gr_room_record_at(c->ctx, gr_u64be(key.ptr + 9), &r)
                && r.depth == gr_u64be(key.ptr + 1) && is_followed(&r) && (r.flags & GR_ROOM_GIVEN);
    if (!fits) gr_check_problem(c, key, "no event of this number and depth is a backward extremity");
    return true;
}

/* --- forward extremities -------------------------------------------------------------------------------- */
static void check_extremity(room_check *c, const gr_room_extremity *x)
{
    gr_room_record r;
    gr_str key = GR_STR("m");
    if (x->number >= c->room->next_number || !gr_room_record_at(c->ctx, x->number, &r))
        gr_check_problem(c, key, "a forward extremity is missing");
    else if (!(c->marks[x->number] & CHECK_STREAM) || (c->marks[x->number] & CHECK_NAMED))
        gr_check_problem(c, key, "a forward extremity is named by another event, or is hidden");
    else if (x->root != r.state_after || x->depth != r.depth || !gr_str_eq(x->id, r.event_id))
        gr_check_problem(c, key, "a forward extremity has another state, depth or id than its event");
}

static bool is_extremity(const gr_room *room, uint64_t number)
{
    for (size_t i = 0; i < room->extremity_count; i++)
        if (room->extremities[i].number == number) return true;
    return false;
}

/* State from before history begins: what followed it is gone. */
static bool is_purged(room_check *c, uint64_t number)
{
    gr_room_record r;
    return c->room->floor && gr_room_record_at(c->ctx, number, &r) && r.pos < c->room->floor;
}

void gr_check_graph_end(room_check *c)
{
    for (size_t i = 0; i < c->room->extremity_count; i++) {
        gr_check_step(c);
        check_extremity(c, &c->room->extremities[i]);
    }
    for (uint64_t n = 1; n < c->room->next_number; n++) {
        gr_str value;
        if ((c->marks[n] & (CHECK_STREAM | CHECK_BEHIND)) != CHECK_STREAM || is_extremity(c->room, n)) continue;
        gr_check_step(c);
        if (is_purged(c, n) || gr_ctx_get(c->ctx, gr_room_key_number(c->ctx, 'D', n), &value)) continue;
        gr_check_event_problem(c, n, "nobody follows the event, and it is no forward extremity");
    }
    gr_check_step(c);
    gr_ctx_scan_prefix(c->ctx, GR_STR("b"), 0, on_backward_row, c);
}
