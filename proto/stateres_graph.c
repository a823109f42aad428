/* stateres_graph.c - the full conflicted set, from an index or by walking the graph of auth events. See
 * stateres.h.
 *
 * The walk for the auth difference goes from high numbers to low ones, and carries at each event the states
 * whose auth chain holds it.  Where numbers are ordered it ends when all that is left is in every chain.
 */
#include "proto/stateres_inside.h"

#include <stdlib.h>

static int newest_first(const res_node *a, const res_node *b)
{
    return (a->number < b->number) - (a->number > b->number);
}

static int oldest_first(const void *a, const void *b)
{
    return newest_first(*(res_node *const *)b, *(res_node *const *)a);
}

static int highest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* --- auth difference --- */
typedef struct {
    res_run *run;
    uint64_t all; /* the mask of every state */
    res_nodes heap;
    res_nodes met;    /* all that have a mask */
    size_t unsettled; /* in the heap, and not in every chain */
    uint64_t floor;   /* what is below can't matter any more */
} walk;

static void meet(walk *w, res_node *n, uint64_t mask)
{
    uint64_t before = n->mask;
    if ((before | mask) == before) return;
    n->mask |= mask;
    if (before == 0) gr_res_push(w->run, &w->met, n);
    if (n->queued) {
        w->unsettled -= before != w->all && n->mask == w->all;
        return;
    }
    n->queued = true;
    w->unsettled += n->mask != w->all;
    gr_res_heap_push(w->run, &w->heap, n, newest_first);
}

static void meet_auth(walk *w, res_node *n, uint64_t mask)
{
    if (!gr_res_load(w->run, n)) return;
    for (size_t i = 0; i < n->auth.count; i++) meet(w, n->auth.at[i], mask);
}

/* Until nothing is left that could matter: with ordered numbers, nothing above the floor, or (floor 0)
 * nothing unsettled. */
static void drain(walk *w)
{
    res_run *r = w->run;
    while (w->heap.count && !r->over) {
        bool settled = w->floor ? w->heap.at[0]->number <= w->floor : w->unsettled == 0;
        if (r->ordered && settled) return;
        res_node *n = gr_res_heap_pop(&w->heap, newest_first);
        n->queued = false;
        w->unsettled -= n->mask != w->all;
        meet_auth(w, n, n->mask);
    }
}

/* What some chain lacks, oldest first. */
static res_nodes partial(walk *w)
{
    res_nodes list = {0};
    for (size_t i = 0; i < w->met.count; i++)
        if (w->met.at[i]->mask != w->all) gr_res_push(w->run, &list, w->met.at[i]);
    if (list.count) qsort(list.at, list.count, sizeof *list.at, oldest_first);
    return list;
}

/* Unconflicted events are of every state, and so are their chains.  They are read newest first, down to the
 * oldest event that is still in question. */
static void meet_unconflicted(walk *w)
{
    res_run *r = w->run;
    res_nodes open = partial(w);
    size_t next = 0;
    if (open.count == 0) return;
    uint64_t oldest = open.at[0]->number;
    gr_u64s list = r->source->unconflicted_above(r->source->arg, r->ordered ? oldest : 0);
    if (list.count) qsort(list.at, list.count, sizeof *list.at, highest_first);
    for (size_t i = 0; i < list.count && !r->over; i++) {
        while (next < open.count && open.at[next]->mask == w->all) next++;
        if (next == open.count) return;
        w->floor = open.at[next]->number;
        if (r->ordered && list.at[i] <= w->floor) return;
        meet_auth(w, gr_res_node(r, list.at[i]), w->all);
        drain(w);
    }
}

static res_nodes difference_once(res_run *r)
{
    size_t states = r->in->states;
    walk w = {.run = r, .all = states == 64 ? UINT64_MAX : ((uint64_t)1 << states) - 1};
    for (size_t i = 0; i < r->table_room; i++)
        if (r->table[i]) {
            r->table[i]->mask = 0;
            r->table[i]->queued = false;
        }
    for (size_t i = 0; i < r->in->row_count * states; i++)
        if (r->in->rows[i]) meet_auth(&w, gr_res_node(r, r->in->rows[i]), (uint64_t)1 << (i % states));
    drain(&w);
    meet_unconflicted(&w);
    return partial(&w);
}

