/* provider.c - an identity provider, scripted: two issuers that speak OpenID Connect with signed tokens, and fail at times.
 * See chat.h.
 *
 * A code is good once, and for the proof key it was asked for with; the answer to its exchange may be lost.
 */
#include "tests/simulation/chat.h"

#include "proto/base64.h"
#include "proto/json.h"
#include "proto/sha256.h"

#include <cjose/cjose.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC_KEY "\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"1\",\"x\":\"DEL7YFWULfZNPTm3cXZ2Ruqwd-vYixgQdrOIreB8A4E\"," \
                   "\"y\":\"Ut9gt7Tg2hTB76w6h5WC_XBGMzmQAxGOfT5vaprRMAg\""
#define PRIVATE_PART ",\"d\":\"24csFC5a6b92C7b6t8HTxxce2n4I3s5KEhoIUyOTqIM\""

enum { FAIL_ONE_IN = 8, YOUNGEST_S = 60, LIFETIME_S = 600 };

static const gr_provider providers[] = {
    {.id = {"corp", 4}, .issuer = {"https://corp", 12}, .client_id = {"greenroom", 9}, .scopes = {"openid", 6}, .userinfo = true,
     .registration = true, .subject = {"{sub}", 5}, .localpart = {"{preferred_username}", 20}, .display_name = {"{name}", 6}},
    {.id = {"pick", 4}, .issuer = {"https://pick", 12}, .client_id = {"greenroom", 9}, .scopes = {"openid", 6},
     .registration = true, .pick_name = true, .subject = {"{sub}", 5}, .localpart = {"{preferred_username}", 20}}};

gr_providers chat_providers(void) { return (gr_providers){providers, sizeof providers / sizeof *providers}; }
gr_str chat_provider_of(unsigned person) { return providers[person == CHAT_PICKS].id; }

gr_str chat_parameter(gr_str pairs, const char *name)
{
    while (pairs.size) {
        ptrdiff_t end = gr_str_find(pairs, '&');
        gr_str one = end < 0 ? pairs : gr_str_head(pairs, (size_t)end);
        ptrdiff_t equals = gr_str_find(one, '=');
        if (equals > 0 && gr_str_is(gr_str_head(one, (size_t)equals), name)) return gr_str_from(one, (size_t)equals + 1);
        pairs = end < 0 ? (gr_str){0} : gr_str_from(pairs, (size_t)end + 1);
    }
    return (gr_str){0};
}

/* --- tokens ---------------------------------------------------------------------------------------------------- */
static gr_str signed_token(gr_arena *arena, gr_str claims)
{
    static const char key[] = "{" PUBLIC_KEY PRIVATE_PART "}";
    cjose_err err;
    const char *text = NULL;
    cjose_jwk_t *jwk = cjose_jwk_import(key, sizeof key - 1, &err);
    cjose_header_t *header = cjose_header_new(&err);
    gr_assert(jwk && header && cjose_header_set(header, CJOSE_HDR_ALG, CJOSE_HDR_ALG_ES256, &err)
              && cjose_header_set(header, CJOSE_HDR_KID, "1", &err));
    cjose_jws_t *jws = cjose_jws_sign(jwk, header, (const uint8_t *)claims.ptr, claims.size, &err);
    gr_assert(jws && cjose_jws_export(jws, &text, &err));
    gr_str token = gr_arena_str(arena, gr_str_c(text));
    cjose_jws_release(jws);
    cjose_header_release(header);
    cjose_jwk_release(jwk);
    return token;
}

/* Clocks of nodes are off by as much as may be: a token is made a minute ago, and good for longer. */
static gr_str token_of(chat *c, gr_arena *arena, gr_str issuer, gr_str more)
{
    long long now_s = (long long)gr_sim_now(c->sim) / 1000;
    gr_str claims = gr_arena_printf(arena, "{\"iss\":\"%" GR_FMT "\",\"aud\":\"greenroom\",\"iat\":%lld,\"exp\":%lld,"
                                    "%" GR_FMT "}", GR_ARG(issuer), now_s - YOUNGEST_S, now_s + LIFETIME_S, GR_ARG(more));
    return signed_token(arena, claims);
}

gr_str chat_logout_token(chat *c, unsigned person, const char *sid)
{
    gr_str more = gr_arena_printf(c->arena, "\"events\":{\"http://schemas.openid.net/event/backchannel-logout\":{}},"
                                  "\"sid\":\"%s\"", sid);
    return token_of(c, c->arena, providers[person == CHAT_PICKS].issuer, more);
}

