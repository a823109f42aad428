/* schema_test.c - deltas by name, versions, failures, and crashes at every file operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/fault_env.h"
#include "persistence/schema.h"

enum { NOW_MS = 1700000 };

typedef struct { gr_fault_env *env; gr_arena *arena; gr_store *store; } fixture;

static gr_err open_store(fixture *f)
{
    gr_store_options options = {.dir = "/store", .server_name = GR_STR("a.example"), .create = true,
                                .incarnation = 1, .env = gr_fault_env_leveldb(f->env)};
    return gr_store_open(&options, f->arena, &f->store);
}

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    f->arena = gr_arena_new(0);
    f->env = gr_fault_env_new();
    *state = f;
    return gr_failed(open_store(f));
}

static int teardown(void **state)
{
    fixture *f = *state;
    gr_store_close(&f->store);
    gr_fault_env_free(&f->env);
    gr_arena_free(&f->arena);
    free(f);
    return 0;
}

/* Deltas write one after another to a log, so that their order shows. */
static gr_err append(gr_delta_run *run, const char *letter)
{
    gr_str log;
    gr_err err = gr_store_get(run->store, GR_STR("hlog"), run->arena, &log);
    if (gr_failed(err)) return err;
    gr_ops_put(run->writes, GR_STR("hlog"), gr_arena_cat(run->arena, 2, (gr_str[]){log, gr_str_c(letter)}));
    return gr_ok();
}

static gr_err run_a(gr_delta_run *run) { return append(run, "a"); }
static gr_err run_b(gr_delta_run *run) { return append(run, "b"); }
static gr_err run_c(gr_delta_run *run) { return append(run, "c"); }

static gr_err run_failing(gr_delta_run *run)
{
    gr_err err = append(run, "!");
    return gr_failed(err) ? err : gr_fail(GR_BAD_STATE, "no luck");
}

/* Copies row after row with a flush each, as one with too much work for one write does. */
static gr_err run_in_parts(gr_delta_run *run)
{
    int from = gr_str_empty(run->progress) ? 0 : run->progress.ptr[0];
    for (int i = from; i < 5; i++) {
        gr_err err = append(run, "p");
        if (!gr_failed(err)) err = gr_delta_flush(run, gr_str_of(&(char){(char)(i + 1)}, 1));
        if (gr_failed(err)) return err;
    }
    return gr_ok();
}

static gr_err upgrade(fixture *f, const gr_delta *deltas, size_t count, size_t *ran)
{
    gr_schema schema = {.version = 3, .compatible = 2, .deltas = deltas, .count = count};
    return gr_schema_upgrade(f->store, &schema, NOW_MS, f->arena, ran);
}

static void assert_log(fixture *f, const char *expected)
{
    gr_str log;
    assert_false(gr_failed(gr_store_get(f->store, GR_STR("hlog"), f->arena, &log)));
    assert_string_equal(log.ptr ? log.ptr : "", expected);
}

static void deltas_run_once_in_order_of_number_then_name(void **state)
{
    fixture *f = *state;
    const gr_delta deltas[] = {{"zeta", 1, run_b}, {"beta", 2, run_c}, {"alpha", 1, run_a}};
    size_t ran;
    assert_false(gr_failed(upgrade(f, deltas, 3, &ran)));
    assert_int_equal(ran, 3);
    assert_log(f, "abc");
    assert_false(gr_failed(upgrade(f, deltas, 3, &ran)));
    assert_int_equal(ran, 0);
    assert_log(f, "abc");
}

static void a_delta_that_arrives_late_under_an_old_number_still_runs(void **state)
{
    fixture *f = *state;
    const gr_delta first[] = {{"five", 5, run_a}};
    const gr_delta then[] = {{"two", 2, run_b}, {"five", 5, run_a}};
    size_t ran;
    gr_schema_ran *ran_names;
    size_t count;
    assert_false(gr_failed(upgrade(f, first, 1, &ran)));
    assert_false(gr_failed(upgrade(f, then, 2, &ran)));
    assert_int_equal(ran, 1);
    assert_log(f, "ab");
    assert_false(gr_failed(gr_schema_applied(f->store, f->arena, &ran_names, &count)));
    assert_int_equal(count, 2);
    assert_true(gr_str_is(ran_names[0].name, "five") && gr_str_is(ran_names[1].name, "two"));
    assert_int_equal(ran_names[0].ran_ms, NOW_MS);
}

