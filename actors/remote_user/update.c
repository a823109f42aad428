/* update.c - what the server of a remote user tells of keys. See remote_user.h; server-server API, "Device Management". */
#include "actors/remote_user/remote_user_private.h"

#include "actors/user/keys.h"
#include "proto/ident.h"

enum { DISPLAY_NAME_MAX = 256, PREV_IDS_MAX = 1000 };

/* --- devices ------------------------------------------------------------------------------------------------ */
static bool is_key_of(const gr_remote_user *u, gr_str device, const gr_json *keys)
{
    return gr_json_is(keys, GR_JSON_OBJECT) && gr_str_eq(gr_json_text(keys, "user_id"), u->id)
        && gr_str_eq(gr_json_text(keys, "device_id"), device) && gr_json_is(gr_json_get(keys, "keys"), GR_JSON_OBJECT);
}

bool gr_remote_put_device(gr_remote_user *u, gr_str device, const gr_json *keys, gr_str display_name, gr_ctx *ctx)
{
    gr_str row = gr_keys_row(ctx, 'd', device);
    gr_buf text = {0};
    if (!keys) {
        gr_ctx_del(ctx, row);
        gr_remote_device_is(u, device, false);
        return true;
    }
    if (!gr_ident_device(device) || !is_key_of(u, device, keys)) return false;
    gr_json_print_without(&text, keys, (const char *const[]){"unsigned", NULL});
    bool fits = text.size <= GR_DEVICE_KEYS_MAX;
    if (fits) {
        text.size--;                   /* the last bracket */
        gr_buf_c(&text, ",\"unsigned\":");
        gr_jw w = gr_jw_begin(&text);
        gr_jw_object(&w);
        if (display_name.size && display_name.size <= DISPLAY_NAME_MAX) gr_jw_kstr(&w, "device_display_name", display_name);
        gr_jw_end_object(&w);
        gr_buf_char(&text, '}');
        gr_ctx_put(ctx, row, gr_buf_view(&text));
        gr_remote_device_is(u, device, true);
    }
    gr_buf_free(&text);
    return fits;
}

/* Everything that came before it is in the list: it names none that is not. */
static bool follows(const gr_remote_user *u, const gr_json *content, uint64_t stream_id)
{
    const gr_json *prev = gr_json_get(content, "prev_id");
    if (stream_id <= u->list.stream_id) return false;
    if (!prev || gr_json_is(prev, GR_JSON_NULL)) return true;
    bool known = gr_json_is(prev, GR_JSON_ARRAY) && prev->count <= PREV_IDS_MAX;
    for (uint32_t i = 0; known && i < prev->count; i++) {
        int64_t id = gr_json_integer(&prev->items[i], INT64_MAX);
        known = id >= 0 && (uint64_t)id <= u->list.stream_id;
    }
    return known;
}

static bool apply(gr_remote_user *u, const gr_json *content, gr_ctx *ctx)
{
    int64_t stream_id = gr_json_integer(gr_json_get(content, "stream_id"), -1);
    gr_str device = gr_json_text(content, "device_id");
    const gr_json *keys = gr_json_get(content, "keys");
    bool gone = gr_json_boolean(gr_json_get(content, "deleted"), false) || gr_json_is(keys, GR_JSON_NULL);
    size_t at;
    if (stream_id < 0 || !gr_ident_device(device) || !follows(u, content, (uint64_t)stream_id)) return false;
    if (u->list.devices.count >= GR_REMOTE_DEVICES_MAX && !gr_remote_find(&u->list.devices, device, &at)) return false;
    if (!gr_remote_put_device(u, device, gone ? NULL : keys, gr_json_text(content, "device_display_name"), ctx)) return false;
    u->list.stream_id = (uint64_t)stream_id;
    gr_remote_save(u, ctx);
    return true;
}

/* Of a user with whom no room is shared nothing is kept; nor of one that says it is somebody else. */
static const gr_json *content_of(const gr_remote_user *u, gr_str text, gr_ctx *ctx)
{
    const gr_json *content = NULL;
    if (u->rooms.count == 0 || gr_failed(gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &content))) return NULL;
    return gr_str_eq(gr_json_text(content, "user_id"), u->id) ? content : NULL;
}

void gr_remote_on_devices(gr_remote_user *u, const gr_remote_user_devices *m, gr_ctx *ctx)
{
    const gr_json *content = content_of(u, m->content, ctx);
    if (content) {
        u->is_missing |= u->is_asking;
        if (u->list.state == GR_REMOTE_CURRENT && !apply(u, content, ctx)) gr_remote_stale(u, ctx);
        gr_remote_announce(u, ctx);
    }
    gr_ctx_done(ctx);
}

/* --- cross-signing ------------------------------------------------------------------------------------------ */
static void put_signing(const gr_remote_user *u, const char *usage, const gr_json *key, gr_ctx *ctx)
{
    const gr_json *keys = gr_json_get(key, "keys");
    gr_str row = gr_keys_row(ctx, 'x', gr_str_c(usage));
    bool good = gr_json_is(keys, GR_JSON_OBJECT) && keys->count == 1 && gr_str_eq(gr_json_text(key, "user_id"), u->id);
    gr_str text = good ? gr_json_printed(gr_ctx_arena(ctx), key) : (gr_str){0};
    if (good && text.size <= GR_DEVICE_KEYS_MAX) gr_ctx_put(ctx, row, text);
}

void gr_remote_put_signing(gr_remote_user *u, const gr_json *master, const gr_json *self_signing, gr_ctx *ctx)
{
    if (master) put_signing(u, "master", master, ctx);
    if (self_signing) put_signing(u, "self_signing", self_signing, ctx);
}

void gr_remote_on_signing(gr_remote_user *u, const gr_remote_user_signing *m, gr_ctx *ctx)
{
    const gr_json *content = content_of(u, m->content, ctx);
    if (content) {
        u->is_missing |= u->is_asking;
        if (u->list.state == GR_REMOTE_CURRENT)
            gr_remote_put_signing(u, gr_json_get(content, "master_key"), gr_json_get(content, "self_signing_key"), ctx);
        gr_remote_announce(u, ctx);
    }
    gr_ctx_done(ctx);
}
