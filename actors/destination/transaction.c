/* transaction.c - one transaction: asking rooms for its events, sending it, what came of it. See destination.h; server-server
 * API, "Transactions".
 */
#include "actors/destination/destination_private.h"

#include <stdlib.h>

enum { CAUGHT_ITEMS = 25 };            /* of one transaction while each event is looked up: 64 rows may be read */

/* --- the transaction under way ----------------------------------------------------------------------------- */
static void free_events(gr_destination_sending *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free((char *)s->events[i].room_id.ptr);
        free((char *)s->events[i].event_id.ptr);
        free((char *)s->events[i].pdu.ptr);
    }
    free(s->events);
    s->events = NULL;
    s->count = 0;
}

void gr_transaction_drop(gr_destination *d)
{
    gr_destination_sending *s = d->sending;
    if (!s) return;
    free_events(s);
    free((char *)s->room_id.ptr);
    free(s);
    d->sending = NULL;
}

static gr_destination_sending *begin(gr_destination *d, gr_send_kind kind, gr_ctx *ctx)
{
    gr_assert(!d->sending);
    d->sending = gr_alloc(sizeof *d->sending);
    *d->sending = (gr_destination_sending){.kind = kind};
    gr_ctx_random(ctx, &d->sending->number, sizeof d->sending->number);
    gr_destination_go_on_at(gr_ctx_now_ms(ctx) + GR_DESTINATION_WATCH_MS, ctx);
    return d->sending;
}

static gr_str keep(gr_str s) { return (gr_str){gr_str_dup(s), s.size}; }

static void give_up(gr_destination *d, uint64_t again_ms, gr_ctx *ctx)
{
    gr_transaction_drop(d);
    gr_destination_go_on_at(again_ms, ctx);
}

/* --- sending ----------------------------------------------------------------------------------------------- */
static void send(gr_destination *d, gr_str edus, gr_str pdus, gr_str txn, uint64_t ts, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str body = gr_arena_printf(a, "{\"edus\":[%" GR_FMT "],\"origin\":\"%" GR_FMT "\",\"origin_server_ts\":%llu,\"pdus\":[%"
                                  GR_FMT "]}", GR_ARG(edus), GR_ARG(gr_env_of(ctx)->server_name), (unsigned long long)ts,
                                  GR_ARG(pdus));
    gr_destination_request m = {.method = GR_STR("PUT"), .content = body, .timeout_ms = GR_DESTINATION_SEND_MS,
                                .uri = gr_arena_printf(a, "/_matrix/federation/v1/send/%llx-%" GR_FMT,
                                                       (unsigned long long)gr_ctx_incarnation(ctx), GR_ARG(txn))};
    gr_request_send(d, &m, &(gr_resume){.step = GR_DESTINATION_STEP_SEND, .number = d->sending->number}, ctx);
}

static void send_of_queue(gr_destination *d, gr_queue *q, gr_str edus, gr_str pdus, gr_ctx *ctx)
{
    gr_queue_begin(q, d->sending->end, gr_str_hash(edus.size ? edus : pdus), ctx);
    gr_str txn = gr_arena_printf(gr_ctx_arena(ctx), "%c%llu", q->letter, (unsigned long long)q->row.txn);
    send(d, edus, pdus, txn, q->row.ts, ctx);
}

static void send_owed(gr_destination *d, gr_str pdus, gr_ctx *ctx)
{
    uint64_t hash = gr_str_hash(pdus);
    if (d->owed.hash != hash) {
        d->owed.txn++;
        d->owed.hash = hash;
        d->owed.ts = gr_ctx_now_ms(ctx);
        gr_catch_up_save(d, ctx);
    }
    gr_str txn = gr_arena_printf(gr_ctx_arena(ctx), "u%llu", (unsigned long long)d->owed.txn);
    send(d, (gr_str){0}, pdus, txn, d->owed.ts, ctx);
}

static gr_buf texts_of(const gr_destination_sending *s)
{
    gr_buf out = {0};
    for (size_t i = 0; i < s->count; i++) {
        if (s->events[i].pdu.size == 0) continue;
        if (out.size) gr_buf_char(&out, ',');
        gr_buf_str(&out, s->events[i].pdu);
    }
    return out;
}

