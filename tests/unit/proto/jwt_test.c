/* jwt_test.c - whose signature is taken, and what a token must say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <cjose/cjose.h>

#include "proto/base64.h"
#include "proto/jwt.h"

#define KEY "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"DEL7YFWULfZNPTm3cXZ2Ruqwd-vYixgQdrOIreB8A4E\"," \
            "\"y\":\"Ut9gt7Tg2hTB76w6h5WC_XBGMzmQAxGOfT5vaprRMAg\""
#define SECRET ",\"d\":\"24csFC5a6b92C7b6t8HTxxce2n4I3s5KEhoIUyOTqIM\""
#define KEYS "{\"keys\":[{" KEY ",\"kid\":\"1\"}]}"
#define CLAIMS "{\"sub\":\"anna\"}"

static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static const gr_json *json(const char *text)
{
    const gr_json *out = NULL;
    assert_false(gr_failed(gr_json_parse(arena, gr_str_c(text), GR_JSON_LAX, &out)));
    return out;
}

/* --- signing ----------------------------------------------------------------------------------------------- */
static gr_str signed_with(cjose_jwk_t *jwk, const char *alg, const char *kid, const char *crit)
{
    static const char claims[] = CLAIMS;
    cjose_err err;
    const char *text = NULL;
    cjose_header_t *header = cjose_header_new(&err);
    assert_true(cjose_header_set(header, CJOSE_HDR_ALG, alg, &err));
    if (kid) assert_true(cjose_header_set(header, CJOSE_HDR_KID, kid, &err));
    if (crit) assert_true(cjose_header_set_raw(header, "crit", crit, &err));
    cjose_jws_t *jws = cjose_jws_sign(jwk, header, (const uint8_t *)claims, sizeof claims - 1, &err);
    assert_non_null(jws);
    assert_true(cjose_jws_export(jws, &text, &err));
    gr_str token = gr_arena_str(arena, gr_str_c(text));
    cjose_jws_release(jws);
    cjose_header_release(header);
    return token;
}

static gr_str signed_by(const char *key, const char *kid, const char *crit)
{
    cjose_err err;
    cjose_jwk_t *jwk = cjose_jwk_import(key, strlen(key), &err);
    assert_non_null(jwk);
    gr_str token = signed_with(jwk, "ES256", kid, crit);
    cjose_jwk_release(jwk);
    return token;
}

static gr_str ours(const char *kid) { return signed_by("{" KEY SECRET "}", kid, NULL); }

static gr_errcode verified(gr_str token, const char *keys)
{
    const gr_json *claims = NULL;
    gr_err err = gr_jwt_verify(arena, token, json(keys), &claims);
    if (gr_failed(err)) assert_null(claims);
    else assert_true(gr_str_is(gr_json_text(claims, "sub"), "anna"));
    return err.code;
}

/* The token with another header, and its signature as it was. */
static gr_str with_header(gr_str token, const char *header)
{
    gr_str rest = gr_str_from(token, (size_t)gr_str_find(token, '.'));
    return gr_arena_cat(arena, 2, (gr_str[]){gr_base64_url(arena, gr_str_c(header)), rest});
}

static gr_str unsigned_token(const char *header)
{
    return gr_arena_cat(arena, 4, (gr_str[]){gr_base64_url(arena, gr_str_c(header)), GR_STR("."),
                                             gr_base64_url(arena, GR_STR(CLAIMS)), GR_STR(".")});
}

static void a_token_of_a_published_key_is_good(void **state)
{
    (void)state;
    assert_int_equal(verified(ours("1"), KEYS), GR_OK);
    assert_int_equal(verified(ours(NULL), KEYS), GR_OK);       /* any of them, when it names none */
}

static void rsa_keys_sign_in_both_ways(void **state)
{
    (void)state;
    cjose_err err;
    cjose_jwk_t *jwk = cjose_jwk_create_RSA_random(2048, (const uint8_t *)"\1\0\1", 3, &err);
    assert_non_null(jwk);
    char *public = cjose_jwk_to_json(jwk, false, &err);
    gr_str keys = gr_arena_printf(arena, "{\"keys\":[%s]}", public);
    assert_int_equal(verified(signed_with(jwk, "RS256", NULL, NULL), keys.ptr), GR_OK);
    assert_int_equal(verified(signed_with(jwk, "PS256", NULL, NULL), keys.ptr), GR_OK);
    cjose_get_dealloc()(public);
    cjose_jwk_release(jwk);
}

static void none_is_no_signature(void **state)
{
    (void)state;
    assert_int_equal(verified(unsigned_token("{\"alg\":\"none\",\"kid\":\"1\"}"), KEYS), GR_FORBIDDEN);
    assert_int_equal(verified(unsigned_token("{\"alg\":\"None\"}"), KEYS), GR_FORBIDDEN);
    assert_int_equal(verified(unsigned_token("{\"alg\":\"ES256\",\"kid\":\"1\"}"), KEYS), GR_FORBIDDEN);
    assert_int_equal(verified(unsigned_token("{}"), KEYS), GR_FORBIDDEN);
}

