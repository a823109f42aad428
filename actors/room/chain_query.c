/* chain_query.c - auth chains answered from the chain cover. See chain.h.
 *
 * What is below an event is one number per chain: how far up the chain it goes.  A floor cuts off what is
 * too old to matter, since auth events have lower numbers.
 */
#include "actors/room/chain_inside.h"

/* How far up each chain is reached: by chain, open addressing. */
typedef struct { uint64_t chain, seq, event; } mark;
typedef struct { mark *at; size_t count, room; } marks;

static mark *find_mark(const marks *m, uint64_t chain)
{
    size_t i = (size_t)((chain ^ chain >> 29) * 0x9e3779b97f4a7c15u >> 20) & (m->room - 1);
    while (m->at[i].chain && m->at[i].chain != chain) i = (i + 1) & (m->room - 1);
    return &m->at[i];
}

static mark *mark_of(gr_arena *a, marks *m, uint64_t chain)
{
    if (m->count * 2 >= m->room) {
        marks old = *m;
        m->room = old.room ? old.room * 2 : 32;
        m->at = gr_arena_alloc(a, m->room * sizeof *m->at);
        for (size_t i = 0; i < old.room; i++)
            if (old.at[i].chain) *find_mark(m, old.at[i].chain) = old.at[i];
    }
    mark *found = find_mark(m, chain);
    if (!found->chain) {
        found->chain = chain;
        m->count++;
    }
    return found;
}

static uint64_t reached(const marks *m, uint64_t chain) { return m->room ? find_mark(m, chain)->seq : 0; }

static void push_links(chain_reader *r, chain_list *todo, const chain_row *row, uint64_t floor)
{
    for (size_t i = 0; i < row->links.count; i++)
        if (row->links.at[i] > floor) gr_chain_push(r->arena, todo, row->links.at[i]);
}

/* Marks what is above the floor of all that is on the list and below.  False: something has no cover. */
static bool descend(chain_reader *r, marks *m, chain_list *todo, uint64_t floor)
{
    while (todo->count) {
        uint64_t event = todo->at[--todo->count];
        if (event <= floor) continue;
        const chain_row *row = gr_chain_row(r, event);
        if (!row) return false;
        mark *k = mark_of(r->arena, m, row->chain);
        uint64_t old = k->seq;
        if (old >= row->seq) continue;
        *k = (mark){row->chain, row->seq, event};
        while (row->seq > old && row->event > floor) {
            push_links(r, todo, row, floor);
            if (row->full || !row->before) break;
            row = gr_chain_row(r, row->before);
            if (!row) return false;
        }
    }
    return true;
}

/* What is in the auth chain of the event, without itself. */
static bool descend_from(chain_reader *r, marks *m, chain_list *todo, uint64_t event, uint64_t floor)
{
    const chain_row *row = gr_chain_row(r, event);
    if (!row) return false;
    todo->count = 0;
    push_links(r, todo, row, floor);
    if (row->before > floor) gr_chain_push(r->arena, todo, row->before);
    return descend(r, m, todo, floor);
}

bool gr_chain_reaches(const gr_chain *c, gr_arena *arena, uint64_t event, uint64_t other, bool *reaches)
{
    chain_reader r = {.c = c, .arena = arena};
    chain_list todo = {0};
    marks m = {0};
    *reaches = false;
    const chain_row *target = gr_chain_row(&r, other);
    if (!target || !gr_chain_row(&r, event)) return false;
    if (other >= event) return true;
    if (!descend_from(&r, &m, &todo, event, other - 1)) return false;
    *reaches = reached(&m, target->chain) >= target->seq;
    return true;
}

/* --- auth difference ----------------------------------------------------------------------------------- */
/* Events of the chain above a sequence, up to the mark. */
static bool list_chain(chain_reader *r, const mark *top, uint64_t above, uint64_t floor, chain_list *out)
{
    for (uint64_t event = top->event; event > floor;) {
        const chain_row *row = gr_chain_row(r, event);
        if (!row) return false;
        if (row->seq <= above) return true;
        gr_chain_push(r->arena, out, event);
        event = row->before;
    }
    return true;
}

