/* remote_user.c - load, dispatch, shared rooms, inspect. See remote_user.h. */
#include "actors/remote_user/remote_user_private.h"

#include "actors/user/keys.h"
#include "proto/ident.h"

#include <stdlib.h>

#define ROW GR_STR("l")
#define CURSOR GR_STR("c")
#define TELL GR_STR("tell")

enum { TELL_DELAY_MS = 100 };          /* of several updates that come together rooms hear once */

/* --- lists of texts that are owned -------------------------------------------------------------------------- */
static void free_list(gr_strs *list)
{
    for (size_t i = 0; i < list->count; i++) free((char *)list->at[i].ptr);
    free(list->at);
    *list = (gr_strs){0};
}

static void add(gr_strs *list, size_t at, gr_str text)
{
    list->at = gr_realloc(list->at, (list->count + 1) * sizeof *list->at);
    memmove(&list->at[at + 1], &list->at[at], (list->count - at) * sizeof *list->at);
    list->at[at] = gr_str_keep(text);
    list->count++;
}

static void take_away(gr_strs *list, size_t at)
{
    free((char *)list->at[at].ptr);
    list->count--;
    memmove(&list->at[at], &list->at[at + 1], (list->count - at) * sizeof *list->at);
}

bool gr_remote_find(const gr_strs *list, gr_str text, size_t *at)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (gr_str_cmp(list->at[middle], text) < 0) low = middle + 1;
        else high = middle;
    }
    *at = low;
    return low < list->count && gr_str_eq(list->at[low], text);
}

void gr_remote_device_is(gr_remote_user *u, gr_str device, bool there)
{
    size_t at;
    bool known = gr_remote_find(&u->list.devices, device, &at);
    if (there && !known) add(&u->list.devices, at, device);
    else if (!there && known) take_away(&u->list.devices, at);
}

/* --- load --------------------------------------------------------------------------------------------------- */
static bool load_room(void *arg, gr_str key, gr_str value)
{
    gr_remote_user *u = arg;
    (void)value;
    add(&u->rooms, u->rooms.count, gr_str_from(key, 1));
    return true;
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_remote_user *u = self;
    gr_str bytes;
    void *body = NULL;
    u->id = gr_str_keep(id);
    gr_ctx_scan_prefix(ctx, GR_STR("r"), 0, load_room, u);
    if (!gr_ctx_get(ctx, ROW, &bytes)
        || gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_remote_devices_row, bytes, &body))) return;
    const gr_remote_devices_row *row = body;
    u->list = *row;
    u->list.devices = (gr_strs){0};
    for (size_t i = 0; i < row->devices.count; i++) add(&u->list.devices, i, row->devices.at[i]);
}

static void drop(void *self)
{
    gr_remote_user *u = self;
    free_list(&u->rooms);
    free_list(&u->list.devices);
    free((char *)u->id.ptr);
}

void gr_remote_save(const gr_remote_user *u, gr_ctx *ctx) { gr_ctx_put_body(ctx, ROW, &gr_type_remote_devices_row, &u->list); }

void gr_remote_forget(gr_remote_user *u, gr_remote_list_state state, gr_ctx *ctx)
{
    for (size_t i = 0; i < u->list.devices.count; i++) gr_ctx_del(ctx, gr_keys_row(ctx, 'd', u->list.devices.at[i]));
    gr_ctx_del(ctx, gr_keys_row(ctx, 'x', GR_STR("master")));
    gr_ctx_del(ctx, gr_keys_row(ctx, 'x', GR_STR("self_signing")));
    free_list(&u->list.devices);
    u->list = (gr_remote_devices_row){.state = state};
    gr_remote_save(u, ctx);
}

/* --- rooms -------------------------------------------------------------------------------------------------- */
/* With the last room goes the list: nobody tells of changes any more. */
static void on_room(gr_remote_user *u, const gr_remote_user_room *m, gr_ctx *ctx)
{
    gr_str row = gr_user_key(ctx, 'r', m->room_id);
    size_t at;
    bool known = gr_remote_find(&u->rooms, m->room_id, &at);
    if (m->is_shared == known || m->room_id.size == 0) return;
    if (m->is_shared) {
        add(&u->rooms, at, m->room_id);
        gr_ctx_put(ctx, row, (gr_str){0});
        return;
    }
    take_away(&u->rooms, at);
    gr_ctx_del(ctx, row);
    if (u->rooms.count == 0 && u->list.state != GR_REMOTE_UNKNOWN) gr_remote_forget(u, GR_REMOTE_UNKNOWN, ctx);
}

static void on_in_rooms(const gr_remote_user *u, const gr_user_in_rooms *m, gr_ctx *ctx)
{
    gr_user_in_rooms in = {.rooms = {gr_arena_alloc(gr_ctx_arena(ctx), m->rooms.count * sizeof(gr_str)), 0}};
    size_t at;
    for (size_t i = 0; i < m->rooms.count; i++)
        if (gr_remote_find(&u->rooms, m->rooms.at[i], &at)) in.rooms.at[in.rooms.count++] = m->rooms.at[i];
    gr_ctx_reply(ctx, &gr_type_user_in_rooms, &in);
}

