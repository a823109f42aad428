/* token.c - making, checking, refreshing and ending tokens. See token.h. */
#include "actors/token/token_private.h"

#include "proto/base64.h"

/* What is kept of a refresh token of the OAuth 2.0 API that was used; only in rows. */
enum { TOKEN_SPENT = 's' };

/* --- rows -------------------------------------------------------------------------------------------------- */
static gr_str row_key(gr_ctx *ctx, gr_str hash) { return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("h"), hash}); }

static gr_str user_key(gr_ctx *ctx, gr_str user, gr_str device, gr_str hash)
{
    gr_str nul = {"", 1};
    return gr_arena_cat(gr_ctx_arena(ctx), 6, (gr_str[]){GR_STR("u"), user, nul, device, nul, hash});
}

gr_token_row *gr_token_read_row(gr_ctx *ctx, gr_str hash)
{
    gr_str bytes;
    void *row = NULL;
    if (hash.size != GR_TOKEN_HASH || !gr_ctx_get(ctx, row_key(ctx, hash), &bytes)) return NULL;
    gr_err err = gr_body_decode(gr_ctx_arena(ctx), &gr_type_token_row, bytes, &row);
    return gr_failed(err) ? NULL : row;
}

void gr_token_put_row(gr_ctx *ctx, gr_str hash, const gr_token_row *row)
{
    char kind = (char)row->kind;
    gr_ctx_put_body(ctx, row_key(ctx, hash), &gr_type_token_row, row);
    gr_ctx_put(ctx, user_key(ctx, row->user, row->device, hash), gr_str_of(&kind, 1));
}

void gr_token_drop_row(gr_token_index *t, gr_ctx *ctx, gr_str hash, gr_forgetting *f)
{
    const gr_token_row *row = gr_token_read_row(ctx, hash);
    if (!row) return;
    gr_ctx_del(ctx, row_key(ctx, hash));
    gr_ctx_del(ctx, user_key(ctx, row->user, row->device, hash));
    if (row->kind != GR_TOKEN_ACCESS) return;
    uint64_t until_ms = gr_token_forget_at_edges(t, ctx, hash, f);
    if (f && until_ms) gr_token_going(t, ctx, row, hash, until_ms);
}

/* Remembers a refresh token that was used, and forgets the oldest such past a bound. */
static void remember_spent(gr_ctx *ctx, gr_str refresh, const gr_token_row *row, gr_strs *spent)
{
    gr_token_row old = {.kind = TOKEN_SPENT, .user = row->user, .device = row->device, .client = row->client};
    size_t forget = row->spent.count == GR_TOKEN_SPENT_MAX;
    if (forget) gr_token_drop_row(NULL, ctx, row->spent.at[0], NULL);
    gr_token_put_row(ctx, refresh, &old);
    *spent = (gr_strs){gr_arena_alloc(gr_ctx_arena(ctx), (row->spent.count + 1) * sizeof(gr_str)), 0};
    for (size_t i = forget; i < row->spent.count; i++) spent->at[spent->count++] = row->spent.at[i];
    spent->at[spent->count++] = refresh;
}

/* Ends a refresh token and the access token that goes with it. */
static void drop_pair(gr_token_index *t, gr_ctx *ctx, gr_str refresh, gr_forgetting *f)
{
    const gr_token_row *row = gr_token_read_row(ctx, refresh);
    if (!row) return;
    gr_token_drop_row(t, ctx, row->partner, f);
    gr_token_drop_row(t, ctx, refresh, f);
}

/* --- making ------------------------------------------------------------------------------------------------ */
gr_str gr_token_draw(gr_ctx *ctx, gr_token_kind kind, gr_token_digest *hash)
{
    unsigned char random[GR_TOKEN_RANDOM];
    gr_ctx_random(ctx, random, sizeof random);
    gr_str token = gr_token_make(gr_ctx_arena(ctx), kind, gr_ctx_shard(ctx), random);
    explicit_bzero(random, sizeof random);
    gr_token_hash(token, hash->bytes);
    return token;
}

