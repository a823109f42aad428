/* destination_queue_test.c - what is sent to another server while it is there or fails for a short time. */
#include "tests/unit/actors/destination_rig.h"

static void what_is_queued_goes_out_at_once_and_the_rest_when_that_was_taken(void **state)
{
    (void)state;
    const gr_stage_effect first = *post_event("r", 1);
    assert_true(gr_str_is(first.fetch->method, "PUT") && gr_str_starts(first.fetch->uri, GR_STR("/_matrix/federation/v1/send/")));
    assert_string_equal(sent(&first), "$r1");
    for (int i = 2; i <= 80; i++) assert_null(post_event("r", i));
    const gr_stage_effect next = *taken(&first);
    assert_false(gr_str_eq(next.fetch->uri, first.fetch->uri));
    assert_int_equal(list_in(&next, "pdus")->count, GR_QUEUE_ITEMS);
    assert_memory_equal(sent(&next), "$r2 $r3 $r4 ", 12);
    const gr_stage_effect last = *taken(&next);
    assert_int_equal(list_in(&last, "pdus")->count, 29);
    assert_null(taken(&last));
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
    assert_int_equal(gr_stage_keys(s), 1);     /* how far it is, and nothing else */
}

static void events_of_many_rooms_keep_their_order(void **state)
{
    (void)state;
    const gr_stage_effect first = *post_event("a", 1);
    post_event("b", 1);
    post_event("a", 2);
    post_event("c", 1);
    post_event("b", 2);
    assert_string_equal(sent(taken(&first)), "$b1 $a2 $c1 $b2");
}

static void a_transaction_that_failed_is_repeated_byte_by_byte_and_all_goes_out_in_order(void **state)
{
    static const gr_fetched failures[] = {
        {.failure = GR_FETCH_UNREACHABLE}, {.failure = GR_FETCH_TIMEOUT}, {.failure = GR_FETCH_BROKEN}, {.status = 500},
        {.status = 502}, {.status = 401}, {.status = 404}, {.status = 403}, {.status = 302}, {.status = 429},
        {.status = 200, .body = {"<html>", 6}}, {.status = 200, .body = {"[]", 2}}, {.failure = GR_FETCH_TOO_LARGE}};
    (void)state;
    const gr_stage_effect *e = post_event("r", 1);
    gr_str uri = e->fetch->uri, content = e->fetch->content;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        assert_null(answered(e, failures[i]));
        assert_int_equal(state_now(), GR_DESTINATION_BACKING_OFF);
        assert_null(post_event("r", 2 + (int)i));
        uint64_t due = 0;
        assert_true(gr_stage_timer_set(s, "send", &due));
        assert_int_equal(due, self()->backoff.next_ms);
        gr_stage_reload(s);
        e = wait_for_timer();
        assert_non_null(e);
        assert_true(gr_str_eq(e->fetch->uri, uri) && gr_str_eq(e->fetch->content, content));
    }
    assert_int_equal(self()->backoff.failures, sizeof failures / sizeof failures[0]);
    assert_string_equal(sent(taken(e)), "$r2 $r3 $r4 $r5 $r6 $r7 $r8 $r9 $r10 $r11 $r12 $r13 $r14");
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
}

static void a_restart_in_the_middle_of_a_transaction_repeats_it(void **state)
{
    (void)state;
    gr_str uri = post_event("r", 1)->fetch->uri;
    gr_stage_reload(s);
    const gr_stage_effect *again = wait_for_timer();
    assert_true(again && gr_str_eq(again->fetch->uri, uri));
    assert_null(wait_for_timer());     /* it is under way: not twice at once */
}

static void an_event_redacted_between_two_tries_makes_it_another_transaction(void **state)
{
    (void)state;
    const gr_stage_effect first = *post_event("r", 1);
    failed(&first);
    is_redacted = true;
    const gr_stage_effect *again = next_try();
    assert_non_null(strstr(again->fetch->content.ptr, "redacted"));
    assert_false(gr_str_eq(again->fetch->uri, first.fetch->uri));
    assert_null(taken(again));
    assert_int_equal(gr_queue_count(&self()->events), 0);
}

