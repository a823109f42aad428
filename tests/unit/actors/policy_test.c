/* policy_test.c - what a policy flow asks of the room and of the policy server, how often, and what comes of it. */
#include "actors/policy/policy.h"
#include "bus/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const gr_actor_kind *const kinds[] = {&gr_policy_kind, NULL};
static const char room[] = "room/!r", pdu[] = "{\"signatures\":{\"x\":{\"a:1\":\"s\"}},\"type\":\"t\"}",
                  signed_pdu[] = "{\"signatures\":{\"judge\":{\"ed25519:policy_server\":\"j\"},\"x\":{\"a:1\":\"s\"}},"
                                 "\"type\":\"t\"}";
static gr_env env = {.server_name = {"here", 4}};
static gr_stage *s;

static int set_up(void **state)
{
    (void)state;
    s = gr_stage_new(kinds, "policy/!r/flow/f", &env);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    return 0;
}

static const gr_stage_effect *asked(const gr_type *type)
{
    const gr_stage_effect *e = gr_stage_find(s, GR_ASK, type, 0);
    assert_non_null(e);
    return e;
}

static void begin_other(void)
{
    gr_policy_begin m = {.room_id = GR_STR("!r"), .event_id = GR_STR("$e"), .via = GR_STR("judge"), .body = gr_str_c(pdu)};
    gr_stage_post(s, room, &gr_type_policy_begin, &m, (gr_str){0});
}

static void begin_own(const char *name, bool must)
{
    gr_buf body = {0};
    gr_body_encode(&body, &gr_type_room_profile, &(gr_room_profile){.user = GR_STR("@a:here"), .displayname = gr_str_c(name)});
    gr_policy_begin m = {.room_id = GR_STR("!r"), .type = gr_type_room_profile.id, .body = gr_buf_view(&body), .must = must};
    gr_stage_post(s, room, &gr_type_policy_begin, &m, (gr_str){0});
    gr_buf_free(&body);
}

static void room_makes(void)
{
    gr_room_unsigned made = {.via = GR_STR("judge"), .event = gr_str_c(pdu)};
    gr_stage_answer(s, asked(&gr_type_room_profile), &gr_type_room_unsigned, &made, gr_ok());
}

static void judge_answers(const char *body, gr_err err)
{
    const gr_stage_effect *e = asked(&gr_type_destination_request);
    const gr_destination_request *m = e->body;
    assert_true(gr_str_is(e->to, "destination/judge") && gr_str_is(m->uri, GR_POLICY_SIGN_URI) && gr_str_is(m->content, pdu));
    gr_stage_answer(s, e, &gr_type_result, &(gr_result){.body = gr_str_c(body)}, err);
}

static const char good[] = "{\"judge\":{\"ed25519:policy_server\":\"j\"}}";

static const gr_room_policy_said *said(void)
{
    const gr_stage_effect *e = gr_stage_find(s, GR_POST, &gr_type_room_policy_said, 0);
    return e ? e->body : NULL;
}

static void fire(void)
{
    bool fired;
    gr_stage_fire(s, &fired);
    assert_true(fired);
}

static bool is_over(void)
{
    bool fired;
    gr_stage_fire(s, &fired);
    return !fired;
}

static void an_event_of_another_server_is_given_back_with_the_signature(void **state)
{
    (void)state;
    begin_other();
    judge_answers(good, gr_ok());
    assert_true(said() && gr_str_is(said()->event_id, "$e") && gr_str_is(said()->event, signed_pdu) && !said()->is_away);
    assert_true(is_over());
}

static void a_refusal_is_told_and_who_cannot_be_reached_is_away(void **state)
{
    (void)state;
    begin_other();
    judge_answers("", gr_fail(GR_FORBIDDEN, "no"));
    assert_true(said() && said()->event.size == 0 && !said()->is_away);
    begin_other();
    judge_answers("{}", gr_ok());
    assert_true(said() && said()->event.size == 0 && !said()->is_away);
    begin_other();
    judge_answers("", gr_fail(GR_BAD_GATEWAY, "away"));
    assert_true(said() && said()->event.size == 0 && said()->is_away);
    assert_true(is_over());
}

