/* trace_print.c - a trace as an indented tree for people, or as JSON. See trace.h. */
#include "bus/trace_inside.h"
#include "proto/printable.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { INDENT = 2, TIMES = 6, TIME_WIDTH = 14 };

static const char *verb_name(gr_verb verb)
{
    static const char *const names[] = {"", "tell", "ask", "post", "reply", "control"};
    return names[verb];
}

static gr_str type_name(gr_arena *a, unsigned id)
{
    const gr_type *type = gr_type_find(id);
    return type ? gr_str_c(type->name) : gr_arena_printf(a, "type-%u", id);
}

/* Names come from strangers, and logs from anywhere: nothing in them may drive a terminal, or break JSON. */
static gr_str shown(trace_printer *p, gr_str text)
{
    gr_buf out = {0};
    gr_printable_add(&out, text);
    gr_str copy = gr_arena_str(p->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return copy;
}

static gr_str json_text(trace_printer *p, gr_str text) { return gr_str_utf8(text) ? text : shown(p, text); }

static uint64_t ended_us(const gr_log_record *r)
{
    return r->released_us    ? r->released_us
           : r->committed_us ? r->committed_us
           : r->handled_us   ? r->handled_us
                             : r->queued_us;
}

typedef struct {
    uint64_t first_us, total_us, dropped;
    size_t commits;
} summary;

static summary summarise(const trace_row *rows, size_t count)
{
    summary s = {.first_us = rows[0].logged.record.queued_us};
    for (size_t i = 0; i < count; i++) {
        const gr_log_record *r = &rows[i].logged.record;
        if (ended_us(r) > s.first_us + s.total_us) s.total_us = ended_us(r) - s.first_us;
        if (r->committed_us) s.commits++;
        s.dropped += rows[i].logged.dropped;
    }
    return s;
}

/* --- text --- */
static void print_ms(gr_buf *out, uint64_t us)
{
    gr_buf_printf(out, " %9" PRIu64 ".%03" PRIu64, us / 1000, us % 1000);
}

static void print_span(gr_buf *out, uint64_t from_us, uint64_t to_us)
{
    if (to_us == 0) gr_buf_printf(out, " %13s", "-");
    else print_ms(out, to_us > from_us ? to_us - from_us : 0);
}

static void text_body(trace_printer *p, const trace_row *row, unsigned depth)
{
    const gr_log_record *r = &row->logged.record;
    const gr_type *type = gr_type_find(r->type);
    void *body = NULL;
    if (r->body.size == 0 || !type || gr_failed(gr_body_decode(p->arena, type, r->body, &body))) return;
    gr_buf_printf(p->out, "%*s", TIMES * TIME_WIDTH + (int)p->node_width + 6 + INDENT * (int)depth, "");
    gr_buf text = {0};
    gr_body_print(&text, type, body, true);
    gr_printable_add(p->out, gr_buf_view(&text));
    gr_buf_char(p->out, '\n');
    gr_buf_free(&text);
}

static void text_row(trace_printer *p, const trace_row *row, uint64_t first_us, unsigned depth)
{
    const gr_log_record *r = &row->logged.record;
    print_ms(p->out, r->queued_us - first_us);
    if (row->has_wire) print_ms(p->out, row->wire_us);
    else gr_buf_printf(p->out, " %13s", "-");
    print_span(p->out, r->queued_us, r->started_us);
    print_span(p->out, r->started_us, r->handled_us);
    print_span(p->out, r->handled_us, r->committed_us);
    print_span(p->out, r->committed_us ? r->committed_us : r->handled_us, r->released_us);
    gr_str type = type_name(p->arena, r->type);
    gr_buf_printf(p->out, "  %-*.*s  %*s%" GR_FMT "  %s %" GR_FMT, (int)p->node_width, GR_ARG(shown(p, row->logged.node)),
                  INDENT * (int)depth, "", GR_ARG(shown(p, r->to)), verb_name(r->verb), GR_ARG(type));
    gr_buf_printf(p->out, "  from %" GR_FMT, GR_ARG(shown(p, r->from)));
    if (row->logged.tag.size) gr_buf_printf(p->out, "  [%" GR_FMT "]", GR_ARG(shown(p, row->logged.tag)));
    gr_buf_char(p->out, '\n');
    text_body(p, row, depth);
}

static bool is_of_trace(const trace_row *rows, size_t count, gr_str node)
{
    for (size_t i = 0; i < count; i++)
        if (gr_str_eq(rows[i].logged.node, node)) return true;
    return false;
}

/* Of each node that took part but the one that tells the times. */
static void text_clocks(trace_printer *p, const trace_row *rows, size_t count)
{
    for (size_t i = 0; i < p->clock_count; i++) {
        const trace_clock *c = &p->clocks[i];
        int64_t us = c->shift_us < 0 ? -c->shift_us : c->shift_us;
        if (!is_of_trace(rows, count, c->node)) continue;
        gr_buf_printf(p->out, "  the clock of %" GR_FMT, GR_ARG(shown(p, c->node)));
        if (c->is_known)
            gr_buf_printf(p->out, " is %" PRId64 ".%03" PRId64 " ms %s that of %" GR_FMT ": corrected\n", us / 1000,
                          us % 1000, c->shift_us > 0 ? "behind" : "ahead of", GR_ARG(shown(p, p->reference)));
        else gr_buf_c(p->out, " is not known: its times are as it saw them\n");
    }
}

static void text_head(trace_printer *p, const trace_row *rows, size_t count, const summary *s)
{
    p->node_width = sizeof "node" - 1;
    for (size_t i = 0; i < count; i++)
        if (rows[i].logged.node.size > p->node_width) p->node_width = rows[i].logged.node.size;
    time_t seconds = (time_t)(s->first_us / 1000000);
    struct tm tm;
    char when[40];
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", gmtime_r(&seconds, &tm));
    gr_buf_printf(p->out,
                  "trace %016" PRIx64 "  %s.%03u UTC  %" PRIu64 ".%03" PRIu64
                  " ms  %zu message%s  %zu of them committed\n",
                  rows[0].logged.record.trace, when, (unsigned)(s->first_us / 1000 % 1000),
                  s->total_us / 1000, s->total_us % 1000, count, count == 1 ? "" : "s", s->commits);
    if (s->dropped)
        gr_buf_printf(p->out, "  %" PRIu64 " records of this time were lost: the log could not keep up\n",
                      s->dropped);
    text_clocks(p, rows, count);
    gr_buf_printf(p->out, " %13s %13s %13s %13s %13s %13s  %-*s  actor (times in ms)\n", "at", "wire", "queued",
                  "handled", "committed", "released", (int)p->node_width, "node");
}

/* --- JSON --- */
static void json_hex(gr_jw *w, const char *key, uint64_t number)
{
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, number);
    gr_jw_kc(w, key, text);
}

