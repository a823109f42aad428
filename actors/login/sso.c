/* sso.c - the flow of a login by an identity provider. See sso.h. */
#include "actors/login/sso.h"

#include "actors/login/login_token.h"
#include "proto/base64.h"
#include "proto/uri.h"

#include <stdlib.h>

#define ROW GR_STR("f")
#define TIMER GR_STR("sso")
enum { SECRET_BYTES = 32 };

/* --- the row ----------------------------------------------------------------------------------------------- */
static bool read_flow(gr_ctx *ctx, gr_arena *arena, gr_sso_flow *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_sso_flow){0};
    if (!gr_ctx_get(ctx, ROW, &bytes)) return false;
    if (gr_failed(gr_body_decode(arena, &gr_type_sso_flow, gr_arena_str(arena, bytes), &body))) return false;
    *out = *(gr_sso_flow *)body;
    return out->made_ms + GR_SSO_FLOW_MS > gr_ctx_now_ms(ctx);
}

void gr_sso_move(gr_login *l, gr_ctx *ctx, gr_sso_step step)
{
    l->sso->flow.step = step;
    gr_ctx_put_body(ctx, ROW, &gr_type_sso_flow, &l->sso->flow);
}

void gr_sso_over(gr_ctx *ctx) { gr_ctx_del(ctx, ROW); }

/* --- the work under way ------------------------------------------------------------------------------------ */
static gr_sso *begin(gr_login *l, gr_ctx *ctx)
{
    l->sso = gr_alloc(sizeof *l->sso);
    l->sso->arena = gr_arena_new(4096);
    l->sso->asker = gr_ctx_keep_asker(ctx);
    return l->sso;
}

void gr_sso_end(gr_login *l)
{
    gr_sso *s = l->sso;
    if (!s) return;
    gr_asker_free(&s->asker);
    gr_arena_free(&s->arena);
    free(s);
    l->sso = NULL;
}

void gr_sso_fail(gr_login *l, gr_ctx *ctx, gr_err err)
{
    gr_ctx_answer_fail(ctx, &l->sso->asker, err);
    gr_sso_end(l);
}

void gr_sso_answer(gr_login *l, gr_ctx *ctx, gr_str url)
{
    const gr_sso_flow *f = &l->sso->flow;
    gr_sso_is is = {.step = f->step, .provider = f->provider, .url = url.size ? url : f->redirect_url, .user = f->user,
                    .localpart = f->localpart, .problem = l->sso->problem, .registered = f->registered, .uia = f->uia.size > 0};
    gr_ctx_answer(ctx, &l->sso->asker, &gr_type_sso_is, &is);
    gr_sso_end(l);
}

void gr_sso_ask(gr_login *l, gr_ctx *ctx, gr_str to, sso_work step, const gr_type *type, const void *body)
{
    (void)l;
    gr_ctx_ask(ctx, to, type, body, GR_SSO_FETCH_MS * 2 + 1000, &(gr_resume){.step = step});
}

void gr_sso_fetch(gr_login *l, gr_ctx *ctx, sso_work step, gr_fetch *fetch)
{
    (void)l;
    fetch->any_address = true;
    fetch->timeout_ms = GR_SSO_FETCH_MS;
    fetch->answer_max = GR_SSO_ANSWER_MAX;
    gr_ctx_fetch(ctx, fetch, &(gr_resume){.step = step});
}

/* --- addresses --------------------------------------------------------------------------------------------- */
gr_str gr_sso_callback(const gr_sso *s, gr_ctx *ctx)
{
    gr_str base = gr_env_of(ctx)->base_url;
    return gr_arena_cat(s->arena, 3, (gr_str[]){base, GR_STR("/_greenroom/sso/callback/"), s->provider->id});
}

gr_str gr_sso_with_query(gr_arena *arena, gr_str url, gr_str query)
{
    ptrdiff_t fragment = gr_str_find(url, '#');
    gr_str head = fragment < 0 ? url : gr_str_head(url, (size_t)fragment), tail = gr_str_from(url, head.size);
    bool has = gr_str_find(head, '?') >= 0, open = has && (head.ptr[head.size - 1] == '?' || head.ptr[head.size - 1] == '&');
    gr_str join = !has ? GR_STR("?") : open ? GR_STR("") : GR_STR("&");
    return gr_arena_cat(arena, 4, (gr_str[]){head, join, query, tail});
}

/* --- templates --------------------------------------------------------------------------------------------- */
static gr_str attribute(const gr_sso *s, gr_str name)
{
    const gr_json *value = gr_json_get_str(s->userinfo, name);
    if (!value) value = gr_json_get_str(s->claims, name);
    if (gr_json_is(value, GR_JSON_ARRAY) && value->count) value = &value->items[0];
    if (gr_json_is(value, GR_JSON_INT)) return gr_arena_printf(s->arena, "%lld", (long long)value->integer);
    return gr_json_string(value);
}

