/* queue.c - what waits for the server, sent in order. See destination.h; server-server API, "Transactions". */
#include "actors/destination/destination_private.h"

#define ROW GR_STR("s")
#define TIMER GR_STR("send")

enum { WATCH_MS = GR_QUEUE_TIMEOUT_MS + 30 * 1000 };      /* only a restart keeps the answer from coming before that */

void gr_queue_load(gr_destination *d, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    d->queue = (gr_queue_row){.first = 1, .next = 1};
    if (!gr_ctx_get(ctx, ROW, &bytes)) return;
    if (!gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_queue_row, bytes, &body))) d->queue = *(gr_queue_row *)body;
}

static void save(const gr_destination *d, gr_ctx *ctx) { gr_ctx_put_body(ctx, ROW, &gr_type_queue_row, &d->queue); }

static gr_str item_row(gr_ctx *ctx, uint64_t number) { return gr_arena_key(gr_ctx_arena(ctx), 'q', number); }

/* --- a transaction ------------------------------------------------------------------------------------------ */
typedef struct {
    gr_buf pdus, edus;                 /* separated by commas */
    size_t count;
} packing;

static void pack(packing *p, const gr_queue_item_row *item)
{
    gr_buf *out = item->is_edu ? &p->edus : &p->pdus;
    if (out->size) gr_buf_char(out, ',');
    gr_buf_str(out, item->text);
}

/* The items of the transaction, or of a new one as large as it may be. */
static packing packed(const gr_destination *d, gr_ctx *ctx)
{
    const gr_queue_row *q = &d->queue;
    packing p = {0};
    size_t most = q->end ? q->end - q->first : q->most ? q->most : GR_QUEUE_ITEMS;
    for (uint64_t number = q->first; number < q->next && p.count < most; number++) {
        gr_str bytes = {0};
        void *body = NULL;
        gr_ctx_get(ctx, item_row(ctx, number), &bytes);
        bool good = !gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_queue_item_row, bytes, &body));
        const gr_queue_item_row *item = body;
        if (good && p.count && p.pdus.size + p.edus.size + item->text.size > GR_QUEUE_BYTES) break;
        if (good) pack(&p, item);      /* what nobody can read goes with its neighbours */
        p.count++;
    }
    return p;
}

/* The same number, the same time, the same items: the same bytes, whenever it is sent. */
static void send(gr_destination *d, const packing *p, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_queue_row *q = &d->queue;
    gr_str body = gr_arena_printf(a, "{\"edus\":[%" GR_FMT "],\"origin\":\"%" GR_FMT "\",\"origin_server_ts\":%llu,\"pdus\":[%"
                                  GR_FMT "]}", GR_ARG(gr_buf_view(&p->edus)), GR_ARG(gr_env_of(ctx)->server_name),
                                  (unsigned long long)q->ts, GR_ARG(gr_buf_view(&p->pdus)));
    gr_destination_request m = {.method = GR_STR("PUT"), .content = body, .timeout_ms = GR_QUEUE_TIMEOUT_MS,
                                .uri = gr_arena_printf(a, "/_matrix/federation/v1/send/%llx-%llu",
                                                       (unsigned long long)gr_ctx_incarnation(ctx), (unsigned long long)q->txn)};
    d->is_sending = true;
    gr_request_send(d, &m, &(gr_resume){.step = GR_DESTINATION_STEP_SEND, .number = q->txn}, ctx);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + WATCH_MS, true);
}

static void begin(gr_destination *d, const packing *p, gr_ctx *ctx)
{
    gr_queue_row *q = &d->queue;
    q->txn++;
    q->end = q->first + p->count;
    q->ts = gr_ctx_now_ms(ctx);
    q->refusals = 0;
    save(d, ctx);
}

void gr_queue_go_on(gr_destination *d, gr_ctx *ctx)
{
    gr_queue_row *q = &d->queue;
    if (q->first == q->next) return;
    if (d->is_sending || gr_backoff_holds(d, ctx)) {
        gr_ctx_timer(ctx, TIMER, d->is_sending ? gr_ctx_now_ms(ctx) + WATCH_MS : d->next_try_ms, true);
        return;
    }
    packing p = packed(d, ctx);
    gr_assert(p.count > 0);
    if (!q->end) begin(d, &p, ctx);
    gr_assert(q->first + p.count == q->end);
    send(d, &p, ctx);
    gr_buf_free(&p.pdus);
    gr_buf_free(&p.edus);
}

void gr_queue_on_item(gr_destination *d, const gr_destination_queue *m, gr_str attachment, gr_ctx *ctx)
{
    gr_queue_row *q = &d->queue;
    gr_str pdu = attachment.size ? attachment : m->pdu;
    if (m->is_volatile && gr_backoff_holds(d, ctx)) return;
    gr_queue_item_row item = {.text = m->edu.size ? m->edu : pdu, .is_edu = m->edu.size > 0};
    if (q->next - q->first >= GR_QUEUE_ITEMS_MAX || item.text.size == 0) q->set_aside++;
    else gr_ctx_put_body(ctx, item_row(ctx, q->next++), &gr_type_queue_item_row, &item);
    save(d, ctx);
    if (!d->is_sending) gr_queue_go_on(d, ctx);
}

/* --- what came of it ---------------------------------------------------------------------------------------- */
bool gr_queue_is_taken(const gr_fetched *f) { return f->failure == GR_FETCH_ANSWERED && f->status == 200; }

/* Says that there is something wrong with it, not with the server: it would be refused for ever. */
bool gr_queue_is_refused(const gr_fetched *f)
{
    bool may_pass = f->status == 401 || f->status == 404 || f->status == 408 || f->status == 429;
    return f->failure == GR_FETCH_ANSWERED && f->status >= 400 && f->status < 500 && !may_pass;
}

static void remove_sent(gr_destination *d, gr_ctx *ctx)
{
    gr_queue_row *q = &d->queue;
    for (uint64_t number = q->first; number < q->end; number++) gr_ctx_del(ctx, item_row(ctx, number));
    q->first = q->end;
    q->end = q->most = 0;
}

/* Refused again: the next transaction has half of it; a single item is given up. */
static void on_refused(gr_destination *d, gr_ctx *ctx)
{
    gr_queue_row *q = &d->queue;
    if (++q->refusals < GR_QUEUE_REFUSALS) return;
    uint64_t count = q->end - q->first;
    if (count > 1) {
        q->most = count / 2;
        q->end = 0;
    } else {
        q->set_aside++;
        remove_sent(d, ctx);
    }
}

void gr_queue_on_fetched(gr_destination *d, const gr_fetched *fetched, uint64_t txn, gr_ctx *ctx)
{
    gr_queue_row *q = &d->queue;
    if (!d->is_sending || txn != q->txn) return;       /* of before it was loaded again */
    d->is_sending = false;
    if (gr_queue_is_taken(fetched)) remove_sent(d, ctx);
    else if (gr_queue_is_refused(fetched)) on_refused(d, ctx);
    save(d, ctx);
    if (gr_queue_is_taken(fetched) || gr_backoff_holds(d, ctx)) {
        if (q->first == q->next) gr_ctx_timer_clear(ctx, TIMER);
        else gr_queue_go_on(d, ctx);
        return;
    }
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_QUEUE_REFUSED_MS, true);
}
