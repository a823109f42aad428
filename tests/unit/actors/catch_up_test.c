/* catch_up_test.c - another server that was away for long: what it is sent when it is back. */
#include "tests/unit/actors/destination_rig.h"

/* Events of these rooms wait, the first of them in a transaction that has begun. */
static const gr_stage_effect *some_events(void)
{
    static gr_stage_effect first;
    first = *post_event("a", 1);
    post_event("b", 1);
    post_event("a", 2);
    post_event("c", 1);
    post_event("a", 3);
    return &first;
}

static void short_failures_never_start_it_and_lose_nothing(void **state)
{
    (void)state;
    const gr_stage_effect *e = some_events();
    uint64_t began = gr_stage_now(s);
    for (int i = 0; i < 13; i++) {
        assert_null(failed(e));
        assert_int_equal(state_now(), GR_DESTINATION_BACKING_OFF);
        e = next_try();
        assert_string_equal(sent(e), "$a1");
    }
    assert_int_equal(gr_stage_now(s) - began, (500 + 600 + 1200 + 2400) * SECOND);
    assert_string_equal(sent(taken(e)), "$b1 $a2 $c1 $a3");
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
}

static void when_the_wait_grows_past_an_hour_the_newest_event_of_each_room_is_owed(void **state)
{
    (void)state;
    const gr_stage_effect *e = some_events();
    tell_edu(1, "typing", 0);
    post_edu(2, NULL, NULL);
    for (int i = 0; i < 13; i++) {
        failed(e);
        e = next_try();
    }
    assert_int_equal(state_now(), GR_DESTINATION_BACKING_OFF);
    failed(e);
    assert_int_equal(state_now(), GR_DESTINATION_PENDING);
    assert_int_equal(self()->backoff.next_ms - gr_stage_now(s), 4800 * SECOND);
    assert_int_equal(self()->volatile_count, 0);
    e = next_try();
    assert_string_equal(sent(e), "2");         /* what must not be lost is still there, and first */
    assert_int_equal(gr_queue_count(&self()->events), 0);
    assert_int_equal(self()->owed.rooms, 3);
    e = taken(e);
    assert_int_equal(state_now(), GR_DESTINATION_CATCHING_UP);
    assert_string_equal(sent(e), "$b1");
    e = taken(e);
    assert_string_equal(sent(e), "$c1");
    e = taken(e);
    assert_string_equal(sent(e), "$a3");
    assert_int_equal(owed_first, 1);           /* the room leaves out what was sent before that */
    assert_null(taken(e));
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
    assert_int_equal(gr_stage_keys(s), 3 + 3); /* how far the queues are, what is owed: nothing; and how far each room is */
    post_event("a", 4);
    assert_int_equal(gr_stage_keys(s), 3 + 2 + 1);     /* an item, and one less that says how far */
}

static void a_long_wait_asked_for_does_not_start_it(void **state)
{
    (void)state;
    const gr_stage_effect *e = some_events();
    for (int i = 0; i < 5; i++) {
        answered(e, status(429, "{\"retry_after_ms\":86400000}"));
        assert_int_equal(state_now(), GR_DESTINATION_BACKING_OFF);
        e = next_try();
    }
    taken(e);
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
}

static void a_server_that_reaches_us_but_is_not_reached_ends_in_it_after_an_hour(void **state)
{
    (void)state;
    const gr_stage_effect *e = some_events();
    uint64_t began = gr_stage_now(s);
    failed(e);
    for (int i = 0; i < 200 && state_now() != GR_DESTINATION_PENDING; i++) {
        gr_stage_clock(s, gr_stage_now(s) + MINUTE);
        e = hear();
        if (e) failed(e);
    }
    assert_int_equal(state_now(), GR_DESTINATION_PENDING);
    assert_in_range(gr_stage_now(s) - began, HOUR, 2 * HOUR);
    gr_stage_clock(s, gr_stage_now(s) + MINUTE);
    while (gr_queue_count(&self()->events)) wait_for_timer();
    assert_string_equal(sent(hear()), "$b1");
}

static void new_events_of_a_server_that_is_away_fold_into_what_is_owed(void **state)
{
    (void)state;
    const gr_stage_effect *e = fail_until(some_events(), GR_DESTINATION_PENDING);
    failed(e);
    assert_null(post_event("b", 7));
    assert_null(post_event("d", 1));
    assert_int_equal(gr_queue_count(&self()->events), 0);
    assert_int_equal(self()->owed.rooms, 4);
    e = next_try();
    static const char *const order[] = {"$c1", "$a3", "$b7", "$d1"};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(sent(e), order[i]);
        e = taken(e);
    }
    assert_null(e);
}