static void a_published_secret_is_no_key(void **state)
{
    (void)state;
    static const char secret[] = "{\"kty\":\"oct\",\"k\":\"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U\"}";
    cjose_err err;
    cjose_jwk_t *jwk = cjose_jwk_import(secret, sizeof secret - 1, &err);
    assert_non_null(jwk);
    gr_str keys = gr_arena_printf(arena, "{\"keys\":[%s]}", secret);
    assert_int_equal(verified(signed_with(jwk, "HS256", NULL, NULL), keys.ptr), GR_FORBIDDEN);
    cjose_jwk_release(jwk);
}

static void a_key_that_is_not_published_signs_nothing(void **state)
{
    (void)state;
    static const char theirs[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"hF4qZHkda1wCmKU0NffrmjfoIsgerLxmnhGif5NKwck\","
                                 "\"y\":\"AFoCxodkwWQ8NOzqlHef6Uyfo7ujG5R_iSPHzi1WuVg\","
                                 "\"d\":\"Qcs2yBciZqciTykf8yw4hFl_nyOeJSl0CkpQhVhRG5A\"}";
    assert_int_equal(verified(signed_by(theirs, "1", NULL), KEYS), GR_FORBIDDEN);
    assert_int_equal(verified(signed_by(theirs, "2", NULL), KEYS), GR_NOT_FOUND);    /* it may be new: keys are fetched again */
    assert_int_equal(verified(ours("2"), KEYS), GR_NOT_FOUND);
    assert_int_equal(verified(ours("1"), "{\"keys\":[]}"), GR_NOT_FOUND);
    assert_int_equal(verified(ours("1"), "{}"), GR_NOT_FOUND);
}

static void a_key_is_used_for_what_it_is_for(void **state)
{
    (void)state;
    assert_int_equal(verified(ours("1"), "{\"keys\":[{" KEY ",\"kid\":\"1\",\"use\":\"sig\",\"alg\":\"ES256\"}]}"), GR_OK);
    assert_int_equal(verified(ours("1"), "{\"keys\":[{" KEY ",\"kid\":\"1\",\"use\":\"enc\"}]}"), GR_FORBIDDEN);
    assert_int_equal(verified(ours("1"), "{\"keys\":[{" KEY ",\"kid\":\"1\",\"alg\":\"ES384\"}]}"), GR_FORBIDDEN);
    assert_int_equal(verified(ours("1"), "{\"keys\":[{" KEY ",\"kid\":\"1\",\"use\":\"enc\"},{" KEY ",\"kid\":\"1\"}]}"), GR_OK);
}

static void what_was_changed_or_is_no_token_is_refused(void **state)
{
    (void)state;
    gr_str good = ours("1");
    assert_int_equal(verified(with_header(good, "{\"alg\":\"ES256\",\"kid\":\"1\",\"x\":1}"), KEYS), GR_FORBIDDEN);
    /* What must be understood and is not. */
    assert_int_equal(verified(signed_by("{" KEY SECRET "}", "1", "[\"x\"]"), KEYS), GR_FORBIDDEN);
    static const char *const bad[] = {"", ".", "..", "a.b", "a.b.c", "e30.e30.", "e30", "!.!.!", "W10.W10.AA"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(verified(gr_str_c(bad[i]), KEYS), GR_FORBIDDEN);
    char *large = gr_arena_alloc(arena, GR_JWT_SIZE_MAX + 1);
    memset(large, '.', GR_JWT_SIZE_MAX + 1);
    assert_int_equal(verified(gr_str_of(large, GR_JWT_SIZE_MAX + 1), KEYS), GR_FORBIDDEN);
}

/* --- claims: at the time 10000, for the client me of https://id, nonce n ----------------------------------- */
static const gr_jwt_wanted wanted = {.issuer = {"https://id", 10}, .client_id = {"me", 2}, .nonce = {"n", 1}, .now_s = 10000};

static bool id_good(const char *claims) { return !gr_failed(gr_jwt_check_id(json(claims), &wanted)); }
static bool logout_good(const char *claims) { return !gr_failed(gr_jwt_check_logout(json(claims), &wanted)); }

#define ID(iss, aud, times, rest) "{\"iss\":\"" iss "\",\"aud\":" aud "," times "," rest "}"
#define TIMES "\"iat\":9990,\"exp\":10100"
#define REST "\"sub\":\"anna\",\"nonce\":\"n\""

static void an_id_token_is_of_the_issuer_and_for_this_client(void **state)
{
    (void)state;
    assert_true(id_good(ID("https://id", "\"me\"", TIMES, REST)));
    assert_true(id_good(ID("https://id", "[\"me\"]", TIMES, REST)));
    assert_true(id_good(ID("https://id", "[\"you\",\"me\"]", TIMES, REST ",\"azp\":\"me\"")));
    assert_false(id_good(ID("https://id/", "\"me\"", TIMES, REST)));
    assert_false(id_good(ID("https://other", "\"me\"", TIMES, REST)));
    assert_false(id_good(ID("https://id", "\"you\"", TIMES, REST)));
    assert_false(id_good(ID("https://id", "[]", TIMES, REST)));
    assert_false(id_good(ID("https://id", "[\"you\",\"me\"]", TIMES, REST)));
    assert_false(id_good(ID("https://id", "\"me\"", TIMES, REST ",\"azp\":\"you\"")));
}

static void an_id_token_is_of_now_and_clocks_may_differ_by_a_minute(void **state)
{
    (void)state;
    assert_true(id_good(ID("https://id", "\"me\"", "\"iat\":1,\"exp\":9941", REST)));
    assert_false(id_good(ID("https://id", "\"me\"", "\"iat\":1,\"exp\":9940", REST)));
    assert_true(id_good(ID("https://id", "\"me\"", "\"iat\":10060,\"exp\":10100", REST)));
    assert_false(id_good(ID("https://id", "\"me\"", "\"iat\":10061,\"exp\":10100", REST)));
    assert_true(id_good(ID("https://id", "\"me\"", TIMES ",\"nbf\":10060", REST)));
    assert_false(id_good(ID("https://id", "\"me\"", TIMES ",\"nbf\":10061", REST)));
    assert_true(id_good(ID("https://id", "\"me\"", "\"iat\":9990.5,\"exp\":10100.5", REST)));
    assert_false(id_good(ID("https://id", "\"me\"", "\"iat\":9990", REST)));
    assert_false(id_good(ID("https://id", "\"me\"", "\"exp\":10100", REST)));
    assert_false(id_good(ID("https://id", "\"me\"", "\"iat\":9990,\"exp\":\"never\"", REST)));
    assert_false(id_good(ID("https://id", "\"me\"", "\"iat\":9990,\"exp\":-1", REST)));
}

static void an_id_token_names_somebody_and_this_login(void **state)
{
    (void)state;
    assert_false(id_good(ID("https://id", "\"me\"", TIMES, "\"nonce\":\"n\"")));
    assert_false(id_good(ID("https://id", "\"me\"", TIMES, "\"sub\":\"\",\"nonce\":\"n\"")));
    assert_false(id_good(ID("https://id", "\"me\"", TIMES, "\"sub\":\"anna\"")));
    assert_false(id_good(ID("https://id", "\"me\"", TIMES, "\"sub\":\"anna\",\"nonce\":\"m\"")));
    gr_jwt_wanted no_nonce = wanted;
    no_nonce.nonce = (gr_str){0};      /* a flow without one takes none */
    assert_true(gr_failed(gr_jwt_check_id(json(ID("https://id", "\"me\"", TIMES, "\"sub\":\"anna\"")), &no_nonce)));
}

#define EVENT "\"events\":{\"http://schemas.openid.net/event/backchannel-logout\":{}}"
#define LOGOUT(times, rest) ID("https://id", "\"me\"", times, rest)

static void a_logout_token_is_no_other_token(void **state)
{
    (void)state;
    assert_true(logout_good(LOGOUT(TIMES, EVENT ",\"sid\":\"s\"")));
    assert_true(logout_good(LOGOUT("\"iat\":9990", EVENT ",\"sub\":\"anna\"")));
    assert_true(logout_good(LOGOUT("\"iat\":9701", EVENT ",\"sub\":\"anna\"")));
    assert_false(logout_good(LOGOUT("\"iat\":9700", EVENT ",\"sub\":\"anna\"")));       /* without exp it does not last */
    assert_false(logout_good(LOGOUT(TIMES, EVENT)));
    assert_false(logout_good(LOGOUT(TIMES, EVENT ",\"sid\":\"s\",\"nonce\":\"n\"")));
    assert_false(logout_good(LOGOUT(TIMES, "\"sid\":\"s\"")));
    assert_false(logout_good(LOGOUT(TIMES, "\"events\":{\"other\":{}},\"sid\":\"s\"")));
    assert_false(logout_good(LOGOUT("\"iat\":1,\"exp\":9940", EVENT ",\"sid\":\"s\"")));
    assert_false(logout_good(ID("https://id", "\"you\"", TIMES, EVENT ",\"sid\":\"s\"")));
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FACT(a_token_of_a_published_key_is_good),
        FACT(rsa_keys_sign_in_both_ways),
        FACT(none_is_no_signature),
        FACT(a_published_secret_is_no_key),
        FACT(a_key_that_is_not_published_signs_nothing),
        FACT(a_key_is_used_for_what_it_is_for),
        FACT(what_was_changed_or_is_no_token_is_refused),
        FACT(an_id_token_is_of_the_issuer_and_for_this_client),
        FACT(an_id_token_is_of_now_and_clocks_may_differ_by_a_minute),
        FACT(an_id_token_names_somebody_and_this_login),
        FACT(a_logout_token_is_no_other_token),
    };
    return cmocka_run_group_tests_name("jwt", tests, NULL, NULL);
}
