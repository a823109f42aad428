/* jwt.c - signed tokens of identity providers. See jwt.h. */
#include "proto/jwt.h"
#include "proto/base64.h"

#include <cjose/cjose.h>

static const char bad[] = "The identity provider's token is not properly signed";

/* --- signature --------------------------------------------------------------------------------------------- */
/* The type of key that an algorithm takes; NULL for one that is not taken. */
static const char *key_type(gr_str alg)
{
    static const char *const taken[][2] = {{"RS256", "RSA"}, {"RS384", "RSA"}, {"RS512", "RSA"}, {"PS256", "RSA"},
                                           {"PS384", "RSA"}, {"PS512", "RSA"}, {"ES256", "EC"}, {"ES384", "EC"},
                                           {"ES512", "EC"}};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (gr_str_is(alg, taken[i][0])) return taken[i][1];
    return NULL;
}

static bool signed_by(gr_arena *arena, gr_str token, const gr_json *key)
{
    cjose_err err;
    gr_str text = gr_json_printed(arena, key);
    cjose_jwk_t *jwk = cjose_jwk_import(text.ptr, text.size, &err);
    cjose_jws_t *jws = jwk ? cjose_jws_import(token.ptr, token.size, &err) : NULL;
    bool good = jws && cjose_jws_verify(jws, jwk, &err);
    if (jws) cjose_jws_release(jws);
    if (jwk) cjose_jwk_release(jwk);
    return good;
}

static bool may_sign(const gr_json *key, const char *type, gr_str alg)
{
    gr_str use = gr_json_text(key, "use"), only = gr_json_text(key, "alg");
    return gr_str_is(gr_json_text(key, "kty"), type) && (use.size == 0 || gr_str_is(use, "sig"))
        && (only.size == 0 || gr_str_eq(only, alg));
}

static gr_err verify(gr_arena *arena, gr_str token, const gr_json *header, const gr_json *keys)
{
    const gr_json *list = gr_json_get(keys, "keys");
    gr_str alg = gr_json_text(header, "alg"), kid = gr_json_text(header, "kid");
    const char *type = key_type(alg);
    bool found = false;
    if (!type || gr_json_get(header, "crit")) return gr_fail(GR_FORBIDDEN, bad);
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++) {
        const gr_json *key = &list->items[i];
        if (kid.size && !gr_str_eq(gr_json_text(key, "kid"), kid)) continue;
        found = true;
        if (may_sign(key, type, alg) && signed_by(arena, token, key)) return gr_ok();
    }
    return found ? gr_fail(GR_FORBIDDEN, bad) : gr_fail(GR_NOT_FOUND, "The identity provider has no key of this id");
}

static const gr_json *part(gr_arena *arena, gr_str text)
{
    gr_str raw;
    const gr_json *json = NULL;
    if (!gr_base64_decode(arena, text, &raw) || gr_failed(gr_json_parse(arena, raw, GR_JSON_LAX, &json))) return NULL;
    return gr_json_is(json, GR_JSON_OBJECT) ? json : NULL;
}

gr_err gr_jwt_verify(gr_arena *arena, gr_str token, const gr_json *keys, const gr_json **claims)
{
    *claims = NULL;
    ptrdiff_t first = gr_str_find(token, '.');
    if (token.size > GR_JWT_SIZE_MAX || first < 0) return gr_fail(GR_FORBIDDEN, bad);
    gr_str rest = gr_str_from(token, (size_t)first + 1);
    ptrdiff_t second = gr_str_find(rest, '.');
    if (second < 0) return gr_fail(GR_FORBIDDEN, bad);
    const gr_json *header = part(arena, gr_str_head(token, (size_t)first));
    const gr_json *body = part(arena, gr_str_head(rest, (size_t)second));
    if (!header || !body) return gr_fail(GR_FORBIDDEN, bad);
    gr_err err = verify(arena, token, header, keys);
    if (!gr_failed(err)) *claims = body;
    return err;
}

/* --- claims ------------------------------------------------------------------------------------------------ */
static bool has_audience(const gr_json *claims, gr_str client)
{
    const gr_json *aud = gr_json_get(claims, "aud");
    gr_str party = gr_json_text(claims, "azp");
    bool found = gr_str_eq(gr_json_string(aud), client);
    for (uint32_t i = 0; gr_json_is(aud, GR_JSON_ARRAY) && i < aud->count; i++)
        found = found || gr_str_eq(gr_json_string(&aud->items[i]), client);
    bool shared = gr_json_is(aud, GR_JSON_ARRAY) && aud->count > 1;
    return found && client.size && (party.size == 0 ? !shared : gr_str_eq(party, client));
}

static int64_t seconds(const gr_json *claims, const char *name)
{
    const gr_json *value = gr_json_get(claims, name);
    if (gr_json_is(value, GR_JSON_REAL) && value->real > 0 && value->real < 1e15) return (int64_t)value->real;
    return gr_json_integer(value, -1);
}

static gr_err check_common(const gr_json *claims, const gr_jwt_wanted *w)
{
    int64_t now = (int64_t)w->now_s, made = seconds(claims, "iat"), from = seconds(claims, "nbf");
    int64_t expires = seconds(claims, "exp");
    if (!gr_str_eq(gr_json_text(claims, "iss"), w->issuer)) return gr_fail(GR_FORBIDDEN, "The token is of another issuer");
    if (!has_audience(claims, w->client_id)) return gr_fail(GR_FORBIDDEN, "The token is for another audience");
    if (made < 0 || made > now + GR_JWT_SKEW_S || from > now + GR_JWT_SKEW_S)
        return gr_fail(GR_FORBIDDEN, "The token is from the future, or has no time");
    if (expires < 0 ? gr_json_get(claims, "exp") != NULL : expires + GR_JWT_SKEW_S <= now)
        return gr_fail(GR_FORBIDDEN, "The token has expired");
    return gr_ok();
}

gr_err gr_jwt_check_id(const gr_json *claims, const gr_jwt_wanted *w)
{
    gr_err err = check_common(claims, w);
    gr_str subject = gr_json_text(claims, "sub");
    if (gr_failed(err)) return err;
    if (!gr_json_get(claims, "exp")) return gr_fail(GR_FORBIDDEN, "The token never expires");
    if (subject.size == 0 || subject.size > 255) return gr_fail(GR_FORBIDDEN, "The token names nobody");
    if (w->nonce.size == 0 || !gr_str_eq(gr_json_text(claims, "nonce"), w->nonce))
        return gr_fail(GR_FORBIDDEN, "The token is not for this login");
    return gr_ok();
}

/* Without exp it is good for as long as clocks may differ, and a little more. */
gr_err gr_jwt_check_logout(const gr_json *claims, const gr_jwt_wanted *w)
{
    gr_err err = check_common(claims, w);
    const gr_json *events = gr_json_get(claims, "events");
    if (gr_failed(err)) return err;
    if (seconds(claims, "iat") + 5 * GR_JWT_SKEW_S <= (int64_t)w->now_s) return gr_fail(GR_FORBIDDEN, "The token is too old");
    if (!gr_json_is(gr_json_get(events, "http://schemas.openid.net/event/backchannel-logout"), GR_JSON_OBJECT))
        return gr_fail(GR_FORBIDDEN, "This is not a logout token");
    if (gr_json_get(claims, "nonce")) return gr_fail(GR_FORBIDDEN, "A logout token has no nonce");
    if (gr_json_text(claims, "sub").size == 0 && gr_json_text(claims, "sid").size == 0)
        return gr_fail(GR_FORBIDDEN, "The logout token names nobody");
    return gr_ok();
}
