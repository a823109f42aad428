/* keys_test.c - keys of many servers: from what is kept, in a batch from a notary, then from the servers. A simulated node
 * with scripted servers.
 */
#include "actors/destination/destination.h"
#include "actors/keys/keys.h"
#include "bus/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { SERVERS = 20, NOTARY = SERVERS, DAY = 24 * 3600 * 1000 };

static const gr_actor_kind *const kinds[] = {&gr_destination_kind, &gr_keys_kind, NULL};
static const char *notaries[2];
static gr_signer here, signers[SERVERS + 1];
static char names[SERVERS + 1][16];
static gr_env env;
static gr_sim *sim;
static gr_arena *arena;
static unsigned asked[SERVERS + 1], asked_notary;
static bool is_down[SERVERS + 1], notary_forgets_to_sign, as_notary;

static size_t number_of(gr_str server)
{
    for (size_t i = 0; i <= SERVERS; i++)
        if (gr_str_is(server, names[i])) return i;
    fail_msg("a request to an unknown server");
    return 0;
}

static const gr_json *json(gr_arena *a, gr_str text)
{
    const gr_json *out = NULL;
    assert_false(gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &out)));
    return out;
}

static gr_str keys_of(gr_arena *a, size_t n)
{
    gr_str text = gr_arena_printf(a, "{\"server_name\":\"%s\",\"valid_until_ts\":%llu,\"verify_keys\":{\"%s\":{\"key\":\"%s\"}}}",
                                  names[n], (unsigned long long)gr_sim_now(sim) + DAY, signers[n].key_id,
                                  gr_signer_public_text(a, &signers[n]).ptr);
    return gr_sign_json(a, &signers[n], json(a, text));
}

static gr_str notary_answer(gr_arena *a, gr_str question)
{
    const gr_json *wanted = gr_json_get(json(a, question), "server_keys");
    gr_buf out = {0};
    gr_buf_c(&out, "{\"server_keys\":[");
    for (uint32_t i = 0; i < wanted->count; i++) {
        gr_str object = keys_of(a, number_of(wanted->members[i].key));
        if (!notary_forgets_to_sign) object = gr_sign_json(a, &signers[NOTARY], json(a, object));
        if (i) gr_buf_char(&out, ',');
        gr_buf_str(&out, object);
    }
    gr_buf_c(&out, "]}");
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static bool remote(void *arg, gr_sim *s, unsigned node, uint64_t number, const gr_fetch *fetch, gr_arena *a, gr_fetched *out)
{
    size_t n = number_of(fetch->server);
    (void)arg, (void)s, (void)node, (void)number;
    if (is_down[n]) return true;
    *out = (gr_fetched){.status = 200};
    if (gr_str_is(fetch->uri, "/_matrix/key/v2/server")) {
        asked[n]++;
        out->body = keys_of(a, n);
    } else {
        assert_int_equal(n, NOTARY);
        asked_notary++;
        out->body = notary_answer(a, fetch->content);
    }
    return true;
}

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    memset(asked, 0, sizeof asked);
    memset(is_down, 0, sizeof is_down);
    asked_notary = 0;
    as_notary = false;
    notary_forgets_to_sign = false;
    notaries[0] = NULL;
    for (unsigned i = 0; i <= SERVERS + 1; i++) {
        unsigned char seed[GR_SIGN_SEED] = {(unsigned char)(i + 1)};
        if (i <= SERVERS) snprintf(names[i], sizeof names[i], "s%u", i);
        gr_signer *signer = i <= SERVERS ? &signers[i] : &here;
        gr_str name = i <= SERVERS ? gr_str_c(names[i]) : GR_STR("here");
        if (gr_failed(gr_signer_from_seed(name, GR_STR("k"), seed, signer))) return -1;
    }
    env = (gr_env){.server_name = GR_STR("here"), .signer = &here, .notaries = notaries, .retry = {600000, DAY, 2, 0}};
    gr_sim_options o = {.seed = 5, .nodes = 2, .workers = 2, .kinds = kinds, .env = &env, .remote = remote,
                        .remote_delay_max = 9};
    sim = gr_sim_new(&o);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_sim_free(&sim);
    gr_arena_free(&arena);
    return 0;
}

