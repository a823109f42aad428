/* room_create_test.c - what a new room consists of. */
#include "tests/unit/actors/room_rig.h"

static void every_version_gives_a_room_that_its_creator_is_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_ROOM_VERSION_COUNT; i++) {
        rig *r = room_new((room_options){gr_room_version_at(i)->id, "{\"name\":\"N\",\"topic\":\"T\"}"});
        assert_ok(r);
        assert_int_equal(room_membership(r, "@a:here"), GR_MEMBER_JOIN);
        assert_int_equal(room_of(r)->joined, 1);
        assert_int_equal(room_of(r)->extremity_count, 1);
        assert_text(room_state(r, "m.room.name", "", "name"), "\"N\"");
        assert_text(room_state(r, "m.room.topic", "", "topic"), "\"T\"");
        assert_text(room_state(r, "m.room.member", "@a:here", "displayname"), "\"Ann\"");
        rig_reload(r);
        rig_free(&r);
    }
}

static void check_preset(const char *request, const char *join_rule, const char *guests)
{
    rig *r = room_new((room_options){"11", request});
    assert_ok(r);
    assert_text(room_state(r, "m.room.join_rules", "", "join_rule"), join_rule);
    assert_text(room_state(r, "m.room.guest_access", "", "guest_access"), guests);
    assert_text(room_state(r, "m.room.history_visibility", "", "history_visibility"), "\"shared\"");
    rig_free(&r);
}

static void presets_set_join_rules_and_guest_access(void **state)
{
    (void)state;
    check_preset("{}", "\"invite\"", "\"can_join\"");
    check_preset("{\"visibility\":\"public\"}", "\"public\"", "\"forbidden\"");
    check_preset("{\"preset\":\"private_chat\",\"visibility\":\"public\"}", "\"invite\"", "\"can_join\"");
    check_preset("{\"preset\":\"trusted_private_chat\"}", "\"invite\"", "\"can_join\"");
    check_preset("{\"preset\":\"public_chat\"}", "\"public\"", "\"forbidden\"");
}

static void a_trusted_chat_gives_invitees_the_creators_power(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"trusted_private_chat\",\"invite\":[\"@b:here\"]}"});
    assert_ok(r);
    assert_text(room_state(r, "m.room.power_levels", "", "users"), "{\"@a:here\":100,\"@b:here\":100}");
    assert_int_equal(room_membership(r, "@b:here"), GR_MEMBER_INVITE);
    rig_free(&r);
}

static void privileged_creators_are_not_listed(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"12", "{}"});
    assert_ok(r);
    assert_text(room_state(r, "m.room.power_levels", "", "users"), "{}");
    rig_free(&r);
}

static void power_levels_can_be_overridden(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"power_level_content_override\":{\"events_default\":7}}"});
    assert_ok(r);
    assert_text(room_state(r, "m.room.power_levels", "", "events_default"), "7");
    assert_text(room_state(r, "m.room.power_levels", "", "state_default"), "50");
    rig_free(&r);
}

static void initial_state_takes_the_place_of_the_presets(void **state)
{
    (void)state;
    rig *r = room_new((room_options){
        "11", "{\"initial_state\":[{\"type\":\"m.room.join_rules\",\"content\":{\"join_rule\":\"knock\"}},"
              "{\"type\":\"m.room.encryption\",\"content\":{\"algorithm\":\"m.megolm.v1.aes-sha2\"}}]}"});
    assert_ok(r);
    assert_text(room_state(r, "m.room.join_rules", "", "join_rule"), "\"knock\"");
    assert_true(room_of(r)->encrypted);
    rig_free(&r);
}

