/* filter.c - what a RoomEventFilter lets through, and event_fields. See read.h; client-server API, "Filtering". */
#include "actors/room/read.h"

gr_err gr_room_filter_read(gr_arena *a, gr_str text, gr_room_filter *out)
{
    *out = (gr_room_filter){0};
    if (text.size == 0) return gr_ok();
    gr_err err = gr_json_parse(a, text, GR_JSON_LAX, &out->json);
    if (gr_failed(err)) return err;
    if (!gr_json_is(out->json, GR_JSON_OBJECT)) return gr_fail(GR_BAD_JSON, "A filter must be a JSON object");
    out->lazy = gr_json_boolean(gr_json_get(out->json, "lazy_load_members"), false);
    return gr_ok();
}

uint64_t gr_room_filter_limit(const gr_room_filter *f, uint64_t otherwise)
{
    int64_t limit = gr_json_integer(gr_json_get(f->json, "limit"), -1);
    return limit < 0 ? otherwise : (uint64_t)limit;
}

/* "*" stands for any characters, anywhere in the pattern. */
static bool matches(gr_str pattern, gr_str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.size) {
        if (p < pattern.size && pattern.ptr[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size && pattern.ptr[p] == text.ptr[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.ptr[p] == '*') p++;
    return p == pattern.size;
}

static bool listed(const gr_json *list, gr_str value, bool (*same)(gr_str, gr_str))
{
    for (uint32_t i = 0; i < list->count; i++)
        if (gr_json_is(&list->items[i], GR_JSON_STRING) && same(gr_json_string(&list->items[i]), value)) return true;
    return false;
}

/* no wins over yes; a list that is absent lets everything through, an empty one nothing. */
static bool passes(const gr_json *filter, const char *yes, const char *no, gr_str value, bool (*same)(gr_str, gr_str))
{
    const gr_json *wanted = gr_json_get(filter, yes), *unwanted = gr_json_get(filter, no);
    if (gr_json_is(unwanted, GR_JSON_ARRAY) && listed(unwanted, value, same)) return false;
    return !gr_json_is(wanted, GR_JSON_ARRAY) || listed(wanted, value, same);
}

static bool has_url(gr_arena *a, const gr_room_record *r)
{
    const gr_json *event;
    if (r->flags & GR_ROOM_REDACTED || gr_failed(gr_json_parse(a, r->json, GR_JSON_LAX, &event))) return false;
    return gr_json_is(gr_json_get(gr_json_get(event, "content"), "url"), GR_JSON_STRING);
}

bool gr_room_filter_passes(const gr_room_filter *f, gr_arena *a, gr_str room_id, const gr_room_record *r)
{
    if (!r->is_state)
        for (size_t i = 0; i < f->ignored.count; i++)
            if (gr_str_eq(f->ignored.at[i], r->sender)) return false;
    if (!f->json) return true;
    if (!passes(f->json, "types", "not_types", r->type, matches)) return false;
    if (!passes(f->json, "senders", "not_senders", r->sender, gr_str_eq)) return false;
    if (!passes(f->json, "rooms", "not_rooms", room_id, gr_str_eq)) return false;
    const gr_json *url = gr_json_get(f->json, "contains_url");
    return !gr_json_is(url, GR_JSON_BOOL) || url->boolean == has_url(a, r);
}

/* --- event_fields --------------------------------------------------------------------------------------- */
/* The next part of a dotted path; a backslash makes a dot or a backslash part of it. */
static gr_str next_part(gr_arena *a, gr_str *path)
{
    char *part = gr_arena_alloc(a, path->size + 1);
    size_t size = 0, at = 0;
    for (; at < path->size && path->ptr[at] != '.'; at++) {
        bool escaped = path->ptr[at] == '\\' && at + 1 < path->size
            && (path->ptr[at + 1] == '.' || path->ptr[at + 1] == '\\');
        if (escaped) at++;
        part[size++] = path->ptr[at];
    }
    *path = gr_str_from(*path, at + 1);
    return gr_str_of(part, size);
}

typedef struct { gr_str *paths; size_t count; } path_set;

static void write_chosen(gr_arena *a, gr_jw *w, const gr_json *object, path_set set, int depth);

/* The paths among these that begin with a key, without it; *whole when one is just the key. */
static path_set below(gr_arena *a, path_set set, gr_str key, bool *whole)
{
    path_set under = {gr_arena_alloc(a, (set.count + 1) * sizeof(gr_str)), 0};
    *whole = false;
    for (size_t i = 0; i < set.count; i++) {
        gr_str rest = set.paths[i];
        if (!gr_str_eq(next_part(a, &rest), key)) continue;
        if (rest.size == 0) *whole = true;
        else under.paths[under.count++] = rest;
    }
    return under;
}

static void write_chosen(gr_arena *a, gr_jw *w, const gr_json *object, path_set set, int depth)
{
    gr_jw_object(w);
    for (uint32_t i = 0; i < object->count; i++) {
        const gr_json_member *m = &object->members[i];
        bool whole;
        path_set under = below(a, set, m->key, &whole);
        bool inside = under.count && gr_json_is(&m->value, GR_JSON_OBJECT) && depth < GR_JW_DEPTH_MAX - 2;
        if (!whole && !inside) continue;
        gr_jw_key_str(w, m->key);
        if (whole) gr_jw_json(w, &m->value);
        else write_chosen(a, w, &m->value, under, depth + 1);
    }
    gr_jw_end_object(w);
}

void gr_room_filter_fields(gr_arena *a, const gr_json *fields, gr_str event, gr_buf *out)
{
    const gr_json *json;
    if (gr_failed(gr_json_parse(a, event, GR_JSON_LAX, &json)) || !gr_json_is(json, GR_JSON_OBJECT)) {
        gr_buf_str(out, event);
        return;
    }
    path_set set = {gr_arena_alloc(a, (fields->count + 1) * sizeof(gr_str)), 0};
    for (uint32_t i = 0; i < fields->count; i++)
        if (gr_json_is(&fields->items[i], GR_JSON_STRING)) set.paths[set.count++] = gr_json_string(&fields->items[i]);
    gr_jw w = gr_jw_begin(out);
    write_chosen(a, &w, json, set, 0);
}
