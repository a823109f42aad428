/* upgrade_test.c - the upgrade of a room: its steps, each repeatable, and what the old room gives along. */
#include "tests/unit/actors/room_rig.h"

#include "actors/create/upgrade.h"
#include "proto/event.h"

/* --- the flow ------------------------------------------------------------------------------------------ */
static void upgrade_ask(rig *r, const char *user, const char *version)
{
    gr_upgrade_room m = {.user = gr_str_c(user), .version = gr_str_c(version)};
    rig_ask(r, &gr_type_upgrade_room, &m);
}

static const gr_effect *asked(rig *r, const gr_type *type)
{
    const gr_effect *e = rig_effect(r, GR_ASK, NULL, 0);
    assert_non_null(e);
    assert_string_equal(e->type->name, type->name);
    return e;
}

static void answer_with(rig *r, const gr_type *type, const void *body)
{
    gr_resume resume = rig_effect(r, GR_ASK, NULL, 0)->resume;
    rig_reply(r, type, body, &resume, gr_ok());
}

static void answer(rig *r) { answer_with(r, &gr_type_done, &(gr_done){0}); }

static void refuse(rig *r, gr_errcode code)
{
    gr_resume resume = rig_effect(r, GR_ASK, NULL, 0)->resume;
    rig_reply(r, &gr_type_error, &(gr_error){.code = code}, &resume, gr_fail(code, "no"));
}

static void fire(rig *r)
{
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = GR_STR("step")}});
}

static void look(rig *r)
{
    gr_room_replacement body = {.create = GR_STR("{\"predecessor\":{\"room_id\":\"!old:here\"},\"room_version\":\"11\"}"),
                                .request = GR_STR("{}"),
                                .aliases = {(gr_str[]){GR_STR("#x:here")}, 1},
                                .made_by = {(gr_str[]){GR_STR("@b:here")}, 1},
                                .published = true};
    asked(r, &gr_type_room_replace);
    answer_with(r, &gr_type_room_replacement, &body);
}

static rig *flow_new(void)
{
    rig *r = rig_new(&gr_upgrade_kind, "upgrade/!old:here");
    upgrade_ask(r, "@a:here", "11");
    return r;
}

static void the_new_room_lies_where_a_node_can_be_reached(void **state)
{
    (void)state;
    gr_shard_set reached = {0};
    memset(reached.bits, 0xff, sizeof reached / 4);
    for (int i = 0; i < 20; i++) {
        rig *r = rig_new(&gr_upgrade_kind, "upgrade/!old:here");
        gr_upgrade_room m = {.user = GR_STR("@a:here"), .version = GR_STR("11"),
                             .shards = gr_str_of(&reached, sizeof reached)};
        rig_ask(r, &gr_type_upgrade_room, &m);
        look(r);
        assert_true(gr_address_shard(asked(r, &gr_type_room_create)->to) < GR_SHARDS / 4);
        rig_free(&r);
    }
}

static void the_old_room_is_closed_before_anything_moves(void **state)
{
    (void)state;
    rig *r = flow_new();
    look(r);
    const gr_effect *e = asked(r, &gr_type_room_create);
    gr_str made = gr_arena_str(r->long_arena, gr_address_id(e->to));
    answer(r);
    const gr_room_close *close = rig_body(r, asked(r, &gr_type_room_close));
    assert_true(gr_str_eq(close->replacement, made));
    answer(r);
    asked(r, &gr_type_room_children);
    answer_with(r, &gr_type_room_children_page, &(gr_room_children_page){.children = GR_STR("[]")});
    assert_text(asked(r, &gr_type_name_move)->to, "name/#x:here");
    answer(r);
    assert_true(((const gr_room_alias *)rig_body(r, asked(r, &gr_type_room_alias)))->add);
    answer(r);
    const gr_room_alias *off = rig_body(r, asked(r, &gr_type_room_alias));
    assert_false(off->add);
    assert_text(off->user, "@b:here");
    answer(r);
    assert_true(((const gr_room_publish *)rig_body(r, asked(r, &gr_type_room_publish)))->publish);
    answer(r);
    assert_false(((const gr_room_publish *)rig_body(r, asked(r, &gr_type_room_publish)))->publish);
    answer(r);
    gr_str want = gr_arena_printf(r->long_arena, "{\"replacement_room\":\"%.*s\"}", GR_ARG(made));
    assert_ptr_equal(r->reply_type, &gr_type_result);
    assert_true(gr_str_eq(((const gr_result *)r->reply)->body, want));
    upgrade_ask(r, "@a:here", "11");
    assert_true(gr_str_eq(((const gr_result *)r->reply)->body, want));
    rig_free(&r);
}

static void a_step_is_repeated_after_a_restart_with_the_same_new_room(void **state)
{
    (void)state;
    rig *r = flow_new();
    look(r);
    gr_str to = gr_arena_str(r->long_arena, asked(r, &gr_type_room_create)->to);
    rig_reload(r);
    fire(r);
    assert_true(gr_str_eq(asked(r, &gr_type_room_create)->to, to));
    refuse(r, GR_UNAVAILABLE);
    assert_null(rig_effect(r, GR_ASK, NULL, 0));
    fire(r);
    answer(r);
    asked(r, &gr_type_room_close);
    rig_free(&r);
}

static void who_waits_is_told_that_a_node_is_out_of_reach_and_joins_again(void **state)
{
    (void)state;
    rig *r = flow_new();
    look(r);
    refuse(r, GR_UNAVAILABLE);
    assert_int_equal(r->err.code, GR_UNAVAILABLE);
    upgrade_ask(r, "@a:here", "11");
    assert_null(r->reply_type);        /* it goes on by itself, and answers in the end */
    fire(r);
    asked(r, &gr_type_room_create);
    rig_free(&r);
}

