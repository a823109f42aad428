/* envelope_fuzz.c - any bytes as an envelope and its body: what is accepted survives encoding, and printing tells no secret. */
#include "proto/address.h"
#include "proto/catalogue.h"
#include "proto/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void body_round(gr_arena *arena, const gr_type *type, gr_str bytes)
{
    void *body = NULL, *again = NULL, *parsed = NULL;
    gr_buf out = {0};
    gr_err err = gr_body_decode(arena, type, bytes, &body);
    gr_assert(gr_failed(err) == !body);
    if (!body) return;
    gr_body_encode(&out, type, body);
    gr_assert(!gr_failed(gr_body_decode(arena, type, gr_buf_view(&out), &again)));
    gr_assert(gr_body_equal(type, body, again));
    for (int with_content = 0; with_content < 2; with_content++) {
        const gr_json *tree = NULL;
        gr_buf_clear(&out);
        gr_body_print(&out, type, body, with_content != 0);
        gr_assert(!gr_failed(gr_json_parse(arena, gr_buf_view(&out), GR_JSON_LAX, &tree)));
        err = gr_body_parse(arena, type, gr_buf_view(&out), &parsed);      /* hidden parts are none of its kind: refused */
        gr_assert(gr_failed(err) == !parsed);
    }
    gr_buf_free(&out);
}

static bool same(const gr_envelope *x, const gr_envelope *y)
{
    return x->trace == y->trace && x->span == y->span && x->parent == y->parent && gr_str_eq(x->from, y->from)
        && gr_str_eq(x->to, y->to) && x->verb == y->verb && x->seq == y->seq && x->incarnation == y->incarnation
        && x->wait_ms == y->wait_ms && x->type == y->type && gr_str_eq(x->body, y->body)
        && gr_str_eq(x->attachment, y->attachment) && gr_str_eq(x->reply_to, y->reply_to) && x->reply_seq == y->reply_seq
        && x->sent_us == y->sent_us;
}

/* As an envelope; and by the first two bytes as the body of any type, so that all types are reached. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gr_arena *arena = gr_arena_new(0);
    char *copy = malloc(size ? size : 1);      /* a read past the end is seen */
    if (size) memcpy(copy, data, size);
    gr_str bytes = {copy, size};
    gr_envelope e, again;
    if (!gr_failed(gr_envelope_decode(bytes, &e))) {
        gr_buf out = {0};
        gr_envelope_encode(&out, &e);
        gr_assert(!gr_failed(gr_envelope_decode(gr_buf_view(&out), &again)));
        gr_assert(same(&e, &again));
        gr_buf_free(&out);
        if (gr_address_valid(e.to) && gr_address_kind(e.to) != GR_KIND_EDGE) (void)gr_address_shard(e.to);
        if (gr_type_find(e.type)) body_round(arena, gr_type_find(e.type), e.body);
    }
    if (size >= 2) {
        size_t count = 0;
        const gr_type *const *types = gr_type_all(&count);
        body_round(arena, types[((size_t)data[0] << 8 | data[1]) % count], gr_str_from(bytes, 2));
    }
    free(copy);
    gr_arena_free(&arena);
    return 0;
}
