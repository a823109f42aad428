/* event_order.c - events that came together, in an order in which a room can take them. See event.h. */
#include "proto/event.h"

typedef struct {
    size_t count;
    bool *needs;       /* needs[i * count + k]: i comes after k */
    bool *done;
} order_run;

static bool names(gr_strs list, gr_str id)
{
    for (size_t i = 0; i < list.count; i++)
        if (gr_str_eq(list.at[i], id)) return true;
    return false;
}

static bool is_ready(const order_run *r, size_t i)
{
    for (size_t k = 0; k < r->count; k++)
        if (r->needs[i * r->count + k] && !r->done[k]) return false;
    return true;
}

static size_t next_ready(const order_run *r)
{
    size_t first = r->count;
    for (size_t i = 0; i < r->count; i++) {
        if (r->done[i]) continue;
        if (is_ready(r, i)) return i;
        if (first == r->count) first = i;
    }
    return first;      /* a cycle: somebody has to begin */
}

void gr_event_order(gr_arena *arena, const gr_event *const *events, size_t count, size_t *order)
{
    order_run r = {count, gr_arena_alloc(arena, count * count + 1), gr_arena_alloc(arena, count + 1)};
    gr_assert(count <= GR_EVENT_ORDER_MAX);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            r.needs[i * count + k] = i != k && (names(events[i]->prev_events, events[k]->event_id)
                                                || names(events[i]->auth_events, events[k]->event_id));
    for (size_t n = 0; n < count; n++) {
        order[n] = next_ready(&r);
        r.done[order[n]] = true;
    }
}
