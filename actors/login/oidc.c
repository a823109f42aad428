/* oidc.c - OpenID Connect: the authorization code flow with PKCE. See sso.h; OpenID Connect Core, 3.1; RFC 7636; RFC 9207. */
#include "actors/login/sso.h"

#include "proto/base64.h"
#include "proto/jwt.h"
#include "proto/sha256.h"
#include "proto/uri.h"

static gr_str provider_address(const gr_sso *s, gr_ctx *ctx)
{
    return gr_address(gr_ctx_arena(ctx), GR_KIND_PROVIDER, s->provider->id);
}

static void add(gr_sso *s, gr_buf *query, const char *name, gr_str value)
{
    gr_buf_printf(query, "%s%s=%" GR_FMT, query->size ? "&" : "", name, GR_ARG(gr_uri_encode(s->arena, value)));
}

/* --- to the provider --------------------------------------------------------------------------------------- */
static gr_str challenge(gr_sso *s)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(s->flow.verifier.ptr, s->flow.verifier.size, hash);
    return gr_base64_url(s->arena, gr_str_of(hash, sizeof hash));
}

/* OpenID Connect Prompt Create: the provider's page to make an account, if it has one. */
static bool may_create(const gr_json *metadata)
{
    const gr_json *prompts = gr_json_get(metadata, "prompt_values_supported");
    for (uint32_t i = 0; gr_json_is(prompts, GR_JSON_ARRAY) && i < prompts->count; i++)
        if (gr_str_is(gr_json_string(&prompts->items[i]), "create")) return true;
    return false;
}

void gr_sso_oidc_begin(gr_login *l, gr_ctx *ctx, const gr_provider_is *is)
{
    gr_sso *s = l->sso;
    const gr_json *metadata = NULL;
    gr_buf query = {0};
    gr_err err = gr_json_parse(s->arena, is->metadata, GR_JSON_LAX, &metadata);
    gr_assert(!gr_failed(err));
    add(s, &query, "response_type", GR_STR("code"));
    add(s, &query, "client_id", s->provider->client_id);
    add(s, &query, "redirect_uri", gr_sso_callback(s, ctx));
    add(s, &query, "scope", s->provider->scopes);
    add(s, &query, "state", l->id);
    add(s, &query, "nonce", s->flow.nonce);
    add(s, &query, "code_challenge", challenge(s));
    add(s, &query, "code_challenge_method", GR_STR("S256"));
    if (s->flow.uia.size) add(s, &query, "prompt", GR_STR("login"));       /* being logged in there proves nothing now */
    else if (s->registers && may_create(metadata)) add(s, &query, "prompt", GR_STR("create"));
    gr_sso_go go = {.url = gr_sso_with_query(s->arena, gr_json_text(metadata, "authorization_endpoint"), gr_buf_view(&query))};
    gr_ctx_answer(ctx, &s->asker, &gr_type_sso_go, &go);
    gr_buf_free(&query);
    gr_sso_end(l);
}

/* --- and back ---------------------------------------------------------------------------------------------- */
void gr_sso_oidc_back(gr_login *l, gr_ctx *ctx)
{
    gr_sso_ask(l, ctx, provider_address(l->sso, ctx), SSO_ABOUT_BACK, &gr_type_provider_about, &(gr_provider_about){0});
}

static bool read_about(gr_sso *s, const gr_provider_is *is)
{
    return !gr_failed(gr_json_parse(s->arena, is->metadata, GR_JSON_LAX, &s->metadata))
        && !gr_failed(gr_json_parse(s->arena, is->keys, GR_JSON_LAX, &s->keys));
}

static void exchange(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    const gr_provider *p = s->provider;
    gr_buf form = {0};
    add(s, &form, "grant_type", GR_STR("authorization_code"));
    add(s, &form, "code", s->code);
    add(s, &form, "redirect_uri", gr_sso_callback(s, ctx));
    add(s, &form, "code_verifier", s->flow.verifier);
    if (!p->has_secret || p->secret_in_form) add(s, &form, "client_id", p->client_id);
    if (p->has_secret && p->secret_in_form) add(s, &form, "client_secret", p->client_secret);
    gr_fetch fetch = {.url = gr_json_text(s->metadata, "token_endpoint"), .method = GR_STR("POST"), .content = gr_buf_view(&form),
                      .content_type = GR_STR("application/x-www-form-urlencoded")};
    if (p->has_secret && !p->secret_in_form) {     /* RFC 6749, 2.3.1: both encoded first */
        gr_str pair = gr_arena_cat(s->arena, 3, (gr_str[]){gr_uri_encode(s->arena, p->client_id), GR_STR(":"),
                                                           gr_uri_encode(s->arena, p->client_secret)});
        gr_str padded = gr_base64(s->arena, pair);
        gr_str pad = padded.size % 4 == 2 ? GR_STR("==") : padded.size % 4 == 3 ? GR_STR("=") : GR_STR("");
        fetch.authorization = gr_arena_cat(s->arena, 3, (gr_str[]){GR_STR("Basic "), padded, pad});
    }
    gr_sso_fetch(l, ctx, SSO_CODE, &fetch);
    gr_buf_free(&form);
}