static void a_failing_delta_changes_nothing_and_is_tried_again(void **state)
{
    fixture *f = *state;
    const gr_delta bad[] = {{"one", 1, run_a}, {"two", 2, run_failing}, {"three", 3, run_c}};
    const gr_delta good[] = {{"one", 1, run_a}, {"two", 2, run_b}, {"three", 3, run_c}};
    size_t ran;
    gr_err err = upgrade(f, bad, 3, &ran);
    assert_true(gr_failed(err));
    assert_non_null(strstr(err.text, "two"));
    assert_log(f, "a");
    assert_false(gr_failed(upgrade(f, good, 3, &ran)));
    assert_int_equal(ran, 2);
    assert_log(f, "abc");
}

static void a_store_that_is_too_new_is_refused_with_the_version_it_needs(void **state)
{
    fixture *f = *state;
    size_t ran;
    gr_schema newer = {.version = 9, .compatible = 7}, older = {.version = 6, .compatible = 1};
    gr_schema enough = {.version = 7, .compatible = 2};
    assert_false(gr_failed(gr_schema_upgrade(f->store, &newer, NOW_MS, f->arena, &ran)));
    gr_err err = gr_schema_upgrade(f->store, &older, NOW_MS, f->arena, &ran);
    assert_int_equal(err.code, GR_BAD_STATE);
    assert_non_null(strstr(err.text, "from schema 7 on"));
    assert_false(gr_failed(gr_schema_upgrade(f->store, &enough, NOW_MS, f->arena, &ran)));
    assert_int_equal(gr_schema_upgrade(f->store, &older, NOW_MS, f->arena, &ran).code, GR_BAD_STATE);
}

static void a_power_cut_at_any_operation_leaves_each_delta_done_once(void **state)
{
    fixture *f = *state;
    const gr_delta deltas[] = {{"one", 1, run_a}, {"parts", 2, run_in_parts}, {"three", 3, run_c}};
    size_t ran;
    for (uint64_t cut = 1, whole = 0; !whole; cut++) {
        teardown(state);
        assert_int_equal(setup(state), 0);
        f = *state;
        gr_fault_env_cut_at(f->env, gr_fault_env_operations(f->env) + cut);
        whole = !gr_failed(upgrade(f, deltas, 3, &ran));
        gr_store_close(&f->store);
        gr_fault_env_restart(f->env, cut % 2);
        assert_false(gr_failed(open_store(f)));
        assert_false(gr_failed(upgrade(f, deltas, 3, &ran)));
        assert_log(f, "apppppc");
    }
}

static bool add_row(void *arg, gr_str key, gr_str value)
{
    uint64_t *hash = arg;
    *hash = *hash * 31 + gr_str_hash(key);
    *hash = *hash * 31 + gr_str_hash(value);
    return true;
}

/* Of every row of the store. */
static uint64_t digest(fixture *f)
{
    uint64_t hash = 1;
    assert_false(gr_failed(gr_store_scan(f->store, NULL, &(gr_range){0}, add_row, &hash)));
    return hash;
}

static void a_failing_delta_leaves_every_row_as_it_was(void **state)
{
    fixture *f = *state;
    const gr_delta fine[] = {{"one", 1, run_a}}, bad[] = {{"one", 1, run_a}, {"two", 2, run_failing}};
    size_t ran;
    assert_false(gr_failed(upgrade(f, fine, 1, &ran)));
    uint64_t before = digest(f);
    assert_true(gr_failed(upgrade(f, bad, 2, &ran)));
    assert_int_equal(digest(f), before);
}

/* Each delta counts its own runs. */
static gr_err count_run(gr_delta_run *run)
{
    gr_str key = gr_arena_printf(run->arena, "hcount/%s", run->name), count;
    gr_err err = gr_store_get(run->store, key, run->arena, &count);
    if (gr_failed(err)) return err;
    gr_ops_put(run->writes, key, gr_arena_cat(run->arena, 2, (gr_str[]){count, GR_STR("1")}));
    return gr_ok();
}

enum { DELTAS = 5 };
static const gr_delta set[DELTAS] = {
    {"anna", 3, count_run}, {"berta", 1, count_run}, {"clara", 3, count_run}, {"dora", 2, count_run}, {"emma", 9, count_run}};

/* A store that got the deltas one by one in this order: all have run once, whatever came before. */
static uint64_t taken_through(const size_t *order)
{
    fixture *f = NULL;
    gr_delta known[DELTAS];
    size_t ran;
    assert_int_equal(setup((void **)&f), 0);
    for (size_t i = 0; i < DELTAS; i++) {
        known[i] = set[order[i]];
        assert_false(gr_failed(upgrade(f, known, i + 1, &ran)));
        assert_int_equal(ran, 1);
    }
    for (size_t i = 0; i < DELTAS; i++) {
        gr_str count;
        assert_false(gr_failed(gr_store_get(f->store, gr_arena_printf(f->arena, "hcount/%s", set[i].name), f->arena, &count)));
        assert_true(gr_str_is(count, "1"));
    }
    uint64_t hash = digest(f);
    teardown((void **)&f);
    return hash;
}

