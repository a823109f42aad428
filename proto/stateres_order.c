/* stateres_order.c - reverse topological power ordering and mainline ordering. See stateres.h. */
#include "proto/stateres_inside.h"

#include <stdlib.h>

static int by_number(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int by_time(const gr_event *a, const gr_event *b)
{
    int c = by_number(a->origin_server_ts, b->origin_server_ts);
    return c ? c : gr_str_cmp(a->event_id, b->event_id);
}

/* --- reverse topological power ordering --- */
static bool is_power_event(const gr_event *e)
{
    if (gr_str_is(e->type, "m.room.power_levels") || gr_str_is(e->type, "m.room.join_rules")) return true;
    if (!gr_str_is(e->type, "m.room.member") || gr_str_eq(e->sender, e->state_key)) return false;
    gr_str membership = gr_json_text(e->content, "membership");
    return gr_str_is(membership, "leave") || gr_str_is(membership, "ban");
}

static void find_power(res_run *r, res_node *n)
{
    if (n->powered) return;
    res_node *create = gr_res_auth_of(r, n, "m.room.create"), *levels;
    if (!create && gr_res_load(r, r->create)) create = r->create;
    levels = gr_res_auth_of(r, n, "m.room.power_levels");
    gr_powers powers = {r->in->version, create ? create->event : NULL, levels ? levels->event : NULL};
    n->power = gr_power_of_user(&powers, n->event->sender);
    n->powered = true;
}

/* What only links members of the set to each other has no place in the order, and goes ahead of all. */
static int by_power(const res_node *a, const res_node *b)
{
    if (a->full != b->full) return a->full ? 1 : -1;
    if (!a->full) return 0;
    int c = by_number(b->power, a->power);
    return c ? c : by_time(a->event, b->event);
}

static void make_ready(res_run *r, res_nodes *heap, res_node *n)
{
    if (n->full) find_power(r, n);
    gr_res_heap_push(r, heap, n, by_power);
}

static void count_waits(res_run *r, const res_nodes *graph)
{
    for (size_t i = 0; i < graph->count; i++) graph->at[i]->waits = 0;
    for (size_t i = 0; i < graph->count; i++)
        for (res_link *l = graph->at[i]->cited_by; l; l = l->next)
            if (l->from->reaches == r->round) l->from->waits++;
}

/* Kahn's algorithm.  Events of a cycle never get ready: they are left to the mainline ordering. */
res_nodes gr_res_power_order(res_run *r)
{
    res_nodes sources = {0}, heap = {0}, out = {0};
    for (size_t i = 0; i < r->full.count; i++)
        if (is_power_event(r->full.at[i]->event)) gr_res_push(r, &sources, r->full.at[i]);
    res_nodes graph = gr_res_between(r, &sources, false);
    count_waits(r, &graph);
    for (size_t i = 0; i < graph.count; i++)
        if (graph.at[i]->waits == 0) make_ready(r, &heap, graph.at[i]);
    while (heap.count && !r->over) {
        res_node *n = gr_res_heap_pop(&heap, by_power);
        if (n->full) {
            n->picked = true;
            gr_res_push(r, &out, n);
        }
        for (res_link *l = n->cited_by; l; l = l->next)
            if (l->from->reaches == r->round && --l->from->waits == 0) make_ready(r, &heap, l->from);
    }
    return out;
}

/* --- mainline ordering --- */
/* Positions count from the oldest end, so that what the mainline does not reach has 1 and comes first. */
static void find_position(res_run *r, res_node *n)
{
    enum { ON_THE_WAY = -1 };
    res_nodes path = {0};
    size_t position = 1;
    for (res_node *at = n; at && at->position == 0;) {
        at->position = (size_t)ON_THE_WAY;
        gr_res_push(r, &path, at);
        at = gr_res_auth_of(r, at, "m.room.power_levels");
        if (at && at->mainline) position = at->mainline + 1;
        else if (at && at->position && at->position != (size_t)ON_THE_WAY) position = at->position;
        if (at && at->mainline) break;
    }
    for (size_t i = 0; i < path.count; i++) path.at[i]->position = position;
}

static int by_mainline(const void *a, const void *b)
{
    const res_node *x = *(res_node *const *)a, *y = *(res_node *const *)b;
    int c = (x->position > y->position) - (x->position < y->position);
    return c ? c : by_time(x->event, y->event);
}

static void mark_mainline(res_run *r, res_node *levels)
{
    res_nodes line = {0};
    for (res_node *n = levels; n && !n->mainline; n = gr_res_auth_of(r, n, "m.room.power_levels")) {
        n->mainline = 1;
        gr_res_push(r, &line, n);
    }
    for (size_t i = 0; i < line.count; i++) line.at[i]->mainline = line.count - i;
}

res_nodes gr_res_mainline_order(res_run *r, res_node *levels)
{
    res_nodes out = {0};
    mark_mainline(r, levels);
    for (size_t i = 0; i < r->full.count; i++) {
        if (r->full.at[i]->picked) continue;
        find_position(r, r->full.at[i]);
        gr_res_push(r, &out, r->full.at[i]);
    }
    if (out.count) qsort(out.at, out.count, sizeof *out.at, by_mainline);
    return out;
}