static void one_that_has_too_much_to_do_is_asked_again_for_a_while(void **state)
{
    (void)state;
    uint64_t began = gr_stage_now(s);
    int tries = 0;
    begin_other();
    for (; !said(); tries++) {
        judge_answers("", (gr_err){GR_LIMIT_EXCEEDED, "later", 1000});
        if (!said()) fire();
    }
    assert_in_range(tries, 2, 5);
    assert_in_range(gr_stage_now(s), began, began + GR_POLICY_OTHERS_MS);
    assert_true(is_over());
}

static void an_own_event_is_made_signed_and_offered(void **state)
{
    (void)state;
    begin_own("Al", false);
    room_makes();
    judge_answers(good, gr_ok());
    const gr_room_offer *m = asked(&gr_type_room_offer)->body;
    assert_true(gr_str_is(m->event, signed_pdu) && m->is_own && !m->unsigned_too && gr_str_is(m->origin, "here"));
    gr_stage_answer(s, asked(&gr_type_room_offer), &gr_type_room_sent, &(gr_room_sent){0}, gr_ok());
    assert_true(is_over());
}

static void there_may_be_nothing_to_do_any_more(void **state)
{
    (void)state;
    begin_own("Al", false);
    gr_stage_answer(s, asked(&gr_type_room_profile), &gr_type_done, &(gr_done){0}, gr_ok());
    assert_int_equal(gr_stage_sent(s, GR_ASK, NULL), 0);
    assert_true(is_over());
}

static void what_is_refused_is_dropped_unless_it_must_be(void **state)
{
    (void)state;
    begin_own("Al", false);
    room_makes();
    judge_answers("", gr_fail(GR_FORBIDDEN, "no"));
    assert_int_equal(gr_stage_sent(s, GR_ASK, NULL), 0);
    begin_own("Al", true);
    room_makes();
    judge_answers("", gr_fail(GR_FORBIDDEN, "no"));
    const gr_room_offer *m = asked(&gr_type_room_offer)->body;
    assert_true(gr_str_is(m->event, pdu) && m->unsigned_too);
    gr_stage_answer(s, asked(&gr_type_room_offer), &gr_type_error, NULL, gr_fail(GR_FORBIDDEN, "no"));
    assert_true(is_over());
}

static void tries_go_on_over_restarts_later_and_later_and_end(void **state)
{
    (void)state;
    uint64_t began = gr_stage_now(s), last = began, longest = 0;
    int tries = 0;
    begin_own("Al", true);
    for (;; tries++) {
        room_makes();
        judge_answers("", gr_fail(GR_TIMEOUT, "away"));
        if (gr_stage_sent(s, GR_ASK, &gr_type_room_offer)) break;
        gr_stage_reload(s);
        fire();
        if (gr_stage_now(s) - last > longest) longest = gr_stage_now(s) - last;
        last = gr_stage_now(s);
    }
    assert_in_range(tries, 6, 20);
    assert_int_equal(longest, GR_POLICY_AGAIN_MAX_MS);
    assert_in_range(gr_stage_now(s), began + GR_POLICY_OWN_MS / 2, began + GR_POLICY_OWN_MS);
    assert_true(((const gr_room_offer *)asked(&gr_type_room_offer)->body)->unsigned_too);
}

static void what_is_newer_takes_the_place_of_what_is_under_way(void **state)
{
    (void)state;
    begin_own("First", false);
    const gr_stage_effect *first = asked(&gr_type_room_profile);
    begin_own("Second", false);
    const gr_stage_effect *second = asked(&gr_type_room_profile);
    assert_true(gr_str_is(((const gr_room_profile *)second->body)->displayname, "Second"));
    gr_room_unsigned made = {.via = GR_STR("judge"), .event = gr_str_c(pdu)};
    gr_stage_answer(s, first, &gr_type_room_unsigned, &made, gr_ok());
    assert_int_equal(gr_stage_sent(s, GR_ASK, NULL), 0);
    gr_stage_answer(s, second, &gr_type_room_unsigned, &made, gr_ok());
    judge_answers(good, gr_ok());
    asked(&gr_type_room_offer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_event_of_another_server_is_given_back_with_the_signature, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_is_told_and_who_cannot_be_reached_is_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_has_too_much_to_do_is_asked_again_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_own_event_is_made_signed_and_offered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(there_may_be_nothing_to_do_any_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused_is_dropped_unless_it_must_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tries_go_on_over_restarts_later_and_later_and_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_newer_takes_the_place_of_what_is_under_way, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