static void json_time(gr_jw *w, const char *key, uint64_t us)
{
    gr_jw_key(w, key);
    if (us) gr_jw_int(w, (int64_t)us);
    else gr_jw_null(w);
}

static void json_body(trace_printer *p, const gr_log_record *r)
{
    const gr_type *type = gr_type_find(r->type);
    void *body = NULL;
    gr_buf text = {0};
    if (r->body.size == 0 || !type || gr_failed(gr_body_decode(p->arena, type, r->body, &body))) return;
    gr_body_print(&text, type, body, true);
    gr_jw_kraw(&p->writer, "body", gr_buf_view(&text));
    gr_buf_free(&text);
}

static void json_row(trace_printer *p, const trace_row *row, unsigned depth)
{
    const gr_log_record *r = &row->logged.record;
    gr_jw *w = &p->writer;
    gr_jw_object(w);
    gr_jw_kint(w, "depth", depth);
    json_hex(w, "span", r->span);
    json_hex(w, "parent", r->parent);
    gr_jw_kstr(w, "node", json_text(p, row->logged.node));
    gr_jw_kstr(w, "actor", json_text(p, r->to));
    gr_jw_kstr(w, "from", json_text(p, r->from));
    gr_jw_kc(w, "verb", verb_name(r->verb));
    gr_jw_kstr(w, "type", type_name(p->arena, r->type));
    if (row->logged.tag.size) gr_jw_kstr(w, "tag", json_text(p, row->logged.tag));
    gr_jw_kint(w, "size", r->body_size);
    gr_jw_key(w, "wire_us");
    if (row->has_wire) gr_jw_int(w, (int64_t)row->wire_us);
    else gr_jw_null(w);
    json_time(w, "queued_us", r->queued_us);
    json_time(w, "started_us", r->started_us);
    json_time(w, "handled_us", r->handled_us);
    json_time(w, "committed_us", r->committed_us);
    json_time(w, "released_us", r->released_us);
    json_body(p, r);
    gr_jw_end_object(w);
}

