/* trace.c - finding traces in message logs, and making trees of them. See trace.h; printing is in
 * trace_print.c. */
#include "bus/trace.h"
#include "bus/trace_inside.h"

#include <stdlib.h>

/* --- which traces: a table by trace id --- */
typedef struct {
    uint64_t trace, newest_us;
} found;

typedef struct {
    const gr_trace_query *query;
    gr_arena *arena;
    bool is_hex;
    uint64_t hex;
    gr_str room;  /* the id, when it is a room's */
    found *table; /* open addressing; newest_us 0: free */
    size_t room_size, count;
    trace_row *rows;
    size_t row_count, row_room;
    bool is_cut;
} search;

static found *place_of(const search *s, uint64_t trace)
{
    size_t i = (trace * 0x9e3779b97f4a7c15u) >> 20 & (s->room_size - 1);
    while (s->table[i].newest_us && s->table[i].trace != trace) i = (i + 1) & (s->room_size - 1);
    return &s->table[i];
}

static void table_resize(search *s, size_t room)
{
    found *old = s->table;
    size_t old_room = s->room_size;
    s->table = gr_alloc(room * sizeof *s->table);
    s->room_size = room;
    for (size_t i = 0; i < old_room; i++)
        if (old[i].newest_us) *place_of(s, old[i].trace) = old[i];
    free(old);
}

static void add_trace(search *s, uint64_t trace, uint64_t at_us)
{
    if (s->count * 2 >= s->room_size) table_resize(s, s->room_size * 2);
    found *f = place_of(s, trace);
    if (!f->newest_us) s->count++;
    f->trace = trace;
    if (at_us >= f->newest_us) f->newest_us = at_us + 1;
}

static int newest_first(const void *x, const void *y)
{
    const found *a = x, *b = y;
    if (a->newest_us != b->newest_us) return a->newest_us > b->newest_us ? -1 : 1;
    return a->trace < b->trace ? -1 : a->trace > b->trace;
}

static void keep_newest(search *s, size_t max)
{
    if (s->count <= max) return;
    qsort(s->table, s->room_size, sizeof *s->table, newest_first);
    memset(s->table + max, 0, (s->room_size - max) * sizeof *s->table);
    s->count = max;
    table_resize(s, s->room_size);
}

