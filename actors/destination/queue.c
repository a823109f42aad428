/* queue.c - what waits for the server, and what of it goes out next. See destination.h. */
#include "actors/destination/destination_private.h"

enum { STEP = 15 };                    /* items folded in one handler */

#define TIMER GR_STR("send")

void gr_destination_go_on_at(uint64_t due_ms, gr_ctx *ctx) { gr_ctx_timer(ctx, TIMER, due_ms, true); }

/* --- giving the queue up ----------------------------------------------------------------------------------- */
static void owe_oldest(gr_destination *d, size_t most, gr_ctx *ctx)
{
    gr_queue_item_row item;
    for (; most > 0 && gr_queue_count(&d->events); most--)
        if (gr_queue_shift(&d->events, &item, ctx) && !gr_catch_up_has(d, &item, ctx)) gr_catch_up_owe(d, &item, ctx);
    gr_queue_save(&d->events, ctx);
}

/* Device lists fold once more when the server is gone for so long that it will ask for all of them anyway. */
static bool are_hints_due(const gr_destination *d, gr_ctx *ctx)
{
    bool is_gone = d->backoff.failures && gr_ctx_now_ms(ctx) - d->backoff.since_ms > GR_DESTINATION_GONE_MS;
    return is_gone && d->owed.hints < d->edus.row.next;
}

/* Steps of what takes more than a handler; true: there was one. */
static bool step(gr_destination *d, gr_ctx *ctx)
{
    if (d->owed.is_dropping && gr_queue_count(&d->events)) {
        owe_oldest(d, STEP, ctx);
        return true;
    }
    if (!are_hints_due(d, ctx)) return false;
    d->owed.hints = gr_queue_fold(&d->edus, d->owed.hints, STEP, ctx);
    gr_catch_up_save(d, ctx);
    return true;
}

void gr_destination_works(gr_destination *d, gr_ctx *ctx)
{
    gr_backoff_end(&d->backoff, ctx);
    if (!d->owed.is_dropping && !d->owed.hints) return;
    d->owed.is_dropping = false;
    d->owed.hints = 0;
    gr_catch_up_save(d, ctx);
}

void gr_destination_failed(gr_destination *d, uint64_t at_least_ms, gr_ctx *ctx)
{
    const gr_env *env = gr_env_of(ctx);
    if (!gr_backoff_fail(&d->backoff, &env->retry, at_least_ms, ctx)) return;
    uint64_t wait_ms = gr_backoff_interval_ms(&env->retry, d->backoff.failures);
    bool is_long = gr_ctx_now_ms(ctx) - d->backoff.since_ms >= env->queue.catch_up_after_ms;
    if (d->owed.is_dropping || wait_ms <= env->queue.catch_up_after_ms || !is_long) return;
    d->owed.is_dropping = true;
    gr_volatile_drop(d);
    gr_catch_up_save(d, ctx);
}

/* --- what goes out next ------------------------------------------------------------------------------------ */
static bool waits(gr_destination *d, gr_send_kind kind, gr_ctx *ctx)
{
    switch (kind) {
    case GR_SEND_EDUS: return gr_queue_count(&d->edus) > 0;
    case GR_SEND_OWED: return d->owed.rooms > 0;
    case GR_SEND_EVENTS: return gr_queue_count(&d->events) > 0 && d->owed.rooms == 0;      /* what was missed first */
    case GR_SEND_VOLATILE: return gr_volatile_waits(d, ctx);
    default: return false;
    }
}

/* What was begun is repeated before anything new; else each kind has its turn, so that none waits for all of another. */
static gr_send_kind next_kind(gr_destination *d, gr_ctx *ctx)
{
    if (d->edus.row.end) return GR_SEND_EDUS;
    if (d->events.row.end) return GR_SEND_EVENTS;
    for (unsigned i = 0; i < GR_SEND_KINDS; i++) {
        gr_send_kind kind = (gr_send_kind)((d->turn + i) % GR_SEND_KINDS);
        if (!waits(d, kind, ctx)) continue;
        d->turn = kind == GR_SEND_OWED ? GR_SEND_VOLATILE : (kind + 1) % GR_SEND_KINDS;
        return kind;
    }
    d->turn = 0;
    return GR_SEND_KINDS;
}

