/* event.c - reading events: format, limits, hashes, ids. See event.h. */
#include "proto/event.h"

#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/redact.h"
#include "proto/sha256.h"

bool gr_event_is(const gr_event *event, const char *type, const char *state_key)
{
    return event && event->has_state_key && gr_str_is(event->type, type) &&
           gr_str_is(event->state_key, state_key);
}

/* --- hashes and ids --- */
static void hash_buf(gr_buf *buf, unsigned char out[GR_EVENT_HASH])
{
    gr_sha256(buf->ptr, buf->size, out);
    gr_buf_free(buf);
}

void gr_event_content_hash(const gr_json *json, unsigned char out[GR_EVENT_HASH])
{
    static const char *const left_out[] = {"hashes", "signatures", "unsigned", NULL};
    gr_buf buf = {0};
    gr_json_print_without(&buf, json, left_out);
    hash_buf(&buf, out);
}

void gr_event_reference_hash(const gr_room_version *version, const gr_json *json,
                             unsigned char out[GR_EVENT_HASH])
{
    gr_buf buf = {0};
    gr_redact_event(&buf, version, json, false);
    hash_buf(&buf, out);
}

gr_str gr_event_id_of_hash(gr_arena *arena, const gr_room_version *version,
                           const unsigned char hash[GR_EVENT_HASH])
{
    gr_str raw = gr_str_of(hash, GR_EVENT_HASH);
    gr_str text = version->event_id == GR_EVENT_ID_BASE64 ? gr_base64(arena, raw) : gr_base64_url(arena, raw);
    return gr_arena_cat(arena, 2, (gr_str[]){GR_STR("$"), text});
}

gr_str gr_event_id(gr_arena *arena, const gr_room_version *version, const gr_json *json)
{
    unsigned char hash[GR_EVENT_HASH];
    if (version->event_id == GR_EVENT_ID_CHOSEN) return gr_json_text(json, "event_id");
    gr_event_reference_hash(version, json, hash);
    return gr_event_id_of_hash(arena, version, hash);
}

gr_str gr_event_redact(gr_arena *arena, const gr_room_version *version, const gr_json *json)
{
    gr_buf buf = {0};
    gr_redact_event(&buf, version, json, true);
    gr_str text = gr_arena_str(arena, gr_buf_view(&buf));
    gr_buf_free(&buf);
    return text;
}

/* --- reading --- */
static gr_err bad(gr_arena *arena, const char *field, const char *why)
{
    return gr_failf(arena, GR_BAD_JSON, "The event's %s %s", field, why);
}

/* A string member of bounded size; *found tells whether it is there. */
static gr_err read_string(gr_arena *arena, const gr_json *json, const char *field, gr_str *out, bool *found)
{
    const gr_json *value = gr_json_get(json, field);
    *found = value != NULL;
    if (!value) return gr_ok();
    if (!gr_json_is(value, GR_JSON_STRING)) return bad(arena, field, "is not a string");
    *out = gr_json_string(value);
    if (out->size > GR_EVENT_FIELD_MAX)
        return gr_failf(arena, GR_TOO_LARGE, "The event's %s is longer than %d bytes", field,
                        GR_EVENT_FIELD_MAX);
    return gr_ok();
}

static gr_err need_string(gr_arena *arena, const gr_json *json, const char *field, gr_str *out)
{
    bool found;
    gr_err e = read_string(arena, json, field, out, &found);
    if (!gr_failed(e) && !found) return bad(arena, field, "is missing");
    return e;
}

static gr_err need_integer(gr_arena *arena, const gr_json *json, const char *field, int64_t *out)
{
    const gr_json *value = gr_json_get(json, field);
    if (!gr_json_is(value, GR_JSON_INT)) return bad(arena, field, value ? "is not an integer" : "is missing");
    *out = value->integer;
    return gr_ok();
}

