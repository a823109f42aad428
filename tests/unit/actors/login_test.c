/* The login actor: plain logins, sessions of user-interactive authentication, registration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/login/login.h"
#include "bus/stage.h"

static const gr_env open_env = {.server_name = {"here", 4}, .registration_open = true, .password_min_length = 8,
                                .password_memory = 64 * 1024};
static const gr_env token_env = {.server_name = {"here", 4}, .registration_token = true, .password_min_length = 8,
                                 .password_memory = 64 * 1024};
static const gr_actor_kind *const kinds[] = {&gr_login_kind, NULL};

static gr_stage *stage(const gr_env *env) { return gr_stage_new(kinds, "login/session1", env); }

static void uia(gr_stage *s, const char *action, const char *request, const char *auth)
{
    bool is_register = strcmp(action, "register") == 0;
    gr_login_uia m = {.action = gr_str_c(action), .binding = gr_str_c(action), .request = gr_str_c(request),
                      .auth = gr_str_c(auth), .user = is_register ? GR_STR("") : GR_STR("@a:here")};
    gr_stage_ask(s, &gr_type_login_uia, &m);
}

static const gr_stage_effect *asked(gr_stage *s, const gr_type *type)
{
    const gr_stage_effect *ask = gr_stage_find(s, GR_ASK, type, 0);
    assert_non_null(ask);
    return ask;
}

/* The user actor's answer to user_auth_info. */
static void tell_account(gr_stage *s, bool exists, gr_str hash)
{
    gr_user_auth_is is = {.exists = exists, .password_hash = hash};
    gr_stage_answer(s, asked(s, &gr_type_user_auth_info), &gr_type_user_auth_is, &is, gr_ok());
}

static void run_work(gr_stage *s)
{
    const gr_stage_effect *work = gr_stage_worked(s, 0);
    assert_non_null(work);
    gr_stage_run_work(s, work);
}

static void tell_tokens(gr_stage *s)
{
    gr_token_pair pair = {.access = GR_STR("grt_x")};
    gr_stage_answer(s, asked(s, &gr_type_user_login), &gr_type_token_pair, &pair, gr_ok());
}

static bool contains(gr_str text, const char *part) { return memmem(text.ptr, text.size, part, strlen(part)) != NULL; }

static gr_str wanted(gr_stage *s)
{
    const gr_login_wanted *m = gr_stage_replied(s, &gr_type_login_wanted);
    assert_non_null(m);
    return m->body;
}

static gr_str answered(gr_stage *s)
{
    const gr_login_answer *m = gr_stage_replied(s, &gr_type_login_answer);
    assert_non_null(m);
    return m->body;
}

/* Registers @ann:here up to the question for the account; answers the hash that was made. */
static gr_str register_ann(gr_stage *s)
{
    uia(s, "register", "{\"username\":\"ann\",\"password\":\"long enough\"}", "{\"type\":\"m.login.dummy\"}");
    tell_account(s, false, GR_STR(""));
    run_work(s);
    const gr_stage_effect *create = asked(s, &gr_type_user_create);
    assert_true(gr_str_is(create->to, "user/@ann:here"));
    gr_str hash = ((const gr_user_create *)create->body)->password_hash;
    gr_stage_answer(s, create, &gr_type_done, &(gr_done){0}, gr_ok());
    return hash;
}

static void login(gr_stage *s, const char *user, const char *password)
{
    gr_login_password m = {.user = gr_str_c(user), .password = gr_str_c(password)};
    gr_stage_ask(s, &gr_type_login_password, &m);
}

static void registration_asks_for_a_stage_then_makes_account_device_and_tokens(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    uia(s, "register", "{\"username\":\"ann\",\"password\":\"long enough\"}", "");
    tell_account(s, false, GR_STR(""));
    assert_true(contains(wanted(s), "\"m.login.dummy\"") && contains(wanted(s), "\"session\":\"session1\""));
    uia(s, "register", "{\"username\":\"ann\",\"password\":\"long enough\"}", "{\"type\":\"m.login.dummy\"}");
    run_work(s);
    gr_stage_answer(s, asked(s, &gr_type_user_create), &gr_type_done, &(gr_done){0}, gr_ok());
    tell_tokens(s);
    assert_true(contains(answered(s), "\"access_token\":\"grt_x\"") && contains(answered(s), "@ann:here"));
    gr_stage_free(&s);
}