static void a_room_that_does_not_answer_is_asked_again_soon_and_nobody_is_blamed(void **state)
{
    (void)state;
    rooms_are_away = true;
    assert_null(post_event("r", 1));
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
    uint64_t before = gr_stage_now(s);
    rooms_are_away = false;
    assert_string_equal(sent(next_try()), "$r1");
    assert_int_equal(gr_stage_now(s) - before, GR_DESTINATION_AGAIN_MS);
}

static void a_limit_that_the_server_names_is_kept_to_but_not_for_years(void **state)
{
    (void)state;
    answered(post_event("r", 1), status(429, "{\"retry_after_ms\":123456}"));
    assert_int_equal(self()->backoff.next_ms, gr_stage_now(s) + 123456);
    answered(next_try(), status(429, "{\"retry_after_ms\":9000000000000}"));
    assert_int_equal(self()->backoff.next_ms, gr_stage_now(s) + HOUR);
    answered(next_try(), status(429, "{\"retry_after_ms\":-7}"));
    assert_int_equal(self()->backoff.next_ms, gr_stage_now(s) + MINUTE);
    assert_int_equal(state_now(), GR_DESTINATION_BACKING_OFF);
}

static void a_refused_transaction_is_halved_until_the_item_at_fault_is_set_aside(void **state)
{
    size_t arrived = 0, refused = 0;
    (void)state;
    const gr_stage_effect first = *post_event("r", 0);
    for (int i = 1; i <= 40; i++) post_event("r", i);
    const gr_stage_effect *e = taken(&first);
    while (e || gr_queue_count(&self()->events)) {
        if (!e) e = wait_for_timer();
        if (!e) continue;
        bool is_bad = strstr(e->fetch->content.ptr, "\"$r17\"") != NULL;
        if (!is_bad) arrived += list_in(e, "pdus")->count;
        refused += is_bad;
        assert_in_range(refused, 0, 30);
        e = is_bad ? answered(e, status(400, "{}")) : taken(e);
    }
    assert_int_equal(arrived, 39);
    assert_int_equal(self()->events.row.set_aside, 1);
    assert_int_equal(self()->backoff.failures, 0);
}

static void a_transaction_has_no_more_bytes_than_it_may(void **state)
{
    (void)state;
    const gr_stage_effect *e = post_edu(1, NULL, NULL);
    const gr_stage_effect first = *e;
    gr_buf text = {0};
    gr_buf_c(&text, "{\"x\":\"");
    while (text.size < 64000) gr_buf_char(&text, 'x');
    gr_buf_c(&text, "\"}");
    const gr_destination_queue large = {.edu = gr_buf_view(&text)};
    for (int i = 0; i < 3; i++) gr_stage_post(s, "user/@a:here", &gr_type_destination_queue, &large, (gr_str){0});
    gr_buf_free(&text);
    e = taken(&first);
    assert_int_equal(list_in(e, "edus")->count, 2);
    e = taken(e);
    assert_int_equal(list_in(e, "edus")->count, 1);
    assert_null(taken(e));
    assert_int_equal(self()->edus.row.bytes, 0);
}

static void errors_for_single_events_are_counted_and_not_repeated(void **state)
{
    (void)state;
    assert_null(answered(post_event("r", 1), status(200, "{\"pdus\":{\"$r1\":{\"error\":\"no\"},\"$r2\":{}}}")));
    assert_int_equal(self()->owed.errors, 1);
    assert_null(answered(post_event("r", 2), status(200, "{\"pdus\":7}")));
    assert_int_equal(self()->owed.errors, 1);
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
}

static void what_must_not_be_lost_goes_first_and_takes_turns_with_events(void **state)
{
    (void)state;
    const gr_stage_effect *e = post_event("r", 1);
    const gr_stage_effect first = *e;
    post_event("r", 2);
    for (int i = 1; i <= 60; i++) post_edu(i, NULL, NULL);
    failed(&first);
    e = next_try();                    /* what was begun is repeated */
    assert_string_equal(sent(e), "$r1");
    e = taken(e);
    assert_int_equal(list_in(e, "edus")->count, GR_QUEUE_ITEMS);
    assert_int_equal(list_in(e, "pdus")->count, 0);
    e = taken(e);
    assert_string_equal(sent(e), "$r2");
    e = taken(e);
    assert_string_equal(sent(e), "51 52 53 54 55 56 57 58 59 60");
    assert_null(taken(e));
}

