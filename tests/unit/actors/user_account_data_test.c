/* user_account_data_test.c - account data, tags, filters and push rules of a user, and how /sync tells of them. */
#include "tests/unit/actors/feed_rig.h"

static rig user(void)
{
    rig r = rig_new();
    make_user(&r);
    return r;
}

static void put(rig *r, const char *room, const char *type, const char *content)
{
    gr_user_account_data_put m = {
        .room_id = gr_str_c(room), .type = gr_str_c(type), .content = gr_str_c(content)};
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_account_data_put, &m);
}

static gr_str result(rig *r)
{
    const gr_result *m = gr_stage_replied(r->s, &gr_type_result);
    return m ? m->body : (gr_str){0};
}

static gr_str get(rig *r, const char *room, const char *type)
{
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_account_data_get,
                 &(gr_user_account_data_get){.room_id = gr_str_c(room), .type = gr_str_c(type)});
    return result(r);
}

static bool contains(gr_str text, const char *part)
{
    return memmem(text.ptr, text.size, part, strlen(part)) != NULL;
}

/* --- account data --------------------------------------------------------------------------------------------- */
static void account_data_is_kept_per_room_and_globally(void **state)
{
    (void)state;
    rig r = user();
    put(&r, "", "m.direct", "{\"@b:x\":[\"!a:x\"]}");
    put(&r, ROOM, "m.direct", "{\"room\":1}");
    assert_text(get(&r, "", "m.direct"), "{\"@b:x\":[\"!a:x\"]}");
    assert_text(get(&r, ROOM, "m.direct"), "{\"room\":1}");
    gr_stage_reload(r.s);
    put(&r, "", "m.direct", "{}");
    assert_text(get(&r, "", "m.direct"), "{}");
    get(&r, "", "m.other");
    assert_int_equal(gr_stage_error(r.s).code, GR_NOT_FOUND);
    rig_free(&r);
}

static void account_data_that_is_no_object_or_not_the_clients_is_refused(void **state)
{
    (void)state;
    rig r = user();
    put(&r, "", "m.x", "[]");
    assert_int_equal(gr_stage_error(r.s).code, GR_BAD_JSON);
    put(&r, "", "m.x", "{");
    assert_int_equal(gr_stage_error(r.s).code, GR_NOT_JSON);
    put(&r, "", "", "{}");
    assert_int_equal(gr_stage_error(r.s).code, GR_INVALID_PARAM);
    put(&r, "", "m.push_rules", "{}");
    assert_int_equal(gr_stage_error(r.s).code, GR_BAD_JSON);
    assert_int_equal(gr_stage_writes(r.s), 0);
    rig_free(&r);
}

static void sync_tells_account_data_once_with_its_newest_content(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    const gr_user_changes *c = sync_now(&r, (gr_str){0});
    assert_true(contains(c->account_data, "m.push_rules"));
    gr_str next = c->next_batch;
    assert_int_equal(sync_now(&r, next)->account_data.size, 0);
    put(&r, "", "m.x", "{\"n\":1}");
    put(&r, "", "m.x", "{\"n\":2}");
    put(&r, ROOM, "m.y", "{\"n\":3}");
    c = sync_now(&r, next);
    assert_text(c->account_data, "[{\"content\":{\"n\":2},\"type\":\"m.x\"}]");
    assert_text(room_in(c, ROOM)->account_data, "[{\"content\":{\"n\":3},\"type\":\"m.y\"}]");
    assert_false(room_in(c, ROOM)->events);
    c = sync_now(&r, c->next_batch);
    assert_int_equal(c->account_data.size + c->rooms.count, 0);
    rig_free(&r);
}

static void a_room_joined_again_is_told_with_all_its_account_data(void **state)
{
    (void)state;
    rig r = user();
    membership(&r, ROOM, "join");
    put(&r, ROOM, "m.y", "{\"n\":3}");
    membership(&r, ROOM, "leave");
    gr_str next = sync_now(&r, (gr_str){0})->next_batch;
    membership(&r, ROOM, "join");
    put(&r, ROOM, "m.z", "{}");
    assert_text(room_in(sync_now(&r, next), ROOM)->account_data,
                "[{\"content\":{\"n\":3},\"type\":\"m.y\"},{\"content\":{},\"type\":\"m.z\"}]");
    rig_free(&r);
}

