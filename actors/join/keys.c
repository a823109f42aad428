/* keys.c - the keys of those who signed what is staged: asked for, and again while some are missing. See join.h. */
#include "actors/join/join_private.h"
#include "actors/keys/keys.h"
#include "actors/keys/published.h"

#include "proto/ident.h"

#include <stdlib.h>

enum {
    KEY_ROWS = 200, KEYS_MS = 60 * 1000, ID_RANDOM = 16, KEYS_KNOWN = 16, KEYS_OPEN = 4,
    IDS_MAX = 8, KEY_ROW = GR_SIGN_PUBLIC + 16
};

/* --- what is known ---------------------------------------------------------------------------------------------- */
gr_join_key gr_join_key_of(gr_ctx *ctx, gr_str server, gr_str key_id, int64_t ts,
                           unsigned char public_key[GR_SIGN_PUBLIC])
{
    gr_str value;
    const gr_signer *own = gr_env_of(ctx)->signer;
    bool is_worth_asking = gr_ident_server_name(server) && gr_ident_key(key_id)
        && ts <= (int64_t)(gr_ctx_now_ms(ctx) + GR_SERVER_KEYS_VALID_MS);
    if (gr_str_eq(server, gr_env_of(ctx)->server_name)) {
        memcpy(public_key, own->public_key, GR_SIGN_PUBLIC);
        return gr_str_eq(key_id, gr_str_c(own->key_id)) ? GR_JOIN_KEY_GOOD : GR_JOIN_KEY_BAD;
    }
    gr_str key = gr_arena_cat(gr_ctx_arena(ctx), 4, (gr_str[]){GR_STR("K"), server, {"", 1}, key_id});
    if (key.size > GR_SUBKEY_MAX) return GR_JOIN_KEY_BAD;
    if (!gr_ctx_get(ctx, key, &value) || value.size != KEY_ROW)
        return is_worth_asking ? GR_JOIN_KEY_LACKING : GR_JOIN_KEY_BAD;
    uint64_t valid_until = gr_u64be(value.ptr + GR_SIGN_PUBLIC), expired = gr_u64be(value.ptr + GR_SIGN_PUBLIC + 8);
    memcpy(public_key, value.ptr, GR_SIGN_PUBLIC);
    if (ts == 0 || (uint64_t)ts <= (expired ? expired : valid_until)) return GR_JOIN_KEY_GOOD;
    return expired || !is_worth_asking ? GR_JOIN_KEY_BAD : GR_JOIN_KEY_LACKING;
}

bool gr_join_find_key(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC])
{
    return gr_join_key_of(arg, server, key_id, ts, public_key) == GR_JOIN_KEY_GOOD;
}

typedef struct { gr_arena *arena; gr_keys_known known; } some_keys;

static bool add_key(void *arg, gr_str key, gr_str value)
{
    some_keys *k = arg;
    ptrdiff_t nul = gr_str_find(key, 0);
    if (value.size != KEY_ROW || nul < 0) return true;
    k->known.keys.at[k->known.keys.count++] = (gr_server_key){
        .key_id = gr_arena_str(k->arena, gr_str_from(key, (size_t)nul + 1)),
        .public_key = gr_arena_str(k->arena, gr_str_head(value, GR_SIGN_PUBLIC)),
        .valid_until_ms = gr_u64be(value.ptr + GR_SIGN_PUBLIC), .expired_ms = gr_u64be(value.ptr + GR_SIGN_PUBLIC + 8)};
    return true;
}

gr_keys_known gr_join_keys_of(gr_ctx *ctx, gr_str server)
{
    gr_arena *a = gr_ctx_arena(ctx);
    some_keys k = {a, {.server = server}};
    k.known.keys.at = gr_arena_alloc(a, KEYS_KNOWN * sizeof *k.known.keys.at);
    gr_ctx_scan_prefix(ctx, gr_arena_cat(a, 3, (gr_str[]){GR_STR("K"), server, {"", 1}}), KEYS_KNOWN, add_key, &k);
    return k.known;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    gr_keys_wanted *at;
    size_t count;
    bool is_full;
    gr_str last, own;                  /* last: the row */
    uint64_t now_ms;
} wanted_keys;

static bool on_key_row(void *arg, gr_str key, gr_str value)
{
    wanted_keys *w = arg;
    ptrdiff_t nul = gr_str_find(key, 0);
    gr_str server = gr_arena_str(w->arena, gr_str_of(key.ptr + 1, (size_t)nul - 1));
    bool is_new = w->count == 0 || !gr_str_eq(w->at[w->count - 1].server, server);
    if (is_new && w->count == GR_KEYS_SERVERS_MAX) {
        w->is_full = true;
        return false;
    }
    w->last = gr_arena_str(w->arena, key);
    if (!gr_ident_server_name(server) || gr_str_eq(server, w->own)) return true;
    if (is_new)
        w->at[w->count++] = (gr_keys_wanted){
            .server = server, .key_ids = {gr_arena_alloc(w->arena, IDS_MAX * sizeof(gr_str)), 0}};
    gr_strs *ids = &w->at[w->count - 1].key_ids;
    gr_str id = gr_arena_str(w->arena, gr_str_from(key, (size_t)nul + 1));
    uint64_t ts = value.size == 8 ? gr_u64be(value.ptr) : 0;
    if (ids->count < IDS_MAX && gr_ident_key(id)) ids->at[ids->count++] = id;
    if (ts > w->at[w->count - 1].min_valid_ms) w->at[w->count - 1].min_valid_ms = ts < w->now_ms ? ts : w->now_ms;
    return true;
}

