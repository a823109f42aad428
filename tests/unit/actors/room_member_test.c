/* room_member_test.c - who may come, go, and be sent away; and who hears of it. */
#include "tests/unit/actors/room_rig.h"

static rig *public_room(void)
{
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    assert_ok(r);
    return r;
}

static rig *private_room(const char *version)
{
    rig *r = room_new((room_options){version, "{\"preset\":\"private_chat\"}"});
    assert_ok(r);
    return r;
}

static void a_join_is_answered_by_the_users_own_actor(void **state)
{
    (void)state;
    rig *r = public_room();
    gr_room_member m = {.user = GR_STR("@b:here"),
                        .target = GR_STR("@b:here"),
                        .action = GR_STR("join"),
                        .displayname = GR_STR("Bo"),
                        .reason = GR_STR("why not")};
    rig_ask(r, &gr_type_room_member, &m);
    assert_ok(r);
    assert_null(r->reply_type);
    const gr_effect *first = r->ctx.first;
    assert_text(first->to, "user/@b:here");
    assert_text(first->reply_to, "edge/n0/0");
    const gr_user_membership *post = rig_body(r, first);
    assert_text(post->membership, "join");
    assert_text(post->room_version, "11");
    assert_int_equal(rig_count(r, GR_POST, &gr_type_feed_event), 2);
    assert_int_equal(room_of(r)->joined, 2);
    assert_int_equal(room_of(r)->local_joined[gr_id_shard(GR_STR("@b:here"))], 1);
    assert_text(room_state(r, "m.room.member", "@b:here", "displayname"), "\"Bo\"");
    assert_text(room_state(r, "m.room.member", "@b:here", "reason"), "\"why not\"");
    rig_reload(r);
    rig_free(&r);
}

static void joining_twice_makes_one_event(void **state)
{
    (void)state;
    rig *r = public_room();
    room_member(r, "@b:here", "join", "@b:here");
    room_member(r, "@b:here", "join", "@b:here");
    assert_ok(r);
    assert_ptr_equal(r->reply_type, &gr_type_room_sent);
    assert_int_equal(r->write_count, 0);
    rig_free(&r);
}

static void a_private_room_lets_in_only_who_was_invited(void **state)
{
    (void)state;
    rig *r = private_room("12");
    assert_int_equal(room_member(r, "@b:here", "join", "@b:here").code, GR_FORBIDDEN);
    assert_int_equal(r->write_count, 0);
    assert_int_equal(room_member(r, "@a:here", "invite", "@b:here").code, GR_OK);
    assert_int_equal(room_of(r)->invited, 1);
    assert_int_equal(room_member(r, "@b:here", "join", "@b:here").code, GR_OK);
    assert_int_equal(room_of(r)->invited, 0);
    assert_int_equal(room_of(r)->joined, 2);
    assert_int_equal(room_member(r, "@a:here", "invite", "@b:here").code, GR_FORBIDDEN);
    rig_reload(r);
    rig_free(&r);
}

static void an_invite_tells_the_invitee_what_the_room_is(void **state)
{
    (void)state;
    rig *r = private_room("12");
    room_send(r, "@a:here", "m.room.name", "", "{\"name\":\"N\"}", "");
    room_member(r, "@a:here", "invite", "@b:here");
    const gr_user_membership *post = rig_body(r, rig_effect(r, GR_POST, &gr_type_user_membership, 0));
    const gr_json *stripped;
    assert_false(gr_failed(gr_json_parse(r->arena, post->stripped, GR_JSON_LAX, &stripped)));
    assert_int_equal(stripped->count, 5);
    assert_text(gr_json_text(&stripped->items[0], "type"), "m.room.create");
    assert_text(gr_json_text(&stripped->items[3], "state_key"), "@a:here");
    assert_text(gr_json_text(&stripped->items[4], "state_key"), "@b:here");
    rig_free(&r);
}

