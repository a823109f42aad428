/* provider.c - metadata and keys of a provider, and the end of its sessions. See provider.h. OpenID Connect Discovery, 4. */
#include "actors/provider/provider.h"

#include "actors/env.h"
#include "proto/base64.h"
#include "proto/jwt.h"

#include <stdlib.h>

typedef enum { IDLE, FETCH_METADATA, FETCH_KEYS } phase;

/* Waits for metadata and keys: who asks about them, or brings a logout token. */
typedef struct waiting waiting;
struct waiting {
    waiting *next;
    gr_asker *asker;
    gr_str key_id, token;          /* owned */
    bool asked_again;
};

typedef struct {
    gr_str id;                     /* owned */
    phase phase;
    gr_arena *arena;               /* of the next four; NULL: nothing is known */
    const gr_json *metadata, *keys;
    gr_str metadata_text, keys_text;
    uint64_t metadata_ms, keys_ms;
    waiting *waiting;
    size_t waiting_count;
} provider;

const gr_provider *gr_provider_find(const gr_providers *all, gr_str id)
{
    for (size_t i = 0; i < all->count; i++)
        if (gr_str_eq(all->at[i].id, id)) return &all->at[i];
    return NULL;
}

static const gr_provider *settings(const provider *p, gr_ctx *ctx)
{
    return gr_provider_find(&gr_env_of(ctx)->providers, p->id);
}

/* --- sessions ---------------------------------------------------------------------------------------------- */
static gr_str session_row(gr_ctx *ctx, const char *letter, gr_str of, gr_str user, gr_str device)
{
    gr_arena *a = gr_ctx_arena(ctx);
    return gr_arena_cat(a, 6, (gr_str[]){gr_str_c(letter), gr_base64_url(a, of), {"", 1}, user, {"", 1}, device});
}

static void on_session(const gr_provider_session *m, gr_ctx *ctx)
{
    gr_str by_session = session_row(ctx, "s", m->session, m->user, m->device);
    gr_str by_subject = session_row(ctx, "u", m->subject, m->user, m->device);
    if (m->ended) {
        gr_ctx_del(ctx, by_session);
        gr_ctx_del(ctx, by_subject);
        return;
    }
    if (m->session.size) gr_ctx_put(ctx, by_session, m->subject);
    gr_ctx_put(ctx, by_subject, m->session);
}

typedef struct { gr_ctx *ctx; const provider *p; gr_str session, subject; size_t count; } ending;

/* One device: <letter> <base64> 0 <user> 0 <device>. */
static bool end_one(void *arg, gr_str key, gr_str value)
{
    ending *e = arg;
    gr_arena *a = gr_ctx_arena(e->ctx);
    gr_str rest = gr_str_from(key, (size_t)gr_str_find(key, 0) + 1);
    ptrdiff_t end = gr_str_find(rest, 0);
    gr_assert(end > 0);
    gr_str user = gr_arena_str(a, gr_str_head(rest, (size_t)end)), device = gr_arena_str(a, gr_str_from(rest, (size_t)end + 1));
    gr_str other = gr_arena_str(a, value);
    gr_str session = e->session.size ? e->session : other, subject = e->session.size ? other : e->subject;
    gr_user_logout logout = {.devices = {&device, 1}, .provider = e->p->id, .session = session};
    gr_ctx_post(e->ctx, gr_address(a, GR_KIND_USER, user), &gr_type_user_logout, &logout);
    gr_ctx_del(e->ctx, session_row(e->ctx, "s", session, user, device));
    gr_ctx_del(e->ctx, session_row(e->ctx, "u", subject, user, device));
    e->count++;
    return true;
}

/* By session; by subject when it is empty.  So many at a time, the rest by a message of its own. */
static void end_sessions(const provider *p, gr_ctx *ctx, gr_str session, gr_str subject)
{
    ending e = {.ctx = ctx, .p = p, .session = session, .subject = subject};
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str of = session.size ? GR_STR("s") : GR_STR("u"), name = gr_base64_url(a, session.size ? session : subject);
    gr_ctx_scan_prefix(ctx, gr_arena_cat(a, 3, (gr_str[]){of, name, {"", 1}}), GR_PROVIDER_LOGOUT_STEP, end_one, &e);
    gr_provider_logout rest = {.session = session, .subject = subject};
    if (e.count == GR_PROVIDER_LOGOUT_STEP) gr_ctx_post(ctx, gr_ctx_self(ctx), &gr_type_provider_logout, &rest);
}

/* --- metadata and keys ------------------------------------------------------------------------------------- */
static void fetch(gr_ctx *ctx, gr_str url, phase step)
{
    gr_fetch f = {.url = url, .any_address = true, .method = GR_STR("GET"), .timeout_ms = GR_PROVIDER_FETCH_MS,
                  .answer_max = GR_PROVIDER_ANSWER_MAX};
    gr_ctx_fetch(ctx, &f, &(gr_resume){.step = step});
}