/* Asks for the keys of the first `count` servers; how many were found with the right key. */
static size_t find(size_t count)
{
    static unsigned flow;
    gr_keys_wanted wanted[SERVERS];
    gr_str ids[SERVERS];
    for (size_t i = 0; i < count; i++) {
        ids[i] = gr_str_c(signers[i].key_id);
        wanted[i] = (gr_keys_wanted){.server = gr_str_c(names[i]), .key_ids = {&ids[i], 1}, .min_valid_ms = gr_sim_now(sim)};
    }
    gr_keys_find m = {.servers = {wanted, count}, .fresh = as_notary};
    const gr_type *type;
    gr_err err = gr_ok();
    gr_str to = gr_arena_printf(arena, "keys/%u", ++flow);
    const gr_keys_found *found = gr_sim_call(sim, to, &gr_type_keys_find, &m, arena, &type, &err);
    assert_false(gr_failed(err));
    assert_int_equal(found->servers.count, count);
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        const gr_keys_known *known = &found->servers.at[i];
        assert_true(gr_str_is(known->server, names[i]));
        if (known->keys.count == 0) continue;
        assert_memory_equal(known->keys.at[0].public_key.ptr, signers[i].public_key, GR_SIGN_PUBLIC);
        good++;
    }
    return good;
}

static unsigned asked_in_all(void)
{
    unsigned sum = 0;
    for (size_t i = 0; i < SERVERS; i++) sum += asked[i];
    return sum;
}

static void keys_come_from_the_servers_once(void **state)
{
    (void)state;
    assert_int_equal(find(SERVERS), SERVERS);
    assert_int_equal(asked_in_all(), SERVERS);
    assert_int_equal(find(SERVERS), SERVERS);
    assert_int_equal(asked_in_all(), SERVERS);
}

static void a_notary_gives_those_of_many_servers_at_once(void **state)
{
    (void)state;
    notaries[0] = names[NOTARY];
    assert_int_equal(find(SERVERS), SERVERS);
    assert_int_equal(asked_notary, 1);
    assert_int_equal(asked_in_all(), 0);
    assert_int_equal(find(SERVERS), SERVERS);
    assert_int_equal(asked_notary, 1);
}

static void one_server_alone_is_asked_before_the_notary(void **state)
{
    (void)state;
    notaries[0] = names[NOTARY];
    assert_int_equal(find(1), 1);
    assert_int_equal(asked[0], 1);
    assert_int_equal(asked_notary, 0);
    is_down[0] = true;
    gr_sim_jump(sim, 8 * (uint64_t)DAY);
    assert_int_equal(find(1), 1);
    assert_int_equal(asked_notary, 1);
}

static void a_notary_that_does_not_sign_is_not_believed(void **state)
{
    (void)state;
    notaries[0] = names[NOTARY];
    notary_forgets_to_sign = true;
    assert_int_equal(find(SERVERS), SERVERS);
    assert_int_equal(asked_notary, 1);
    assert_int_equal(asked_in_all(), SERVERS);
}

static void who_is_asked_as_a_notary_asks_no_other(void **state)
{
    (void)state;
    notaries[0] = names[NOTARY];
    as_notary = is_down[3] = true;
    assert_int_equal(find(SERVERS), SERVERS - 1);
    assert_int_equal(asked_notary, 0);
}

static void servers_that_are_down_do_not_keep_the_others_from_being_found(void **state)
{
    (void)state;
    notaries[0] = names[NOTARY];
    is_down[NOTARY] = is_down[3] = is_down[7] = true;
    assert_int_equal(find(SERVERS), SERVERS - 2);
    is_down[3] = false;
    assert_int_equal(find(SERVERS), SERVERS - 2);      /* it has just failed: nobody waits for it */
    gr_sim_jump(sim, 10000);
    assert_int_equal(find(SERVERS), SERVERS - 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(keys_come_from_the_servers_once),
        T(a_notary_gives_those_of_many_servers_at_once),
        T(one_server_alone_is_asked_before_the_notary),
        T(a_notary_that_does_not_sign_is_not_believed),
        T(who_is_asked_as_a_notary_asks_no_other),
        T(servers_that_are_down_do_not_keep_the_others_from_being_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
