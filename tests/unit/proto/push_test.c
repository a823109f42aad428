/* push_test.c - push rules: the defaults, conditions, order, and changes by users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/push_rule.h"

static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static const gr_json *json(const char *text)
{
    const gr_json *out = NULL;
    assert_false(gr_failed(gr_json_parse(arena, gr_str_c(text), GR_JSON_LAX, &out)));
    return out;
}

#define ME "@me:here"

static gr_push_result result_of(const char *stored, const gr_push_who *who, const char *event)
{
    return gr_push_evaluate(gr_push_compile(arena, who->user, gr_str_c(stored)), json(event), who);
}

static const char *rule_of(const char *event)
{
    gr_push_who who = {.user = GR_STR(ME), .members = 5, .sender_power = 50, .room_notify_power = 50};
    return gr_arena_str(arena, result_of("", &who, event).rule_id).ptr;
}

#define MESSAGE(body) \
    "{\"type\":\"m.room.message\",\"sender\":\"@a:here\",\"room_id\":\"!r:here\",\"content\":{\"body\":" \
    "\"" body "\"}}"

static void assert_text(gr_str got, const char *want)
{
    if (!gr_str_is(got, want)) fail_msg("got %.*s, wanted %s", GR_ARG(got), want);
}

/* --- the server's own rules
 * ----------------------------------------------------------------------------------- */