/* What some of the marks have and others lack. */
static bool list_uneven(chain_reader *r, const marks *all, size_t count, chain_list *out)
{
    marks done = {0};
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < all[i].room; k++) {
            mark top = all[i].at[k];
            if (!top.chain || reached(&done, top.chain)) continue;
            uint64_t least = top.seq;
            for (size_t o = 0; o < count; o++) {
                mark other = all[o].room ? *find_mark(&all[o], top.chain) : (mark){0};
                if (other.seq < least) least = other.seq;
                if (other.seq > top.seq) top = other;
            }
            *mark_of(r->arena, &done, top.chain) = top;
            if (!list_chain(r, &top, least, 0, out)) return false;
        }
    gr_chain_sort(out);
    return true;
}

/* Common events are most of a room: where they lie close, all rows are read in one go. */
static void prefetch(chain_reader *r, const chain_list *list)
{
    enum { MANY = 64, CLOSE = 4 };
    if (list->count < MANY) return;
    uint64_t first = list->at[0], last = list->at[list->count - 1];
    if (last - first < list->count * CLOSE) gr_chain_prefetch(r, first, last);
}

/* Takes out what the common events reach.  They come newest first, down to the oldest event in question. */
static bool drop_common(chain_reader *r, const gr_chain_states *s, chain_list *open)
{
    marks m = {0};
    chain_list todo = {0};
    size_t next = 0, kept = 0;
    if (open->count == 0) return true;
    gr_u64s listed = s->common_above(s->arg, open->at[0]);
    chain_list list = {listed.at, listed.count, listed.count};
    gr_chain_sort(&list);
    prefetch(r, &list);
    for (size_t i = list.count; i-- > 0;) {
        for (; next < open->count; next++) {
            const chain_row *row = gr_chain_row(r, open->at[next]);
            if (reached(&m, row->chain) < row->seq) break;
        }
        if (next == open->count || list.at[i] <= open->at[next]) break;
        if (!descend_from(r, &m, &todo, list.at[i], open->at[next] - 1)) return false;
    }
    for (size_t i = 0; i < open->count; i++) {
        const chain_row *row = gr_chain_row(r, open->at[i]);
        if (reached(&m, row->chain) < row->seq) open->at[kept++] = open->at[i];
    }
    open->count = kept;
    return true;
}

bool gr_chain_difference(const gr_chain *c, gr_arena *arena, const gr_chain_states *s, gr_u64s *out)
{
    chain_reader r = {.c = c, .arena = arena};
    chain_list todo = {0}, open = {0};
    marks *all = gr_arena_alloc(arena, (s->count + 1) * sizeof *all);
    *out = (gr_u64s){0};
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->states[i].count; k++)
            if (s->states[i].at[k] && !descend_from(&r, &all[i], &todo, s->states[i].at[k], 0)) return false;
    if (!list_uneven(&r, all, s->count, &open) || !drop_common(&r, s, &open)) return false;
    *out = (gr_u64s){open.at, open.count};
    return true;
}

/* --- paths --------------------------------------------------------------------------------------------- */
static bool leads_to_marked(chain_reader *r, const chain_row *row)
{
    const chain_row *next = row->before ? gr_chain_row(r, row->before) : NULL;
    if (next && next->marked) return true;
    for (size_t i = 0; i < row->links.count; i++) {
        next = gr_chain_row(r, row->links.at[i]);
        if (next && next->marked) return true;
    }
    return false;
}

bool gr_chain_subgraph(const gr_chain *c, gr_arena *arena, gr_u64s events, gr_u64s *out)
{
    chain_reader r = {.c = c, .arena = arena};
    chain_list todo = {0}, below = {0};
    marks m = {0};
    uint64_t floor = UINT64_MAX;
    size_t kept = 0;
    *out = (gr_u64s){0};
    for (size_t i = 0; i < events.count; i++) {
        chain_row *row = gr_chain_row(&r, events.at[i]);
        if (!row) return false;
        row->marked = true;
        if (events.at[i] <= floor) floor = events.at[i] - 1;
        gr_chain_push(arena, &todo, events.at[i]);
    }
    if (!descend(&r, &m, &todo, floor)) return false;
    for (size_t i = 0; i < m.room; i++)
        if (m.at[i].chain && !list_chain(&r, &m.at[i], 0, floor, &below)) return false;
    gr_chain_sort(&below);
    for (size_t i = 0; i < below.count; i++) {
        chain_row *row = gr_chain_row(&r, below.at[i]);
        row->marked = row->marked || leads_to_marked(&r, row);
        if (row->marked) below.at[kept++] = below.at[i];
    }
    *out = (gr_u64s){below.at, kept};
    return true;
}
