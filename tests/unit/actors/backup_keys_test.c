/* The backup of room keys: versions, the better key wins, paging, sweeping. */
#include "tests/unit/actors/user_rig.h"

#include <stdio.h>

#define KEY(verified, first, forwarded, data) \
    "{\"first_message_index\":" #first ",\"forwarded_count\":" #forwarded "," \
    "\"is_verified\":" #verified ",\"session_data\":{\"x\":\"" data "\"}}"

static void make(gr_stage *s)
{
    gr_user_backup_make m = {.algorithm = GR_STR("m.v1"), .auth_data = GR_STR("{\"public_key\":\"k\"}")};
    gr_stage_ask(s, &gr_type_user_backup_make, &m);
}

static const gr_user_backup_state *put(gr_stage *s, const char *version, const char *room,
                                       const char *session, const char *data)
{
    gr_user_backup_session one = {
        .room = gr_str_c(room), .session = gr_str_c(session), .data = gr_str_c(data)};
    gr_user_backup_put m = {.version = gr_str_c(version), .sessions = {&one, 1}};
    gr_stage_ask(s, &gr_type_user_backup_put, &m);
    return gr_stage_replied(s, &gr_type_user_backup_state);
}

static const gr_user_backup_page *get(gr_stage *s, const char *version, const char *room, const char *session)
{
    gr_user_backup_get m = {
        .version = gr_str_c(version), .room = gr_str_c(room), .session = gr_str_c(session)};
    gr_stage_ask(s, &gr_type_user_backup_get, &m);
    return gr_stage_replied(s, &gr_type_user_backup_page);
}

static const gr_user_backup_state *drop(gr_stage *s, const char *version, const char *room,
                                        const char *session)
{
    gr_user_backup_drop m = {
        .version = gr_str_c(version), .room = gr_str_c(room), .session = gr_str_c(session)};
    gr_stage_ask(s, &gr_type_user_backup_drop, &m);
    return gr_stage_replied(s, &gr_type_user_backup_state);
}

static gr_str info(gr_stage *s, const char *version)
{
    gr_stage_ask(s, &gr_type_user_backup_info, &(gr_user_backup_info){.version = gr_str_c(version)});
    return user_result(s);
}

static void versions_count_up_and_are_never_used_again(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    info(s, "");
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    make(s);
    assert_text(user_result(s), "{\"version\":\"1\"}");
    make(s);
    assert_text(info(s, ""), "{\"algorithm\":\"m.v1\",\"auth_data\":{\"public_key\":\"k\"},\"count\":0,"
                             "\"etag\":\"0\",\"version\":\"2\"}");
    for (int i = 0; i < 2; i++) {
        gr_stage_ask(s, &gr_type_user_backup_end, &(gr_user_backup_end){.version = GR_STR("2")});
        assert_non_null(gr_stage_replied(s, &gr_type_done));
    }
    assert_true(user_has(info(s, ""), "\"version\":\"1\""));
    gr_stage_ask(s, &gr_type_user_backup_end, &(gr_user_backup_end){.version = GR_STR("7")});
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    make(s);
    assert_text(user_result(s), "{\"version\":\"3\"}");
    gr_stage_free(&s);
}

static void only_the_auth_data_of_a_version_can_change(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    make(s);
    gr_user_backup_set m = {.version = GR_STR("1"), .algorithm = GR_STR("other"), .auth_data = GR_STR("{}")};
    gr_stage_ask(s, &gr_type_user_backup_set, &m);
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    m.algorithm = GR_STR("m.v1");
    gr_stage_ask(s, &gr_type_user_backup_set, &m);
    assert_true(user_has(info(s, "1"), "\"auth_data\":{}"));
    gr_stage_free(&s);
}

static void the_better_key_is_kept(void **state)
{
    static const struct {
        const char *old, *new, *kept;
    } cases[] = {
        {KEY(false, 5, 0, "old"), KEY(true, 9, 9, "new"), "new"},
        {KEY(true, 5, 0, "old"), KEY(false, 0, 0, "new"), "old"},
        {KEY(true, 5, 0, "old"), KEY(true, 4, 9, "new"), "new"},
        {KEY(true, 5, 0, "old"), KEY(true, 6, 0, "new"), "old"},
        {KEY(true, 5, 2, "old"), KEY(true, 5, 1, "new"), "new"},
        {KEY(true, 5, 2, "old"), KEY(true, 5, 2, "new"), "old"},
    };
    (void)state;
    gr_stage *s = user_stage();
    make(s);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char session[8];
        snprintf(session, sizeof session, "s%zu", i);
        uint64_t etag = put(s, "1", "!r", session, cases[i].old)->etag;
        const gr_user_backup_state *after = put(s, "1", "!r", session, cases[i].new);
        assert_int_equal(after->count, i + 1);
        assert_int_equal(after->etag, strcmp(cases[i].kept, "new") == 0 ? etag + 1 : etag);
        assert_true(user_has(get(s, "1", "!r", session)->sessions.at[0].data, cases[i].kept));
    }
    put(s, "1", "!r", "bad", "{\"first_message_index\":1}");
    assert_int_equal(gr_stage_error(s).code, GR_BAD_JSON);
    gr_stage_free(&s);
}

