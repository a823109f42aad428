/* login_token_test.c - a login token lets one device in, once, and says who vouched for its user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/login/login.h"
#include "actors/login/login_token.h"
#include "bus/stage.h"

static const gr_env env = {.server_name = {"here", 4}};
static const gr_actor_kind *const kinds[] = {&gr_login_kind, NULL};

/* A token of a provider's session, good for two minutes. */
static gr_stage *made(void)
{
    gr_stage *s = gr_stage_new(kinds, "login/hash", &env);
    gr_login_token_make m = {.user = GR_STR("@a:here"), .lifetime_ms = 120000, .provider = GR_STR("corp"), .session = GR_STR("S"),
                             .subject = GR_STR("sub")};
    gr_stage_ask(s, &gr_type_login_token_make, &m);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    return s;
}

static void use(gr_stage *s) { gr_stage_ask(s, &gr_type_login_token, &(gr_login_token){.device = GR_STR("D")}); }

static gr_login_refusal refusal(gr_stage *s)
{
    const gr_login_refused *m = gr_stage_replied(s, &gr_type_login_refused);
    assert_non_null(m);
    return (gr_login_refusal)m->why;
}

static void a_token_posts_its_device_in_the_message_that_spends_it(void **state)
{
    (void)state;
    gr_stage *s = made();
    use(s);
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, &gr_type_user_login, 0);
    assert_non_null(post);
    const gr_user_login *login = post->body;
    assert_true(gr_str_is(post->to, "user/@a:here") && gr_str_is(login->device, "D"));
    assert_true(gr_str_is(login->provider, "corp") && gr_str_is(login->session, "S") && gr_str_is(login->subject, "sub"));
    gr_stage_free(&s);
}

static void a_token_is_good_once(void **state)
{
    (void)state;
    gr_stage *s = made();
    use(s);
    use(s);
    assert_int_equal(refusal(s), GR_LOGIN_TOKEN_REUSED);
    assert_null(gr_stage_find(s, GR_POST, &gr_type_user_login, 0));
    gr_stage_free(&s);
}

static void a_token_that_never_was_is_unknown(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "login/hash", &env);
    use(s);
    assert_int_equal(refusal(s), GR_LOGIN_TOKEN_UNKNOWN);
    gr_stage_free(&s);
}

static void a_token_is_good_until_its_time_is_over(void **state)
{
    (void)state;
    gr_stage *s = made();
    uint64_t made_ms = gr_stage_now(s);
    gr_stage_clock(s, made_ms + 120000);
    use(s);
    assert_int_equal(refusal(s), GR_LOGIN_TOKEN_EXPIRED);
    assert_null(gr_stage_find(s, GR_POST, &gr_type_user_login, 0));
    gr_stage_clock(s, made_ms + 119999);
    use(s);
    assert_non_null(gr_stage_find(s, GR_POST, &gr_type_user_login, 0));
    gr_stage_free(&s);
}

static void a_token_runs_out_and_leaves_nothing(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = made();
    gr_stage_fire(s, &fired);      /* the clock is at its timer now, which is after its end */
    assert_true(fired);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_posts_its_device_in_the_message_that_spends_it),
        cmocka_unit_test(a_token_is_good_once),
        cmocka_unit_test(a_token_that_never_was_is_unknown),
        cmocka_unit_test(a_token_is_good_until_its_time_is_over),
        cmocka_unit_test(a_token_runs_out_and_leaves_nothing),
    };
    return cmocka_run_group_tests_name("login_token", tests, NULL, NULL);
}