/* One entry of prev_events or auth_events: an id, or a pair of id and hashes. Empty when it is neither. */
static gr_str edge_id(const gr_room_version *version, const gr_json *entry)
{
    if (!version->edges_carry_hashes) return gr_json_string(entry);
    if (!gr_json_is(entry, GR_JSON_ARRAY) || entry->count != 2) return (gr_str){0};
    if (!gr_json_is(&entry->items[1], GR_JSON_OBJECT)) return (gr_str){0};
    return gr_json_string(&entry->items[0]);
}

static gr_err read_edges(gr_arena *arena, const gr_event *event, const char *field, size_t most, gr_strs *out)
{
    const gr_json *list = gr_json_get(event->json, field);
    if (!gr_json_is(list, GR_JSON_ARRAY)) return bad(arena, field, list ? "is not a list" : "is missing");
    if (list->count > most)
        return gr_failf(arena, GR_TOO_LARGE, "The event has more than %zu %s", most, field);
    out->at = gr_arena_alloc(arena, list->count * sizeof *out->at);
    for (size_t i = 0; i < list->count; i++) {
        gr_str id = edge_id(event->version, &list->items[i]);
        if (id.size < 2 || id.ptr[0] != '$' || id.size > GR_EVENT_FIELD_MAX)
            return bad(arena, field, "holds something that is no event id");
        out->at[out->count++] = id;
    }
    return gr_ok();
}

static bool is_create(const gr_event *event) { return gr_str_is(event->type, "m.room.create"); }

/* Where the create event's hash is the room id, that event carries none. */
static gr_err read_room_id(gr_arena *arena, gr_event *event)
{
    bool hashed = event->version->room_id_is_create_hash, found;
    gr_err e = read_string(arena, event->json, "room_id", &event->room_id, &found);
    if (gr_failed(e)) return e;
    if (hashed && is_create(event)) {
        if (found) return bad(arena, "room_id", "must be absent: it is the hash of this m.room.create event");
        return gr_ok();
    }
    if (!found) return bad(arena, "room_id", "is missing");
    if (!gr_ident_room(event->room_id) || gr_str_empty(gr_ident_domain(event->room_id)) != hashed)
        return bad(arena, "room_id", "is no room id of this room version");
    return gr_ok();
}

static gr_err read_redacts(gr_arena *arena, gr_event *event)
{
    bool found;
    if (!gr_str_is(event->type, "m.room.redaction")) return gr_ok();
    const gr_json *holder = event->version->redacts_in_content ? event->content : event->json;
    return read_string(arena, holder, "redacts", &event->redacts, &found);
}

#define TRY(call) do { gr_err try_error = (call); if (gr_failed(try_error)) return try_error; } while (0)

/* Everything but the event id. */
static gr_err read_fields(gr_arena *arena, gr_event *event)
{
    const gr_json *json = event->json;
    if (!gr_json_is(json, GR_JSON_OBJECT)) return gr_fail(GR_BAD_JSON, "An event is a JSON object");
    TRY(need_string(arena, json, "type", &event->type));
    TRY(need_string(arena, json, "sender", &event->sender));
    if (!gr_ident_user(event->sender)) return bad(arena, "sender", "is no user id");
    TRY(read_string(arena, json, "state_key", &event->state_key, &event->has_state_key));
    TRY(read_room_id(arena, event));
    event->content = gr_json_get(json, "content");
    if (!gr_json_is(event->content, GR_JSON_OBJECT))
        return bad(arena, "content", "is missing or not an object");
    TRY(need_integer(arena, json, "origin_server_ts", &event->origin_server_ts));
    TRY(need_integer(arena, json, "depth", &event->depth));
    if (event->depth < 0 || event->depth > event->version->depth_max)
        return bad(arena, "depth", "is out of range");
    TRY(read_edges(arena, event, "prev_events", GR_EVENT_PREV_MAX, &event->prev_events));
    TRY(read_edges(arena, event, "auth_events", GR_EVENT_AUTH_MAX, &event->auth_events));
    return read_redacts(arena, event);
}

