/* render.c - events as clients get them, spliced from their stored text. See read.h; "Room event format".
 *
 * The stored text is canonical JSON, so its top-level members can be copied as they are: what belongs to federation is left
 * out, and what depends on the reader comes in unsigned.  Only redacted events and event_fields need parsing.
 */
#include "actors/room/read.h"

/* --- walking the members of an object's text ------------------------------------------------------------ */
typedef struct { gr_str text; size_t at; } walk;

static bool skip_string(walk *w)
{
    if (w->at >= w->text.size || w->text.ptr[w->at] != '"') return false;
    for (w->at++; w->at < w->text.size; w->at++) {
        if (w->text.ptr[w->at] == '\\') w->at++;
        else if (w->text.ptr[w->at] == '"') return w->at++, true;
    }
    return false;
}

/* Ends behind the value: at ',' or the closing bracket of what holds it. */
static bool skip_value(walk *w)
{
    size_t depth = 0;
    while (w->at < w->text.size) {
        char c = w->text.ptr[w->at];
        if (c == '"') {
            if (!skip_string(w)) return false;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) return true;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        w->at++;
    }
    return false;
}

/* key without its quotes. */
static bool next_member(walk *w, gr_str *key, gr_str *value)
{
    if (w->at >= w->text.size || (w->text.ptr[w->at] != '{' && w->text.ptr[w->at] != ',')) return false;
    size_t start = ++w->at;
    if (!skip_string(w) || w->at >= w->text.size || w->text.ptr[w->at] != ':') return false;
    *key = gr_str_of(w->text.ptr + start + 1, w->at - start - 2);
    start = ++w->at;
    if (!skip_value(w)) return false;
    *value = gr_str_of(w->text.ptr + start, w->at - start);
    return true;
}

gr_str gr_render_member(gr_str object, const char *key)
{
    walk w = {object, 0};
    gr_str k, value;
    while (next_member(&w, &k, &value))
        if (gr_str_is(k, key)) return value;
    return (gr_str){0};
}

