/* The account part of user actors: making, devices, passwords, deactivation, profiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/feed/feed.h"
#include "actors/user/account.h"
#include "bus/stage.h"
#include "tests/unit/actors/mail_rig.h"

static const gr_env env = {.server_name = {"here", 4}};
static const gr_actor_kind *const kinds[] = {&gr_user_kind, &gr_feed_kind, NULL};

static gr_stage *stage(void)
{
    gr_stage *s = gr_stage_new(kinds, "user/@a:here", &env);
    gr_user_create m = {.password_hash = GR_STR("hash"), .key = GR_STR("k1")};
    gr_stage_ask(s, &gr_type_user_create, &m);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    return s;
}

static void login(gr_stage *s, const char *device)
{
    gr_user_login m = {.device = gr_str_c(device), .display_name = GR_STR("phone"), .ip = GR_STR("192.0.2.1")};
    gr_stage_ask(s, &gr_type_user_login, &m);
}

static bool contains(gr_str text, const char *part) { return memmem(text.ptr, text.size, part, strlen(part)) != NULL; }

static gr_str result(gr_stage *s)
{
    const gr_result *r = gr_stage_replied(s, &gr_type_result);
    assert_non_null(r);
    return r->body;
}

static gr_str devices(gr_stage *s)
{
    gr_stage_ask(s, &gr_type_user_devices, &(gr_user_devices){0});
    return result(s);
}

/* --- who vouched ------------------------------------------------------------------------------------------- */
static void login_by(gr_stage *s, const char *device, const char *session)
{
    gr_user_login m = {.device = gr_str_c(device), .provider = GR_STR("corp"), .session = gr_str_c(session),
                       .subject = GR_STR("sub")};
    gr_stage_ask(s, &gr_type_user_login, &m);
}

/* What the provider was told, by the number of the telling; false when that was not all. */
static bool told(gr_stage *s, size_t number, const char *device, const char *session, bool ended)
{
    const gr_stage_effect *e = gr_stage_find(s, GR_POST, &gr_type_provider_session, number);
    if (!e) return false;
    const gr_provider_session *m = e->body;
    return gr_str_is(e->to, "provider/corp") && gr_str_is(m->user, "@a:here") && gr_str_is(m->device, device)
           && gr_str_is(m->session, session) && gr_str_is(m->subject, "sub") && m->ended == ended;
}

static void a_provider_is_told_of_devices_that_came_of_its_sessions_and_of_their_end(void **state)
{
    (void)state;
    gr_stage *s = stage();
    login(s, "BY_PASSWORD");
    assert_null(gr_stage_find(s, GR_POST, &gr_type_provider_session, 0));
    login_by(s, "ONE", "S1");
    assert_true(told(s, 0, "ONE", "S1", false));
    login_by(s, "ONE", "S2");      /* the same device, logged in anew */
    assert_true(told(s, 0, "ONE", "S1", true) && told(s, 1, "ONE", "S2", false));
    login_by(s, "TWO", "S3");
    gr_str one = GR_STR("ONE");
    gr_stage_ask(s, &gr_type_user_logout, &(gr_user_logout){.devices = {&one, 1}});
    assert_true(told(s, 0, "ONE", "S2", true));
    assert_null(gr_stage_find(s, GR_POST, &gr_type_provider_session, 1));
    gr_stage_ask(s, &gr_type_user_deactivate, &(gr_user_deactivate){0});
    assert_true(told(s, 0, "TWO", "S3", true));
    gr_stage_free(&s);
}

static const gr_env guess_env = {.server_name = {"here", 4}, .guesses = {.free = 3, .wait_max_ms = 5000}};

/* How long an attempt at the password from there has to wait. */
static uint64_t guess(gr_stage *s, const char *ip)
{
    gr_stage_ask(s, &gr_type_user_auth_info, &(gr_user_auth_info){.attempt = true, .ip = gr_str_c(ip)});
    const gr_user_auth_is *is = gr_stage_replied(s, &gr_type_user_auth_is);
    assert_non_null(is);
    return is->wait_ms;
}

