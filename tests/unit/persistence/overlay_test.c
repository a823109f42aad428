/* overlay_test.c - overlays against a plain model, over the memory engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/memory_engine.h"
#include "persistence/overlay.h"

enum { KEYS = 40, STEPS = 400, SEEDS = 150, GROUPS = 3 };

/* What the shard must look like: a value per key after each group that is still outstanding, -1 for none. */
typedef struct { int committed[KEYS], now[KEYS]; } model;

typedef struct {
    gr_memory_disk *disk;
    gr_store *store;
    gr_shard shard;
    gr_overlay *overlay;
    gr_row_cache *cache;
    gr_arena *arena;
    uint64_t random, group, newest_done;
    model rows;
    int after[GROUPS][KEYS];          /* the model at the end of each outstanding group, oldest first */
    uint64_t groups[GROUPS];
    size_t outstanding;
    gr_outcome outcome;
    bool open;                        /* the newest group has written something and is not sealed */
} run;

static uint64_t draw(run *r, uint64_t below)
{
    r->random = r->random * 6364136223846793005u + 1442695040888963407u;
    return (r->random >> 33) % below;
}

static gr_str key_of(run *r, int k) { return gr_arena_printf(r->arena, "k%02d", k); }

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    run *r = arg;
    (void)shard, (void)number;
    r->newest_done = token;
    r->outcome = outcome;
}

static void write_something(run *r)
{
    if (r->outstanding == GROUPS) return;
    int k = (int)draw(r, KEYS);
    if (draw(r, 3) == 0) {
        gr_overlay_delete(r->overlay, r->group, key_of(r, k));
        r->rows.now[k] = -1;
    } else {
        r->rows.now[k] = (int)draw(r, 100000);
        gr_overlay_put(r->overlay, r->group, key_of(r, k), gr_arena_printf(r->arena, "%d", r->rows.now[k]));
    }
    r->open = true;
}

static void end_group(run *r)
{
    gr_batch batch;
    if (r->outstanding == GROUPS) return;
    assert_false(gr_failed(gr_overlay_seal(r->overlay, r->group, r->arena, &batch)));
    assert_int_equal(batch.header.count > 0, r->open);
    if (r->open) {
        memcpy(r->after[r->outstanding], r->rows.now, sizeof r->rows.now);
        r->groups[r->outstanding++] = r->group;
        gr_store_submit(r->store, &batch, 1, r->group, done, r);
    }
    r->open = false;
    r->group++;
}

static void commit_one(run *r)
{
    if (r->outstanding == 0) return;
    while (gr_store_step(r->store) == 0) continue;
    assert_int_equal(r->outcome, GR_COMMITTED);
    gr_overlay_committed(r->overlay, r->newest_done);
    while (r->outstanding > 0 && r->groups[0] <= r->newest_done) {
        memcpy(r->rows.committed, r->after[0], sizeof r->rows.committed);
        r->outstanding--;
        memmove(r->after, r->after + 1, sizeof r->after - sizeof r->after[0]);
        memmove(r->groups, r->groups + 1, sizeof r->groups - sizeof r->groups[0]);
    }
}

/* What a fenced shard goes through: the layers are dropped and the store's rows are the truth again. */
static void fence(run *r)
{
    gr_overlay_drop(r->overlay);
    assert_false(gr_failed(gr_shard_open(r->store, 0, r->arena, &r->shard)));
    while (gr_memory_engine_waiting(gr_store_engine(r->store)) > 0) gr_store_step(r->store);
    memcpy(r->rows.now, r->rows.committed, sizeof r->rows.now);
    r->outstanding = 0;
    r->open = false;
    r->group++;
}

typedef struct { run *r; int next; const gr_range *range; size_t count; } expectation;

static bool in_range(const gr_range *range, gr_str key)
{
    return gr_str_cmp(key, range->from) >= 0 && (gr_str_empty(range->to) || gr_str_cmp(key, range->to) < 0);
}

static void skip_absent(expectation *e)
{
    int step = e->range->descending ? -1 : 1;
    while (e->next >= 0 && e->next < KEYS
           && (e->r->rows.now[e->next] < 0 || !in_range(e->range, key_of(e->r, e->next)))) e->next += step;
}