static void a_lost_answer_is_made_again_for_the_same_request_only(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    register_ann(s);
    gr_str device = ((const gr_user_login *)asked(s, &gr_type_user_login)->body)->device;
    gr_stage_reload(s);
    uia(s, "register", "{\"username\":\"ann\",\"password\":\"long enough\"}", "");
    run_work(s);
    const gr_user_create *create = asked(s, &gr_type_user_create)->body;
    assert_true(gr_str_is(create->key, "session1"));
    gr_stage_answer(s, asked(s, &gr_type_user_create), &gr_type_done, &(gr_done){0}, gr_ok());
    assert_true(gr_str_eq(((const gr_user_login *)asked(s, &gr_type_user_login)->body)->device, device));
    tell_tokens(s);
    answered(s);
    uia(s, "register", "{\"username\":\"bob\",\"password\":\"long enough\"}", "");
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    gr_stage_free(&s);
}

static void no_password_is_ever_written(void **state)
{
    (void)state;
    gr_str row;
    gr_stage *s = stage(&open_env);
    gr_str hash = register_ann(s);
    assert_true(gr_str_starts(hash, GR_STR("$argon2id$")));
    assert_true(gr_stage_get(s, GR_STR("s"), &row));
    assert_false(contains(row, "long enough"));
    gr_stage_free(&s);
}

static void what_can_not_be_registered_is_refused_at_once(void **state)
{
    static const struct { const char *request; gr_errcode code; } bad[] = {
        {"{\"username\":\"Upper\"}", GR_INVALID_USERNAME}, {"{\"username\":\"a b\"}", GR_INVALID_USERNAME},
        {"{\"username\":\"ann\",\"password\":\"short\"}", GR_WEAK_PASSWORD}};
    (void)state;
    gr_stage *s = stage(&open_env);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uia(s, "register", bad[i].request, "");
        assert_int_equal(gr_stage_error(s).code, bad[i].code);
    }
    uia(s, "register", "{\"username\":\"ann\"}", "");
    tell_account(s, true, GR_STR("x"));
    assert_int_equal(gr_stage_error(s).code, GR_USER_IN_USE);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

static void registration_by_token_uses_up_the_token(void **state)
{
    (void)state;
    gr_stage *s = stage(&token_env);
    uia(s, "register", "{\"password\":\"long enough\"}", "{\"type\":\"m.login.registration_token\",\"token\":\"abc\"}");
    const gr_stage_effect *use = asked(s, &gr_type_name_use);
    assert_true(gr_str_starts(use->to, GR_STR("name/regtoken/")));
    assert_false(contains(use->to, "abc"));        /* addresses are logged */
    gr_stage_answer(s, use, NULL, NULL, gr_fail(GR_NOT_FOUND, "none"));
    assert_true(contains(wanted(s), "M_UNAUTHORIZED"));
    uia(s, "register", "{\"password\":\"long enough\"}", "{\"type\":\"m.login.registration_token\",\"token\":\"abc\"}");
    gr_stage_answer(s, asked(s, &gr_type_name_use), &gr_type_done, &(gr_done){0}, gr_ok());
    assert_non_null(gr_stage_worked(s, 0));
    uia(s, "register", "{\"password\":\"long enough\"}", "{\"type\":\"m.login.dummy\"}");
    assert_int_equal(gr_stage_error(s).code, GR_LIMIT_EXCEEDED);
    gr_stage_free(&s);
}

static const gr_env two_env = {.server_name = {"here", 4}, .registration_token = true, .password_min_length = 8,
                               .password_memory = 64 * 1024, .terms = {"{\"policies\":{}}", 15}};
