/* trace_wire.c - see trace_wire.h. */
#include "edge/trace_wire.h"

#include <inttypes.h>
#include <stdio.h>

bool gr_trace_wire_place_read(gr_str text, gr_log_place *place)
{
    ptrdiff_t colon = gr_str_find(text, ':');
    if (text.size == 0) return true;
    return colon > 0 && gr_str_u64(gr_str_head(text, (size_t)colon), &place->segment)
           && gr_str_u64(gr_str_from(text, (size_t)colon + 1), &place->offset);
}

void gr_trace_wire_place_write(gr_jw *w, const char *key, const gr_log_place *place)
{
    char text[48];
    snprintf(text, sizeof text, "%" PRIu64 ":%" PRIu64, place->segment, place->offset);
    gr_jw_kc(w, key, text);
}

void gr_trace_wire_query_write(gr_jw *w, const gr_trace_query *q)
{
    gr_jw_kstr(w, "id", q->id);
    gr_jw_kstr(w, "actor", q->actor);
    gr_jw_kstr(w, "type", q->type);
    gr_jw_kint(w, "from_us", (int64_t)q->from_us);
    gr_jw_kint(w, "to_us", (int64_t)q->to_us);
}

void gr_trace_wire_query_read(const gr_json *json, gr_trace_query *q)
{
    *q = (gr_trace_query){.id = gr_json_text(json, "id"),
                          .actor = gr_json_text(json, "actor"),
                          .type = gr_json_text(json, "type"),
                          .from_us = (uint64_t)gr_json_integer(gr_json_get(json, "from_us"), 0),
                          .to_us = (uint64_t)gr_json_integer(gr_json_get(json, "to_us"), 0)};
}

static void id_text(uint64_t id, char out[20]) { snprintf(out, 20, "%016" PRIx64, id); }

void gr_trace_wire_traces_write(gr_jw *w, gr_arena *a, const gr_trace_set *set)
{
    size_t count;
    char id[20];
    const gr_trace_found *list = gr_trace_set_list(set, a, &count);
    gr_jw_key(w, "traces");
    gr_jw_array(w);
    for (size_t i = 0; i < count; i++) {
        id_text(list[i].trace, id);
        gr_jw_str(w, gr_str_c(id));
    }
    gr_jw_end_array(w);
}

void gr_trace_wire_found_write(gr_buf *out, gr_arena *a, const gr_trace_set *set, const gr_log_place *end)
{
    size_t count;
    char id[20];
    const gr_trace_found *list = gr_trace_set_list(set, a, &count);
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_key(&w, "traces");
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        id_text(list[i].trace, id);
        gr_jw_object(&w);
        gr_jw_kc(&w, "trace", id);
        gr_jw_kint(&w, "newest_us", (int64_t)list[i].newest_us);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_trace_wire_place_write(&w, "end", end);
    gr_jw_end_object(&w);
}

bool gr_trace_wire_found_read(gr_arena *a, gr_str text, gr_trace_set *set, gr_log_place *end)
{
    const gr_json *json = NULL;
    if (gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &json))) return false;
    const gr_json *traces = gr_json_get(json, "traces");
    bool good = gr_json_is(traces, GR_JSON_ARRAY) && gr_trace_wire_place_read(gr_json_text(json, "end"), end);
    for (uint32_t i = 0; good && i < traces->count; i++) {
        gr_trace_found found = {.newest_us = (uint64_t)gr_json_integer(gr_json_get(&traces->items[i], "newest_us"), 0)};
        good = gr_trace_id_read(gr_json_text(&traces->items[i], "trace"), &found.trace);
        if (good) gr_trace_set_add(set, found);
    }
    return good;
}