static void wrong_passwords_have_to_wait_longer_and_longer(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "user/@nobody:here", &guess_env);       /* also for nobody */
    for (int i = 0; i < 3; i++) assert_int_equal(guess(s, "192.0.2.9"), 0);
    static const uint64_t waits[] = {1000, 2000, 4000, 5000, 5000};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        assert_int_equal(guess(s, "192.0.2.9"), waits[i]);
        assert_int_equal(guess(s, "192.0.2.10"), waits[i]);        /* another stranger's address is no way around */
        gr_stage_clock(s, gr_stage_now(s) + waits[i]);
        assert_int_equal(guess(s, "192.0.2.9"), 0);
    }
    gr_stage_tell(s, "login/x", &gr_type_user_guessed, &(gr_user_guessed){.ip = GR_STR("192.0.2.9")});
    assert_int_equal(guess(s, "192.0.2.9"), 0);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

static void a_stranger_locks_nobody_out(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "user/@a:here", &guess_env);
    gr_stage_ask(s, &gr_type_user_create, &(gr_user_create){.password_hash = GR_STR("hash")});
    login(s, "A");                         /* from 192.0.2.1 */
    for (int i = 0; i < 3; i++) guess(s, "203.0.113.5");
    assert_true(guess(s, "203.0.113.5") > 0);
    assert_int_equal(guess(s, "192.0.2.1"), 0);
    gr_stage_free(&s);
}

static void a_hash_replaces_only_the_one_it_was_made_of(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_user_password late = {.password_hash = GR_STR("late"), .instead_of = GR_STR("another")};
    gr_user_password anew = {.password_hash = GR_STR("anew"), .instead_of = GR_STR("hash")};
    gr_stage_post(s, "login/x", &gr_type_user_password, &late, (gr_str){0});
    assert_int_equal(gr_stage_writes(s), 0);
    gr_stage_post(s, "login/x", &gr_type_user_password, &anew, (gr_str){0});
    gr_stage_ask(s, &gr_type_user_auth_info, &(gr_user_auth_info){0});
    assert_true(gr_str_is(((const gr_user_auth_is *)gr_stage_replied(s, &gr_type_user_auth_is))->password_hash, "anew"));
    gr_stage_free(&s);
}

static void a_third_party_id_is_kept_shown_and_freed(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_user_threepid_put put = {.medium = GR_STR("email"), .address = GR_STR("a@example.org"), .validated_ms = 7};
    gr_stage_ask(s, &gr_type_user_threepid_put, &put);
    gr_stage_reload(s);
    gr_stage_ask(s, &gr_type_user_threepids, &(gr_user_threepids){0});
    assert_true(contains(result(s), "\"address\":\"a@example.org\"") && contains(result(s), "\"validated_at\":7"));
    gr_user_threepid_drop drop = {.medium = GR_STR("email"), .address = GR_STR("a@example.org")};
    gr_stage_ask(s, &gr_type_user_threepid_drop, &drop);
    const gr_stage_effect *release = gr_stage_find(s, GR_POST, &gr_type_name_release, 0);
    assert_true(gr_str_is(release->to, "name/3pid/email/a@example.org"));
    gr_stage_ask(s, &gr_type_user_threepid_put, &put);
    gr_stage_ask(s, &gr_type_user_deactivate, &(gr_user_deactivate){0});
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_name_release), 1);
    gr_stage_free(&s);
}

static void an_account_has_so_many_third_party_ids_and_no_more(void **state)
{
    (void)state;
    char address[32];
    gr_stage *s = stage();
    for (int i = 0; i <= GR_USER_THREEPIDS_MAX; i++) {
        snprintf(address, sizeof address, "a%d@example.org", i);
        gr_user_threepid_put put = {.medium = GR_STR("email"), .address = gr_str_c(address)};
        gr_stage_ask(s, &gr_type_user_threepid_put, &put);
        assert_int_equal(gr_stage_error(s).code, i < GR_USER_THREEPIDS_MAX ? GR_OK : GR_REFUSED);
    }
    gr_stage_free(&s);
}

static void all_devices_end_in_steps_and_tokens_before_them(void **state)
{
    (void)state;
    char name[16];
    bool fired = true;
    gr_stage *s = stage();
    for (int i = 0; i < 3 * GR_USER_DEVICES_STEP; i++) {
        snprintf(name, sizeof name, "D%03d", i);
        login(s, name);
    }
    gr_stage_clock(s, gr_stage_now(s) + 1);
    gr_stage_ask(s, &gr_type_user_logout, &(gr_user_logout){.keep = GR_STR("D120")});
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_token_drop), 1);
    assert_false(gr_stage_over_bounds(s));
    gr_stage_clock(s, gr_stage_now(s) + 1);
    login(s, "D130");                      /* meanwhile: it stays */
    for (int i = 0; fired && i < 50; i++) {
        gr_stage_reload(s);
        gr_stage_fire(s, &fired);
        assert_false(gr_stage_over_bounds(s));
    }
    gr_str left = devices(s);
    assert_true(contains(left, "\"D120\"") && contains(left, "\"D130\""));
    assert_false(contains(left, "\"D000\"") || contains(left, "\"D119\"") || contains(left, "\"D149\""));
    gr_stage_free(&s);
}

