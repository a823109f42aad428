/* signed_events.c - finding the keys of a few events and checking them. See signed_events.h. */
#include "edge/signed_events.h"
#include "edge/edge.h"

#include "actors/keys/keys.h"
#include "proto/ident.h"

enum { KEYS_OF_SERVER = 8, KEY_ID_RANDOM = 16 };

typedef struct {
    void *state;                       /* of the call, put back at the end */
    gr_signed_event *events;
    size_t count;
    void (*then)(gr_call *);
    gr_edge *edge;
    gr_keys_wanted *wanted;
    size_t wanted_count;
    const gr_keys_found *found;
} checking;

/* --- which keys --------------------------------------------------------------------------------------------- */
static gr_keys_wanted *wanted_of(gr_call *call, checking *c, gr_str server)
{
    for (size_t i = 0; i < c->wanted_count; i++)
        if (gr_str_eq(c->wanted[i].server, server)) return &c->wanted[i];
    if (c->wanted_count == GR_KEYS_SERVERS_MAX) return NULL;
    gr_keys_wanted *w = &c->wanted[c->wanted_count++];
    *w = (gr_keys_wanted){.server = server, .key_ids = {gr_arena_alloc(call->arena, KEYS_OF_SERVER * sizeof(gr_str)), 0}};
    return w;
}

static void add_key(gr_keys_wanted *w, gr_str key_id, uint64_t ts)
{
    if (w->min_valid_ms < ts) w->min_valid_ms = ts;
    for (size_t i = 0; i < w->key_ids.count; i++)
        if (gr_str_eq(w->key_ids.at[i], key_id)) return;
    if (w->key_ids.count < KEYS_OF_SERVER && gr_ident_key(key_id)) w->key_ids.at[w->key_ids.count++] = key_id;
}

static void want_keys(gr_call *call, checking *c, const gr_signed_event *s)
{
    const gr_json *signatures = gr_json_get(s->json, "signatures");
    gr_strs signers = gr_event_signers(call->arena, &s->event);
    uint64_t ts = s->event.origin_server_ts > 0 ? (uint64_t)s->event.origin_server_ts : 0;
    for (size_t i = 0; i < signers.count; i++) {
        const gr_json *by = gr_json_get_str(signatures, signers.at[i]);
        if (gr_str_eq(signers.at[i], gr_call_server_name(call)) || !gr_ident_server_name(signers.at[i])) continue;
        if (!gr_json_is(by, GR_JSON_OBJECT) || by->count == 0) continue;
        gr_keys_wanted *w = wanted_of(call, c, signers.at[i]);
        for (uint32_t k = 0; w && k < by->count && k < KEYS_OF_SERVER; k++)
            add_key(w, by->members[k].key, ts < call->now_ms ? ts : call->now_ms);
    }
}

/* --- checking ----------------------------------------------------------------------------------------------- */
static bool own_key(const checking *c, gr_str key_id, unsigned char public_key[GR_SIGN_PUBLIC])
{
    if (!gr_str_eq(key_id, gr_str_c(c->edge->env->signer->key_id))) return false;
    memcpy(public_key, c->edge->env->signer->public_key, GR_SIGN_PUBLIC);
    return true;
}

static bool is_valid(const gr_server_key *key, int64_t ts)
{
    uint64_t until = key->expired_ms ? key->expired_ms : key->valid_until_ms;
    return key->public_key.size == GR_SIGN_PUBLIC && (ts == 0 || (uint64_t)ts <= until);
}

static bool find_key(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC])
{
    const checking *c = arg;
    if (gr_str_eq(server, c->edge->env->server_name)) return own_key(c, key_id, public_key);
    for (size_t i = 0; c->found && i < c->found->servers.count; i++) {
        const gr_keys_known *known = &c->found->servers.at[i];
        for (size_t k = 0; gr_str_eq(known->server, server) && k < known->keys.count; k++) {
            if (!gr_str_eq(known->keys.at[k].key_id, key_id) || !is_valid(&known->keys.at[k], ts)) continue;
            memcpy(public_key, known->keys.at[k].public_key.ptr, GR_SIGN_PUBLIC);
            return true;
        }
    }
    return false;
}

static void finish(gr_call *call, const gr_keys_found *found)
{
    checking *c = call->state;
    gr_key_ring ring = {.find = find_key, .arg = c};
    c->found = found;
    for (size_t i = 0; i < c->count; i++) {
        gr_signed_event *s = &c->events[i];
        if (!gr_failed(s->err))
            s->err = gr_event_check(call->arena, s->version, s->json, &ring, &s->event, &s->text, &s->shape);
    }
    call->state = c->state;
    c->then(call);
}

static void on_keys(gr_call *call, const gr_answer *a)
{
    finish(call, gr_failed(a->err) || a->type != &gr_type_keys_found ? NULL : a->body);
}

void gr_signed_events_check(gr_call *call, gr_signed_event *events, size_t count, void (*then)(gr_call *))
{
    gr_assert(count <= GR_SIGNED_EVENTS_MAX);
    checking *c = gr_arena_alloc(call->arena, sizeof *c);
    *c = (checking){.state = call->state, .events = events, .count = count, .then = then, .edge = call->edge,
                    .wanted = gr_arena_alloc(call->arena, GR_KEYS_SERVERS_MAX * sizeof *c->wanted)};
    call->state = c;
    for (size_t i = 0; i < count; i++) {
        events[i].err = gr_event_from_json(call->arena, events[i].version, events[i].json, &events[i].event);
        if (!gr_failed(events[i].err)) want_keys(call, c, &events[i]);
    }
    if (c->wanted_count == 0) {
        finish(call, NULL);
        return;
    }
    gr_keys_find find = {.servers = {c->wanted, c->wanted_count}};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_KEYS, gr_call_new_id(call, KEY_ID_RANDOM)), &gr_type_keys_find, &find,
                     on_keys, 0, 2 * GR_CALL_TIMEOUT_MS, false);
}
