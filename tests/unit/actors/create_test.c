/* create_test.c - the steps of createRoom, each repeatable. */
#include "tests/unit/actors/rig.h"

#include "actors/create/create.h"
#include "proto/event.h"

#define assert_text(got, want) assert_true(gr_str_is((got), (want)))

static rig *flow_asked(const char *request)
{
    rig *r = rig_new(&gr_create_kind, "create/f1");
    gr_create_room m = {
        .user = GR_STR("@a:here"), .request = gr_str_c(request), .displayname = GR_STR("Ann")};
    rig_ask(r, &gr_type_create_room, &m);
    return r;
}

static const gr_effect *asked(rig *r, const gr_type *type)
{
    const gr_effect *e = rig_effect(r, GR_ASK, NULL, 0);
    assert_non_null(e);
    assert_ptr_equal(e->type, type);
    return e;
}

/* The present ask is answered. */
static void answer(rig *r, gr_errcode code)
{
    const gr_effect *e = rig_effect(r, GR_ASK, NULL, 0);
    assert_non_null(e);
    gr_resume resume = e->resume;
    gr_err err = code == GR_OK ? gr_ok() : gr_fail(code, "no");
    rig_reply(r, code == GR_OK ? &gr_type_done : &gr_type_error,
              code == GR_OK ? (const void *)&(gr_done){0} : &(gr_error){.code = code}, &resume, err);
}

static void a_plain_room_is_made_and_answered(void **state)
{
    (void)state;
    rig *r = flow_asked("{}");
    const gr_effect *e = asked(r, &gr_type_room_create);
    const gr_room_create *m = rig_body(r, e);
    gr_event event;
    assert_text(m->version, "12");
    assert_false(
        gr_failed(gr_event_parse(r->arena, gr_room_version_find(m->version), m->create_event, &event)));
    assert_true(gr_str_eq(gr_address_id(e->to), event.room_id));
    assert_text(m->displayname, "Ann");
    gr_str id = gr_arena_str(r->long_arena, event.room_id);
    answer(r, GR_OK);
    assert_ptr_equal(r->reply_type, &gr_type_result);
    gr_str want = gr_arena_printf(r->long_arena, "{\"room_id\":\"%.*s\"}", GR_ARG(id));
    assert_true(gr_str_eq(((const gr_result *)r->reply)->body, want));
    rig_free(&r);
}

static void an_alias_is_reserved_before_and_confirmed_after(void **state)
{
    (void)state;
    rig *r = flow_asked("{\"room_alias_name\":\"x\",\"visibility\":\"public\"}");
    const gr_effect *e = asked(r, &gr_type_name_claim);
    assert_text(e->to, "name/#x:here");
    assert_text(((const gr_name_claim *)rig_body(r, e))->holder, "create/f1");
    answer(r, GR_OK);
    assert_text(((const gr_room_create *)rig_body(r, asked(r, &gr_type_room_create)))->alias, "#x:here");
    answer(r, GR_OK);
    asked(r, &gr_type_name_confirm);
    answer(r, GR_OK);
    asked(r, &gr_type_room_alias);
    answer(r, GR_OK);
    asked(r, &gr_type_room_publish);
    answer(r, GR_OK);
    assert_ptr_equal(r->reply_type, &gr_type_result);
    rig_free(&r);
}

static void a_taken_alias_makes_no_room(void **state)
{
    (void)state;
    rig *r = flow_asked("{\"room_alias_name\":\"x\"}");
    answer(r, GR_ROOM_IN_USE);
    assert_int_equal(r->err.code, GR_ROOM_IN_USE);
    assert_int_equal(rig_count(r, GR_ASK, NULL), 0);
    rig_free(&r);
}

static void a_room_that_is_refused_frees_the_alias(void **state)
{
    (void)state;
    rig *r = flow_asked("{\"room_alias_name\":\"x\"}");
    answer(r, GR_OK);
    answer(r, GR_FORBIDDEN);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    assert_int_equal(rig_count(r, GR_POST, &gr_type_name_release), 1);
    rig_free(&r);
}

