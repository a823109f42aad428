/* destination.c - load, dispatch, inspect. See destination.h. */
#include "actors/destination/destination_private.h"

#include "proto/ident.h"

#include <stdlib.h>

gr_destination_state gr_destination_state_of(const gr_destination *d)
{
    if (d->owed.is_dropping) return GR_DESTINATION_PENDING;
    if (d->backoff.failures) return GR_DESTINATION_BACKING_OFF;
    return d->owed.rooms ? GR_DESTINATION_CATCHING_UP : GR_DESTINATION_LIVE;
}

const char *gr_destination_state_text(gr_destination_state state)
{
    static const char *const texts[] = {"live", "backing off", "catch-up pending", "catching up"};
    return texts[state];
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_destination *d = self;
    d->name = (gr_str){gr_str_dup(id), id.size};
    gr_backoff_load(&d->backoff, ctx);
    gr_queue_load(&d->events, 'e', ctx);
    gr_queue_load(&d->edus, 'd', ctx);
    gr_catch_up_load(d, ctx);
}

/* Of a request that is no transaction only that the server could not be connected to is its failure; but an answer is one. */
static void judge(gr_destination *d, const gr_fetched *f, gr_ctx *ctx)
{
    bool works = f->failure == GR_FETCH_ANSWERED && f->status < 500 && f->status != 429;
    if (f->failure == GR_FETCH_UNREACHABLE) gr_destination_failed(d, 0, ctx);
    if (!works || d->backoff.failures == 0) return;
    gr_destination_works(d, ctx);
    gr_destination_go_on(d, ctx);
}

static void on_fetched(gr_destination *d, const gr_msg *m, gr_ctx *ctx)
{
    const gr_fetched *fetched = m->body;
    if (m->resume->step != GR_DESTINATION_STEP_SEND) judge(d, fetched, ctx);
    switch (m->resume->step) {
    case GR_DESTINATION_STEP_REQUEST: gr_request_on_fetched(d, fetched, m->resume->number, ctx); return;
    case GR_DESTINATION_STEP_KEYS: gr_server_keys_on_fetched(d, fetched, ctx); return;
    case GR_DESTINATION_STEP_SEND: gr_transaction_on_fetched(d, fetched, m->resume->number, ctx); return;
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
    if (m->verb == GR_REPLY && m->type->id != GR_T_fetched) {
        gr_transaction_on_room(d, m, ctx);
        return;
    }
    switch (m->type->id) {
    case GR_T_destination_request: gr_request_on_ask(d, m->body, ctx); return;
    case GR_T_destination_keys: gr_server_keys_on_ask(d, m->body, ctx); return;
    case GR_T_destination_learn: gr_server_keys_on_learn(d, m->body, ctx); return;
    case GR_T_destination_queue: gr_destination_on_queue(d, m->body, ctx); return;
    case GR_T_destination_volatile: gr_volatile_on_edu(d, m->body, ctx); return;
    case GR_T_destination_reset: gr_destination_on_reset(d, ctx); return;
    case GR_T_destination_heard:
        if (gr_backoff_heard(&d->backoff, ctx)) gr_destination_go_on(d, ctx);
        return;
    case GR_T_timer: gr_destination_on_timer(d, m->body, ctx); return;
    case GR_T_fetched: on_fetched(d, m, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A destination does not take this message"));
    }
}

static void drop(void *self)
{
    gr_destination *d = self;
    gr_request_drop(d);
    gr_server_keys_drop(d);
    gr_transaction_drop(d);
    gr_catch_up_drop(d);
    gr_volatile_drop(d);
    gr_queue_drop(&d->events);
    gr_queue_drop(&d->edus);
    free((char *)d->name.ptr);
}

static bool busy(const void *self)
{
    const gr_destination *d = self;
    return d->requests || d->key_waiters || d->keys_under_way || d->sending;
}

static size_t memory(const void *self)
{
    const gr_destination *d = self;
    return d->name.size + d->request_count * sizeof(gr_destination_asked) + d->volatile_bytes
        + d->volatile_count * sizeof(gr_destination_volatile_edu) + d->page_count * sizeof *d->page
        + (d->sending ? sizeof *d->sending : 0);
}

static uint64_t digest(const void *self)
{
    const gr_destination *d = self;
    const gr_backoff *b = &d->backoff;
    const gr_catch_up_row *o = &d->owed;
    uint64_t parts[] = {gr_str_hash(d->name), b->since_ms, b->next_ms, b->failures, gr_queue_digest(&d->events),
                        gr_queue_digest(&d->edus), o->rooms, o->next, o->is_dropping, o->hints, o->txn, o->hash, o->refusals,
                        o->most, o->set_aside, o->caught, o->errors, o->caught_until};
    return gr_str_hash(gr_str_of(parts, sizeof parts));
}

static void print_set_aside(gr_jw *w, const gr_queue *q, gr_ctx *ctx)
{
    gr_queue_item_row items[GR_QUEUE_SET_ASIDE];
    size_t count = gr_queue_set_aside(q, items, ctx);
    for (size_t i = 0; i < count; i++) gr_jw_str(w, items[i].event_id.size ? items[i].event_id : GR_STR("an EDU"));
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_destination *d = self;
    gr_buf whole = {0};
    gr_jw w = gr_jw_begin(&whole);
    gr_jw_object(&w);
    gr_jw_kc(&w, "state", gr_destination_state_text(gr_destination_state_of(d)));
    gr_jw_kint(&w, "failures", (int64_t)d->backoff.failures);
    gr_jw_kint(&w, "failing_since", (int64_t)d->backoff.since_ms);
    gr_jw_kint(&w, "next_try", (int64_t)d->backoff.next_ms);
    gr_jw_kint(&w, "requests", (int64_t)d->request_count);
    gr_jw_kbool(&w, "sending", d->sending != NULL);
    gr_jw_kint(&w, "events", (int64_t)gr_queue_count(&d->events));
    gr_jw_kint(&w, "edus", (int64_t)gr_queue_count(&d->edus));
    gr_jw_kint(&w, "volatile_edus", (int64_t)d->volatile_count);
    gr_jw_kint(&w, "bytes", (int64_t)(d->events.row.bytes + d->edus.row.bytes));
    gr_jw_kint(&w, "rooms_owed", (int64_t)d->owed.rooms);
    gr_jw_kint(&w, "set_aside", (int64_t)(d->events.row.set_aside + d->edus.row.set_aside + d->owed.set_aside));
    gr_jw_kint(&w, "refused_events", (int64_t)d->owed.errors);
    gr_jw_key(&w, "newest_set_aside");
    gr_jw_array(&w);
    print_set_aside(&w, &d->events, ctx);
    print_set_aside(&w, &d->edus, ctx);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_buf_str(out, (gr_str){whole.ptr + 1, whole.size - 2});
    gr_buf_free(&whole);
}

const gr_actor_kind gr_destination_kind = {.kind = GR_KIND_DESTINATION, .size = sizeof(gr_destination), .load = load,
                                           .handle = handle, .drop = drop, .busy = busy, .memory = memory, .digest = digest,
                                           .inspect = inspect};
