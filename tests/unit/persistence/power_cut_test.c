/* power_cut_test.c - what was acknowledged outlives a power cut at any file operation, and failing disks
 * do no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/fault_env.h"
#include "persistence/store.h"

enum { SHARDS = 4, ROUNDS = 60, VALUE = 6000, WRITE_BUFFER = 64 * 1024 };

/* A run of rounds, each one group with a batch for every shard; values can be told from (shard, round). */
typedef struct {
    gr_fault_env *env;
    gr_store *store;
    gr_arena *arena;
    gr_shard shards[SHARDS];
    uint64_t acknowledged[SHARDS];    /* number of the newest batch that was committed */
    gr_outcome outcome;
    size_t answers;
    char value[VALUE];
} run;

static void fill(run *r, int shard, uint64_t number)
{
    uint32_t random = (uint32_t)(number * 2654435761u) ^ (uint32_t)shard;
    for (int i = 0; i < VALUE; i++) {
        random = random * 1664525u + 1013904223u;
        r->value[i] = (char)(random >> 24);   /* incompressible, so that files grow and rotate */
    }
}

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    run *r = arg;
    (void)token;
    r->answers++;
    if (outcome == GR_COMMITTED) r->acknowledged[shard / 85] = number;
    else r->outcome = outcome;
}

static gr_err open_store(run *r)
{
    gr_arena_reset(r->arena);
    gr_store_options options = {.dir = "/store", .server_name = GR_STR("a.example"), .create = true,
                                .incarnation = 1,
                                .write_buffer = WRITE_BUFFER, .env = gr_fault_env_leveldb(r->env)};
    gr_err err = gr_store_open(&options, r->arena, &r->store);
    for (int s = 0; s < SHARDS && !gr_failed(err); s++)
        err = gr_shard_open(r->store, (uint8_t)(s * 85), r->arena, &r->shards[s]);
    return err;
}

/* One group; false when it was not committed whole. */
static bool write_round(run *r)
{
    gr_batch batches[SHARDS];
    gr_ops ops = {0};
    gr_arena_reset(r->arena);
    for (int s = 0; s < SHARDS; s++) {
        uint64_t number = r->shards[s].newest.number + 1;
        fill(r, s, number);
        gr_ops_clear(&ops);
        gr_ops_put(&ops, gr_arena_printf(r->arena, "row%08d", (int)number), gr_str_of(r->value, VALUE));
        if (number > 3) gr_ops_delete(&ops, gr_arena_printf(r->arena, "row%08d", (int)number - 3));
        assert_false(gr_failed(gr_shard_seal(&r->shards[s], &ops, r->arena, &batches[s])));
    }
    gr_ops_free(&ops);
    r->outcome = GR_COMMITTED;
    r->answers = 0;
    gr_store_submit(r->store, batches, SHARDS, 0, done, r);
    gr_store_step(r->store);
    assert_int_equal(r->answers, SHARDS);
    return r->outcome == GR_COMMITTED;
}

typedef struct { run *r; int shard; uint64_t next; } reading;

static bool check_row(void *arg, gr_str key, gr_str value)
{
    reading *at = arg;
    assert_true(gr_str_eq(key, gr_arena_printf(at->r->arena, "row%08d", (int)at->next)));
    fill(at->r, at->shard, at->next);
    assert_int_equal(value.size, VALUE);
    assert_memory_equal(value.ptr, at->r->value, VALUE);
    at->next++;
    return true;
}

/* Each shard is exactly at some batch, and that is not before the newest acknowledged one. */
static void check_shards(run *r)
{
    for (int s = 0; s < SHARDS; s++) {
        uint64_t newest = r->shards[s].newest.number;
        assert_in_range(newest, r->acknowledged[s], ROUNDS * 2);
        reading at = {r, s, newest > 3 ? newest - 2 : 1};
        assert_false(gr_failed(gr_shard_scan(&r->shards[s], NULL, &(gr_range){0}, check_row, &at)));
        assert_int_equal(at.next, newest + 1);
    }
}

static void begin(run *r)
{
    *r = (run){.env = gr_fault_env_new(), .arena = gr_arena_new(1 << 16)};
}

static void end(run *r)
{
    gr_store_close(&r->store);
    gr_fault_env_free(&r->env);
    gr_arena_free(&r->arena);
}

static void what_was_acknowledged_outlives_a_power_cut_at_every_file_operation(void **state)
{
    (void)state;
    uint64_t cut = 1, cuts = 0;
    for (bool whole = false; !whole; cut++) {
        run r;
        begin(&r);
        gr_fault_env_cut_at(r.env, cut);
        if (!gr_failed(open_store(&r)))
            for (int i = 0; i < ROUNDS && write_round(&r); i++) continue;
        whole = !gr_fault_env_is_off(r.env);
        cuts += !whole;
        gr_store_close(&r.store);
        gr_fault_env_restart(r.env, cut % 3 ? cut : 0);
        assert_false(gr_failed(open_store(&r)));
        check_shards(&r);
        assert_true(write_round(&r));
        check_shards(&r);
        end(&r);
    }
    print_message("%d power cuts\n", (int)cuts);
    assert_in_range(cuts, 500, 100000);
}

