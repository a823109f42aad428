/* store_test.c - opening, handles, ranges, snapshots and restores, over both engines where they must
 * agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/fault_env.h"
#include "persistence/memory_engine.h"
#include "persistence/overlay.h"

typedef struct {
    gr_fault_env *env;                /* one of these two is there */
    gr_memory_disk *disk;
    gr_arena *arena;
    gr_store *store;
    gr_shard shard;
    gr_outcome outcome;
    size_t answers;
} fixture;

static gr_err open_as(fixture *f, const char *server_name, bool create)
{
    gr_store_options options = {.dir = "/store", .server_name = gr_str_c(server_name), .create = create,
                                .incarnation = 77};
    if (f->env) options.env = gr_fault_env_leveldb(f->env);
    else options.engine = gr_memory_engine_new(f->disk, &(gr_memory_options){.seed = 1});
    return gr_store_open(&options, f->arena, &f->store);
}

static int setup(void **state, bool leveldb)
{
    fixture *f = gr_alloc(sizeof *f);
    f->arena = gr_arena_new(0);
    if (leveldb) f->env = gr_fault_env_new();
    else f->disk = gr_memory_disk_new();
    *state = f;
    return gr_failed(open_as(f, "a.example", true))
        || gr_failed(gr_shard_open(f->store, 115, f->arena, &f->shard));
}

static int setup_leveldb(void **state) { return setup(state, true); }
static int setup_memory(void **state) { return setup(state, false); }

static int teardown(void **state)
{
    fixture *f = *state;
    gr_store_close(&f->store);
    if (f->env) gr_fault_env_free(&f->env);
    gr_memory_disk_free(&f->disk);
    gr_arena_free(&f->arena);
    free(f);
    return 0;
}

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    fixture *f = arg;
    (void)token, (void)shard, (void)number;
    f->outcome = outcome;
    f->answers++;
}

static gr_outcome commit(fixture *f, gr_shard *shard, gr_ops *ops)
{
    gr_batch batch;
    assert_false(gr_failed(gr_shard_seal(shard, ops, f->arena, &batch)));
    f->answers = 0;
    gr_store_submit(f->store, &batch, 1, 5, done, f);
    while (f->answers == 0) gr_store_step(f->store);
    gr_ops_clear(ops);
    return f->outcome;
}

static void put_letters(fixture *f, gr_shard *shard)
{
    gr_ops ops = {0};
    for (char c = 'a'; c <= 'e'; c++) gr_ops_put(&ops, gr_str_of(&c, 1), gr_arena_printf(f->arena, "%c!", c));
    assert_int_equal(commit(f, shard, &ops), GR_COMMITTED);
    gr_ops_free(&ops);
}

static bool join_keys(void *arg, gr_str key, gr_str value)
{
    (void)value;
    gr_buf_str(arg, key);
    return true;
}

static void assert_range(const gr_shard *shard, gr_snapshot *snapshot, gr_range range, const char *keys)
{
    gr_buf got = {0};
    assert_false(gr_failed(gr_shard_scan(shard, snapshot, &range, join_keys, &got)));
    gr_buf_char(&got, 0);
    assert_string_equal(got.ptr, keys);
    gr_buf_free(&got);
}

