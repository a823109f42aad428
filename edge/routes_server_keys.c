/* routes_server_keys.c - signing keys: our own published, and those of others as a notary. Server-server API, "Retrieving
 * server keys".
 */
#include "edge/edge.h"
#include "edge/old_key.h"
#include "edge/routes.h"

#include "actors/keys/keys.h"
#include "proto/ident.h"

#include <sodium.h>

enum { VALID_MS = 24 * 3600 * 1000 };

/* --- our own ----------------------------------------------------------------------------------------------- */
static void write_old_key(gr_jw *w, gr_arena *arena, gr_str entry)
{
    gr_old_key old;
    gr_err err = gr_old_key_parse(arena, entry, &old);
    gr_assert(!gr_failed(err));        /* the configuration was checked */
    gr_jw_key_str(w, old.id);
    gr_jw_object(w);
    gr_jw_kint(w, "expired_ts", (int64_t)old.expired_ms);
    gr_jw_kstr(w, "key", old.key);
    gr_jw_end_object(w);
}

static gr_str own_keys(gr_call *call)
{
    const gr_signer *signer = call->edge->env->signer;
    const gr_config_list *old = &gr_call_config(call)->federation_old_keys;
    const gr_json *object = NULL;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "old_verify_keys");
    gr_jw_object(&w);
    for (size_t i = 0; i < old->count; i++) write_old_key(&w, call->arena, gr_str_c(old->at[i]));
    gr_jw_end_object(&w);
    gr_jw_kstr(&w, "server_name", gr_call_server_name(call));
    gr_jw_kint(&w, "valid_until_ts", (int64_t)(call->now_ms + VALID_MS));
    gr_jw_key(&w, "verify_keys");
    gr_jw_object(&w);
    gr_jw_key(&w, signer->key_id);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "key", gr_signer_public_text(call->arena, signer));
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_err err = gr_json_parse(call->arena, gr_buf_view(&out), GR_JSON_LAX, &object);
    gr_assert(!gr_failed(err));
    gr_buf_free(&out);
    return gr_sign_json(call->arena, signer, object);
}

static void serve_own(gr_call *call) { gr_call_json(call, 200, own_keys(call)); }

/* --- those of others --------------------------------------------------------------------------------------- */
typedef struct {
    gr_keys_wanted *servers;
    size_t count;
    bool with_own;
} asked;

static void answer(gr_call *call, const gr_keys_known *known, size_t count)
{
    const asked *s = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "server_keys");
    gr_jw_array(&w);
    if (s->with_own) gr_jw_raw(&w, own_keys(call));
    for (size_t i = 0; i < count; i++) {
        const gr_json *object = NULL;
        if (known[i].object.size == 0) continue;
        if (gr_failed(gr_json_parse(call->arena, known[i].object, GR_JSON_LAX, &object))) continue;
        gr_jw_raw(&w, gr_sign_json(call->arena, call->edge->env->signer, object));
    }
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void on_found(gr_call *call, const gr_answer *a)
{
    const gr_keys_found *found = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_keys_found)
        gr_call_fail(call, gr_failed(a->err) ? a->err : gr_fail(GR_UNKNOWN, "No answer"));
    else answer(call, found->servers.at, found->servers.count);
}

static void find_keys(gr_call *call)
{
    const asked *s = call->state;
    uint64_t random[2];
    if (s->count == 0) {
        answer(call, NULL, 0);
        return;
    }
    randombytes_buf(random, sizeof random);
    gr_str id = gr_arena_printf(call->arena, "%016llx%016llx", (unsigned long long)random[0], (unsigned long long)random[1]);
    gr_keys_find find = {.servers = {s->servers, s->count}, .with_object = true, .fresh = true};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_KEYS, id), &gr_type_keys_find, &find, on_found, 0,
                     3 * GR_CALL_TIMEOUT_MS, false);
}

/* Servers that we do not talk with and names that are none are left out, like servers that cannot be reached. */
static void add_server(gr_call *call, asked *s, gr_str name, const gr_json *keys, uint64_t min_valid_ms)
{
    if (gr_str_eq(name, gr_call_server_name(call))) {
        s->with_own = true;
        return;
    }
    if (!gr_ident_server_name(name) || !gr_call_server_allowed(gr_call_config(call), name)) return;
    uint32_t count = keys ? keys->count : 0;
    gr_keys_wanted wanted = {.server = name, .key_ids.at = gr_arena_alloc(call->arena, count * sizeof(gr_str)),
                             .min_valid_ms = min_valid_ms};
    for (uint32_t i = 0; i < count; i++) {
        int64_t until = gr_json_integer(gr_json_get(&keys->members[i].value, "minimum_valid_until_ts"), 0);
        if (until > 0 && (uint64_t)until > wanted.min_valid_ms) wanted.min_valid_ms = (uint64_t)until;
        wanted.key_ids.at[wanted.key_ids.count++] = keys->members[i].key;
    }
    s->servers[s->count++] = wanted;
}

static void serve_query_one(gr_call *call)
{
    uint64_t min_valid_ms = 0;
    asked *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    s->servers = gr_arena_alloc(call->arena, sizeof *s->servers);
    if (!gr_call_query_u64(call, "minimum_valid_until_ts", call->now_ms, &min_valid_ms)) return;
    add_server(call, s, gr_call_param(call, "serverName"), NULL, min_valid_ms);
    find_keys(call);
}

static void serve_query(gr_call *call)
{
    const gr_json *wanted = NULL;
    asked *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    if (!gr_call_want(call, "server_keys", GR_JSON_OBJECT, &wanted)) return;
    if (wanted->count > GR_KEYS_SERVERS_MAX) {
        gr_call_fail_with(call, GR_TOO_LARGE, "Keys of at most 100 servers can be asked for at once");
        return;
    }
    s->servers = gr_arena_alloc(call->arena, wanted->count * sizeof *s->servers);
    for (uint32_t i = 0; i < wanted->count; i++) {
        const gr_json *keys = &wanted->members[i].value;
        if (!gr_json_is(keys, GR_JSON_OBJECT) || keys->count > GR_JSON_DEPTH_MAX) {
            gr_call_fail_with(call, GR_BAD_JSON, "'server_keys' must have an object of a few key ids for each server");
            return;
        }
        add_server(call, s, wanted->members[i].key, keys, call->now_ms);
    }
    find_keys(call);
}

const gr_call_route gr_routes_server_keys[] = {
    {GR_HTTP_GET, "/_matrix/key/v2/server", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_own},
    {GR_HTTP_GET, "/_matrix/key/v2/server/{keyId}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_own},
    {GR_HTTP_GET, "/_matrix/key/v2/query/{serverName}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_query_one},
    {GR_HTTP_POST, "/_matrix/key/v2/query", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_SERVER, serve_query},
    {.pattern = NULL}};
