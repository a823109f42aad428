/* room_servers_test.c - a room knows the servers of its members, and posts to them what was made here. */
#include "tests/unit/actors/room_receive_rig.h"

static const gr_servers_send *sent(pair_room *p, size_t n)
{
    return rig_body(p->ours, rig_effect(p->ours, GR_POST, &gr_type_servers_send, n));
}

static void an_event_made_here_goes_to_the_shard_of_each_server_once(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    assert_int_equal(gr_room_server_members(our_ctx(&p), GR_STR("here")), 2);
    assert_int_equal(our_room(&p)->servers[gr_id_shard(GR_STR("here"))], 1);
    room_send(p.ours, "@x:there", "m.room.message", NULL, "{\"body\":\"hi\"}", "");
    assert_int_equal(rig_count(p.ours, GR_POST, &gr_type_servers_send), 1);
    assert_int_equal(sent(&p, 0)->except.size, 0);
    assert_true(sent(&p, 0)->event_id.size > 0 && sent(&p, 0)->position > 0 && sent(&p, 0)->size > 0);
    rig_reload(p.ours);
    pair_free(&p);
}

static void what_another_server_sent_is_not_sent_on(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str prev = newest(&p.theirs);
    gr_str said = put(&p.theirs, one(&prev), "@b:here", "m.room.message", NULL, "{\"body\":\"hi\"}");
    assert_int_equal(take(&p, said), GR_PDU_ACCEPTED);
    assert_int_equal(rig_count(p.ours, GR_POST, &gr_type_servers_send), 0);
    pair_free(&p);
}

/* Theirs is the room now: its only member elsewhere is @x:there. */
static void who_is_kicked_out_hears_of_it(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    rig *r = theirs(&p);
    room_member(r, "@a:here", "kick", "@x:there");
    assert_ok(r);
    const gr_servers_send *m = rig_body(r, rig_effect(r, GR_POST, &gr_type_servers_send, 0));
    assert_true(gr_str_is(m->also, "there"));
    const gr_servers_member *left = rig_body(r, rig_effect(r, GR_POST, &gr_type_servers_member, 0));
    assert_true(gr_str_is(left->server, "there") && !left->joined);
    assert_int_equal(room_of(r)->servers[gr_id_shard(GR_STR("there"))], 0);
    room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"alone\"}", "");
    assert_int_equal(rig_count(r, GR_POST, &gr_type_servers_send), 0);
    rig_reload(r);
    pair_free(&p);
}

static void fire(pair_room *p, const char *timer)
{
    p->ours->ctx.now_ms += 2000;
    rig_handle(p->ours, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = gr_str_c(timer)}});
}

static const gr_json *edu_in(pair_room *p, gr_verb verb, size_t n)
{
    const gr_json *edu;
    const gr_servers_send *m = rig_body(p->ours, rig_effect(p->ours, verb, &gr_type_servers_send, n));
    assert_false(gr_failed(gr_json_parse(p->ours->long_arena, m->edu, GR_JSON_LAX, &edu)));
    return edu;
}

static void typing_of_users_of_ours_is_told(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_room_typing m = {.user = GR_STR("@x:there"), .typing = true, .timeout_ms = 1000};
    rig_ask(p.ours, &gr_type_room_typing, &m);
    const gr_json *edu = edu_in(&p, GR_TELL, 0);
    assert_true(gr_str_is(gr_json_text(edu, "edu_type"), "m.typing"));
    assert_true(gr_json_boolean(gr_json_path(edu, "content/typing"), false));
    rig_ask(p.ours, &gr_type_room_typing, &m);
    assert_int_equal(rig_count(p.ours, GR_TELL, &gr_type_servers_send), 0);
    fire(&p, "typing");
    assert_false(gr_json_boolean(gr_json_path(edu_in(&p, GR_TELL, 0), "content/typing"), true));
    m.user = GR_STR("@b:here");
    rig_ask(p.ours, &gr_type_room_typing, &m);
    assert_int_equal(rig_count(p.ours, GR_TELL, &gr_type_servers_send), 0);
    pair_free(&p);
}

