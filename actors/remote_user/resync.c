/* resync.c - fetching the device list of a remote user. See remote_user.h; server-server API, "GET /user/devices". */
#include "actors/remote_user/remote_user_private.h"

#include "actors/user/keys.h"
#include "proto/ident.h"
#include "proto/uri.h"

#define TIMER GR_STR("resync")

enum { FETCH_MS = 30 * 1000, WATCH_MS = 3 * FETCH_MS };    /* only a restart keeps the answer from coming before that */

static uint64_t not_before(uint64_t now_ms, uint64_t at_ms) { return at_ms > now_ms ? at_ms : now_ms; }

void gr_remote_stale(gr_remote_user *u, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (u->list.state == GR_REMOTE_STALE || u->list.state == GR_REMOTE_LARGE) return;
    u->list.state = GR_REMOTE_STALE;
    gr_remote_save(u, ctx);
    gr_ctx_timer(ctx, TIMER, not_before(now_ms, u->asked_ms ? u->asked_ms + GR_REMOTE_RESYNC_MS : 0), true);
}

void gr_remote_on_resync_timer(gr_remote_user *u, gr_ctx *ctx)
{
    if (u->list.state != GR_REMOTE_STALE || u->rooms.count == 0 || u->is_asking) return;
    gr_arena *a = gr_ctx_arena(ctx);
    gr_destination_request m = {.method = GR_STR("GET"), .timeout_ms = FETCH_MS,
                                .uri = gr_arena_cat(a, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/user/devices/"),
                                                                     gr_uri_encode(a, u->id)})};
    u->is_asking = true;
    u->is_missing = false;
    u->asked_ms = gr_ctx_now_ms(ctx);
    gr_ctx_ask(ctx, gr_address(a, GR_KIND_DESTINATION, gr_ident_domain(u->id)), &gr_type_destination_request, &m, 2 * FETCH_MS,
               &(gr_resume){.step = 1});
    gr_ctx_timer(ctx, TIMER, u->asked_ms + WATCH_MS, true);
}

static void try_later(gr_remote_user *u, gr_ctx *ctx)
{
    uint64_t wait_ms = GR_REMOTE_RESYNC_FAILED_MS;
    for (uint64_t n = 0; n < u->list.failures && wait_ms < GR_REMOTE_RESYNC_MAX_MS; n++) wait_ms *= 2;
    u->list.failures++;
    gr_remote_save(u, ctx);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + (wait_ms < GR_REMOTE_RESYNC_MAX_MS ? wait_ms : GR_REMOTE_RESYNC_MAX_MS), true);
}

/* --- the list ----------------------------------------------------------------------------------------------- */
static const gr_json *list_of(const gr_remote_user *u, const gr_msg *m, gr_ctx *ctx)
{
    const gr_json *list = NULL;
    if (gr_failed(m->err) || m->type != &gr_type_result) return NULL;
    if (gr_failed(gr_json_parse(gr_ctx_arena(ctx), ((const gr_result *)m->body)->body, GR_JSON_LAX, &list))) return NULL;
    bool good = gr_str_eq(gr_json_text(list, "user_id"), u->id) && gr_json_is(gr_json_get(list, "devices"), GR_JSON_ARRAY)
        && gr_json_integer(gr_json_get(list, "stream_id"), -1) >= 0;
    return good ? list : NULL;
}

/* What is no device is left out: its server says so to everybody. */
static void take_devices(gr_remote_user *u, const gr_json *devices, gr_ctx *ctx)
{
    for (uint32_t i = 0; i < devices->count; i++) {
        const gr_json *d = &devices->items[i], *keys = gr_json_get(d, "keys");
        if (keys) gr_remote_put_device(u, gr_json_text(d, "device_id"), keys, gr_json_text(d, "device_display_name"), ctx);
    }
}

static void take_list(gr_remote_user *u, const gr_json *list, size_t bytes, gr_ctx *ctx)
{
    const gr_json *devices = gr_json_get(list, "devices");
    bool is_large = devices->count > GR_REMOTE_DEVICES_MAX || bytes > GR_REMOTE_LIST_BYTES;
    gr_remote_forget(u, is_large ? GR_REMOTE_LARGE : GR_REMOTE_CURRENT, ctx);
    if (is_large) return;
    take_devices(u, devices, ctx);
    gr_remote_put_signing(u, gr_json_get(list, "master_key"), gr_json_get(list, "self_signing_key"), ctx);
    u->list.stream_id = (uint64_t)gr_json_integer(gr_json_get(list, "stream_id"), 0);
    gr_remote_save(u, ctx);
}

void gr_remote_on_list(gr_remote_user *u, const gr_msg *m, gr_ctx *ctx)
{
    const gr_json *list = list_of(u, m, ctx);
    u->is_asking = false;
    if (u->list.state != GR_REMOTE_STALE || u->rooms.count == 0) return;       /* nobody needs it any more */
    if (!list) {
        try_later(u, ctx);
        return;
    }
    gr_ctx_timer_clear(ctx, TIMER);
    take_list(u, list, ((const gr_result *)m->body)->body.size, ctx);
    if (u->is_missing) gr_remote_stale(u, ctx);
    gr_remote_announce(u, ctx);
}
