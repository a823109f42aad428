/* backup_test.c - copies of a running store, damaged and cut short, and the walk that checks a store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/backup.h"
#include "persistence/fault_env.h"
#include "persistence/fsck.h"

enum { ROWS = 300, VALUE = 8000 };

typedef struct { gr_fault_env *env; gr_arena *arena; gr_store *store; gr_shard shards[2]; } fixture;

static gr_store_options options_for(fixture *f, const char *dir, uint64_t incarnation)
{
    return (gr_store_options){.dir = dir, .server_name = GR_STR("a.example"), .incarnation = incarnation,
                              .env = gr_fault_env_leveldb(f->env)};
}

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    (void)arg, (void)token, (void)shard, (void)number;
    assert_int_equal(outcome, GR_COMMITTED);
}

static void write_rows(fixture *f, const char *prefix, int count)
{
    static char value[VALUE];
    gr_ops ops = {0};
    gr_batch batch;
    for (int i = 0; i < count; i++) {
        gr_ops_clear(&ops);
        gr_ops_put(&ops, gr_arena_printf(f->arena, "%s%04d", prefix, i), gr_str_of(value, VALUE));
        assert_false(gr_failed(gr_shard_seal(&f->shards[i % 2], &ops, f->arena, &batch)));
        gr_store_submit(f->store, &batch, 1, 0, done, f);
        gr_store_step(f->store);
    }
    gr_ops_free(&ops);
}

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    *state = f;
    f->arena = gr_arena_new(0);
    f->env = gr_fault_env_new();
    gr_store_options options = options_for(f, "/store", 11);
    options.create = true;
    assert_false(gr_failed(gr_store_open(&options, f->arena, &f->store)));
    for (int s = 0; s < 2; s++)
        assert_false(gr_failed(gr_shard_open(f->store, (uint8_t)(s * 255), f->arena, &f->shards[s])));
    write_rows(f, "row", ROWS);
    return 0;
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

static bool count_rows(void *arg, gr_str key, gr_str value)
{
    (void)value;
    assert_true(gr_str_starts(key, GR_STR("row")));
    ++*(int *)arg;
    return true;
}

/* Writes go on while the copy is made; none of them may be in it. */
static bool write_meanwhile(void *arg, const gr_backup_count *so_far)
{
    (void)so_far;
    write_rows(arg, "late", 4);
    return true;
}

static bool give_up(void *arg, const gr_backup_count *so_far)
{
    (void)arg, (void)so_far;
    return false;
}

static void a_backup_holds_the_moment_it_was_begun_and_gets_new_incarnations(void **state)
{
    fixture *f = *state;
    gr_store_options to = options_for(f, "/copy", 22);
    gr_backup_count written, restored;
    assert_false(gr_failed(gr_backup_write(f->store, &to, f->arena, write_meanwhile, f, &written)));
    assert_int_equal(written.keys, ROWS + 2);
    /* not before it was restored */
    assert_true(gr_failed(gr_store_open(&to, f->arena, &(gr_store *){NULL})));
    assert_false(gr_failed(gr_backup_restore(&to, f->arena, &restored)));
    assert_int_equal(restored.keys, written.keys);
    gr_store *copy;
    assert_false(gr_failed(gr_store_open(&to, f->arena, &copy)));
    assert_int_equal(gr_store_incarnation(copy), 22);
    for (int s = 0; s < 2; s++) {
        gr_shard shard;
        int rows = 0;
        assert_false(gr_failed(gr_shard_open(copy, (uint8_t)(s * 255), f->arena, &shard)));
        assert_int_equal(shard.newest.number, ROWS / 2);
        assert_int_not_equal(shard.incarnation, f->shards[s].incarnation);
        assert_false(gr_failed(gr_shard_scan(&shard, NULL, &(gr_range){0}, count_rows, &rows)));
        assert_int_equal(rows, ROWS / 2);
    }
    gr_store_close(&copy);
}

