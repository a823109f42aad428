/* redact.c - the redaction algorithm, driven by the version's switches. See redact.h. */
#include "proto/redact.h"

static bool listed(gr_str key, const char *const *list)
{
    for (; *list; list++)
        if (gr_str_is(key, *list)) return true;
    return false;
}

static bool top_stays(const gr_room_version *version, gr_str key)
{
    static const char *const always[] = {"auth_events", "content", "depth", "event_id", "hashes",
                                         "origin_server_ts", "prev_events", "room_id", "sender", "signatures",
                                         "state_key", "type", NULL};
    static const char *const older[] = {"membership", "origin", "prev_state", NULL};
    return listed(key, always) || (version->redaction_keeps_origin && listed(key, older));
}

/* Keys of content that stay whole.  third_party_invite is special: only a part of it stays. */
static bool content_stays(const gr_room_version *version, gr_str type, gr_str key)
{
    static const char *const levels[] = {"ban", "events", "events_default", "kick", "redact", "state_default",
                                         "users", "users_default", NULL};
    if (gr_str_is(type, "m.room.member"))
        return gr_str_is(key, "membership") ||
               (version->redaction_keeps_authorised && gr_str_is(key, "join_authorised_via_users_server"));
    if (gr_str_is(type, "m.room.create"))
        return version->redaction_keeps_all_create || gr_str_is(key, "creator");
    if (gr_str_is(type, "m.room.join_rules"))
        return gr_str_is(key, "join_rule") || (version->redaction_keeps_allow && gr_str_is(key, "allow"));
    if (gr_str_is(type, "m.room.power_levels"))
        return listed(key, levels) || (version->redaction_keeps_invite && gr_str_is(key, "invite"));
    if (gr_str_is(type, "m.room.history_visibility")) return gr_str_is(key, "history_visibility");
    if (gr_str_is(type, "m.room.aliases"))
        return version->redaction_keeps_aliases && gr_str_is(key, "aliases");
    if (gr_str_is(type, "m.room.redaction"))
        return version->redaction_keeps_invite && gr_str_is(key, "redacts");
    return false;
}

static void write_invite(gr_jw *w, const gr_json *invite)
{
    const gr_json *proof = gr_json_get(invite, "signed");
    gr_jw_key(w, "third_party_invite");
    gr_jw_object(w);
    if (proof) gr_jw_kjson(w, "signed", proof);
    gr_jw_end_object(w);
}

static void write_content(gr_jw *w, const gr_room_version *version, gr_str type, const gr_json *content)
{
    bool member = version->redaction_keeps_invite && gr_str_is(type, "m.room.member");
    size_t count = gr_json_is(content, GR_JSON_OBJECT) ? content->count : 0;
    gr_jw_object(w);
    for (size_t i = 0; i < count; i++) {
        const gr_json_member *m = &content->members[i];
        if (member && gr_str_is(m->key, "third_party_invite") && gr_json_is(&m->value, GR_JSON_OBJECT))
            write_invite(w, &m->value);
        if (!content_stays(version, type, m->key)) continue;
        gr_jw_key_str(w, m->key);
        gr_jw_json(w, &m->value);
    }
    gr_jw_end_object(w);
}

void gr_redact_content(gr_buf *out, const gr_room_version *version, gr_str type, const gr_json *content)
{
    gr_jw w = gr_jw_begin(out);
    write_content(&w, version, type, content);
}

void gr_redact_event(gr_buf *out, const gr_room_version *version, const gr_json *event, bool signatures)
{
    gr_jw w = gr_jw_begin(out);
    gr_str type = gr_json_text(event, "type");
    size_t count = gr_json_is(event, GR_JSON_OBJECT) ? event->count : 0;
    gr_jw_object(&w);
    for (size_t i = 0; i < count; i++) {
        const gr_json_member *m = &event->members[i];
        if (!top_stays(version, m->key) || (!signatures && gr_str_is(m->key, "signatures"))) continue;
        gr_jw_key_str(&w, m->key);
        if (gr_str_is(m->key, "content"))
            write_content(&w, version, type, &m->value);
        else
            gr_jw_json(&w, &m->value);
    }
    gr_jw_end_object(&w);
}