#define BY_TOKEN "{\"type\":\"m.login.registration_token\",\"token\":\"abc\"}"
#define NAMELESS "{\"password\":\"long enough\"}"

static void every_stage_of_a_flow_has_to_be_done_in_any_order(void **state)
{
    (void)state;
    gr_stage *s = stage(&two_env);
    uia(s, "register", NAMELESS, "{\"type\":\"m.login.terms\"}");
    assert_true(contains(wanted(s), "\"stages\":[\"m.login.registration_token\",\"m.login.terms\"]"));
    assert_true(contains(wanted(s), "\"completed\":[\"m.login.terms\"]"));
    assert_true(contains(wanted(s), "\"params\":{\"m.login.terms\":{\"policies\":{}}}"));
    assert_false(contains(wanted(s), "errcode"));
    gr_stage_reload(s);
    uia(s, "register", NAMELESS, "{\"type\":\"m.login.password\",\"password\":\"x\"}");
    assert_true(contains(wanted(s), "M_UNRECOGNIZED"));
    uia(s, "register", NAMELESS, BY_TOKEN);
    gr_stage_answer(s, asked(s, &gr_type_name_use), &gr_type_done, &(gr_done){0}, gr_ok());
    assert_non_null(gr_stage_worked(s, 0));
    gr_stage_free(&s);
}

#define AGREES "{\"type\":\"m.login.terms\"}"
#define POLICY(version) GR_STR("{\"policies\":{\"tos\":{\"version\":\"" version "\"},\"x\":{\"version\":\"1\"}}}")

/* What somebody agrees to is what the session has shown; an account remembers it. */
static void terms_that_changed_are_shown_before_they_are_agreed_to(void **state)
{
    (void)state;
    gr_env changing = open_env;
    changing.terms = POLICY("2.0");
    gr_stage *s = stage(&changing);
    uia(s, "register", NAMELESS, "");
    assert_true(contains(wanted(s), "\"version\":\"2.0\""));
    changing.terms = POLICY("2.1");
    gr_stage_reload(s);
    uia(s, "register", NAMELESS, AGREES);
    assert_true(contains(wanted(s), "M_UNAUTHORIZED") && contains(wanted(s), "\"version\":\"2.1\""));
    assert_true(contains(wanted(s), "\"completed\":[]"));
    uia(s, "register", NAMELESS, AGREES);
    run_work(s);
    const gr_user_create *create = asked(s, &gr_type_user_create)->body;
    assert_int_equal(create->terms.count, 2);
    assert_true(gr_str_is(create->terms.at[0], "tos 2.1") && gr_str_is(create->terms.at[1], "x 1"));
    gr_stage_reload(s);
    uia(s, "register", NAMELESS, "");                              /* nothing has come of it: the same again */
    run_work(s);
    assert_int_equal(((const gr_user_create *)asked(s, &gr_type_user_create)->body)->terms.count, 2);
    gr_stage_free(&s);
}

static const gr_login_stage_is *by_page(gr_stage *s, const char *name, const char *params)
{
    gr_stage_ask(s, &gr_type_login_stage, &(gr_login_stage){.stage = gr_str_c(name), .params = gr_str_c(params)});
    return gr_stage_replied(s, &gr_type_login_stage_is);
}

static void a_page_does_a_stage_and_the_client_goes_on_without_naming_it(void **state)
{
    (void)state;
    gr_stage *s = stage(&two_env);
    by_page(s, "m.login.terms", "{}");
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    uia(s, "register", NAMELESS, "");
    assert_false(by_page(s, "m.login.terms", "")->done);
    assert_true(by_page(s, "m.login.terms", "{}")->done);
    uia(s, "register", NAMELESS, "");
    assert_true(contains(wanted(s), "\"completed\":[\"m.login.terms\"]"));
    by_page(s, "m.login.registration_token", "{\"token\":\"abc\"}");
    gr_stage_answer(s, asked(s, &gr_type_name_use), NULL, NULL, gr_fail(GR_NOT_FOUND, "none"));
    const gr_login_stage_is *is = gr_stage_replied(s, &gr_type_login_stage_is);
    assert_true(is->failed && !is->done);
    by_page(s, "m.login.registration_token", "{\"token\":\"abc\"}");
    gr_stage_answer(s, asked(s, &gr_type_name_use), &gr_type_done, &(gr_done){0}, gr_ok());
    assert_null(gr_stage_worked(s, 0));            /* the page makes no account */
    uia(s, "register", NAMELESS, "{}");
    assert_non_null(gr_stage_worked(s, 0));
    gr_stage_free(&s);
}