/* A link that goes up, met on the way, makes what was left out before doubtful: then once more, in full. */
static res_nodes difference(res_run *r)
{
    bool ordered = r->ordered;
    res_nodes list = difference_once(r);
    return ordered && !r->ordered ? difference_once(r) : list;
}

/* --- paths --- */
static bool is_target(const res_node *n, bool conflicted) { return conflicted ? n->conflicted : n->full; }

/* All below the sources, as far as a target may still come; links back are kept. */
static res_nodes descend(res_run *r, const res_nodes *sources, uint64_t floor)
{
    res_nodes found = {0};
    for (size_t i = 0; i < sources->count; i++) {
        sources->at[i]->seen = r->round;
        sources->at[i]->cited_by = NULL;
        gr_res_push(r, &found, sources->at[i]);
    }
    for (size_t i = 0; i < found.count && !r->over; i++) {
        res_node *n = found.at[i];
        if ((r->ordered && n->number <= floor) || !gr_res_load(r, n)) continue;
        for (size_t k = 0; k < n->auth.count; k++) {
            res_node *a = n->auth.at[k];
            if (a->seen != r->round) {
                a->seen = r->round;
                a->cited_by = NULL;
                gr_res_push(r, &found, a);
            }
            res_link *link = gr_arena_alloc(r->arena, sizeof *link);
            *link = (res_link){n, a->cited_by};
            a->cited_by = link;
        }
    }
    return found;
}

res_nodes gr_res_between(res_run *r, const res_nodes *sources, bool conflicted)
{
    const res_nodes *targets = conflicted ? &r->conflicted : &r->full;
    res_nodes out = {0};
    uint64_t floor = UINT64_MAX;
    for (size_t i = 0; i < targets->count; i++)
        if (targets->at[i]->number < floor) floor = targets->at[i]->number;
    r->round++;
    bool ordered = r->ordered;
    res_nodes found = descend(r, sources, floor);
    if (ordered && !r->ordered) {
        r->round++;
        found = descend(r, sources, floor);
    }
    for (size_t i = 0; i < found.count; i++)
        if (is_target(found.at[i], conflicted)) {
            found.at[i]->reaches = r->round;
            gr_res_push(r, &out, found.at[i]);
        }
    for (size_t i = 0; i < out.count; i++)
        for (res_link *l = out.at[i]->cited_by; l; l = l->next)
            if (l->from->reaches != r->round) {
                l->from->reaches = r->round;
                gr_res_push(r, &out, l->from);
            }
    return out;
}

/* --- the set --- */
static void add_full(res_run *r, const res_nodes *list)
{
    for (size_t i = 0; i < list->count && !r->over; i++) {
        res_node *n = list->at[i];
        if (n->full || !gr_res_load(r, n) || !n->event->has_state_key) continue;
        n->full = true;
        gr_res_push(r, &r->full, n);
    }
}

static res_nodes nodes_of(res_run *r, gr_u64s numbers)
{
    res_nodes out = {0};
    for (size_t i = 0; i < numbers.count; i++) gr_res_push(r, &out, gr_res_node(r, numbers.at[i]));
    return out;
}

static res_nodes find_difference(res_run *r)
{
    gr_u64s known;
    bool is_known = r->source->difference && r->source->difference(r->source->arg, &known);
    return is_known ? nodes_of(r, known) : difference(r);
}

static res_nodes find_subgraph(res_run *r)
{
    gr_u64s known, ends = {gr_arena_alloc(r->arena, (r->conflicted.count + 1) * sizeof(uint64_t)), 0};
    for (size_t i = 0; i < r->conflicted.count; i++) ends.at[ends.count++] = r->conflicted.at[i]->number;
    bool is_known = r->source->subgraph && r->source->subgraph(r->source->arg, ends, &known);
    return is_known ? nodes_of(r, known) : gr_res_between(r, &r->conflicted, true);
}

void gr_res_find_full(res_run *r)
{
    res_nodes differ = find_difference(r);
    if (r->in->version->state_res == GR_STATE_RES_2_1) {
        res_nodes subgraph = find_subgraph(r);
        add_full(r, &subgraph);
    }
    add_full(r, &r->conflicted);
    add_full(r, &differ);
}