static void a_backup_that_was_cut_short_or_damaged_is_refused(void **state)
{
    fixture *f = *state;
    gr_store_options to = options_for(f, "/copy", 22), other = options_for(f, "/other", 23);
    gr_backup_count count;
    assert_true(gr_failed(gr_backup_write(f->store, &to, f->arena, give_up, NULL, &count)));
    gr_err err = gr_backup_restore(&to, f->arena, &count);
    assert_non_null(strstr(err.text, "not finished"));
    /* the place is taken */
    assert_true(gr_failed(gr_backup_write(f->store, &to, f->arena, NULL, NULL, &count)));
    assert_false(gr_failed(gr_backup_write(f->store, &other, f->arena, NULL, NULL, &count)));
    other.backup = true;
    gr_store *copy;
    gr_ops ops = {0};
    assert_false(gr_failed(gr_store_open(&other, f->arena, &copy)));
    gr_ops_delete(&ops, gr_key_shard(f->arena, 0, GR_STR("row0000")));
    assert_false(gr_failed(gr_store_write(copy, &ops)));
    gr_ops_free(&ops);
    gr_store_close(&copy);
    err = gr_backup_restore(&other, f->arena, &count);
    assert_non_null(strstr(err.text, "damaged"));
}

static void a_store_in_use_is_not_taken_for_a_backup(void **state)
{
    fixture *f = *state;
    gr_backup_count count;
    gr_store_close(&f->store);
    gr_store_options options = options_for(f, "/store", 33);
    assert_int_equal(gr_backup_restore(&options, f->arena, &count).code, GR_BAD_STATE);
    assert_false(gr_failed(gr_store_open(&options, f->arena, &f->store)));
    assert_int_equal(gr_store_incarnation(f->store), 11);
}

static void check_size(void *arg, const gr_fsck_at *at, gr_str key, gr_str value)
{
    ++*(int *)arg;
    if (value.size != VALUE) gr_fsck_problem(at->fsck, at->shard, key, "the value has another size");
}

static void fsck_calls_the_check_with_the_longest_prefix_and_counts_problems(void **state)
{
    fixture *f = *state;
    gr_fsck *fsck = gr_fsck_new();
    gr_fsck_report report;
    int short_prefix = 0, long_prefix = 0;
    gr_fsck_check(fsck, GR_STR("row"), check_size, &short_prefix);
    gr_fsck_check(fsck, GR_STR("row00"), check_size, &long_prefix);
    assert_false(gr_failed(gr_fsck_run(fsck, f->store, NULL, NULL, &report)));
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.unknown, 0);
    assert_int_equal(short_prefix, ROWS - 100);
    assert_int_equal(long_prefix, 100);
    gr_ops ops = {0};
    gr_ops_put(&ops, gr_key_shard(f->arena, 0, GR_STR("row9999")), GR_STR("short"));
    gr_ops_put(&ops, gr_key_shard(f->arena, 7, GR_STR("alone")), GR_STR("no position"));
    gr_ops_put(&ops, gr_key_shard(f->arena, 0, (gr_str){"\0p", 2}), GR_STR("nonsense"));
    gr_ops_put(&ops, GR_STR("zebra"), GR_STR(""));
    assert_false(gr_failed(gr_store_write(f->store, &ops)));
    gr_ops_free(&ops);
    assert_false(gr_failed(gr_fsck_run(fsck, f->store, NULL, NULL, &report)));
    assert_int_equal(report.problems, 4);
    assert_int_equal(report.unknown, 1);
    assert_int_equal(report.listed.count, 4);
    assert_true(gr_str_is(report.listed.at[1], "shard 0, key row9999: the value has another size"));
    gr_fsck_free(&fsck);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backup_holds_the_moment_it_was_begun_and_gets_new_incarnations),
        TEST(a_backup_that_was_cut_short_or_damaged_is_refused),
        TEST(a_store_in_use_is_not_taken_for_a_backup),
        TEST(fsck_calls_the_check_with_the_longest_prefix_and_counts_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
