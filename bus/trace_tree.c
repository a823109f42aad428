/* trace_tree.c - the messages that were picked out of several logs, their clocks corrected, as trees. See trace.h;
 * printing is in trace_print.c. */
#include "bus/trace_inside.h"

#include <stdlib.h>

/* What the logs say about the clock of one node. */
typedef struct {
    gr_str node;
    bool has_own, has_theirs;      /* measured by itself; by the reference */
    int64_t own_first, own_us, theirs_us;
} clock_seen;

typedef struct {
    gr_arena *arena;
    bool bodies, is_cut;
    gr_str reference;
    trace_row *rows;
    size_t count, room;
    clock_seen clocks[GR_CLUSTER_NODES_MAX];
    size_t clock_count;
} gathering;

/* --- reading --- */
/* NULL: there are too many nodes. */
static clock_seen *clock_of(gathering *g, gr_str node)
{
    size_t i = 0;
    while (i < g->clock_count && !gr_str_eq(g->clocks[i].node, node)) i++;
    if (i == GR_CLUSTER_NODES_MAX) return NULL;
    if (i == g->clock_count) g->clocks[g->clock_count++] = (clock_seen){.node = gr_arena_str(g->arena, node)};
    return &g->clocks[i];
}

static void on_clock(void *arg, gr_str node, const gr_log_clock *clock)
{
    gathering *g = arg;
    if (g->reference.size == 0) g->reference = gr_arena_str(g->arena, node);
    bool is_own = gr_str_eq(clock->peer, g->reference), is_theirs = gr_str_eq(node, g->reference);
    clock_seen *c = is_own ? clock_of(g, node) : is_theirs ? clock_of(g, clock->peer) : NULL;
    if (!c || is_own == is_theirs) return;
    if (is_theirs) {
        c->has_theirs = true;
        c->theirs_us = -clock->offset_us;
        return;
    }
    if (!c->has_own) c->own_first = clock->offset_us;
    c->has_own = true;
    c->own_us = clock->offset_us;
}

static bool on_message(void *arg, const gr_logged *l)
{
    gathering *g = arg;
    if (g->count == GR_TRACE_MESSAGES_MAX) {
        g->is_cut = true;
        return false;
    }
    if (g->count == g->room) {
        g->room = g->room ? g->room * 2 : 256;
        g->rows = gr_realloc(g->rows, g->room * sizeof *g->rows);
    }
    if (g->reference.size == 0) g->reference = gr_arena_str(g->arena, l->node);
    const clock_seen *c = clock_of(g, l->node);
    trace_row *row = &g->rows[g->count++];
    *row = (trace_row){.logged = *l, .first_child = TRACE_NONE, .next = TRACE_NONE};
    row->is_shift_known = gr_str_eq(l->node, g->reference) || (c && c->has_own);
    row->shift_us = c && c->has_own ? c->own_us : 0;
    row->logged.node = gr_arena_str(g->arena, l->node);
    row->logged.tag = gr_arena_str(g->arena, l->tag);
    row->logged.record.from = gr_arena_str(g->arena, l->record.from);
    row->logged.record.to = gr_arena_str(g->arena, l->record.to);
    row->logged.record.body = g->bodies ? gr_arena_str(g->arena, l->record.body) : (gr_str){0};
    return true;
}

/* --- clocks --- */
/* What is known of a node's clock when nothing was measured before the message. */
static bool shift_of(gathering *g, gr_str node, int64_t *shift_us)
{
    const clock_seen *c = clock_of(g, node);
    *shift_us = !c ? 0 : c->has_own ? c->own_first : c->has_theirs ? c->theirs_us : 0;
    return gr_str_eq(node, g->reference) || (c && (c->has_own || c->has_theirs));
}

static void shift(uint64_t *time_us, int64_t by_us)
{
    if (*time_us) *time_us += (uint64_t)by_us;
}

static void correct(gathering *g)
{
    for (size_t i = 0; i < g->count; i++) {
        trace_row *row = &g->rows[i];
        gr_log_record *r = &row->logged.record;
        if (!row->is_shift_known) row->is_shift_known = shift_of(g, row->logged.node, &row->shift_us);
        uint64_t *const times[] = {&r->queued_us, &r->started_us, &r->handled_us, &r->committed_us, &r->released_us};
        for (size_t k = 0; k < sizeof times / sizeof times[0]; k++) shift(times[k], row->shift_us);
    }
}

static trace_clock *clocks_for_print(gathering *g, size_t *count)
{
    trace_clock *out = gr_arena_alloc(g->arena, (g->clock_count + 1) * sizeof *out);
    *count = 0;
    for (size_t i = 0; i < g->clock_count; i++) {
        trace_clock c = {.node = g->clocks[i].node};
        if (gr_str_eq(c.node, g->reference)) continue;
        c.is_known = shift_of(g, c.node, &c.shift_us);
        if (g->clocks[i].has_own) c.shift_us = g->clocks[i].own_us;
        out[(*count)++] = c;
    }
    return out;
}

/* --- trees --- */
static int by_trace_and_time(const void *x, const void *y)
{
    const gr_log_record *a = &((const trace_row *)x)->logged.record,
                        *b = &((const trace_row *)y)->logged.record;
    if (a->trace != b->trace) return a->trace < b->trace ? -1 : 1;
    if (a->queued_us != b->queued_us) return a->queued_us < b->queued_us ? -1 : 1;
    return a->span < b->span ? -1 : a->span > b->span;
}