static void account_data_answers_who_waits(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = sync_now(&r, (gr_str){0})->next_batch;
    assert_null(sync_within(&r, next, 1000));
    put(&r, "", "m.x", "{}");
    assert_true(contains(answer_of(&r)->account_data, "m.x"));
    rig_free(&r);
}

static void ignored_users_go_along_with_every_answer(void **state)
{
    (void)state;
    rig r = user();
    put(&r, "", "m.ignored_user_list", "{\"ignored_users\":{\"@spam:x\":{},\"@troll:x\":{}}}");
    const gr_user_changes *c = sync_now(&r, (gr_str){0});
    assert_int_equal(c->ignored.count, 2);
    assert_text(c->ignored.at[0], "@spam:x");
    put(&r, "", "m.ignored_user_list", "{\"ignored_users\":7}");
    assert_int_equal(sync_now(&r, (gr_str){0})->ignored.count, 0);
    rig_free(&r);
}

/* --- tags ------------------------------------------------------------------------------------------------------ */
static void tag(rig *r, const char *name, const char *content)
{
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_tag_put,
                 &(gr_user_tag_put){GR_STR(ROOM), gr_str_c(name), gr_str_c(content), 0});
}

static gr_str tags(rig *r)
{
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_tag_list, &(gr_user_tag_list){.room_id = GR_STR(ROOM)});
    return result(r);
}

static void tags_are_account_data_of_their_room(void **state)
{
    (void)state;
    rig r = user();
    assert_text(tags(&r), "{\"tags\":{}}");
    tag(&r, "m.favourite", "{\"order\":0.25}");
    tag(&r, "u.work", "{}");
    assert_text(tags(&r), "{\"tags\":{\"m.favourite\":{\"order\":0.25},\"u.work\":{}}}");
    assert_text(get(&r, ROOM, "m.tag"), tags(&r).ptr);
    gr_user_tag_delete m = {.room_id = GR_STR(ROOM), .tag = GR_STR("m.favourite")};
    gr_stage_ask(r.s, &gr_type_user_tag_delete, &m);
    assert_text(tags(&r), "{\"tags\":{\"u.work\":{}}}");
    gr_stage_ask(r.s, &gr_type_user_tag_delete, &m);
    assert_non_null(gr_stage_replied(r.s, &gr_type_done));
    assert_int_equal(gr_stage_writes(r.s), 0);
    tag(&r, "x", "{\"order\":\"first\"}");
    assert_int_equal(gr_stage_error(r.s).code, GR_BAD_JSON);
    rig_free(&r);
}

/* --- filters --------------------------------------------------------------------------------------------------- */
static gr_str filter(rig *r, const char *text)
{
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_filter_put, &(gr_user_filter_put){.filter = gr_str_c(text)});
    return result(r);
}

static void the_same_filter_has_the_same_id(void **state)
{
    (void)state;
    rig r = user();
    gr_str id = filter(&r, "{\"room\":{\"timeline\":{\"limit\":10}},\"x\":1}");
    assert_true(gr_stage_writes(r.s) > 0);
    assert_text(filter(&r, "{ \"x\": 1, \"room\": {\"timeline\": {\"limit\": 10}} }"), id.ptr);
    assert_int_equal(gr_stage_writes(r.s), 0);
    gr_str name = gr_str_of(id.ptr + strlen("{\"filter_id\":\""), 16);
    gr_stage_ask(r.s, &gr_type_user_filter_get, &(gr_user_filter_get){.filter_id = name});
    assert_text(result(&r), "{\"room\":{\"timeline\":{\"limit\":10}},\"x\":1}");
    gr_stage_ask(r.s, &gr_type_user_filter_get, &(gr_user_filter_get){.filter_id = GR_STR("none")});
    assert_int_equal(gr_stage_error(r.s).code, GR_NOT_FOUND);
    rig_free(&r);
}