static void public_receipts_of_users_of_ours_are_told(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str id = room_send(p.ours, "@x:there", "m.room.message", NULL, "{\"body\":\"hi\"}", "");
    id = gr_arena_str(p.ours->long_arena, id);
    gr_room_receipt m = {.user = GR_STR("@x:there"), .type = GR_STR("m.read"), .event_id = id};
    rig_ask(p.ours, &gr_type_room_receipt, &m);
    m.thread = GR_STR("main");
    rig_ask(p.ours, &gr_type_room_receipt, &m);
    m.type = GR_STR("m.read.private");
    rig_ask(p.ours, &gr_type_room_receipt, &m);
    fire(&p, "receipts");
    assert_int_equal(rig_count(p.ours, GR_TELL, &gr_type_servers_send), 2);    /* one for each thread */
    const gr_json *edu = edu_in(&p, GR_TELL, 1);
    assert_true(gr_str_is(gr_json_text(edu, "edu_type"), "m.receipt"));
    const gr_json *of = gr_json_get_str(gr_json_get(edu, "content"), our_room(&p)->id);
    of = gr_json_path(of, "m.read/@x:there");
    assert_true(gr_str_eq(gr_json_string(&gr_json_get(of, "event_ids")->items[0]), id));
    pair_free(&p);
}

static uint64_t owed_first;            /* as the destination tells it */

/* Theirs is the room that is asked, by the server of @x:there. */
static const gr_room_outgoing *owed(rig *r, const char *server, gr_str event_id)
{
    gr_room_owed m = {.server = gr_str_c(server), .event_id = event_id, .first = owed_first};
    rig_ask(r, &gr_type_room_owed, &m);
    assert_ptr_equal(r->reply_type, &gr_type_room_outgoing);
    return r->reply;
}

static void a_server_that_missed_events_gets_what_is_newest(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    rig *r = theirs(&p);
    gr_str first = gr_arena_str(r->long_arena, room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"1\"}", ""));
    const gr_room_outgoing *out = owed(r, "there", first);
    assert_int_equal(out->pdus.count, 1);
    assert_true(gr_str_eq(out->pdus.at[0].event_id, first) && out->pdus.at[0].pdu.size > 100);
    assert_int_equal(out->position, room_of(r)->next_number - 1);
    gr_str second = gr_arena_str(r->long_arena, room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"2\"}", ""));
    out = owed(r, "there", first);
    assert_int_equal(out->pdus.count, 1);
    assert_true(gr_str_eq(out->pdus.at[0].event_id, second));
    assert_int_equal(owed(r, "elsewhere", first)->pdus.count, 0);
    room_member(r, "@a:here", "kick", "@x:there");
    assert_int_equal(owed(r, "there", first)->pdus.count, 0);
    pair_free(&p);
}

static void what_was_sent_before_the_first_missed_event_is_not_sent_again(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    rig *r = theirs(&p);
    gr_str before = gr_arena_str(r->long_arena, newest(&p.theirs));
    room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"1\"}", "");
    gr_str beside = put(&p.theirs, one(&before), "@a:here", "m.room.message", NULL, "{\"body\":\"2\"}");
    beside = gr_arena_str(r->long_arena, beside);
    assert_int_equal(room_of(r)->extremity_count, 2);
    assert_int_equal(owed(r, "there", before)->pdus.count, 2);
    owed_first = room_of(r)->next_number - 1;
    const gr_room_outgoing *out = owed(r, "there", before);
    owed_first = 0;
    assert_int_equal(out->pdus.count, 1);
    assert_true(gr_str_eq(out->pdus.at[0].event_id, beside));
    assert_int_equal(out->position, room_of(r)->next_number - 1);
    pair_free(&p);
}

static void events_in_a_queue_are_given_by_their_ids(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    rig *r = theirs(&p);
    gr_str ids[2] = {gr_arena_str(r->long_arena, room_send(r, "@a:here", "m.room.message", NULL, "{}", "")), GR_STR("$purged")};
    gr_room_queued m = {.event_ids = {ids, 2}};
    rig_ask(r, &gr_type_room_queued, &m);
    const gr_room_outgoing *out = r->reply;
    assert_int_equal(out->pdus.count, 1);
    assert_true(gr_str_eq(out->pdus.at[0].event_id, ids[0]));
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_made_here_goes_to_the_shard_of_each_server_once),
        cmocka_unit_test(what_another_server_sent_is_not_sent_on),
        cmocka_unit_test(who_is_kicked_out_hears_of_it),
        cmocka_unit_test(typing_of_users_of_ours_is_told),
        cmocka_unit_test(public_receipts_of_users_of_ours_are_told),
        cmocka_unit_test(a_server_that_missed_events_gets_what_is_newest),
        cmocka_unit_test(events_in_a_queue_are_given_by_their_ids),
        cmocka_unit_test(what_was_sent_before_the_first_missed_event_is_not_sent_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