/* --- the members of the event --------------------------------------------------------------------------- */
static bool is_left_out(gr_str key)
{
    static const char *const keys[] = {"auth_events", "depth", "event_id", "hashes", "membership", "nonce", "origin",
                                       "prev_events", "prev_state", "redacts", "room_id", "signatures", "unsigned"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (gr_str_is(key, keys[i])) return true;
    return false;
}

static void write_key(gr_buf *out, const char *key)
{
    gr_buf_c(out, ",\"");
    gr_buf_c(out, key);
    gr_buf_c(out, "\":");
}

static void write_text(gr_buf *out, const char *key, gr_str value)
{
    write_key(out, key);
    gr_jw w = gr_jw_begin(out);
    gr_jw_str(&w, value);
}

/* The target of a redaction stands at top level and in content, whatever the version: old and new clients find it. */
static void write_content(gr_buf *out, gr_str content, gr_str redacts)
{
    if (redacts.size == 0 || content.size < 2 || gr_render_member(content, "redacts").size) {
        gr_buf_str(out, content);
        return;
    }
    gr_buf_c(out, "{\"redacts\":");
    gr_buf_str(out, redacts);
    if (content.size > 2) gr_buf_char(out, ',');
    gr_buf_str(out, gr_str_from(content, 1));
}

static void write_members(gr_view *v, gr_buf *out, const gr_room_record *r, gr_str text)
{
    walk w = {text, 0};
    gr_str key, value, redacts = {0};
    bool redaction = gr_str_is(r->type, "m.room.redaction");
    if (redaction) redacts = gr_render_member(text, "redacts");
    if (redaction && redacts.size == 0) redacts = gr_render_member(gr_render_member(text, "content"), "redacts");
    gr_buf_c(out, "{\"event_id\":");
    gr_jw id = gr_jw_begin(out);
    gr_jw_str(&id, r->event_id);
    if (!v->without_room_id || v->federation) write_text(out, "room_id", v->room->id);
    while (next_member(&w, &key, &value)) {
        bool own = gr_str_is(key, "event_id") || gr_str_is(key, "room_id") || gr_str_is(key, "unsigned");
        if (v->federation ? own : is_left_out(key)) continue;
        gr_buf_c(out, ",\"");
        gr_buf_str(out, key);
        gr_buf_c(out, "\":");
        if (gr_str_is(key, "content") && !v->federation) write_content(out, value, redacts);
        else gr_buf_str(out, value);
    }
    if (redacts.size && !v->federation) {
        write_key(out, "redacts");
        gr_buf_str(out, redacts);
    }
}

/* --- unsigned ------------------------------------------------------------------------------------------- */
static gr_str text_of(gr_view *v, const gr_room_record *r)
{
    const gr_json *whole;
    gr_arena *a = gr_ctx_arena(v->ctx);
    if (!(r->flags & GR_ROOM_REDACTED) || gr_failed(gr_json_parse(a, r->json, GR_JSON_LAX, &whole))) return r->json;
    return gr_event_redact(a, v->room->version, whole);
}

static void write_previous(gr_view *v, gr_buf *out, const gr_room_record *r)
{
    gr_room_nodes nodes;
    gr_room_record before;
    gr_trie trie = gr_room_trie(&nodes, v->room, v->ctx);
    uint64_t number = r->state_before ? gr_trie_get(&trie, r->state_before, r->key) : 0;
    if (!gr_room_record_at(v->ctx, number, &before)) return;
    write_key(out, "prev_content");
    gr_str content = gr_render_member(text_of(v, &before), "content");
    gr_buf_str(out, content.size ? content : GR_STR("{}"));
    write_text(out, "prev_sender", before.sender);
    write_text(out, "replaces_state", before.event_id);
}

/* The transaction that made the event: row X, only for the device that sent it. */
static void write_transaction(gr_view *v, gr_buf *out, const gr_room_record *r)
{
    gr_str value;
    if (v->device.size == 0 || !gr_str_eq(r->sender, v->user)) return;
    if (gr_ctx_now_ms(v->ctx) > r->ts + 2 * (uint64_t)GR_ROOM_TXN_KEEP_MS) return;
    if (!gr_ctx_get(v->ctx, gr_room_key_number(v->ctx, 'X', r->number), &value)) return;
    ptrdiff_t zero = gr_str_find(value, 0);
    if (zero < 0 || !gr_str_eq(gr_str_head(value, (size_t)zero), v->device)) return;
    write_text(out, "transaction_id", gr_str_from(value, (size_t)zero + 1));
}

static void write_unsigned(gr_view *v, gr_buf *out, const gr_room_record *r, unsigned how)
{
    gr_room_record by;
    write_key(out, "unsigned");
    gr_buf_printf(out, "{\"age\":%lld", (long long)(gr_ctx_now_ms(v->ctx) - r->ts));
    if (r->pos && (v->open || !(how & GR_RENDER_STATE)))
        write_text(out, "membership", gr_str_c(gr_membership_text(gr_view_moment(v, r->state_after, r->pos).membership)));
    if (!(how & GR_RENDER_STATE)) write_transaction(v, out, r);
    if (r->is_state && r->pos && !(how & GR_RENDER_STATE)) write_previous(v, out, r);
    if ((r->flags & GR_ROOM_REDACTED) && gr_room_record_at(v->ctx, r->redacted_by, &by)) {
        write_key(out, "redacted_because");
        write_members(v, out, &by, text_of(v, &by));
        gr_buf_printf(out, ",\"unsigned\":{\"age\":%lld}}", (long long)(gr_ctx_now_ms(v->ctx) - by.ts));
    }
    if ((how & GR_RENDER_BUNDLE) && !r->is_state) gr_relations_bundle(v, out, r);
    gr_buf_char(out, '}');
}

void gr_render_event(gr_view *v, gr_buf *out, const gr_room_record *r, unsigned how)
{
    gr_buf whole = {0};
    gr_buf *to = v->fields ? &whole : out;
    write_members(v, to, r, text_of(v, r));
    write_unsigned(v, to, r, how);
    gr_buf_char(to, '}');
    if (v->fields) gr_room_filter_fields(gr_ctx_arena(v->ctx), v->fields, gr_buf_view(&whole), out);
    gr_buf_free(&whole);
}

void gr_render_item(gr_view *v, gr_buf *out, const gr_room_record *r, unsigned how)
{
    if (out->size && out->ptr[out->size - 1] != '[') gr_buf_char(out, ',');
    gr_render_event(v, out, r, how);
}