static const gr_env mail_env = {.server_name = {"here", 4}, .registration_open = true, .password_min_length = 8,
                                .password_memory = 64 * 1024,
                                .email = {.from = {"<noreply@here>", 14}, .base_url = {"https://here", 12},
                                          .must_register = true}};
#define BY_EMAIL "{\"type\":\"m.login.email.identity\",\"threepid_creds\":{\"sid\":\"abc\",\"client_secret\":\"xyz\"}}"

/* The email session's answer. */
static void tell_validated(gr_stage *s, const char *purpose, uint64_t validated_ms)
{
    const gr_stage_effect *look = asked(s, &gr_type_email_look);
    assert_true(gr_str_is(look->to, "email/abc"));
    gr_email_is is = {.address = GR_STR("a@example.org"), .purpose = gr_str_c(purpose), .validated_ms = validated_ms};
    gr_stage_answer(s, look, &gr_type_email_is, &is, gr_ok());
}

static void an_address_is_claimed_before_the_account_and_kept_after_it(void **state)
{
    (void)state;
    gr_stage *s = stage(&mail_env);
    uia(s, "register", NAMELESS, BY_EMAIL);
    tell_validated(s, "register", 0);
    assert_true(contains(wanted(s), "M_UNAUTHORIZED"));
    uia(s, "register", NAMELESS, BY_EMAIL);
    tell_validated(s, "password", 7);
    assert_true(contains(wanted(s), "M_UNAUTHORIZED"));            /* it was for something else */
    uia(s, "register", NAMELESS, BY_EMAIL);
    tell_validated(s, "register", 7);
    assert_null(gr_stage_worked(s, 0));
    gr_stage_answer(s, asked(s, &gr_type_name_claim), &gr_type_done, &(gr_done){0}, gr_ok());
    run_work(s);
    gr_stage_answer(s, asked(s, &gr_type_user_create), &gr_type_done, &(gr_done){0}, gr_ok());
    const gr_user_threepid_put *put = asked(s, &gr_type_user_threepid_put)->body;
    assert_true(gr_str_is(put->address, "a@example.org"));
    gr_stage_answer(s, asked(s, &gr_type_user_threepid_put), &gr_type_done, &(gr_done){0}, gr_ok());
    tell_tokens(s);
    answered(s);
    gr_stage_free(&s);
}

static void an_address_that_is_taken_makes_no_account(void **state)
{
    (void)state;
    gr_stage *s = stage(&mail_env);
    uia(s, "register", NAMELESS, BY_EMAIL);
    tell_validated(s, "register", 7);
    gr_stage_answer(s, asked(s, &gr_type_name_claim), NULL, NULL, gr_fail(GR_USER_IN_USE, "taken"));
    assert_int_equal(gr_stage_error(s).code, GR_THREEPID_IN_USE);
    gr_stage_free(&s);
}

