/* Token indexes: leases of edges, ending tokens, refresh with successors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/token/token.h"
#include "bus/stage.h"
#include "proto/token.h"

static const gr_env env = {.server_name = {"here", 4}, .access_token_lifetime_ms = 3600 * 1000};
static const gr_actor_kind *const kinds[] = {&gr_token_index_kind, NULL};

typedef struct { unsigned char bytes[GR_TOKEN_HASH]; } token;

static token hash_of(gr_str text)
{
    token t;
    gr_token_hash(text, t.bytes);
    return t;
}

static gr_str view(const token *t) { return gr_str_of(t->bytes, sizeof t->bytes); }

static void issue(gr_stage *s, const char *device, bool refreshable)
{
    gr_token_issue m = {.user = GR_STR("@a:here"), .device = gr_str_c(device), .refreshable = refreshable};
    gr_stage_post_forwarded(s, "user/@a:here", &gr_type_token_issue, &m);
}

static const gr_token_pair *pair_of(gr_stage *s)
{
    const gr_token_pair *pair = gr_stage_replied(s, &gr_type_token_pair);
    assert_non_null(pair);
    return pair;
}

static void check(gr_stage *s, token t) { gr_stage_ask(s, &gr_type_token_check, &(gr_token_check){.hash = view(&t)}); }
static bool is_good(gr_stage *s) { return gr_stage_replied(s, &gr_type_token_owner) != NULL; }

static void refresh(gr_stage *s, token t) { gr_stage_ask(s, &gr_type_token_refresh, &(gr_token_refresh){.hash = view(&t)}); }

static void drop_all(gr_stage *s)
{
    gr_stage_post_forwarded(s, "user/@a:here", &gr_type_token_drop, &(gr_token_drop){.user = GR_STR("@a:here")});
}

static gr_stage *stage(void) { return gr_stage_new(kinds, "token/17", &env); }

static void an_issued_token_names_its_owner_and_only_its_hash_is_stored(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    gr_str text = pair_of(s)->access;
    uint8_t shard = 0;
    assert_true(gr_token_read(text, GR_TOKEN_ACCESS, &shard));
    assert_int_equal(shard, 17);
    for (size_t i = 0; i < gr_stage_writes(s); i++) {
        const gr_write *w = gr_stage_write(s, i);
        assert_null(memmem(w->value.ptr, w->value.size, text.ptr, text.size));
    }
    check(s, hash_of(text));
    const gr_token_owner *owner = gr_stage_replied(s, &gr_type_token_owner);
    assert_true(gr_str_is(owner->user, "@a:here") && gr_str_is(owner->device, "DEV"));
    assert_int_equal(owner->lease_ms, GR_TOKEN_LEASE_MS);
    gr_stage_free(&s);
}

static void an_unknown_token_is_refused(void **state)
{
    (void)state;
    gr_stage *s = stage();
    check(s, hash_of(GR_STR("nonsense")));
    assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    gr_stage_free(&s);
}

static void ending_tokens_is_answered_when_the_edge_with_a_lease_has_forgotten_them(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    token t = hash_of(pair_of(s)->access);
    check(s, t);
    drop_all(s);
    assert_null(gr_stage_replied(s, &gr_type_done));
    const gr_stage_effect *ask = gr_stage_find(s, GR_ASK, &gr_type_token_forget, 0);
    assert_non_null(ask);
    assert_true(gr_str_is(ask->to, "edge/stage/0"));
    gr_stage_answer(s, ask, &gr_type_done, &(gr_done){0}, gr_ok());
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    check(s, t);
    assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    gr_stage_free(&s);
}

static void an_edge_that_does_not_answer_is_waited_for_until_its_lease_is_over(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    check(s, hash_of(pair_of(s)->access));
    uint64_t began_ms = gr_stage_now(s);
    drop_all(s);
    const gr_stage_effect *ask = gr_stage_find(s, GR_ASK, &gr_type_token_forget, 0);
    gr_stage_answer(s, ask, NULL, NULL, gr_fail(GR_UNAVAILABLE, "gone"));
    assert_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_fire(s, &fired);
    assert_true(fired);
    assert_int_equal(gr_stage_now(s), began_ms + GR_TOKEN_WAIT_MS);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_free(&s);
}

static void after_a_load_edges_that_ever_asked_are_told_too(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    check(s, hash_of(pair_of(s)->access));
    gr_stage_reload(s);
    drop_all(s);
    assert_non_null(gr_stage_find(s, GR_ASK, &gr_type_token_forget, 0));
    gr_stage_free(&s);
}

/* The client repeats a logout whose answer it has not heard. */
static void ending_again_waits_for_edges_as_well_also_after_a_load(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    check(s, hash_of(pair_of(s)->access));
    drop_all(s);
    drop_all(s);
    assert_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_reload(s);
    drop_all(s);
    const gr_stage_effect *ask = gr_stage_find(s, GR_ASK, &gr_type_token_forget, 0);
    assert_non_null(ask);
    assert_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_answer(s, ask, &gr_type_done, &(gr_done){0}, gr_ok());
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_free(&s);
}