static void a_step_is_repeated_after_a_restart_with_the_same_room(void **state)
{
    (void)state;
    rig *r = flow_asked("{}");
    gr_str to = gr_arena_str(r->long_arena, asked(r, &gr_type_room_create)->to);
    rig_reload(r);
    rig_handle(
        r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = GR_STR("step")}});
    assert_true(gr_str_eq(asked(r, &gr_type_room_create)->to, to));
    answer(r, GR_UNAVAILABLE);
    assert_int_equal(rig_count(r, GR_ASK, NULL), 0);
    rig_handle(
        r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = GR_STR("step")}});
    asked(r, &gr_type_room_create);
    rig_free(&r);
}

static void a_room_is_made_where_a_node_can_be_reached(void **state)
{
    (void)state;
    char shards[GR_SHARDS / 8] = {0};
    memset(shards, 0xff, sizeof shards / 4);       /* a quarter of them */
    for (int version = 11; version <= 12; version++)
        for (int i = 0; i < 20; i++) {
            rig *r = rig_new(&gr_create_kind, "create/flow");
            gr_create_room m = {.user = GR_STR("@a:here"), .shards = {shards, sizeof shards}};
            m.request = gr_arena_printf(r->long_arena, "{\"room_version\":\"%d\",\"name\":\"%d\"}", version, i);
            rig_ask(r, &gr_type_create_room, &m);
            assert_true(gr_address_shard(asked(r, &gr_type_room_create)->to) < GR_SHARDS / 4);
            rig_free(&r);
        }
}

static void who_waits_is_told_at_once_that_a_node_is_out_of_reach(void **state)
{
    (void)state;
    rig *r = flow_asked("{\"room_alias_name\":\"x\"}");
    answer(r, GR_OK);
    answer(r, GR_UNAVAILABLE);         /* there is no room: all is given back */
    assert_int_equal(r->err.code, GR_UNAVAILABLE);
    assert_int_equal(rig_count(r, GR_POST, &gr_type_name_release), 1);
    rig_free(&r);
    r = flow_asked("{\"room_alias_name\":\"x\"}");
    answer(r, GR_OK);
    answer(r, GR_OK);
    answer(r, GR_UNAVAILABLE);         /* the room is there, and the alias will follow */
    assert_ptr_equal(r->reply_type, &gr_type_result);
    rig_handle(
        r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = GR_STR("step")}});
    asked(r, &gr_type_name_confirm);
    rig_free(&r);
}

static void a_late_answer_to_an_earlier_step_is_ignored(void **state)
{
    (void)state;
    rig *r = flow_asked("{\"room_alias_name\":\"x\"}");
    gr_resume early = asked(r, &gr_type_name_claim)->resume;
    answer(r, GR_OK);
    rig_reply(r, &gr_type_done, &(gr_done){0}, &early, gr_ok());
    assert_null(r->ctx.first);
    assert_int_equal(r->write_count, 0);
    rig_free(&r);
}

static void invites_beyond_the_batch_are_sent_one_by_one(void **state)
{
    (void)state;
    gr_buf request = {0};
    gr_buf_c(&request, "{\"invite\":[");
    for (int i = 0; i < 18; i++) gr_buf_printf(&request, "%s\"@user%d:here\"", i ? "," : "", i);
    gr_buf_c(&request, "]}");
    gr_buf_char(&request, 0);
    rig *r = flow_asked(request.ptr);
    answer(r, GR_OK);
    assert_text(((const gr_room_member *)rig_body(r, asked(r, &gr_type_room_member)))->target,
                "@user16:here");
    answer(r, GR_FORBIDDEN);
    assert_text(((const gr_room_member *)rig_body(r, asked(r, &gr_type_room_member)))->target,
                "@user17:here");
    answer(r, GR_OK);
    assert_ptr_equal(r->reply_type, &gr_type_result);
    gr_buf_free(&request);
    rig_free(&r);
}

static void check_refused(const char *request, gr_errcode code)
{
    rig *r = flow_asked(request);
    if (r->err.code != code) fail_msg("%s: %s", request, gr_errcode_wire(r->err.code));
    assert_int_equal(r->write_count, 0);
    rig_free(&r);
}