/* --- what matches --- */
static bool parse_hex(gr_str s, uint64_t *out)
{
    *out = 0;
    if (s.size == 0 || s.size > 16) return false;
    for (size_t i = 0; i < s.size; i++) {
        char c = s.ptr[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false;
        *out = *out << 4 | (uint64_t)digit;
    }
    return true;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Transaction ids are logged with their endpoint before them ("send/17"). */
static bool tag_matches(gr_str tag, gr_str id)
{
    if (!gr_str_ends(tag, id)) return false;
    return tag.size == id.size || !is_alphanumeric(tag.ptr[tag.size - id.size - 1]);
}

/* The room itself, and flows below it. */
static bool is_of_room(gr_str address, gr_str room)
{
    gr_str id = gr_address_id(address);
    return gr_str_starts(id, room) && (id.size == room.size || id.ptr[room.size] == '/');
}

bool trace_row_passes(const gr_trace_query *q, const gr_log_record *r)
{
    const gr_type *type = gr_type_find(r->type);
    if (q->from_us && r->queued_us < q->from_us) return false;
    if (q->to_us && r->queued_us > q->to_us) return false;
    if (q->type.size && !(type && gr_str_is(q->type, type->name))) return false;
    return gr_str_starts(r->to, q->actor);
}

static bool look_for_traces(void *arg, const gr_logged *l)
{
    search *s = arg;
    const gr_log_record *r = &l->record;
    gr_str id = s->query->id;
    bool hit = id.size == 0   ? trace_row_passes(s->query, r)
               : s->room.size ? is_of_room(r->from, s->room) || is_of_room(r->to, s->room)
                              : (s->is_hex && r->trace == s->hex) || tag_matches(l->tag, id)
                                    || gr_str_eq(r->to, id) || gr_str_eq(r->from, id);
    if (hit) add_trace(s, r->trace, r->queued_us);
    return true;
}

static bool collect(void *arg, const gr_logged *l)
{
    search *s = arg;
    if (!place_of(s, l->record.trace)->newest_us) return true;
    if (s->row_count == GR_TRACE_MESSAGES_MAX) {
        s->is_cut = true;
        return false;
    }
    if (s->row_count == s->row_room) {
        s->row_room = s->row_room ? s->row_room * 2 : 256;
        s->rows = gr_realloc(s->rows, s->row_room * sizeof *s->rows);
    }
    trace_row *row = &s->rows[s->row_count++];
    *row = (trace_row){.logged = *l, .first_child = TRACE_NONE, .next = TRACE_NONE};
    row->logged.node = gr_arena_str(s->arena, l->node);
    row->logged.tag = gr_arena_str(s->arena, l->tag);
    row->logged.record.from = gr_arena_str(s->arena, l->record.from);
    row->logged.record.to = gr_arena_str(s->arena, l->record.to);
    row->logged.record.body = s->query->bodies ? gr_arena_str(s->arena, l->record.body) : (gr_str){0};
    return true;
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
    return low < count && spans[low].span == span ? spans[low].row : TRACE_NONE;
}

/* Links the rows of one trace, which are in order of time. Going backwards, putting each first keeps them in
 * order. */
static size_t link_tree(trace_row *rows, size_t count, gr_arena *a)
{
    span_row *spans = gr_arena_alloc(a, count * sizeof *spans);
    size_t first_root = TRACE_NONE;
    for (size_t i = 0; i < count; i++) spans[i] = (span_row){rows[i].logged.record.span, i};
    qsort(spans, count, sizeof *spans, by_span);
    for (size_t i = count; i-- > 0;) {
        uint64_t parent = rows[i].logged.record.parent;
        size_t at = parent ? row_of_span(spans, count, parent) : TRACE_NONE;
        /* A cause comes before what it caused; anything else is a damaged log, and could go in circles. */
        size_t *list = at != TRACE_NONE && at < i ? &rows[at].first_child : &first_root;
        rows[i].next = *list;
        *list = i;
    }
    return first_root;
}

static gr_err read_all(search *s, gr_logged_fn *fn)
{
    gr_err err = gr_ok();
    for (size_t i = 0; s->query->dirs[i] && !gr_failed(err); i++)
        err = gr_message_log_read(s->query->dirs[i], s->arena, fn, s);
    return err;
}

static void print_all(search *s, gr_buf *out)
{
    trace_printer p = trace_print_begin(s->query, out, s->arena);
    if (s->row_count) qsort(s->rows, s->row_count, sizeof *s->rows, by_trace_and_time);
    /* Traces in order of their first message. */
    for (size_t done = 0; done < s->count; done++) {
        size_t best = TRACE_NONE, best_end = 0;
        for (size_t i = 0, end; i < s->row_count; i = end) {
            uint64_t trace = s->rows[i].logged.record.trace;
            for (end = i; end < s->row_count && s->rows[end].logged.record.trace == trace; end++) {}
            bool earlier = best == TRACE_NONE
                           || s->rows[i].logged.record.queued_us < s->rows[best].logged.record.queued_us;
            if (s->rows[i].is_printed || !earlier) continue;
            best = i;
            best_end = end;
        }
        if (best == TRACE_NONE) break;
        s->rows[best].is_printed = true;
        trace_print(&p, &s->rows[best], best_end - best,
                    link_tree(&s->rows[best], best_end - best, s->arena));
    }
    trace_print_end(&p, s->is_cut);
}

gr_err gr_trace_print(const gr_trace_query *query, gr_arena *a, gr_buf *out)
{
    search s = {.query = query, .arena = a};
    table_resize(&s, 1024);
    s.is_hex = parse_hex(query->id, &s.hex);
    if (gr_str_starts(query->id, GR_STR("!"))) s.room = query->id;
    gr_err err = read_all(&s, look_for_traces);
    keep_newest(&s, query->traces_max ? query->traces_max : GR_TRACES_MAX);
    if (!gr_failed(err)) err = read_all(&s, collect);
    if (!gr_failed(err) && s.row_count == 0)
        err = gr_failf(a, GR_NOT_FOUND,
                       "no message in the log belongs to '%" GR_FMT "'; "
                       "records are kept for as long as message_log says",
                       GR_ARG(query->id));
    if (!gr_failed(err)) print_all(&s, out);
    free(s.table);
    free(s.rows);
    return err;
}