/* All that rooms had to say has come. */
static void send_events(gr_destination *d, gr_ctx *ctx)
{
    gr_destination_sending *s = d->sending;
    if (s->is_failed) {
        give_up(d, gr_ctx_now_ms(ctx) + GR_DESTINATION_AGAIN_MS, ctx);
        return;
    }
    gr_buf pdus = texts_of(s);
    free_events(s);
    if (pdus.size && s->kind == GR_SEND_OWED) {
        send_owed(d, gr_buf_view(&pdus), ctx);
    } else if (pdus.size) {
        send_of_queue(d, &d->events, (gr_str){0}, gr_buf_view(&pdus), ctx);
    } else {                                   /* nothing that the server is to get */
        if (s->kind == GR_SEND_OWED) gr_catch_up_done(d, s->room_id, s->owed_number, 0, ctx);
        else {
            gr_queue_begin(&d->events, s->end, 0, ctx);
            gr_queue_taken(&d->events, ctx);
        }
        give_up(d, gr_ctx_now_ms(ctx), ctx);
    }
    gr_buf_free(&pdus);
}

/* --- starting ---------------------------------------------------------------------------------------------- */
static void start_edus(gr_destination *d, gr_ctx *ctx)
{
    gr_queue_item_row items[GR_QUEUE_ITEMS];
    gr_buf edus = {0};
    gr_destination_sending *s = begin(d, GR_SEND_EDUS, ctx);
    s->end = gr_queue_pick(&d->edus, items, ctx);
    for (uint64_t i = 0; i < s->end - d->edus.row.first; i++) {
        if (items[i].text.size == 0) continue;         /* it has folded */
        if (edus.size) gr_buf_char(&edus, ',');
        gr_buf_str(&edus, items[i].text);
    }
    if (edus.size) {
        send_of_queue(d, &d->edus, gr_buf_view(&edus), (gr_str){0}, ctx);
    } else {
        gr_queue_begin(&d->edus, s->end, 0, ctx);
        gr_queue_taken(&d->edus, ctx);
        give_up(d, gr_ctx_now_ms(ctx), ctx);
    }
    gr_buf_free(&edus);
}

static void ask_room(gr_destination *d, gr_str room_id, const gr_type *type, const void *body, gr_ctx *ctx)
{
    d->sending->waiting++;
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, room_id), type, body, GR_DESTINATION_ROOM_MS,
               &(gr_resume){.step = GR_DESTINATION_STEP_ROOM, .number = d->sending->number});
}

/* Each room once for all its events, or a few times when there are many. */
static void ask_rooms(gr_destination *d, gr_ctx *ctx)
{
    gr_destination_sending *s = d->sending;
    bool is_asked[GR_QUEUE_ITEMS] = {false};
    gr_assert(s->count <= GR_QUEUE_ITEMS);
    for (size_t i = 0; i < s->count; i++) {
        gr_str ids[GR_DESTINATION_IDS_MAX];
        gr_room_queued m = {.event_ids = {ids, 0}};
        for (size_t k = i; k < s->count && m.event_ids.count < GR_DESTINATION_IDS_MAX; k++) {
            if (is_asked[k] || !gr_str_eq(s->events[k].room_id, s->events[i].room_id)) continue;
            is_asked[k] = true;
            ids[m.event_ids.count++] = s->events[k].event_id;
        }
        if (m.event_ids.count) ask_room(d, s->events[i].room_id, &gr_type_room_queued, &m, ctx);
    }
}

static void start_events(gr_destination *d, gr_ctx *ctx)
{
    gr_queue_item_row items[GR_QUEUE_ITEMS];
    gr_queue_row *row = &d->events.row;
    gr_destination_sending *s = begin(d, GR_SEND_EVENTS, ctx);
    bool may_be_caught = row->first < d->owed.caught_until;    /* then it was so, too, when this transaction was begun */
    if (may_be_caught && !row->end && (row->most == 0 || row->most > CAUGHT_ITEMS)) {
        row->most = CAUGHT_ITEMS;
        gr_queue_save(&d->events, ctx);
    }
    s->end = gr_queue_pick(&d->events, items, ctx);
    s->events = gr_alloc(GR_QUEUE_ITEMS * sizeof *s->events);
    for (uint64_t i = 0; i < s->end - row->first; i++) {
        const gr_queue_item_row *item = &items[i];
        if (item->event_id.size == 0 || (may_be_caught && gr_catch_up_has(d, item, ctx))) continue;
        s->events[s->count++] = (gr_destination_event){.room_id = keep(item->room_id), .event_id = keep(item->event_id)};
    }
    ask_rooms(d, ctx);
    if (s->waiting == 0) send_events(d, ctx);
}