static void a_refusal_of_the_old_room_ends_it(void **state)
{
    (void)state;
    rig *r = flow_new();
    refuse(r, GR_FORBIDDEN);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    upgrade_ask(r, "@a:here", "11");
    asked(r, &gr_type_room_replace);
    rig_free(&r);
}

static void a_room_is_upgraded_once_at_a_time(void **state)
{
    (void)state;
    rig *r = flow_new();
    upgrade_ask(r, "@b:here", "11");
    assert_int_equal(r->err.code, GR_UNAVAILABLE);
    upgrade_ask(r, "@a:here", "11");
    assert_null(rig_effect(r, GR_ASK, NULL, 0));
    assert_null(r->reply_type);
    rig_free(&r);
}

/* --- the old room -------------------------------------------------------------------------------------- */
static const gr_room_replacement *replacement(rig *r, const char *user, const char *version)
{
    rig_ask(r, &gr_type_room_replace, &(gr_room_replace){.user = gr_str_c(user), .version = gr_str_c(version)});
    return r->reply_type == &gr_type_room_replacement ? r->reply : NULL;
}

static const gr_json *parsed(rig *r, gr_str text)
{
    const gr_json *json = NULL;
    assert_false(gr_failed(gr_json_parse(r->arena, text, GR_JSON_LAX, &json)));
    return json;
}

static void creators_get_the_highest_level_where_they_have_no_privilege(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"12", "{}"});
    const gr_room_replacement *m = replacement(r, "@a:here", "11");
    assert_non_null(m);
    assert_int_equal(m->powers.size, 0);
    const gr_json *users = gr_json_path(parsed(r, m->request), "power_level_content_override/users");
    assert_int_equal(gr_json_integer(gr_json_get(users, "@a:here"), 0), 150); /* what a tombstone needs there */
    rig_free(&r);
}

static void new_creators_are_not_listed(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"10", "{}"});
    const gr_room_replacement *m = replacement(r, "@a:here", "12");
    assert_int_equal(m->powers.size, 0);
    const gr_json *levels = gr_json_get(parsed(r, m->request), "power_level_content_override");
    assert_int_equal(gr_json_get(levels, "users")->count, 0);
    rig_free(&r);
}

static void join_rules_that_the_version_lacks_fall_back_to_invites(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    room_send(r, "@a:here", "m.room.join_rules", "", "{\"join_rule\":\"knock\"}", "");
    assert_ok(r);
    const gr_room_replacement *m = replacement(r, "@a:here", "6");
    const gr_json *rules = gr_json_get(parsed(r, m->request), "initial_state")->items;
    assert_text(gr_json_text(gr_json_get(rules, "content"), "join_rule"), "invite");
    m = replacement(r, "@a:here", "7");
    rules = gr_json_get(parsed(r, m->request), "initial_state")->items;
    assert_text(gr_json_text(gr_json_get(rules, "content"), "join_rule"), "knock");
    rig_free(&r);
}

static void closing_twice_sends_one_tombstone(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    gr_room_close m = {.user = GR_STR("@a:here"), .replacement = GR_STR("!new:here")};
    rig_ask(r, &gr_type_room_close, &m);
    assert_ok(r);
    assert_text(room_state(r, "m.room.tombstone", "", "replacement_room"), "\"!new:here\"");
    assert_text(room_state(r, "m.room.power_levels", "", "events_default"), "50");
    uint64_t next = room_of(r)->next_number;
    rig_ask(r, &gr_type_room_close, &m);
    assert_ok(r);
    assert_int_equal(room_of(r)->next_number, next);
    rig_free(&r);
}

static void children_come_in_pages_without_those_replaced(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"creation_content\":{\"type\":\"m.space\"}}"});
    for (int i = 0; i < 20; i++) {
        gr_str key = gr_arena_printf(r->long_arena, "!c%02d:here", i);
        room_send(r, "@a:here", "m.space.child", key.ptr, "{\"via\":[\"here\"]}", "");
        room_send(r, "@a:here", "m.space.child", key.ptr, "{\"via\":[\"there\"]}", "");
    }
    rig_ask(r, &gr_type_room_children, &(gr_room_children){0});
    const gr_room_children_page *page = r->reply;
    assert_text(page->next, "!c15:here");
    assert_int_equal(parsed(r, page->children)->count, 16);
    gr_str after = gr_arena_str(r->long_arena, page->next);
    rig_ask(r, &gr_type_room_children, &(gr_room_children){.after = after});
    page = r->reply;
    assert_int_equal(page->next.size, 0);
    const gr_json *rest = parsed(r, page->children);
    assert_int_equal(rest->count, 4);
    assert_text(gr_json_text(&rest->items[0], "state_key"), "!c16:here");
    assert_text(gr_json_printed(r->arena, gr_json_get(gr_json_get(&rest->items[0], "content"), "via")), "[\"there\"]");
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_new_room_lies_where_a_node_can_be_reached),
        cmocka_unit_test(the_old_room_is_closed_before_anything_moves),
        cmocka_unit_test(a_step_is_repeated_after_a_restart_with_the_same_new_room),
        cmocka_unit_test(who_waits_is_told_that_a_node_is_out_of_reach_and_joins_again),
        cmocka_unit_test(a_refusal_of_the_old_room_ends_it),
        cmocka_unit_test(a_room_is_upgraded_once_at_a_time),
        cmocka_unit_test(creators_get_the_highest_level_where_they_have_no_privilege),
        cmocka_unit_test(new_creators_are_not_listed),
        cmocka_unit_test(join_rules_that_the_version_lacks_fall_back_to_invites),
        cmocka_unit_test(closing_twice_sends_one_tombstone),
        cmocka_unit_test(children_come_in_pages_without_those_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