static void bad_filters_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"[]",
                                      "{\"presence\":\"no\"}",
                                      "{\"room\":[]}",
                                      "{\"room\":{\"timeline\":7}}",
                                      "{\"room\":{\"timeline\":{\"limit\":-1}}}",
                                      "{\"room\":{\"timeline\":{\"limit\":\"1\"}}}",
                                      "{\"room\":{\"rooms\":\"!a:b\"}}",
                                      "{\"room\":{\"not_rooms\":[\"#a:b\"]}}",
                                      "{\"event_format\":\"other\"}",
                                      "{\"event_fields\":[7]}",
                                      "{\"account_data\":{\"types\":[null]}}",
                                      "{\"presence\":{\"senders\":[\"nobody\"]}}",
                                      "{\"room\":{\"include_leave\":1}}",
                                      "{\"room\":{\"state\":{\"lazy_load_members\":\"true\"}}}"};
    rig r = user();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        filter(&r, bad[i]);
        if (gr_stage_error(r.s).code != GR_BAD_JSON) fail_msg("%s", bad[i]);
    }
    rig_free(&r);
}

/* --- push rules ------------------------------------------------------------------------------------------------ */
static void rule(rig *r, const char *kind, const char *id, const char *attribute, const char *body)
{
    gr_user_push_rule_put m = {.kind = gr_str_c(kind),
                               .rule_id = gr_str_c(id),
                               .attribute = gr_str_c(attribute),
                               .body = gr_str_c(body)};
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_push_rule_put, &m);
}

static void a_changed_rule_is_posted_to_the_feed_and_told_by_sync(void **state)
{
    (void)state;
    rig r = user();
    gr_str next = sync_now(&r, (gr_str){0})->next_batch;
    rule(&r, "content", "tea", "", "{\"pattern\":\"tea\",\"actions\":[\"notify\"]}");
    const gr_stage_effect *post = gr_stage_find(r.s, GR_POST, &gr_type_feed_rules, 0);
    assert_non_null(post);
    assert_text(post->to, r.feed);
    assert_true(contains(((const gr_feed_rules *)post->body)->rules, "\"pattern\":\"tea\""));
    const gr_user_changes *c = sync_now(&r, next);
    assert_true(contains(c->account_data, "\"pattern\":\"tea\""));
    next = c->next_batch;
    assert_int_equal(sync_now(&r, next)->account_data.size, 0);
    gr_stage_ask(r.s, &gr_type_user_push_rule_delete,
                 &(gr_user_push_rule_delete){GR_STR("content"), GR_STR("tea"), 0});
    post = gr_stage_find(r.s, GR_POST, &gr_type_feed_rules, 0);
    assert_int_equal(((const gr_feed_rules *)post->body)->rules.size, 0);
    assert_true(
        contains(sync_now(&r, next)->account_data, "m.push_rules")); /* the defaults again are news too */
    rig_free(&r);
}

static void rules_are_shown_as_account_data_and_by_path(void **state)
{
    (void)state;
    rig r = user();
    rule(&r, "override", ".m.rule.master", "enabled", "{\"enabled\":true}");
    assert_non_null(gr_stage_replied(r.s, &gr_type_done));
    gr_stage_ask(r.s, &gr_type_user_push_rules_get,
                 &(gr_user_push_rules_get){.path = GR_STR("global/override/.m.rule.master/enabled")});
    assert_text(result(&r), "{\"enabled\":true}");
    assert_true(gr_str_starts(get(&r, "", "m.push_rules"),
                              GR_STR("{\"global\":{\"override\":[{\"rule_id\":\".m.rule.master\"")));
    rule(&r, "override", "none", "enabled", "{\"enabled\":true}");
    assert_int_equal(gr_stage_error(r.s).code, GR_NOT_FOUND);
    rule(&r, "override", ".m.rule.master", "enabled",
         "{\"enabled\":true}"); /* nothing new: nothing written */
    assert_int_equal(gr_stage_writes(r.s), 0);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(account_data_is_kept_per_room_and_globally),
        cmocka_unit_test(account_data_that_is_no_object_or_not_the_clients_is_refused),
        cmocka_unit_test(sync_tells_account_data_once_with_its_newest_content),
        cmocka_unit_test(a_room_joined_again_is_told_with_all_its_account_data),
        cmocka_unit_test(account_data_answers_who_waits),
        cmocka_unit_test(ignored_users_go_along_with_every_answer),
        cmocka_unit_test(tags_are_account_data_of_their_room),
        cmocka_unit_test(the_same_filter_has_the_same_id),
        cmocka_unit_test(bad_filters_are_refused),
        cmocka_unit_test(a_changed_rule_is_posted_to_the_feed_and_told_by_sync),
        cmocka_unit_test(rules_are_shown_as_account_data_and_by_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
