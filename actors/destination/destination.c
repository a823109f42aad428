/* destination.c - load, dispatch, inspect. See destination.h. */
#include "actors/destination/destination_private.h"

#include "proto/ident.h"

#include <stdlib.h>

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_destination *d = self;
    d->name = (gr_str){gr_str_dup(id), id.size};
    gr_backoff_load(d, ctx);
    gr_queue_load(d, ctx);
}

static void on_fetched(gr_destination *d, const gr_msg *m, gr_ctx *ctx)
{
    const gr_fetched *fetched = m->body;
    gr_backoff_on_fetched(d, fetched, m->resume->step == GR_DESTINATION_STEP_SEND, ctx);
    switch (m->resume->step) {
    case GR_DESTINATION_STEP_REQUEST: gr_request_on_fetched(d, fetched, m->resume->number, ctx); return;
    case GR_DESTINATION_STEP_KEYS: gr_server_keys_on_fetched(d, fetched, ctx); return;
    case GR_DESTINATION_STEP_SEND: gr_queue_on_fetched(d, fetched, m->resume->number, ctx); return;
    default: gr_assert(!"a fetch of a destination has a step");
    }
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_destination *d = self;
    bool is_other = gr_ident_server_name(d->name) && !gr_str_eq(d->name, gr_env_of(ctx)->server_name);
    if (!is_other) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "This is not the name of another server"));
        return;
    }
    switch (m->type->id) {
    case GR_T_destination_request: gr_request_on_ask(d, m->body, ctx); return;
    case GR_T_destination_keys: gr_server_keys_on_ask(d, m->body, ctx); return;
    case GR_T_destination_learn: gr_server_keys_on_learn(d, m->body, ctx); return;
    case GR_T_destination_queue: gr_queue_on_item(d, m->body, m->attachment, ctx); return;
    case GR_T_destination_heard:
        gr_backoff_on_heard(d, ctx);
        gr_queue_go_on(d, ctx);
        return;
    case GR_T_timer: gr_queue_go_on(d, ctx); return;
    case GR_T_fetched: on_fetched(d, m, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A destination does not take this message"));
    }
}

static void drop(void *self)
{
    gr_destination *d = self;
    gr_request_drop(d);
    gr_server_keys_drop(d);
    free((char *)d->name.ptr);
}

static bool busy(const void *self)
{
    const gr_destination *d = self;
    return d->requests || d->key_waiters || d->keys_under_way || d->is_sending;
}

static size_t memory(const void *self)
{
    const gr_destination *d = self;
    return d->name.size + d->request_count * sizeof(gr_destination_asked);
}

static uint64_t digest(const void *self)
{
    const gr_destination *d = self;
    const gr_queue_row *q = &d->queue;
    uint64_t parts[] = {gr_str_hash(d->name), d->failing_since_ms, d->next_try_ms, d->failures, q->first, q->next, q->txn, q->end,
                        q->ts, q->refusals, q->most, q->set_aside};
    return gr_str_hash(gr_str_of(parts, sizeof parts));
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_destination *d = self;
    gr_buf_printf(out, "\"state\":\"%s\",\"failures\":%llu,\"failing_since\":%llu,\"next_try\":%llu,\"requests\":%zu,"
                  "\"waiting\":%llu,\"set_aside\":%llu",
                  gr_backoff_holds(d, ctx) ? "backing off" : "live", (unsigned long long)d->failures,
                  (unsigned long long)d->failing_since_ms, (unsigned long long)d->next_try_ms, d->request_count,
                  (unsigned long long)(d->queue.next - d->queue.first), (unsigned long long)d->queue.set_aside);
}

const gr_actor_kind gr_destination_kind = {.kind = GR_KIND_DESTINATION, .size = sizeof(gr_destination), .load = load,
                                           .handle = handle, .drop = drop, .busy = busy, .memory = memory, .digest = digest,
                                           .inspect = inspect};