static void ranges_go_both_ways_between_bounds_and_stay_in_the_shard(void **state)
{
    fixture *f = *state;
    gr_shard before, after;
    assert_false(gr_failed(gr_shard_open(f->store, 114, f->arena, &before)));
    assert_false(gr_failed(gr_shard_open(f->store, 116, f->arena, &after)));
    put_letters(f, &before);
    put_letters(f, &f->shard);
    put_letters(f, &after);
    gr_str b = GR_STR("b"), d = GR_STR("d"), z = GR_STR("z");
    assert_range(&f->shard, NULL, (gr_range){0}, "abcde");
    assert_range(&f->shard, NULL, (gr_range){.descending = true}, "edcba");
    assert_range(&f->shard, NULL, (gr_range){.from = b, .to = d}, "bc");
    assert_range(&f->shard, NULL, (gr_range){.from = b, .to = d, .descending = true}, "cb");
    assert_range(&f->shard, NULL, (gr_range){.from = b, .limit = 2}, "bc");
    assert_range(&f->shard, NULL, (gr_range){.to = z, .descending = true, .limit = 1}, "e");
    assert_range(&f->shard, NULL, (gr_range){.from = z}, "");
    gr_shard last;
    assert_false(gr_failed(gr_shard_open(f->store, 255, f->arena, &last)));
    put_letters(f, &last);
    assert_range(&last, NULL, (gr_range){.descending = true}, "edcba");
}

static void an_absent_value_differs_from_an_empty_one(void **state)
{
    fixture *f = *state;
    gr_ops ops = {0};
    gr_str value;
    gr_ops_put(&ops, GR_STR("empty"), GR_STR(""));
    assert_int_equal(commit(f, &f->shard, &ops), GR_COMMITTED);
    gr_ops_free(&ops);
    assert_false(gr_failed(gr_shard_get(&f->shard, NULL, GR_STR("empty"), f->arena, &value)));
    assert_true(value.ptr && value.size == 0);
    assert_false(gr_failed(gr_shard_get(&f->shard, NULL, GR_STR("absent"), f->arena, &value)));
    assert_null(value.ptr);
}

static void a_snapshot_does_not_see_later_commits(void **state)
{
    fixture *f = *state;
    gr_snapshot *snapshot;
    gr_ops ops = {0};
    put_letters(f, &f->shard);
    assert_false(gr_failed(gr_store_snapshot(f->store, &snapshot)));
    gr_ops_delete(&ops, GR_STR("c"));
    gr_ops_put(&ops, GR_STR("f"), GR_STR("f!"));
    assert_int_equal(commit(f, &f->shard, &ops), GR_COMMITTED);
    gr_ops_free(&ops);
    assert_range(&f->shard, snapshot, (gr_range){0}, "abcde");
    assert_range(&f->shard, NULL, (gr_range){0}, "abdef");
    gr_store_release(f->store, &snapshot);
}

static void a_batch_that_does_not_follow_closes_the_shard_until_it_is_opened_again(void **state)
{
    fixture *f = *state;
    gr_ops ops = {0};
    put_letters(f, &f->shard);
    f->shard.newest.number++;
    gr_ops_put(&ops, GR_STR("x"), GR_STR("1"));
    assert_int_equal(commit(f, &f->shard, &ops), GR_FENCED);
    f->shard.newest.number--;
    gr_ops_put(&ops, GR_STR("x"), GR_STR("2"));
    assert_int_equal(commit(f, &f->shard, &ops), GR_FENCED);
    assert_false(gr_failed(gr_shard_open(f->store, 115, f->arena, &f->shard)));
    assert_int_equal(f->shard.epoch, 2);
    assert_int_equal(f->shard.newest.number, 1);
    gr_ops_put(&ops, GR_STR("x"), GR_STR("3"));
    assert_int_equal(commit(f, &f->shard, &ops), GR_COMMITTED);
    gr_ops_free(&ops);
}

static void a_handle_of_an_older_epoch_neither_writes_nor_disturbs_the_newer_one(void **state)
{
    fixture *f = *state;
    gr_shard old = f->shard;
    gr_ops ops = {0};
    assert_false(gr_failed(gr_shard_open(f->store, 115, f->arena, &f->shard)));
    gr_ops_put(&ops, GR_STR("x"), GR_STR("old"));
    assert_int_equal(commit(f, &old, &ops), GR_FENCED);
    gr_ops_put(&ops, GR_STR("x"), GR_STR("new"));
    assert_int_equal(commit(f, &f->shard, &ops), GR_COMMITTED);
    gr_ops_free(&ops);
}