/* A pair like `like` (user, device, flags), made in place of the refresh token `before` (may be empty). */
static gr_token_pair make_pair(gr_ctx *ctx, const gr_token_row *like, gr_str before, gr_token_digest *refresh)
{
    gr_token_digest access;
    uint64_t lifetime_ms = gr_env_of(ctx)->access_token_lifetime_ms;
    gr_token_pair pair = {.access = gr_token_draw(ctx, GR_TOKEN_ACCESS, &access), .expires_in_ms = lifetime_ms,
                          .refresh = gr_token_draw(ctx, GR_TOKEN_REFRESH, refresh), .scope = like->scope};
    gr_token_row row = {.kind = GR_TOKEN_ACCESS, .user = like->user, .device = like->device, .admin = like->admin,
                        .guest = like->guest, .before = before, .partner = gr_token_view(refresh),
                        .client = like->client, .scope = like->scope,
                        .expires_ms = gr_ctx_now_ms(ctx) + lifetime_ms};
    gr_token_put_row(ctx, gr_token_view(&access), &row);
    row.kind = GR_TOKEN_REFRESH;
    row.expires_ms = 0;
    row.partner = gr_token_view(&access);
    gr_token_put_row(ctx, gr_token_view(refresh), &row);
    return pair;
}

typedef struct { gr_ctx *ctx; gr_str keep; size_t device_at, count; gr_token_digest hashes[GR_TOKEN_DROP_STEP]; } selection;

/* Key: u user 0 device 0 hash. */
static bool select_row(void *arg, gr_str key, gr_str value)
{
    selection *s = arg;
    (void)value;
    if (key.size < s->device_at + 1 + GR_TOKEN_HASH) return true;
    gr_str device = gr_str_head(gr_str_from(key, s->device_at), key.size - s->device_at - 1 - GR_TOKEN_HASH);
    if (s->keep.size && gr_str_eq(device, s->keep)) return true;
    memcpy(s->hashes[s->count++].bytes, key.ptr + key.size - GR_TOKEN_HASH, GR_TOKEN_HASH);
    return s->count < GR_TOKEN_DROP_STEP;
}

/* Ends up to GR_TOKEN_DROP_STEP tokens of a user (of one device, unless that is empty).  True: there may be more. */
static bool drop_some(gr_token_index *t, gr_ctx *ctx, gr_str user, gr_str device, gr_str keep, gr_forgetting *f)
{
    selection s = {.ctx = ctx, .keep = keep, .device_at = 1 + user.size + 1};
    gr_str prefix = device.size ? user_key(ctx, user, device, (gr_str){0})
                                : gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("u"), user, {"", 1}});
    gr_ctx_scan_prefix(ctx, prefix, 0, select_row, &s);
    gr_token_forget_going(t, ctx, user, device, f);
    for (size_t i = 0; i < s.count; i++) gr_token_drop_row(t, ctx, gr_token_view(&s.hashes[i]), f);
    return s.count == GR_TOKEN_DROP_STEP;
}

static void on_issue(gr_token_index *t, const gr_token_issue *m, gr_ctx *ctx)
{
    gr_token_digest hash;
    gr_forgetting *f = gr_forgetting_new(t);
    drop_some(t, ctx, m->user, m->device, (gr_str){0}, f);
    gr_token_row row = {.kind = GR_TOKEN_ACCESS, .user = m->user, .device = m->device, .admin = m->admin, .guest = m->guest,
                        .client = m->client, .scope = m->scope};
    gr_token_pair pair = {0};
    if (m->refreshable) {
        pair = make_pair(ctx, &row, (gr_str){0}, &hash);
    } else {
        pair.access = gr_token_draw(ctx, GR_TOKEN_ACCESS, &hash);
        gr_token_put_row(ctx, gr_token_view(&hash), &row);
    }
    pair.user = m->user;
    pair.device = m->device;
    pair.provider = m->provider;
    gr_forgetting_finish(t, ctx, f, &pair);
}

/* --- using ------------------------------------------------------------------------------------------------- */
/* The first use of a pair ends the one it replaces.  Its refresh token is remembered where reuse ends the session. */
static void first_use(gr_token_index *t, gr_ctx *ctx, gr_str hash, gr_token_row *row)
{
    gr_token_row *partner = gr_token_read_row(ctx, row->partner), *old = gr_token_read_row(ctx, row->before);
    gr_strs spent = {0};
    drop_pair(t, ctx, row->before, NULL);
    if (old && old->client.size) remember_spent(ctx, row->before, old, &spent);
    row->before = (gr_str){0};
    if (row->kind == GR_TOKEN_REFRESH) row->spent = spent;
    gr_token_put_row(ctx, hash, row);
    if (!partner) return;
    partner->before = (gr_str){0};
    if (partner->kind == GR_TOKEN_REFRESH) partner->spent = spent;
    gr_token_put_row(ctx, row->partner, partner);
}

