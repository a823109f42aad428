/* oauth_test.c - scopes, clients and their redirect URIs, proof keys. */
#include "proto/oauth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

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

/* --- scopes ------------------------------------------------------------------------------------------------ */
#define API "urn:matrix:client:api:* "
#define DEVICE "urn:matrix:client:device:"

static void a_scope_names_the_api_and_one_device(void **state)
{
    gr_oauth_scope scope;
    (void)state;
    assert_null(gr_oauth_scope_read(arena, GR_STR("openid " API DEVICE "ABC-1"), &scope));
    assert_true(gr_str_is(scope.device, "ABC-1"));
    assert_true(gr_str_is(scope.granted, API DEVICE "ABC-1"));
    assert_true(gr_oauth_scope_has_api(scope.granted));
}

static void the_names_from_before_the_api_was_stable_are_taken_and_given_back(void **state)
{
    gr_oauth_scope scope;
    gr_str old = GR_STR("urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:ABC");
    (void)state;
    assert_null(gr_oauth_scope_read(arena, old, &scope));
    assert_true(gr_str_eq(scope.granted, old));
    assert_true(gr_oauth_scope_has_api(scope.granted));
}

static void a_scope_without_the_api_or_with_no_or_two_devices_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "openid", "urn:matrix:client:api:*", DEVICE "A", API DEVICE "A " DEVICE "B", API DEVICE, API DEVICE "a/b",
        API DEVICE "a\"b", "urn:matrix:client:api:read " DEVICE "A",
        API DEVICE "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    gr_oauth_scope scope;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(gr_oauth_scope_read(arena, gr_str_c(bad[i]), &scope));
    assert_false(gr_oauth_scope_has_api(GR_STR(DEVICE "A")));
}

/* --- clients ----------------------------------------------------------------------------------------------- */
static gr_oauth_refusal read_client(const char *text, gr_str *out)
{
    const gr_json *json = NULL;
    gr_err err = gr_json_parse(arena, gr_str_c(text), GR_JSON_LAX, &json);
    assert_false(gr_failed(err));
    return gr_oauth_client_read(arena, json, out);
}

static bool takes_redirect(const char *type, const char *uri)
{
    char text[512];
    gr_str out;
    snprintf(text, sizeof text,
             "{\"client_uri\":\"https://example.com/\",\"application_type\":\"%s\",\"redirect_uris\":[\"%s\"]}", type, uri);
    gr_oauth_refusal refusal = read_client(text, &out);
    if (refusal.error) assert_string_equal(refusal.error, "invalid_redirect_uri");
    return !refusal.error;
}