static bool expect_row(void *arg, gr_str key, gr_str value)
{
    expectation *e = arg;
    skip_absent(e);
    assert_in_range(e->next, 0, KEYS - 1);
    assert_true(gr_str_eq(key, key_of(e->r, e->next)));
    assert_true(gr_str_eq(value, gr_arena_printf(e->r->arena, "%d", e->r->rows.now[e->next])));
    e->next += e->range->descending ? -1 : 1;
    e->count++;
    return true;
}

static void compare(run *r)
{
    int k = (int)draw(r, KEYS);
    gr_str value;
    assert_false(gr_failed(gr_overlay_get(r->overlay, key_of(r, k), r->arena, &value)));
    assert_int_equal(value.ptr != NULL, r->rows.now[k] >= 0);
    if (value.ptr) assert_true(gr_str_eq(value, gr_arena_printf(r->arena, "%d", r->rows.now[k])));
    gr_range range = {.descending = draw(r, 2), .limit = draw(r, 3) ? 0 : 1 + draw(r, 8)};
    if (draw(r, 2)) range.from = key_of(r, (int)draw(r, KEYS));
    if (draw(r, 2)) range.to = key_of(r, (int)draw(r, KEYS));
    expectation e = {.r = r, .range = &range, .next = range.descending ? KEYS - 1 : 0};
    assert_false(gr_failed(gr_overlay_scan(r->overlay, &range, expect_row, &e)));
    if (range.limit && e.count == range.limit) return;
    skip_absent(&e);
    assert_true(e.next < 0 || e.next >= KEYS);
}

static void run_seed(uint64_t seed)
{
    run r = {.random = seed, .group = 1, .arena = gr_arena_new(0), .disk = gr_memory_disk_new()};
    for (int k = 0; k < KEYS; k++) r.rows.committed[k] = r.rows.now[k] = -1;
    gr_memory_options options = {.seed = seed, .delay_min = 0, .delay_max = 3};
    gr_store_options open = {.server_name = GR_STR("a.example"), .create = true, .incarnation = 1,
                             .engine = gr_memory_engine_new(r.disk, &options)};
    assert_false(gr_failed(gr_store_open(&open, r.arena, &r.store)));
    assert_false(gr_failed(gr_shard_open(r.store, 0, r.arena, &r.shard)));
    r.cache = gr_row_cache_new();
    r.overlay = gr_overlay_new(&r.shard, r.cache);
    for (int step = 0; step < STEPS; step++) {
        uint64_t what = draw(&r, 100);
        if (what < 50) write_something(&r);
        else if (what < 60) end_group(&r);
        else if (what < 70) commit_one(&r);
        else if (what < 71) fence(&r);
        else compare(&r);
    }
    gr_overlay_free(&r.overlay);
    gr_row_cache_free(&r.cache);
    gr_store_close(&r.store);
    gr_memory_disk_free(&r.disk);
    gr_arena_free(&r.arena);
}

static void an_overlay_reads_as_the_plain_model_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed);
    }
}

static void the_size_of_the_open_layer_bounds_the_sealed_batch(void **state)
{
    (void)state;
    gr_memory_disk *disk = gr_memory_disk_new();
    gr_arena *arena = gr_arena_new(0);
    gr_store *store;
    gr_shard shard;
    gr_batch batch;
    gr_store_options open = {.server_name = GR_STR("a.example"), .create = true, .incarnation = 1,
                             .engine = gr_memory_engine_new(disk, &(gr_memory_options){0})};
    assert_false(gr_failed(gr_store_open(&open, arena, &store)));
    assert_false(gr_failed(gr_shard_open(store, 9, arena, &shard)));
    gr_overlay *overlay = gr_overlay_new(&shard, NULL);
    for (int i = 0; i < 1000; i++)      /* the same ten keys: each is in the batch once */
        gr_overlay_put(overlay, 1, gr_arena_printf(arena, "%d", i % 10),
                       gr_str_of("0123456789", (size_t)i % 10));
    size_t most = gr_overlay_size(overlay);
    assert_false(gr_failed(gr_overlay_seal(overlay, 1, arena, &batch)));
    assert_int_equal(batch.header.count, 10);
    assert_in_range(batch.bytes.size, 1, most);
    gr_overlay_free(&overlay);
    gr_store_close(&store);
    gr_memory_disk_free(&disk);
    gr_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_overlay_reads_as_the_plain_model_does),
        cmocka_unit_test(the_size_of_the_open_layer_bounds_the_sealed_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
