/* event_build.c - making events: canonical, hashed and signed in one pass. See event.h.
 *
 * Every local message comes through here, so the text is written field by field in canonical order instead
 * of through a tree: what costs is one signature and two hashes, not the JSON.
 */
#include "proto/event.h"

#include "proto/base64.h"
#include "proto/redact.h"
#include "proto/sha256.h"

/* What differs between the three texts of one event; an empty view leaves the field out. */
typedef struct { gr_str content, content_hash, nonce, signature, redacts; } parts;

static gr_str keep(gr_arena *arena, gr_buf *buf)
{
    gr_str text = gr_arena_str(arena, gr_buf_view(buf));
    gr_buf_free(buf);
    return text;
}

static void write_edges(gr_jw *w, const gr_event_fields *f, const char *field, gr_strs ids, gr_strs hashes)
{
    gr_jw_key(w, field);
    gr_jw_array(w);
    for (size_t i = 0; i < ids.count; i++) {
        if (!f->version->edges_carry_hashes) {
            gr_jw_str(w, ids.at[i]);
            continue;
        }
        gr_jw_array(w);
        gr_jw_str(w, ids.at[i]);
        gr_jw_object(w);
        gr_jw_kstr(w, "sha256", hashes.at[i]);
        gr_jw_end_object(w);
        gr_jw_end_array(w);
    }
    gr_jw_end_array(w);
}

static void write_hash(gr_jw *w, gr_str content_hash)
{
    gr_jw_key(w, "hashes");
    gr_jw_object(w);
    gr_jw_kstr(w, "sha256", content_hash);
    gr_jw_end_object(w);
}

static void write_signature(gr_jw *w, const gr_signer *signer, gr_str signature)
{
    gr_jw_key(w, "signatures");
    gr_jw_object(w);
    gr_jw_key_str(w, signer->server_name);
    gr_jw_object(w);
    gr_jw_kstr(w, signer->key_id, signature);
    gr_jw_end_object(w);
    gr_jw_end_object(w);
}

/* The event in canonical order. */
static void write_event(gr_buf *out, const gr_event_fields *f, const gr_signer *signer, const parts *p)
{
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    write_edges(&w, f, "auth_events", f->auth_events, f->auth_hashes);
    gr_jw_kraw(&w, "content", p->content);
    gr_jw_kint(&w, "depth", f->depth < f->version->depth_max ? f->depth : f->version->depth_max);
    if (f->version->event_id == GR_EVENT_ID_CHOSEN && f->event_id.size)
        gr_jw_kstr(&w, "event_id", f->event_id);
    if (p->content_hash.size) write_hash(&w, p->content_hash);
    if (p->nonce.size) gr_jw_kstr(&w, "nonce", p->nonce);
    gr_jw_kint(&w, "origin_server_ts", f->origin_server_ts);
    write_edges(&w, f, "prev_events", f->prev_events, f->prev_hashes);
    if (p->redacts.size) gr_jw_kstr(&w, "redacts", p->redacts);
    if (f->room_id.size) gr_jw_kstr(&w, "room_id", f->room_id);
    gr_jw_kstr(&w, "sender", f->sender);
    if (p->signature.size) write_signature(&w, signer, p->signature);
    if (f->has_state_key) gr_jw_kstr(&w, "state_key", f->state_key);
    gr_jw_kstr(&w, "type", f->type);
    gr_jw_end_object(&w);
}

/* Content as a canonical text; the target of a redaction stands in it where the version wants it there, else not. */
static gr_str content_text(gr_arena *arena, const gr_json *content, gr_str redacts, bool inside)
{
    gr_buf buf = {0};
    if (gr_str_empty(redacts)) {
        gr_json_print(&buf, content);
        return keep(arena, &buf);
    }
    gr_jw w = gr_jw_begin(&buf);
    bool written = !inside;
    gr_jw_object(&w);
    for (size_t i = 0; i < content->count; i++) {
        const gr_json_member *m = &content->members[i];
        if (gr_str_is(m->key, "redacts")) continue;
        if (!written && gr_str_cmp(m->key, GR_STR("redacts")) > 0) {
            gr_jw_kstr(&w, "redacts", redacts);
            written = true;
        }
        gr_jw_key_str(&w, m->key);
        gr_jw_json(&w, &m->value);
    }
    if (!written) gr_jw_kstr(&w, "redacts", redacts);
    gr_jw_end_object(&w);
    return keep(arena, &buf);
}

static gr_err too_long(gr_arena *arena, const char *field)
{
    return gr_failf(arena, GR_TOO_LARGE, "The event's %s is longer than %d bytes", field, GR_EVENT_FIELD_MAX);
}