static void json_clocks(trace_printer *p)
{
    gr_jw *w = &p->writer;
    gr_jw_kstr(w, "clock", json_text(p, p->reference));
    gr_jw_key(w, "clocks");
    gr_jw_array(w);
    for (size_t i = 0; i < p->clock_count; i++) {
        gr_jw_object(w);
        gr_jw_kstr(w, "node", json_text(p, p->clocks[i].node));
        gr_jw_key(w, "ahead_us");
        if (p->clocks[i].is_known) gr_jw_int(w, -p->clocks[i].shift_us);
        else gr_jw_null(w);
        gr_jw_end_object(w);
    }
    gr_jw_end_array(w);
}

static void json_missing(gr_jw *w, const gr_trace_parts *parts)
{
    gr_jw_key(w, "missing");
    gr_jw_array(w);
    for (size_t i = 0; i < parts->missing_count; i++) {
        gr_jw_object(w);
        gr_jw_kstr(w, "node", parts->missing[i].node);
        gr_jw_kstr(w, "why", parts->missing[i].why);
        gr_jw_end_object(w);
    }
    gr_jw_end_array(w);
}

/* --- the tree --- */
static void print_rows(trace_printer *p, const trace_row *rows, size_t first, uint64_t first_us,
                       unsigned depth)
{
    for (size_t i = first; i != TRACE_NONE; i = rows[i].next) {
        bool passes = trace_row_passes(p->query, &rows[i].logged.record);
        if (passes && p->query->json) json_row(p, &rows[i], depth);
        else if (passes) text_row(p, &rows[i], first_us, depth);
        print_rows(p, rows, rows[i].first_child, first_us, depth + passes);
    }
}

trace_printer trace_print_begin(const gr_trace_query *query, gr_buf *out, gr_arena *a)
{
    trace_printer p = {.query = query, .out = out, .arena = a, .writer = gr_jw_begin(out)};
    if (!query->json) return p;
    gr_jw_object(&p.writer);
    gr_jw_key(&p.writer, "traces");
    gr_jw_array(&p.writer);
    return p;
}

void trace_print(trace_printer *p, const trace_row *rows, size_t count, size_t first_root)
{
    summary s = summarise(rows, count);
    gr_jw *w = &p->writer;
    if (!p->query->json) {
        text_head(p, rows, count, &s);
        print_rows(p, rows, first_root, s.first_us, 0);
        return;
    }
    gr_jw_object(w);
    json_hex(w, "trace", rows[0].logged.record.trace);
    gr_jw_kint(w, "started_us", (int64_t)s.first_us);
    gr_jw_kint(w, "total_us", (int64_t)s.total_us);
    gr_jw_kint(w, "count", (int64_t)count);
    gr_jw_kint(w, "committed", (int64_t)s.commits);
    gr_jw_kint(w, "dropped", (int64_t)s.dropped);
    gr_jw_key(w, "messages");
    gr_jw_array(w);
    print_rows(p, rows, first_root, s.first_us, 0);
    gr_jw_end_array(w);
    gr_jw_end_object(w);
}

void gr_trace_print_missing(const gr_trace_parts *parts, gr_buf *out)
{
    for (size_t i = 0; i < parts->missing_count; i++)
        gr_buf_printf(out, "%" GR_FMT " is missing: %" GR_FMT "\n", GR_ARG(parts->missing[i].node),
                      GR_ARG(parts->missing[i].why));
}

void trace_print_end(trace_printer *p, const gr_trace_parts *parts)
{
    if (!p->query->json) {
        if (parts->is_cut) gr_buf_c(p->out, "There are more messages than this; ask for fewer traces.\n");
        gr_trace_print_missing(parts, p->out);
        return;
    }
    gr_jw_end_array(&p->writer);
    json_clocks(p);
    json_missing(&p->writer, parts);
    gr_jw_kbool(&p->writer, "cut", parts->is_cut);
    gr_jw_end_object(&p->writer);
    gr_buf_char(p->out, '\n');
}
