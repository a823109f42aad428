/* presence.c - see presence.h. */
#include "actors/presence/presence.h"

#include "proto/ident.h"
#include "proto/json.h"

#include <stdlib.h>

#define ROW GR_STR("p")
#define TIMER GR_STR("look")

static const char *const texts[] = {"offline", "unavailable", "online"};

const char *gr_presence_text(gr_presence_state state) { return texts[state]; }

bool gr_presence_read(gr_str text, gr_presence_state *out)
{
    for (int i = 0; i < 3; i++) {
        *out = (gr_presence_state)i;
        if (gr_str_is(text, texts[i])) return true;
    }
    *out = GR_PRESENCE_OFFLINE;
    return false;
}

/* --- load --------------------------------------------------------------------------------------------------- */
static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_presence *p = self;
    gr_str bytes;
    void *body = NULL;
    p->id = gr_str_keep(id);
    p->is_local = gr_ident_is_local(id, gr_env_of(ctx)->server_name);
    if (!gr_ctx_get(ctx, ROW, &bytes)
        || gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_presence_row, bytes, &body))) return;
    const gr_presence_row *row = body;
    p->status_msg = gr_str_keep(row->status_msg);
    p->active_ms = row->active_ms;
}

static void forget_device(gr_presence *p, size_t i)
{
    free((char *)p->devices[i].device.ptr);
    p->devices[i] = p->devices[--p->device_count];
}

static void drop(void *self)
{
    gr_presence *p = self;
    while (p->device_count) forget_device(p, p->device_count - 1);
    free((char *)p->status_msg.ptr);
    free((char *)p->id.ptr);
}

/* --- what it is --------------------------------------------------------------------------------------------- */
static gr_presence_state state_at(const gr_presence *p, uint64_t now_ms)
{
    gr_presence_state best = GR_PRESENCE_OFFLINE;
    for (size_t i = 0; i < p->device_count; i++)
        if (p->devices[i].until_ms > now_ms && p->devices[i].state > best) best = p->devices[i].state;
    bool is_idle = p->is_local && now_ms >= p->active_ms + GR_PRESENCE_IDLE_MS;
    return best == GR_PRESENCE_ONLINE && is_idle ? GR_PRESENCE_UNAVAILABLE : best;
}

static bool is_current(const gr_presence *p, uint64_t now_ms)
{
    return state_at(p, now_ms) == GR_PRESENCE_ONLINE && now_ms < p->active_ms + GR_PRESENCE_CURRENT_MS;
}

static void sooner(uint64_t *at_ms, uint64_t other_ms)
{
    if (other_ms < *at_ms) *at_ms = other_ms;
}

/* When it may be something else, or is to be told again. */
static void set_timer(const gr_presence *p, uint64_t now_ms, bool is_due, gr_ctx *ctx)
{
    uint64_t at_ms = UINT64_MAX;
    for (size_t i = 0; i < p->device_count; i++) sooner(&at_ms, p->devices[i].until_ms);
    if (p->is_local && state_at(p, now_ms) == GR_PRESENCE_ONLINE) sooner(&at_ms, p->active_ms + GR_PRESENCE_IDLE_MS);
    if (p->told != GR_PRESENCE_OFFLINE) sooner(&at_ms, p->told_ms + GR_PRESENCE_AGAIN_MS);
    if (is_due) sooner(&at_ms, p->told_ms + GR_PRESENCE_TELL_MS);
    if (at_ms == UINT64_MAX) gr_ctx_timer_clear(ctx, TIMER);
    else gr_ctx_timer(ctx, TIMER, at_ms, false);
}

static void tell(gr_presence *p, gr_presence_state state, uint64_t now_ms, gr_ctx *ctx)
{
    gr_herald_presence m = {.presence = gr_str_c(gr_presence_text(state)), .status_msg = p->status_msg,
                            .active_ms = p->active_ms, .is_active = is_current(p, now_ms)};
    gr_ctx_tell(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_HERALD, p->id), &gr_type_herald_presence, &m);
    p->told = state;
    p->told_ms = now_ms;
    p->told_active_ms = p->active_ms;
    p->is_status_new = false;
}

static void look(gr_presence *p, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    for (size_t i = p->device_count; i-- > 0;)
        if (p->devices[i].until_ms <= now_ms) forget_device(p, i);
    gr_presence_state state = state_at(p, now_ms);
    bool is_more_active = state == GR_PRESENCE_ONLINE && p->active_ms >= p->told_active_ms + GR_PRESENCE_ACTIVE_MS;
    bool is_old = state != GR_PRESENCE_OFFLINE && now_ms >= p->told_ms + GR_PRESENCE_AGAIN_MS;
    bool is_due = state != p->told || p->is_status_new || is_more_active || is_old;
    if (is_due && now_ms >= p->told_ms + GR_PRESENCE_TELL_MS) {
        tell(p, state, now_ms, ctx);
        is_due = false;
    }
    set_timer(p, now_ms, is_due, ctx);
}

