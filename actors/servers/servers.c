/* servers.c - see servers.h; server-server API, "Transactions". */
#include "actors/servers/servers.h"
#include "actors/room/room.h"

#define TIMER GR_STR("sending")

/* --- rows -------------------------------------------------------------------------------------------------- */
static gr_str pair_row(gr_ctx *ctx, char letter, gr_str a, gr_str b)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 4, (gr_str[]){{&letter, 1}, a, {"\0", 1}, b});
}

static bool take_number(void *arg, gr_str key, gr_str value)
{
    (void)value;
    if (key.size == 9) *(uint64_t *)arg = gr_u64be(key.ptr + 1);
    return false;
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_servers *s = self;
    uint64_t newest = 0;
    (void)id;
    gr_ctx_scan(ctx, GR_STR("w"), GR_STR("x"), true, 1, take_number, &newest);
    s->first = s->next = newest + 1;
    gr_ctx_scan(ctx, GR_STR("w"), GR_STR("x"), false, 1, take_number, &s->first);
}

/* --- sending ----------------------------------------------------------------------------------------------- */
typedef struct { gr_ctx *ctx; gr_str at[GR_SERVERS_STEP]; size_t count, most, prefix; } names;

static bool on_name(void *arg, gr_str key, gr_str value)
{
    names *n = arg;
    (void)value;
    n->at[n->count++] = gr_arena_str(gr_ctx_arena(n->ctx), gr_str_from(key, n->prefix));
    return n->count < n->most;
}

static gr_str destination_of(gr_str server, gr_ctx *ctx) { return gr_address(gr_ctx_arena(ctx), GR_KIND_DESTINATION, server); }

static void queue(const gr_servers_sending_row *row, gr_str server, gr_ctx *ctx)
{
    gr_destination_queue m = {.edu = row->edu};
    if (row->edu.size == 0)
        m = (gr_destination_queue){.room_id = row->room_id, .event_id = row->event_id, .position = row->position,
                                   .size = row->size};
    gr_ctx_post(ctx, destination_of(server, ctx), &gr_type_destination_queue, &m);
}

/* To the next servers, as many as fit a step.  False: there may be more, behind row->after. */
static bool send_some(gr_servers_sending_row *row, gr_ctx *ctx)
{
    gr_str from = pair_row(ctx, 'r', row->room_id, row->after);
    if (row->after.size) from = gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){from, {"\0", 1}});
    gr_str end = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("r"), row->room_id, {"\1", 1}});
    names *n = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *n);
    *n = (names){.ctx = ctx, .most = GR_SERVERS_STEP_BYTES / (row->edu.size + 512) + 1, .prefix = row->room_id.size + 2};
    if (n->most > GR_SERVERS_STEP) n->most = GR_SERVERS_STEP;
    gr_ctx_scan(ctx, from, end, false, n->most, on_name, n);
    for (size_t i = 0; i < n->count; i++)
        if (!gr_str_eq(n->at[i], row->except)) queue(row, n->at[i], ctx);
    if (n->count < n->most) return true;
    row->after = n->at[n->count - 1];
    return false;
}

static void keep(gr_servers *s, const gr_servers_sending_row *row, gr_ctx *ctx)
{
    gr_ctx_put_body(ctx, gr_arena_key(gr_ctx_arena(ctx), 'w', s->next++), &gr_type_servers_sending_row, row);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
}

/* May be lost: nothing waits for it, and it for nothing. */
static void tell_all(const gr_servers_send *m, gr_ctx *ctx)
{
    gr_str prefix = pair_row(ctx, 'r', m->room_id, (gr_str){0});
    gr_destination_volatile edu = {.edu = m->edu, .fold = m->fold, .keep_ms = m->keep_ms};
    names *n = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *n);
    *n = (names){.ctx = ctx, .most = GR_SERVERS_STEP, .prefix = prefix.size};
    gr_ctx_scan_prefix(ctx, prefix, n->most, on_name, n);
    for (size_t i = 0; i < n->count; i++)
        if (!gr_str_eq(n->at[i], m->except)) gr_ctx_tell(ctx, destination_of(n->at[i], ctx), &gr_type_destination_volatile, &edu);
}

static void on_send(gr_servers *s, const gr_servers_send *m, gr_ctx *ctx)
{
    gr_servers_sending_row row = {.room_id = m->room_id, .except = m->except, .edu = m->edu, .event_id = m->event_id,
                                  .position = m->position, .size = m->size};
    if (m->is_volatile) {
        tell_all(m, ctx);
        return;
    }
    if (m->also.size) queue(&row, m->also, ctx);
    if (s->first < s->next || !send_some(&row, ctx)) keep(s, &row, ctx);
}