static void who_shows_the_address_of_an_account_sets_its_password(void **state)
{
    (void)state;
    gr_stage *s = stage(&mail_env);
    gr_login_uia m = {.action = GR_STR("password"), .binding = GR_STR("password"),
                      .request = GR_STR("{\"new_password\":\"long enough\"}")};
    gr_stage_ask(s, &gr_type_login_uia, &m);
    assert_true(contains(wanted(s), "[{\"stages\":[\"m.login.email.identity\"]}]"));
    m.auth = GR_STR(BY_EMAIL);
    gr_stage_ask(s, &gr_type_login_uia, &m);
    tell_validated(s, "password", 7);
    const gr_stage_effect *look = asked(s, &gr_type_name_look);
    assert_true(gr_str_is(look->to, "name/3pid/email/a@example.org"));
    gr_result result = {.body = GR_STR("{\"user_id\":\"@a:here\"}")};
    gr_stage_answer(s, look, &gr_type_result, &result, gr_ok());
    run_work(s);
    const gr_stage_effect *set = asked(s, &gr_type_user_password);
    assert_true(gr_str_is(set->to, "user/@a:here") && ((const gr_user_password *)set->body)->logout_devices);
    gr_stage_answer(s, set, &gr_type_done, &(gr_done){0}, gr_ok());
    answered(s);
    gr_stage_free(&s);
}

static void tell_named(gr_stage *s, const char *holder)
{
    const gr_stage_effect *look = asked(s, &gr_type_name_look);
    assert_true(gr_str_is(look->to, "name/3pid/email/a@example.org"));
    gr_arena *a = gr_arena_new(0);
    gr_result result = {.body = gr_arena_printf(a, "{\"user_id\":\"%s\"}", holder)};
    gr_stage_answer(s, look, &gr_type_result, &result, holder[0] ? gr_ok() : gr_fail(GR_NOT_FOUND, "none"));
    gr_arena_free(&a);
}

static void the_password_stage_takes_an_address_of_who_asks_and_of_nobody_else(void **state)
{
    static const char by_address[] = "{\"type\":\"m.login.password\",\"password\":\"x\",\"identifier\":{\"type\":"
                                     "\"m.id.thirdparty\",\"medium\":\"email\",\"address\":\"A@example.ORG\"}}";
    (void)state;
    gr_stage *s = stage(&mail_env);
    uia(s, "check", "{}", "");
    tell_account(s, true, GR_STR("$argon2id$"));
    wanted(s);
    static const char *const others[] = {"@b:here", ""};
    for (size_t i = 0; i < 2; i++) {
        uia(s, "check", "{}", by_address);
        tell_named(s, others[i]);
        assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
        assert_null(gr_stage_worked(s, 0));
    }
    uia(s, "check", "{}", "{\"type\":\"m.login.password\",\"password\":\"x\",\"identifier\":{\"type\":"
                          "\"m.id.thirdparty\",\"medium\":\"msisdn\",\"address\":\"123\"}}");
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    uia(s, "check", "{}", by_address);
    tell_named(s, "@a:here");
    assert_true(gr_str_is(asked(s, &gr_type_user_auth_info)->to, "user/@a:here"));
    gr_stage_free(&s);
}

static void an_address_that_is_nobodys_costs_as_much_as_a_wrong_password(void **state)
{
    (void)state;
    gr_stage *l = stage(&mail_env);
    gr_login_password m = {.email = GR_STR("a@example.org"), .password = GR_STR("wrong")};
    gr_stage_ask(l, &gr_type_login_password, &m);
    gr_stage_answer(l, asked(l, &gr_type_name_look), NULL, NULL, gr_fail(GR_NOT_FOUND, "none"));
    assert_true(((const gr_user_auth_info *)asked(l, &gr_type_user_auth_info)->body)->attempt);
    tell_account(l, false, GR_STR(""));
    run_work(l);
    assert_int_equal(gr_stage_error(l).code, GR_FORBIDDEN);
    gr_stage_free(&l);
}

static void too_many_guesses_have_to_wait_before_anything_is_hashed(void **state)
{
    (void)state;
    gr_stage *l = stage(&open_env);
    login(l, "@ann:here", "wrong");
    gr_user_auth_is is = {.exists = true, .password_hash = GR_STR("x"), .wait_ms = 4000};
    gr_stage_answer(l, asked(l, &gr_type_user_auth_info), &gr_type_user_auth_is, &is, gr_ok());
    assert_int_equal(gr_stage_error(l).code, GR_LIMIT_EXCEEDED);
    assert_int_equal(gr_stage_error(l).retry_after_ms, 4000);
    assert_null(gr_stage_worked(l, 0));
    gr_stage_free(&l);
}

