/* stateres_v1.c - state resolution of room version 1. See stateres.h.
 *
 * A key that only some states have is no conflict here.  Keys of one pass (the members) are resolved side by
 * side, each against what was resolved before the pass, so that their order does not matter.
 */
#include "proto/stateres_inside.h"

#include <openssl/evp.h>
#include <stdlib.h>

enum { SHA1_SIZE = 20 };

typedef struct {
    res_node *node;
    unsigned char sha1[SHA1_SIZE];
} candidate;
typedef struct {
    candidate *at;
    size_t count;
    const gr_event *first;
    bool done;
} contest;

/* R, and on top of it the event that the contested key has so far. */
typedef struct {
    res_run *run;
    const res_node *own;
} auth_case;

static const gr_event *auth_get(void *arg, gr_str type, gr_str state_key)
{
    auth_case *c = arg;
    res_run *r = c->run;
    const gr_event *own = c->own ? c->own->event : NULL;
    if (own && gr_str_eq(own->type, type) && gr_str_eq(own->state_key, state_key)) return own;
    res_node *n = gr_res_state_get(&r->state, type, state_key);
    if (n) return n->event;
    uint64_t number = r->source->unconflicted(r->source->arg, type, state_key);
    n = number ? gr_res_node(r, number) : NULL;
    return n && gr_res_load(r, n) ? n->event : NULL;
}

static bool allowed(res_run *r, const res_node *own, const res_node *n)
{
    auth_case c = {r, own};
    gr_auth_state state = {auth_get, &c};
    bool ok = !gr_failed(gr_auth_check(r->scratch, n->event, &state));
    gr_arena_reset(r->scratch);
    return ok;
}

/* Ascending depth, then descending sha1(event_id). */
static int by_depth(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    int64_t dx = x->node->event->depth, dy = y->node->event->depth;
    return dx != dy ? (dx > dy) - (dx < dy) : memcmp(y->sha1, x->sha1, SHA1_SIZE);
}

static contest contest_of(res_run *r, const uint64_t *row)
{
    contest c = {.at = gr_arena_alloc(r->arena, r->in->states * sizeof(candidate))};
    for (size_t i = 0; i < r->in->states; i++) {
        res_node *n = row[i] ? gr_res_node(r, row[i]) : NULL;
        bool known = n && n->conflicted;
        for (size_t k = 0; k < c.count; k++) known = known && c.at[k].node != n;
        if (!known) continue;
        gr_str id = n->event->event_id;
        c.at[c.count].node = n;
        gr_assert(EVP_Digest(id.ptr, id.size, c.at[c.count].sha1, NULL, EVP_sha1(), NULL));
        c.count++;
    }
    if (c.count) qsort(c.at, c.count, sizeof *c.at, by_depth);
    c.first = c.count ? c.at[0].node->event : NULL;
    return c;
}

/* The first, and each next one as long as the one before lets it. */
static res_node *climb(res_run *r, const contest *c)
{
    res_node *best = c->at[0].node;
    for (size_t i = 1; i < c->count && allowed(r, best, c->at[i].node); i++) best = c->at[i].node;
    return best;
}

/* The deepest that is allowed: ordered the other way round. */
static res_node *pick(res_run *r, const contest *c)
{
    for (size_t i = c->count; i > 0; i--)
        if (allowed(r, NULL, c->at[i - 1].node)) return c->at[i - 1].node;
    return NULL;
}

/* type NULL: all that is left. */
static void pass(res_run *r, contest *contests, size_t count, const char *type)
{
    res_nodes winners = {0};
    for (size_t i = 0; i < count; i++) {
        contest *c = &contests[i];
        if (c->done || (type && !gr_str_is(c->first->type, type))) continue;
        c->done = true;
        res_node *winner = type ? climb(r, c) : pick(r, c);
        if (winner) gr_res_push(r, &winners, winner);
    }
    for (size_t i = 0; i < winners.count; i++) gr_res_state_set(r, winners.at[i]);
}

void gr_res_resolve_v1(res_run *r)
{
    contest *contests = gr_arena_alloc(r->arena, (r->in->row_count + 1) * sizeof *contests);
    for (size_t i = 0; i < r->in->row_count && !r->over; i++) {
        contests[i] = contest_of(r, r->in->rows + i * r->in->states);
        contests[i].done = contests[i].count < 2;
        if (contests[i].count == 1) gr_res_state_set(r, contests[i].at[0].node);
    }
    if (r->over) return;
    pass(r, contests, r->in->row_count, "m.room.power_levels");
    pass(r, contests, r->in->row_count, "m.room.join_rules");
    pass(r, contests, r->in->row_count, "m.room.member");
    pass(r, contests, r->in->row_count, NULL);
}