/* Writes the rounds of a run in which one operation of the disk fails. */
static void write_through_one_failure(run *r)
{
    int failed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (write_round(r)) continue;
        failed++;
        assert_int_equal(r->outcome, GR_COMMIT_UNKNOWN);
        for (int tries = 0; tries < 3 && !gr_store_writable(r->store); tries++) gr_store_step(r->store);
        assert_true(gr_store_writable(r->store));
        for (int s = 0; s < SHARDS; s++)
            assert_false(gr_failed(gr_shard_open(r->store, (uint8_t)(s * 85), r->arena, &r->shards[s])));
        check_shards(r);
    }
    assert_in_range(failed, 0, 1);
    check_shards(r);
}

static void a_store_goes_on_after_any_single_failed_operation(void **state)
{
    (void)state;
    bool whole = false;
    for (uint64_t fail = 30; !whole; fail += 7) {   /* the first operations are those of making the store */
        run r;
        begin(&r);
        assert_false(gr_failed(open_store(&r)));
        gr_fault_env_fail_at(r.env, fail, 1);
        write_through_one_failure(&r);
        whole = gr_fault_env_operations(r.env) < fail;
        end(&r);
    }
}

static void a_full_disk_makes_the_store_read_only_until_there_is_room_again(void **state)
{
    (void)state;
    run r;
    begin(&r);
    assert_false(gr_failed(open_store(&r)));
    gr_fault_env_space(r.env, 400 * 1024);
    int rounds = 0;
    while (rounds < ROUNDS && write_round(&r)) rounds++;
    assert_in_range(rounds, 3, ROUNDS - 1);
    assert_false(gr_store_writable(r.store));
    gr_arena_reset(r.arena);
    gr_ops ops = {0};
    gr_ops_put(&ops, GR_STR("hnote"), GR_STR("x"));
    assert_int_equal(gr_store_write(r.store, &ops).code, GR_UNAVAILABLE);
    gr_fault_env_space(r.env, 0);
    gr_store_step(r.store);
    assert_true(gr_store_writable(r.store));
    assert_false(gr_failed(gr_store_write(r.store, &ops)));
    gr_ops_free(&ops);
    for (int s = 0; s < SHARDS; s++)
        assert_false(gr_failed(gr_shard_open(r.store, (uint8_t)(s * 85), r.arena, &r.shards[s])));
    check_shards(&r);
    assert_true(write_round(&r));
    check_shards(&r);
    end(&r);
}

static void batches_sealed_before_a_failure_are_fenced_after_it(void **state)
{
    (void)state;
    run r;
    begin(&r);
    assert_false(gr_failed(open_store(&r)));
    assert_true(write_round(&r));
    gr_fault_env_fail_at(r.env, gr_fault_env_operations(r.env) + 1, 1);
    assert_false(write_round(&r));
    assert_int_equal(r.outcome, GR_COMMIT_UNKNOWN);
    gr_store_step(r.store);
    assert_true(gr_store_writable(r.store));
    assert_false(write_round(&r));      /* with the handles of before */
    assert_int_equal(r.outcome, GR_FENCED);
    end(&r);
}

static void a_snapshot_taken_before_the_store_was_reopened_is_refused(void **state)
{
    (void)state;
    run r;
    begin(&r);
    assert_false(gr_failed(open_store(&r)));
    assert_true(write_round(&r));
    gr_snapshot *snapshot;
    gr_str value;
    assert_false(gr_failed(gr_store_snapshot(r.store, &snapshot)));
    assert_true(write_round(&r));
    assert_false(gr_failed(gr_shard_get(&r.shards[0], snapshot, GR_STR("row00000002"), r.arena, &value)));
    assert_null(value.ptr);
    gr_fault_env_fail_at(r.env, gr_fault_env_operations(r.env) + 1, 1);
    assert_false(write_round(&r));
    assert_int_equal(gr_shard_get(&r.shards[0], snapshot, GR_STR("row00000001"), r.arena, &value).code,
                     GR_UNAVAILABLE);
    gr_store_release(r.store, &snapshot);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_outlives_a_power_cut_at_every_file_operation),
        cmocka_unit_test(a_store_goes_on_after_any_single_failed_operation),
        cmocka_unit_test(a_full_disk_makes_the_store_read_only_until_there_is_room_again),
        cmocka_unit_test(batches_sealed_before_a_failure_are_fenced_after_it),
        cmocka_unit_test(a_snapshot_taken_before_the_store_was_reopened_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