static void rooms_are_caught_up_in_pages_one_room_a_transaction(void **state)
{
    (void)state;
    env.queue.catch_up_page = 3;
    const gr_stage_effect first = *post_event("x", 1);
    for (int room = 0; room < 40; room++) {
        char name[8];
        snprintf(name, sizeof name, "r%dx", room);
        for (int n = 1; n <= 10; n++) post_event(name, n);
    }
    const gr_stage_effect *e = fail_until(&first, GR_DESTINATION_PENDING);
    int transactions = 0;
    for (; e; transactions++) {
        assert_int_equal(list_in(e, "pdus")->count, 1);
        assert_in_range(self()->page_count, 1, 3);
        e = taken(e);
    }
    assert_int_equal(transactions, 41);
    assert_int_equal(self()->owed.rooms, 0);
}

static void current_extremities_are_sent_together(void **state)
{
    (void)state;
    const gr_stage_effect *e = some_events();
    extremities = GR_STR("$n8 $n9");
    e = fail_until(e, GR_DESTINATION_PENDING);
    assert_string_equal(sent(e), "$n8 $n9");
}

static void rooms_that_the_server_left_are_skipped(void **state)
{
    (void)state;
    left_room = "!c";
    const gr_stage_effect *e = fail_until(some_events(), GR_DESTINATION_PENDING);
    assert_string_equal(sent(e), "$b1");
    e = taken(e);
    if (!e) e = next_try();
    assert_string_equal(sent(e), "$a3");
    assert_null(taken(e));
    assert_int_equal(self()->owed.rooms, 0);
}

static void a_repeated_try_is_the_same_transaction_unless_the_room_has_moved(void **state)
{
    (void)state;
    const gr_stage_effect first = *fail_until(some_events(), GR_DESTINATION_PENDING);
    failed(&first);
    const gr_stage_effect again = *next_try();
    assert_true(gr_str_eq(again.fetch->uri, first.fetch->uri) && gr_str_eq(again.fetch->content, first.fetch->content));
    failed(&again);
    extremities = GR_STR("$b2");
    assert_false(gr_str_eq(next_try()->fetch->uri, first.fetch->uri));
}

static void progress_survives_restarts_and_what_was_taken_is_not_sent_again(void **state)
{
    static const char *const order[] = {"$b1", "$c1", "$a3"};
    (void)state;
    const gr_stage_effect *e = fail_until(some_events(), GR_DESTINATION_PENDING);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(sent(e), order[i]);
        gr_stage_reload(s);            /* it is under way: repeated */
        e = next_try();
        assert_string_equal(sent(e), order[i]);
        taken(e);
        gr_stage_reload(s);
        if (i < 2) e = next_try();
    }
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
    assert_int_equal(self()->owed.rooms, 0);
}

static void an_error_while_catching_up_keeps_what_is_left(void **state)
{
    (void)state;
    const gr_stage_effect *e = taken(fail_until(some_events(), GR_DESTINATION_PENDING));
    assert_string_equal(sent(e), "$c1");
    failed(e);
    assert_int_equal(state_now(), GR_DESTINATION_BACKING_OFF);
    e = next_try();
    assert_string_equal(sent(e), "$c1");
    e = taken(e);
    assert_int_equal(state_now(), GR_DESTINATION_CATCHING_UP);
    assert_string_equal(sent(e), "$a3");
}

static void while_catching_up_owed_rooms_fold_and_others_queue(void **state)
{
    (void)state;
    const gr_stage_effect *e = fail_until(some_events(), GR_DESTINATION_PENDING);
    const gr_stage_effect first = *e;          /* of room b */
    e = taken(&first);                         /* of room c, under way */
    const gr_stage_effect second = *e;
    post_event("b", 2);                        /* caught up: queues */
    post_event("c", 2);                        /* under way: queues */
    post_event("a", 4);                        /* owed: folds */
    assert_int_equal(gr_queue_count(&self()->events), 2);
    e = taken(&second);
    assert_string_equal(sent(e), "$a4");
    e = taken(e);
    assert_string_equal(sent(e), "$b2 $c2");
    assert_null(taken(e));
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
}