static void an_old_version_takes_no_keys_and_names_the_newest(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    make(s);
    make(s);
    assert_text(put(s, "1", "!r", "s", KEY(true, 0, 0, "x"))->current, "2");
    assert_int_equal(gr_stage_writes(s), 0);
    assert_null(put(s, "9", "!r", "s", KEY(true, 0, 0, "x")));
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    gr_stage_free(&s);
}

static void rooms_with_like_names_are_told_apart(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    make(s);
    put(s, "1", "!a", "s1", KEY(true, 0, 0, "x"));
    put(s, "1", "!ab", "s2", KEY(true, 0, 0, "x"));
    put(s, "1", "!a", "s11", KEY(true, 0, 0, "x"));
    assert_int_equal(get(s, "1", "!a", "")->sessions.count, 2);
    assert_int_equal(get(s, "1", "!a", "s1")->sessions.count, 1);
    assert_int_equal(get(s, "1", "", "")->sessions.count, 3);
    assert_int_equal(drop(s, "1", "!a", "s1")->count, 2);
    assert_int_equal(drop(s, "1", "!a", "")->count, 1);
    assert_text(get(s, "1", "", "")->sessions.at[0].room, "!ab");
    assert_int_equal(drop(s, "1", "", "")->count, 0);
    gr_stage_free(&s);
}

static void many_keys_come_in_pages_and_go_in_steps(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    char session[8];
    size_t seen = 0, steps = 0;
    make(s);
    for (int i = 0; i < 500; i++) {
        snprintf(session, sizeof session, "s%03d", i);
        put(s, "1", "!r", session, KEY(true, 0, 0, "some data of a session"));
    }
    gr_user_backup_get m = {.version = GR_STR("1")};
    for (bool more = true; more;) {
        gr_stage_ask(s, &gr_type_user_backup_get, &m);
        const gr_user_backup_page *p = gr_stage_replied(s, &gr_type_user_backup_page);
        assert_false(gr_stage_over_bounds(s));
        for (size_t i = 0; i < p->sessions.count; i++) {
            snprintf(session, sizeof session, "s%03zu", seen++);
            assert_text(p->sessions.at[i].session, session);
        }
        m.after_room = p->sessions.at[p->sessions.count - 1].room;
        m.after_session = p->sessions.at[p->sessions.count - 1].session;
        more = p->more;
    }
    assert_int_equal(seen, 500);
    while (drop(s, "1", "", "")->more) steps++;
    assert_int_equal(steps, 2);
    assert_int_equal(get(s, "1", "", "")->sessions.count, 0);
    gr_stage_free(&s);
}

static void keys_of_a_deleted_version_are_swept(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    char session[8];
    bool fired = true;
    make(s);
    make(s);
    size_t keys = gr_stage_keys(s);
    for (int i = 0; i < 300; i++) {
        snprintf(session, sizeof session, "s%03d", i);
        put(s, "2", "!r", session, KEY(true, 0, 0, "x"));
    }
    gr_stage_ask(s, &gr_type_user_backup_end, &(gr_user_backup_end){.version = GR_STR("2")});
    assert_null(get(s, "2", "", ""));
    for (int turn = 0; turn < 9 && fired; turn++) gr_stage_fire(s, &fired);
    assert_false(fired);
    assert_int_equal(gr_stage_keys(s), keys); /* the version's row has become one that says it was deleted */
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_count_up_and_are_never_used_again),
        cmocka_unit_test(only_the_auth_data_of_a_version_can_change),
        cmocka_unit_test(the_better_key_is_kept),
        cmocka_unit_test(an_old_version_takes_no_keys_and_names_the_newest),
        cmocka_unit_test(rooms_with_like_names_are_told_apart),
        cmocka_unit_test(many_keys_come_in_pages_and_go_in_steps),
        cmocka_unit_test(keys_of_a_deleted_version_are_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