static void on_timer(gr_servers *s, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    if (s->first == s->next) return;
    gr_str key = gr_arena_key(gr_ctx_arena(ctx), 'w', s->first);
    bool good = gr_ctx_get(ctx, key, &bytes)
        && !gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_servers_sending_row, bytes, &body));
    if (good && !send_some(body, ctx)) {
        gr_ctx_put_body(ctx, key, &gr_type_servers_sending_row, body);
    } else {
        gr_ctx_del(ctx, key);
        s->first++;
    }
    if (s->first < s->next) gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx), true);
}

/* --- who is where ------------------------------------------------------------------------------------------ */
static void on_member(const gr_servers_member *m, gr_ctx *ctx)
{
    gr_str by_room = pair_row(ctx, 'r', m->room_id, m->server), by_server = pair_row(ctx, 's', m->server, m->room_id);
    if (m->joined) {
        gr_ctx_put(ctx, by_room, (gr_str){0});
        gr_ctx_put(ctx, by_server, (gr_str){0});
    } else {
        gr_ctx_del(ctx, by_room);
        gr_ctx_del(ctx, by_server);
    }
}

/* All servers of the room, as many as a handler may touch; then the rest by posting to itself. */
static void on_forget(const gr_servers_forget *m, gr_ctx *ctx)
{
    gr_str prefix = pair_row(ctx, 'r', m->room_id, (gr_str){0});
    names *n = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *n);
    *n = (names){.ctx = ctx, .most = GR_SERVERS_STEP, .prefix = prefix.size};
    gr_ctx_scan_prefix(ctx, prefix, n->most, on_name, n);
    for (size_t i = 0; i < n->count; i++)
        on_member(&(gr_servers_member){.room_id = m->room_id, .server = n->at[i]}, ctx);
    if (n->count == n->most) gr_ctx_post(ctx, gr_ctx_self(ctx), &gr_type_servers_forget, m);
}

static void on_rooms(const gr_servers_rooms *m, gr_ctx *ctx)
{
    gr_str prefix = pair_row(ctx, 's', m->server, (gr_str){0}), from = pair_row(ctx, 's', m->server, m->after);
    gr_str end = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("s"), m->server, {"\1", 1}});
    if (m->after.size) from = gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){from, {"\0", 1}});
    names *n = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *n);
    *n = (names){.ctx = ctx, .most = GR_SERVERS_ROOMS_PAGE, .prefix = prefix.size};
    gr_ctx_scan(ctx, from, end, false, n->most, on_name, n);
    gr_servers_rooms_page page = {.rooms = {n->at, n->count}};
    if (n->count == n->most) page.next = n->at[n->count - 1];
    gr_ctx_reply(ctx, &gr_type_servers_rooms_page, &page);
}

/* A look into the rows of the rooms, so that these need not be loaded; what they tell is for them to decide. */
static void on_find(const gr_servers_find *m, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_servers_found found = {0};
    gr_str number, row = gr_arena_cat(a, 2, (gr_str[]){GR_STR(GR_ROOM_ROW_EVENT_ID), m->event_id});
    for (size_t i = 0; i < m->rooms.count && i < GR_SERVERS_FIND && !found.room_id.size; i++)
        if (gr_ctx_neighbour_get(ctx, gr_address(a, GR_KIND_ROOM, m->rooms.at[i]), row, &number)) found.room_id = m->rooms.at[i];
    gr_ctx_reply(ctx, &gr_type_servers_found, &found);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_servers *s = self;
    switch (m->type->id) {
    case GR_T_servers_send: on_send(s, m->body, ctx); return;
    case GR_T_servers_member: on_member(m->body, ctx); return;
    case GR_T_servers_forget: on_forget(m->body, ctx); return;
    case GR_T_servers_rooms: on_rooms(m->body, ctx); return;
    case GR_T_servers_find: on_find(m->body, ctx); return;
    case GR_T_timer: on_timer(s, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "The servers of a shard do not take this message"));
    }
}

static uint64_t digest(const void *self)
{
    const gr_servers *s = self;
    return s->first < s->next ? s->first * 1000003 + s->next : 0;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_servers *s = self;
    (void)ctx;
    gr_buf_printf(out, "\"sending\":%llu", (unsigned long long)(s->next - s->first));
}

const gr_actor_kind gr_servers_kind = {.kind = GR_KIND_SERVERS, .size = sizeof(gr_servers), .load = load, .handle = handle,
                                       .digest = digest, .inspect = inspect};
