/* room_incoming_test.c - events of another server: checked, staged, taken in order; those that wait are helped, or dropped. */
#include "tests/unit/actors/room_receive_rig.h"

#include "actors/room/incoming.h"

static const char hello[] = "{\"body\":\"hello\",\"msgtype\":\"m.text\"}";

static gr_str say_there(pair_room *p, const char *user)
{
    gr_str prev = newest(&p->theirs);
    return put(&p->theirs, one(&prev), user, "m.room.message", NULL, hello);
}

/* What the room answers to these events of theirs, from a server of that name. */
static const gr_room_incoming_are *push_as(pair_room *p, const char *origin, gr_incoming_mode mode, gr_str *ids, size_t count)
{
    const gr_signer *signer = &theirs(p)->signer;
    gr_server_key key = {.key_id = gr_str_c(signer->key_id), .valid_until_ms = INT64_MAX,
                         .public_key = gr_str_of((const char *)signer->public_key, GR_SIGN_PUBLIC)};
    gr_keys_known known = {.server = GR_STR("here"), .keys = {&key, 1}};
    gr_str texts[GR_INCOMING_PDUS];
    for (size_t i = 0; i < count; i++) texts[i] = gr_arena_str(p->ours->long_arena, their_record(p, ids[i]).json);
    gr_room_incoming m = {.origin = gr_str_c(origin), .pdus = {texts, count}, .keys = {&known, 1}, .mode = (uint64_t)mode};
    rig_ask(p->ours, &gr_type_room_incoming, &m);
    assert_ptr_equal(p->ours->reply_type, &gr_type_room_incoming_are);
    return p->ours->reply;
}

static const gr_room_incoming_are *push(pair_room *p, const char *origin, gr_str *ids, size_t count)
{
    return push_as(p, origin, GR_INCOMING_LIVE, ids, count);
}

static bool is_in(pair_room *p, gr_str id)
{
    uint64_t number;
    return gr_room_number_of(our_ctx(p), id, &number);
}

static void take_steps(pair_room *p, int steps)
{
    gr_timer timer = {.name = GR_STR("incoming")};
    for (int i = 0; i < steps; i++) {
        our_room(p)->unbounded = true;
        rig_handle(p->ours, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = p->ours->address});
    }
}

static void take_all(pair_room *p) { take_steps(p, 20); }

