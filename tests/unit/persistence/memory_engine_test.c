/* memory_engine_test.c - delays, refusals and crashes on purpose, the same for the same seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/map.h"
#include "persistence/memory_engine.h"
#include "persistence/store.h"

typedef struct {
    gr_memory_disk *disk;
    gr_arena *arena;
    gr_store *store;
    gr_shard shard;
    size_t outcomes[3];
    uint64_t newest;                  /* acknowledged */
    bool closed;
} run;

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    run *r = arg;
    (void)token, (void)shard;
    r->outcomes[outcome]++;
    if (outcome == GR_COMMITTED) {
        assert_int_equal(number, r->newest + 1);
        r->newest = number;
    } else {
        r->closed = true;
    }
}

static void open_store(run *r, const gr_memory_options *options)
{
    gr_store_options open = {.server_name = GR_STR("a.example"), .create = true, .incarnation = 1,
                             .engine = gr_memory_engine_new(r->disk, options)};
    assert_false(gr_failed(gr_store_open(&open, r->arena, &r->store)));
    assert_false(gr_failed(gr_shard_open(r->store, 3, r->arena, &r->shard)));
}

static void begin(run *r, const gr_memory_options *options)
{
    *r = (run){.disk = gr_memory_disk_new(), .arena = gr_arena_new(0)};
    open_store(r, options);
}

static void end(run *r)
{
    gr_store_close(&r->store);
    gr_memory_disk_free(&r->disk);
    gr_arena_free(&r->arena);
}

static void submit(run *r)
{
    gr_ops ops = {0};
    gr_batch batch;
    gr_str key = gr_arena_printf(r->arena, "row%06d", (int)r->shard.newest.number + 1);
    gr_ops_put(&ops, key, GR_STR("x"));
    assert_false(gr_failed(gr_shard_seal(&r->shard, &ops, r->arena, &batch)));
    gr_ops_free(&ops);
    gr_store_submit(r->store, &batch, 1, 1, done, r);
}

static void a_batch_is_neither_answered_nor_readable_before_its_delay(void **state)
{
    (void)state;
    run r;
    gr_str value;
    begin(&r, &(gr_memory_options){.seed = 1, .delay_min = 3, .delay_max = 3});
    submit(&r);
    for (int step = 0; step < 3; step++) {
        assert_int_equal(gr_store_step(r.store), 0);
        assert_false(gr_failed(gr_shard_get(&r.shard, NULL, GR_STR("row000001"), r.arena, &value)));
        assert_null(value.ptr);
    }
    assert_int_equal(gr_store_step(r.store), 1);
    assert_int_equal(r.newest, 1);
    assert_false(gr_failed(gr_shard_get(&r.shard, NULL, GR_STR("row000001"), r.arena, &value)));
    assert_non_null(value.ptr);
    end(&r);
}

/* Hundreds of batches with refusals; whoever is refused opens the shard again. */
static uint64_t troubled_run(uint64_t seed, size_t outcomes[3])
{
    run r;
    begin(&r, &(gr_memory_options){.seed = seed, .delay_max = 4, .fenced_per_million = 50000,
                                   .unknown_per_million = 50000});
    for (int i = 0; i < 500; i++) {
        submit(&r);
        if (i % 3 == 0) gr_store_step(r.store);
        if (!r.closed) continue;
        while (gr_memory_engine_waiting(gr_store_engine(r.store)) > 0) gr_store_step(r.store);
        uint64_t acknowledged = r.newest;
        assert_false(gr_failed(gr_shard_open(r.store, 3, r.arena, &r.shard)));
        assert_in_range(r.shard.newest.number, acknowledged, acknowledged + 1);
        r.newest = r.shard.newest.number;
        r.closed = false;
    }
    uint64_t hash = gr_memory_disk_hash(r.disk);
    memcpy(outcomes, r.outcomes, sizeof r.outcomes);
    end(&r);
    return hash;
}