typedef struct {
    uint64_t span;
    size_t row;
} span_row;

static int by_span(const void *x, const void *y)
{
    const span_row *a = x, *b = y;
    if (a->span != b->span) return a->span < b->span ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

static size_t row_of_span(const span_row *spans, size_t count, uint64_t span)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (spans[middle].span < span) low = middle + 1;
        else high = middle;
    }
    return span && low < count && spans[low].span == span ? spans[low].row : TRACE_NONE;
}

/* A damaged log could go in circles, and what is too deep is not printed in its place: such a row has no cause. */
static bool is_rooted(const size_t *causes, size_t row)
{
    size_t at = causes[row];
    for (int depth = 0; depth < TRACE_DEPTH_MAX; depth++) {
        if (at == TRACE_NONE) return true;
        if (at == row) return false;
        at = causes[at];
    }
    return false;
}

/* The node that a message came from: that of its cause, or the one that the address of an edge names. */
static bool sender_shift(gathering *g, const trace_row *row, const trace_row *cause, int64_t *shift_us)
{
    gr_str from = row->logged.record.from, id = gr_address_id(from);
    if (cause && gr_str_eq(cause->logged.record.to, from)) {
        *shift_us = cause->shift_us;
        return cause->is_shift_known;
    }
    ptrdiff_t slash = gr_str_find(id, '/');
    if (gr_address_kind(from) != GR_KIND_EDGE || slash < 0) return false;
    return shift_of(g, gr_str_head(id, (size_t)slash), shift_us);
}

static void measure_wire(gathering *g, trace_row *row, const trace_row *cause)
{
    const gr_log_record *r = &row->logged.record;
    int64_t shift_us;
    row->has_wire = r->sent_us && row->is_shift_known && sender_shift(g, row, cause, &shift_us);
    if (!row->has_wire) return;
    uint64_t sent_us = r->sent_us + (uint64_t)shift_us;
    row->wire_us = r->queued_us > sent_us ? r->queued_us - sent_us : 0; /* clocks are known about to a round trip */
}

/* Links the rows of one trace, which are in order of time. Going backwards, putting each first keeps them in
 * order. */
static size_t link_tree(gathering *g, trace_row *rows, size_t count)
{
    span_row *spans = gr_arena_alloc(g->arena, count * sizeof *spans);
    size_t *causes = gr_arena_alloc(g->arena, count * sizeof *causes), first_root = TRACE_NONE;
    for (size_t i = 0; i < count; i++) spans[i] = (span_row){rows[i].logged.record.span, i};
    qsort(spans, count, sizeof *spans, by_span);
    for (size_t i = 0; i < count; i++) causes[i] = row_of_span(spans, count, rows[i].logged.record.parent);
    for (size_t i = count; i-- > 0;) {
        size_t cause = is_rooted(causes, i) ? causes[i] : TRACE_NONE;
        size_t *list = cause != TRACE_NONE ? &rows[cause].first_child : &first_root;
        rows[i].next = *list;
        *list = i;
        measure_wire(g, &rows[i], cause != TRACE_NONE ? &rows[cause] : NULL);
    }
    return first_root;
}

static bool has_passing(const gr_trace_query *q, const trace_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (trace_row_passes(q, &rows[i].logged.record)) return true;
    return false;
}

/* Traces in order of their first message. Returns how many. */
static size_t print_all(gathering *g, trace_printer *p)
{
    size_t printed = 0;
    for (;;) {
        size_t best = TRACE_NONE, best_end = 0;
        for (size_t i = 0, end; i < g->count; i = end) {
            uint64_t trace = g->rows[i].logged.record.trace;
            for (end = i; end < g->count && g->rows[end].logged.record.trace == trace; end++) {}
            bool earlier = best == TRACE_NONE
                           || g->rows[i].logged.record.queued_us < g->rows[best].logged.record.queued_us;
            if (g->rows[i].is_printed || !earlier) continue;
            best = i;
            best_end = end;
        }
        if (best == TRACE_NONE) return printed;
        trace_row *rows = &g->rows[best];
        size_t count = best_end - best, first_root = link_tree(g, rows, count);
        rows[0].is_printed = true;
        if (!has_passing(p->query, rows, count)) continue;
        trace_print(p, rows, count, first_root);
        printed++;
    }
}

gr_err gr_trace_draw(const gr_trace_query *query, const gr_trace_parts *parts, gr_arena *a, gr_buf *out)
{
    gathering *g = gr_arena_alloc(a, sizeof *g);
    *g = (gathering){.arena = a, .bodies = query->bodies};
    gr_log_reader reader = {.message = on_message, .clock = on_clock, .arg = g};
    for (size_t i = 0; i < parts->segment_count; i++) gr_message_log_read_segment(parts->segments[i], &reader);
    correct(g);
    if (g->count) qsort(g->rows, g->count, sizeof *g->rows, by_trace_and_time);
    gr_trace_parts all = *parts;
    all.is_cut = parts->is_cut || g->is_cut;
    trace_printer p = trace_print_begin(query, out, a);
    p.reference = g->reference;
    p.clocks = clocks_for_print(g, &p.clock_count);
    size_t printed = print_all(g, &p);
    trace_print_end(&p, &all);
    free(g->rows);
    if (printed) return gr_ok();
    return gr_failf(a, GR_NOT_FOUND,
                    "no message in the log belongs to '%" GR_FMT "'; "
                    "records are kept for as long as message_log says",
                    GR_ARG(query->id));
}