/* A provider that says it always names itself must have done so. */
static void on_about(gr_login *l, const gr_provider_is *is, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    bool named = s->issuer_named;
    if (!read_about(s, is)) gr_sso_fail(l, ctx, gr_fail(GR_UNAVAILABLE, "The identity provider can't be understood"));
    else if (!named && gr_json_boolean(gr_json_get(s->metadata, "authorization_response_iss_parameter_supported"), false))
        gr_sso_fail(l, ctx, gr_fail(GR_FORBIDDEN, "The answer does not say of which issuer it is"));
    else exchange(l, ctx);
}

static const gr_json *answer_of(gr_sso *s, const gr_fetched *f)
{
    const gr_json *json = NULL;
    if (f->failure != GR_FETCH_ANSWERED || f->status != 200 || gr_failed(gr_json_parse(s->arena, f->body, GR_JSON_LAX, &json)))
        return NULL;
    return gr_json_is(json, GR_JSON_OBJECT) ? json : NULL;
}

static void ask_userinfo(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    gr_str url = gr_json_text(s->metadata, "userinfo_endpoint");
    if (!s->provider->userinfo || url.size == 0 || s->access_token.size == 0) {
        gr_sso_person(l, ctx);
        return;
    }
    gr_fetch fetch = {.url = url, .method = GR_STR("GET"),
                      .authorization = gr_arena_cat(s->arena, 2, (gr_str[]){GR_STR("Bearer "), s->access_token})};
    gr_sso_fetch(l, ctx, SSO_USERINFO, &fetch);
}

static gr_str key_id_of(gr_sso *s)
{
    gr_str raw;
    const gr_json *header = NULL;
    gr_str first = gr_str_head(s->id_token, (size_t)gr_str_find(s->id_token, '.'));
    if (gr_base64_decode(s->arena, first, &raw) && !gr_failed(gr_json_parse(s->arena, raw, GR_JSON_LAX, &header)))
        return gr_json_text(header, "kid");
    return (gr_str){0};
}

/* again: the keys were asked for a second time, because the first did not have the token's. */
static void judge(gr_login *l, gr_ctx *ctx, bool again)
{
    gr_sso *s = l->sso;
    gr_jwt_wanted wanted = {.issuer = s->provider->issuer, .client_id = s->provider->client_id, .nonce = s->flow.nonce,
                            .now_s = gr_ctx_now_ms(ctx) / 1000};
    gr_err err = gr_jwt_verify(s->arena, s->id_token, s->keys, &s->claims);
    if (err.code == GR_NOT_FOUND && !again) {
        gr_provider_about about = {.key_id = key_id_of(s)};
        gr_sso_ask(l, ctx, provider_address(s, ctx), SSO_KEYS, &gr_type_provider_about, &about);
        return;
    }
    if (!gr_failed(err)) err = gr_jwt_check_id(s->claims, &wanted);
    if (gr_failed(err)) {
        gr_sso_fail(l, ctx, gr_fail(GR_FORBIDDEN, err.text));
        return;
    }
    s->flow.session = gr_json_text(s->claims, "sid");
    if (s->flow.session.size > GR_PROVIDER_SESSION_MAX) s->flow.session = (gr_str){0};
    ask_userinfo(l, ctx);
}

static void on_code(gr_login *l, const gr_fetched *f, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    const gr_json *tokens = answer_of(s, f);
    s->id_token = gr_json_text(tokens, "id_token");
    s->access_token = gr_json_text(tokens, "access_token");
    if (!tokens) gr_sso_fail(l, ctx, gr_fail(GR_UNAVAILABLE, "The identity provider does not confirm this login"));
    else if (s->id_token.size == 0) gr_sso_fail(l, ctx, gr_fail(GR_FORBIDDEN, "The identity provider does not say who you are"));
    else judge(l, ctx, false);
}

/* OpenID Connect Core, 5.3.2: it must be of the same person. */
static void on_userinfo(gr_login *l, const gr_fetched *f, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    s->userinfo = answer_of(s, f);
    if (!s->userinfo) gr_sso_fail(l, ctx, gr_fail(GR_UNAVAILABLE, "The identity provider does not tell about you"));
    else if (!gr_str_eq(gr_json_text(s->userinfo, "sub"), gr_json_text(s->claims, "sub")))
        gr_sso_fail(l, ctx, gr_fail(GR_FORBIDDEN, "The identity provider tells about somebody else"));
    else gr_sso_person(l, ctx);
}

void gr_sso_oidc_step(gr_login *l, sso_work step, const gr_msg *m, gr_ctx *ctx)
{
    switch (step) {
    case SSO_ABOUT_BACK: on_about(l, m->body, ctx); return;
    case SSO_CODE: on_code(l, m->body, ctx); return;
    case SSO_KEYS:
        if (read_about(l->sso, m->body)) judge(l, ctx, true);
        else gr_sso_fail(l, ctx, gr_fail(GR_UNAVAILABLE, "The identity provider can't be understood"));
        return;
    case SSO_USERINFO: on_userinfo(l, m->body, ctx); return;
    default: gr_assert(false);
    }
}