static void a_store_is_found_again_and_refused_to_others(void **state)
{
    fixture *f = *state;
    put_letters(f, &f->shard);
    uint64_t incarnation = f->shard.incarnation;
    gr_store_close(&f->store);
    gr_err err = open_as(f, "b.example", true);
    assert_int_equal(err.code, GR_BAD_STATE);
    assert_non_null(strstr(err.text, "a.example"));
    assert_null(f->store);
    assert_false(gr_failed(open_as(f, "a.example", false)));
    assert_int_equal(gr_store_incarnation(f->store), 77);
    assert_false(gr_failed(gr_shard_open(f->store, 115, f->arena, &f->shard)));
    assert_int_equal(f->shard.newest.number, 1);
    assert_int_equal(f->shard.incarnation, incarnation);
    assert_range(&f->shard, NULL, (gr_range){0}, "abcde");
}

static void a_directory_without_a_store_is_refused_unless_one_may_be_made(void **state)
{
    fixture *f = *state;
    gr_store *other;
    gr_store_options options = {.dir = "/other", .server_name = GR_STR("a.example"),
                                .env = gr_fault_env_leveldb(f->env)};
    assert_int_equal(gr_store_open(&options, f->arena, &other).code, GR_UNAVAILABLE);
    options.create = true;
    options.write_buffer = 64 << 20;
    assert_int_equal(gr_store_open(&options, f->arena, &other).code, GR_INVALID_PARAM);
}

static void a_restored_shard_equals_the_one_it_came_from_and_has_a_new_incarnation(void **state)
{
    fixture *f = *state;
    gr_shard to;
    gr_cursor *rows;
    gr_memory_disk *disk = gr_memory_disk_new();
    gr_store *other;
    gr_store_options options = {.server_name = GR_STR("a.example"), .create = true, .incarnation = 5,
                                .engine = gr_memory_engine_new(disk, &(gr_memory_options){0})};
    assert_false(gr_failed(gr_store_open(&options, f->arena, &other)));
    put_letters(f, &f->shard);
    assert_false(gr_failed(gr_shard_cursor(&f->shard, NULL, &(gr_range){0}, &rows)));
    assert_false(gr_failed(gr_store_restore(other, 115, rows, &f->shard.newest, 99)));
    assert_false(gr_failed(gr_shard_open(other, 115, f->arena, &to)));
    assert_range(&to, NULL, (gr_range){0}, "abcde");
    assert_int_equal(to.incarnation, 99);
    assert_memory_equal(&to.newest, &f->shard.newest, sizeof to.newest);
    gr_store_close(&other);
    gr_memory_disk_free(&disk);
}

static void the_free_space_of_a_disk_is_told(void **state)
{
    (void)state;
    uint64_t bytes_free;
    assert_false(gr_failed(gr_store_disk_free("/", &bytes_free)));
    assert_true(gr_failed(gr_store_disk_free("/no/such/place", &bytes_free)));
}

#define BOTH(test) {#test " (leveldb)", test, setup_leveldb, teardown, NULL}, \
                   {#test " (memory)", test, setup_memory, teardown, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(ranges_go_both_ways_between_bounds_and_stay_in_the_shard),
        BOTH(an_absent_value_differs_from_an_empty_one),
        BOTH(a_snapshot_does_not_see_later_commits),
        BOTH(a_batch_that_does_not_follow_closes_the_shard_until_it_is_opened_again),
        BOTH(a_handle_of_an_older_epoch_neither_writes_nor_disturbs_the_newer_one),
        BOTH(a_store_is_found_again_and_refused_to_others),
        BOTH(a_restored_shard_equals_the_one_it_came_from_and_has_a_new_incarnation),
        {"a_directory_without_a_store_is_refused_unless_one_may_be_made",
         a_directory_without_a_store_is_refused_unless_one_may_be_made, setup_leveldb, teardown, NULL},
        cmocka_unit_test(the_free_space_of_a_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