static void begin(provider *p, gr_ctx *ctx)
{
    if (p->phase != IDLE) return;
    gr_str issuer = settings(p, ctx)->issuer;
    while (issuer.size && issuer.ptr[issuer.size - 1] == '/') issuer.size--;
    p->phase = FETCH_METADATA;
    fetch(ctx, gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){issuer, GR_STR("/.well-known/openid-configuration")}), p->phase);
}

static void free_waiting(provider *p, waiting *w)
{
    gr_asker_free(&w->asker);
    free((char *)w->key_id.ptr);
    free((char *)w->token.ptr);
    free(w);
    p->waiting_count--;
}

static bool has_key(const provider *p, gr_str id)
{
    const gr_json *list = gr_json_get(p->keys, "keys");
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++)
        if (gr_str_eq(gr_json_text(&list->items[i], "kid"), id)) return true;
    return false;
}

/* True: the keys are to be fetched again first, because one is not among them. */
static bool logout_by_token(provider *p, waiting *w, gr_ctx *ctx)
{
    const gr_provider *s = settings(p, ctx);
    const gr_json *claims = NULL;
    gr_arena *a = gr_ctx_arena(ctx);
    gr_jwt_wanted wanted = {.issuer = s->issuer, .client_id = s->client_id, .now_s = gr_ctx_now_ms(ctx) / 1000};
    gr_err err = gr_jwt_verify(a, w->token, p->keys, &claims);
    if (err.code == GR_NOT_FOUND && !w->asked_again) return true;
    if (!gr_failed(err)) err = gr_jwt_check_logout(claims, &wanted);
    if (gr_failed(err)) {
        gr_ctx_answer_fail(ctx, &w->asker, gr_fail(GR_FORBIDDEN, err.text));
        return false;
    }
    end_sessions(p, ctx, gr_json_text(claims, "sid"), gr_json_text(claims, "sub"));
    gr_ctx_answer(ctx, &w->asker, &gr_type_done, &(gr_done){0});
    return false;
}

/* Does all for who waits that can be done with what is known. */
static void serve(provider *p, gr_ctx *ctx)
{
    waiting *all = p->waiting;
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    bool fresh = p->metadata_ms + GR_PROVIDER_METADATA_MS > now_ms, young = p->keys_ms + GR_PROVIDER_KEYS_MS > now_ms;
    p->waiting = NULL;
    for (waiting *w = all, *next; w; w = next) {
        next = w->next;
        bool ready = fresh && (w->key_id.size == 0 || young || has_key(p, w->key_id));
        if (ready && w->token.size && logout_by_token(p, w, ctx)) {
            w->asked_again = true;
            ready = young;
            if (young) gr_ctx_answer_fail(ctx, &w->asker, gr_fail(GR_FORBIDDEN, "The logout token has an unknown key"));
        }
        if (ready && w->token.size == 0) {
            gr_provider_is is = {.metadata = p->metadata_text, .keys = p->keys_text};
            gr_ctx_answer(ctx, &w->asker, &gr_type_provider_is, &is);
        }
        if (ready) free_waiting(p, w);
        else {
            w->next = p->waiting;
            p->waiting = w;
        }
    }
    if (p->waiting) begin(p, ctx);
}

static void fail_all(provider *p, gr_ctx *ctx, const char *why)
{
    p->phase = IDLE;
    for (waiting *w = p->waiting, *next; w; w = next) {
        next = w->next;
        gr_ctx_answer_fail(ctx, &w->asker, gr_fail(GR_UNAVAILABLE, why));
        free_waiting(p, w);
    }
    p->waiting = NULL;
}

/* What an https provider names must be https too. */
static bool url_fits(gr_str issuer, gr_str url)
{
    bool https = gr_str_starts(url, GR_STR("https://")), http = gr_str_starts(url, GR_STR("http://"));
    return https || (http && gr_str_starts(issuer, GR_STR("http://")));
}

static void on_metadata(provider *p, const gr_json *json, gr_ctx *ctx)
{
    gr_str issuer = settings(p, ctx)->issuer;
    static const char *const needed[] = {"authorization_endpoint", "token_endpoint", "jwks_uri"};
    if (!gr_str_eq(gr_json_text(json, "issuer"), issuer)) {
        fail_all(p, ctx, "The identity provider says that it is another");
        return;
    }
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!url_fits(issuer, gr_json_text(json, needed[i]))) {
            fail_all(p, ctx, "The identity provider does not say where its parts are");
            return;
        }
    gr_arena_free(&p->arena);
    p->keys = NULL;
    p->keys_text = (gr_str){0};
    p->metadata_ms = p->keys_ms = 0;
    p->arena = gr_arena_new(0);
    p->metadata_text = gr_json_printed(p->arena, json);
    gr_err err = gr_json_parse(p->arena, p->metadata_text, GR_JSON_LAX, &p->metadata);
    gr_assert(!gr_failed(err));
    p->phase = FETCH_KEYS;
    fetch(ctx, gr_json_text(p->metadata, "jwks_uri"), p->phase);
}