static gr_str room_id_of_create(gr_arena *arena, gr_str event_id)
{
    return gr_arena_cat(arena, 2, (gr_str[]){GR_STR("!"), gr_str_from(event_id, 1)});
}

static gr_err read_whole(gr_arena *arena, const gr_room_version *version, const gr_json *json,
                         gr_event *event)
{
    *event = (gr_event){.version = version, .json = json};
    TRY(read_fields(arena, event));
    if (version->event_id == GR_EVENT_ID_CHOSEN) {
        TRY(need_string(arena, json, "event_id", &event->event_id));
        if (!gr_ident_event(event->event_id) || gr_str_empty(gr_ident_domain(event->event_id)))
            return bad(arena, "event_id", "is no event id of this room version");
        return gr_ok();
    }
    event->event_id = gr_event_id(arena, version, json);
    if (version->room_id_is_create_hash && is_create(event))
        event->room_id = room_id_of_create(arena, event->event_id);
    return gr_ok();
}

/* unsigned is not measured: each server puts its own there. */
static gr_err check_size(const gr_json *json)
{
    static const char *const left_out[] = {"unsigned", NULL};
    gr_buf buf = {0};
    gr_json_print_without(&buf, json, left_out);
    size_t size = buf.size;
    gr_buf_free(&buf);
    return size > GR_EVENT_SIZE_MAX ? gr_fail(GR_TOO_LARGE, "The event is larger than 65536 bytes") : gr_ok();
}

/* A transaction carries events of many versions and is parsed laxly; here the event's own rules apply. */
static bool is_canonical(const gr_json *json)
{
    bool object = gr_json_is(json, GR_JSON_OBJECT);
    if (gr_json_is(json, GR_JSON_REAL)) return false;
    if (gr_json_is(json, GR_JSON_INT))
        return json->integer >= -GR_JSON_INT_MAX && json->integer <= GR_JSON_INT_MAX;
    if (!object && !gr_json_is(json, GR_JSON_ARRAY)) return true;
    for (uint32_t i = 0; i < json->count; i++)      /* the parser bounds the depth */
        if (!is_canonical(object ? &json->members[i].value : &json->items[i])) return false;
    return true;
}

static gr_err failed_event(gr_event *out, gr_err e)
{
    if (gr_failed(e)) *out = (gr_event){0};
    return e;
}

gr_err gr_event_from_json(gr_arena *arena, const gr_room_version *version, const gr_json *json, gr_event *out)
{
    gr_err e = gr_json_is(json, GR_JSON_OBJECT) ? check_size(json) : gr_ok();
    if (!gr_failed(e) && version->json == GR_JSON_CANONICAL && !is_canonical(json))
        e = gr_fail(GR_BAD_JSON, "The event holds a number that this room version does not allow");
    return failed_event(out, gr_failed(e) ? e : read_whole(arena, version, json, out));
}

gr_err gr_event_parse(gr_arena *arena, const gr_room_version *version, gr_str text, gr_event *out)
{
    const gr_json *json = NULL;
    gr_err e = gr_json_parse(arena, text, version->json, &json);
    /* Canonical JSON is never longer than another spelling, but floats are: older versions measure. */
    bool fits = version->json == GR_JSON_CANONICAL && text.size <= GR_EVENT_SIZE_MAX;
    if (!gr_failed(e) && !fits && gr_json_is(json, GR_JSON_OBJECT)) e = check_size(json);
    return failed_event(out, gr_failed(e) ? e : read_whole(arena, version, json, out));
}

gr_err gr_event_load(gr_arena *arena, const gr_room_version *version, gr_str event_id, gr_str room_id,
                     gr_str text, gr_event *out)
{
    *out = (gr_event){.version = version};
    gr_err e = gr_json_parse(arena, text, version->json, &out->json);
    if (!gr_failed(e)) e = read_fields(arena, out);
    out->event_id = event_id;
    out->room_id = room_id;
    return failed_event(out, e);
}
