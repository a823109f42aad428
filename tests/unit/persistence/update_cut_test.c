/* update_cut_test.c - the power goes at each file operation of a background update: every row is worked on once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/fault_env.h"
#include "persistence/update.h"

enum { ROWS = 20, PER_STEP = 3, SHARD = 8 };

typedef struct {
    gr_fault_env *env;
    gr_arena *arena;
    gr_store *store;
    gr_shard shard;
    gr_overlay *overlay;
    gr_updates *updates;
    uint64_t group;
    bool is_lost;      /* a commit failed: what is durable is not known */
} fixture;

static bool add_one(void *arg, gr_str key, gr_str value)
{
    gr_update_step *step = arg;
    uint64_t number = 0;
    assert_true(gr_str_u64(value, &number));
    if (number == 66) gr_update_skip(step, key, GR_STR("is bad"));
    else gr_update_put(step, key, gr_arena_printf(step->arena, "%llu", (unsigned long long)number + 1));
    step->worked += number != 66;
    step->cursor = gr_arena_cat(step->arena, 2, (gr_str[]){key, {"", 1}});
    return true;
}

static gr_err raise_rows(gr_update_step *step)
{
    gr_range range = {.from = step->cursor.size ? step->cursor : GR_STR("r"), .to = GR_STR("s"), .limit = PER_STEP};
    gr_err err = gr_overlay_scan(step->overlay, &range, add_one, step);
    step->finished = step->worked + step->bad.count < PER_STEP;
    return err;
}

static const gr_update updates[] = {{.name = "raise", .step = raise_rows}};

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    fixture *f = arg;
    (void)shard, (void)number;
    if (outcome == GR_COMMITTED) gr_overlay_committed(f->overlay, token);
    else f->is_lost = true;
}

static bool commit(fixture *f)
{
    gr_batch batch;
    assert_false(gr_failed(gr_overlay_seal(f->overlay, f->group, f->arena, &batch)));
    if (batch.header.count) gr_store_submit(f->store, &batch, 1, f->group, done, f);
    f->group++;
    while (gr_store_step(f->store)) continue;
    return !f->is_lost;
}

static bool open_store(fixture *f)
{
    gr_store_options options = {.dir = "/store", .server_name = GR_STR("a.example"), .create = true, .incarnation = 1,
                                .env = gr_fault_env_leveldb(f->env)};
    f->is_lost = false;
    if (gr_failed(gr_store_open(&options, f->arena, &f->store))) return false;
    if (gr_failed(gr_shard_open(f->store, SHARD, f->arena, &f->shard))) return false;
    f->overlay = gr_overlay_new(&f->shard, NULL);
    f->updates = gr_updates_new(updates, 1);
    return true;
}

static void close_store(fixture *f)
{
    gr_updates_free(&f->updates);
    gr_overlay_free(&f->overlay);
    gr_store_close(&f->store);
}

/* True: it came to its end; false: a commit was lost on the way. */
static bool run(fixture *f)
{
    for (bool ran = true; ran;) {
        if (gr_failed(gr_updates_step(f->updates, f->overlay, f->group, f->arena, 0, &ran))) return false;
        if (ran && !commit(f)) return false;
    }
    return true;
}

static bool check_row(void *arg, gr_str key, gr_str value)
{
    ++*(int *)arg;
    assert_true(gr_str_is(value, gr_str_is(key, "r07") ? "66" : "6"));
    return true;
}

static void assert_each_row_was_worked_on_once(fixture *f)
{
    int rows = 0;
    gr_update_state state;
    gr_range range = {.from = GR_STR("r"), .to = GR_STR("s")};
    assert_false(gr_failed(gr_overlay_scan(f->overlay, &range, check_row, &rows)));
    assert_int_equal(rows, ROWS);
    assert_false(gr_failed(gr_updates_state(f->updates, f->overlay, "raise", f->arena, &state)));
    assert_true(state.finished);
    assert_int_equal(state.worked, ROWS - 1);
    assert_int_equal(state.skipped, 1);
}

/* True: the cut came after the end. */
static bool survives_a_cut_at(uint64_t operation)
{
    fixture f = {.env = gr_fault_env_new(), .arena = gr_arena_new(0), .group = 1};
    assert_true(open_store(&f));
    for (int i = 0; i < ROWS; i++)
        gr_overlay_put(f.overlay, f.group, gr_arena_printf(f.arena, "r%02d", i), i == 7 ? GR_STR("66") : GR_STR("5"));
    assert_true(commit(&f));
    gr_fault_env_cut_at(f.env, gr_fault_env_operations(f.env) + operation);
    bool whole = run(&f);
    close_store(&f);
    gr_fault_env_restart(f.env, operation % 2 ? operation : 0);
    assert_true(open_store(&f));
    assert_true(run(&f));
    assert_each_row_was_worked_on_once(&f);
    close_store(&f);
    gr_fault_env_free(&f.env);
    gr_arena_free(&f.arena);
    return whole;
}

static void a_power_cut_at_any_operation_leaves_each_row_worked_on_once(void **state)
{
    uint64_t operation = 1;
    (void)state;
    while (!survives_a_cut_at(operation)) operation++;
    assert_true(operation > ROWS / PER_STEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_power_cut_at_any_operation_leaves_each_row_worked_on_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