void gr_destination_go_on(gr_destination *d, gr_ctx *ctx)
{
    if (d->sending) return;                    /* its timer is set */
    if (step(d, ctx)) {
        gr_destination_go_on_at(gr_ctx_now_ms(ctx), ctx);
        return;
    }
    bool holds = gr_backoff_holds(&d->backoff, ctx);
    unsigned turn = d->turn;
    gr_send_kind kind = next_kind(d, ctx);
    if (kind == GR_SEND_KINDS) {
        gr_ctx_timer_clear(ctx, TIMER);
    } else if (holds) {
        d->turn = turn;
        gr_destination_go_on_at(d->backoff.next_ms, ctx);
    } else {
        gr_transaction_start(d, kind, ctx);
    }
}

/* After an outage of this server all that should have been done meanwhile is due at once. */
void gr_destination_on_timer(gr_destination *d, const gr_timer *timer, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx), late_ms = now_ms > timer->due_ms ? now_ms - timer->due_ms : 0;
    bool is_spread = d->is_spread;
    d->is_spread = false;
    if (d->sending) {
        gr_destination_go_on_at(now_ms + GR_DESTINATION_WATCH_MS, ctx);
    } else if (late_ms > GR_DESTINATION_LATE_MS && !is_spread) {
        d->is_spread = true;
        if (late_ms > GR_DESTINATION_SPREAD_MS) late_ms = GR_DESTINATION_SPREAD_MS;
        gr_destination_go_on_at(now_ms + gr_str_hash(d->name) % late_ms, ctx);
    } else {
        gr_destination_go_on(d, ctx);
    }
}

/* --- what comes in ----------------------------------------------------------------------------------------- */
static void on_edu(gr_destination *d, const gr_destination_queue *m, gr_ctx *ctx)
{
    gr_queue_item_row item = {.text = m->edu, .fold = m->fold, .size = m->edu.size};
    const char *user_end = m->fold.size && d->owed.hints ? memchr(m->fold.ptr, 0, m->fold.size) : NULL;
    if (user_end) item.fold.size = (size_t)(user_end - item.fold.ptr);
    if (gr_queue_count(&d->edus) < GR_DESTINATION_EDUS_MAX) {
        bool is_hint = d->owed.hints && d->owed.hints == d->edus.row.next;
        gr_queue_add(&d->edus, &item, ctx);
        if (!is_hint) return;
        d->owed.hints = d->edus.row.next;      /* it has folded already */
        gr_catch_up_save(d, ctx);
    } else {
        d->edus.row.set_aside++;
        gr_queue_save(&d->edus, ctx);
    }
}

/* Would it be, with so much more? */
static bool is_over(const gr_destination *d, uint64_t events, uint64_t bytes, gr_ctx *ctx)
{
    const gr_env *env = gr_env_of(ctx);
    uint64_t count = gr_queue_count(&d->events) + events;
    return count > env->queue.events_max || (count > 1 && d->events.row.bytes + bytes > env->queue.bytes_max);
}

/* Past the bound the oldest gives way; while that is on its way, the newest does, which the room sends with what it owes. */
static void on_event(gr_destination *d, const gr_destination_queue *m, gr_ctx *ctx)
{
    gr_queue_item_row item = {.room_id = m->room_id, .event_id = m->event_id, .position = m->position, .size = m->size};
    bool is_sending = d->sending && d->sending->kind == GR_SEND_EVENTS;
    if (gr_catch_up_has(d, &item, ctx)) return;        /* the room told of it before its post came */
    gr_catch_up_forget(d, &item, ctx);
    if (d->owed.is_dropping || gr_catch_up_is_owed(d, m->room_id, ctx) || (is_sending && is_over(d, 1, m->size, ctx))) {
        gr_catch_up_owe(d, &item, ctx);
        return;
    }
    gr_queue_add(&d->events, &item, ctx);
    for (int i = 0; i < STEP && !is_sending && is_over(d, 0, 0, ctx); i++) owe_oldest(d, 1, ctx);
}

void gr_destination_on_queue(gr_destination *d, const gr_destination_queue *m, gr_ctx *ctx)
{
    if (m->edu.size) on_edu(d, m, ctx);
    else if (m->room_id.size && m->event_id.size) on_event(d, m, ctx);
    gr_destination_go_on(d, ctx);
}

/* The queue that was given up stays so until the server has answered. */
void gr_destination_on_reset(gr_destination *d, gr_ctx *ctx)
{
    gr_backoff_end(&d->backoff, ctx);
    gr_destination_go_on(d, ctx);
    gr_ctx_done(ctx);
}
