/* waiting.c - messages that wait until a state is resolved or has moved, and how they are handled then. See resolving.h.
 *
 * One message in each step of the timer "waiting", posts first.  Posts keep their order: while one waits, those that come
 * later wait behind it.  What waits for a result may find that it needs another one, since the room went on: then it
 * waits for that.
 */
#include "actors/room/graph.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

enum {
    ASK_WAITS_MS = 20000,              /* then whoever asked has given up */
    AGAIN_MS = 10000,                  /* when nothing was heard of the pool */
    TIMER_AGAIN_MS = 1000
};

static const char timer_name[] = "waiting";

struct waiter {
    struct waiter *next;
    uint64_t since_ms;
    const gr_type *type;
    unsigned level;                    /* at which the body was written */
    gr_str body;                       /* owned, encoded */
    gr_asker *asker;
};

struct gr_room_waiting {
    struct waiter *first;              /* asks, in order */
    size_t count;
};

static struct gr_room_waiting *of(gr_room *room)
{
    if (!room->waiting) room->waiting = gr_alloc(sizeof *room->waiting);
    return room->waiting;
}

static void free_waiter(struct waiter *w)
{
    gr_asker_free(&w->asker);
    free((char *)w->body.ptr);
    free(w);
}

void gr_room_waiting_drop(gr_room *room)
{
    while (room->waiting && room->waiting->first) {
        struct waiter *w = room->waiting->first;
        room->waiting->first = w->next;
        free_waiter(w);
    }
    free(room->waiting);
    room->waiting = NULL;
}

bool gr_room_is_waiting(const gr_room *room) { return room->waiting && room->waiting->first; }

static gr_err moving_still(void)
{
    return (gr_err){GR_LIMIT_EXCEEDED, "The room's state is being brought together after a fork: try again", 1000};
}

gr_err gr_room_at_rest(gr_room *room)
{
    room->must_wait = room->moving.phase != GR_MOVING_NOT;
    return room->must_wait ? moving_still() : gr_ok();
}

void gr_room_go_on_at(gr_ctx *ctx, uint64_t delay_ms)
{
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + delay_ms, true);
}

/* --- keeping ----------------------------------------------------------------------------------------------- */
static bool first_number(void *arg, gr_str key, gr_str value)
{
    (void)value;
    if (key.size == 9) *(uint64_t *)arg = gr_u64be(key.ptr + 1);
    return false;
}

/* Of the first or the last row W; 0 when there is none. */
static uint64_t kept_post(gr_ctx *ctx, bool last)
{
    uint64_t number = 0;
    gr_ctx_scan(ctx, GR_STR("W"), GR_STR("X"), last, 1, first_number, &number);
    return number;
}

/* W <number>: type (4), level (4), size of the attachment (4), the attachment, the encoded body.  It keeps the fields of the
 * present level and the meaning of the level at which it was written. */
static void keep_post(gr_ctx *ctx, const gr_msg *m)
{
    gr_buf row = {0};
    gr_buf_u32be(&row, m->type->id);
    gr_buf_u32be(&row, m->level);
    gr_buf_u32be(&row, (uint32_t)m->attachment.size);
    gr_buf_str(&row, m->attachment);
    gr_body_encode_at(&row, m->type, m->body, gr_ctx_level(ctx));
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'W', kept_post(ctx, true) + 1), gr_buf_view(&row));
    gr_buf_free(&row);
}

static void keep_ask(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    struct gr_room_waiting *waiting = of(room);
    if (waiting->count >= GR_ROOM_WAITING_MAX) {
        gr_ctx_fail(ctx, moving_still());
        return;
    }
    gr_asker *asker = gr_ctx_keep_asker(ctx);
    if (!asker) return;                /* nobody wants to know */
    gr_buf body = {0};
    gr_body_encode(&body, m->type, m->body);
    struct waiter *w = gr_alloc(sizeof *w), **last = &waiting->first;
    *w = (struct waiter){NULL, gr_ctx_now_ms(ctx), m->type, m->level, gr_str_of(body.ptr, body.size), asker};
    while (*last) last = &(*last)->next;
    *last = w;
    waiting->count++;
}

bool gr_room_waits_behind(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    (void)room;
    if (m->verb != GR_POST || kept_post(ctx, false) == 0) return false;
    keep_post(ctx, m);
    return true;
}

/* Undoes what the handler left, and gives the pool what it wanted. */
static bool take_back(gr_room *room, gr_ctx *ctx)
{
    if (!room->must_wait) return false;
    gr_room_revert(room, ctx);
    room->must_wait = false;
    gr_room_begin_resolving(room, ctx);
    return true;
}

bool gr_room_wait_if_must(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    if (!take_back(room, ctx)) return false;
    if (m->verb == GR_POST) keep_post(ctx, m);
    else if (m->verb == GR_ASK) keep_ask(room, ctx, m);
    else if (m->type == &gr_type_timer)
        gr_ctx_timer(ctx, ((const gr_timer *)m->body)->name, gr_ctx_now_ms(ctx) + TIMER_AGAIN_MS, true);
    gr_room_go_on_at(ctx, AGAIN_MS);
    return true;
}

/* --- handling again ---------------------------------------------------------------------------------------- */
static bool handle_again(gr_room *room, gr_ctx *ctx, gr_msg *m, gr_str bytes)
{
    void *body;
    if (!m->type || gr_failed(gr_body_decode(gr_ctx_arena(ctx), m->type, bytes, &body))) return true;
    m->body = body;
    gr_room_dispatch(room, ctx, m);
    return !take_back(room, ctx);
}

static bool next_post(gr_room *room, gr_ctx *ctx, uint64_t number)
{
    enum { HEAD = 12 };
    gr_str row, key = gr_room_key_number(ctx, 'W', number);
    bool done = true;
    if (gr_ctx_get(ctx, key, &row) && row.size >= HEAD && row.size - HEAD >= gr_u32be(row.ptr + 8)) {
        gr_msg m = {.verb = GR_POST, .type = gr_type_find(gr_u32be(row.ptr)), .level = gr_u32be(row.ptr + 4),
                    .attachment = gr_str_of(row.ptr + HEAD, gr_u32be(row.ptr + 8))};
        done = handle_again(room, ctx, &m, gr_str_from(row, HEAD + m.attachment.size));
    }
    if (done) gr_ctx_del(ctx, key);
    return done;
}

static bool next_ask(gr_room *room, gr_ctx *ctx)
{
    struct gr_room_waiting *waiting = room->waiting;
    struct waiter *w = waiting->first;
    bool done = true;
    if (w->since_ms + ASK_WAITS_MS > gr_ctx_now_ms(ctx)) {
        gr_ctx_take_asker(ctx, &w->asker);
        gr_msg m = {.verb = GR_ASK, .type = w->type, .level = w->level};
        done = handle_again(room, ctx, &m, w->body);
        if (!done) w->asker = gr_ctx_keep_asker(ctx);
    }
    if (!done) return false;
    waiting->first = w->next;
    waiting->count--;
    free_waiter(w);
    return true;
}

bool gr_room_go_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    if (!gr_str_is(timer, timer_name)) return false;
    bool done = false;
    uint64_t post = kept_post(ctx, false);
    if (post == 0 && !gr_room_is_waiting(room)) return true;
    bool is_blocked = gr_room_is_resolving(room) || room->moving.phase != GR_MOVING_NOT;   /* they set the timer in the end */
    if (!is_blocked) done = post ? next_post(room, ctx, post) : next_ask(room, ctx);
    gr_room_go_on_at(ctx, done ? 0 : AGAIN_MS);
    return true;
}