static void a_full_queue_of_edus_sets_aside_what_comes(void **state)
{
    (void)state;
    for (int i = 0; i < GR_DESTINATION_EDUS_MAX; i++) post_edu(i, NULL, NULL);
    assert_int_equal(self()->edus.row.set_aside, 0);
    post_edu(0, NULL, NULL);
    assert_int_equal(self()->edus.row.set_aside, 1);
    assert_int_equal(gr_queue_count(&self()->edus), GR_DESTINATION_EDUS_MAX);
}

/* --- device lists ------------------------------------------------------------------------------------------ */
static void a_device_list_that_waits_gives_way_to_a_newer_one_of_the_device(void **state)
{
    (void)state;
    const gr_stage_effect *e = post_edu(1, "@a:here", "A");
    const gr_stage_effect first = *e;
    post_edu(2, "@a:here", "A");       /* the first is under way: this one waits behind it */
    post_edu(3, "@a:here", "B");
    post_edu(4, NULL, NULL);
    post_edu(5, "@a:here", "A");
    post_edu(6, "@b:here", "A");
    e = taken(&first);
    assert_string_equal(sent(e), "5 3 4 6");
    assert_null(taken(e));
    assert_int_equal(gr_stage_keys(s), 1);
    assert_int_equal(self()->edus.row.bytes, 0);
}

static void a_server_gone_for_thirty_days_gets_one_hint_a_user(void **state)
{
    (void)state;
    const gr_stage_effect *e = post_edu(0, NULL, NULL);
    uint64_t began = gr_stage_now(s);
    for (int i = 1; i <= 60; i++) {
        char device[8];
        snprintf(device, sizeof device, "D%d", i);
        post_edu(i, i % 2 ? "@a:here" : "@b:here", device);
    }
    while (gr_stage_now(s) - began < 31 * DAY) {
        failed(e);
        e = next_try();
    }
    failed(e);
    e = next_try();
    post_edu(61, "@a:here", "NEW");
    assert_int_equal(list_in(e, "edus")->count, 1);        /* what was begun stays as it was */
    e = taken(e);
    assert_string_equal(sent(e), "61 60");
    assert_null(taken(e));
    post_edu(62, "@a:here", "X");
    assert_int_equal(self()->owed.hints, 0);
}

/* --- EDUs that may be lost --------------------------------------------------------------------------------- */
static void typing_and_the_like_have_transactions_of_their_own(void **state)
{
    (void)state;
    const gr_stage_effect *e = post_event("r", 1);
    const gr_stage_effect first = *e;
    assert_null(tell_edu(1, "typing", 0));
    assert_null(tell_edu(2, "receipt", 0));
    assert_null(tell_edu(3, "typing", 0));
    assert_null(post_edu(4, NULL, NULL));
    e = taken(&first);
    assert_string_equal(sent(e), "2 3");
    e = taken(e);
    assert_string_equal(sent(e), "4");
    assert_null(taken(e));
}

static void what_may_be_lost_is_forgotten_when_it_is_too_old_or_too_much(void **state)
{
    (void)state;
    const gr_stage_effect *e = tell_edu(1, "typing", 20 * SECOND);
    const gr_stage_effect first = *e;
    tell_edu(2, "receipt", 0);
    failed(&first);                    /* 4 s */
    e = next_try();
    assert_string_equal(sent(e), "1 2");
    failed(e);                         /* 16 s */
    e = next_try();
    assert_string_equal(sent(e), "2");
    failed(e);
    for (int i = 0; i < 300; i++) {
        char fold[8];
        snprintf(fold, sizeof fold, "f%d", i);
        tell_edu(i, fold, 0);
    }
    assert_int_equal(self()->volatile_count, GR_DESTINATION_VOLATILE_MAX);
    gr_stage_reload(s);
    assert_int_equal(self()->volatile_count, 0);
}

