/* gap.c - the gap flow: what it keeps, its messages, how it ends. See gap.h and gap_private.h. */
#include "actors/gap/gap_private.h"

#include <stdlib.h>

#define ROW GR_STR("f")
#define TIMER GR_STR("gap")

bool gap_is_moment(const gap_flow *f) { return gr_str_is(f->row->origin, GR_GAP_MOMENT); }
bool gap_is_history(const gap_flow *f) { return gr_str_is(f->row->origin, GR_GAP_HISTORY) || gap_is_moment(f); }
bool gap_is_left_out(const gap_flow *f) { return gr_str_is(f->row->origin, GR_GAP_LEFT_OUT); }

/* --- memory ------------------------------------------------------------------------------------------------- */
static void forget(gap_flow *f)
{
    gr_arena_free(&f->arena);
    *f = (gap_flow){.turn = f->turn, .waiters = f->waiters, .waiter_count = f->waiter_count, .vain_depth = f->vain_depth,
                    .vain_until_ms = f->vain_until_ms};
}

gr_str gap_keep(gap_flow *f, gr_str text) { return gr_arena_str(f->arena, text); }

void gap_keep_more(gap_flow *f, gr_strs *list, gr_str text)
{
    if ((list->count & (list->count - 1)) == 0 && (list->count == 0 || list->count >= 8)) {
        gr_str *more = gr_arena_alloc(f->arena, (list->count ? list->count * 2 : 8) * sizeof *more);
        if (list->count) memcpy(more, list->at, list->count * sizeof *more);
        list->at = more;
    }
    list->at[list->count++] = text;
}

/* The origin first; of history nobody, until the room has said who there is. */
static void list_servers(gap_flow *f)
{
    if (!gap_is_history(f) && !gap_is_left_out(f)) gap_keep_more(f, &f->servers, f->row->origin);
    for (size_t i = 0; i < f->row->servers.count; i++) gap_keep_more(f, &f->servers, f->row->servers.at[i]);
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gap_flow *f = self;
    gr_str bytes;
    void *body;
    (void)id;
    if (!gr_ctx_get(ctx, ROW, &bytes)) return;
    f->arena = gr_arena_new(0);
    if (gr_failed(gr_body_decode(f->arena, &gr_type_gap_flow_row, gr_arena_str(f->arena, bytes), &body))) {
        forget(f);
        return;
    }
    f->row = body;
    list_servers(f);
}

static void drop(void *self)
{
    gap_flow *f = self;
    while (f->waiters) {
        gap_waiter *w = f->waiters;
        f->waiters = w->next;
        gr_asker_free(&w->asker);
        free(w);
    }
    gr_arena_free(&f->arena);
}

/* --- beginning and end --------------------------------------------------------------------------------------- */
static void run(gap_flow *f, gr_ctx *ctx)
{
    if (gap_is_history(f)) gap_ask_back(f, ctx);
    else if (!gap_is_left_out(f)) gap_ask_missing(f, ctx);
    else if (f->servers.count) gap_look(f, ctx);
    else gap_end(f, ctx);
}

static void begin(gap_flow *f, gr_ctx *ctx, const gr_gap_flow_row *row)
{
    gr_ctx_put_body(ctx, ROW, &gr_type_gap_flow_row, row);
    load(f, (gr_str){0}, ctx);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_GAP_STEP_MS, true);
    if (f->row) run(f, ctx);
}

static void tell_waiters(gap_flow *f, gr_ctx *ctx)
{
    while (f->waiters) {
        gap_waiter *w = f->waiters;
        f->waiters = w->next;
        const gr_err other = {GR_LIMIT_EXCEEDED, "Another time was asked for: try again", 1};
        if (w->asks_other) gr_ctx_answer_fail(ctx, &w->asker, other);
        else gr_ctx_answer(ctx, &w->asker, &gr_type_done, &(gr_done){0});
        free(w);
    }
    f->waiter_count = 0;
}

void gap_end(gap_flow *f, gr_ctx *ctx)
{
    gr_str room = gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, f->row->room_id);
    gr_ctx_post(ctx, room, &gr_type_room_gap_done, &(gr_room_gap_done){.origin = f->row->origin});
    gr_ctx_del(ctx, ROW);
    gr_ctx_timer_clear(ctx, TIMER);
    tell_waiters(f, ctx);
    forget(f);
}

/* What others wait for may be had later, or come by itself: it is tried again until the time is over. */
void gap_give_up(gap_flow *f, gr_ctx *ctx)
{
    if (gap_is_moment(f)) {
        gap_end(f, ctx);
        return;
    }
    if (gap_is_history(f)) {
        f->vain_depth = f->row->depth;
        f->vain_until_ms = gr_ctx_now_ms(ctx) + GR_GAP_VAIN_MS;
        gap_end(f, ctx);
        return;
    }
    uint64_t turn = f->turn;
    forget(f);
    load(f, (gr_str){0}, ctx);
    f->turn = turn + 1;
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_GAP_AGAIN_MS, true);
}

/* --- messages --------------------------------------------------------------------------------------------------- */
static bool is_of_server(gap_step now)
{
    return now == MISSING || now == KEYS || now == EVENT || now == FETCH || now == STATE_IDS || now == FETCH_STATE
        || now == BACKFILL || now == MOMENT;
}

