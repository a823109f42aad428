/* admin_trace.c - what a node contributes to `greenroom trace`: its message log, searched. See bus/trace.h.
 *
 *   POST /trace/find {"id", "actor", "type", "from_us", "to_us", "max", "from"}
 *        -> {"traces": [{"trace": <hex>, "newest_us"} ..], "end": <place>}
 *   POST /trace/pick {"traces": [<hex> ..], "bodies", "from", "to"} -> a segment; status 206 when it was cut
 *
 * Places are "segment:offset" as gr_log_place; empty: no bound.
 */
#include "edge/admin_inside.h"
#include "edge/trace_wire.h"

enum { TRACES_MAX = 10000 };

static gr_err find(gr_arena *a, const char *dir, const gr_json *request, gr_buf *out)
{
    gr_log_place from = {0}, end;
    gr_trace_query query;
    int64_t max = gr_json_integer(gr_json_get(request, "max"), 0);
    gr_trace_wire_query_read(request, &query);
    if (!gr_trace_wire_place_read(gr_json_text(request, "from"), &from) || max < 1 || max > TRACES_MAX)
        return gr_fail(GR_INVALID_PARAM, "give max, from 1 to 10000, and as from a place or nothing");
    gr_trace_set *set = gr_trace_set_new((size_t)max);
    gr_err err = gr_trace_find(dir, &query, &from, a, set, &end);
    if (!gr_failed(err)) gr_trace_wire_found_write(out, a, set, &end);
    gr_trace_set_free(&set);
    return err;
}

static gr_err pick(gr_arena *a, const char *dir, const gr_json *request, gr_admin_answer *made)
{
    gr_log_place from = {0}, to = {UINT64_MAX, UINT64_MAX};
    const gr_json *traces = gr_json_get(request, "traces");
    bool is_cut = false;
    if (!gr_json_is(traces, GR_JSON_ARRAY) || traces->count > TRACES_MAX
        || !gr_trace_wire_place_read(gr_json_text(request, "from"), &from)
        || !gr_trace_wire_place_read(gr_json_text(request, "to"), &to))
        return gr_fail(GR_INVALID_PARAM, "give at most 10000 traces, and as from and to a place or nothing");
    gr_trace_set *set = gr_trace_set_new(TRACES_MAX);
    for (uint32_t i = 0; i < traces->count; i++) {
        gr_trace_found found = {.newest_us = 1};
        if (gr_trace_id_read(gr_json_string(&traces->items[i]), &found.trace)) gr_trace_set_add(set, found);
    }
    bool bodies = gr_json_boolean(gr_json_get(request, "bodies"), false);
    gr_err err = gr_trace_pick(dir, set, bodies, &from, &to, a, &made->body, &is_cut);
    gr_trace_set_free(&set);
    made->content_type = GR_STR("application/octet-stream");
    if (is_cut) made->status = GR_TRACE_WIRE_CUT;
    return err;
}

gr_err gr_admin_trace(gr_admin *admin, gr_arena *a, const gr_admin_request *r, gr_admin_answer *made)
{
    const gr_json *request = NULL;
    const char *dir = gr_arena_printf(a, "%s/messages", admin->dir).ptr;
    gr_err err = gr_json_parse(a, r->body, GR_JSON_LAX, &request);
    if (gr_failed(err)) return err;
    if (gr_str_is(r->path, "/trace/find")) return find(a, dir, request, &made->body);
    if (gr_str_is(r->path, "/trace/pick")) return pick(a, dir, request, made);
    return gr_fail(GR_UNRECOGNIZED, "the admin socket has no such route");
}