static void what_was_sent_when_catching_up_is_not_sent_from_the_queue(void **state)
{
    (void)state;
    const gr_stage_effect *e = fail_until(some_events(), GR_DESTINATION_PENDING);
    const gr_stage_effect second = *taken(e);  /* the first was of room b */
    assert_string_equal(sent(&second), "$c1");
    post_event("b", 2);
    post_event("c", 2);
    post_event("c", 3);
    extremities = GR_STR("$c3");               /* as if the room had told that */
    failed(&second);
    e = next_try();
    assert_string_equal(sent(e), "$c3");
    extremities = GR_STR("$a3");
    e = taken(e);
    assert_string_equal(sent(e), "$a3");
    failed(taken(e));
    gr_stage_reload(s);
    e = next_try();
    assert_string_equal(sent(e), "$b2");       /* $c2 and $c3 came with $c3 */
    assert_null(taken(e));
    assert_int_equal(self()->owed.caught, 2);  /* $b2 was newer than what was sent of its room */
    post_event("a", 4);
    assert_int_equal(self()->owed.caught, 1);
}

static void posts_that_come_later_than_what_the_room_told_are_not_sent_again(void **state)
{
    (void)state;
    const gr_stage_effect *e = fail_until(some_events(), GR_DESTINATION_PENDING);
    failed(e);
    extremities = GR_STR("$b5");
    const gr_stage_effect first = *next_try();
    assert_string_equal(sent(&first), "$b5");
    post_event("b", 4);                        /* owed anew while that is under way, and covered by it */
    extremities = (gr_str){0};
    e = taken(&first);
    assert_string_equal(sent(e), "$c1");
    post_event("b", 5);
    e = taken(e);
    assert_string_equal(sent(e), "$a3");
    assert_null(taken(e));
    assert_string_equal(sent(post_event("b", 6)), "$b6");
}

static void past_its_bound_the_queue_folds_its_oldest(void **state)
{
    (void)state;
    env.queue.events_max = 5;
    const gr_stage_effect first = *post_event("a", 1);
    failed(&first);
    for (int n = 2; n <= 4; n++) post_event("a", n);
    for (int n = 1; n <= 4; n++) post_event("b", n);
    assert_int_equal(state_now(), GR_DESTINATION_BACKING_OFF);
    assert_in_range(gr_queue_count(&self()->events), 1, 5);
    assert_int_equal(self()->owed.rooms, 1);
    extremities = GR_STR("$a4");
    const gr_stage_effect *e = next_try();
    assert_string_equal(sent(e), "$a4");
    e = taken(e);
    assert_string_equal(sent(e), "$b1 $b2 $b3 $b4");
    assert_null(taken(e));
    assert_int_equal(state_now(), GR_DESTINATION_LIVE);
}

static void bytes_have_a_bound_too_and_what_comes_during_a_transaction_is_owed(void **state)
{
    (void)state;
    env.queue.bytes_max = 450;
    const gr_stage_effect first = *post_event("a", 1);
    for (int n = 2; n <= 20; n++) post_event("a", n);
    assert_in_range(gr_queue_count(&self()->events), 1, 5);
    assert_int_equal(self()->owed.rooms, 1);
    const gr_stage_effect *e = taken(&first);
    assert_string_equal(sent(e), "$a20");
    assert_null(taken(e));
    for (int i = 0; i < 10 && gr_queue_count(&self()->events); i++) assert_null(wait_for_timer());
    assert_int_equal(gr_queue_count(&self()->events), 0);
}

static void what_is_refused_alone_is_set_aside(void **state)
{
    (void)state;
    const gr_stage_effect *e = some_events();
    e = fail_until(e, GR_DESTINATION_PENDING);
    extremities = GR_STR("$b8 $b9");
    failed(e);
    e = next_try();
    assert_string_equal(sent(e), "$b8 $b9");
    for (int i = 0; i < 3; i++) {
        assert_null(answered(e, status(413, "{}")));
        e = next_try();
    }
    assert_string_equal(sent(e), "$b8");
    for (int i = 0; i < 3; i++) {
        answered(e, status(413, "{}"));
        e = next_try();
    }
    assert_int_equal(self()->owed.set_aside, 1);
    assert_int_equal(self()->owed.rooms, 2);
}

