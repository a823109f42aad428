/* client.c - registering, looking, sessions. See client.h. */
#include "actors/oauth/client.h"

#define ROW GR_STR("c")
#define TIMER GR_STR("end")
#define UPKEEP_UNUSED "clients-unused"

static bool read_row(gr_ctx *ctx, gr_oauth_client *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_oauth_client){0};
    if (!gr_ctx_get(ctx, ROW, &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_oauth_client, bytes, &body))) return false;
    *out = *(gr_oauth_client *)body;
    return true;
}

static bool saw_row(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

static bool has_sessions(gr_ctx *ctx)
{
    bool any = false;
    gr_ctx_scan_prefix(ctx, GR_STR("s"), 1, saw_row, &any);
    return any;
}

static void keep(gr_ctx *ctx, gr_oauth_client *c)
{
    c->until_ms = gr_ctx_now_ms(ctx) + GR_CLIENT_UNUSED_MS;
    gr_ctx_put_body(ctx, ROW, &gr_type_oauth_client, c);
    gr_ctx_timer(ctx, TIMER, c->until_ms, true);
}

static void on_register(const gr_client_register *m, gr_ctx *ctx)
{
    gr_oauth_client c = {.metadata = m->metadata};
    keep(ctx, &c);
    gr_ctx_done(ctx);
}

/* An authorisation begins with a look: the record stays as long as that may take, and longer. */
static void on_look(gr_ctx *ctx)
{
    gr_oauth_client c;
    if (!read_row(ctx, &c)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "This client has not registered, or was not used for long"));
        return;
    }
    if (c.until_ms < gr_ctx_now_ms(ctx) + GR_CLIENT_UNUSED_MS / 2) keep(ctx, &c);
    gr_ctx_reply(ctx, &gr_type_client_is, &(gr_client_is){.metadata = c.metadata});
}

static void on_session(const gr_client_session *m, gr_ctx *ctx)
{
    gr_oauth_client c;
    gr_str key = gr_arena_cat(gr_ctx_arena(ctx), 4, (gr_str[]){GR_STR("s"), m->user, {"", 1}, m->device});
    if (!m->ended) {
        gr_ctx_put(ctx, key, GR_STR(""));
        return;
    }
    gr_ctx_del(ctx, key);
    if (read_row(ctx, &c) && !has_sessions(ctx)) keep(ctx, &c);
}

/* The end of the last session sets the timer anew. */
static void on_timer(gr_ctx *ctx)
{
    if (has_sessions(ctx)) return;
    if (gr_ctx_upkeep_paused(ctx, UPKEEP_UNUSED)) {
        gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_UPKEEP_PAUSED_MS, true);
        return;
    }
    gr_ctx_del(ctx, ROW);
    gr_ctx_upkeep(ctx, UPKEEP_UNUSED, 1);
}

static void load(void *self, gr_str id, gr_ctx *ctx) { (void)self, (void)id, (void)ctx; }

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    (void)self;
    switch (m->type->id) {
    case GR_T_client_register: on_register(m->body, ctx); return;
    case GR_T_client_look: on_look(ctx); return;
    case GR_T_client_session: on_session(m->body, ctx); return;
    case GR_T_timer: on_timer(ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A client does not take this message"));
    }
}

static void drop(void *self) { (void)self; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    gr_oauth_client c;
    (void)self;
    bool known = read_row(ctx, &c);
    gr_buf_printf(out, "\"registered\":%s,\"sessions\":%s,\"until_ms\":%llu", known ? "true" : "false",
                  has_sessions(ctx) ? "true" : "false", (unsigned long long)c.until_ms);
}

static const gr_actor_upkeep upkeep[] = {{.name = UPKEEP_UNUSED, .by_timer = true}, {0}};

const gr_actor_kind gr_client_kind = {.kind = GR_KIND_CLIENT, .size = 1, .load = load, .handle = handle, .drop = drop,
                                      .inspect = inspect, .upkeep = upkeep};
