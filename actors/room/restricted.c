/* restricted.c - restricted rooms: who may join by being in another room, and who vouches for that. See room.h.
 *
 * Client-server API, "Restricted rooms"; server-server API, "Restricted rooms".  A member who may invite vouches for the join:
 * one of this server, or else another server is asked, whose members may.
 */
#include "actors/room/graph.h"

enum { AUTHORISERS_LOOKED_AT = 200, SERVERS_MAX = 8, SERVERS_LOOKED_AT = 16 };

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    const gr_powers *powers;
    int64_t needed;
    gr_str found;
} search;

static bool may_vouch(search *s, gr_str user)
{
    if (!gr_room_is_local(s->ctx, user) || gr_power_of_user(s->powers, user) < s->needed) return false;
    if (gr_room_membership(s->ctx, user) != GR_MEMBER_JOIN) return false;
    s->found = user;
    return true;
}

static bool vouch_row(void *arg, gr_str key, gr_str value)
{
    search *s = arg;
    gr_str user = gr_str_from(key, 1);
    bool joined = value.size == 17 && value.ptr[0] == GR_MEMBER_JOIN;
    if (!joined || !gr_room_is_local(s->ctx, user) || gr_power_of_user(s->powers, user) < s->needed)
        return true;
    s->found = gr_arena_str(gr_ctx_arena(s->ctx), user);
    return false;
}

/* A local member who may invite: those with written power first, then any. */
static gr_str find_authoriser(gr_room *room, gr_ctx *ctx)
{
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    gr_powers powers = gr_auth_powers(room->version, &state);
    search s = {room, ctx, &powers, gr_power_for(&powers, "invite"), {0}};
    const gr_json *users = powers.levels ? gr_json_get(powers.levels->content, "users") : NULL;
    if (powers.create && may_vouch(&s, powers.create->sender)) return s.found;
    for (uint32_t i = 0; gr_json_is(users, GR_JSON_OBJECT) && i < users->count && i < 16; i++)
        if (may_vouch(&s, users->members[i].key)) return s.found;
    gr_ctx_scan_prefix(ctx, GR_STR("u"), AUTHORISERS_LOOKED_AT, vouch_row, &s);
    return s.found;
}

static bool is_restricted(const gr_room *room, const gr_event *rules)
{
    gr_str rule = gr_json_text(rules->content, "join_rule");
    return (room->version->restricted && gr_str_is(rule, "restricted"))
           || (room->version->knock_restricted && gr_str_is(rule, "knock_restricted"));
}

static bool is_allowed(const gr_event *rules, gr_strs member_of)
{
    const gr_json *allow = gr_json_get(rules->content, "allow");
    for (uint32_t i = 0; gr_json_is(allow, GR_JSON_ARRAY) && i < allow->count; i++) {
        if (!gr_str_is(gr_json_text(&allow->items[i], "type"), "m.room_membership")) continue;
        for (size_t k = 0; k < member_of.count; k++)
            if (gr_str_eq(gr_json_text(&allow->items[i], "room_id"), member_of.at[k])) return true;
    }
    return false;
}

bool gr_room_must_vouch(gr_room *room, gr_ctx *ctx, gr_str user)
{
    gr_membership now = gr_room_membership(ctx, user);
    const gr_event *rules = gr_room_state(room, ctx, GR_STR("m.room.join_rules"), (gr_str){0});
    return rules && is_restricted(room, rules) && now != GR_MEMBER_INVITE && now != GR_MEMBER_JOIN && now != GR_MEMBER_BAN;
}

gr_err gr_room_vouch(gr_room *room, gr_ctx *ctx, gr_str user, gr_strs member_of, gr_str *by)
{
    *by = (gr_str){0};
    if (!gr_room_must_vouch(room, ctx, user)) return gr_ok();
    const gr_event *rules = gr_room_state(room, ctx, GR_STR("m.room.join_rules"), (gr_str){0});
    if (!is_allowed(rules, member_of))
        return gr_fail(GR_FORBIDDEN,
                       "You are in none of the rooms or spaces whose members may join this room");
    *by = find_authoriser(room, ctx);
    if (by->size == 0) return gr_fail(GR_UNABLE_TO_GRANT_JOIN, "Nobody on this server may let you into this room");
    return gr_ok();
}