static void a_malformed_request_is_refused_at_once(void **state)
{
    (void)state;
    check_refused("[]", GR_BAD_JSON);
    check_refused("{\"name\":1}", GR_BAD_JSON);
    check_refused("{\"visibility\":\"hidden\"}", GR_INVALID_PARAM);
    check_refused("{\"preset\":\"x\"}", GR_INVALID_PARAM);
    check_refused("{\"room_version\":\"99\"}", GR_UNSUPPORTED_ROOM_VERSION);
    check_refused("{\"room_alias_name\":\"a:b\"}", GR_INVALID_PARAM);
    check_refused("{\"invite\":[\"bob\"]}", GR_INVALID_PARAM);
    check_refused("{\"initial_state\":[{}]}", GR_BAD_JSON);
    check_refused("{\"initial_state\":[{\"type\":\"x\",\"content\":1}]}", GR_BAD_JSON);
}

static gr_str content_of(gr_arena *a, const char *request)
{
    gr_create_request r;
    gr_env env = {.server_name = GR_STR("here"), .default_room_version = GR_STR("12")};
    assert_false(gr_failed(gr_create_request_read(a, &env, gr_str_c(request), &r)));
    const gr_json *content;
    assert_false(
        gr_failed(gr_json_parse(a, gr_create_content(a, &r, GR_STR("@a:here")), GR_JSON_LAX, &content)));
    return gr_json_printed(a, content);
}

static void the_create_event_says_who_may_do_what_for_ever(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    assert_text(content_of(a, "{}"), "{\"room_version\":\"12\"}");
    assert_text(
        content_of(a,
                   "{\"room_version\":\"10\",\"creation_content\":{\"m.federate\":false,\"creator\":\"@x:y\","
                   "\"room_version\":\"1\",\"type\":\"m.space\"}}"),
        "{\"creator\":\"@a:here\",\"m.federate\":false,\"room_version\":\"10\",\"type\":\"m.space\"}");
    assert_text(
        content_of(a, "{\"preset\":\"trusted_private_chat\",\"invite\":[\"@b:here\",\"@a:here\",\"@b:here\"],"
                      "\"creation_content\":{\"additional_creators\":[\"@c:here\"]}}"),
        "{\"additional_creators\":[\"@c:here\",\"@b:here\"],\"room_version\":\"12\"}");
    gr_arena_free(&a);
}

/* Somebody who makes the same room twice within a millisecond gets two rooms. */
static void equal_rooms_made_at_once_are_two(void **state)
{
    (void)state;
    gr_str ids[2];
    rig *r[2];
    for (int i = 0; i < 2; i++) {
        r[i] = rig_new(&gr_create_kind, i ? "create/f2" : "create/f1");
        r[i]->random = (uint64_t)i;
        rig_ask(r[i], &gr_type_create_room, &(gr_create_room){.user = GR_STR("@a:here"), .request = GR_STR("{}")});
        const gr_room_create *m = rig_body(r[i], asked(r[i], &gr_type_room_create));
        gr_event event;
        assert_false(gr_failed(gr_event_parse(r[i]->arena, gr_room_version_find(m->version), m->create_event, &event)));
        assert_int_equal(event.origin_server_ts, 1700000000000);
        assert_int_equal(event.content->count, 1);
        ids[i] = event.room_id;
    }
    assert_false(gr_str_eq(ids[0], ids[1]));
    for (int i = 0; i < 2; i++) rig_free(&r[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_room_is_made_and_answered),
        cmocka_unit_test(an_alias_is_reserved_before_and_confirmed_after),
        cmocka_unit_test(a_taken_alias_makes_no_room),
        cmocka_unit_test(a_room_that_is_refused_frees_the_alias),
        cmocka_unit_test(a_step_is_repeated_after_a_restart_with_the_same_room),
        cmocka_unit_test(a_room_is_made_where_a_node_can_be_reached),
        cmocka_unit_test(who_waits_is_told_at_once_that_a_node_is_out_of_reach),
        cmocka_unit_test(a_late_answer_to_an_earlier_step_is_ignored),
        cmocka_unit_test(invites_beyond_the_batch_are_sent_one_by_one),
        cmocka_unit_test(a_malformed_request_is_refused_at_once),
        cmocka_unit_test(the_create_event_says_who_may_do_what_for_ever),
        cmocka_unit_test(equal_rooms_made_at_once_are_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