static gr_str attribute_part(const gr_sso *s, gr_str slot)
{
    ptrdiff_t colon = gr_str_find(slot, ':');
    gr_str value = attribute(s, colon < 0 ? slot : gr_str_head(slot, (size_t)colon));
    ptrdiff_t at = gr_str_find(value, '@');
    return colon < 0 || at < 0 ? value : gr_str_head(value, (size_t)at);
}

gr_str gr_sso_fill(const gr_sso *s, gr_str pattern)
{
    gr_buf out = {0};
    bool whole = true;
    while (pattern.size) {
        ptrdiff_t open = gr_str_find(pattern, '{'), close = open < 0 ? -1 : gr_str_find(gr_str_from(pattern, (size_t)open), '}');
        gr_buf_str(&out, close < 0 ? pattern : gr_str_head(pattern, (size_t)open));
        if (close < 0) break;
        gr_str value = attribute_part(s, gr_str_head(gr_str_from(pattern, (size_t)open + 1), (size_t)close - 1));
        whole = whole && value.size > 0;
        gr_buf_str(&out, value);
        pattern = gr_str_from(pattern, (size_t)open + (size_t)close + 1);
    }
    gr_str filled = whole && out.size <= GR_SSO_VALUE_MAX ? gr_arena_str(s->arena, gr_buf_view(&out)) : (gr_str){0};
    gr_buf_free(&out);
    return filled;
}

/* --- messages ---------------------------------------------------------------------------------------------- */
static gr_str secret(gr_sso *s, gr_ctx *ctx)
{
    unsigned char random[SECRET_BYTES];
    gr_ctx_random(ctx, random, sizeof random);
    return gr_base64_url(s->arena, gr_str_of(random, sizeof random));
}

static void on_begin(gr_login *l, const gr_sso_begin *m, gr_ctx *ctx)
{
    gr_sso *s = begin(l, ctx);
    s->provider = gr_provider_find(&gr_env_of(ctx)->providers, m->provider);
    if (!s->provider || read_flow(ctx, s->arena, &s->flow)) {
        gr_sso_fail(l, ctx, gr_fail(GR_NOT_FOUND, "There is no such identity provider"));
        return;
    }
    s->flow = (gr_sso_flow){.provider = s->provider->id, .redirect_url = gr_arena_str(s->arena, m->redirect_url),
                            .nonce = secret(s, ctx), .verifier = secret(s, ctx), .made_ms = gr_ctx_now_ms(ctx),
                            .uia = gr_arena_str(s->arena, m->uia), .uia_user = gr_arena_str(s->arena, m->uia_user)};
    s->registers = m->registers;
    if (s->provider->is_cas) {
        gr_sso_go go = {.url = gr_sso_cas_url(l, ctx)};
        gr_sso_move(l, ctx, GR_SSO_AT_PROVIDER);
        gr_ctx_timer(ctx, TIMER, s->flow.made_ms + GR_SSO_FLOW_MS, true);
        gr_ctx_answer(ctx, &s->asker, &gr_type_sso_go, &go);
        gr_sso_end(l);
        return;
    }
    gr_str to = gr_address(gr_ctx_arena(ctx), GR_KIND_PROVIDER, s->provider->id);
    gr_sso_ask(l, ctx, to, SSO_ABOUT, &gr_type_provider_about, &(gr_provider_about){0});
}

static void on_about(gr_login *l, const gr_provider_is *is, gr_ctx *ctx)
{
    gr_sso_move(l, ctx, GR_SSO_AT_PROVIDER);
    gr_ctx_timer(ctx, TIMER, l->sso->flow.made_ms + GR_SSO_FLOW_MS, true);
    gr_sso_oidc_begin(l, ctx, is);
}

static const char stale[] = "This login is over, or was never begun: begin again in your app";

/* The flow as it is, at the step that the message takes; else answers it. */
static bool resume(gr_login *l, gr_ctx *ctx, gr_sso_step step)
{
    gr_sso *s = begin(l, ctx);
    bool known = read_flow(ctx, s->arena, &s->flow) && s->flow.step == step;
    s->provider = known ? gr_provider_find(&gr_env_of(ctx)->providers, s->flow.provider) : NULL;
    if (!s->provider) gr_sso_fail(l, ctx, gr_fail(GR_NOT_FOUND, stale));
    return l->sso != NULL;
}