static void without_leases_ending_is_answered_at_once(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    drop_all(s);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_free(&s);
}

static void a_login_on_a_device_ends_the_token_it_had(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    token old = hash_of(pair_of(s)->access);
    issue(s, "DEV", false);
    pair_of(s);
    check(s, old);
    assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    gr_stage_free(&s);
}

static void keeping_one_device_ends_the_others(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "KEPT", false);
    token kept = hash_of(pair_of(s)->access);
    issue(s, "KEPT2", false);
    token gone = hash_of(pair_of(s)->access);
    gr_token_drop m = {.user = GR_STR("@a:here"), .keep = GR_STR("KEPT")};
    gr_stage_post_forwarded(s, "user/@a:here", &gr_type_token_drop, &m);
    check(s, kept);
    assert_true(is_good(s));
    check(s, gone);
    assert_false(is_good(s));
    gr_stage_free(&s);
}

static void many_tokens_are_ended_in_steps(void **state)
{
    (void)state;
    char device[16];
    gr_stage *s = stage();
    for (int i = 0; i < GR_TOKEN_DROP_STEP + 5; i++) {
        snprintf(device, sizeof device, "D%d", i);
        issue(s, device, false);
    }
    drop_all(s);
    const gr_stage_effect *rest = gr_stage_find(s, GR_POST, &gr_type_token_drop, 0);
    assert_true(rest && rest->is_forwarded);
    assert_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_post_forwarded(s, "token/17", &gr_type_token_drop, rest->body);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

static void a_refreshable_token_expires_softly(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", true);
    token t = hash_of(pair_of(s)->access);
    gr_stage_clock(s, gr_stage_now(s) + env.access_token_lifetime_ms);
    check(s, t);
    assert_int_equal(gr_stage_error(s).code, GR_EXPIRED_TOKEN);
    gr_stage_free(&s);
}

static void the_old_pair_works_until_the_new_one_is_used(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", true);
    token access = hash_of(pair_of(s)->access), old = hash_of(pair_of(s)->refresh);
    refresh(s, old);
    token successor = hash_of(pair_of(s)->access);
    check(s, access);
    assert_true(is_good(s));
    check(s, successor);
    assert_true(is_good(s));
    check(s, access);
    assert_false(is_good(s));
    refresh(s, old);
    assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    gr_stage_free(&s);
}

static void a_repeated_refresh_replaces_the_unused_successor(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", true);
    token old = hash_of(pair_of(s)->refresh);
    refresh(s, old);
    token first = hash_of(pair_of(s)->access);
    refresh(s, old);
    token second = hash_of(pair_of(s)->access);
    check(s, first);
    assert_false(is_good(s));
    check(s, second);
    assert_true(is_good(s));
    gr_stage_free(&s);
}

static void refreshing_the_successor_is_its_first_use(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", true);
    token access = hash_of(pair_of(s)->access), old = hash_of(pair_of(s)->refresh);
    refresh(s, old);
    refresh(s, hash_of(pair_of(s)->refresh));
    token third = hash_of(pair_of(s)->access);
    check(s, access);
    assert_false(is_good(s));
    check(s, third);
    assert_true(is_good(s));
    gr_stage_free(&s);
}

/* --- the OAuth 2.0 API ------------------------------------------------------------------------------------ */
static void issue_to_client(gr_stage *s)
{
    gr_token_issue m = {.user = GR_STR("@a:here"), .device = GR_STR("DEV"), .refreshable = true, .client = GR_STR("app"),
                        .scope = GR_STR("api")};
    gr_stage_post_forwarded(s, "user/@a:here", &gr_type_token_issue, &m);
}

static void refresh_by(gr_stage *s, token t, const char *client)
{
    gr_stage_ask(s, &gr_type_token_refresh, &(gr_token_refresh){.hash = view(&t), .client = gr_str_c(client)});
}

/* Refreshes and uses what comes of it; answers the new refresh token. */
static token go_on(gr_stage *s, token t)
{
    refresh_by(s, t, "app");
    token access = hash_of(pair_of(s)->access), next = hash_of(pair_of(s)->refresh);
    assert_true(gr_str_is(pair_of(s)->scope, "api"));
    check(s, access);
    assert_true(is_good(s));
    return next;
}

static void scope_and_client_stay_with_the_session_and_others_do_not_refresh_it(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue_to_client(s);
    token t = hash_of(pair_of(s)->refresh);
    refresh_by(s, t, "");
    assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    refresh_by(s, t, "other");
    assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    refresh_by(s, t, "app");
    check(s, hash_of(pair_of(s)->access));
    const gr_token_owner *owner = gr_stage_replied(s, &gr_type_token_owner);
    assert_true(gr_str_is(owner->client, "app") && gr_str_is(owner->scope, "api"));
    gr_stage_free(&s);
}

static void a_refresh_token_that_was_replaced_ends_its_session(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue_to_client(s);
    token first = hash_of(pair_of(s)->refresh), newest = go_on(s, go_on(s, first));
    refresh_by(s, first, "app");
    assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, &gr_type_user_logout, 0);
    assert_non_null(post);
    assert_true(gr_str_is(post->to, "user/@a:here"));
    assert_true(gr_str_is(((const gr_user_logout *)post->body)->devices.at[0], "DEV"));
    go_on(s, newest);
    assert_null(gr_stage_find(s, GR_POST, &gr_type_user_logout, 0));
    gr_stage_free(&s);
}