static void a_kick_needs_power_and_a_member(void **state)
{
    (void)state;
    rig *r = public_room();
    room_member(r, "@b:here", "join", "@b:here");
    room_member(r, "@c:here", "join", "@c:here");
    assert_int_equal(room_member(r, "@b:here", "kick", "@c:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@a:here", "kick", "@d:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@a:here", "kick", "@c:here").code, GR_OK);
    assert_ptr_equal(r->reply_type, &gr_type_room_sent);
    assert_int_equal(rig_count(r, GR_POST, &gr_type_feed_event), 3);
    assert_int_equal(room_membership(r, "@c:here"), GR_MEMBER_LEAVE);
    assert_int_equal(room_of(r)->local_joined[gr_id_shard(GR_STR("@c:here"))], 0);
    rig_reload(r);
    rig_free(&r);
}

static void who_is_banned_stays_out_until_unbanned(void **state)
{
    (void)state;
    rig *r = public_room();
    room_member(r, "@b:here", "join", "@b:here");
    assert_int_equal(room_member(r, "@a:here", "unban", "@b:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@a:here", "ban", "@b:here").code, GR_OK);
    assert_int_equal(room_member(r, "@b:here", "join", "@b:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@a:here", "invite", "@b:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@b:here", "leave", "@b:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@a:here", "unban", "@b:here").code, GR_OK);
    assert_int_equal(room_member(r, "@b:here", "join", "@b:here").code, GR_OK);
    rig_free(&r);
}

static void the_last_member_may_leave(void **state)
{
    (void)state;
    rig *r = public_room();
    assert_int_equal(room_member(r, "@b:here", "leave", "@b:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@a:here", "leave", "@a:here").code, GR_OK);
    assert_null(r->reply_type);
    assert_int_equal(rig_count(r, GR_POST, &gr_type_feed_event), 1);
    assert_int_equal(room_of(r)->joined, 0);
    assert_int_equal(room_member(r, "@a:here", "leave", "@a:here").code, GR_OK);
    assert_int_equal(r->write_count, 0);
    rig_reload(r);
    rig_free(&r);
}

static void a_knock_waits_for_an_invite(void **state)
{
    (void)state;
    rig *r = private_room("11");
    assert_int_equal(room_member(r, "@b:here", "knock", "@b:here").code, GR_FORBIDDEN);
    room_send(r, "@a:here", "m.room.join_rules", "", "{\"join_rule\":\"knock\"}", "");
    assert_int_equal(room_member(r, "@b:here", "knock", "@b:here").code, GR_OK);
    const gr_user_membership *post = rig_body(r, rig_effect(r, GR_POST, &gr_type_user_membership, 0));
    assert_text(post->membership, "knock");
    assert_true(post->stripped.size > 0);
    assert_int_equal(room_member(r, "@b:here", "join", "@b:here").code, GR_FORBIDDEN);
    assert_int_equal(room_member(r, "@a:here", "invite", "@b:here").code, GR_OK);
    assert_int_equal(room_member(r, "@b:here", "join", "@b:here").code, GR_OK);
    rig_free(&r);
}

static void a_restricted_room_lets_in_members_of_the_rooms_it_names(void **state)
{
    (void)state;
    rig *r = private_room("11");
    room_send(r, "@a:here", "m.room.join_rules", "",
              "{\"join_rule\":\"restricted\",\"allow\":"
              "[{\"type\":\"m.room_membership\",\"room_id\":\"!space:here\"}]}",
              "");
    assert_ok(r);
    rig_ask(r, &gr_type_room_allows, &(gr_room_allows){.user = GR_STR("@b:here")});
    const gr_room_allows_rooms *allows = r->reply;
    assert_int_equal(allows->rooms.count, 1);
    assert_int_equal(room_member(r, "@b:here", "join", "@b:here").code, GR_FORBIDDEN);
    gr_str in[] = {GR_STR("!other:here"), GR_STR("!space:here")};
    gr_room_member m = {.user = GR_STR("@b:here"),
                        .target = GR_STR("@b:here"),
                        .action = GR_STR("join"),
                        .member_of = {in, 2}};
    rig_ask(r, &gr_type_room_member, &m);
    assert_ok(r);
    assert_text(room_state(r, "m.room.member", "@b:here", "join_authorised_via_users_server"), "\"@a:here\"");
    rig_free(&r);
}

