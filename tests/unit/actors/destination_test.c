/* destination_test.c - requests to another server, its keys, and when it is left alone; with a virtual clock and scripted
 * answers.
 */
#include "actors/destination/destination.h"
#include "actors/keys/published.h"
#include "bus/stage.h"
#include "proto/base64.h"
#include "proto/xmatrix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MINUTE = 60 * 1000, HOUR = 3600 * 1000, DAY = 24 * HOUR };

static const gr_actor_kind *const kinds[] = {&gr_destination_kind, NULL};
static gr_signer here, there;
static gr_env env;
#define OLD_KEY "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw"
static gr_stage *s;
static gr_arena *arena;

static int set_up(void **state)
{
    static const unsigned char seeds[2][GR_SIGN_SEED] = {{1}, {2}};
    (void)state;
    arena = gr_arena_new(0);
    if (gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("h"), seeds[0], &here))
        || gr_failed(gr_signer_from_seed(GR_STR("there"), GR_STR("t1"), seeds[1], &there))) return -1;
    env = (gr_env){.server_name = GR_STR("here"), .signer = &here, .retry = {10 * 60 * 1000, 7 * (uint64_t)DAY, 2, 0},
                   .queue = {1000, 8 << 20, HOUR, 50}};
    s = gr_stage_new(kinds, "destination/there", &env);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    gr_arena_free(&arena);
    return 0;
}

/* --- requests ---------------------------------------------------------------------------------------------- */
static const gr_stage_effect *ask(void)
{
    gr_destination_request m = {.method = GR_STR("PUT"), .uri = GR_STR("/x?a=b"), .content = GR_STR("{\"a\":1}")};
    gr_stage_ask(s, &gr_type_destination_request, &m);
    return gr_stage_fetching(s, 0);
}

static gr_errcode answered(const gr_stage_effect *fetch, gr_fetched fetched)
{
    gr_stage_fetched(s, fetch, &fetched);
    return gr_stage_error(s).code;
}

static gr_fetched status(uint64_t code, const char *body) { return (gr_fetched){.status = code, .body = gr_str_c(body)}; }
static gr_fetched failure(gr_fetch_failure f) { return (gr_fetched){.failure = f, .text = GR_STR("it failed")}; }

static void a_request_goes_out_signed_and_its_answer_comes_back(void **state)
{
    gr_xmatrix x;
    const gr_json *content = NULL;
    (void)state;
    const gr_stage_effect *fetch = ask();
    assert_non_null(fetch);
    assert_true(gr_str_is(fetch->fetch->server, "there") && gr_str_is(fetch->fetch->uri, "/x?a=b"));
    assert_false(gr_failed(gr_xmatrix_parse(arena, fetch->fetch->authorization, &x)));
    assert_false(gr_failed(gr_json_parse(arena, fetch->fetch->content, GR_JSON_LAX, &content)));
    gr_xmatrix_request r = {fetch->fetch->method, fetch->fetch->uri, content};
    assert_true(gr_str_is(x.destination, "there"));
    assert_false(gr_failed(gr_xmatrix_check(arena, &x, &r, GR_STR("there"), here.public_key)));
    assert_int_equal(answered(fetch, status(200, "{\"b\":2}")), GR_OK);
    const gr_result *result = gr_stage_replied(s, &gr_type_result);
    assert_true(result && gr_str_is(result->body, "{\"b\":2}"));
}

static void answers_find_their_askers_in_any_order(void **state)
{
    (void)state;
    const gr_stage_effect one = *ask();
    uint64_t first = gr_stage_seq(s);
    const gr_stage_effect two = *ask();
    uint64_t second = gr_stage_seq(s);
    assert_int_equal(answered(&two, status(200, "{}")), GR_OK);
    assert_int_equal(gr_stage_find(s, GR_REPLY, NULL, 0)->seq, second);
    assert_int_equal(answered(&one, status(200, "{}")), GR_OK);
    assert_int_equal(gr_stage_find(s, GR_REPLY, NULL, 0)->seq, first);
    assert_int_equal(gr_stage_fetched(s, &one, &(gr_fetched){.status = 200, .body = GR_STR("{}")}), 0);
}

