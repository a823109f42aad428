/* sync_filter.c - filters as /sync applies them to what is not in timelines. See sync.h; "Filtering". */
#include "edge/sync.h"

/* "*" stands for any characters, anywhere in the pattern: on a mismatch the last one takes one character more. */
static bool type_matches(gr_str pattern, gr_str type)
{
    size_t p = 0, after_star = SIZE_MAX, taken = 0;
    for (size_t t = 0; t < type.size;) {
        if (p < pattern.size && pattern.ptr[p] == '*') {
            after_star = ++p;
            taken = t;
        } else if (p < pattern.size && pattern.ptr[p] == type.ptr[t]) {
            p++;
            t++;
        } else if (after_star != SIZE_MAX) {
            p = after_star;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.ptr[p] == '*') p++;
    return p == pattern.size;
}

static bool listed(const gr_json *list, gr_str value, bool (*matches)(gr_str, gr_str))
{
    for (uint32_t i = 0; i < list->count; i++)
        if (matches(gr_json_string(&list->items[i]), value)) return true;
    return false;
}

/* yes: the only ones wanted, when given; no: those not wanted, which wins. */
static bool passes(const gr_json *filter, const char *yes, const char *no, gr_str value, bool (*matches)(gr_str, gr_str))
{
    const gr_json *wanted = gr_json_get(filter, yes), *unwanted = gr_json_get(filter, no);
    if (gr_json_is(unwanted, GR_JSON_ARRAY) && listed(unwanted, value, matches)) return false;
    return !gr_json_is(wanted, GR_JSON_ARRAY) || listed(wanted, value, matches);
}

bool gr_sync_filter_type(const gr_json *filter, gr_str type) { return passes(filter, "types", "not_types", type, type_matches); }
bool gr_sync_filter_room(const gr_json *filter, gr_str room) { return passes(filter, "rooms", "not_rooms", room, gr_str_eq); }

gr_str gr_sync_filter_events(gr_arena *a, const gr_json *filter, gr_str events)
{
    const gr_json *list = NULL;
    if (events.size == 0 || !gr_json_is(filter, GR_JSON_OBJECT)) return events;
    if (gr_failed(gr_json_parse(a, events, GR_JSON_LAX, &list)) || !gr_json_is(list, GR_JSON_ARRAY)) return events;
    int64_t limit = gr_json_integer(gr_json_get(filter, "limit"), INT64_MAX);
    gr_buf out = {0};
    gr_buf_char(&out, '[');
    for (uint32_t i = 0; i < list->count && limit > 0; i++) {
        const gr_json *event = &list->items[i];
        if (!gr_sync_filter_type(filter, gr_json_text(event, "type"))) continue;
        if (!passes(filter, "senders", "not_senders", gr_json_text(event, "sender"), gr_str_eq)) continue;
        if (out.size > 1) gr_buf_char(&out, ',');
        gr_json_print(&out, event);
        limit--;
    }
    gr_buf_char(&out, ']');
    gr_str made = out.size > 2 ? gr_arena_str(a, gr_buf_view(&out)) : (gr_str){0};
    gr_buf_free(&out);
    return made;
}