static void start_owed(gr_destination *d, gr_ctx *ctx)
{
    gr_owed_row row;
    gr_str room_id;
    if (!gr_catch_up_next(d, &room_id, &row, ctx)) {   /* rows and their number disagree: nothing is owed */
        d->owed.rooms = 0;
        gr_catch_up_save(d, ctx);
        gr_destination_go_on_at(gr_ctx_now_ms(ctx), ctx);
        return;
    }
    gr_destination_sending *s = begin(d, GR_SEND_OWED, ctx);
    s->room_id = keep(room_id);
    s->owed_number = row.number;
    gr_room_owed m = {.server = d->name, .event_id = row.event_id, .first = row.first};
    ask_room(d, room_id, &gr_type_room_owed, &m, ctx);
}

static void start_volatile(gr_destination *d, gr_ctx *ctx)
{
    gr_buf edus = {0};
    begin(d, GR_SEND_VOLATILE, ctx);
    gr_volatile_take(d, &edus, ctx);
    gr_str txn = gr_arena_printf(gr_ctx_arena(ctx), "v%llx", (unsigned long long)d->sending->number);
    send(d, gr_buf_view(&edus), (gr_str){0}, txn, gr_ctx_now_ms(ctx), ctx);
    gr_buf_free(&edus);
}

void gr_transaction_start(gr_destination *d, gr_send_kind kind, gr_ctx *ctx)
{
    switch (kind) {
    case GR_SEND_EDUS: start_edus(d, ctx); return;
    case GR_SEND_OWED: start_owed(d, ctx); return;
    case GR_SEND_EVENTS: start_events(d, ctx); return;
    case GR_SEND_VOLATILE: start_volatile(d, ctx); return;
    case GR_SEND_KINDS: return;
    }
}

/* --- answers of rooms -------------------------------------------------------------------------------------- */
static void take_queued(gr_destination_sending *s, const gr_room_outgoing *m)
{
    for (size_t i = 0; i < m->pdus.count; i++)
        for (size_t k = 0; k < s->count; k++)
            if (gr_str_eq(s->events[k].event_id, m->pdus.at[i].event_id) && s->events[k].pdu.size == 0)
                s->events[k].pdu = keep(m->pdus.at[i].pdu);
}

/* Of those that were refused together a part. */
static void take_owed(gr_destination *d, const gr_room_outgoing *m)
{
    gr_destination_sending *s = d->sending;
    size_t most = d->owed.most ? d->owed.most : GR_QUEUE_ITEMS;
    s->position = most < m->pdus.count ? 0 : m->position;
    s->events = gr_alloc(GR_QUEUE_ITEMS * sizeof *s->events);
    for (size_t i = 0; i < m->pdus.count && s->count < most; i++)
        s->events[s->count++] = (gr_destination_event){.event_id = keep(m->pdus.at[i].event_id), .pdu = keep(m->pdus.at[i].pdu)};
}

void gr_transaction_on_room(gr_destination *d, const gr_msg *m, gr_ctx *ctx)
{
    gr_destination_sending *s = d->sending;
    if (!s || m->resume->number != s->number || s->waiting == 0) return;       /* of before */
    s->waiting--;
    if (m->type == &gr_type_room_outgoing && s->kind == GR_SEND_OWED) take_owed(d, m->body);
    else if (m->type == &gr_type_room_outgoing) take_queued(s, m->body);
    else s->is_failed |= m->err.code != GR_NOT_FOUND;  /* the room was purged: nobody needs its events */
    if (s->waiting == 0) send_events(d, ctx);
}

/* --- what came of it --------------------------------------------------------------------------------------- */
/* A page of a proxy that calls itself 200 has taken nothing. */
static bool is_taken(gr_arena *a, const gr_fetched *f, const gr_json **answer)
{
    return f->failure == GR_FETCH_ANSWERED && f->status == 200 && !gr_failed(gr_json_parse(a, f->body, GR_JSON_LAX, answer))
        && gr_json_is(*answer, GR_JSON_OBJECT);
}