static void an_application_services_user_needs_no_password(void **state)
{
    (void)state;
    gr_stage *l = stage(&open_env);
    gr_login_appservice m = {.appservice = GR_STR("bridge"), .user = GR_STR("@x:here"), .make = true};
    gr_stage_ask(l, &gr_type_login_appservice, &m);
    const gr_stage_effect *create = asked(l, &gr_type_user_create);
    assert_true(gr_str_is(((const gr_user_create *)create->body)->appservice, "bridge"));
    gr_stage_answer(l, create, &gr_type_done, &(gr_done){0}, gr_ok());
    tell_tokens(l);
    answered(l);
    m.make = false;
    gr_stage_ask(l, &gr_type_login_appservice, &m);
    tell_tokens(l);
    answered(l);
    gr_stage_free(&l);
}

static void closed_registration_says_so(void **state)
{
    static const gr_env closed = {.server_name = {"here", 4}};
    (void)state;
    gr_stage *s = stage(&closed);
    uia(s, "register", "{\"username\":\"ann\"}", "");
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    gr_stage_free(&s);
}

static void a_session_is_bound_to_its_request(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    uia(s, "check", "{}", "");
    tell_account(s, true, GR_STR("x"));
    wanted(s);
    gr_login_uia other = {.action = GR_STR("check"), .binding = GR_STR("another path"), .user = GR_STR("@a:here"),
                          .request = GR_STR("{}")};
    gr_stage_ask(s, &gr_type_login_uia, &other);
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    gr_stage_free(&s);
}

static void the_password_stage_passes_with_the_right_password_only(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    gr_str hash = register_ann(s);
    gr_stage *other = stage(&open_env);
    uia(other, "check", "{}", "{\"type\":\"m.login.password\",\"password\":\"wrong one\"}");
    tell_account(other, true, hash);       /* which stages there are */
    tell_account(other, true, hash);
    run_work(other);
    assert_true(contains(wanted(other), "M_FORBIDDEN"));
    uia(other, "check", "{}", "{\"type\":\"m.login.password\",\"password\":\"long enough\"}");
    tell_account(other, true, hash);
    run_work(other);
    assert_non_null(gr_stage_replied(other, &gr_type_login_passed));
    gr_stage_free(&other);
    gr_stage_free(&s);
}

static void a_session_is_of_the_user_it_began_with(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    uia(s, "check", "{}", "");
    tell_account(s, true, GR_STR("$argon2id$"));
    wanted(s);
    gr_login_uia m = {.action = GR_STR("check"), .binding = GR_STR("check"), .request = GR_STR("{}"), .user = GR_STR("@b:here")};
    gr_stage_ask(s, &gr_type_login_uia, &m);
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    gr_stage_free(&s);
}

/* Stage m.oauth: what a client says of it counts for nothing. */
static void only_the_page_says_that_the_user_has_approved(void **state)
{
    static const char approved[] = "{\"type\":\"m.oauth\",\"user\":\"@a:here\"}";
    (void)state;
    gr_stage *s = stage(&open_env);
    gr_login_uia m = {.action = GR_STR("check"), .binding = GR_STR("check"), .request = GR_STR("{}"), .user = GR_STR("@a:here"),
                      .by_oauth = true};
    gr_stage_ask(s, &gr_type_login_uia, &m);
    tell_account(s, true, GR_STR("$argon2id$"));
    assert_true(contains(wanted(s), "m.oauth"));
    m.auth = gr_str_c(approved);
    gr_stage_ask(s, &gr_type_login_uia, &m);
    assert_true(contains(wanted(s), "M_UNAUTHORIZED") && contains(wanted(s), "\"completed\":[]"));
    assert_true(by_page(s, "m.oauth", "{\"user\":\"@a:here\"}")->done);
    gr_stage_free(&s);
}