static bool is_stored(gr_stage *s, token t)
{
    gr_str row;
    gr_arena *a = gr_arena_new(0);
    bool there = gr_stage_get(s, gr_arena_cat(a, 2, (gr_str[]){GR_STR("h"), view(&t)}), &row);
    gr_arena_free(&a);
    return there;
}

static void no_more_used_refresh_tokens_are_remembered_than_a_bound_and_none_after_the_end(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue_to_client(s);
    token first = hash_of(pair_of(s)->refresh), newest = go_on(s, first), second = newest;
    for (size_t i = 1; i < GR_TOKEN_SPENT_MAX; i++) newest = go_on(s, newest);
    assert_true(is_stored(s, first));
    newest = go_on(s, newest);
    assert_true(!is_stored(s, first) && is_stored(s, second));
    drop_all(s);
    assert_true(!is_stored(s, second) && !is_stored(s, newest));
    gr_stage_free(&s);
}

static void a_browser_is_signed_in_for_a_while_until_it_is_ended_or_the_users_tokens_are(void **state)
{
    (void)state;
    gr_stage *s = stage();
    for (int how = 0; how < 3; how++) {
        gr_stage_ask(s, &gr_type_browser_begin, &(gr_browser_begin){.user = GR_STR("@a:here")});
        token t = hash_of(pair_of(s)->access);
        check(s, t);
        assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
        gr_stage_ask(s, &gr_type_browser_look, &(gr_browser_look){.hash = view(&t)});
        assert_true(gr_str_is(((const gr_browser_is *)gr_stage_replied(s, &gr_type_browser_is))->user, "@a:here"));
        if (how == 0) gr_stage_ask(s, &gr_type_browser_end, &(gr_browser_end){.hash = view(&t)});
        else if (how == 1) drop_all(s);
        else gr_stage_clock(s, gr_stage_now(s) + GR_TOKEN_BROWSER_MS);
        gr_stage_ask(s, &gr_type_browser_look, &(gr_browser_look){.hash = view(&t)});
        assert_int_equal(gr_stage_error(s).code, GR_UNKNOWN_TOKEN);
    }
    gr_stage_free(&s);
}

static void tokens_of_a_held_user_are_refused_until_they_are_let_go(void **state)
{
    (void)state;
    gr_stage *s = stage();
    issue(s, "DEV", false);
    token t = hash_of(pair_of(s)->access);
    gr_stage_post(s, "user/@a:here", &gr_type_token_hold, &(gr_token_hold){.user = GR_STR("@a:here"), .held = true}, (gr_str){0});
    gr_stage_reload(s);
    check(s, t);
    assert_int_equal(gr_stage_error(s).code, GR_USER_LOCKED);
    gr_stage_post(s, "user/@a:here", &gr_type_token_hold, &(gr_token_hold){.user = GR_STR("@a:here")}, (gr_str){0});
    check(s, t);
    assert_true(is_good(s));
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_issued_token_names_its_owner_and_only_its_hash_is_stored),
        cmocka_unit_test(an_unknown_token_is_refused),
        cmocka_unit_test(tokens_of_a_held_user_are_refused_until_they_are_let_go),
        cmocka_unit_test(ending_tokens_is_answered_when_the_edge_with_a_lease_has_forgotten_them),
        cmocka_unit_test(an_edge_that_does_not_answer_is_waited_for_until_its_lease_is_over),
        cmocka_unit_test(after_a_load_edges_that_ever_asked_are_told_too),
        cmocka_unit_test(ending_again_waits_for_edges_as_well_also_after_a_load),
        cmocka_unit_test(without_leases_ending_is_answered_at_once),
        cmocka_unit_test(a_login_on_a_device_ends_the_token_it_had),
        cmocka_unit_test(keeping_one_device_ends_the_others),
        cmocka_unit_test(many_tokens_are_ended_in_steps),
        cmocka_unit_test(a_refreshable_token_expires_softly),
        cmocka_unit_test(the_old_pair_works_until_the_new_one_is_used),
        cmocka_unit_test(a_repeated_refresh_replaces_the_unused_successor),
        cmocka_unit_test(refreshing_the_successor_is_its_first_use),
        cmocka_unit_test(scope_and_client_stay_with_the_session_and_others_do_not_refresh_it),
        cmocka_unit_test(a_refresh_token_that_was_replaced_ends_its_session),
        cmocka_unit_test(no_more_used_refresh_tokens_are_remembered_than_a_bound_and_none_after_the_end),
        cmocka_unit_test(a_browser_is_signed_in_for_a_while_until_it_is_ended_or_the_users_tokens_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