static void erasing_takes_account_data_away_in_steps(void **state)
{
    (void)state;
    char type[32];
    bool fired = true;
    gr_stage *s = stage();
    for (int i = 0; i < 250; i++) {
        snprintf(type, sizeof type, "org.example.t%03d", i);
        gr_user_account_data_put put = {.type = gr_str_c(type), .content = GR_STR("{}")};
        gr_stage_ask(s, &gr_type_user_account_data_put, &put);
    }
    size_t before = gr_stage_keys(s);
    assert_true(before >= 500);
    gr_stage_ask(s, &gr_type_user_deactivate, &(gr_user_deactivate){.erase = true});
    for (int i = 0; fired && i < 50; i++) {
        gr_stage_reload(s);
        gr_stage_fire(s, &fired);
        assert_false(gr_stage_over_bounds(s));
    }
    assert_true(gr_stage_keys(s) < 10);
    gr_stage_free(&s);
}

static const gr_env validity_env = {.server_name = {"here", 4}, .validity = {.period_ms = 1000000, .warn_ms = 1000},
                                    .email = {.from = {"<noreply@here>", 14}, .base_url = {"https://here", 12}}};

static void an_account_ends_when_nobody_renews_it_and_is_good_again_when_somebody_does(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = gr_stage_new(kinds, "user/@a:here", &validity_env);
    gr_stage_ask(s, &gr_type_user_create, &(gr_user_create){.password_hash = GR_STR("hash")});
    uint64_t until_ms = gr_stage_now(s) + 1000000, due_ms = 0;
    assert_true(gr_stage_timer_set(s, "valid", &due_ms));
    assert_int_equal(due_ms, until_ms - 1000);
    gr_user_threepid_put put = {.medium = GR_STR("email"), .address = GR_STR("a@example.org"), .language = GR_STR("de")};
    gr_stage_ask(s, &gr_type_user_threepid_put, &put);
    gr_stage_fire(s, &fired);
    const gr_stage_effect *mail = gr_stage_fetching(s, 0);
    assert_true(gr_str_is(mail->fetch->uri, "a@example.org"));
    gr_arena *arena = gr_arena_new(0);
    gr_str text = mail_rig_read(arena, mail->fetch->content);
    assert_non_null(memmem(text.ptr, text.size, "Dein Konto", 10));
    const char *at = memmem(text.ptr, text.size, "?token=", 7);
    assert_non_null(at);
    gr_str token = gr_str_of(at + 7, 32);
    gr_stage_reload(s);
    gr_stage_fire(s, &fired);
    assert_int_equal(gr_stage_now(s), until_ms);
    assert_true(((const gr_token_hold *)gr_stage_find(s, GR_POST, &gr_type_token_hold, 0)->body)->held);
    login(s, "A");
    assert_int_equal(gr_stage_error(s).code, GR_USER_LOCKED);
    gr_stage_ask(s, &gr_type_user_renew, &(gr_user_renew){.token = GR_STR("wrong")});
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    gr_stage_ask(s, &gr_type_user_renew, &(gr_user_renew){.token = token});
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    assert_false(((const gr_token_hold *)gr_stage_find(s, GR_POST, &gr_type_token_hold, 0)->body)->held);
    gr_stage_ask(s, &gr_type_user_renew, &(gr_user_renew){.token = token});
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);        /* once */
    login(s, "A");
    assert_int_equal(gr_stage_error(s).code, GR_OK);
    gr_arena_free(&arena);
    gr_stage_free(&s);
}

static void put_profile(gr_stage *s, const char *field, const char *value)
{
    gr_user_profile_put m = {.field = gr_str_c(field), .value = gr_str_c(value)};
    gr_stage_ask(s, &gr_type_user_profile_put, &m);
}

static gr_str profile(gr_stage *s)
{
    gr_stage_ask(s, &gr_type_user_profile_get, &(gr_user_profile_get){0});
    return result(s);
}