/* One try: whatever comes of it, the same state and code are worth nothing afterwards. */
static void on_back(gr_login *l, const gr_sso_back *m, gr_ctx *ctx)
{
    if (!resume(l, ctx, GR_SSO_AT_PROVIDER)) return;
    gr_sso *s = l->sso;
    gr_sso_move(l, ctx, GR_SSO_CHECKING);
    s->code = gr_arena_str(s->arena, m->code);
    if (!gr_str_eq(m->provider, s->provider->id))
        gr_sso_fail(l, ctx, gr_fail(GR_FORBIDDEN, "This is the answer of another provider"));
    else if (m->error.size) gr_sso_fail(l, ctx, gr_fail(GR_UNAUTHORIZED, "The identity provider did not let you in"));
    else if (s->code.size == 0) gr_sso_fail(l, ctx, gr_fail(GR_MISSING_PARAM, "The identity provider's answer lacks its code"));
    else if (s->provider->is_cas) gr_sso_cas_back(l, ctx);
    else if (m->issuer.size && !gr_str_eq(m->issuer, s->provider->issuer))
        gr_sso_fail(l, ctx, gr_fail(GR_FORBIDDEN, "This is the answer of another issuer"));
    else {
        s->issuer_named = m->issuer.size > 0;
        gr_sso_oidc_back(l, ctx);
    }
}

static void on_look(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = begin(l, ctx);
    bool known = read_flow(ctx, s->arena, &s->flow) && (s->flow.step == GR_SSO_NAMING || s->flow.step == GR_SSO_READY);
    if (known) gr_sso_answer(l, ctx, (gr_str){0});
    else gr_sso_fail(l, ctx, gr_fail(GR_NOT_FOUND, stale));
}

/* --- the end ----------------------------------------------------------------------------------------------- */
static void on_finish(gr_login *l, gr_ctx *ctx)
{
    unsigned char random[GR_TOKEN_RANDOM];
    gr_arena *a = gr_ctx_arena(ctx);
    if (!resume(l, ctx, GR_SSO_READY)) return;
    gr_sso *s = l->sso;
    gr_sso_move(l, ctx, GR_SSO_FINISHED);
    if (s->flow.uia.size) {
        gr_login_vouched vouched = {.user = s->flow.user};
        gr_sso_ask(l, ctx, gr_address(a, GR_KIND_LOGIN, s->flow.uia), SSO_VOUCHED, &gr_type_login_vouched, &vouched);
        return;
    }
    gr_ctx_random(ctx, random, sizeof random);
    s->token = gr_token_make(s->arena, GR_TOKEN_LOGIN, gr_ctx_shard(ctx), random);
    explicit_bzero(random, sizeof random);
    gr_login_token_make make = {.user = s->flow.user, .lifetime_ms = gr_env_of(ctx)->login_token_lifetime_ms,
                                .provider = s->flow.provider, .session = s->flow.session, .subject = s->flow.subject};
    gr_sso_ask(l, ctx, gr_login_token_address(a, s->token), SSO_TOKEN, &gr_type_login_token_make, &make);
}

static void on_token(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    gr_str query = gr_arena_cat(s->arena, 2, (gr_str[]){GR_STR("loginToken="), s->token});
    gr_sso_answer(l, ctx, gr_sso_with_query(s->arena, s->flow.redirect_url, query));
}

/* --- dispatch ---------------------------------------------------------------------------------------------- */
bool gr_sso_is_step(uint32_t step) { return step >= SSO_ABOUT && step <= SSO_VOUCHED; }

void gr_sso_handle(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    switch (m->type->id) {
    case GR_T_sso_begin: on_begin(l, m->body, ctx); return;
    case GR_T_sso_back: on_back(l, m->body, ctx); return;
    case GR_T_sso_name:
        if (resume(l, ctx, GR_SSO_NAMING)) gr_sso_person_named(l, ctx, ((const gr_sso_name *)m->body)->localpart);
        return;
    case GR_T_sso_look: on_look(l, ctx); return;
    case GR_T_sso_finish: on_finish(l, ctx); return;
    default: gr_assert(false);
    }
}

void gr_sso_on_reply(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    sso_work step = m->resume->step;
    bool judges = step == SSO_LOOK || step == SSO_CLAIM || step == SSO_LINK || step == SSO_CREATE
        || step == SSO_PROFILE;                /* an error is an answer */
    if (!l->sso) return;                       /* answered already; or this actor was loaded again since */
    if (gr_failed(m->err) && !judges) {
        gr_sso_fail(l, ctx, m->err);
        return;
    }
    switch (step) {
    case SSO_ABOUT: on_about(l, m->body, ctx); return;
    case SSO_TICKET: gr_sso_cas_step(l, m, ctx); return;
    case SSO_ABOUT_BACK:
    case SSO_CODE:
    case SSO_KEYS:
    case SSO_USERINFO: gr_sso_oidc_step(l, step, m, ctx); return;
    case SSO_TOKEN: on_token(l, ctx); return;
    case SSO_VOUCHED: gr_sso_answer(l, ctx, (gr_str){0}); return;
    default: gr_sso_person_step(l, step, m, ctx);
    }
}
