/* provider_test.c - what a provider may say of itself, and what is kept of devices that came of its sessions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/env.h"
#include "bus/stage.h"

static const gr_provider corp = {.id = {"corp", 4}, .issuer = {"https://id", 10}, .client_id = {"me", 2}};
static const gr_env env = {.server_name = {"here", 4}, .providers = {&corp, 1}};
static const gr_actor_kind *const kinds[] = {&gr_provider_kind, NULL};

#define METADATA(issuer, token) "{\"issuer\":\"" issuer "\",\"authorization_endpoint\":\"https://id/auth\"," \
                                "\"token_endpoint\":\"" token "\",\"jwks_uri\":\"https://id/keys\"}"

/* The provider is asked about, and this is its metadata: goes on to its keys, or not. */
static gr_stage *told(const char *metadata)
{
    gr_stage *s = gr_stage_new(kinds, "provider/corp", &env);
    gr_stage_ask(s, &gr_type_provider_about, &(gr_provider_about){0});
    const gr_stage_effect *fetch = gr_stage_fetching(s, 0);
    assert_non_null(fetch);
    assert_true(gr_str_is(fetch->fetch->url, "https://id/.well-known/openid-configuration"));
    gr_stage_fetched(s, fetch, &(gr_fetched){.status = 200, .body = gr_str_c(metadata)});
    return s;
}

static void metadata_lead_to_the_keys_and_both_are_the_answer(void **state)
{
    (void)state;
    gr_stage *s = told(METADATA("https://id", "https://id/token"));
    const gr_stage_effect *fetch = gr_stage_fetching(s, 0);
    assert_non_null(fetch);
    assert_true(gr_str_is(fetch->fetch->url, "https://id/keys"));
    gr_stage_fetched(s, fetch, &(gr_fetched){.status = 200, .body = GR_STR("{\"keys\":[]}")});
    const gr_provider_is *is = gr_stage_replied(s, &gr_type_provider_is);
    assert_non_null(is);
    assert_true(gr_str_is(is->keys, "{\"keys\":[]}"));
    gr_stage_free(&s);
}

static void refused(const char *metadata)
{
    gr_stage *s = told(metadata);
    assert_null(gr_stage_fetching(s, 0));
    assert_int_equal(gr_stage_error(s).code, GR_UNAVAILABLE);
    gr_stage_free(&s);
}

static void metadata_of_another_issuer_are_not_taken(void **state)
{
    (void)state;
    refused(METADATA("https://evil", "https://id/token"));
    refused(METADATA("https://id/", "https://id/token"));
    refused("{}");
}

static void what_an_https_provider_names_is_https(void **state)
{
    (void)state;
    refused(METADATA("https://id", "http://id/token"));
    refused(METADATA("https://id", "file:///token"));
    refused("{\"issuer\":\"https://id\",\"authorization_endpoint\":\"https://id/auth\",\"token_endpoint\":\"https://id/token\"}");
}

static void tell(gr_stage *s, gr_str session, gr_str device, bool ended)
{
    gr_provider_session m = {.session = session, .subject = GR_STR("sub"), .user = GR_STR("@a:here"), .device = device,
                             .ended = ended};
    gr_stage_post(s, "user/@a:here", &gr_type_provider_session, &m, (gr_str){0});
}

static void nothing_is_kept_of_devices_that_ended(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "provider/corp", &env);
    tell(s, GR_STR("S1"), GR_STR("ONE"), false);
    tell(s, (gr_str){0}, GR_STR("TWO"), false);        /* a provider that names no sessions */
    assert_int_equal(gr_stage_keys(s), 3);
    tell(s, (gr_str){0}, GR_STR("TWO"), true);
    assert_int_equal(gr_stage_keys(s), 2);
    tell(s, GR_STR("S1"), GR_STR("ONE"), true);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_lead_to_the_keys_and_both_are_the_answer),
        cmocka_unit_test(metadata_of_another_issuer_are_not_taken),
        cmocka_unit_test(what_an_https_provider_names_is_https),
        cmocka_unit_test(nothing_is_kept_of_devices_that_ended),
    };
    return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