static void join(gr_stage *s, const char *room)
{
    gr_user_membership m = {.room_id = gr_str_c(room), .room_version = GR_STR("12"), .membership = GR_STR("join"),
                            .sender = GR_STR("@a:here"), .room_pos = 1};
    gr_stage_post(s, "room/!r", &gr_type_user_membership, &m, (gr_str){0});
}

static void an_account_is_made_once_and_its_maker_may_repeat(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_user_create m = {.password_hash = GR_STR("other"), .key = GR_STR("k1")};
    gr_stage_ask(s, &gr_type_user_create, &m);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    m.key = GR_STR("k2");
    gr_stage_ask(s, &gr_type_user_create, &m);
    assert_int_equal(gr_stage_error(s).code, GR_USER_IN_USE);
    gr_stage_reload(s);
    gr_stage_ask(s, &gr_type_user_auth_info, &(gr_user_auth_info){0});
    const gr_user_auth_is *is = gr_stage_replied(s, &gr_type_user_auth_is);
    assert_true(is->exists && gr_str_is(is->password_hash, "hash"));
    gr_stage_free(&s);
}

static void a_login_lets_the_token_index_answer(void **state)
{
    (void)state;
    gr_stage *s = stage();
    login(s, "DEV");
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, &gr_type_token_issue, 0);
    assert_true(post && post->is_forwarded && gr_str_starts(post->to, GR_STR("token/")));
    assert_true(contains(devices(s), "\"device_id\":\"DEV\"") && contains(devices(s), "192.0.2.1"));
    gr_stage_free(&s);
}

static void nobody_can_log_in_to_an_account_that_is_not_there(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "user/@nobody:here", &env);
    login(s, "DEV");
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

static void a_logout_removes_the_device_and_its_tokens(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_str gone = GR_STR("DEV");
    login(s, "DEV");
    login(s, "DEV2");
    gr_user_logout m = {.devices = {&gone, 1}};
    gr_stage_ask(s, &gr_type_user_logout, &m);
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, &gr_type_token_drop, 0);
    assert_true(post && post->is_forwarded);
    assert_true(gr_str_is(((const gr_token_drop *)post->body)->devices.at[0], "DEV"));
    assert_false(contains(devices(s), "\"DEV\""));
    assert_true(contains(devices(s), "\"DEV2\""));
    gr_stage_free(&s);
}

static void a_new_password_may_keep_only_the_device_that_set_it(void **state)
{
    (void)state;
    gr_stage *s = stage();
    login(s, "KEPT");
    login(s, "GONE");
    gr_user_password m = {.password_hash = GR_STR("new"), .logout_devices = true, .keep = GR_STR("KEPT")};
    gr_stage_ask(s, &gr_type_user_password, &m);
    assert_non_null(gr_stage_find(s, GR_POST, &gr_type_token_drop, 0));
    assert_true(contains(devices(s), "KEPT") && !contains(devices(s), "GONE"));
    m.logout_devices = false;
    gr_stage_ask(s, &gr_type_user_password, &m);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_free(&s);
}

static void last_seen_is_kept_coarsely(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_user_seen m = {.device = GR_STR("DEV"), .ip = GR_STR("192.0.2.9")};
    login(s, "DEV");
    gr_stage_tell(s, "token/1", &gr_type_user_seen, &m);
    assert_int_equal(gr_stage_writes(s), 0);
    gr_stage_clock(s, gr_stage_now(s) + GR_USER_SEEN_EVERY_MS);
    gr_stage_tell(s, "token/1", &gr_type_user_seen, &m);
    assert_true(contains(devices(s), "192.0.2.9"));
    gr_stage_free(&s);
}

static void a_deactivated_account_has_no_password_no_devices_and_leaves_its_rooms(void **state)
{
    (void)state;
    gr_stage *s = stage();
    login(s, "DEV");
    join(s, "!one");
    gr_stage_ask(s, &gr_type_user_deactivate, &(gr_user_deactivate){0});
    assert_non_null(gr_stage_find(s, GR_POST, &gr_type_token_drop, 0));
    const gr_stage_effect *leave = gr_stage_find(s, GR_POST, &gr_type_room_member, 0);
    assert_true(leave && gr_str_is(leave->to, "room/!one"));
    login(s, "DEV");
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    gr_stage_ask(s, &gr_type_user_auth_info, &(gr_user_auth_info){0});
    assert_int_equal(((const gr_user_auth_is *)gr_stage_replied(s, &gr_type_user_auth_is))->password_hash.size, 0);
    gr_stage_free(&s);
}