static void errors_that_concern_the_thing_asked_for_are_passed_on(void **state)
{
    (void)state;
    assert_int_equal(answered(ask(), status(404, "{\"errcode\":\"M_NOT_FOUND\",\"error\":\"none\"}")), GR_NOT_FOUND);
    assert_string_equal(gr_stage_error(s).text, "none");
    assert_int_equal(answered(ask(), status(401, "{\"errcode\":\"M_UNKNOWN_TOKEN\"}")), GR_BAD_GATEWAY);
    assert_int_equal(answered(ask(), status(500, "{\"errcode\":\"M_NOT_FOUND\"}")), GR_BAD_GATEWAY);
    assert_int_equal(answered(ask(), status(302, "")), GR_BAD_GATEWAY);
    assert_int_equal(answered(ask(), status(200, "rubbish")), GR_BAD_GATEWAY);
    assert_int_equal(answered(ask(), status(200, "7")), GR_BAD_GATEWAY);
    assert_int_equal(answered(ask(), status(429, "{\"retry_after_ms\":77}")), GR_LIMIT_EXCEEDED);
    assert_int_equal(gr_stage_error(s).retry_after_ms, 77);
    assert_int_equal(answered(ask(), failure(GR_FETCH_TIMEOUT)), GR_TIMEOUT);
    assert_int_equal(answered(ask(), failure(GR_FETCH_DENIED)), GR_FORBIDDEN);
    assert_int_equal(answered(ask(), failure(GR_FETCH_TOO_LARGE)), GR_BAD_GATEWAY);
    assert_non_null(ask());
}

static void no_more_than_so_many_requests_are_under_way(void **state)
{
    (void)state;
    for (int i = 0; i < GR_DESTINATION_REQUESTS_MAX; i++) assert_non_null(ask());
    assert_null(ask());
    assert_int_equal(gr_stage_error(s).code, GR_LIMIT_EXCEEDED);
}

static void this_server_itself_is_no_destination(void **state)
{
    (void)state;
    gr_stage_on(s, "destination/here");
    assert_null(ask());
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
}

/* --- being left alone -------------------------------------------------------------------------------------- */
static uint64_t fail_once(void)
{
    uint64_t before = gr_stage_now(s);
    const gr_stage_effect *fetch = ask();
    assert_non_null(fetch);
    assert_int_equal(answered(fetch, failure(GR_FETCH_UNREACHABLE)), GR_BAD_GATEWAY);
    return ((const gr_destination *)gr_stage_self(s))->backoff.next_ms - before;
}

static void a_server_that_cannot_be_reached_is_left_alone_longer_each_time(void **state)
{
    static const uint64_t seconds[] = {4, 16, 60, 60, 60, 60, 60, 60, 60, 60, 600, 1200, 2400, 4800};
    (void)state;
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        uint64_t began = gr_stage_now(s), wait = fail_once();
        assert_int_equal(wait, seconds[i] * 1000);
        gr_stage_clock(s, began + wait - 1);
        assert_null(ask());
        assert_int_equal(gr_stage_error(s).code, GR_BAD_GATEWAY);
        gr_stage_clock(s, began + wait);
    }
}

static void the_longest_wait_is_the_configured_one_and_jitter_moves_it(void **state)
{
    uint64_t wait = 0;
    (void)state;
    env.retry.jitter = 0.5;
    for (int i = 0; i < 40; i++) {
        wait = fail_once();
        gr_stage_clock(s, gr_stage_now(s) + wait);
    }
    assert_in_range(wait, (uint64_t)DAY, env.retry.max_ms);
}

