/* update_test.c - background updates step by step, over crashes, bad records, pauses and failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/memory_engine.h"
#include "persistence/update.h"

enum { ROWS = 100, PER_STEP = 7 };

typedef struct {
    gr_memory_disk *disk;
    gr_arena *arena;
    gr_store *store;
    gr_shard shard;
    gr_overlay *overlay;
    gr_updates *updates;
    uint64_t group;
    bool fail;                        /* the update `second` fails */
} fixture;

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    fixture *f = arg;
    (void)shard, (void)number;
    assert_int_equal(outcome, GR_COMMITTED);
    gr_overlay_committed(f->overlay, token);
}

static void submit(fixture *f)
{
    gr_batch batch;
    assert_false(gr_failed(gr_overlay_seal(f->overlay, f->group, f->arena, &batch)));
    if (batch.header.count) gr_store_submit(f->store, &batch, 1, f->group, done, f);
    f->group++;
}

static void commit(fixture *f)
{
    submit(f);
    while (gr_memory_engine_waiting(gr_store_engine(f->store)) > 0) gr_store_step(f->store);
}

/* Adds one to each row "r..."; a value that is no number is a bad record. */
typedef struct { gr_update_step *step; gr_str last; } adding;

static bool add_one(void *arg, gr_str key, gr_str value)
{
    adding *a = arg;
    uint64_t number;
    a->last = gr_arena_str(a->step->arena, key);
    a->step->worked++;
    if (gr_str_u64(value, &number))
        gr_update_put(a->step, key, gr_arena_printf(a->step->arena, "%d", (int)number + 1));
    else
        gr_update_skip(a->step, key, GR_STR("is no number"));
    return true;
}

static gr_err first(gr_update_step *step)
{
    adding a = {.step = step};
    gr_str from = gr_str_empty(step->cursor) ? GR_STR("r") : gr_arena_cat(step->arena, 2,
                                                                          (gr_str[]){step->cursor, {"", 1}});
    gr_range range = {.from = from, .to = GR_STR("s"), .limit = PER_STEP};
    gr_err err = gr_overlay_scan(step->overlay, &range, add_one, &a);
    if (gr_failed(err)) return err;
    step->finished = step->worked < PER_STEP;
    if (step->worked) step->cursor = a.last;
    return gr_ok();
}

static gr_err second(gr_update_step *step)
{
    fixture *f = step->arg;
    gr_update_put(step, GR_STR("second"), GR_STR("ran"));
    if (f->fail) return gr_fail(GR_UNAVAILABLE, "no luck");
    step->finished = true;
    return gr_ok();
}

static gr_update updates[] = {
    {.name = "first", .step = first},
    {.name = "second", .depends = {"first"}, .step = second},
};

static void open_store(fixture *f)
{
    gr_store_options open = {.server_name = GR_STR("a.example"), .create = true, .incarnation = 1,
                             .engine = gr_memory_engine_new(f->disk, &(gr_memory_options){.seed = 3,
                                     .delay_max = 4})};
    assert_false(gr_failed(gr_store_open(&open, f->arena, &f->store)));
    assert_false(gr_failed(gr_shard_open(f->store, 8, f->arena, &f->shard)));
    f->overlay = gr_overlay_new(&f->shard, NULL);
    updates[1].arg = f;
    f->updates = gr_updates_new(updates, 2);
}

static void close_store(fixture *f)
{
    gr_updates_free(&f->updates);
    gr_overlay_free(&f->overlay);
    gr_store_close(&f->store);
}

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    *state = f;
    f->arena = gr_arena_new(0);
    f->disk = gr_memory_disk_new();
    f->group = 1;
    open_store(f);
    for (int i = 0; i < ROWS; i++)
        gr_overlay_put(f->overlay, f->group, gr_arena_printf(f->arena, "r%03d", i), GR_STR("5"));
    commit(f);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    close_store(f);
    gr_memory_disk_free(&f->disk);
    gr_arena_free(&f->arena);
    free(f);
    return 0;
}

static bool step(fixture *f, uint64_t now_ms)
{
    bool ran;
    assert_false(gr_failed(gr_updates_step(f->updates, f->overlay, f->group, f->arena, now_ms, &ran)));
    return ran;
}

static gr_update_state state_of(fixture *f, const char *name)
{
    gr_update_state got;
    assert_false(gr_failed(gr_updates_state(f->updates, f->overlay, name, f->arena, &got)));
    return got;
}

static bool all_six(void *arg, gr_str key, gr_str value)
{
    (void)key;
    ++*(int *)arg;
    assert_true(gr_str_is(value, "6"));
    return true;
}

static void assert_each_row_was_worked_on_once(fixture *f)
{
    int count = 0;
    gr_range range = {.from = GR_STR("r"), .to = GR_STR("s")};
    assert_false(gr_failed(gr_overlay_scan(f->overlay, &range, all_six, &count)));
    assert_int_equal(count, ROWS);
    assert_true(state_of(f, "first").finished && state_of(f, "second").finished);
    assert_int_equal(state_of(f, "first").worked, ROWS);
}

