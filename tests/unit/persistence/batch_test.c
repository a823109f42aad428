/* batch_test.c - batches as bytes, and the chain they form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/batch.h"

typedef struct { gr_arena *arena; gr_ops ops; } fixture;

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    f->arena = gr_arena_new(0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gr_arena_free(&f->arena);
    gr_ops_free(&f->ops);
    free(f);
    return 0;
}

static gr_batch sealed(fixture *f, const gr_position *before)
{
    gr_batch batch;
    gr_ops_clear(&f->ops);
    gr_ops_put(&f->ops, GR_STR("name"), GR_STR("value"));
    gr_ops_put(&f->ops, GR_STR("empty"), GR_STR(""));
    gr_ops_delete(&f->ops, GR_STR("gone"));
    assert_false(gr_failed(gr_batch_seal(7, 3, before, &f->ops, f->arena, &batch)));
    return batch;
}

static void a_batch_is_read_as_it_was_sealed(void **state)
{
    fixture *f = *state;
    gr_batch batch = sealed(f, &(gr_position){.number = 41, .hash = {9}}), read;
    assert_false(gr_failed(gr_batch_read(batch.bytes, &read)));
    assert_memory_equal(&read.header, &batch.header, sizeof read.header);
    assert_memory_equal(&read.position, &batch.position, sizeof read.position);
    assert_int_equal(read.header.number, 42);
    gr_str rest = gr_batch_ops(&read);
    gr_op op;
    assert_true(gr_op_next(&rest, &op) && op.kind == GR_OP_PUT && gr_str_is(op.value, "value"));
    assert_true(gr_op_next(&rest, &op) && op.kind == GR_OP_PUT && gr_str_is(op.value, ""));
    assert_true(gr_op_next(&rest, &op) && op.kind == GR_OP_DELETE && gr_str_is(op.key, "gone"));
    assert_false(gr_op_next(&rest, &op));
    assert_int_equal(rest.size, 0);
}

static void equal_operations_give_equal_bytes_and_each_batch_names_the_one_before(void **state)
{
    fixture *f = *state;
    gr_position none = {0};
    gr_batch first = sealed(f, &none), again = sealed(f, &none);
    assert_true(gr_str_eq(first.bytes, again.bytes));
    gr_batch second = sealed(f, &first.position);
    assert_memory_equal(second.header.before, first.position.hash, GR_HASH_SIZE);
    assert_memory_not_equal(second.position.hash, first.position.hash, GR_HASH_SIZE);
}

static void a_batch_over_the_limit_is_refused(void **state)
{
    fixture *f = *state;
    gr_batch batch;
    char *big = gr_alloc(GR_BATCH_MAX);
    gr_ops_put(&f->ops, GR_STR("k"), gr_str_of(big, GR_BATCH_MAX - GR_BATCH_HEADER - 6));
    assert_false(gr_failed(gr_batch_seal(0, 1, &(gr_position){0}, &f->ops, f->arena, &batch)));
    assert_int_equal(batch.bytes.size, GR_BATCH_MAX);
    gr_ops_clear(&f->ops);
    gr_ops_put(&f->ops, GR_STR("k"), gr_str_of(big, GR_BATCH_MAX - GR_BATCH_HEADER - 5));
    assert_int_equal(gr_batch_seal(0, 1, &(gr_position){0}, &f->ops, f->arena, &batch).code, GR_TOO_LARGE);
    free(big);
}

static void cut_or_altered_bytes_never_read_as_the_same_batch(void **state)
{
    fixture *f = *state;
    gr_batch batch = sealed(f, &(gr_position){0}), read;
    for (size_t size = 0; size < batch.bytes.size; size++)
        assert_true(gr_failed(gr_batch_read(gr_str_head(batch.bytes, size), &read)));
    for (size_t bit = 0; bit < batch.bytes.size * 8; bit++) {
        char *altered = gr_str_dup(batch.bytes);
        altered[bit / 8] ^= (char)(1 << bit % 8);
        if (!gr_failed(gr_batch_read(gr_str_of(altered, batch.bytes.size), &read)))
            assert_memory_not_equal(read.position.hash, batch.position.hash, GR_HASH_SIZE);
        free(altered);
    }
}

static void numbers_with_two_encodings_are_refused(void **state)
{
    (void)state;
    gr_str rest = {"\x02\x81\x00" "k", 4};
    gr_op op;
    assert_false(gr_op_next(&rest, &op));
    assert_int_equal(rest.size, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_is_read_as_it_was_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_operations_give_equal_bytes_and_each_batch_names_the_one_before,
                                        setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_batch_over_the_limit_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_or_altered_bytes_never_read_as_the_same_batch, setup, teardown),
        cmocka_unit_test(numbers_with_two_encodings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