static void events_meet_the_default_rule_the_specification_means_for_them(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *event;
    } cases[] = {
        {".m.rule.message", MESSAGE("hello")},
        {".m.rule.suppress_notices",
         "{\"type\":\"m.room.message\",\"content\":{\"msgtype\":\"m.notice\",\"body\":\"x\"}}"},
        {".m.rule.invite_for_me",
         "{\"type\":\"m.room.member\",\"state_key\":\"" ME "\",\"content\":{\"membership\":\"invite\"}}"},
        {".m.rule.member_event",
         "{\"type\":\"m.room.member\",\"state_key\":\"@b:x\",\"content\":{\"membership\":\"invite\"}}"},
        {".m.rule.member_event",
         "{\"type\":\"m.room.member\",\"state_key\":\"" ME "\",\"content\":{\"membership\":\"join\"}}"},
        {".m.rule.is_user_mention", "{\"type\":\"m.room.message\",\"content\":{\"body\":\"x\",\"m.mentions\":"
                                    "{\"user_ids\":[\"@b:x\",\"" ME "\"]}}}"},
        {".m.rule.message",
         "{\"type\":\"m.room.message\",\"content\":{\"m.mentions\":{\"user_ids\":[\"@b:x\"]}}}"},
        {".m.rule.is_room_mention",
         "{\"type\":\"m.room.message\",\"content\":{\"m.mentions\":{\"room\":true}}}"},
        {".m.rule.message", "{\"type\":\"m.room.message\",\"content\":{\"m.mentions\":{\"room\":\"true\"}}}"},
        {".m.rule.tombstone", "{\"type\":\"m.room.tombstone\",\"state_key\":\"\",\"content\":{}}"},
        {"", "{\"type\":\"m.room.tombstone\",\"content\":{}}"},
        {".m.rule.reaction", "{\"type\":\"m.reaction\",\"content\":{}}"},
        {".m.rule.room.server_acl", "{\"type\":\"m.room.server_acl\",\"state_key\":\"\",\"content\":{}}"},
        {".m.rule.suppress_edits", "{\"type\":\"m.room.message\",\"content\":{\"m.relates_to\":{\"rel_type\":"
                                   "\"m.replace\",\"event_id\":\"$e\"}}}"},
        {".m.rule.call", "{\"type\":\"m.call.invite\",\"content\":{}}"},
        {".m.rule.encrypted", "{\"type\":\"m.room.encrypted\",\"content\":{}}"},
        {".m.rule.message", MESSAGE(ME " and me")}, /* names in the text mean nothing since 1.17 */
        {"", "{\"type\":\"m.room.topic\",\"state_key\":\"\",\"content\":{\"topic\":\"x\"}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(rule_of(cases[i].event), cases[i].rule);
}

static void two_members_hear_their_messages(void **state)
{
    (void)state;
    gr_push_who who = {.user = GR_STR(ME), .members = 2};
    gr_push_result got = result_of("", &who, MESSAGE("hello"));
    assert_text(got.rule_id, ".m.rule.room_one_to_one");
    assert_text(got.sound, "default");
    assert_true(got.notify && !got.highlight);
    assert_text(result_of("", &who, "{\"type\":\"m.room.encrypted\",\"content\":{}}").rule_id,
                ".m.rule.encrypted_room_one_to_one");
}

static void a_room_mention_needs_power(void **state)
{
    (void)state;
    const char *event = "{\"type\":\"m.room.message\",\"content\":{\"m.mentions\":{\"room\":true}}}";
    gr_push_who who = {.user = GR_STR(ME), .members = 5, .sender_power = 49, .room_notify_power = 50};
    assert_text(result_of("", &who, event).rule_id, ".m.rule.message");
    who.sender_power = 50;
    assert_true(result_of("", &who, event).highlight);
}

static void nobody_in_particular_is_never_named(void **state)
{
    (void)state;
    gr_push_who who = {.members = 5};
    const char *mention = "{\"type\":\"m.room.message\",\"content\":{\"m.mentions\":{\"user_ids\":[\"\"]}}}";
    assert_text(result_of("", &who, mention).rule_id, ".m.rule.message");
    assert_ptr_equal(gr_push_compile(arena, (gr_str){0}, (gr_str){0}),
                     gr_push_compile(arena, (gr_str){0}, (gr_str){0}));
}

/* --- globs and conditions
 * -------------------------------------------------------------------------------------- */
static void globs_match_as_the_specification_shows(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool words, match;
    } cases[] = {
        {"lunc?*", "Lunch plans", false, true},
        {"lunc?*", "LUNCH", false, true},
        {"lunc?*", " lunch", false, false},
        {"lunc?*", "lunc", false, false},
        {"ex*ple", "An example event.", true, true},
        {"ex*ple", "exple", true, true},
        {"ex*ple", "An exciting triple-whammy", true, true},
        {"ex*ple", "examples", true, false},
        {"ex*ple", "vexample", true, false},
        {"cake", "a cake_walk", true, false},
        {"cake", "cheese-cake!", true, true},
        {"cake", "pancake cake", true, true},
        {"*", "", false, true},
        {"", "", false, true},
        {"", "x", false, false},
        {"\xc3\xbc?r", "\xc3\x9c\xc3\xa4R", false,
         true}, /* one '?' for a character of two bytes, folded letters */
        {"a*b*c", "xx a1b2c yy", true, true},
        {"a*b*c", "xx a1b2cx yy", true, false},
        {"*cake", "pancake", true, true},
        {"a*a*a", "aaaa", false, true},
        {"\xd0\x9f\xd1\x80", "\xd0\xbf\xd0\xa0", false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (gr_push_glob(gr_str_c(cases[i].pattern), gr_str_c(cases[i].text), cases[i].words, false)
            != cases[i].match)
            fail_msg("'%s' on '%s'", cases[i].pattern, cases[i].text);
    assert_true(gr_push_glob(GR_STR("a*?"), GR_STR("hi A*?!"), true, true));
    assert_false(gr_push_glob(GR_STR("a*"), GR_STR("hi ab"), true, true));
}

/* Many stars over a long text are no way to keep the server busy. */
static void globs_with_many_stars_end_soon(void **state)
{
    (void)state;
    char text[20001], pattern[202] = {0};
    memset(text, 'a', 20000);
    text[20000] = 0;
    for (int i = 0; i < 100; i++) memcpy(pattern + 2 * i, "a*", 2);
    pattern[200] = 'b';
    for (int i = 0; i < 100; i++) text[i * 200] = ' ';
    assert_false(gr_push_glob(gr_str_c(pattern), gr_str_c(text), true, false));
}

static bool holds(const char *condition, const char *event)
{
    gr_push_who who = {.user = GR_STR(ME), .displayname = GR_STR("Anne*"), .members = 10, .sender_power = 1};
    gr_push_condition c = gr_push_condition_read(arena, json(condition));
    return gr_push_holds(&c, gr_push_compile(arena, who.user, (gr_str){0}), json(event), &who);
}

static void conditions_hold_as_the_specification_shows(void **state)
{
    (void)state;
    static const struct {
        bool holds;
        const char *condition, *event;
    } cases[] = {
        {true, "{\"kind\":\"event_property_is\",\"key\":\"content.m\\\\.federate\",\"value\":true}",
         "{\"content\":{\"m.federate\":true}}"},
        {false, "{\"kind\":\"event_property_is\",\"key\":\"content.m\\\\.federate\",\"value\":true}",
         "{\"content\":{\"m.federate\":1}}"},
        {true, "{\"kind\":\"event_property_is\",\"key\":\"content.n\",\"value\":null}",
         "{\"content\":{\"n\":null}}"},
        {false, "{\"kind\":\"event_property_is\",\"key\":\"content.n\",\"value\":null}", "{\"content\":{}}"},
        {false, "{\"kind\":\"event_property_is\",\"key\":\"content.n\",\"value\":{}}",
         "{\"content\":{\"n\":{}}}"},
        {false, "{\"kind\":\"event_property_is\",\"key\":\"content.n\",\"value\":1}",
         "{\"content\":{\"n\":1.0}}"},
        {true, "{\"kind\":\"event_property_is\",\"key\":\"content.m\\\\\\\\foo\",\"value\":1}",
         "{\"content\":{\"m\\\\foo\":1}}"},
        {true, "{\"kind\":\"event_property_is\",\"key\":\"content.a\\\\x\",\"value\":1}",
         "{\"content\":{\"a\\\\x\":1}}"},
        {true, "{\"kind\":\"event_property_contains\",\"key\":\"content.l\",\"value\":\"#a:b\"}",
         "{\"content\":{\"l\":[1,\"#a:b\"]}}"},
        {false, "{\"kind\":\"event_property_contains\",\"key\":\"content.l\",\"value\":\"a:b\"}",
         "{\"content\":{\"l\":[\"#a:b\"]}}"},
        {false, "{\"kind\":\"event_property_contains\",\"key\":\"content.l\",\"value\":\"#a:b\"}",
         "{\"content\":{\"l\":\"#a:b\"}}"},
        {true, "{\"kind\":\"contains_display_name\"}", "{\"content\":{\"body\":\"hello anne*!\"}}"},
        {false, "{\"kind\":\"contains_display_name\"}", "{\"content\":{\"body\":\"hello annex\"}}"},
        {true, "{\"kind\":\"room_member_count\",\"is\":\"10\"}", "{}"},
        {true, "{\"kind\":\"room_member_count\",\"is\":\"==10\"}", "{}"},
        {true, "{\"kind\":\"room_member_count\",\"is\":\">=10\"}", "{}"},
        {true, "{\"kind\":\"room_member_count\",\"is\":\"<11\"}", "{}"},
        {false, "{\"kind\":\"room_member_count\",\"is\":\">10\"}", "{}"},
        {false, "{\"kind\":\"room_member_count\",\"is\":\"<=9\"}", "{}"},
        {false, "{\"kind\":\"room_member_count\",\"is\":\"many\"}", "{}"},
        {false, "{\"kind\":\"org.example.weather\"}", "{}"},
        {false, "{}", "{}"},
        {false, "{\"kind\":\"event_match\",\"key\":\"content.n\",\"pattern\":\"*\"}", "{\"content\":{}}"},
        {false, "{\"kind\":\"event_match\",\"key\":\"content.n\",\"pattern\":\"*\"}",
         "{\"content\":{\"n\":1}}"},
        {true, "{\"kind\":\"sender_notification_permission\",\"key\":\"room\"}", "{}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (holds(cases[i].condition, cases[i].event) != cases[i].holds)
            fail_msg("case %zu: %s", i, cases[i].condition);
}

/* --- changes by users
 * ------------------------------------------------------------------------------------------ */
static gr_str put(gr_str stored, const char *kind, const char *id, const char *body, const char *before,
                  const char *after)
{
    gr_str out;
    gr_err err = gr_push_put(arena, GR_STR(ME), stored, gr_str_c(kind), gr_str_c(id), json(body),
                             gr_str_c(before), gr_str_c(after), &out);
    if (gr_failed(err)) fail_msg("%s", err.text);
    return out;
}

static gr_str shown(gr_str stored, const char *path)
{
    gr_str out;
    gr_err err = gr_push_json(arena, GR_STR(ME), stored, gr_str_c(path), &out);
    if (gr_failed(err)) fail_msg("%s", err.text);
    return out;
}

static gr_str order(gr_str stored)
{
    const gr_json *list = json(shown(stored, "global/content/").ptr);
    gr_str out = {0};
    for (uint32_t i = 0; i < list->count; i++)
        out =
            gr_arena_printf(arena, "%.*s%.*s", GR_ARG(out), GR_ARG(gr_json_text(&list->items[i], "rule_id")));
    return out;
}

#define TEA "{\"pattern\":\"tea\",\"actions\":[\"notify\"]}"

static void rules_stand_where_before_and_after_put_them(void **state)
{
    (void)state;
    gr_str s = put((gr_str){0}, "content", "a", TEA, NULL, NULL);
    s = put(s, "content", "b", TEA, NULL, NULL);
    assert_text(order(s), "ba");
    s = put(s, "content", "c", TEA, NULL, "b");
    assert_text(order(s), "bca");
    s = put(s, "content", "d", TEA, "a", NULL);
    assert_text(order(s), "bcda");
    s = put(s, "content", "e", TEA, "b", "a");
    assert_text(order(s), "ebcda");
    assert_text(order(put(s, "content", "d", TEA, NULL, NULL)), "ebcda"); /* an update stays where it was */
    assert_text(order(put(s, "content", "d", TEA, "e", NULL)), "debca");
    gr_str out;
    gr_err err = gr_push_put(arena, GR_STR(ME), s, GR_STR("content"), GR_STR("f"), json(TEA),
                             GR_STR(".m.rule.message"), (gr_str){0}, &out);
    assert_int_equal(err.code, GR_REFUSED);
}

static void a_users_rules_come_before_the_servers_but_after_the_master(void **state)
{
    (void)state;
    gr_push_who who = {.user = GR_STR(ME), .members = 5};
    gr_str s = put((gr_str){0}, "override", "mine",
                   "{\"actions\":[\"notify\",{\"set_tweak\":\"highlight\"}],\"conditions\":[]}", NULL, NULL);
    assert_text(result_of(s.ptr, &who, "{\"type\":\"m.reaction\",\"content\":{}}").rule_id, "mine");
    gr_str out;
    assert_false(gr_failed(gr_push_attribute(arena, who.user, s, GR_STR("override"), GR_STR(".m.rule.master"),
                                             GR_STR("enabled"), json("{\"enabled\":true}"), &out)));
    gr_push_result got = result_of(out.ptr, &who, MESSAGE("x"));
    assert_text(got.rule_id, ".m.rule.master");
    assert_false(got.notify);
}

static void room_and_sender_rules_match_by_their_ids(void **state)
{
    (void)state;
    gr_push_who who = {.user = GR_STR(ME), .members = 5};
    gr_str s = put((gr_str){0}, "sender", "@a:here",
                   "{\"actions\":[\"notify\",{\"set_tweak\":\"sound\",\"value\":\"x\"}]}", NULL, NULL);
    assert_text(result_of(s.ptr, &who, MESSAGE("x")).sound, "x");
    s = put(s, "room", "!r:here", "{\"actions\":[\"dont_notify\"]}", NULL, NULL);
    assert_text(result_of(s.ptr, &who, MESSAGE("x")).rule_id, "!r:here");
    assert_false(result_of(s.ptr, &who, MESSAGE("x")).notify);
    assert_text(shown(s, "global/room/!r:here"),
                "{\"actions\":[],\"default\":false,\"enabled\":true,\"rule_id\":\"!r:here\"}");
}

static void disabled_rules_never_match_and_stay_disabled_when_changed(void **state)
{
    (void)state;
    gr_push_who who = {.user = GR_STR(ME), .members = 5};
    gr_str s = put((gr_str){0}, "content", "t", TEA, NULL, NULL), out;
    assert_text(result_of(s.ptr, &who, MESSAGE("Tea?")).rule_id, "t");
    assert_false(gr_failed(gr_push_attribute(arena, who.user, s, GR_STR("content"), GR_STR("t"),
                                             GR_STR("enabled"), json("{\"enabled\":false}"), &out)));
    assert_text(result_of(out.ptr, &who, MESSAGE("Tea?")).rule_id, ".m.rule.message");
    assert_text(shown(put(out, "content", "t", TEA, NULL, NULL), "global/content/t/enabled"),
                "{\"enabled\":false}");
}

static void actions_of_server_rules_can_be_changed_and_nothing_is_left_after_a_delete(void **state)
{
    (void)state;
    gr_push_who who = {.user = GR_STR(ME), .members = 5};
    gr_str out, s = put((gr_str){0}, "content", "t", TEA, NULL, NULL);
    assert_false(gr_failed(gr_push_delete(arena, who.user, s, GR_STR("content"), GR_STR("t"), &out)));
    assert_int_equal(out.size, 0);
    assert_int_equal(gr_push_delete(arena, who.user, out, GR_STR("content"), GR_STR("t"), &out).code,
                     GR_NOT_FOUND);
    assert_false(
        gr_failed(gr_push_attribute(arena, who.user, out, GR_STR("underride"), GR_STR(".m.rule.message"),
                                    GR_STR("actions"), json("{\"actions\":[]}"), &out)));
    assert_false(result_of(out.ptr, &who, MESSAGE("x")).notify);
    assert_text(shown(out, "global/underride/.m.rule.message/actions"), "{\"actions\":[]}");
    assert_int_equal(gr_push_attribute(arena, who.user, out, GR_STR("override"), GR_STR(".m.rule.message"),
                                       GR_STR("enabled"), json("{\"enabled\":true}"), &out)
                         .code,
                     GR_NOT_FOUND);
}

static void bad_rules_are_refused(void **state)
{
    (void)state;
    static const struct {
        gr_errcode code;
        const char *kind, *id, *body;
    } cases[] = {
        {GR_INVALID_PARAM, "override", ".mine", "{\"actions\":[]}"},
        {GR_INVALID_PARAM, "override", "a/b", "{\"actions\":[]}"},
        {GR_INVALID_PARAM, "override", "a\\b", "{\"actions\":[]}"},
        {GR_INVALID_PARAM, "overdrive", "a", "{\"actions\":[]}"},
        {GR_MISSING_PARAM, "override", "a", "{}"},
        {GR_BAD_JSON, "override", "a", "{\"actions\":\"notify\"}"},
        {GR_INVALID_PARAM, "override", "a", "{\"actions\":[\"stampingFeet\"]}"},
        {GR_INVALID_PARAM, "override", "a", "{\"actions\":[7]}"},
        {GR_BAD_JSON, "override", "a", "{\"actions\":[],\"conditions\":[7]}"},
        {GR_MISSING_PARAM, "content", "a", "{\"actions\":[]}"},
        {GR_BAD_JSON, "content", "a", "{\"actions\":[],\"pattern\":7}"},
    };
    gr_str out;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(gr_push_put(arena, GR_STR(ME), (gr_str){0}, gr_str_c(cases[i].kind),
                                     gr_str_c(cases[i].id), json(cases[i].body), (gr_str){0}, (gr_str){0},
                                     &out)
                             .code,
                         cases[i].code);
}

static void clients_see_all_kinds_with_their_own_id_filled_in(void **state)
{
    (void)state;
    const gr_json *all = json(shown((gr_str){0}, "").ptr), *override = gr_json_path(all, "global/override");
    assert_int_equal(override->count, 10);
    assert_int_equal(gr_json_path(all, "global/underride")->count, 5);
    assert_text(gr_json_text(&override->items[0], "rule_id"), ".m.rule.master");
    assert_false(gr_json_boolean(gr_json_get(&override->items[0], "enabled"), true));
    assert_text(shown((gr_str){0}, "global/override/.m.rule.is_user_mention"),
                "{\"rule_id\":\".m.rule.is_user_mention\",\"default\":true,\"enabled\":true,\"conditions\":[{"
                "\"kind\":"
                "\"event_property_contains\",\"key\":\"content.m\\\\.mentions.user_ids\",\"value\":\"" ME
                "\"}],\"actions\":[\"notify\","
                "{\"set_tweak\":\"sound\",\"value\":\"default\"},{\"set_tweak\":\"highlight\"}]}");
    gr_str out;
    assert_int_equal(gr_push_json(arena, GR_STR(ME), (gr_str){0}, GR_STR("global/override/x"), &out).code,
                     GR_NOT_FOUND);
    assert_int_equal(gr_push_json(arena, GR_STR(ME), (gr_str){0}, GR_STR("device/x"), &out).code,
                     GR_INVALID_PARAM);
}

static void stored_text_that_cannot_be_read_counts_as_the_defaults(void **state)
{
    (void)state;
    gr_push_who who = {.user = GR_STR(ME), .members = 5};
    static const char *const texts[] = {"{", "[]", "7", "{\"override\":7,\"defaults\":[]}",
                                        "{\"room\":[7],\"defaults\":{\"x\":7}}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_text(result_of(texts[i], &who, MESSAGE("x")).rule_id, ".m.rule.message");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_meet_the_default_rule_the_specification_means_for_them),
        cmocka_unit_test(two_members_hear_their_messages),
        cmocka_unit_test(a_room_mention_needs_power),
        cmocka_unit_test(nobody_in_particular_is_never_named),
        cmocka_unit_test(globs_match_as_the_specification_shows),
        cmocka_unit_test(globs_with_many_stars_end_soon),
        cmocka_unit_test(conditions_hold_as_the_specification_shows),
        cmocka_unit_test(rules_stand_where_before_and_after_put_them),
        cmocka_unit_test(a_users_rules_come_before_the_servers_but_after_the_master),
        cmocka_unit_test(room_and_sender_rules_match_by_their_ids),
        cmocka_unit_test(disabled_rules_never_match_and_stay_disabled_when_changed),
        cmocka_unit_test(actions_of_server_rules_can_be_changed_and_nothing_is_left_after_a_delete),
        cmocka_unit_test(bad_rules_are_refused),
        cmocka_unit_test(clients_see_all_kinds_with_their_own_id_filled_in),
        cmocka_unit_test(stored_text_that_cannot_be_read_counts_as_the_defaults),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