static void waiting_survives_a_restart_and_any_answer_ends_it(void **state)
{
    gr_str row;
    (void)state;
    uint64_t wait = fail_once();
    gr_stage_reload(s);
    assert_null(ask());
    gr_stage_clock(s, gr_stage_now(s) + wait);
    answered(ask(), status(404, ""));
    assert_false(gr_stage_get(s, GR_STR("b"), &row));
    assert_int_equal(fail_once(), 4000);
}

static void requests_under_way_together_count_as_one_failure(void **state)
{
    (void)state;
    const gr_stage_effect one = *ask(), two = *ask();
    answered(&one, failure(GR_FETCH_UNREACHABLE));
    answered(&two, failure(GR_FETCH_UNREACHABLE));
    assert_int_equal(((const gr_destination *)gr_stage_self(s))->backoff.failures, 1);
}

static void slow_or_broken_answers_are_no_reason_to_leave_it_alone(void **state)
{
    (void)state;
    answered(ask(), failure(GR_FETCH_TIMEOUT));
    answered(ask(), failure(GR_FETCH_BROKEN));
    answered(ask(), failure(GR_FETCH_BUSY));
    assert_non_null(ask());
}

static void being_heard_of_makes_it_tried_now_once_a_minute_without_shortening_the_next_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 11; i++) gr_stage_clock(s, gr_stage_now(s) + (i < 10 ? fail_once() : 0));
    assert_int_equal(fail_once(), 600 * 1000);
    gr_stage_tell(s, "edge/stage/0", &gr_type_destination_heard, &(gr_destination_heard){0});
    assert_int_equal(fail_once(), 1200 * 1000);
    gr_stage_tell(s, "edge/stage/0", &gr_type_destination_heard, &(gr_destination_heard){0});
    assert_null(ask());
    gr_stage_clock(s, gr_stage_now(s) + GR_BACKOFF_HEARD_MS);
    gr_stage_tell(s, "edge/stage/0", &gr_type_destination_heard, &(gr_destination_heard){0});
    assert_non_null(ask());
}

/* --- keys -------------------------------------------------------------------------------------------------- */
static gr_str published(const gr_signer *by, const char *id, uint64_t until_ms, const char *old)
{
    const gr_json *object = NULL;
    gr_str text = gr_arena_printf(arena, "{\"server_name\":\"there\",\"valid_until_ts\":%llu,\"verify_keys\":{\"%s\":"
                                  "{\"key\":\"%s\"}},\"old_verify_keys\":{%s}}", (unsigned long long)until_ms, id,
                                  gr_signer_public_text(arena, by).ptr, old);
    assert_false(gr_failed(gr_json_parse(arena, text, GR_JSON_LAX, &object)));
    return gr_sign_json(arena, by, object);
}

static void want(const char *id, uint64_t min_valid_ms, bool cached_only)
{
    gr_str key_id = gr_str_c(id);
    gr_destination_keys m = {.key_ids = {&key_id, 1}, .min_valid_ms = min_valid_ms, .cached_only = cached_only,
                             .with_object = true};
    gr_stage_ask(s, &gr_type_destination_keys, &m);
}

static const gr_server_key *key_in_reply(const char *id)
{
    const gr_server_keys *keys = gr_stage_replied(s, &gr_type_server_keys);
    assert_non_null(keys);
    for (size_t i = 0; i < keys->keys.count; i++)
        if (gr_str_is(keys->keys.at[i].key_id, id)) return &keys->keys.at[i];
    return NULL;
}

static void learn(const char *id, uint64_t until_ms, const char *old)
{
    want(id, 0, false);
    const gr_stage_effect *fetch = gr_stage_fetching(s, 0);
    assert_non_null(fetch);
    assert_true(gr_str_is(fetch->fetch->uri, "/_matrix/key/v2/server"));
    gr_stage_fetched(s, fetch, &(gr_fetched){.status = 200, .body = published(&there, id, until_ms, old)});
}