static void profile_fields_are_set_read_and_removed(void **state)
{
    (void)state;
    gr_stage *s = stage();
    assert_true(gr_str_is(profile(s), "{}"));
    put_profile(s, "displayname", "\"Ann\"");
    put_profile(s, "m.tz", "\"Europe/Vienna\"");
    put_profile(s, "org.example.card", "{\"a\":[1,2]}");
    gr_stage_reload(s);
    assert_true(contains(profile(s), "\"displayname\":\"Ann\"") && contains(profile(s), "\"a\":[1,2]"));
    put_profile(s, "displayname", "");
    assert_false(contains(profile(s), "displayname"));
    gr_user_profile_get get = {.field = GR_STR("displayname")};
    gr_stage_ask(s, &gr_type_user_profile_get, &get);
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    gr_stage_free(&s);
}

static void what_does_not_fit_a_profile_is_refused(void **state)
{
    (void)state;
    char *large = gr_alloc(GR_USER_PROFILE_MAX + 3);
    gr_stage *s = stage();
    memset(large, 'x', GR_USER_PROFILE_MAX + 2);
    large[0] = large[GR_USER_PROFILE_MAX + 1] = '"';
    put_profile(s, "org.example.large", large);
    assert_int_equal(gr_stage_error(s).code, GR_PROFILE_TOO_LARGE);
    put_profile(s, "displayname", "7");
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    put_profile(s, "Not A Field", "1");
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    memset(large, 'a', 300);
    large[300] = 0;
    put_profile(s, large, "1");
    assert_int_equal(gr_stage_error(s).code, GR_KEY_TOO_LARGE);
    free(large);
    gr_stage_free(&s);
}

static void a_new_name_is_told_to_all_rooms_in_steps_that_survive_a_reload(void **state)
{
    (void)state;
    char room[16];
    bool fired = false;
    gr_stage *s = stage();
    for (int i = 0; i < GR_USER_ROOMS_STEP + 10; i++) {
        snprintf(room, sizeof room, "!r%03d", i);
        join(s, room);
    }
    put_profile(s, "displayname", "\"Ann\"");
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_room_profile), GR_USER_ROOMS_STEP);
    gr_stage_reload(s);
    gr_stage_fire(s, &fired);
    assert_true(fired);
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_room_profile), 10);
    const gr_room_profile *last = gr_stage_find(s, GR_POST, &gr_type_room_profile, 9)->body;
    assert_true(gr_str_is(last->displayname, "Ann"));
    gr_stage_fire(s, &fired);
    assert_false(fired);
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_provider_is_told_of_devices_that_came_of_its_sessions_and_of_their_end),
        cmocka_unit_test(a_third_party_id_is_kept_shown_and_freed),
        cmocka_unit_test(an_account_has_so_many_third_party_ids_and_no_more),
        cmocka_unit_test(all_devices_end_in_steps_and_tokens_before_them),
        cmocka_unit_test(erasing_takes_account_data_away_in_steps),
        cmocka_unit_test(an_account_ends_when_nobody_renews_it_and_is_good_again_when_somebody_does),
        cmocka_unit_test(wrong_passwords_have_to_wait_longer_and_longer),
        cmocka_unit_test(a_stranger_locks_nobody_out),
        cmocka_unit_test(a_hash_replaces_only_the_one_it_was_made_of),
        cmocka_unit_test(an_account_is_made_once_and_its_maker_may_repeat),
        cmocka_unit_test(a_login_lets_the_token_index_answer),
        cmocka_unit_test(nobody_can_log_in_to_an_account_that_is_not_there),
        cmocka_unit_test(a_logout_removes_the_device_and_its_tokens),
        cmocka_unit_test(a_new_password_may_keep_only_the_device_that_set_it),
        cmocka_unit_test(last_seen_is_kept_coarsely),
        cmocka_unit_test(a_deactivated_account_has_no_password_no_devices_and_leaves_its_rooms),
        cmocka_unit_test(profile_fields_are_set_read_and_removed),
        cmocka_unit_test(what_does_not_fit_a_profile_is_refused),
        cmocka_unit_test(a_new_name_is_told_to_all_rooms_in_steps_that_survive_a_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