static void one_that_is_refused_is_dropped(void **state)
{
    (void)state;
    const gr_stage_effect *e = tell_edu(1, "typing", 0);
    assert_null(answered(e, status(400, "{}")));
    assert_int_equal(self()->volatile_count, 0);
}

/* --- being heard of, and outages of our own ---------------------------------------------------------------- */
static void being_heard_of_sends_what_waits(void **state)
{
    (void)state;
    assert_null(failed(post_event("r", 1)));
    assert_non_null(hear());
}

static void a_reset_by_the_admin_tries_now_and_begins_with_short_waits(void **state)
{
    (void)state;
    const gr_stage_effect *e = post_event("r", 1);
    for (int i = 0; i < 12; i++) {
        failed(e);
        if (i < 11) e = next_try();
    }
    gr_stage_ask(s, &gr_type_destination_reset, &(gr_destination_reset){0});
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    e = fetching();
    assert_string_equal(sent(e), "$r1");
    failed(e);
    assert_int_equal(self()->backoff.next_ms, gr_stage_now(s) + 4 * SECOND);
}

static void after_an_outage_of_ours_tries_are_spread(void **state)
{
    uint64_t due = 0;
    (void)state;
    failed(post_event("r", 1));
    gr_stage_reload(s);
    uint64_t now = gr_stage_now(s) + HOUR;
    gr_stage_clock(s, now);
    assert_true(gr_stage_timer_set(s, "send", &due));
    gr_timer timer = {.name = GR_STR("send"), .due_ms = due};
    gr_stage_tell(s, "destination/there", &gr_type_timer, &timer);
    assert_null(gr_stage_fetching(s, 0));
    assert_true(gr_stage_timer_set(s, "send", &due));
    assert_in_range(due, now, now + GR_DESTINATION_SPREAD_MS);
    assert_string_equal(sent(next_try()), "$r1");
}

static void while_our_own_network_is_out_nothing_counts_as_a_failure(void **state)
{
    uint64_t due = 0;
    (void)state;
    assert_null(answered(post_event("r", 1), failure(GR_FETCH_OFFLINE)));
    assert_int_equal(self()->backoff.failures, 0);
    assert_true(gr_stage_timer_set(s, "send", &due));
    assert_in_range(due, gr_stage_now(s), gr_stage_now(s) + GR_DESTINATION_AGAIN_MS + GR_DESTINATION_SPREAD_MS);
    assert_string_equal(sent(next_try()), "$r1");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(what_is_queued_goes_out_at_once_and_the_rest_when_that_was_taken),
        T(events_of_many_rooms_keep_their_order),
        T(a_transaction_that_failed_is_repeated_byte_by_byte_and_all_goes_out_in_order),
        T(a_restart_in_the_middle_of_a_transaction_repeats_it),
        T(an_event_redacted_between_two_tries_makes_it_another_transaction),
        T(a_room_that_does_not_answer_is_asked_again_soon_and_nobody_is_blamed),
        T(a_limit_that_the_server_names_is_kept_to_but_not_for_years),
        T(a_refused_transaction_is_halved_until_the_item_at_fault_is_set_aside),
        T(a_transaction_has_no_more_bytes_than_it_may),
        T(errors_for_single_events_are_counted_and_not_repeated),
        T(what_must_not_be_lost_goes_first_and_takes_turns_with_events),
        T(a_full_queue_of_edus_sets_aside_what_comes),
        T(a_device_list_that_waits_gives_way_to_a_newer_one_of_the_device),
        T(a_server_gone_for_thirty_days_gets_one_hint_a_user),
        T(typing_and_the_like_have_transactions_of_their_own),
        T(what_may_be_lost_is_forgotten_when_it_is_too_old_or_too_much),
        T(one_that_is_refused_is_dropped),
        T(being_heard_of_sends_what_waits),
        T(a_reset_by_the_admin_tries_now_and_begins_with_short_waits),
        T(after_an_outage_of_ours_tries_are_spread),
        T(while_our_own_network_is_out_nothing_counts_as_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