/* Says that there is something wrong with it, not with the server: it would be refused for ever. */
static bool is_refused(const gr_fetched *f)
{
    return f->failure == GR_FETCH_ANSWERED && (f->status == 400 || f->status == 413);
}

static void count_errors(gr_destination *d, const gr_json *answer, gr_ctx *ctx)
{
    const gr_json *pdus = gr_json_get(answer, "pdus");
    uint64_t errors = 0;
    for (uint32_t i = 0; gr_json_is(pdus, GR_JSON_OBJECT) && i < pdus->count; i++)
        errors += gr_json_text(&pdus->members[i].value, "error").size > 0;
    if (errors == 0) return;
    d->owed.errors += errors;
    gr_catch_up_save(d, ctx);
}

static void on_taken(gr_destination *d, gr_ctx *ctx)
{
    gr_destination_sending *s = d->sending;
    switch (s->kind) {
    case GR_SEND_EDUS: gr_queue_taken(&d->edus, ctx); break;
    case GR_SEND_EVENTS: gr_queue_taken(&d->events, ctx); break;
    case GR_SEND_OWED: gr_catch_up_done(d, s->room_id, s->owed_number, s->position, ctx); break;
    case GR_SEND_VOLATILE:
    case GR_SEND_KINDS: break;
    }
}

/* Fewer events of the room the next time; the one that is refused alone is given up. */
static void on_owed_refused(gr_destination *d, gr_ctx *ctx)
{
    gr_destination_sending *s = d->sending;
    if (++d->owed.refusals >= GR_QUEUE_REFUSALS && d->owed.most == 1) {
        d->owed.set_aside++;
        gr_catch_up_done(d, s->room_id, s->owed_number, 0, ctx);
    } else if (d->owed.refusals >= GR_QUEUE_REFUSALS) {
        d->owed.most = 1;
        d->owed.refusals = 0;
    }
    gr_catch_up_save(d, ctx);
}

static void on_refused(gr_destination *d, gr_ctx *ctx)
{
    switch (d->sending->kind) {
    case GR_SEND_EDUS: gr_queue_refused(&d->edus, ctx); break;
    case GR_SEND_EVENTS: gr_queue_refused(&d->events, ctx); break;
    case GR_SEND_OWED: on_owed_refused(d, ctx); break;
    case GR_SEND_VOLATILE: gr_volatile_sent(d, true); break;       /* they may be lost */
    case GR_SEND_KINDS: break;
    }
}

/* No longer than the queue is kept: a server that asks for years is tried before. */
static uint64_t wanted_wait(const gr_fetched *f, gr_ctx *ctx)
{
    gr_err err = gr_request_error(gr_ctx_arena(ctx), f);
    uint64_t most_ms = gr_env_of(ctx)->queue.catch_up_after_ms;
    if (err.code != GR_LIMIT_EXCEEDED) return 0;
    return err.retry_after_ms < most_ms ? err.retry_after_ms : most_ms;
}

void gr_transaction_on_fetched(gr_destination *d, const gr_fetched *f, uint64_t number, gr_ctx *ctx)
{
    const gr_json *answer = NULL;
    uint64_t again_ms = gr_ctx_now_ms(ctx) + GR_DESTINATION_AGAIN_MS;
    if (!d->sending || d->sending->number != number) return;       /* of before it was loaded again */
    bool taken = is_taken(gr_ctx_arena(ctx), f, &answer), refused = is_refused(f), offline = f->failure == GR_FETCH_OFFLINE;
    if (taken) on_taken(d, ctx);
    if (refused) on_refused(d, ctx);
    gr_volatile_sent(d, taken);
    gr_transaction_drop(d);
    if (taken) count_errors(d, answer, ctx);
    if (taken || refused) gr_destination_works(d, ctx);
    else if (f->failure != GR_FETCH_BUSY && !offline) gr_destination_failed(d, wanted_wait(f, ctx), ctx);
    if (offline) gr_destination_go_on_at(again_ms + gr_str_hash(d->name) % GR_DESTINATION_SPREAD_MS, ctx);
    else if (taken || gr_backoff_holds(&d->backoff, ctx)) gr_destination_go_on(d, ctx);
    else gr_destination_go_on_at(again_ms, ctx);
}
