/* outward.c - what the servers that share a room with the user hear of devices and cross-signing keys. See keys.h;
 * server-server API, "Device Management".
 *
 * Every update has the next stream id and names the one before: a server that has missed one fetches the whole list.
 */
#include "actors/user/keys.h"

#include "actors/herald/herald.h"

uint64_t gr_keys_stream_id(gr_ctx *ctx)
{
    gr_str bytes;
    return gr_ctx_get(ctx, gr_keys_row(ctx, 'i', (gr_str){0}), &bytes) && bytes.size == 8 ? gr_u64be(bytes.ptr) : 0;
}

static gr_jw begin(gr_buf *out)
{
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_key(&w, "content");
    gr_jw_object(&w);
    return w;
}

static void end(gr_jw *w, gr_buf *out, const char *type, gr_str fold, gr_ctx *ctx)
{
    gr_jw_end_object(w);
    gr_jw_kc(w, "edu_type", type);
    gr_jw_end_object(w);
    gr_herald_post(ctx, gr_address_id(gr_ctx_self(ctx)), gr_buf_view(out), fold);
    gr_buf_free(out);
}

void gr_keys_tell_device(gr_ctx *ctx, gr_str device)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str user = gr_address_id(gr_ctx_self(ctx)), keys = {0}, name = gr_keys_display_name(ctx, device);
    uint64_t before = gr_keys_stream_id(ctx);
    gr_buf out = {0};
    gr_jw w = begin(&out);
    bool is_there = gr_ctx_get(ctx, gr_keys_row(ctx, 'd', device), &keys);
    if (!is_there) gr_jw_kbool(&w, "deleted", true);
    if (is_there && name.size) gr_jw_kstr(&w, "device_display_name", name);
    gr_jw_kstr(&w, "device_id", device);
    if (is_there) gr_jw_kraw(&w, "keys", keys);
    gr_jw_key(&w, "prev_id");
    gr_jw_array(&w);
    if (before) gr_jw_int(&w, (int64_t)before);
    gr_jw_end_array(&w);
    gr_jw_kint(&w, "stream_id", (int64_t)before + 1);
    gr_jw_kstr(&w, "user_id", user);
    gr_ctx_put(ctx, gr_keys_row(ctx, 'i', (gr_str){0}), gr_str_from(gr_arena_key(a, 'i', before + 1), 1));
    end(&w, &out, "m.device_list_update", gr_arena_cat(a, 3, (gr_str[]){user, {"", 1}, device}), ctx);
}

void gr_keys_tell_signing(gr_ctx *ctx)
{
    gr_str user = gr_address_id(gr_ctx_self(ctx)), key;
    gr_buf out = {0};
    gr_jw w = begin(&out);
    if (gr_ctx_get(ctx, gr_keys_row(ctx, 'x', GR_STR("master")), &key)) gr_jw_kraw(&w, "master_key", key);
    if (gr_ctx_get(ctx, gr_keys_row(ctx, 'x', GR_STR("self_signing")), &key)) gr_jw_kraw(&w, "self_signing_key", key);
    gr_jw_kstr(&w, "user_id", user);
    end(&w, &out, "m.signing_key_update", (gr_str){0}, ctx);       /* no gap would tell that it was folded away */
}
