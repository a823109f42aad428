/* trace_source.c - see trace_source.h. */
#include "edge/trace_source.h"
#include "edge/trace_wire.h"

bool gr_trace_sources_of(gr_trace_sources *s, gr_arena *a, const char *dir)
{
    size_t count = 0;
    gr_admin_node_answer *nodes = gr_admin_client_nodes(a, dir, &count);
    if (!nodes) return false;
    s->dir = dir;
    s->folders[s->folder_count++] = gr_arena_printf(a, "%s/messages", dir).ptr;
    s->own = nodes;
    s->nodes = nodes + 1;
    s->node_count = count - 1;
    return true;
}

static gr_log_place *from_of_node(gr_trace_sources *s, size_t node) { return &s->from[s->folder_count + node]; }
static gr_log_place *to_of_node(gr_trace_sources *s, size_t node) { return &s->to[s->folder_count + node]; }

static gr_str taken(gr_arena *a, gr_buf *b)
{
    gr_str copy = gr_arena_str(a, gr_buf_view(b));
    gr_buf_free(b);
    return copy;
}

/* --- finding --- */
static gr_str find_request(gr_arena *a, const gr_trace_query *q, size_t max, const gr_log_place *from)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_trace_wire_query_write(&w, q);
    gr_jw_kint(&w, "max", (int64_t)max);
    gr_trace_wire_place_write(&w, "from", from);
    gr_jw_end_object(&w);
    return taken(a, &out);
}

gr_err gr_trace_sources_find(gr_trace_sources *s, const gr_trace_query *q, size_t max, gr_arena *a, gr_trace_set *set)
{
    for (size_t i = 0; i < s->folder_count; i++) {
        gr_err err = gr_trace_find(s->folders[i], q, &s->from[i], a, set, &s->to[i]);
        if (gr_failed(err) && !s->own) return err;
        if (gr_failed(err)) s->own->why = err.text;
    }
    for (size_t i = 0; i < s->node_count; i++) s->nodes[i].request = find_request(a, q, max, from_of_node(s, i));
    gr_admin_client_ask_nodes(a, s->dir, "/trace/find", s->nodes, s->node_count);
    for (size_t i = 0; i < s->node_count; i++)
        if (!s->nodes[i].why && !gr_trace_wire_found_read(a, s->nodes[i].answer, set, to_of_node(s, i)))
            s->nodes[i].why = "its answer can't be read";
    return gr_ok();
}

/* --- picking --- */
static gr_str pick_request(gr_arena *a, const gr_trace_set *set, bool bodies, const gr_log_place *from,
                           const gr_log_place *to)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_trace_wire_traces_write(&w, a, set);
    gr_jw_kbool(&w, "bodies", bodies);
    gr_trace_wire_place_write(&w, "from", from);
    gr_trace_wire_place_write(&w, "to", to);
    gr_jw_end_object(&w);
    return taken(a, &out);
}

static void add_missing(gr_trace_parts *parts, gr_arena *a, const gr_trace_sources *s)
{
    gr_trace_missing *missing = gr_arena_alloc(a, (s->node_count + 1) * sizeof *missing);
    size_t all = s->own ? s->node_count + 1 : 0; /* the own one lies before the others */
    for (size_t i = 0; i < all; i++)
        if (s->own[i].why) missing[parts->missing_count++] = (gr_trace_missing){s->own[i].node, gr_str_c(s->own[i].why)};
    parts->missing = missing;
}

gr_err gr_trace_sources_pick(gr_trace_sources *s, const gr_trace_query *q, const gr_trace_set *set, gr_arena *a,
                             gr_trace_parts *parts)
{
    gr_str *segments = gr_arena_alloc(a, (s->folder_count + s->node_count + 1) * sizeof *segments);
    *parts = (gr_trace_parts){.segments = segments};
    for (size_t i = s->own && s->own->why ? 1 : 0; i < s->folder_count; i++) {
        gr_buf out = {0};
        bool is_cut = false;
        gr_err err = gr_trace_pick(s->folders[i], set, q->bodies, &s->from[i], &s->to[i], a, &out, &is_cut);
        segments[parts->segment_count++] = taken(a, &out);
        parts->is_cut = parts->is_cut || is_cut;
        if (gr_failed(err)) return err;
    }
    for (size_t i = 0; i < s->node_count; i++)
        s->nodes[i].request = pick_request(a, set, q->bodies, from_of_node(s, i), to_of_node(s, i));
    gr_admin_client_ask_nodes(a, s->dir, "/trace/pick", s->nodes, s->node_count);
    for (size_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i].why) continue;
        segments[parts->segment_count++] = s->nodes[i].answer;
        parts->is_cut = parts->is_cut || s->nodes[i].status == GR_TRACE_WIRE_CUT;
    }
    add_missing(parts, a, s);
    return gr_ok();
}

void gr_trace_sources_go_on(gr_trace_sources *s)
{
    if (s->own) s->own->why = NULL;
    for (size_t i = 0; i < s->folder_count; i++) s->from[i] = s->to[i];
    for (size_t i = 0; i < s->node_count; i++) {
        if (!s->nodes[i].why) *from_of_node(s, i) = *to_of_node(s, i);
        s->nodes[i].why = NULL;
    }
}