static void keys_are_asked_for_once_and_kept(void **state)
{
    (void)state;
    uint64_t now = gr_stage_now(s);
    learn("ed25519:t1", now + DAY, "\"ed25519:t0\":{\"key\":\"" OLD_KEY "\",\"expired_ts\":7}");
    const gr_server_key *key = key_in_reply("ed25519:t1");
    assert_non_null(key);
    assert_memory_equal(key->public_key.ptr, there.public_key, GR_SIGN_PUBLIC);
    assert_int_equal(key->valid_until_ms, now + DAY);
    assert_int_equal(key_in_reply("ed25519:t0")->expired_ms, 7);
    gr_stage_reload(s);
    want("ed25519:t1", now, false);
    assert_null(gr_stage_fetching(s, 0));
    assert_non_null(key_in_reply("ed25519:t1"));
    want("ed25519:t0", now, false);
    assert_null(gr_stage_fetching(s, 0));
}

static void a_key_is_valid_no_longer_than_a_week_from_when_it_was_learnt(void **state)
{
    (void)state;
    learn("ed25519:t1", gr_stage_now(s) + 100 * (uint64_t)DAY, "");
    assert_int_equal(key_in_reply("ed25519:t1")->valid_until_ms, gr_stage_now(s) + GR_SERVER_KEYS_VALID_MS);
}

static void a_key_that_is_not_valid_long_enough_is_asked_for_again(void **state)
{
    (void)state;
    learn("ed25519:t1", gr_stage_now(s) + HOUR, "");
    gr_stage_clock(s, gr_stage_now(s) + 2 * HOUR);
    want("ed25519:t1", gr_stage_now(s), true);
    assert_null(gr_stage_fetching(s, 0));
    want("ed25519:t1", gr_stage_now(s), false);
    assert_non_null(gr_stage_fetching(s, 0));
}

static void unknown_keys_do_not_make_it_ask_all_the_time(void **state)
{
    (void)state;
    learn("ed25519:t1", gr_stage_now(s) + DAY, "");
    want("ed25519:other", 0, false);
    assert_null(gr_stage_fetching(s, 0));
    assert_null(key_in_reply("ed25519:other"));
    gr_stage_clock(s, gr_stage_now(s) + GR_SERVER_KEYS_ASK_MS);
    want("ed25519:other", 0, false);
    assert_non_null(gr_stage_fetching(s, 0));
    want("ed25519:other", 0, false);
    assert_null(gr_stage_fetching(s, 0));      /* one is under way: both wait for it */
    assert_null(gr_stage_replied(s, &gr_type_server_keys));
}

/* Else two servers that leave each other alone, with keys of each other that are old by now, would refuse each other for ever. */
static void a_server_that_is_left_alone_is_asked_for_its_keys_once_a_minute(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) gr_stage_clock(s, gr_stage_now(s) + fail_once());
    fail_once();
    for (int i = 0; i < 2; i++) {
        want("ed25519:t1", gr_stage_now(s), false);
        const gr_stage_effect *fetch = gr_stage_fetching(s, 0);
        assert_non_null(fetch);
        gr_stage_fetched(s, fetch, &(gr_fetched){.failure = GR_FETCH_UNREACHABLE, .text = GR_STR("it failed")});
        gr_stage_clock(s, gr_stage_now(s) + MINUTE - 1);
        want("ed25519:t1", gr_stage_now(s), false);
        assert_null(gr_stage_fetching(s, 0));
        gr_stage_clock(s, gr_stage_now(s) + 1);
    }
}