static void an_update_works_through_all_rows_and_then_what_depends_on_it_runs(void **state)
{
    fixture *f = *state;
    int steps = 0;
    for (; step(f, 0); steps++) commit(f);
    assert_int_equal(steps, ROWS / PER_STEP + 1 + 1);
    assert_each_row_was_worked_on_once(f);
}

static void a_crash_at_any_step_leaves_each_row_worked_on_once(void **state)
{
    fixture *f = *state;
    for (int i = 1; !state_of(f, "second").finished; i++) {
        bool ran = step(f, 0);
        if (ran && i % 3) commit(f);
        if (i % 3) continue;
        submit(f);
        gr_memory_engine_crash(gr_store_engine(f->store));
        close_store(f);
        open_store(f);
    }
    assert_each_row_was_worked_on_once(f);
}

static void a_bad_record_is_skipped_counted_and_listed(void **state)
{
    fixture *f = *state;
    gr_strs skipped;
    gr_overlay_put(f->overlay, f->group, GR_STR("r050"), GR_STR("many"));
    commit(f);
    while (step(f, 0)) commit(f);
    assert_int_equal(state_of(f, "first").skipped, 1);
    assert_true(state_of(f, "first").finished);
    assert_false(gr_failed(gr_updates_skipped(f->updates, f->overlay, "first", f->arena, &skipped)));
    assert_int_equal(skipped.count, 1);
    assert_true(gr_str_is(skipped.at[0], "r050: is no number"));
}

static void the_list_of_skipped_records_is_bounded(void **state)
{
    fixture *f = *state;
    gr_strs skipped;
    for (int i = 0; i < 250; i++)
        gr_overlay_put(f->overlay, f->group, gr_arena_printf(f->arena, "r%03d", i), GR_STR("bad"));
    commit(f);
    while (step(f, 0)) commit(f);
    assert_int_equal(state_of(f, "first").skipped, 250);
    assert_false(gr_failed(gr_updates_skipped(f->updates, f->overlay, "first", f->arena, &skipped)));
    assert_int_equal(skipped.count, GR_UPDATE_LISTED_MAX);
    assert_true(gr_str_is(skipped.at[GR_UPDATE_LISTED_MAX - 1], "r249: is no number"));
}

static void a_paused_update_waits(void **state)
{
    fixture *f = *state;
    assert_true(gr_updates_pause(f->updates, "first", true));
    assert_false(step(f, 0));
    assert_true(gr_updates_pause(f->updates, "first", false));
    assert_true(step(f, 0));
    commit(f);
    assert_true(gr_updates_pause(f->updates, NULL, true));
    assert_false(step(f, 0));
    assert_false(gr_updates_pause(f->updates, "unheard of", true));
}

static void a_failing_step_writes_nothing_and_is_put_off_longer_each_time(void **state)
{
    fixture *f = *state;
    bool ran;
    gr_str value;
    while (!state_of(f, "first").finished) {
        step(f, 0);
        commit(f);
    }
    f->fail = true;
    assert_true(gr_failed(gr_updates_step(f->updates, f->overlay, f->group, f->arena, 1000, &ran)));
    assert_false(ran);
    assert_false(gr_failed(gr_overlay_get(f->overlay, GR_STR("second"), f->arena, &value)));
    assert_null(value.ptr);
    assert_false(step(f, 1000 + 59999));
    assert_true(gr_failed(gr_updates_step(f->updates, f->overlay, f->group, f->arena, 61000, &ran)));
    assert_false(step(f, 61000 + 119999));
    f->fail = false;
    assert_true(step(f, 61000 + 120000));
}

static gr_err daily(gr_update_step *step)
{
    step->worked = 1;
    step->finished = true;
    return gr_ok();
}

static void an_update_that_recurs_begins_anew_when_its_time_has_come(void **state)
{
    fixture *f = *state;
    static const gr_update recurring[] = {{.name = "daily", .step = daily, .every_ms = 86400000}};
    gr_updates_free(&f->updates);
    f->updates = gr_updates_new(recurring, 1);
    assert_true(step(f, 5000));
    assert_false(step(f, 5000 + 86399999));
    gr_updates_free(&f->updates);
    f->updates = gr_updates_new(recurring, 1);     /* a restart does not change that */
    assert_false(step(f, 5000 + 86399999));
    assert_true(step(f, 5000 + 86400000));
    assert_int_equal(state_of(f, "daily").worked, 2);
}

static void a_damaged_record_begins_the_update_anew(void **state)
{
    fixture *f = *state;
    assert_true(step(f, 0));
    gr_overlay_put(f->overlay, f->group, gr_update_state_key(f->arena, "first"), GR_STR("?"));
    gr_updates_free(&f->updates);
    f->updates = gr_updates_new(updates, 2);
    assert_true(step(f, 0));
    assert_int_equal(state_of(f, "first").worked, PER_STEP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_update_works_through_all_rows_and_then_what_depends_on_it_runs),
        TEST(a_crash_at_any_step_leaves_each_row_worked_on_once),
        TEST(a_bad_record_is_skipped_counted_and_listed),
        TEST(the_list_of_skipped_records_is_bounded),
        TEST(a_paused_update_waits),
        TEST(a_failing_step_writes_nothing_and_is_put_off_longer_each_time),
        TEST(an_update_that_recurs_begins_anew_when_its_time_has_come),
        TEST(a_damaged_record_begins_the_update_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