/* --- requests -------------------------------------------------------------------------------------------------- */
static void metadata(gr_arena *arena, gr_str issuer, gr_fetched *out)
{
    out->body = gr_arena_printf(arena, "{\"issuer\":\"%" GR_FMT "\",\"authorization_endpoint\":\"%" GR_FMT "/auth\","
                                "\"token_endpoint\":\"%" GR_FMT "/token\",\"jwks_uri\":\"%" GR_FMT "/keys\","
                                "\"userinfo_endpoint\":\"%" GR_FMT "/userinfo\"}", GR_ARG(issuer), GR_ARG(issuer), GR_ARG(issuer),
                                GR_ARG(issuer), GR_ARG(issuer));
}

static gr_str about(gr_arena *arena, unsigned person)
{
    const char *wanted = person == CHAT_TAKEN ? "u" : "p";     /* that name has somebody else already */
    return gr_arena_printf(arena, "\"sub\":\"sub%u\",\"preferred_username\":\"%s%u\",\"name\":\"Person %u\"", person, wanted,
                           person, person);
}

static bool proves(gr_arena *arena, const chat_person *p, gr_str form)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_str verifier = chat_parameter(form, "code_verifier");
    gr_sha256(verifier.ptr, verifier.size, hash);
    return gr_str_is(gr_base64_url(arena, gr_str_of(hash, sizeof hash)), p->challenge);
}

static void exchange(chat *c, const gr_fetch *f, gr_str issuer, gr_arena *arena, gr_fetched *out)
{
    unsigned person = 0, flow = 0;
    gr_str code = gr_arena_str(arena, chat_parameter(f->content, "code"));
    if (sscanf(code.ptr, "c%u.%u", &person, &flow) != 2 || person >= CHAT_PEOPLE) {
        chat_problem(c, "the provider was sent a code that is none: %s", code.ptr);
        return;
    }
    chat_person *p = &c->people[person];
    if (flow != p->flows || !p->has_code) {                    /* used, or of a login that was given up */
        *out = (gr_fetched){.status = 400, .body = GR_STR("{\"error\":\"invalid_grant\"}")};
        return;
    }
    p->has_code = false;
    if (!proves(arena, p, f->content)) chat_problem(c, "a code came with another verifier than it was asked for with");
    gr_str more = gr_arena_printf(arena, "%" GR_FMT ",\"nonce\":\"%s\",\"sid\":\"%s\"", GR_ARG(about(arena, person)), p->nonce,
                                  p->sid);
    out->body = gr_arena_printf(arena, "{\"access_token\":\"%u\",\"token_type\":\"Bearer\",\"id_token\":\"%" GR_FMT "\"}", person,
                                GR_ARG(token_of(c, arena, issuer, more)));
}

static void userinfo(chat *c, const gr_fetch *f, gr_arena *arena, gr_fetched *out)
{
    unsigned person = 0;
    if (sscanf(gr_arena_str(arena, f->authorization).ptr, "Bearer %u", &person) != 1)
        chat_problem(c, "the provider was asked about somebody without an access token");
    out->body = gr_arena_printf(arena, "{%" GR_FMT "}", GR_ARG(about(arena, person)));
}

bool chat_provider_answers(chat *c, const gr_fetch *f, gr_arena *arena, gr_fetched *out)
{
    gr_str issuer = gr_str_head(f->url, providers[0].issuer.size), path = gr_str_from(f->url, issuer.size);
    bool is_ours = gr_str_eq(issuer, providers[0].issuer) || gr_str_eq(issuer, providers[1].issuer);
    if (!is_ours) return false;
    bool fails = !c->is_calm && chat_chance(c, FAIL_ONE_IN), comes = !fails || chat_chance(c, 2);
    *out = (gr_fetched){.status = 200};
    if (!comes) *out = (gr_fetched){.failure = GR_FETCH_UNREACHABLE};
    else if (gr_str_is(path, "/.well-known/openid-configuration")) metadata(arena, issuer, out);
    else if (gr_str_is(path, "/keys")) out->body = GR_STR("{\"keys\":[{" PUBLIC_KEY "}]}");
    else if (gr_str_is(path, "/token")) exchange(c, f, issuer, arena, out);
    else if (gr_str_is(path, "/userinfo")) userinfo(c, f, arena, out);
    else chat_problem(c, "the provider has no %" GR_FMT, GR_ARG(path));
    if (fails && comes) *out = (gr_fetched){.failure = GR_FETCH_BROKEN};       /* it was done, and nobody learns of it */
    return true;
}
