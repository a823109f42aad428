/* trace_set.c - a set of trace ids that keeps the newest: a table with open addressing. See trace.h. */
#include "bus/trace.h"

#include <stdlib.h>

enum { ROOM_FIRST = 1024, SPARE = 4096 };

/* newest_us 0: free */
struct gr_trace_set {
    gr_trace_found *table;
    size_t room, count, max;
};

static gr_trace_found *place_of(const gr_trace_set *s, uint64_t trace)
{
    size_t i = (trace * 0x9e3779b97f4a7c15u) >> 20 & (s->room - 1);
    while (s->table[i].newest_us && s->table[i].trace != trace) i = (i + 1) & (s->room - 1);
    return &s->table[i];
}

static void resize(gr_trace_set *s, size_t room)
{
    gr_trace_found *old = s->table;
    size_t old_room = s->room;
    s->table = gr_alloc(room * sizeof *s->table);
    s->room = room;
    for (size_t i = 0; i < old_room; i++)
        if (old[i].newest_us) *place_of(s, old[i].trace) = old[i];
    free(old);
}

gr_trace_set *gr_trace_set_new(size_t max)
{
    gr_trace_set *s = gr_alloc(sizeof *s);
    s->max = max;
    resize(s, ROOM_FIRST);
    return s;
}

void gr_trace_set_free(gr_trace_set **at)
{
    if (!*at) return;
    free((*at)->table);
    free(*at);
    *at = NULL;
}

static int newest_first(const void *x, const void *y)
{
    const gr_trace_found *a = x, *b = y;
    if (a->newest_us != b->newest_us) return a->newest_us > b->newest_us ? -1 : 1;
    return a->trace < b->trace ? -1 : a->trace > b->trace;
}

void gr_trace_set_trim(gr_trace_set *s)
{
    if (s->count <= s->max) return;
    qsort(s->table, s->room, sizeof *s->table, newest_first);
    memset(s->table + s->max, 0, (s->room - s->max) * sizeof *s->table);
    s->count = s->max;
    resize(s, s->room);
}

void gr_trace_set_add(gr_trace_set *s, gr_trace_found found)
{
    gr_trace_found *f = place_of(s, found.trace);
    if (f->newest_us > found.newest_us) return;
    if (!f->newest_us) s->count++;
    f->trace = found.trace;
    f->newest_us = found.newest_us ? found.newest_us : 1;
    if (s->count * 2 >= s->room) resize(s, s->room * 2);
    /* Not each time: sorting is for many at once. */
    if (s->count > 2 * s->max + SPARE) gr_trace_set_trim(s);
}

bool gr_trace_set_has(const gr_trace_set *s, uint64_t trace) { return place_of(s, trace)->newest_us != 0; }

gr_trace_found *gr_trace_set_list(const gr_trace_set *s, gr_arena *a, size_t *count)
{
    gr_trace_found *list = gr_arena_alloc(a, (s->count + 1) * sizeof *list);
    *count = 0;
    for (size_t i = 0; i < s->room; i++)
        if (s->table[i].newest_us) list[(*count)++] = s->table[i];
    qsort(list, *count, sizeof *list, newest_first);
    if (*count > s->max) *count = s->max;
    return list;
}