static void good_events_are_staged_and_taken_in_order(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str ids[] = {say_there(&p, "@b:here"), say_there(&p, "@a:here"), say_there(&p, "@b:here")};
    const gr_room_incoming_are *are = push(&p, "here", ids, 3);
    assert_int_equal(are->ids.count, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(are->errors.at[i].size, 0);
    rig_reload(p.ours);                /* what was answered is durable */
    take_all(&p);
    for (size_t i = 0; i < 3; i++) assert_true(is_in(&p, ids[i]));
    assert_same_state(&p);
    pair_free(&p);
}

static void events_of_a_state_are_held_some_at_a_time_within_the_bounds_of_a_handler(void **state)
{
    enum { COUNT = 3 * GR_INCOMING_STEP };
    (void)state;
    pair_room p = pair_new("11");
    gr_str ids[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        gr_str prev = newest(&p.theirs);
        const char *user = gr_arena_printf(theirs(&p)->long_arena, "@m%zu:here", i).ptr;
        ids[i] = put(&p.theirs, one(&prev), user, "m.room.member", user, "{\"membership\":\"join\"}");
    }
    push_as(&p, "here", GR_INCOMING_HELD, ids, COUNT);
    rig_reload(p.ours);
    p.ours->is_over_bounds = false;
    take_steps(&p, 3);
    for (size_t i = 0; i < COUNT; i++) assert_true(our_record(&p, ids[i]).flags & GR_ROOM_OUTLIER);
    assert_false(p.ours->is_over_bounds);
    pair_free(&p);
}

static void an_event_without_its_keys_is_told_of(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str id = say_there(&p, "@b:here"), text = gr_arena_str(p.ours->long_arena, their_record(&p, id).json);
    gr_room_incoming m = {.origin = GR_STR("here"), .pdus = {&text, 1}};
    rig_ask(p.ours, &gr_type_room_incoming, &m);
    const gr_room_incoming_are *are = p.ours->reply;
    assert_true(are->errors.count == 1 && are->errors.at[0].size > 0 && gr_str_eq(are->ids.at[0], id));
    pair_free(&p);
}

static void an_event_that_waits_has_a_flow_look_for_what_is_missing(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str first = say_there(&p, "@b:here"), second = say_there(&p, "@a:here");
    push(&p, "here", &second, 1);
    rig_fire(p.ours);
    const gr_gap_fill *fill = rig_body(p.ours, rig_effect(p.ours, GR_POST, &gr_type_gap_fill, 0));
    assert_non_null(fill);
    assert_true(gr_str_eq(fill->event_id, second) && gr_str_is(fill->origin, "here") && fill->known.count == 1);
    rig_ask(p.ours, &gr_type_room_gap_look, &(gr_room_gap_look){.origin = GR_STR("here")});
    const gr_room_gap_is *is = p.ours->reply;
    assert_true(is->prevs.count == 1 && gr_str_eq(is->prevs.at[0], first) && is->auth.count == 0);
    push(&p, "here", &first, 1);
    take_all(&p);
    assert_true(is_in(&p, first) && is_in(&p, second));
    rig_ask(p.ours, &gr_type_room_gap_look, &(gr_room_gap_look){.origin = GR_STR("here")});
    assert_int_equal(((const gr_room_gap_is *)p.ours->reply)->prevs.count, 0);
    pair_free(&p);
}

static void what_still_waits_when_the_flow_has_ended_is_dropped_and_may_come_again(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str first = say_there(&p, "@b:here"), second = say_there(&p, "@a:here");
    push(&p, "here", &second, 1);
    take_all(&p);
    gr_room_gap_done done = {.origin = GR_STR("here")};
    rig_handle(p.ours, &(gr_msg){.verb = GR_POST, .type = &gr_type_room_gap_done, .body = &done, .from = GR_STR("gap/x")});
    push(&p, "here", &first, 1);
    take_all(&p);
    assert_true(is_in(&p, first) && !is_in(&p, second));
    push(&p, "here", &second, 1);
    take_all(&p);
    assert_true(is_in(&p, second));
    pair_free(&p);
}

static void no_more_than_four_flows_are_under_way(void **state)
{
    static const char *const origins[] = {"here", "o1.org", "o2.org", "o3.org", "o4.org", "o5.org"};
    size_t flows = 0;
    (void)state;
    pair_room p = pair_new("11");
    say_there(&p, "@b:here");
    for (size_t i = 0; i < 6; i++) {
        gr_str waits = say_there(&p, "@a:here");
        push(&p, origins[i], &waits, 1);
        rig_fire(p.ours);
        flows += rig_count(p.ours, GR_POST, &gr_type_gap_fill);
    }
    assert_int_equal(flows, GR_GAP_FLOWS);
    gr_room_gap_done done = {.origin = GR_STR("o1.org")};
    rig_handle(p.ours, &(gr_msg){.verb = GR_POST, .type = &gr_type_room_gap_done, .body = &done, .from = GR_STR("gap/x")});
    assert_int_equal(rig_count(p.ours, GR_POST, &gr_type_gap_fill), 1);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_events_are_staged_and_taken_in_order),
        cmocka_unit_test(events_of_a_state_are_held_some_at_a_time_within_the_bounds_of_a_handler),
        cmocka_unit_test(an_event_without_its_keys_is_told_of),
        cmocka_unit_test(an_event_that_waits_has_a_flow_look_for_what_is_missing),
        cmocka_unit_test(what_still_waits_when_the_flow_has_ended_is_dropped_and_may_come_again),
        cmocka_unit_test(no_more_than_four_flows_are_under_way)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