static void a_seed_always_gives_the_same_run_and_each_outcome_occurs(void **state)
{
    (void)state;
    size_t first[3], again[3], other[3];
    uint64_t hash = troubled_run(7, first);
    assert_int_equal(troubled_run(7, again), hash);
    assert_memory_equal(first, again, sizeof first);
    assert_int_not_equal(troubled_run(8, other), hash);
    for (int outcome = 0; outcome < 3; outcome++) assert_in_range(first[outcome], 1, 500);
}

static void a_crash_keeps_what_was_acknowledged_and_answers_nothing_more(void **state)
{
    (void)state;
    size_t survived = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        run r;
        gr_memory_options options = {.seed = seed, .delay_min = 1, .delay_max = 5};
        begin(&r, &options);
        for (int i = 0; i < 20; i++) {
            submit(&r);
            gr_store_step(r.store);
        }
        uint64_t acknowledged = r.newest;
        gr_memory_engine_crash(gr_store_engine(r.store));
        gr_store_close(&r.store);
        assert_int_equal(r.newest, acknowledged);
        open_store(&r, &options);
        assert_in_range(r.shard.newest.number, acknowledged, 20);
        survived += r.shard.newest.number > acknowledged;
        end(&r);
    }
    assert_in_range(survived, 1, 49);   /* some crashes come just after the write, some before */
}

typedef struct { uint64_t next; size_t count; } tail;

static bool read_tail(void *arg, const gr_batch *batch)
{
    tail *t = arg;
    assert_int_equal(batch->header.number, t->next++);
    t->count++;
    return true;
}

static void the_tail_gives_the_newest_batches_and_says_when_older_ones_are_gone(void **state)
{
    (void)state;
    run r;
    begin(&r, &(gr_memory_options){.seed = 1, .tail_max = 10});
    for (int i = 0; i < 30; i++) {
        submit(&r);
        gr_store_step(r.store);
    }
    tail t = {.next = 21};
    assert_false(gr_failed(gr_shard_tail(&r.shard, 21, read_tail, &t)));
    assert_int_equal(t.count, 10);
    assert_int_equal(gr_shard_tail(&r.shard, 20, read_tail, &t).code, GR_NOT_FOUND);
    assert_false(gr_failed(gr_shard_truncate(&r.shard, 25)));
    assert_int_equal(gr_shard_tail(&r.shard, 25, read_tail, &t).code, GR_NOT_FOUND);
    t = (tail){.next = 26};
    assert_false(gr_failed(gr_shard_tail(&r.shard, 26, read_tail, &t)));
    assert_int_equal(t.count, 5);
    end(&r);
}

static void a_copy_of_a_map_is_left_alone_by_later_changes(void **state)
{
    (void)state;
    gr_map map = {0};
    gr_map_entry entry;
    char key[8];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%04d", i * 7 % 1000);
        gr_map_put(&map, GR_OP_PUT, gr_str_c(key), GR_STR("old"));
    }
    gr_map copy = gr_map_copy(&map);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%04d", i);
        if (i % 2) assert_true(gr_map_remove(&map, gr_str_c(key)));
        else gr_map_put(&map, GR_OP_PUT, gr_str_c(key), GR_STR("new"));
    }
    assert_int_equal(map.count, 500);
    assert_int_equal(map.bytes, 500 * 7);
    size_t count = 0;
    for (bool more = gr_map_seek(&copy, GR_STR(""), GR_MAP_AT_OR_AFTER, &entry); more;
         more = gr_map_seek(&copy, entry.key, GR_MAP_AFTER, &entry)) count += gr_str_is(entry.value, "old");
    assert_int_equal(count, 1000);
    gr_map_free(&map);
    gr_map_free(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_neither_answered_nor_readable_before_its_delay),
        cmocka_unit_test(a_seed_always_gives_the_same_run_and_each_outcome_occurs),
        cmocka_unit_test(a_crash_keeps_what_was_acknowledged_and_answers_nothing_more),
        cmocka_unit_test(the_tail_gives_the_newest_batches_and_says_when_older_ones_are_gone),
        cmocka_unit_test(a_copy_of_a_map_is_left_alone_by_later_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