/* The examples of the specification, and what attackers would like. */
static void redirect_uris_of_web_clients_are_https_within_the_client_uri(void **state)
{
    static const char *const good[] = {"https://example.com/callback", "https://app.example.com/callback",
                                       "https://example.com:5173/?query=value", "https://EXAMPLE.com/"};
    static const char *const bad[] = {
        "https://example.com/callback#fragment", "http://example.com/callback", "http://localhost/", "https://notexample.com/",
        "https://example.com.evil.org/", "https://a:b@example.com/", "https://evil.org\\\\@example.com/",
        "https://evil.org/example.com", "https:example.com/", "javascript:alert(1)", "com.example:/", "https://",
        "//example.com/", "https://example.com/a b", "", "https://evil.org?.example.com/", "https://evil.org#.example.com",
        "https://example.com/<b>", "https://example.com/a\\\\b", "https://example.com/\\\"x"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(takes_redirect("web", good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(takes_redirect("web", bad[i]));
}

static void native_clients_may_use_their_own_scheme_and_loopback_without_a_port(void **state)
{
    static const char *const good[] = {"com.example.app:/callback", "com.example:/", "com.example:callback",
                                       "http://localhost/callback", "http://127.0.0.1/callback", "http://[::1]/callback",
                                       "https://app.example.com/claimed"};
    static const char *const bad[] = {"example:/callback", "com.example.app://callback", "https://localhost/callback",
                                      "http://localhost:1234/callback", "http://localhost.evil.org/", "com.examples:/",
                                      "com:/", "com.example.app:", "http://127.0.0.1@evil.org/", "org.evil:/", "javascript:x"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(takes_redirect("native", good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(takes_redirect("native", bad[i]));
}

static void what_is_registered_has_defaults_and_nothing_unknown(void **state)
{
    gr_str out;
    (void)state;
    gr_oauth_refusal refusal = read_client(
        "{\"client_uri\":\"https://example.com/\",\"client_name\":\"App\",\"client_name#fr\":\"Appli\",\"x\":1,"
        "\"redirect_uris\":[\"https://example.com/cb\"],\"grant_types\":[\"authorization_code\",\"refresh_token\",\"made-up\"]}",
        &out);
    assert_null(refusal.error);
    assert_true(gr_str_is(out, "{\"client_name\":\"App\",\"client_uri\":\"https://example.com/\",\"application_type\":\"web\","
                               "\"token_endpoint_auth_method\":\"none\",\"response_types\":[\"code\"],"
                               "\"grant_types\":[\"authorization_code\",\"refresh_token\"],"
                               "\"redirect_uris\":[\"https://example.com/cb\"]}"));
}

static void metadata_that_does_not_fit_is_refused(void **state)
{
#define REST ",\"redirect_uris\":[\"https://example.com/cb\"]}"
    static const char *const bad[] = {
        "{\"redirect_uris\":[\"https://example.com/cb\"]}", "{\"client_uri\":\"http://example.com/\"" REST,
        "{\"client_uri\":\"https://a:b@example.com/\"" REST, "{\"client_uri\":7" REST,
        "{\"client_uri\":\"https://example.com/\",\"application_type\":\"toaster\"" REST,
        "{\"client_uri\":\"https://example.com/\",\"token_endpoint_auth_method\":\"client_secret_basic\"" REST,
        "{\"client_uri\":\"https://example.com/\",\"client_name\":7" REST,
        "{\"client_uri\":\"https://example.com/\",\"tos_uri\":\"https://evil.org/\"" REST,
        "{\"client_uri\":\"https://example.com/\",\"logo_uri\":\"http://example.com/\"" REST,
        "{\"client_uri\":\"https://example.com/\",\"policy_uri\":\"javascript:alert(1)\"" REST,
        "{\"client_uri\":\"https://example.com/\",\"grant_types\":[\"implicit\"]" REST,
        "{\"client_uri\":\"https://example.com/\",\"response_types\":[\"token\"]" REST,
        "{\"client_uri\":\"https://example.com/\"}"};
    gr_str out;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_non_null(read_client(bad[i], &out).error);
        assert_int_equal(out.size, 0);
    }
}

static void a_redirect_uri_is_known_to_the_byte_but_for_the_port_of_loopback(void **state)
{
    const gr_json *metadata = NULL;
    gr_err err = gr_json_parse(arena, GR_STR("{\"redirect_uris\":[\"https://example.com/cb\",\"http://127.0.0.1/cb\"]}"),
                               GR_JSON_LAX, &metadata);
    (void)state;
    assert_false(gr_failed(err));
    assert_true(gr_oauth_redirect_known(metadata, GR_STR("https://example.com/cb")));
    assert_true(gr_oauth_redirect_known(metadata, GR_STR("http://127.0.0.1:43210/cb")));
    static const char *const bad[] = {"https://example.com/cb/", "https://example.com/CB", "https://example.com:443/cb",
                                      "https://example.com/cb?x=1", "http://127.0.0.1:1/other", "http://localhost:1/cb",
                                      "http://127.0.0.1:x/cb", "http://127.0.0.1:99999/cb", "http://127.0.0.1:1@evil.org/cb", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(gr_oauth_redirect_known(metadata, gr_str_c(bad[i])));
}

/* --- proof keys: RFC 7636, appendix B ---------------------------------------------------------------------- */
static void the_verifier_of_the_rfc_fits_its_challenge_and_no_other(void **state)
{
    gr_str challenge = GR_STR("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    (void)state;
    assert_true(gr_oauth_challenge(challenge));
    assert_true(gr_oauth_verifies(arena, GR_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), challenge));
    assert_false(gr_oauth_verifies(arena, GR_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"), challenge));
    assert_false(gr_oauth_verifies(arena, challenge, challenge));
    assert_false(gr_oauth_verifies(arena, GR_STR("short"), challenge));
    assert_false(gr_oauth_challenge(GR_STR("short")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scope_names_the_api_and_one_device),
        cmocka_unit_test(the_names_from_before_the_api_was_stable_are_taken_and_given_back),
        cmocka_unit_test(a_scope_without_the_api_or_with_no_or_two_devices_is_refused),
        cmocka_unit_test(redirect_uris_of_web_clients_are_https_within_the_client_uri),
        cmocka_unit_test(native_clients_may_use_their_own_scheme_and_loopback_without_a_port),
        cmocka_unit_test(what_is_registered_has_defaults_and_nothing_unknown),
        cmocka_unit_test(metadata_that_does_not_fit_is_refused),
        cmocka_unit_test(a_redirect_uri_is_known_to_the_byte_but_for_the_port_of_loopback),
        cmocka_unit_test(the_verifier_of_the_rfc_fits_its_challenge_and_no_other),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
