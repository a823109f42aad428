/* servers.c - the servers of the room's members: who they are, and what goes to them. See graph.h.
 *
 * An event of ours goes to the servers that were in the room before it: one post for each shard that holds some of them
 * (actors/servers).  So its cost does not grow with the number of servers, and neither does what the room keeps in memory.
 */
#include "actors/room/graph.h"

enum {
    ENTRY = 5,                         /* of row S: shard (1), number of servers (4) */
    LOOKED_AT = 200                    /* of servers, when some are chosen */
};

/* --- rows -------------------------------------------------------------------------------------------------- */
void gr_room_servers_load(gr_room *room, gr_ctx *ctx)
{
    gr_str row;
    memset(room->servers, 0, sizeof room->servers);
    if (!gr_ctx_get(ctx, GR_STR("S"), &row)) return;
    for (size_t i = 0; i + ENTRY <= row.size; i += ENTRY)
        room->servers[(unsigned char)row.ptr[i]] = gr_u32be(row.ptr + i + 1);
}

static void save(const gr_room *room, gr_ctx *ctx)
{
    gr_buf out = {0};
    for (int shard = 0; shard < GR_SHARDS; shard++) {
        if (room->servers[shard] == 0) continue;
        gr_buf_char(&out, (char)shard);
        gr_buf_u32be(&out, room->servers[shard]);
    }
    if (out.size) gr_ctx_put(ctx, GR_STR("S"), gr_buf_view(&out));
    else gr_ctx_del(ctx, GR_STR("S"));
    gr_buf_free(&out);
}

uint64_t gr_room_server_members(gr_ctx *ctx, gr_str server)
{
    gr_str value;
    return gr_ctx_get(ctx, gr_room_key(ctx, 'n', server), &value) && value.size == 8 ? gr_u64be(value.ptr) : 0;
}

bool gr_room_has_servers(const gr_room *room)
{
    for (int shard = 0; shard < GR_SHARDS; shard++)
        if (room->servers[shard]) return true;
    return false;
}

typedef struct {
    gr_ctx *ctx;
    gr_str except;
    gr_strs found;
    uint64_t *members;                 /* of those found, the most first */
    size_t most;
} choice;

static bool on_server(void *arg, gr_str key, gr_str value)
{
    choice *c = arg;
    gr_str server = gr_str_from(key, 1);
    uint64_t members = value.size == 8 ? gr_u64be(value.ptr) : 0;
    size_t at = c->found.count;
    if (gr_str_eq(server, c->except)) return true;
    while (at > 0 && c->members[at - 1] < members) at--;
    if (at == c->most) return true;
    if (c->found.count < c->most) c->found.count++;
    for (size_t i = c->found.count - 1; i > at; i--) {
        c->found.at[i] = c->found.at[i - 1];
        c->members[i] = c->members[i - 1];
    }
    c->found.at[at] = gr_arena_str(gr_ctx_arena(c->ctx), server);
    c->members[at] = members;
    return true;
}

gr_strs gr_room_some_servers(gr_ctx *ctx, gr_str except, size_t most)
{
    gr_arena *a = gr_ctx_arena(ctx);
    choice c = {ctx, except, {gr_arena_alloc(a, (most + 1) * sizeof(gr_str)), 0},
                gr_arena_alloc(a, (most + 1) * sizeof(uint64_t)), most};
    gr_ctx_scan_prefix(ctx, GR_STR("n"), LOOKED_AT, on_server, &c);
    return c.found;
}

/* --- counting ---------------------------------------------------------------------------------------------- */
static gr_str address_of(gr_ctx *ctx, uint8_t shard) { return gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_SERVERS, shard); }

static void move_server(gr_room *room, gr_ctx *ctx, gr_str server, bool joined)
{
    uint8_t shard = gr_id_shard(server);
    room->servers[shard] += joined ? 1 : (uint32_t)-1;
    save(room, ctx);
    gr_ctx_post(ctx, address_of(ctx, shard), &gr_type_servers_member,
                &(gr_servers_member){.room_id = room->id, .server = server, .joined = joined});
}

void gr_room_count_server(gr_room *room, gr_ctx *ctx, gr_str user, int by)
{
    gr_str server = gr_ident_domain(user);
    if (!gr_ident_server_name(server)) return;             /* of old rooms: nobody can be sent anything there */
    uint64_t before = gr_room_server_members(ctx, server), now = before + (uint64_t)by;
    gr_str row = gr_room_key(ctx, 'n', server);
    if (now) gr_ctx_put(ctx, row, gr_str_from(gr_room_key_number(ctx, ' ', now), 1));
    else gr_ctx_del(ctx, row);
    if (by > 0) gr_ctx_put(ctx, gr_room_key_parts(ctx, 'N', 2, (gr_str[]){server, user}), (gr_str){0});
    if ((before == 0) != (now == 0)) move_server(room, ctx, server, now > 0);
}

/* --- what goes to them ------------------------------------------------------------------------------------- */
/* Who is not in the room, but hears of it: a server whose last member this event takes out, whose invite it takes back. */
static gr_str told_besides(gr_ctx *ctx, const gr_room_made *made)
{
    const gr_event *e = &made->event;
    bool was_there = made->before == GR_MEMBER_JOIN || made->before == GR_MEMBER_INVITE || made->before == GR_MEMBER_KNOCK;
    if (!e->has_state_key || !gr_str_is(e->type, "m.room.member") || !was_there) return (gr_str){0};
    gr_str server = gr_ident_domain(e->state_key);
    bool is_other = gr_ident_server_name(server) && !gr_room_is_local(ctx, e->state_key);
    return is_other && gr_room_server_members(ctx, server) == 0 ? server : (gr_str){0};
}

void gr_room_post_servers(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    gr_servers_send m = {.room_id = room->id, .event_id = made->event_id, .position = made->number,
                         .size = made->record.json.size}, with;
    if (!gr_room_is_local(ctx, made->event.sender)) m.except = gr_ident_domain(made->event.sender);
    gr_str also = told_besides(ctx, made);
    with = m;
    if (!gr_str_eq(also, m.except)) with.also = also;
    int besides = with.also.size ? gr_id_shard(with.also) : -1;
    for (int shard = 0; shard < GR_SHARDS; shard++)
        if (room->servers[shard] || shard == besides)
            gr_ctx_post(ctx, address_of(ctx, (uint8_t)shard), &gr_type_servers_send, shard == besides ? &with : &m);
}

enum { KEEP_MS = 30 * 1000 };          /* what is of no use later: typing */

void gr_room_send_edu(gr_room *room, gr_ctx *ctx, const char *type, gr_str content, bool is_brief)
{
    gr_str edu = gr_arena_printf(gr_ctx_arena(ctx), "{\"content\":%" GR_FMT ",\"edu_type\":\"%s\"}", GR_ARG(content), type);
    gr_servers_send m = {.room_id = room->id, .edu = edu, .is_volatile = true, .keep_ms = is_brief ? KEEP_MS : 0};
    for (int shard = 0; shard < GR_SHARDS; shard++)
        if (room->servers[shard]) gr_ctx_tell(ctx, address_of(ctx, (uint8_t)shard), &gr_type_servers_send, &m);
}

void gr_room_forget_servers(gr_room *room, gr_ctx *ctx)
{
    for (int shard = 0; shard < GR_SHARDS; shard++)
        if (room->servers[shard])
            gr_ctx_post(ctx, address_of(ctx, (uint8_t)shard), &gr_type_servers_forget,
                        &(gr_servers_forget){.room_id = room->id});
    memset(room->servers, 0, sizeof room->servers);
}