static void on_joined_rooms(const gr_remote_user *u, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "joined_rooms");
    gr_jw_array(&w);
    for (size_t i = 0; i < u->rooms.count; i++) gr_jw_str(&w, u->rooms.at[i]);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

/* Of users whom nobody here knows nothing is kept, so it goes no further. */
static void on_presence(const gr_remote_user *u, const gr_presence_told *m, gr_ctx *ctx)
{
    gr_ctx_done(ctx);
    if (u->rooms.count) gr_ctx_tell(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_PRESENCE, u->id), &gr_type_presence_told, m);
}

/* A change while rooms are being told starts it again: those told twice take no harm. */
void gr_remote_announce(gr_remote_user *u, gr_ctx *ctx)
{
    gr_str cursor;
    if (u->rooms.count == 0) return;
    if (!gr_ctx_get(ctx, CURSOR, &cursor)) gr_ctx_timer(ctx, TELL, gr_ctx_now_ms(ctx) + TELL_DELAY_MS, true);
    gr_ctx_put(ctx, CURSOR, (gr_str){0});
}

static void tell_rooms(gr_remote_user *u, gr_ctx *ctx)
{
    gr_str cursor;
    size_t at, told = 0;
    if (!gr_ctx_get(ctx, CURSOR, &cursor)) return;
    if (gr_remote_find(&u->rooms, cursor, &at)) at++;
    for (; at < u->rooms.count && told < GR_REMOTE_ROOMS_STEP; at++, told++)
        gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, u->rooms.at[at]), &gr_type_room_keys_changed,
                    &(gr_room_keys_changed){.user = u->id});
    if (at == u->rooms.count) {
        gr_ctx_del(ctx, CURSOR);
        return;
    }
    gr_ctx_put(ctx, CURSOR, u->rooms.at[at - 1]);
    gr_ctx_timer(ctx, TELL, gr_ctx_now_ms(ctx), true);
}

/* --- messages ----------------------------------------------------------------------------------------------- */
/* The first question makes the list wanted. */
static void on_query(gr_remote_user *u, const gr_user_keys_query *m, gr_ctx *ctx)
{
    if (u->list.state == GR_REMOTE_CURRENT) {
        gr_user_keys keys = {0};
        gr_keys_read_page(ctx, m, NULL, &keys);
        gr_ctx_reply(ctx, &gr_type_user_keys, &keys);
        return;
    }
    if (u->list.state == GR_REMOTE_UNKNOWN && u->rooms.count) gr_remote_stale(u, ctx);
    gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "The keys of this user are not known here: ask their server"));
}

static void on_timer(gr_remote_user *u, gr_str name, gr_ctx *ctx)
{
    if (gr_str_is(name, "tell")) tell_rooms(u, ctx);
    else gr_remote_on_resync_timer(u, ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_remote_user *u = self;
    if (!gr_ident_user(u->id) || gr_ident_is_local(u->id, gr_env_of(ctx)->server_name)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "This is not a user of another server"));
        return;
    }
    if (m->verb == GR_REPLY) {
        gr_remote_on_list(u, m, ctx);
        return;
    }
    switch (m->type->id) {
    case GR_T_remote_user_room: on_room(u, m->body, ctx); return;
    case GR_T_remote_user_devices: gr_remote_on_devices(u, m->body, ctx); return;
    case GR_T_remote_user_signing: gr_remote_on_signing(u, m->body, ctx); return;
    case GR_T_user_keys_query: on_query(u, m->body, ctx); return;
    case GR_T_user_joined_rooms: on_joined_rooms(u, ctx); return;
    case GR_T_presence_told: on_presence(u, m->body, ctx); return;
    case GR_T_user_in_rooms: on_in_rooms(u, m->body, ctx); return;
    case GR_T_timer: on_timer(u, ((const gr_timer *)m->body)->name, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A remote user does not take this message"));
    }
}

static bool busy(const void *self) { return ((const gr_remote_user *)self)->is_asking; }

static size_t memory(const void *self)
{
    const gr_remote_user *u = self;
    return u->id.size + (u->rooms.count + u->list.devices.count) * 80;
}

static uint64_t digest(const void *self)
{
    const gr_remote_user *u = self;
    uint64_t d = gr_str_hash(u->id) ^ u->list.state ^ u->list.stream_id << 3 ^ u->list.failures << 50;
    for (size_t i = 0; i < u->rooms.count; i++) d = d * 31 + gr_str_hash(u->rooms.at[i]);
    for (size_t i = 0; i < u->list.devices.count; i++) d = d * 37 + gr_str_hash(u->list.devices.at[i]);
    return d;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    static const char *const states[] = {"unknown", "current", "stale", "large"};
    const gr_remote_user *u = self;
    (void)ctx;
    gr_buf_printf(out, "\"shared_rooms\":%zu,\"device_list\":\"%s\",\"devices\":%zu,\"stream_id\":%llu,\"failures\":%llu",
                  u->rooms.count, states[u->list.state], u->list.devices.count, (unsigned long long)u->list.stream_id,
                  (unsigned long long)u->list.failures);
}

const gr_actor_kind gr_remote_user_kind = {.kind = GR_KIND_REMOTE_USER, .size = sizeof(gr_remote_user), .load = load,
                                           .handle = handle, .drop = drop, .busy = busy, .memory = memory, .digest = digest,
                                           .inspect = inspect};
