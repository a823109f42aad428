/* oauth_test.c - clients of the OAuth 2.0 API, and grants: codes and device codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/env.h"
#include "actors/oauth/client.h"
#include "actors/oauth/grant.h"
#include "bus/stage.h"

static const gr_env env = {.server_name = {"here", 4}};
static const gr_actor_kind *const kinds[] = {&gr_client_kind, &gr_grant_kind, NULL};
static gr_arena *arena;

#define CHALLENGE GR_STR("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
#define VERIFIER GR_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
#define REDIRECT GR_STR("https://app.example.com/cb")

/* --- grants ------------------------------------------------------------------------------------------------ */
static gr_str hash_of(gr_str code)
{
    gr_str address, hash;
    assert_true(gr_grant_of_code(arena, code, &address, &hash));
    return hash;
}

static gr_str make_code(gr_stage *s)
{
    gr_grant_code m = {.client = GR_STR("app"), .client_name = GR_STR("App"), .redirect_uri = REDIRECT, .device = GR_STR("DEV"),
                       .scope = GR_STR("urn:matrix:client:api:*"), .user = GR_STR("@a:here"), .challenge = CHALLENGE};
    gr_stage_ask(s, &gr_type_grant_code, &m);
    const gr_grant_made *made = gr_stage_replied(s, &gr_type_grant_made);
    assert_non_null(made);
    return gr_arena_str(arena, made->code);
}

static gr_grant_redeem redeeming(gr_str code)
{
    return (gr_grant_redeem){.hash = hash_of(code), .client = GR_STR("app"), .redirect_uri = REDIRECT, .verifier = VERIFIER};
}

static void redeem(gr_stage *s, gr_grant_redeem m) { gr_stage_ask(s, &gr_type_grant_redeem, &m); }

static bool refused(gr_stage *s, const char *error)
{
    const gr_grant_refused *m = gr_stage_replied(s, &gr_type_grant_refused);
    return m && gr_str_is(m->error, error);
}

static const gr_user_login *logged_in(gr_stage *s)
{
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, &gr_type_user_login, 0);
    return post && post->is_forwarded && gr_str_is(post->to, "user/@a:here") ? post->body : NULL;
}

static gr_stage *stage(void) { return gr_stage_new(kinds, "grant/g1", &env); }

static void a_code_makes_the_device_and_only_its_hash_is_stored(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_str code = make_code(s), row;
    assert_true(gr_str_starts(code, GR_STR("g1.")));
    assert_true(gr_stage_get(s, GR_STR("g"), &row));
    assert_null(memmem(row.ptr, row.size, code.ptr + 3, code.size - 3));
    gr_stage_reload(s);
    redeem(s, redeeming(code));
    const gr_user_login *login = logged_in(s);
    assert_non_null(login);
    assert_true(gr_str_is(login->device, "DEV") && gr_str_is(login->client, "app") && gr_str_is(login->grant, "g1"));
    assert_true(login->refreshable && gr_str_is(login->scope, "urn:matrix:client:api:*"));
    gr_stage_free(&s);
}

static void a_code_fits_its_client_redirect_uri_and_proof_key_only(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_str code = make_code(s);
    gr_grant_redeem good = redeeming(code), m = good;
    m.client = GR_STR("other");
    redeem(s, m);
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    m = good;
    m.redirect_uri = GR_STR("https://app.example.com/cb/");
    redeem(s, m);
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    m = good;
    m.verifier = CHALLENGE;
    redeem(s, m);
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    m = good;
    m.hash = hash_of(GR_STR("g1.guess"));
    redeem(s, m);
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    redeem(s, good);
    assert_non_null(logged_in(s));
    gr_stage_free(&s);
}

static void a_replayed_code_ends_the_device_that_it_made(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_str code = make_code(s);
    redeem(s, redeeming(code));
    gr_stage_reload(s);
    redeem(s, redeeming(code));
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    gr_grant_redeem stolen = redeeming(code);
    stolen.verifier = GR_STR("");
    redeem(s, stolen);
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, &gr_type_user_logout, 0);
    assert_non_null(post);
    const gr_user_logout *logout = post->body;
    assert_true(gr_str_is(post->to, "user/@a:here") && gr_str_is(logout->grant, "g1"));
    assert_true(logout->devices.count == 1 && gr_str_is(logout->devices.at[0], "DEV"));
    redeem(s, (gr_grant_redeem){.hash = hash_of(GR_STR("g1.guess")), .client = GR_STR("app")});
    assert_null(gr_stage_find(s, GR_POST, &gr_type_user_logout, 0));
    gr_stage_free(&s);
}

