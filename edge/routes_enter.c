/* routes_enter.c - joins and knocks. Client-server API, "Joining rooms", "Knocking on rooms".
 *
 * An alias is resolved first, then the user's profile and what a restricted room asks for are fetched at once.
 */
#include "edge/membership.h"
#include "edge/remote.h"
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"
#include "proto/uri.h"

/* --- facts ------------------------------------------------------------------------------------------------- */
static void on_look(gr_call *c, const gr_answer *a)
{
    const gr_user_outside_is *is = a->body;
    if (!gr_failed(a->err)) gr_membership_add_servers(c, is);
    gr_membership_arrive(c);
}

static gr_strs kept_strs(gr_call *c, gr_strs strs)
{
    gr_strs kept = {gr_arena_alloc(c->arena, (strs.count + 1) * sizeof(gr_str)), strs.count};
    for (size_t i = 0; i < strs.count; i++) kept.at[i] = gr_call_keep(c, strs.at[i]);
    return kept;
}

static void on_in_rooms(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    const gr_user_in_rooms *in = a->body;
    if (gr_failed(a->err)) h->err = gr_call_keep_err(c, a->err);
    else h->m.member_of = kept_strs(c, in->rooms);
    gr_membership_arrive(c);
}

static void on_allows(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    const gr_room_allows_rooms *allows = a->body;
    if (gr_failed(a->err) && !gr_failed(h->err)) h->err = gr_call_keep_err(c, a->err);
    if (!gr_failed(a->err)) h->vouchers = kept_strs(c, allows->servers);
    if (gr_failed(a->err) || allows->rooms.count == 0) {
        gr_membership_arrive(c);
        return;
    }
    gr_user_in_rooms body = {.rooms = allows->rooms};
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_in_rooms, &body, on_in_rooms);
}

/* From here on it is the join of somebody who is invited. */
static void on_accepted(gr_call *c, gr_err err)
{
    if (gr_failed(err)) gr_call_fail(c, err);
    else gr_membership_enter(c);
}

static void accept(gr_call *c)
{
    gr_membership_change *h = c->state;
    gr_threepid_accept *t = &h->accept;
    const gr_json *signed_by = t->signed_by;
    h->is_accepted = true;
    *t = (gr_threepid_accept){.room_id = h->room_id, .sender = gr_json_text(signed_by, "sender"), .user = c->user,
                              .signed_by = signed_by, .then = on_accepted};
    gr_outside_add(c, &h->outside, gr_ident_domain(t->sender));
    if (gr_call_fits(c, gr_ident_user(t->sender), "'third_party_signed' does not name its sender"))
        gr_threepid_accept_send(c, t);
}

void gr_membership_enter(gr_call *c)
{
    gr_membership_change *h = c->state;
    if (h->accept.signed_by && !h->is_accepted) {
        accept(c);
        return;
    }
    h->waiting = 3;
    gr_membership_profile(c, c->user);
    gr_membership_look(c, on_look);
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, h->room_id), &gr_type_room_allows,
                &(gr_room_allows){.user = c->user}, on_allows);
}

static void on_alias(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    const gr_json *value = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &value);
    h->room_id = gr_json_text(value, "room_id");
    if (gr_failed(err)) gr_call_fail(c, err);
    else gr_membership_enter(c);
}

static void on_remote_alias(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    const gr_json *object = gr_remote_object(c, a), *servers = gr_json_get(object, "servers");
    if (!object) return;
    h->room_id = gr_json_text(object, "room_id");
    if (!gr_ident_room(h->room_id)) {
        gr_call_fail_with(c, GR_BAD_GATEWAY, "The other server's answer makes no sense");
        return;
    }
    for (uint32_t i = 0; gr_json_is(servers, GR_JSON_ARRAY) && i < servers->count; i++)
        gr_outside_add(c, &h->outside, gr_json_string(&servers->items[i]));
    gr_membership_enter(c);
}

static void ask_alias(gr_call *c, gr_str alias)
{
    gr_membership_change *h = c->state;
    gr_str uri = gr_arena_cat(c->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/query/directory?room_alias="),
                                                      gr_uri_encode(c->arena, alias)});
    gr_outside_add(c, &h->outside, gr_ident_domain(alias));
    gr_remote_ask(c, gr_ident_domain(alias), "GET", uri, (gr_str){0}, on_remote_alias, 0);
}

static void serve_enter(gr_call *c, const char *action, const char *param)
{
    gr_str id = gr_call_param(c, param);
    gr_membership_change *h = gr_membership_begin(c, action, c->user);
    h->answers_room = true;
    gr_outside_add_queried(c, &h->outside);
    if (!gr_call_may_str(c, "reason", &h->m.reason)
        || !gr_call_may(c, "third_party_signed", GR_JSON_OBJECT, &h->accept.signed_by)) return;
    if (gr_ident_alias(id)) {
        if (!gr_ident_is_local(id, gr_call_server_name(c))) ask_alias(c, id);
        else
            gr_call_ask(c, gr_call_address(c, GR_KIND_NAME, id), &gr_type_name_look, &(gr_name_look){0},
                        on_alias);
        return;
    }
    h->room_id = id;
    if (gr_call_fits(c, gr_ident_room(id), "The path holds neither a room id nor a room alias")) gr_membership_enter(c);
}

static void serve_join(gr_call *c) { serve_enter(c, "join", "roomId"); }
static void serve_join_alias(gr_call *c) { serve_enter(c, "join", "roomIdOrAlias"); }
static void serve_knock(gr_call *c) { serve_enter(c, "knock", "roomIdOrAlias"); }

#define V3 "/_matrix/client/(r0|v3)"
#define ROOMS V3 "/rooms/{roomId}"

const gr_call_route gr_routes_enter[] = {
    {GR_HTTP_POST, ROOMS "/join", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN, serve_join,
     .guest_ok = true},
    {GR_HTTP_POST, V3 "/join/{roomIdOrAlias}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN,
     serve_join_alias, .guest_ok = true},
    {GR_HTTP_POST, V3 "/knock/{roomIdOrAlias}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN,
     serve_knock},
    {.pattern = NULL}};