static void each_order(size_t *order, size_t at, uint64_t *hash, unsigned *orders)
{
    if (at == DELTAS) {
        uint64_t got = taken_through(order);
        if (*orders == 0) *hash = got;
        assert_int_equal(got, *hash);
        ++*orders;
    }
    for (size_t i = at; i < DELTAS; i++) {
        size_t swapped = order[at];
        order[at] = order[i];
        order[i] = swapped;
        each_order(order, at + 1, hash, orders);
        order[i] = order[at];
        order[at] = swapped;
    }
}

static void a_store_that_took_a_set_of_deltas_in_any_order_is_the_same(void **state)
{
    size_t order[DELTAS] = {0, 1, 2, 3, 4};
    uint64_t hash = 0;
    unsigned orders = 0;
    (void)state;
    each_order(order, 0, &hash, &orders);
    assert_int_equal(orders, 120);
}

static void stores_of_two_branches_become_the_same_when_the_branches_merge(void **state)
{
    const gr_delta left[] = {{"base", 1, count_run}, {"left", 2, count_run}};
    const gr_delta right[] = {{"base", 1, count_run}, {"right", 2, count_run}};
    const gr_delta merged[] = {{"base", 1, count_run}, {"right", 2, count_run}, {"left", 2, count_run}};
    const gr_delta *const branches[] = {left, right};
    uint64_t hashes[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture *f = NULL;
        size_t ran;
        assert_int_equal(setup((void **)&f), 0);
        assert_false(gr_failed(upgrade(f, branches[i], 2, &ran)));
        assert_false(gr_failed(upgrade(f, merged, 3, &ran)));
        assert_int_equal(ran, 1);
        hashes[i] = digest(f);
        teardown((void **)&f);
    }
    assert_int_equal(hashes[0], hashes[1]);
}

/* The older program leaves what the newer one has done, and may have deltas of its own. */
static void an_older_program_within_the_range_works_on_and_the_newer_one_goes_on_after_it(void **state)
{
    fixture *f = *state;
    const gr_delta more[] = {{"old", 1, run_a}, {"new", 9, run_b}}, less[] = {{"old", 1, run_a}, {"late", 2, run_c}};
    gr_schema newer = {.version = 9, .compatible = 5, .deltas = more, .count = 2};
    gr_schema older = {.version = 6, .compatible = 1, .deltas = less, .count = 2};
    unsigned version;
    size_t ran;
    assert_false(gr_failed(gr_schema_upgrade(f->store, &newer, NOW_MS, f->arena, &ran)));
    assert_false(gr_failed(gr_schema_upgrade(f->store, &older, NOW_MS, f->arena, &ran)));
    assert_int_equal(ran, 1);
    assert_false(gr_failed(gr_schema_version(f->store, f->arena, &version)));
    assert_int_equal(version, 9);
    assert_false(gr_failed(gr_schema_upgrade(f->store, &newer, NOW_MS, f->arena, &ran)));
    assert_int_equal(ran, 0);
    assert_log(f, "abc");
}

static void a_failure_of_any_operation_leaves_each_delta_done_once(void **state)
{
    fixture *f = *state;
    const gr_delta deltas[] = {{"one", 1, run_a}, {"parts", 2, run_in_parts}, {"three", 3, run_c}};
    size_t ran;
    for (uint64_t at = 1, whole = 0; !whole; at++) {
        teardown(state);
        assert_int_equal(setup(state), 0);
        f = *state;
        gr_fault_env_fail_at(f->env, gr_fault_env_operations(f->env) + at, 1);
        whole = !gr_failed(upgrade(f, deltas, 3, &ran));
        gr_fault_env_fail_at(f->env, 0, 0);
        gr_store_close(&f->store);
        assert_false(gr_failed(open_store(f)));
        assert_false(gr_failed(upgrade(f, deltas, 3, &ran)));
        assert_log(f, "apppppc");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(deltas_run_once_in_order_of_number_then_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_delta_that_arrives_late_under_an_old_number_still_runs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failing_delta_changes_nothing_and_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_is_too_new_is_refused_with_the_version_it_needs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_power_cut_at_any_operation_leaves_each_delta_done_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failure_of_any_operation_leaves_each_delta_done_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_delta_leaves_every_row_as_it_was, setup, teardown),
        cmocka_unit_test(a_store_that_took_a_set_of_deltas_in_any_order_is_the_same),
        cmocka_unit_test(stores_of_two_branches_become_the_same_when_the_branches_merge),
        cmocka_unit_test_setup_teardown(an_older_program_within_the_range_works_on_and_the_newer_one_goes_on_after_it, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