static gr_err check_fields(gr_arena *arena, const gr_event_fields *f)
{
    gr_assert(f->prev_events.count <= GR_EVENT_PREV_MAX && f->auth_events.count <= GR_EVENT_AUTH_MAX);
    gr_assert(!f->version->edges_carry_hashes || (f->prev_hashes.count == f->prev_events.count &&
                                                  f->auth_hashes.count == f->auth_events.count));
    if (f->type.size > GR_EVENT_FIELD_MAX) return too_long(arena, "type");
    if (f->sender.size > GR_EVENT_FIELD_MAX) return too_long(arena, "sender");
    if (f->room_id.size > GR_EVENT_FIELD_MAX) return too_long(arena, "room_id");
    if (f->has_state_key && f->state_key.size > GR_EVENT_FIELD_MAX) return too_long(arena, "state_key");
    if (f->redacts.size > GR_EVENT_FIELD_MAX) return too_long(arena, "redacts");
    if (!gr_str_utf8(f->type) || !gr_str_utf8(f->state_key) || !gr_str_utf8(f->redacts))
        return gr_fail(GR_BAD_JSON, "The event's type and state_key must be UTF-8");
    return gr_ok();
}

static bool fits_depth(const gr_json *json, int left)
{
    bool object = gr_json_is(json, GR_JSON_OBJECT);
    if (!object && !gr_json_is(json, GR_JSON_ARRAY)) return true;
    if (left == 0) return false;
    for (uint32_t i = 0; i < json->count; i++)
        if (!fits_depth(object ? &json->members[i].value : &json->items[i], left - 1)) return false;
    return true;
}

/* Parses content and fills what the texts have in common. */
static gr_err prepare(gr_arena *arena, const gr_event_fields *f, const gr_json **content, parts *p)
{
    gr_err e = check_fields(arena, f);
    if (gr_failed(e)) return e;
    if (f->content.size > GR_EVENT_SIZE_MAX * 6)        /* even if each byte was spelled \u00xx */
        return gr_fail(GR_TOO_LARGE, "The event's content is too large: an event holds at most 65536 bytes");
    e = gr_json_parse(arena, f->content, f->version->json, content);
    if (gr_failed(e)) return e;
    if (!gr_json_is(*content, GR_JSON_OBJECT))
        return gr_fail(GR_BAD_JSON, "The event's content is not an object");
    if (!fits_depth(*content, GR_JSON_DEPTH_MAX - 1))      /* the event around it is one level more */
        return gr_fail(GR_BAD_JSON, "The event's content is nested too deeply");
    bool inside = f->version->redacts_in_content;
    *p = (parts){.content = content_text(arena, *content, f->redacts, inside),
                 .redacts = inside ? (gr_str){0} : f->redacts,
                 .nonce = f->nonce};
    if (gr_str_empty(f->redacts)) return gr_ok();
    return gr_json_parse(arena, p->content, f->version->json, content);
}

gr_err gr_event_template(gr_arena *arena, const gr_event_fields *f, gr_str *text)
{
    const gr_json *content = NULL;
    parts p = {0};
    gr_event_fields without_id = *f;
    without_id.event_id = (gr_str){0};
    *text = (gr_str){0};
    gr_err e = prepare(arena, f, &content, &p);
    if (gr_failed(e)) return e;
    gr_buf buf = {0};
    write_event(&buf, &without_id, NULL, &p);
    *text = keep(arena, &buf);
    return gr_ok();
}

static void name_event(gr_arena *arena, const gr_room_version *version, gr_str chosen, gr_str redacted,
                       gr_event_built *out)
{
    unsigned char hash[GR_EVENT_HASH];
    out->event_id = gr_arena_str(arena, chosen);
    if (version->event_id == GR_EVENT_ID_CHOSEN) return;
    gr_sha256(redacted.ptr, redacted.size, hash);
    out->event_id = gr_event_id_of_hash(arena, version, hash);
}

static gr_str room_of(gr_arena *arena, const gr_room_version *version, gr_str type, gr_str room_id,
                      gr_str event_id)
{
    bool derived = version->room_id_is_create_hash && gr_str_is(type, "m.room.create");
    if (!derived) return gr_arena_str(arena, room_id);
    return gr_arena_cat(arena, 2, (gr_str[]){GR_STR("!"), gr_str_from(event_id, 1)});
}

static gr_err finish(gr_event_built *out)
{
    if (out->text.size <= GR_EVENT_SIZE_MAX) return gr_ok();
    *out = (gr_event_built){0};
    return gr_fail(GR_TOO_LARGE, "The event is too large: with its signature it has at most 65536 bytes");
}

gr_err gr_event_build(gr_arena *arena, const gr_event_fields *f, const gr_signer *signer, gr_event_built *out)
{
    parts p = {0}, redacted = {0};
    *out = (gr_event_built){0};
    gr_assert((f->version->event_id == GR_EVENT_ID_CHOSEN) == (f->event_id.size > 0));
    gr_err e = prepare(arena, f, &out->content, &p);
    if (gr_failed(e)) return e;

    gr_buf buf = {0};
    unsigned char hash[GR_EVENT_HASH];
    write_event(&buf, f, signer, &p);
    gr_sha256(buf.ptr, buf.size, hash);
    p.content_hash = redacted.content_hash = gr_base64(arena, gr_str_of(hash, sizeof hash));

    gr_buf_clear(&buf);
    gr_redact_content(&buf, f->version, f->type, out->content);
    redacted.content = gr_arena_str(arena, gr_buf_view(&buf));
    gr_buf_clear(&buf);
    write_event(&buf, f, signer, &redacted);
    name_event(arena, f->version, f->event_id, gr_buf_view(&buf), out);
    out->room_id = room_of(arena, f->version, f->type, f->room_id, out->event_id);
    p.signature = gr_sign_bytes(arena, signer, gr_buf_view(&buf));

    gr_buf_clear(&buf);
    write_event(&buf, f, signer, &p);
    out->text = keep(arena, &buf);
    return finish(out);
}