/* A room that is too busy is asked again when the timer comes. */
static bool has_failed(gap_flow *f, const gr_msg *m)
{
    if (!gr_failed(m->err) || is_of_server(f->now)) return false;
    f->now = IDLE;
    return true;
}

static void on_reply(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    if (!f->row || m->resume->step != (uint32_t)f->now || m->resume->number >> 32 != (f->turn & UINT32_MAX)) return;
    f->open--;
    if (has_failed(f, m)) return;
    switch (f->now) {
    case IDLE: break;
    case MISSING: gap_on_missing(f, ctx, m); break;
    case KEYS: gap_on_keys(f, ctx, m); break;
    case GIVE: gap_give_more(f, ctx); break;
    case LOOK: gap_on_look(f, ctx, m->body); break;
    case EVENT: gap_on_event(f, ctx, m); break;
    case STATE_IDS: gap_on_state_ids(f, ctx, m); break;
    case HAVE: gap_on_have(f, ctx, m->body); break;
    case FETCH: gap_on_fetched_event(f, ctx, m); break;
    case FETCH_STATE: gap_on_state(f, ctx, m); break;
    case PUT_IDS: gap_put_ids_more(f, ctx); break;
    case MAKE: gap_on_made(f, ctx); break;
    case BACK: gap_on_back(f, ctx, m->body); break;
    case BACKFILL: gap_on_backfill(f, ctx, m); break;
    case MOMENT: gap_on_moment(f, ctx, m); break;
    }
}

static void on_fill(gap_flow *f, gr_ctx *ctx, const gr_gap_fill *m)
{
    gr_gap_flow_row row = {.room_id = m->room_id, .origin = m->origin, .event_id = m->event_id, .known = m->known,
                           .depth = m->depth, .until_ms = gr_ctx_now_ms(ctx) + GR_GAP_MS, .servers = m->servers};
    if (!f->row) begin(f, ctx, &row);
}

static void keep_waiter(gap_flow *f, gr_ctx *ctx, bool asks_other)
{
    gr_asker *asker = gr_ctx_keep_asker(ctx);
    if (!asker) return;                /* it was posted */
    gap_waiter *w = gr_alloc(sizeof *w);
    *w = (gap_waiter){f->waiters, asker, asks_other};
    f->waiters = w;
    f->waiter_count++;
}

/* Who asks while it is under way waits for that: whatever comes of it may be what they miss. */
static void on_back(gap_flow *f, gr_ctx *ctx, const gr_gap_back *m)
{
    gr_gap_flow_row row = {.room_id = m->room_id, .depth = m->depth, .dir = m->dir,
                           .origin = m->dir.size ? GR_STR(GR_GAP_MOMENT) : GR_STR(GR_GAP_HISTORY),
                           .ts = m->ts, .nearest = m->nearest, .until_ms = gr_ctx_now_ms(ctx) + GR_GAP_MS};
    if (!f->row && !m->dir.size && f->vain_depth == m->depth && gr_ctx_now_ms(ctx) < f->vain_until_ms) {
        gr_ctx_done(ctx);
        return;
    }
    if (f->waiter_count == GR_GAP_WAITERS) {
        gr_ctx_fail(ctx, (gr_err){GR_LIMIT_EXCEEDED, "Too many wait for this history: try again", 1000});
        return;
    }
    keep_waiter(f, ctx, f->row && !(gr_str_eq(f->row->dir, m->dir) && f->row->ts == m->ts));
    if (!f->row) begin(f, ctx, &row);
}

/* Nothing is under way after a restart, or when the room could not go on. */
static void on_timer(gap_flow *f, gr_ctx *ctx)
{
    if (!f->row) return;
    if (gr_ctx_now_ms(ctx) >= f->row->until_ms) {
        gap_end(f, ctx);
        return;
    }
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_GAP_STEP_MS, true);
    if (f->now == IDLE) run(f, ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    if (m->verb == GR_REPLY) on_reply(self, ctx, m);
    else if (m->type == &gr_type_gap_fill) on_fill(self, ctx, m->body);
    else if (m->type == &gr_type_gap_back) on_back(self, ctx, m->body);
    else if (m->type == &gr_type_timer) on_timer(self, ctx);
    else gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A gap flow does not take this message"));
}

static bool busy(const void *self)
{
    const gap_flow *f = self;
    return f->now != IDLE || f->waiters;
}

static size_t memory(const void *self)
{
    const gap_flow *f = self;
    return f->arena ? gr_arena_used(f->arena) : 0;
}

static uint64_t digest(const void *self)
{
    const gap_flow *f = self;
    return f->row ? gr_body_hash(&gr_type_gap_flow_row, f->row) : 0;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    static const char *const names[] = {"idle", "missing", "keys", "give", "look", "event", "state_ids", "have", "fetch",
                                        "fetch_state", "put_ids", "make", "back", "backfill", "moment"};
    const gap_flow *f = self;
    (void)ctx;
    gr_buf_printf(out, "\"step\":\"%s\",\"rounds\":%zu,\"lacking\":%zu,\"open\":%zu,\"waiters\":%zu", names[f->now], f->rounds,
                  f->lacking.count, f->open, f->waiter_count);
}

const gr_actor_kind gr_gap_kind = {.kind = GR_KIND_GAP, .size = sizeof(gap_flow), .load = load, .handle = handle, .drop = drop,
                                   .busy = busy, .memory = memory, .digest = digest, .inspect = inspect};