static void on_keys(provider *p, const gr_json *json, gr_ctx *ctx)
{
    p->keys_text = gr_json_printed(p->arena, json);
    gr_err err = gr_json_parse(p->arena, p->keys_text, GR_JSON_LAX, &p->keys);
    gr_assert(!gr_failed(err));
    p->metadata_ms = p->keys_ms = gr_ctx_now_ms(ctx);
    p->phase = IDLE;
    serve(p, ctx);
}

static void on_fetched(provider *p, phase step, const gr_fetched *f, gr_ctx *ctx)
{
    const gr_json *json = NULL;
    if (p->phase != step) return;      /* this actor was loaded again since */
    bool good = f->failure == GR_FETCH_ANSWERED && f->status == 200
        && !gr_failed(gr_json_parse(gr_ctx_arena(ctx), f->body, GR_JSON_LAX, &json)) && gr_json_is(json, GR_JSON_OBJECT);
    if (!good) fail_all(p, ctx, "The identity provider can't be reached");
    else if (step == FETCH_METADATA) on_metadata(p, json, ctx);
    else on_keys(p, json, ctx);
}

static void wait(provider *p, gr_ctx *ctx, gr_str key_id, gr_str token)
{
    const gr_provider *s = settings(p, ctx);
    if (!s || s->is_cas) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such identity provider"));
        return;
    }
    if (p->waiting_count == GR_PROVIDER_WAITING_MAX) {
        gr_ctx_fail(ctx, (gr_err){GR_LIMIT_EXCEEDED, "Too many wait for the identity provider", 1000});
        return;
    }
    waiting *w = gr_alloc(sizeof *w);
    *w = (waiting){.next = p->waiting, .asker = gr_ctx_keep_asker(ctx), .key_id = gr_str_keep(key_id),
                   .token = gr_str_keep(token)};
    p->waiting = w;
    p->waiting_count++;
    if (p->phase == IDLE) serve(p, ctx);
}

/* Without a token: a ticket of CAS, which only it and this server know; or the rest of what was begun here. */
static void on_logout(provider *p, const gr_provider_logout *m, gr_verb verb, gr_ctx *ctx)
{
    const gr_provider *s = settings(p, ctx);
    if (m->token.size) {
        wait(p, ctx, (gr_str){0}, m->token);
        return;
    }
    if (verb == GR_POST || (s && s->is_cas)) end_sessions(p, ctx, m->session, m->subject);
    gr_ctx_done(ctx);
}

/* --- the actor --------------------------------------------------------------------------------------------- */
static void load(void *self, gr_str id, gr_ctx *ctx)
{
    (void)ctx;
    ((provider *)self)->id = gr_str_keep(id);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    provider *p = self;
    if (m->verb == GR_REPLY) {
        if (m->type == &gr_type_fetched) on_fetched(p, (phase)m->resume->step, m->body, ctx);
        else fail_all(p, ctx, "The identity provider can't be asked just now");
        return;
    }
    switch (m->type->id) {
    case GR_T_provider_about: wait(p, ctx, ((const gr_provider_about *)m->body)->key_id, (gr_str){0}); return;
    case GR_T_provider_session: on_session(m->body, ctx); return;
    case GR_T_provider_logout: on_logout(p, m->body, m->verb, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A provider does not take this message"));
    }
}

static void drop(void *self)
{
    provider *p = self;
    for (waiting *w = p->waiting, *next; w; w = next) {
        next = w->next;
        free_waiting(p, w);
    }
    gr_arena_free(&p->arena);
    free((char *)p->id.ptr);
}

static bool busy(const void *self) { return ((const provider *)self)->phase != IDLE; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const provider *p = self;
    const gr_json *list = gr_json_get(p->keys, "keys");
    (void)ctx;
    gr_buf_printf(out, "\"reached\":%s,\"keys\":%u,\"waiting\":%zu", p->metadata_ms ? "true" : "false",
                  gr_json_is(list, GR_JSON_ARRAY) ? list->count : 0, p->waiting_count);
}

const gr_actor_kind gr_provider_kind = {.kind = GR_KIND_PROVIDER, .size = sizeof(provider), .load = load, .handle = handle,
                                        .drop = drop, .busy = busy, .inspect = inspect};