gr_strs gr_room_allowed_by(gr_room *room, gr_ctx *ctx)
{
    const gr_event *rules = gr_room_state(room, ctx, GR_STR("m.room.join_rules"), (gr_str){0});
    const gr_json *allow = rules && is_restricted(room, rules) ? gr_json_get(rules->content, "allow") : NULL;
    uint32_t count = gr_json_is(allow, GR_JSON_ARRAY) ? allow->count : 0;
    gr_strs rooms = {gr_arena_alloc(gr_ctx_arena(ctx), (count + 1) * sizeof(gr_str)), 0};
    for (uint32_t i = 0; i < count; i++) {
        gr_str id = gr_json_text(&allow->items[i], "room_id");
        if (gr_str_is(gr_json_text(&allow->items[i], "type"), "m.room_membership") && gr_ident_room(id))
            rooms.at[rooms.count++] = id;
    }
    return rooms;
}

/* --- servers whose members may vouch ------------------------------------------------------------------- */
static void add_server(gr_ctx *ctx, gr_strs *servers, gr_str server)
{
    for (size_t i = 0; i < servers->count; i++)
        if (gr_str_eq(servers->at[i], server)) return;
    if (servers->count < SERVERS_MAX) servers->at[servers->count++] = gr_arena_str(gr_ctx_arena(ctx), server);
}

static void add_server_of(const search *s, gr_strs *servers, gr_str user)
{
    if (gr_room_is_local(s->ctx, user) || gr_power_of_user(s->powers, user) < s->needed) return;
    if (gr_room_membership(s->ctx, user) == GR_MEMBER_JOIN) add_server(s->ctx, servers, gr_ident_domain(user));
}

typedef struct { gr_ctx *ctx; gr_strs *servers; } server_list;

static bool server_row(void *arg, gr_str key, gr_str value)
{
    server_list *l = arg;
    (void)value;
    if (!gr_str_eq(gr_str_from(key, 1), gr_env_of(l->ctx)->server_name)) add_server(l->ctx, l->servers, gr_str_from(key, 1));
    return true;
}

/* The creator's first, then those with written power, then any where everybody may invite. */
static gr_strs servers_that_vouch(gr_room *room, gr_ctx *ctx)
{
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    gr_powers powers = gr_auth_powers(room->version, &state);
    search s = {room, ctx, &powers, gr_power_for(&powers, "invite"), {0}};
    const gr_json *users = powers.levels ? gr_json_get(powers.levels->content, "users") : NULL;
    gr_strs servers = {gr_arena_alloc(gr_ctx_arena(ctx), SERVERS_MAX * sizeof(gr_str)), 0};
    server_list list = {ctx, &servers};
    if (powers.create) add_server_of(&s, &servers, powers.create->sender);
    for (uint32_t i = 0; gr_json_is(users, GR_JSON_OBJECT) && i < users->count && i < 16; i++)
        add_server_of(&s, &servers, users->members[i].key);
    if (gr_power_for(&powers, "users_default") >= s.needed)
        gr_ctx_scan_prefix(ctx, GR_STR("n"), SERVERS_LOOKED_AT, server_row, &list);
    return servers;
}

/* Asked by the edge before a join, which then finds out in which of these rooms the user is. */
void gr_room_on_allows(gr_room *room, gr_ctx *ctx)
{
    gr_room_allows_rooms body = {.rooms = gr_room_allowed_by(room, ctx)};
    if (body.rooms.count && gr_room_has_locals(room)) body.servers = servers_that_vouch(room, ctx);
    gr_ctx_reply(ctx, &gr_type_room_allows_rooms, &body);
}