static void a_code_expires(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = stage();
    gr_str code = make_code(s), row;
    gr_stage_clock(s, gr_stage_now(s) + GR_GRANT_CODE_MS);
    redeem(s, redeeming(code));
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    gr_stage_fire(s, &fired);
    assert_true(fired);
    assert_false(gr_stage_get(s, GR_STR("g"), &row));
    gr_stage_free(&s);
}

/* --- device codes ------------------------------------------------------------------------------------------ */
static gr_str begin_device(gr_stage *s)
{
    gr_grant_device m = {.client = GR_STR("app"), .client_name = GR_STR("TV"), .device = GR_STR("DEV")};
    gr_stage_ask(s, &gr_type_grant_device, &m);
    const gr_grant_made *made = gr_stage_replied(s, &gr_type_grant_made);
    assert_non_null(made);
    return gr_arena_str(arena, made->code);
}

static void poll(gr_stage *s, gr_str code)
{
    gr_stage_clock(s, gr_stage_now(s) + GR_GRANT_POLL_MS);
    gr_stage_ask(s, &gr_type_grant_poll, &(gr_grant_poll){.hash = hash_of(code), .client = GR_STR("app")});
}

static void decide(gr_stage *s, bool allowed)
{
    gr_stage_ask(s, &gr_type_grant_decide, &(gr_grant_decide){.user = GR_STR("@a:here"), .allowed = allowed});
}

static gr_stage *device_stage(void) { return gr_stage_new(kinds, "grant/WDJBMJHT", &env); }

static void a_device_code_waits_for_the_user_and_is_used_once(void **state)
{
    (void)state;
    gr_stage *s = device_stage();
    gr_str code = begin_device(s);
    poll(s, code);
    assert_true(refused(s, "authorization_pending"));
    gr_stage_ask(s, &gr_type_grant_look, &(gr_grant_look){0});
    assert_true(gr_str_is(((const gr_grant_is *)gr_stage_replied(s, &gr_type_grant_is))->client, "app"));
    decide(s, true);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    decide(s, false);
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    poll(s, code);
    assert_true(logged_in(s) && gr_str_is(logged_in(s)->device, "DEV"));
    poll(s, code);
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    gr_stage_free(&s);
}

static void a_device_that_was_denied_or_waited_too_long_is_told_so(void **state)
{
    (void)state;
    gr_stage *s = device_stage();
    gr_str code = begin_device(s);
    decide(s, false);
    poll(s, code);
    assert_true(refused(s, "access_denied"));
    gr_stage_on(s, "grant/XDJBMJHT");
    code = begin_device(s);
    gr_stage_clock(s, gr_stage_now(s) + GR_GRANT_DEVICE_MS);
    poll(s, code);
    assert_true(refused(s, "expired_token"));
    decide(s, true);
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    gr_stage_free(&s);
}

static void who_polls_too_often_waits_longer_each_time(void **state)
{
    (void)state;
    gr_stage *s = device_stage();
    gr_str code = begin_device(s);
    poll(s, code);
    gr_stage_ask(s, &gr_type_grant_poll, &(gr_grant_poll){.hash = hash_of(code), .client = GR_STR("app")});
    assert_true(refused(s, "slow_down"));
    poll(s, code);
    assert_true(refused(s, "slow_down"));
    gr_stage_clock(s, gr_stage_now(s) + 2 * GR_GRANT_POLL_MS);
    poll(s, code);
    assert_true(refused(s, "authorization_pending"));
    gr_stage_free(&s);
}

static void a_user_code_that_waits_is_given_to_nobody_else(void **state)
{
    (void)state;
    gr_stage *s = device_stage();
    begin_device(s);
    gr_stage_ask(s, &gr_type_grant_device, &(gr_grant_device){.client = GR_STR("other")});
    assert_int_equal(gr_stage_error(s).code, GR_USER_IN_USE);
    gr_stage_free(&s);
}

static void a_device_code_is_no_authorisation_code_and_other_clients_have_no_use_of_it(void **state)
{
    (void)state;
    gr_stage *s = device_stage();
    gr_str code = begin_device(s);
    decide(s, true);
    redeem(s, redeeming(code));
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    gr_stage_ask(s, &gr_type_grant_poll, &(gr_grant_poll){.hash = hash_of(code), .client = GR_STR("other")});
    assert_true(refused(s, "invalid_grant") && !logged_in(s));
    gr_stage_free(&s);
}