/* Rows x<user>: whose tokens are refused. */
static gr_str hold_key(gr_ctx *ctx, gr_str user) { return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("x"), user}); }

static bool is_held(gr_ctx *ctx, gr_str user)
{
    gr_str row;
    return gr_ctx_get(ctx, hold_key(ctx, user), &row);
}

static void on_hold(const gr_token_hold *m, gr_ctx *ctx)
{
    if (m->held) gr_ctx_put(ctx, hold_key(ctx, m->user), GR_STR(""));
    else gr_ctx_del(ctx, hold_key(ctx, m->user));
}

static void on_check(gr_token_index *t, const gr_token_check *m, gr_str from, gr_ctx *ctx)
{
    gr_token_row *row = gr_token_read_row(ctx, m->hash);
    if (!row || row->kind != GR_TOKEN_ACCESS) {
        gr_ctx_fail(ctx, gr_fail(GR_UNKNOWN_TOKEN, "Unrecognised access token"));
        return;
    }
    if (row->expires_ms && row->expires_ms <= gr_ctx_now_ms(ctx)) {
        gr_ctx_fail(ctx, gr_fail(GR_EXPIRED_TOKEN, "The access token has expired: refresh it or log in again"));
        return;
    }
    if (is_held(ctx, row->user)) {
        gr_ctx_fail(ctx, gr_fail(GR_USER_LOCKED, "This account is no longer valid: renew it by the mail you were sent"));
        return;
    }
    if (row->before.size) first_use(t, ctx, m->hash, row);
    gr_token_owner owner = {.user = row->user, .device = row->device, .admin = row->admin, .guest = row->guest,
                            .expires_ms = row->expires_ms, .lease_ms = gr_token_lease(t, ctx, from) ? GR_TOKEN_LEASE_MS : 0,
                            .client = row->client, .scope = row->scope};
    uint64_t now_ms = gr_ctx_now_ms(ctx), left_ms = row->expires_ms > now_ms ? row->expires_ms - now_ms : 0;
    if (row->expires_ms && left_ms < owner.lease_ms) owner.lease_ms = left_ms;
    gr_user_seen seen = {.device = row->device, .ip = m->ip, .agent = m->agent};
    if (m->ip.size) gr_ctx_tell(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, row->user), &gr_type_user_seen, &seen);
    gr_ctx_reply(ctx, &gr_type_token_owner, &owner);
}

/* Client-Server API, "Refresh token grant": who uses an old one has it from somewhere else. */
static void end_reused(const gr_token_row *row, gr_ctx *ctx)
{
    gr_str device = row->device;
    gr_user_logout logout = {.devices = {&device, 1}};
    gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, row->user), &gr_type_user_logout, &logout);
}

static void on_refresh(gr_token_index *t, const gr_token_refresh *m, gr_ctx *ctx)
{
    gr_token_digest made;
    gr_token_row *row = gr_token_read_row(ctx, m->hash);
    if (row && row->kind == TOKEN_SPENT) end_reused(row, ctx);
    if (!row || row->kind != GR_TOKEN_REFRESH || !gr_str_eq(row->client, m->client)) {
        gr_ctx_fail(ctx, gr_fail(GR_UNKNOWN_TOKEN, "Unrecognised refresh token: log in again"));
        return;
    }
    if (row->before.size) first_use(t, ctx, m->hash, row);
    drop_pair(t, ctx, row->after, NULL);
    gr_token_pair pair = make_pair(ctx, row, m->hash, &made);
    row->after = gr_token_view(&made);
    gr_token_put_row(ctx, m->hash, row);
    gr_ctx_reply(ctx, &gr_type_token_pair, &pair);
}

/* To end a session by any of its tokens. */
static void on_look(const gr_token_look *m, gr_ctx *ctx)
{
    const gr_token_row *row = gr_token_read_row(ctx, m->hash);
    if (!row || (row->kind != GR_TOKEN_ACCESS && row->kind != GR_TOKEN_REFRESH)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such token"));
        return;
    }
    gr_token_owner owner = {.user = row->user, .device = row->device, .client = row->client};
    gr_ctx_reply(ctx, &gr_type_token_owner, &owner);
}