static void keys_signed_by_nobody_or_for_another_server_are_not_learnt(void **state)
{
    (void)state;
    uint64_t until = gr_stage_now(s) + DAY;
    const gr_signer forger = here;
    gr_str good = published(&there, "ed25519:t1", until, "");
    gr_str forged = published(&forger, "ed25519:t1", until, ""), changed = gr_arena_str(arena, good);
    char *digit = strstr((char *)changed.ptr, "\"valid_until_ts\":") + 17;
    *digit = *digit == '9' ? '8' : '9';
    gr_str wrong[] = {changed, forged, GR_STR("{}"), GR_STR("[]"), GR_STR("")};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        gr_stage_tell(s, "keys/1", &gr_type_destination_learn, &(gr_destination_learn){.object = wrong[i]});
        assert_int_equal(gr_stage_keys(s), 0);
    }
    gr_stage_tell(s, "keys/1", &gr_type_destination_learn, &(gr_destination_learn){.object = good});
    assert_int_equal(gr_stage_keys(s), 2);
    gr_stage_on(s, "destination/elsewhere");
    gr_stage_tell(s, "keys/1", &gr_type_destination_learn, &(gr_destination_learn){.object = good});
    assert_int_equal(gr_stage_keys(s), 0);
}

static void a_key_that_became_old_is_old(void **state)
{
    (void)state;
    learn("ed25519:t1", gr_stage_now(s) + DAY, "");
    gr_signer next;
    static const unsigned char seed[GR_SIGN_SEED] = {3};
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("there"), GR_STR("t2"), seed, &next)));
    gr_str old = gr_arena_printf(arena, "\"ed25519:t1\":{\"key\":\"%s\",\"expired_ts\":9}",
                                 gr_signer_public_text(arena, &there).ptr);
    gr_str object = published(&next, "ed25519:t2", gr_stage_now(s) + DAY, old.ptr);
    gr_stage_ask(s, &gr_type_destination_learn, &(gr_destination_learn){.object = object});
    assert_int_equal(key_in_reply("ed25519:t1")->expired_ms, 9);
    assert_int_equal(key_in_reply("ed25519:t2")->expired_ms, 0);
}

static void no_more_than_so_many_keys_are_kept(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        gr_buf old = {0};
        for (int i = 0; i < GR_SERVER_KEYS_MAX - 2; i++)
            gr_buf_printf(&old, "%s\"ed25519:o%d_%d\":{\"key\":\"" OLD_KEY "\",\"expired_ts\":%d}",
                          i ? "," : "", round, i, 1000 * round + i + 1);
        gr_buf_char(&old, 0);
        gr_str object = published(&there, "ed25519:t1", gr_stage_now(s) + DAY, old.ptr);
        gr_stage_ask(s, &gr_type_destination_learn, &(gr_destination_learn){.object = object});
        assert_non_null(key_in_reply("ed25519:t1"));
        assert_in_range(gr_stage_keys(s), 2, GR_SERVER_KEYS_MAX + 1);
        assert_false(gr_stage_over_bounds(s));
        gr_buf_free(&old);
    }
    assert_null(key_in_reply("ed25519:o0_0"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_request_goes_out_signed_and_its_answer_comes_back),
        T(answers_find_their_askers_in_any_order),
        T(errors_that_concern_the_thing_asked_for_are_passed_on),
        T(no_more_than_so_many_requests_are_under_way),
        T(this_server_itself_is_no_destination),
        T(a_server_that_cannot_be_reached_is_left_alone_longer_each_time),
        T(the_longest_wait_is_the_configured_one_and_jitter_moves_it),
        T(waiting_survives_a_restart_and_any_answer_ends_it),
        T(requests_under_way_together_count_as_one_failure),
        T(slow_or_broken_answers_are_no_reason_to_leave_it_alone),
        T(being_heard_of_makes_it_tried_now_once_a_minute_without_shortening_the_next_wait),
        T(keys_are_asked_for_once_and_kept),
        T(a_key_is_valid_no_longer_than_a_week_from_when_it_was_learnt),
        T(a_key_that_is_not_valid_long_enough_is_asked_for_again),
        T(unknown_keys_do_not_make_it_ask_all_the_time),
        T(a_server_that_is_left_alone_is_asked_for_its_keys_once_a_minute),
        T(keys_signed_by_nobody_or_for_another_server_are_not_learnt),
        T(a_key_that_became_old_is_old),
        T(no_more_than_so_many_keys_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