static void guests_join_only_where_guests_may(void **state)
{
    (void)state;
    rig *r = public_room();
    gr_room_member m = {
        .user = GR_STR("@g:here"), .target = GR_STR("@g:here"), .action = GR_STR("join"), .guest = true};
    rig_ask(r, &gr_type_room_member, &m);
    assert_int_equal(r->err.code, GR_GUEST_ACCESS_FORBIDDEN);
    gr_room_send by_content = {.user = m.user,
                               .type = GR_STR("m.room.member"),
                               .is_state = true,
                               .state_key = m.user,
                               .content = GR_STR("{\"membership\":\"join\"}"),
                               .guest = true};
    rig_ask(r, &gr_type_room_send, &by_content);
    assert_int_equal(r->err.code, GR_GUEST_ACCESS_FORBIDDEN);
    room_send(r, "@a:here", "m.room.guest_access", "", "{\"guest_access\":\"can_join\"}", "");
    rig_ask(r, &gr_type_room_member, &m);
    assert_ok(r);
    rig_free(&r);
}

static void membership_through_the_state_api_obeys_the_same_rules(void **state)
{
    (void)state;
    rig *r = public_room();
    room_send(r, "@b:here", "m.room.member", "@b:here", "{\"membership\":\"join\",\"displayname\":\"B\"}",
              "");
    assert_ok(r);
    assert_null(r->reply_type);
    room_send(r, "@b:here", "m.room.member", "@a:here", "{\"membership\":\"leave\"}", "");
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    room_send(r, "@a:here", "m.room.member", "@b:here", "{\"membership\":\"dance\"}", "");
    assert_int_equal(r->err.code, GR_BAD_JSON);
    room_send(r, "@a:here", "m.room.member", "@b:here", "{\"membership\":\"ban\"}", "");
    assert_ok(r);
    assert_int_equal(room_membership(r, "@b:here"), GR_MEMBER_BAN);
    rig_free(&r);
}

static void a_new_profile_becomes_a_member_event_of_who_is_joined(void **state)
{
    (void)state;
    rig *r = public_room();
    gr_room_profile m = {
        .user = GR_STR("@a:here"), .displayname = GR_STR("Anna"), .avatar_url = GR_STR("mxc://here/x")};
    rig_ask(r, &gr_type_room_profile, &m);
    assert_ok(r);
    assert_text(room_state(r, "m.room.member", "@a:here", "displayname"), "\"Anna\"");
    assert_text(room_state(r, "m.room.member", "@a:here", "membership"), "\"join\"");
    rig_ask(r, &gr_type_room_profile, &m);
    assert_int_equal(r->write_count, 0);
    m.user = GR_STR("@b:here");
    rig_ask(r, &gr_type_room_profile, &m);
    assert_int_equal(r->write_count, 0);
    rig_free(&r);
}

static bool count_rows(void *arg, gr_str key, gr_str value)
{
    (void)key;
    (void)value;
    ++*(size_t *)arg;
    return true;
}

static void each_change_of_membership_begins_an_interval(void **state)
{
    (void)state;
    rig *r = public_room();
    room_member(r, "@b:here", "join", "@b:here");
    room_send(r, "@b:here", "m.room.member", "@b:here", "{\"membership\":\"join\",\"displayname\":\"B\"}",
              "");
    room_member(r, "@b:here", "leave", "@b:here");
    room_member(r, "@b:here", "join", "@b:here");
    size_t rows = 0;
    gr_ctx_begin(&r->ctx, r->address);
    gr_ctx_scan_prefix(&r->ctx, GR_STR("w@b:here\0"), 0, count_rows, &rows);
    assert_int_equal(rows, 3);
    rig_free(&r);
}

