/* herald.c - load, dispatch, EDUs, inspect. See herald.h. */
#include "actors/herald/herald_private.h"

#include "proto/ident.h"

#include <stdlib.h>

#define CURSOR GR_STR("c")
#define TIMER GR_STR("go")

void gr_herald_post(gr_ctx *ctx, gr_str user, gr_str edu, gr_str fold)
{
    gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_HERALD, user), &gr_type_herald_edu,
                &(gr_herald_edu){.edu = edu, .fold = fold});
}

/* --- load --------------------------------------------------------------------------------------------------- */
static bool take_number(void *arg, gr_str key, gr_str value)
{
    (void)value;
    *(uint64_t *)arg = gr_u64be(key.ptr + 1);
    return false;
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_herald *h = self;
    uint64_t newest = 0;
    h->id = gr_str_keep(id);
    h->is_local = gr_ident_is_local(id, gr_env_of(ctx)->server_name);
    gr_ctx_scan(ctx, GR_STR("q"), GR_STR("r"), true, 1, take_number, &newest);
    h->first = h->next = newest + 1;
    gr_ctx_scan(ctx, GR_STR("q"), GR_STR("r"), false, 1, take_number, &h->first);
}

static void drop(void *self)
{
    gr_herald *h = self;
    gr_audience_forget(h);
    gr_herald_presence_drop(h);
    free((char *)h->id.ptr);
}

/* --- EDUs --------------------------------------------------------------------------------------------------- */
static gr_str edu_row(gr_ctx *ctx, uint64_t number) { return gr_arena_key(gr_ctx_arena(ctx), 'q', number); }

/* Numbers are not used again while some wait: the newest row tells the next one. */
static void on_edu(gr_herald *h, const gr_herald_edu *m, gr_ctx *ctx)
{
    if (!h->is_local || m->edu.size == 0) return;
    gr_ctx_put_body(ctx, edu_row(ctx, h->next++), &gr_type_herald_row, &(gr_herald_row){.edu = m->edu, .fold = m->fold});
    if (h->next - h->first > GR_HERALD_EDUS_MAX) gr_ctx_del(ctx, edu_row(ctx, h->first++));
    if (!h->upto) gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
}

static gr_herald_cursor_row cursor_of(const gr_herald *h, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    if (gr_ctx_get(ctx, CURSOR, &bytes)
        && !gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_herald_cursor_row, bytes, &body)))
        return *(gr_herald_cursor_row *)body;
    return (gr_herald_cursor_row){.upto = h->upto};
}

static size_t read_edus(const gr_herald *h, uint64_t upto, gr_herald_row *out, gr_ctx *ctx)
{
    size_t count = 0;
    for (uint64_t n = h->first; n < upto; n++) {
        gr_str bytes;
        void *body = NULL;
        if (!gr_ctx_get(ctx, edu_row(ctx, n), &bytes)) continue;
        if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_herald_row, bytes, &body))) continue;
        out[count++] = *(gr_herald_row *)body;
    }
    return count;
}

static void queue(gr_ctx *ctx, gr_str server, const gr_herald_row *edus, size_t count)
{
    gr_str to = gr_address(gr_ctx_arena(ctx), GR_KIND_DESTINATION, server);
    for (size_t i = 0; i < count; i++)
        gr_ctx_post(ctx, to, &gr_type_destination_queue, &(gr_destination_queue){.edu = edus[i].edu, .fold = edus[i].fold});
}

static void end(gr_herald *h, uint64_t upto, gr_ctx *ctx)
{
    for (; h->first < upto; h->first++) gr_ctx_del(ctx, edu_row(ctx, h->first));
    gr_ctx_del(ctx, CURSOR);
    h->upto = 0;
    if (h->first < h->next) {
        gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
        return;
    }
    h->first = h->next = 1;            /* as after loading */
    gr_ctx_timer_clear(ctx, TIMER);
}

/* To the next servers, as many as one message may. */
static void send_some(gr_herald *h, gr_ctx *ctx)
{
    gr_herald_row edus[GR_HERALD_EDUS];
    gr_herald_cursor_row cursor = cursor_of(h, ctx);
    size_t count = read_edus(h, cursor.upto, edus, ctx), at = 0, sent = 0;
    while (at < h->server_count && gr_str_cmp(h->servers[at].name, cursor.server) <= 0) at++;
    for (; count && at < h->server_count && sent + count <= GR_HERALD_STEP; at++, sent += count)
        queue(ctx, h->servers[at].name, edus, count);
    if (count == 0 || at == h->server_count) {
        end(h, cursor.upto, ctx);
        return;
    }
    cursor.server = h->servers[at - 1].name;
    gr_ctx_put_body(ctx, CURSOR, &gr_type_herald_cursor_row, &cursor);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
}

static void on_go(gr_herald *h, gr_ctx *ctx)
{
    if (h->first == h->next) return;
    if (h->upto && !h->is_asking) {
        send_some(h, ctx);
        return;
    }
    if (!h->is_asking) {
        h->upto = h->next - h->first < GR_HERALD_EDUS ? h->next : h->first + GR_HERALD_EDUS;
        gr_audience_gather(h, ctx);
    }
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_HERALD_AGAIN_MS, true);
}

/* What a room did not say nobody is told of: it is asked again. */
void gr_herald_gathered(gr_herald *h, gr_ctx *ctx)
{
    if (h->has_presence && !h->is_told) gr_herald_tell_presence(h, ctx);
    if (h->upto && h->is_partial) h->upto = 0;
    else if (h->upto) send_some(h, ctx);
    else if (h->first < h->next) gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
}

/* --- messages ----------------------------------------------------------------------------------------------- */
static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_herald *h = self;
    if (m->verb == GR_REPLY) {
        gr_audience_on_answer(h, m, ctx);
        return;
    }
    switch (m->type->id) {
    case GR_T_herald_edu: on_edu(h, m->body, ctx); return;
    case GR_T_herald_presence: gr_herald_on_presence(h, m->body, ctx); return;
    case GR_T_herald_moved: gr_herald_on_moved(h, ctx); return;
    case GR_T_timer:
        if (gr_str_eq(((const gr_timer *)m->body)->name, TIMER)) on_go(h, ctx);
        else gr_herald_on_moved_timer(h, ctx);
        return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A herald does not take this message"));
    }
}

static bool busy(const void *self)
{
    const gr_herald *h = self;
    return h->is_asking || h->upto;
}

static size_t memory(const void *self)
{
    const gr_herald *h = self;
    return h->id.size + h->room_count * (sizeof *h->rooms + 64) + h->server_space * (sizeof *h->servers + 48);
}

static uint64_t digest(const void *self)
{
    const gr_herald *h = self;
    return gr_str_hash(h->id) ^ h->first << 1 ^ h->next << 33;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_herald *h = self;
    (void)ctx;
    gr_buf_printf(out, "\"waiting\":%llu,\"asking\":%s,\"rooms\":%zu,\"servers\":%zu,\"known_since\":%llu",
                  (unsigned long long)(h->next - h->first), h->is_asking ? "true" : "false", h->room_count, h->server_count,
                  (unsigned long long)h->known_ms);
}

const gr_actor_kind gr_herald_kind = {.kind = GR_KIND_HERALD, .size = sizeof(gr_herald), .load = load, .handle = handle,
                                      .drop = drop, .busy = busy, .memory = memory, .digest = digest, .inspect = inspect};
