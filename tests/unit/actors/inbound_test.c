/* inbound_test.c - a transaction of another server is taken once, and answered the same however often it comes. */
#include "actors/inbound/inbound.h"
#include "bus/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const gr_actor_kind *const kinds[] = {&gr_inbound_kind, NULL};
static gr_stage *s;

static int set_up(void **state)
{
    (void)state;
    s = gr_stage_new(kinds, "inbound/there", NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    return 0;
}

/* What a server that sends this transaction is told; NULL: nothing yet, or an error. */
static const char *begin(const char *txn)
{
    gr_stage_ask(s, &gr_type_inbound_begin, &(gr_inbound_begin){.txn_id = gr_str_c(txn)});
    const gr_inbound_state *is = gr_stage_replied(s, &gr_type_inbound_state);
    return is ? is->reply.size ? is->reply.ptr : "" : NULL;
}

static void end(const char *txn, const char *reply)
{
    gr_stage_ask(s, &gr_type_inbound_end, &(gr_inbound_end){.txn_id = gr_str_c(txn), .reply = gr_str_c(reply)});
}

static void a_transaction_is_taken_once_and_answered_the_same_again(void **state)
{
    (void)state;
    assert_string_equal(begin("1"), "");
    end("1", "{\"pdus\":{}}");
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_reload(s);
    assert_true(strncmp(begin("1"), "{\"pdus\":{}}", 11) == 0);
    end("1", "another");
    assert_true(strncmp(begin("1"), "{\"pdus\":{}}", 11) == 0);
}

static void a_repeat_of_one_under_way_waits_for_its_answer(void **state)
{
    (void)state;
    begin("1");
    assert_null(begin("1"));
    uint64_t waits = gr_stage_seq(s);
    end("1", "R");
    const gr_stage_effect *answer = gr_stage_find(s, GR_REPLY, &gr_type_inbound_state, 0);
    assert_true(answer && answer->seq == waits);
    assert_true(gr_str_is(((const gr_inbound_state *)answer->body)->reply, "R"));
}

static void one_that_could_not_be_taken_may_come_again(void **state)
{
    (void)state;
    begin("1");
    assert_null(begin("1"));
    gr_stage_tell(s, "edge/stage/0", &gr_type_inbound_drop, &(gr_inbound_drop){.txn_id = GR_STR("1")});
    assert_int_equal(gr_stage_error(s).code, GR_UNAVAILABLE);
    assert_string_equal(begin("1"), "");
}

static void one_that_was_lost_with_its_edge_may_come_again_after_a_while(void **state)
{
    (void)state;
    begin("1");
    gr_stage_clock(s, gr_stage_now(s) + GR_INBOUND_TAKE_MS - 1);
    assert_null(begin("1"));
    gr_stage_clock(s, gr_stage_now(s) + 1);
    assert_string_equal(begin("1"), "");
}

static void few_are_taken_at_once_and_few_wait(void **state)
{
    char txn[8];
    (void)state;
    for (int i = 0; i < GR_INBOUND_UNDER_WAY; i++) {
        snprintf(txn, sizeof txn, "%d", i);
        assert_string_equal(begin(txn), "");
    }
    assert_null(begin("more"));
    assert_int_equal(gr_stage_error(s).code, GR_LIMIT_EXCEEDED);
    for (int i = 0; i < GR_INBOUND_WAITERS; i++) assert_null(begin("0"));
    assert_int_equal(gr_stage_error(s).code, GR_OK);
    assert_null(begin("0"));
    assert_int_equal(gr_stage_error(s).code, GR_LIMIT_EXCEEDED);
}

static void the_answers_of_the_last_hundred_are_kept(void **state)
{
    char txn[16];
    (void)state;
    for (int i = 0; i <= GR_INBOUND_KEPT + 50; i++) {
        snprintf(txn, sizeof txn, "%d", i);
        assert_string_equal(begin(txn), "");
        end(txn, "R");
    }
    assert_int_equal(gr_stage_keys(s), 2 * GR_INBOUND_KEPT);
    assert_string_equal(begin("50"), "");
    assert_true(begin("51")[0] == 'R' && begin(txn)[0] == 'R');
}

static void what_is_no_transaction_id_is_refused(void **state)
{
    (void)state;
    assert_null(begin(""));
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_transaction_is_taken_once_and_answered_the_same_again),
        T(a_repeat_of_one_under_way_waits_for_its_answer),
        T(one_that_could_not_be_taken_may_come_again),
        T(one_that_was_lost_with_its_edge_may_come_again_after_a_while),
        T(few_are_taken_at_once_and_few_wait),
        T(the_answers_of_the_last_hundred_are_kept),
        T(what_is_no_transaction_id_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