/* --- messages ----------------------------------------------------------------------------------------------- */
static gr_presence_device *device_of(gr_presence *p, gr_str device)
{
    size_t oldest = 0;
    for (size_t i = 0; i < p->device_count; i++) {
        if (gr_str_eq(p->devices[i].device, device)) return &p->devices[i];
        if (p->devices[i].until_ms < p->devices[oldest].until_ms) oldest = i;
    }
    if (p->device_count == GR_PRESENCE_DEVICES_MAX) forget_device(p, oldest);
    p->devices[p->device_count] = (gr_presence_device){.device = gr_str_keep(device)};
    return &p->devices[p->device_count++];
}

static void set_status(gr_presence *p, gr_str text)
{
    if (gr_str_eq(p->status_msg, text)) return;
    free((char *)p->status_msg.ptr);
    p->status_msg = gr_str_keep(text);
    p->is_status_new = true;
}

static void on_put(gr_presence *p, const gr_presence_put *m, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    gr_presence_state state;
    if (!p->is_local || !gr_presence_read(m->presence, &state) || m->status_msg.size > GR_PRESENCE_STATUS_MAX) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "'presence' is online, offline or unavailable; 'status_msg' at most 1 KiB"));
        return;
    }
    gr_presence_device *d = device_of(p, m->device);
    d->state = state;
    d->until_ms = now_ms + GR_PRESENCE_IDLE_MS;
    if (state == GR_PRESENCE_ONLINE) p->active_ms = now_ms;
    if (m->has_status) set_status(p, m->status_msg);
    gr_ctx_put_body(ctx, ROW, &gr_type_presence_row, &(gr_presence_row){.status_msg = p->status_msg, .active_ms = p->active_ms});
    gr_ctx_done(ctx);
    look(p, ctx);
}

static void on_seen(gr_presence *p, const gr_presence_seen *m, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx), until_ms = now_ms + m->wait_ms + GR_PRESENCE_GRACE_MS;
    gr_presence_state state;
    bool has_acted = m->presence.size == 0;
    if (!p->is_local || (!gr_presence_read(m->presence, &state) && !has_acted)) return;
    gr_presence_device *d = device_of(p, m->device);
    gr_presence_state before = d->until_ms > now_ms ? d->state : GR_PRESENCE_OFFLINE;
    bool is_said = has_acted || !m->is_default || before == GR_PRESENCE_OFFLINE;
    if (has_acted) state = GR_PRESENCE_ONLINE;
    if (has_acted || (is_said && state == GR_PRESENCE_ONLINE && before != state)) p->active_ms = now_ms;
    d->state = is_said ? state : before;
    if (d->until_ms < until_ms) d->until_ms = until_ms;
    look(p, ctx);
}

static void on_told(gr_presence *p, const gr_presence_told *m, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    gr_presence_state state;
    if (p->is_local || !gr_presence_read(m->presence, &state) || m->status_msg.size > GR_PRESENCE_STATUS_MAX) return;
    gr_presence_device *d = device_of(p, (gr_str){0});
    d->state = state;
    d->until_ms = now_ms + GR_PRESENCE_REMOTE_MS;
    p->active_ms = m->active_ago_ms < now_ms ? now_ms - m->active_ago_ms : 0;
    set_status(p, m->status_msg);
    look(p, ctx);
}

static void on_get(const gr_presence *p, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    gr_presence_state state = state_at(p, now_ms);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (state == GR_PRESENCE_ONLINE) gr_jw_kbool(&w, "currently_active", is_current(p, now_ms));
    if (p->active_ms) gr_jw_kint(&w, "last_active_ago", p->active_ms < now_ms ? (int64_t)(now_ms - p->active_ms) : 0);
    gr_jw_kc(&w, "presence", gr_presence_text(state));
    if (p->status_msg.size) gr_jw_kstr(&w, "status_msg", p->status_msg);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_presence *p = self;
    switch (m->type->id) {
    case GR_T_presence_put: on_put(p, m->body, ctx); return;
    case GR_T_presence_seen: on_seen(p, m->body, ctx); return;
    case GR_T_presence_told: on_told(p, m->body, ctx); return;
    case GR_T_presence_get: on_get(p, ctx); return;
    case GR_T_timer: look(p, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "Presence does not take this message"));
    }
}

static bool busy(const void *self) { return ((const gr_presence *)self)->device_count > 0; }

static size_t memory(const void *self)
{
    const gr_presence *p = self;
    return p->id.size + p->status_msg.size + p->device_count * 32;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_presence *p = self;
    gr_buf_printf(out, "\"presence\":\"%s\",\"devices\":%zu,\"last_active\":%llu,\"told\":\"%s\",\"told_at\":%llu",
                  gr_presence_text(state_at(p, gr_ctx_now_ms(ctx))), p->device_count, (unsigned long long)p->active_ms,
                  gr_presence_text(p->told), (unsigned long long)p->told_ms);
}

const gr_actor_kind gr_presence_kind = {.kind = GR_KIND_PRESENCE, .size = sizeof(gr_presence), .load = load, .handle = handle,
                                        .drop = drop, .busy = busy, .memory = memory, .inspect = inspect};