static gr_str keys_address(gr_ctx *ctx)
{
    char bytes[ID_RANDOM];
    gr_buf id = {0};
    gr_ctx_random(ctx, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) gr_buf_printf(&id, "%02x", (unsigned char)bytes[i]);
    gr_str address = gr_address(gr_ctx_arena(ctx), GR_KIND_KEYS, gr_buf_view(&id));
    gr_buf_free(&id);
    return address;
}

/* In the first round all that have signed, then those that were missing when signatures were checked. */
static gr_str wanted_rows(const gr_join *j) { return j->flow->key_round ? GR_STR("u") : GR_STR("k"); }

/* Asks for the keys of the next servers; false: there are no more. */
static bool ask_keys(gr_join *j, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str *cursor = &j->cursors[0], from = wanted_rows(j);
    if (!cursor->ptr) return false;
    if (cursor->size) from = gr_arena_cat(a, 2, (gr_str[]){*cursor, {"", 1}});
    wanted_keys w = {.arena = a, .at = gr_arena_alloc(a, GR_KEYS_SERVERS_MAX * sizeof *w.at),
                     .own = gr_env_of(ctx)->server_name, .now_ms = gr_ctx_now_ms(ctx)};
    gr_ctx_scan(ctx, from, j->flow->key_round ? GR_STR("v") : GR_STR("l"), false, KEY_ROWS, on_key_row, &w);
    gr_join_set_cursor(cursor, w.last);
    if (w.count == 0) return w.last.ptr != NULL && ask_keys(j, ctx);
    gr_keys_find find = {.servers = {w.at, w.count}};
    if (j->flow->key_round) find.via = j->flow->servers.at[j->flow->next];
    gr_resume resume = {.step = (uint32_t)j->flow->step, .number = j->epoch << 16};
    gr_ctx_ask(ctx, keys_address(ctx), &gr_type_keys_find, &find, KEYS_MS, &resume);
    j->open++;
    return true;
}

static void go_on_with_keys(gr_join *j, gr_ctx *ctx)
{
    while (j->open < KEYS_OPEN && ask_keys(j, ctx)) continue;
    if (j->open == 0) gr_join_go(j, ctx, j->flow->is_here ? GR_JOIN_ENTER : GR_JOIN_CHECK);
}

void gr_join_keys_ask(gr_join *j, gr_ctx *ctx)
{
    gr_join_set_cursor(&j->cursors[0], GR_STR(""));
    go_on_with_keys(j, ctx);
}

/* The second round asks the server that gave the state too, without a wait; what nobody knows then may be known later. */
void gr_join_keys_begin(gr_join *j, gr_ctx *ctx)
{
    if (!j->flow->keys_until_ms) j->flow->keys_until_ms = gr_ctx_now_ms(ctx) + GR_JOIN_KEYS_MS;
    if (j->flow->key_round < 2) gr_join_keys_ask(j, ctx);
    else gr_ctx_timer(ctx, GR_STR("keys"), gr_ctx_now_ms(ctx) + GR_JOIN_KEYS_AGAIN_MS, true);
}

bool gr_join_keys_again(gr_join *j, gr_ctx *ctx)
{
    if (j->flow->key_round == GR_JOIN_KEY_ROUNDS - 1 || gr_ctx_now_ms(ctx) >= j->flow->keys_until_ms) return false;
    j->flow->key_round++;
    gr_join_go(j, ctx, GR_JOIN_KEYS);
    return true;
}

static void put_keys(const gr_join *j, gr_ctx *ctx, const gr_keys_known *known)
{
    gr_arena *a = gr_ctx_arena(ctx);
    for (size_t i = 0; i < known->keys.count && i < KEYS_KNOWN; i++) {
        const gr_server_key *key = &known->keys.at[i];
        gr_buf value = {0};
        if (key->public_key.size != GR_SIGN_PUBLIC) continue;
        gr_buf_str(&value, key->public_key);
        gr_buf_u64be(&value, key->valid_until_ms);
        gr_buf_u64be(&value, key->expired_ms);
        gr_str id[] = {GR_STR("K"), known->server, {"", 1}, key->key_id};
        gr_ctx_put(ctx, gr_arena_cat(a, 4, id), gr_buf_view(&value));
        id[0] = GR_STR("u");
        if (j->flow->key_round) gr_ctx_del(ctx, gr_arena_cat(a, 4, id));       /* the next check wants it again if it has to */
        gr_buf_free(&value);
    }
}

void gr_join_on_keys(gr_join *j, const gr_msg *m, gr_ctx *ctx)
{
    const gr_keys_found *found = m->body;
    for (size_t i = 0; !gr_failed(m->err) && i < found->servers.count; i++) put_keys(j, ctx, &found->servers.at[i]);
    go_on_with_keys(j, ctx);
}