static void a_listed_room_keeps_the_directory_up_to_date(void **state)
{
    (void)state;
    rig *r = public_room();
    gr_room_publish m = {.user = GR_STR("@b:here"), .publish = true};
    rig_ask(r, &gr_type_room_publish, &m);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    m.user = GR_STR("@a:here");
    rig_ask(r, &gr_type_room_publish, &m);
    assert_ok(r);
    assert_int_equal(rig_count(r, GR_POST, &gr_type_directory_put), 1);
    room_send(r, "@a:here", "m.room.name", "", "{\"name\":\"N\"}", "");
    const gr_directory_put *put = rig_body(r, rig_effect(r, GR_POST, &gr_type_directory_put, 0));
    assert_text(put->name, "N");
    assert_text(put->join_rule, "public");
    assert_int_equal(put->joined, 1);
    room_member(r, "@a:here", "leave", "@a:here");
    assert_int_equal(rig_count(r, GR_POST, &gr_type_directory_remove), 1);
    rig_free(&r);
}

static void join_as_guest(rig *r, gr_str user)
{
    gr_room_member m = {.user = user, .target = user, .action = GR_STR("join"), .guest = true};
    rig_ask(r, &gr_type_room_member, &m);
}

static void fire(rig *r)
{
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = GR_STR("guests")}});
}

static void guests_leave_when_they_are_not_let_in_any_more(void **state)
{
    (void)state;
    rig *r = public_room();
    join_as_guest(r, GR_STR("@g:here"));
    assert_int_equal(r->err.code, GR_GUEST_ACCESS_FORBIDDEN);
    room_send(r, "@a:here", "m.room.guest_access", "", "{\"guest_access\":\"can_join\"}", NULL);
    for (int i = 0; i < 20; i++) join_as_guest(r, gr_arena_printf(r->long_arena, "@g%d:here", i));
    room_member(r, "@b:here", "join", "@b:here");
    rig_ask(r, &gr_type_room_profile, &(gr_room_profile){.user = GR_STR("@g7:here")});     /* registered since */
    assert_int_equal(room_of(r)->joined, 22);
    room_send(r, "@a:here", "m.room.guest_access", "", "{\"guest_access\":\"forbidden\"}", NULL);
    assert_ok(r);
    for (int i = 0; i < 8; i++) fire(r);
    assert_int_equal(room_of(r)->joined, 3);
    assert_int_equal(room_membership(r, "@g7:here"), GR_MEMBER_JOIN);
    assert_int_equal(room_membership(r, "@g8:here"), GR_MEMBER_LEAVE);
    assert_false(r->is_over_bounds);
    rig_free(&r);
}

static void guests_that_are_let_in_again_at_once_stay(void **state)
{
    (void)state;
    rig *r = public_room();
    room_send(r, "@a:here", "m.room.guest_access", "", "{\"guest_access\":\"can_join\"}", NULL);
    join_as_guest(r, GR_STR("@g:here"));
    room_send(r, "@a:here", "m.room.guest_access", "", "{}", NULL);
    room_send(r, "@a:here", "m.room.guest_access", "", "{\"guest_access\":\"can_join\"}", NULL);
    fire(r);
    assert_int_equal(room_membership(r, "@g:here"), GR_MEMBER_JOIN);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guests_leave_when_they_are_not_let_in_any_more),
        cmocka_unit_test(guests_that_are_let_in_again_at_once_stay),
        cmocka_unit_test(a_join_is_answered_by_the_users_own_actor),
        cmocka_unit_test(joining_twice_makes_one_event),
        cmocka_unit_test(a_private_room_lets_in_only_who_was_invited),
        cmocka_unit_test(an_invite_tells_the_invitee_what_the_room_is),
        cmocka_unit_test(a_kick_needs_power_and_a_member),
        cmocka_unit_test(who_is_banned_stays_out_until_unbanned),
        cmocka_unit_test(the_last_member_may_leave),
        cmocka_unit_test(a_knock_waits_for_an_invite),
        cmocka_unit_test(a_restricted_room_lets_in_members_of_the_rooms_it_names),
        cmocka_unit_test(guests_join_only_where_guests_may),
        cmocka_unit_test(membership_through_the_state_api_obeys_the_same_rules),
        cmocka_unit_test(a_new_profile_becomes_a_member_event_of_who_is_joined),
        cmocka_unit_test(each_change_of_membership_begins_an_interval),
        cmocka_unit_test(a_listed_room_keeps_the_directory_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
