/* row_cache_test.c - what is remembered of rows is what the store has, and never more than the bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "persistence/row_cache.h"

enum { KEYS = 300, STEPS = 200000 };

typedef struct {
    gr_row_cache *cache;
    gr_arena *arena;
} fixture;

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    f->cache = gr_row_cache_new();
    f->arena = gr_arena_new(0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gr_row_cache_free(&f->cache);
    gr_arena_free(&f->arena);
    free(f);
    return 0;
}

static void a_row_is_known_and_so_is_that_there_is_none(void **state)
{
    fixture *f = *state;
    gr_str value;
    assert_false(gr_row_cache_get(f->cache, 1, GR_STR("a"), f->arena, &value));
    gr_row_cache_put(f->cache, 1, GR_OP_PUT, GR_STR("a"), GR_STR("x"));
    gr_row_cache_put(f->cache, 1, GR_OP_PUT, GR_STR("empty"), GR_STR(""));
    gr_row_cache_put(f->cache, 1, GR_OP_DELETE, GR_STR("b"), (gr_str){0});
    assert_true(gr_row_cache_get(f->cache, 1, GR_STR("a"), f->arena, &value));
    assert_true(gr_str_is(value, "x"));
    assert_true(gr_row_cache_get(f->cache, 1, GR_STR("empty"), f->arena, &value));
    assert_true(value.ptr && value.size == 0);
    assert_true(gr_row_cache_get(f->cache, 1, GR_STR("b"), f->arena, &value));
    assert_null(value.ptr);
    assert_false(gr_row_cache_get(f->cache, 2, GR_STR("a"), f->arena, &value));
    assert_int_equal(gr_row_cache_counted(f->cache).hits, 3);
    assert_int_equal(gr_row_cache_counted(f->cache).misses, 2);
}

static void a_shard_is_forgotten_and_the_others_are_not(void **state)
{
    fixture *f = *state;
    gr_str value;
    gr_row_cache_put(f->cache, 1, GR_OP_PUT, GR_STR("a"), GR_STR("x"));
    gr_row_cache_put(f->cache, 2, GR_OP_PUT, GR_STR("a"), GR_STR("y"));
    gr_row_cache_forget(f->cache, 1);
    assert_false(gr_row_cache_get(f->cache, 1, GR_STR("a"), f->arena, &value));
    assert_true(gr_row_cache_get(f->cache, 2, GR_STR("a"), f->arena, &value));
    assert_true(gr_str_is(value, "y"));
}

static void what_was_written_replaces_what_was_known_and_adds_nothing(void **state)
{
    fixture *f = *state;
    char large[GR_ROW_CACHE_ROW_MAX] = {0};
    gr_str value;
    gr_row_cache_written(f->cache, 1, GR_OP_PUT, GR_STR("a"), GR_STR("x"));
    assert_false(gr_row_cache_get(f->cache, 1, GR_STR("a"), f->arena, &value));
    gr_row_cache_put(f->cache, 1, GR_OP_PUT, GR_STR("a"), GR_STR("x"));
    gr_row_cache_written(f->cache, 1, GR_OP_DELETE, GR_STR("a"), (gr_str){0});
    assert_true(gr_row_cache_get(f->cache, 1, GR_STR("a"), f->arena, &value));
    assert_null(value.ptr);
    gr_row_cache_written(f->cache, 1, GR_OP_PUT, GR_STR("a"), gr_str_of(large, sizeof large));
    assert_false(gr_row_cache_get(f->cache, 1, GR_STR("a"), f->arena, &value));        /* too large to be kept */
}

/* Values tell which write they are of: whatever is remembered, it is the newest. */
static void what_is_remembered_is_never_old(void **state)
{
    fixture *f = *state;
    static uint32_t newest[KEYS];
    uint64_t random = 7;
    size_t found = 0;
    char filler[400] = {0};
    for (uint32_t step = 1; step <= STEPS; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t at = (random >> 33) % KEYS, size = 4 + (random >> 20) % (sizeof filler - 4);
        gr_str key = gr_arena_printf(f->arena, "key %zu", at), value;
        memcpy(filler, &step, sizeof step);
        if (gr_row_cache_get(f->cache, 9, key, f->arena, &value)) {
            found++;
            assert_true(value.size >= 4 && memcmp(value.ptr, &newest[at], 4) == 0);
            gr_row_cache_written(f->cache, 9, GR_OP_PUT, key, gr_str_of(filler, size));
        } else {
            gr_row_cache_put(f->cache, 9, GR_OP_PUT, key, gr_str_of(filler, size));
        }
        newest[at] = step;
        if (step % 1000 == 0) {
            gr_arena_free(&f->arena);
            f->arena = gr_arena_new(0);
        }
    }
    assert_in_range(found, STEPS - KEYS - STEPS / 1000, STEPS);     /* so few rows all stay, but what one set has no room for */
}

static void what_came_first_leaves_first(void **state)
{
    fixture *f = *state;
    enum { ROWS = 20000 };
    char bytes[300] = {0};
    gr_str value, text = gr_str_of(bytes, sizeof bytes);
    size_t kept = 0;
    for (int i = 0; i < ROWS; i++) gr_row_cache_put(f->cache, 3, GR_OP_PUT, gr_arena_printf(f->arena, "%d", i), text);
    assert_false(gr_row_cache_get(f->cache, 3, GR_STR("0"), f->arena, &value));
    assert_true(gr_row_cache_get(f->cache, 3, gr_arena_printf(f->arena, "%d", ROWS - 1), f->arena, &value));
    for (int i = 0; i < ROWS; i++) kept += gr_row_cache_get(f->cache, 3, gr_arena_printf(f->arena, "%d", i), f->arena, &value);
    assert_in_range(kept, ROWS / 4, GR_ROW_CACHE_BYTES / text.size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_row_is_known_and_so_is_that_there_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shard_is_forgotten_and_the_others_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_written_replaces_what_was_known_and_adds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_remembered_is_never_old, setup, teardown),
        cmocka_unit_test_setup_teardown(what_came_first_leaves_first, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
