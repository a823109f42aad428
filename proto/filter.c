/* filter.c - see filter.h. */
#include "proto/filter.h"

#include "proto/ident.h"

typedef enum { BOOL, LIMIT, TEXTS, USERS, ROOMS, FORMAT, EVENTS, ROOM_EVENTS, ROOM } field_kind;
typedef struct {
    const char *name;
    field_kind kind;
} field;

static const field filter_fields[] = {{"event_fields", TEXTS}, {"event_format", FORMAT},
                                      {"presence", EVENTS},    {"account_data", EVENTS},
                                      {"room", ROOM},          {0}};
static const field event_fields[] = {{"limit", LIMIT}, {"senders", USERS},   {"not_senders", USERS},
                                     {"types", TEXTS}, {"not_types", TEXTS}, {0}};
static const field room_event_fields[] = {{"limit", LIMIT},
                                          {"senders", USERS},
                                          {"not_senders", USERS},
                                          {"types", TEXTS},
                                          {"not_types", TEXTS},
                                          {"rooms", ROOMS},
                                          {"not_rooms", ROOMS},
                                          {"lazy_load_members", BOOL},
                                          {"include_redundant_members", BOOL},
                                          {"contains_url", BOOL},
                                          {"unread_thread_notifications", BOOL},
                                          {0}};
static const field room_fields[] = {
    {"rooms", ROOMS},       {"not_rooms", ROOMS},      {"ephemeral", ROOM_EVENTS},    {"include_leave", BOOL},
    {"state", ROOM_EVENTS}, {"timeline", ROOM_EVENTS}, {"account_data", ROOM_EVENTS}, {0}};

static bool are_texts(const gr_json *v, bool (*good)(gr_str))
{
    if (v->kind != GR_JSON_ARRAY) return false;
    for (uint32_t i = 0; i < v->count; i++)
        if (v->items[i].kind != GR_JSON_STRING || (good && !good(v->items[i].string))) return false;
    return true;
}

static bool fits(const gr_json *v, field_kind kind)
{
    switch (kind) {
    case BOOL: return v->kind == GR_JSON_BOOL;
    case LIMIT: return v->kind == GR_JSON_INT && v->integer >= 0;    /* clients in use send 0 for "nothing" */
    case TEXTS: return are_texts(v, NULL);
    case USERS: return are_texts(v, gr_ident_user);
    case ROOMS: return are_texts(v, gr_ident_room);
    case FORMAT: return gr_str_is(gr_json_string(v), "client") || gr_str_is(gr_json_string(v), "federation");
    default: return v->kind == GR_JSON_OBJECT;
    }
}

/* Goes as deep as the tables above do. */
static gr_err check(gr_arena *a, const gr_json *object, const field *fields)
{
    for (; fields->name; fields++) {
        const gr_json *v = gr_json_get(object, fields->name);
        if (!v) continue;
        if (!fits(v, fields->kind))
            return gr_failf(a, GR_BAD_JSON, "'%s' of the filter is not what it must be", fields->name);
        gr_err err = gr_ok();
        if (fields->kind == EVENTS) err = check(a, v, event_fields);
        if (fields->kind == ROOM_EVENTS) err = check(a, v, room_event_fields);
        if (fields->kind == ROOM) err = check(a, v, room_fields);
        if (gr_failed(err)) return err;
    }
    return gr_ok();
}

gr_err gr_filter_check(gr_arena *a, const gr_json *filter)
{
    if (!gr_json_is(filter, GR_JSON_OBJECT)) return gr_fail(GR_BAD_JSON, "A filter must be a JSON object");
    return check(a, filter, filter_fields);
}