/* A shallow copy of object without unsigned, with {key: value} put in or replaced. */
static gr_json with_member(gr_arena *arena, const gr_json *object, const char *key, gr_json value)
{
    gr_json_member *members = gr_arena_alloc(arena, (object->count + 1) * sizeof *members);
    gr_str name = gr_str_c(key);
    uint32_t count = 0;
    bool placed = false;
    for (uint32_t i = 0; i < object->count; i++) {
        const gr_json_member *m = &object->members[i];
        if (gr_str_is(m->key, "unsigned") || gr_str_eq(m->key, name)) continue;
        if (!placed && gr_str_cmp(m->key, name) > 0) {
            members[count++] = (gr_json_member){name, value};
            placed = true;
        }
        members[count++] = *m;
    }
    if (!placed) members[count++] = (gr_json_member){name, value};
    return (gr_json){.kind = GR_JSON_OBJECT, .count = count, .members = members};
}

static gr_json hashes_of(gr_arena *arena, const gr_json *json)
{
    const gr_json *given = gr_json_get(json, "hashes");
    if (gr_json_is(gr_json_get(given, "sha256"), GR_JSON_STRING)) return *given;
    unsigned char hash[GR_EVENT_HASH];
    gr_event_content_hash(json, hash);
    gr_json_member *member = gr_arena_alloc(arena, sizeof *member);
    gr_str text = gr_base64(arena, gr_str_of(hash, sizeof hash));
    *member = (gr_json_member){GR_STR("sha256"), {.kind = GR_JSON_STRING, .string = text}};
    return (gr_json){.kind = GR_JSON_OBJECT, .count = 1, .members = member};
}

gr_err gr_event_sign(gr_arena *arena, const gr_room_version *version, const gr_json *json,
                     const gr_signer *signer, gr_event_built *out)
{
    *out = (gr_event_built){0};
    if (!gr_json_is(json, GR_JSON_OBJECT)) return gr_fail(GR_BAD_JSON, "An event is a JSON object");
    gr_json hashed = with_member(arena, json, "hashes", hashes_of(arena, json));
    gr_buf buf = {0};
    gr_redact_event(&buf, version, &hashed, false);
    gr_str redacted = keep(arena, &buf);
    name_event(arena, version, gr_json_text(json, "event_id"), redacted, out);
    gr_str type = gr_json_text(json, "type"), room_id = gr_json_text(json, "room_id");
    out->room_id = room_of(arena, version, type, room_id, out->event_id);
    out->content = gr_json_get(json, "content");
    out->text = gr_sign_add(arena, signer, &hashed, redacted);
    return finish(out);
}

/* --- signatures of others ------------------------------------------------------------------------------------ */
static void write_but(gr_jw *w, const gr_json *object, const gr_json *left_out)
{
    for (uint32_t i = 0; gr_json_is(object, GR_JSON_OBJECT) && i < object->count; i++) {
        if (gr_json_get_str(left_out, object->members[i].key)) continue;
        gr_jw_key_str(w, object->members[i].key);
        gr_jw_json(w, &object->members[i].value);
    }
}

gr_str gr_event_add_signatures(gr_arena *arena, const gr_json *event, const gr_json *given)
{
    gr_json_member signatures = {.key = GR_STR("signatures")};
    const gr_json but = {.kind = GR_JSON_OBJECT, .count = 1, .members = &signatures}, *whole = NULL;
    const gr_json *old = gr_json_get(event, "signatures");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    write_but(&w, event, &but);
    gr_jw_key_str(&w, signatures.key);
    gr_jw_object(&w);
    write_but(&w, old, given);
    for (uint32_t i = 0; gr_json_is(given, GR_JSON_OBJECT) && i < given->count; i++) {
        const gr_json *by = &given->members[i].value;
        gr_jw_key_str(&w, given->members[i].key);
        gr_jw_object(&w);
        write_but(&w, gr_json_get_str(old, given->members[i].key), by);
        write_but(&w, by, NULL);
        gr_jw_end_object(&w);
    }
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    /* Members are in order only when it has been read again; what is given may be nested too deeply for that. */
    gr_err err = gr_json_parse(arena, gr_buf_view(&out), GR_JSON_LAX, &whole);
    gr_buf_free(&out);
    return gr_json_printed(arena, gr_failed(err) ? event : whole);
}
