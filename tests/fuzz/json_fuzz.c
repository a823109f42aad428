/* json_fuzz.c - any bytes as JSON in both modes: what is accepted must survive print and parse. */
#include "proto/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prints, parses the print in the same mode and prints again: the texts are equal, and so are the trees. */
static void round_trip(gr_arena *arena, const gr_json *tree, gr_json_mode mode)
{
    const gr_json *again = NULL;
    gr_str first = gr_json_printed(arena, tree);
    gr_assert(gr_str_utf8(first));
    gr_assert(!gr_failed(gr_json_parse(arena, first, mode, &again)));
    gr_assert(gr_json_equal(tree, again));
    gr_assert(gr_str_eq(first, gr_json_printed(arena, again)));
}

static void check_order(const gr_json *v, int depth)
{
    gr_assert(depth <= GR_JSON_DEPTH_MAX);
    if (v->kind == GR_JSON_ARRAY)
        for (uint32_t i = 0; i < v->count; i++) check_order(&v->items[i], depth + 1);
    if (v->kind != GR_JSON_OBJECT) return;
    for (uint32_t i = 0; i < v->count; i++) {
        const gr_json_member *m = &v->members[i];
        gr_assert(i == 0 || gr_str_cmp(m[-1].key, m->key) < 0);
        gr_assert(gr_json_get_str(v, m->key) == &m->value);
        check_order(&m->value, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gr_arena *arena = gr_arena_new(0);
    /* An own copy on the heap, so that a read past the end is seen. */
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    gr_str text = {copy, size};
    const gr_json *lax = NULL, *canonical = NULL;
    gr_err lax_error = gr_json_parse(arena, text, GR_JSON_LAX, &lax);
    gr_err canonical_error = gr_json_parse(arena, text, GR_JSON_CANONICAL, &canonical);
    free(copy);

    gr_assert(gr_failed(lax_error) == !lax && gr_failed(canonical_error) == !canonical);
    if (lax) {
        check_order(lax, 0);
        round_trip(arena, lax, GR_JSON_LAX);
    }
    if (canonical) {
        gr_assert(lax && gr_json_equal(lax, canonical));
        round_trip(arena, canonical, GR_JSON_CANONICAL);
    }
    gr_arena_free(&arena);
    return 0;
}