/* --- what ends by itself ----------------------------------------------------------------------------------- */
void gr_token_expires(gr_ctx *ctx, gr_str hash, uint64_t at_ms)
{
    gr_ctx_timer(ctx, gr_base64_url(gr_ctx_arena(ctx), hash), at_ms, true);
}

/* Browsers whose time is over. */
#define UPKEEP_EXPIRED "tokens-expired"

static void on_timer(gr_token_index *t, gr_str name, gr_ctx *ctx)
{
    gr_str hash;
    if (gr_str_is(name, "lease")) gr_token_leases_over(t, ctx);
    else if (gr_ctx_upkeep_paused(ctx, UPKEEP_EXPIRED)) gr_ctx_timer(ctx, name, gr_ctx_now_ms(ctx) + GR_UPKEEP_PAUSED_MS, true);
    else if (gr_base64_decode(gr_ctx_arena(ctx), name, &hash)) {
        gr_ctx_upkeep(ctx, UPKEEP_EXPIRED, 1);
        gr_token_drop_row(t, ctx, hash, NULL);
    }
}

/* --- ending ------------------------------------------------------------------------------------------------ */
static void on_drop(gr_token_index *t, const gr_token_drop *m, gr_ctx *ctx)
{
    gr_forgetting *f = gr_forgetting_new(t);
    size_t at = 0;
    bool more = false;
    if (m->devices.count == 0) {
        more = drop_some(t, ctx, m->user, (gr_str){0}, m->keep, f);
    } else {
        for (size_t left = GR_TOKEN_DROP_STEP; at < m->devices.count && left > 0; at++, left--)
            drop_some(t, ctx, m->user, m->devices.at[at], (gr_str){0}, f);
        more = at < m->devices.count;
    }
    if (more) {                    /* the rest by a message of its own, which answers; edges hear in order */
        gr_token_drop rest = *m;
        rest.devices = (gr_strs){m->devices.at + at, m->devices.count - at};
        gr_ctx_post_forward(ctx, gr_ctx_self(ctx), &gr_type_token_drop, &rest);
    }
    gr_forgetting_finish(t, ctx, f, NULL);
}

/* --- the actor --------------------------------------------------------------------------------------------- */
static void load(void *self, gr_str id, gr_ctx *ctx)
{
    (void)id;
    gr_token_edges_load(self, ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    if (m->verb == GR_REPLY) {
        gr_token_forgotten(self, ctx, m->resume->number, m->err);
        return;
    }
    switch (m->type->id) {
    case GR_T_token_check: on_check(self, m->body, m->from, ctx); return;
    case GR_T_token_issue: on_issue(self, m->body, ctx); return;
    case GR_T_token_hold: on_hold(m->body, ctx); return;
    case GR_T_token_drop: on_drop(self, m->body, ctx); return;
    case GR_T_token_refresh: on_refresh(self, m->body, ctx); return;
    case GR_T_token_look: on_look(m->body, ctx); return;
    case GR_T_browser_begin: gr_token_on_browser_begin(m->body, ctx); return;
    case GR_T_browser_look: gr_token_on_browser_look(m->body, ctx); return;
    case GR_T_browser_end: gr_token_on_browser_end(self, m->body, ctx); return;
    case GR_T_timer: on_timer(self, ((const gr_timer *)m->body)->name, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A token index does not take this message"));
    }
}

static void drop(void *self) { gr_token_edges_drop(self); }
static bool busy(const void *self) { return ((const gr_token_index *)self)->forgetting != NULL; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_token_index *t = self;
    unsigned leases = 0, waiting = 0;
    for (size_t i = 0; i < t->edge_count; i++) leases += t->edges[i].lease_until_ms > gr_ctx_now_ms(ctx);
    for (const gr_forgetting *f = t->forgetting; f; f = f->next) waiting++;
    gr_buf_printf(out, "\"edges\":%zu,\"edges_with_leases\":%u,\"waiting_for_edges\":%u", t->edge_count, leases, waiting);
}

static const gr_actor_upkeep upkeep[] = {{.name = UPKEEP_EXPIRED, .by_timer = true}, {0}};

const gr_actor_kind gr_token_index_kind = {.kind = GR_KIND_TOKEN, .size = sizeof(gr_token_index), .load = load,
                                           .handle = handle, .drop = drop, .busy = busy, .inspect = inspect, .upkeep = upkeep};
