/* event_check.c - the checks on receipt that need no room state. See event.h. */
#include "proto/event.h"

#include "proto/ident.h"
#include "proto/redact.h"

static bool is_third_party_invite(const gr_event *event)
{
    return event->has_state_key && gr_str_is(event->type, "m.room.member") &&
           gr_str_is(gr_json_text(event->content, "membership"), "invite") &&
           gr_json_is(gr_json_get(event->content, "third_party_invite"), GR_JSON_OBJECT);
}

static void add_once(gr_strs *list, gr_str server)
{
    for (size_t i = 0; i < list->count; i++)
        if (gr_str_eq(list->at[i], server)) return;
    list->at[list->count++] = server;
}

gr_strs gr_event_signers(gr_arena *arena, const gr_event *event)
{
    gr_strs signers = {.at = gr_arena_alloc(arena, 3 * sizeof *signers.at)};
    if (!is_third_party_invite(event)) add_once(&signers, gr_ident_domain(event->sender));
    if (event->version->event_id == GR_EVENT_ID_CHOSEN) add_once(&signers, gr_ident_domain(event->event_id));
    const gr_json *via = gr_json_get(event->content, "join_authorised_via_users_server");
    if (event->version->restricted && via && gr_str_is(event->type, "m.room.member"))
        add_once(&signers, gr_ident_domain(gr_json_string(via)));
    return signers;
}

static gr_err check_signatures(gr_arena *arena, const gr_event *event, const gr_key_ring *ring)
{
    gr_buf buf = {0};
    gr_redact_event(&buf, event->version, event->json, false);
    const gr_json *signatures = gr_json_get(event->json, "signatures");
    int64_t ts = event->version->key_validity ? event->origin_server_ts : 0;
    gr_strs signers = gr_event_signers(arena, event);
    gr_err e = gr_ok();
    for (size_t i = 0; i < signers.count && !gr_failed(e); i++)
        e = gr_sign_check(arena, ring, signatures, signers.at[i], ts, gr_buf_view(&buf));
    gr_buf_free(&buf);
    return e;
}

bool gr_event_has_signature(gr_arena *arena, const gr_room_version *version, const gr_json *json, gr_str entity, gr_str key_id,
                            gr_str public_key)
{
    gr_str key;
    gr_key_ring ring = {.find = NULL};
    const gr_json *by = gr_json_get_str(gr_json_get(json, "signatures"), entity);
    const gr_json *signature = gr_json_get_str(by, key_id);
    if (!gr_json_is(signature, GR_JSON_STRING) || !gr_sign_decode(arena, public_key, GR_SIGN_PUBLIC, &key)) return false;
    gr_buf buf = {0};
    gr_redact_event(&buf, version, json, false);
    bool good = gr_sign_verify(arena, &ring, (const unsigned char *)key.ptr, gr_buf_view(&buf), gr_json_string(signature));
    gr_buf_free(&buf);
    return good;
}

static bool hash_fits(gr_arena *arena, const gr_event *event)
{
    unsigned char hash[GR_EVENT_HASH];
    gr_str told;
    gr_str text = gr_json_text(gr_json_get(event->json, "hashes"), "sha256");
    if (!gr_sign_decode(arena, text, GR_EVENT_HASH, &told)) return false;
    gr_event_content_hash(event->json, hash);
    return memcmp(hash, told.ptr, GR_EVENT_HASH) == 0;
}

static gr_str stored_text(gr_arena *arena, const gr_json *json)
{
    static const char *const left_out[] = {"unsigned", NULL};
    gr_buf buf = {0};
    gr_json_print_without(&buf, json, left_out);
    gr_str text = gr_arena_str(arena, gr_buf_view(&buf));
    gr_buf_free(&buf);
    return text;
}

static gr_err check(gr_arena *arena, const gr_room_version *version, const gr_json *json,
                    const gr_key_ring *ring, gr_event *out, gr_str *text, gr_event_shape *shape)
{
    gr_err e = gr_event_from_json(arena, version, json, out);
    if (gr_failed(e)) return e;
    if (!gr_json_is(gr_json_get(json, "hashes"), GR_JSON_OBJECT))
        return gr_fail(GR_BAD_JSON, "The event's hashes are missing or not an object");
    if (!gr_json_is(gr_json_get(json, "signatures"), GR_JSON_OBJECT))
        return gr_fail(GR_BAD_JSON, "The event's signatures are missing or not an object");
    e = check_signatures(arena, out, ring);
    if (gr_failed(e)) return e;
    if (hash_fits(arena, out)) {
        *text = stored_text(arena, json);
        return gr_ok();
    }
    *shape = GR_EVENT_REDACTED;
    *text = gr_event_redact(arena, version, json);
    bool was_third_party = is_third_party_invite(out);
    e = gr_event_parse(arena, version, *text, out);
    /* Without its third_party_invite it is an ordinary invite, which nobody has vouched for yet. */
    return gr_failed(e) || !was_third_party ? e : check_signatures(arena, out, ring);
}

gr_err gr_event_check(gr_arena *arena, const gr_room_version *version, const gr_json *json,
                      const gr_key_ring *ring, gr_event *out, gr_str *text, gr_event_shape *shape)
{
    *text = (gr_str){0};
    *shape = GR_EVENT_WHOLE;
    gr_err e = check(arena, version, json, ring, out, text, shape);
    if (!gr_failed(e)) return e;
    *out = (gr_event){0};
    *text = (gr_str){0};
    return e;
}
