/* wants.c - see wants.h. */
#include "actors/keys/wants.h"

#include "proto/ident.h"

gr_wants gr_wants_begin(gr_arena *arena, gr_str own, uint64_t now_ms)
{
    return (gr_wants){.arena = arena, .own = own, .now_ms = now_ms,
                      .at = gr_arena_alloc(arena, GR_KEYS_SERVERS_MAX * sizeof(gr_keys_wanted))};
}

static gr_keys_wanted *wanted_of(gr_wants *w, gr_str server)
{
    for (size_t i = 0; i < w->count; i++)
        if (gr_str_eq(w->at[i].server, server)) return &w->at[i];
    if (w->count == GR_KEYS_SERVERS_MAX) return NULL;
    gr_keys_wanted *wanted = &w->at[w->count++];
    *wanted = (gr_keys_wanted){.server = server, .key_ids = {gr_arena_alloc(w->arena, GR_WANTS_KEYS * sizeof(gr_str)), 0}};
    return wanted;
}

static void add_key(gr_keys_wanted *w, gr_str key_id, uint64_t ts)
{
    if (w->min_valid_ms < ts) w->min_valid_ms = ts;
    for (size_t i = 0; i < w->key_ids.count; i++)
        if (gr_str_eq(w->key_ids.at[i], key_id)) return;
    if (w->key_ids.count < GR_WANTS_KEYS && gr_ident_key(key_id)) w->key_ids.at[w->key_ids.count++] = key_id;
}

void gr_wants_add(gr_wants *w, const gr_json *signatures, gr_str server, int64_t ts)
{
    const gr_json *by = gr_json_get_str(signatures, server);
    uint64_t made = ts > 0 ? (uint64_t)ts : 0;
    if (gr_str_eq(server, w->own) || !gr_ident_server_name(server)) return;
    if (!gr_json_is(by, GR_JSON_OBJECT) || by->count == 0) return;
    gr_keys_wanted *wanted = wanted_of(w, server);
    for (uint32_t k = 0; wanted && k < by->count && k < GR_WANTS_KEYS; k++)
        add_key(wanted, by->members[k].key, made < w->now_ms ? made : w->now_ms);
}

void gr_wants_add_pdu(gr_wants *w, const gr_json *pdu)
{
    const gr_json *signatures = gr_json_get(pdu, "signatures");
    int64_t ts = gr_json_integer(gr_json_get(pdu, "origin_server_ts"), 0);
    gr_str signers[] = {gr_json_text(pdu, "sender"), gr_json_text(pdu, "event_id"),
                        gr_json_string(gr_json_path(pdu, "content/join_authorised_via_users_server"))};
    for (size_t i = 0; i < sizeof signers / sizeof signers[0]; i++)
        if (signers[i].size) gr_wants_add(w, signatures, gr_ident_domain(signers[i]), ts);
}