static void the_password_of_another_user_does_not_pass(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    uia(s, "check", "{}", "{\"type\":\"m.login.password\",\"password\":\"x\","
                          "\"identifier\":{\"type\":\"m.id.user\",\"user\":\"b\"}}");
    tell_account(s, true, GR_STR("x"));
    assert_true(contains(wanted(s), "M_FORBIDDEN"));
    gr_stage_free(&s);
}

static void a_login_hashes_as_long_and_says_the_same_for_an_unknown_user(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    gr_str hash = register_ann(s);
    gr_stage *l = stage(&open_env);
    login(l, "@ann:here", "wrong");
    tell_account(l, true, hash);
    run_work(l);
    gr_err wrong = gr_stage_error(l);
    login(l, "@nobody:here", "wrong");
    tell_account(l, false, GR_STR(""));
    run_work(l);
    assert_int_equal(wrong.code, GR_FORBIDDEN);
    assert_string_equal(wrong.text, gr_stage_error(l).text);
    login(l, "@ann:elsewhere", "wrong");
    run_work(l);
    assert_string_equal(wrong.text, gr_stage_error(l).text);
    gr_stage_free(&l);
    gr_stage_free(&s);
}

static void a_login_with_the_right_password_gets_tokens_and_writes_nothing(void **state)
{
    (void)state;
    gr_stage *s = stage(&open_env);
    gr_str hash = register_ann(s);
    gr_stage *l = stage(&open_env);
    login(l, "@ann:here", "long enough");
    tell_account(l, true, hash);
    run_work(l);
    tell_tokens(l);
    assert_true(contains(answered(l), "grt_x"));
    assert_int_equal(gr_stage_keys(l), 0);
    gr_stage_free(&l);
    gr_stage_free(&s);
}

static void a_session_ends_by_its_timer(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = stage(&open_env);
    uia(s, "check", "{}", "");
    tell_account(s, true, GR_STR("x"));
    assert_int_equal(gr_stage_keys(s), 1);
    gr_stage_fire(s, &fired);
    assert_true(fired);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registration_asks_for_a_stage_then_makes_account_device_and_tokens),
        cmocka_unit_test(a_lost_answer_is_made_again_for_the_same_request_only),
        cmocka_unit_test(no_password_is_ever_written),
        cmocka_unit_test(what_can_not_be_registered_is_refused_at_once),
        cmocka_unit_test(registration_by_token_uses_up_the_token),
        cmocka_unit_test(terms_that_changed_are_shown_before_they_are_agreed_to),
        cmocka_unit_test(every_stage_of_a_flow_has_to_be_done_in_any_order),
        cmocka_unit_test(a_page_does_a_stage_and_the_client_goes_on_without_naming_it),
        cmocka_unit_test(an_address_is_claimed_before_the_account_and_kept_after_it),
        cmocka_unit_test(an_address_that_is_taken_makes_no_account),
        cmocka_unit_test(who_shows_the_address_of_an_account_sets_its_password),
        cmocka_unit_test(the_password_stage_takes_an_address_of_who_asks_and_of_nobody_else),
        cmocka_unit_test(an_address_that_is_nobodys_costs_as_much_as_a_wrong_password),
        cmocka_unit_test(too_many_guesses_have_to_wait_before_anything_is_hashed),
        cmocka_unit_test(an_application_services_user_needs_no_password),
        cmocka_unit_test(closed_registration_says_so),
        cmocka_unit_test(a_session_is_bound_to_its_request),
        cmocka_unit_test(the_password_stage_passes_with_the_right_password_only),
        cmocka_unit_test(a_session_is_of_the_user_it_began_with),
        cmocka_unit_test(only_the_page_says_that_the_user_has_approved),
        cmocka_unit_test(the_password_of_another_user_does_not_pass),
        cmocka_unit_test(a_login_hashes_as_long_and_says_the_same_for_an_unknown_user),
        cmocka_unit_test(a_login_with_the_right_password_gets_tokens_and_writes_nothing),
        cmocka_unit_test(a_session_ends_by_its_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