static void user_codes_are_read_as_people_type_them(void **state)
{
    (void)state;
    assert_true(gr_str_is(gr_grant_user_code_read(arena, GR_STR(" wdjb-MJHT")), "WDJBMJHT"));
    assert_true(gr_str_is(gr_grant_user_code_shown(arena, GR_STR("WDJBMJHT")), "WDJB-MJHT"));
    assert_int_equal(gr_grant_user_code_read(arena, GR_STR("WDJB-MJH")).size, 0);
    assert_int_equal(gr_grant_user_code_read(arena, GR_STR("WDJB-MJHTT")).size, 0);
    assert_int_equal(gr_grant_user_code_read(arena, GR_STR("AEIO-UUUU")).size, 0);
    assert_int_equal(gr_grant_user_code_read(arena, gr_str_of("WDJB\0MJHT", 9)).size, 0);
}

/* --- clients ----------------------------------------------------------------------------------------------- */
static void register_client(gr_stage *s)
{
    gr_stage_ask(s, &gr_type_client_register, &(gr_client_register){.metadata = GR_STR("{}")});
    assert_non_null(gr_stage_replied(s, &gr_type_done));
}

static void session(gr_stage *s, bool ended)
{
    gr_client_session m = {.user = GR_STR("@a:here"), .device = GR_STR("DEV"), .ended = ended};
    gr_stage_post(s, "user/@a:here", &gr_type_client_session, &m, GR_STR(""));
}

static bool is_known(gr_stage *s)
{
    gr_str row;
    return gr_stage_get(s, GR_STR("c"), &row);
}

static void a_client_that_nobody_uses_is_forgotten(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = gr_stage_new(kinds, "client/c1", &env);
    register_client(s);
    uint64_t began_ms = gr_stage_now(s);
    gr_stage_fire(s, &fired);
    assert_true(fired && gr_stage_now(s) == began_ms + GR_CLIENT_UNUSED_MS);
    gr_stage_ask(s, &gr_type_client_look, &(gr_client_look){0});
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    assert_false(is_known(s));
    gr_stage_free(&s);
}

static void a_client_with_a_session_stays_until_a_day_after_it(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = gr_stage_new(kinds, "client/c1", &env);
    register_client(s);
    session(s, false);
    gr_stage_fire(s, &fired);
    assert_true(fired && is_known(s));
    gr_stage_fire(s, &fired);
    assert_false(fired);
    session(s, true);
    gr_stage_fire(s, &fired);
    assert_true(fired);
    assert_false(is_known(s));
    gr_stage_free(&s);
}

static void a_client_that_is_about_to_be_forgotten_stays_for_who_begins_to_log_in(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = gr_stage_new(kinds, "client/c1", &env);
    register_client(s);
    gr_stage_clock(s, gr_stage_now(s) + GR_CLIENT_UNUSED_MS - 1);
    gr_stage_ask(s, &gr_type_client_look, &(gr_client_look){0});
    assert_non_null(gr_stage_replied(s, &gr_type_client_is));
    uint64_t looked_ms = gr_stage_now(s);
    gr_stage_fire(s, &fired);
    assert_true(fired && gr_stage_now(s) == looked_ms + GR_CLIENT_UNUSED_MS);
    gr_stage_free(&s);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_code_makes_the_device_and_only_its_hash_is_stored),
        cmocka_unit_test(a_code_fits_its_client_redirect_uri_and_proof_key_only),
        cmocka_unit_test(a_replayed_code_ends_the_device_that_it_made),
        cmocka_unit_test(a_code_expires),
        cmocka_unit_test(a_device_code_waits_for_the_user_and_is_used_once),
        cmocka_unit_test(a_device_that_was_denied_or_waited_too_long_is_told_so),
        cmocka_unit_test(who_polls_too_often_waits_longer_each_time),
        cmocka_unit_test(a_user_code_that_waits_is_given_to_nobody_else),
        cmocka_unit_test(a_device_code_is_no_authorisation_code_and_other_clients_have_no_use_of_it),
        cmocka_unit_test(user_codes_are_read_as_people_type_them),
        cmocka_unit_test(a_client_that_nobody_uses_is_forgotten),
        cmocka_unit_test(a_client_with_a_session_stays_until_a_day_after_it),
        cmocka_unit_test(a_client_that_is_about_to_be_forgotten_stays_for_who_begins_to_log_in),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
