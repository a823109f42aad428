/* inbound.c - transactions of another server. See inbound.h. */
#include "actors/inbound/inbound.h"

#include "proto/ident.h"

#include <stdlib.h>

static gr_str txn_row(gr_ctx *ctx, gr_str txn_id) { return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("t"), txn_id}); }

static gr_str number_row(gr_ctx *ctx, uint64_t number) { return gr_arena_key(gr_ctx_arena(ctx), 'n', number); }

/* --- those under way --------------------------------------------------------------------------------------- */
static gr_inbound_taking *find(gr_inbound *in, gr_str txn_id)
{
    for (size_t i = 0; i < in->count; i++)
        if (gr_str_eq(in->taking[i].txn_id, txn_id)) return &in->taking[i];
    return NULL;
}

/* Whoever waits is told to come again, unless told something else before. */
static void forget(gr_inbound *in, gr_inbound_taking *t, gr_ctx *ctx)
{
    gr_err again = gr_fail(GR_UNAVAILABLE, "Not all of the transaction could be taken: send it again");
    for (size_t i = 0; i < t->waiter_count; i++) {
        if (ctx && t->waiters[i]) gr_ctx_answer_fail(ctx, &t->waiters[i], again);
        else gr_asker_free(&t->waiters[i]);
    }
    free((char *)t->txn_id.ptr);
    *t = in->taking[--in->count];
    in->taking[in->count] = (gr_inbound_taking){0};
}

static void forget_lost(gr_inbound *in, gr_ctx *ctx)
{
    for (size_t i = in->count; i > 0; i--)
        if (in->taking[i - 1].until_ms <= gr_ctx_now_ms(ctx)) forget(in, &in->taking[i - 1], ctx);
}

static gr_err busy_error(const char *why)
{
    gr_err err = gr_fail(GR_LIMIT_EXCEEDED, why);
    err.retry_after_ms = 1000;
    return err;
}

/* --- messages ---------------------------------------------------------------------------------------------- */
static bool read_row(gr_ctx *ctx, gr_str txn_id, gr_inbound_row *out)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, txn_row(ctx, txn_id), &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_inbound_row, bytes, &body))) return false;
    *out = *(gr_inbound_row *)body;
    return true;
}

static void on_begin(gr_inbound *in, const gr_inbound_begin *m, gr_ctx *ctx)
{
    gr_inbound_row row;
    forget_lost(in, ctx);
    gr_inbound_taking *t = find(in, m->txn_id);
    if (!gr_ident_txn(m->txn_id)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "The transaction id is not valid"));
    } else if (read_row(ctx, m->txn_id, &row)) {
        gr_ctx_reply(ctx, &gr_type_inbound_state, &(gr_inbound_state){.reply = row.reply});
    } else if (t && t->waiter_count < GR_INBOUND_WAITERS) {
        t->waiters[t->waiter_count++] = gr_ctx_keep_asker(ctx);
    } else if (t || in->count == GR_INBOUND_UNDER_WAY) {
        gr_ctx_fail(ctx, busy_error("Other transactions of yours are still being taken"));
    } else {
        in->taking[in->count++] = (gr_inbound_taking){.txn_id = {gr_str_dup(m->txn_id), m->txn_id.size},
                                                      .until_ms = gr_ctx_now_ms(ctx) + GR_INBOUND_TAKE_MS};
        gr_ctx_reply(ctx, &gr_type_inbound_state, &(gr_inbound_state){0});
    }
}

static bool take_number(void *arg, gr_str key, gr_str value)
{
    (void)value;
    *(uint64_t *)arg = gr_u64be(key.ptr + 1);
    return false;
}

/* Kept under the next number; the one that is GR_INBOUND_KEPT older goes. */
static void keep(gr_ctx *ctx, gr_str txn_id, gr_str reply)
{
    uint64_t newest = 0;
    gr_str oldest;
    gr_ctx_scan(ctx, GR_STR("n"), GR_STR("o"), true, 1, take_number, &newest);
    gr_inbound_row row = {.reply = reply, .number = newest + 1};
    gr_ctx_put_body(ctx, txn_row(ctx, txn_id), &gr_type_inbound_row, &row);
    gr_ctx_put(ctx, number_row(ctx, row.number), txn_id);
    if (row.number <= GR_INBOUND_KEPT) return;
    gr_str gone = number_row(ctx, row.number - GR_INBOUND_KEPT);
    if (!gr_ctx_get(ctx, gone, &oldest)) return;
    gr_ctx_del(ctx, txn_row(ctx, oldest));
    gr_ctx_del(ctx, gone);
}

static void on_end(gr_inbound *in, const gr_inbound_end *m, gr_ctx *ctx)
{
    gr_inbound_row row;
    gr_inbound_taking *t = find(in, m->txn_id);
    gr_inbound_state state = {.reply = m->reply};
    if (!read_row(ctx, m->txn_id, &row)) keep(ctx, m->txn_id, m->reply);
    for (size_t i = 0; t && i < t->waiter_count; i++) gr_ctx_answer(ctx, &t->waiters[i], &gr_type_inbound_state, &state);
    if (t) forget(in, t, ctx);
    gr_ctx_done(ctx);
}

static void on_drop(gr_inbound *in, const gr_inbound_drop *m, gr_ctx *ctx)
{
    gr_inbound_taking *t = find(in, m->txn_id);
    if (t) forget(in, t, ctx);
    gr_ctx_done(ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    switch (m->type->id) {
    case GR_T_inbound_begin: on_begin(self, m->body, ctx); return;
    case GR_T_inbound_end: on_end(self, m->body, ctx); return;
    case GR_T_inbound_drop: on_drop(self, m->body, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "An inbound does not take this message"));
    }
}

static void drop(void *self)
{
    gr_inbound *in = self;
    while (in->count) forget(in, &in->taking[0], NULL);
}

static bool busy(const void *self) { return ((const gr_inbound *)self)->count > 0; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    (void)ctx;
    gr_buf_printf(out, "\"under_way\":%zu", ((const gr_inbound *)self)->count);
}

const gr_actor_kind gr_inbound_kind = {.kind = GR_KIND_INBOUND, .size = sizeof(gr_inbound), .handle = handle, .drop = drop,
                                       .busy = busy, .inspect = inspect};