static void invitees_hear_of_the_invite_and_what_the_room_is(void **state)
{
    (void)state;
    rig *r = room_new(
        (room_options){"12", "{\"name\":\"N\",\"invite\":[\"@b:here\",\"@c:there\"],\"is_direct\":true}"});
    assert_ok(r);
    assert_int_equal(room_of(r)->invited, 1);      /* the server of the other one is to be asked first */
    assert_int_equal(rig_count(r, GR_POST, &gr_type_user_membership), 2);
    const gr_effect *e = rig_effect(r, GR_POST, &gr_type_user_membership, 0);
    const gr_user_membership *m = rig_body(r, e);
    assert_text(e->to, "user/@b:here");
    assert_text(m->membership, "invite");
    assert_true(m->is_direct);
    const gr_json *stripped;
    assert_false(gr_failed(gr_json_parse(r->arena, m->stripped, GR_JSON_LAX, &stripped)));
    assert_int_equal(stripped->count, 5);
    rig_free(&r);
}

static void the_creators_user_answers_last_of_all(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"12", "{}"});
    assert_ok(r);
    assert_null(r->reply_type);
    const gr_effect *last = r->ctx.first;
    while (last->next) last = last->next;
    assert_ptr_equal(last->type, &gr_type_user_membership);
    assert_text(last->to, "user/@a:here");
    assert_text(last->reply_to, "edge/n0/0");
    assert_int_equal(rig_count(r, GR_POST, &gr_type_feed_event), 6);
    rig_free(&r);
}

static void a_refused_event_leaves_no_room(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"power_level_content_override\":{\"users\":{\"@a:here\":0}}}"});
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    assert_int_equal(r->write_count, 0);
    assert_int_equal(rig_count(r, GR_POST, NULL), 0);
    assert_false(room_of(r)->exists);
    rig_reload(r);
    rig_free(&r);
}

static void asking_again_with_the_same_key_changes_nothing(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    gr_room_create again = {
        .user = GR_STR("@a:here"), .version = GR_STR("11"), .request = GR_STR("{}"), .key = GR_STR("k1")};
    rig_ask(r, &gr_type_room_create, &again);
    assert_ok(r);
    assert_ptr_equal(r->reply_type, &gr_type_room_sent);
    assert_int_equal(r->write_count, 0);
    again.key = GR_STR("k2");
    rig_ask(r, &gr_type_room_create, &again);
    assert_int_equal(r->err.code, GR_ROOM_IN_USE);
    rig_free(&r);
}

static void a_room_with_all_the_invites_it_may_have_fits_a_batch(void **state)
{
    (void)state;
    gr_buf request = {0};
    gr_buf_c(&request, "{\"invite\":[");
    for (int i = 0; i < 40; i++) gr_buf_printf(&request, "%s\"@user%d:here\"", i ? "," : "", i);
    gr_buf_c(&request, "]}");
    gr_buf_char(&request, 0);
    rig *r = room_new((room_options){"12", request.ptr});
    assert_ok(r);
    assert_int_equal(room_of(r)->invited, GR_ROOM_CREATE_INVITES);
    size_t posted = 0;
    for (const gr_effect *e = r->ctx.first; e; e = e->next) posted += e->body.size + e->to.size;
    assert_true(r->write_bytes + posted < 240 * 1024);
    assert_true(r->gets <= GR_HANDLER_GETS_MAX);
    gr_buf_free(&request);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_gives_a_room_that_its_creator_is_in),
        cmocka_unit_test(presets_set_join_rules_and_guest_access),
        cmocka_unit_test(a_trusted_chat_gives_invitees_the_creators_power),
        cmocka_unit_test(privileged_creators_are_not_listed),
        cmocka_unit_test(power_levels_can_be_overridden),
        cmocka_unit_test(initial_state_takes_the_place_of_the_presets),
        cmocka_unit_test(invitees_hear_of_the_invite_and_what_the_room_is),
        cmocka_unit_test(the_creators_user_answers_last_of_all),
        cmocka_unit_test(a_refused_event_leaves_no_room),
        cmocka_unit_test(asking_again_with_the_same_key_changes_nothing),
        cmocka_unit_test(a_room_with_all_the_invites_it_may_have_fits_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