/* Whatever happens in whatever order: in the end the server has the newest event of each room, all of what must not be lost
 * in order, and nothing twice that it has acknowledged. */
enum { ROOMS = 4, STEPS = 600 };

typedef struct {
    uint64_t random;
    int newest[ROOMS], has[ROOMS][STEPS + 1], edus, edus_taken;
    gr_stage_effect flying;
    bool is_flying;
} walk;

static uint64_t draw(walk *w, uint64_t below)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % below;
}

static void fly(walk *w, const gr_stage_effect *e)
{
    if (!e) return;
    w->flying = *e;
    w->is_flying = true;
}

static void arrive(walk *w)
{
    const gr_json *pdus = list_in(&w->flying, "pdus"), *edus = list_in(&w->flying, "edus");
    for (uint32_t i = 0; i < pdus->count; i++) {
        gr_str id = gr_json_text(&pdus->items[i], "id");
        w->has[id.ptr[1] - 'a'][position_of(id)]++;
    }
    for (uint32_t i = 0; i < edus->count; i++)
        assert_int_equal(gr_json_integer(&edus->items[i].members[0].value, -1), ++w->edus_taken);
}

static void come_back(walk *w, bool works)
{
    w->is_flying = false;
    if (works) arrive(w);
    fly(w, works ? taken(&w->flying) : failed(&w->flying));
}

static void step(walk *w, bool is_away)
{
    uint64_t what = draw(w, 10);
    int room = (int)draw(w, ROOMS);
    if (what < 4) fly(w, post_event((char[]){(char)('a' + room), 0}, ++w->newest[room]));
    else if (what == 4) fly(w, post_edu(++w->edus, NULL, NULL));
    else if (what == 5 && !w->is_flying) gr_stage_reload(s);
    else if (what == 6) fly(w, hear());
    else if (w->is_flying) come_back(w, !is_away);
    else if (gr_stage_timer_set(s, "send", &(uint64_t){0})) fly(w, wait_for_timer());
}

static void whatever_happens_nothing_is_lost_and_nothing_acknowledged_is_repeated(void **state)
{
    (void)state;
    env.queue.events_max = 12;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        walk w = {.random = seed};
        gr_stage_free(&s);
        s = gr_stage_new(kinds, "destination/there", &env);
        bool is_away = false;
        for (int i = 0; i < STEPS; i++) {
            if (draw(&w, 60) == 0) is_away = !is_away;
            step(&w, is_away);
        }
        uint64_t due;
        for (int i = 0; i < 2000 && (w.is_flying || gr_stage_timer_set(s, "send", &due)); i++) {
            if (w.is_flying) come_back(&w, true);
            else fly(&w, wait_for_timer());
        }
        assert_int_equal(state_now(), GR_DESTINATION_LIVE);
        assert_int_equal(w.edus_taken, w.edus);
        for (int room = 0; room < ROOMS; room++) {
            if (w.newest[room]) assert_int_equal(w.has[room][w.newest[room]], 1);
            for (int n = 1; n <= w.newest[room]; n++) assert_in_range(w.has[room][n], 0, 1);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(short_failures_never_start_it_and_lose_nothing),
        T(when_the_wait_grows_past_an_hour_the_newest_event_of_each_room_is_owed),
        T(a_long_wait_asked_for_does_not_start_it),
        T(a_server_that_reaches_us_but_is_not_reached_ends_in_it_after_an_hour),
        T(new_events_of_a_server_that_is_away_fold_into_what_is_owed),
        T(rooms_are_caught_up_in_pages_one_room_a_transaction),
        T(current_extremities_are_sent_together),
        T(rooms_that_the_server_left_are_skipped),
        T(a_repeated_try_is_the_same_transaction_unless_the_room_has_moved),
        T(progress_survives_restarts_and_what_was_taken_is_not_sent_again),
        T(an_error_while_catching_up_keeps_what_is_left),
        T(while_catching_up_owed_rooms_fold_and_others_queue),
        T(what_was_sent_when_catching_up_is_not_sent_from_the_queue),
        T(posts_that_come_later_than_what_the_room_told_are_not_sent_again),
        T(past_its_bound_the_queue_folds_its_oldest),
        T(bytes_have_a_bound_too_and_what_comes_during_a_transaction_is_owed),
        T(what_is_refused_alone_is_set_aside),
        T(whatever_happens_nothing_is_lost_and_nothing_acknowledged_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
