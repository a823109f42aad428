/* routes_member.c - memberships: the client's side. Client-server API, "Room membership".
 *
 * A join or knock resolves an alias first, then fetches at once the user's profile and what a restricted
 * room asks for.
 */
#include "edge/inviting.h"
#include "edge/outside.h"
#include "edge/policy.h"
#include "edge/remote.h"
#include "edge/routes.h"
#include "edge/threepid.h"

#include "proto/catalogue.h"
#include "proto/ident.h"
#include "proto/uri.h"

enum { TIMES_OUTSIDE_MAX = 3 };

/* One membership change on its way. */
typedef struct {
    gr_str room_id;
    gr_room_member m;
    unsigned waiting;
    gr_err err;        /* why a fact could not be asked for */
    bool answers_room; /* {"room_id": ...}, else {} */
    unsigned times_outside;        /* that other servers were asked */
    gr_strs vouchers;  /* servers whose members may vouch for a join, when nobody here may */
    gr_outside outside;
    size_t next;       /* server to be asked whether guests may join */
    gr_threepid_invite threepid;
    bool is_accepted;
    gr_threepid_accept accept;     /* of a join that comes of a third-party invite */
} change;

/* --- asking the room ----------------------------------------------------------------------------------- */
static void go_outside(gr_call *c);
static void enter(gr_call *c);

/* Nobody of this server is in the room, or may vouch for the join: other servers may let the user in. */
static bool is_outside(const change *h, gr_err err)
{
    bool joins = gr_str_is(h->m.action, "join"), enters = joins || gr_str_is(h->m.action, "knock");
    if (!enters || h->times_outside == TIMES_OUTSIDE_MAX) return false;
    if (err.code == GR_UNABLE_TO_GRANT_JOIN) return joins && h->vouchers.count > 0;
    return err.code == GR_NOT_FOUND && h->outside.servers.count > 0;
}

/* That one should ask another server is said to servers, not to users. */
static void fail_change(gr_call *c, gr_err err)
{
    if (err.code == GR_UNABLE_TO_GRANT_JOIN || err.code == GR_UNABLE_TO_AUTHORISE_JOIN) err.code = GR_FORBIDDEN;
    gr_call_fail(c, err);
}

static void choose_vouchers(gr_call *c)
{
    change *h = c->state;
    h->outside.servers.count = 0;
    h->outside.is_here = true;
    for (size_t i = 0; i < h->vouchers.count; i++) gr_outside_add(c, &h->outside, h->vouchers.at[i]);
}

static void answer(gr_call *c)
{
    const change *h = c->state;
    if (!h->answers_room) {
        gr_call_empty(c);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", h->room_id);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void on_changed(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    if (gr_policy_takes(c, a, h->room_id, (gr_str){0}, on_changed)) return;
    gr_err err = a->err.code == GR_NOT_FOUND && gr_failed(h->err) ? h->err : a->err;
    bool is_ours = err.code == GR_UNABLE_TO_GRANT_JOIN;
    if (!is_outside(h, err)) {
        if (gr_failed(err)) fail_change(c, err);
        else answer(c);
        return;
    }
    if (is_ours) choose_vouchers(c);
    go_outside(c);
}

static void ask_change(gr_call *c)
{
    change *h = c->state;
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, h->room_id), &gr_type_room_member, &h->m, on_changed);
}

static change *begin(gr_call *c, const char *action, gr_str target)
{
    change *h = gr_arena_alloc(c->arena, sizeof *h);
    h->m = (gr_room_member){.user = c->user,
                            .target = target,
                            .action = gr_str_c(action),
                            .device = c->device,
                            .guest = c->guest};
    c->state = h;
    return h;
}

/* --- joins and knocks ---------------------------------------------------------------------------------- */
/* Both facts are there, or what they failed with. */
static void arrive(gr_call *c)
{
    change *h = c->state;
    if (--h->waiting) return;
    if (is_outside(h, h->err)) go_outside(c);
    else if (gr_failed(h->err)) gr_call_fail(c, h->err);
    else ask_change(c);
}

/* --- rooms of other servers ------------------------------------------------------------------------------ */
static void on_outside(gr_call *c, gr_err err)
{
    if (err.code == GR_ROOM_IN_USE) enter(c);
    else if (gr_failed(err)) fail_change(c, err);
    else answer(c);
}

static gr_str content_of(gr_call *c, const change *h, bool with_profile)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (with_profile && h->m.avatar_url.size) gr_jw_kstr(&w, "avatar_url", h->m.avatar_url);
    if (with_profile && h->m.displayname.size) gr_jw_kstr(&w, "displayname", h->m.displayname);
    if (h->m.reason.size) gr_jw_kstr(&w, "reason", h->m.reason);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(c->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* That somebody is a guest is known here alone, so here it is decided, by what the other servers tell of the room. */
static void join_as_guest(gr_call *c);

static void on_guest_look(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_json *told = NULL;
    bool good = !gr_failed(a->err) && a->type == &gr_type_result
        && !gr_failed(gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &told))
        && gr_str_eq(gr_json_string(gr_json_path(told, "room/room_id")), h->room_id);
    h->next++;
    if (!good) join_as_guest(c);
    else if (gr_json_boolean(gr_json_path(told, "room/guest_can_join"), false)) gr_outside_join(c, &h->outside);
    else gr_call_fail_with(c, GR_GUEST_ACCESS_FORBIDDEN, "Guests may not join this room");
}

static void join_as_guest(gr_call *c)
{
    const change *h = c->state;
    if (h->next == h->outside.servers.count) {
        gr_call_fail_with(c, GR_GUEST_ACCESS_FORBIDDEN, "No server tells whether guests may join this room");
        return;
    }
    gr_str uri = gr_arena_cat(c->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/hierarchy/"),
                                                      gr_uri_encode(c->arena, h->room_id)});
    gr_remote_ask(c, h->outside.servers.at[h->next], "GET", uri, (gr_str){0}, on_guest_look, 0);
}

static void go_outside(gr_call *c)
{
    change *h = c->state;
    bool leaves = gr_str_is(h->m.action, "leave");
    h->times_outside++;
    h->next = 0;
    h->err = gr_ok();
    h->outside.room_id = h->room_id;
    h->outside.content = content_of(c, h, !leaves);
    h->outside.then = on_outside;
    if (c->guest && gr_str_is(h->m.action, "join")) join_as_guest(c);
    else if (leaves) gr_outside_leave(c, &h->outside);
    else if (gr_str_is(h->m.action, "knock")) gr_outside_knock(c, &h->outside);
    else gr_outside_join(c, &h->outside);
}

static void add_servers_of(gr_call *c, const gr_user_outside_is *is)
{
    change *h = c->state;
    for (size_t i = 0; i < is->users.count; i++) gr_outside_add(c, &h->outside, gr_ident_domain(is->users.at[i]));
    gr_outside_add(c, &h->outside, gr_ident_domain(h->room_id));
}

static void on_look(gr_call *c, const gr_answer *a)
{
    const gr_user_outside_is *is = a->body;
    if (!gr_failed(a->err)) add_servers_of(c, is);
    arrive(c);
}

static void ask_look(gr_call *c, gr_call_then *then)
{
    gr_user_outside_look m = {.room_id = ((const change *)c->state)->room_id};
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_outside_look, &m, then);
}

static void on_profile(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_user_profile_is *profile = a->body;
    if (!gr_failed(a->err)) {
        h->m.displayname = gr_call_keep(c, profile->displayname);
        h->m.avatar_url = gr_call_keep(c, profile->avatar_url);
        if (profile->blocks_invites && gr_str_is(h->m.action, "invite"))
            h->err = gr_fail(GR_INVITE_BLOCKED, "The user wants no invites");
    } else if (a->err.code != GR_NOT_FOUND || !gr_str_eq(h->m.user, h->m.target)) {
        h->err = gr_call_keep_err(c, a->err);
    }
    arrive(c);
}

static gr_strs kept_strs(gr_call *c, gr_strs strs)
{
    gr_strs kept = {gr_arena_alloc(c->arena, (strs.count + 1) * sizeof(gr_str)), strs.count};
    for (size_t i = 0; i < strs.count; i++) kept.at[i] = gr_call_keep(c, strs.at[i]);
    return kept;
}

static void on_in_rooms(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_user_in_rooms *in = a->body;
    if (gr_failed(a->err)) h->err = gr_call_keep_err(c, a->err);
    else h->m.member_of = kept_strs(c, in->rooms);
    arrive(c);
}

static void on_allows(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_room_allows_rooms *allows = a->body;
    if (gr_failed(a->err) && !gr_failed(h->err)) h->err = gr_call_keep_err(c, a->err);
    if (!gr_failed(a->err)) h->vouchers = kept_strs(c, allows->servers);
    if (gr_failed(a->err) || allows->rooms.count == 0) {
        arrive(c);
        return;
    }
    gr_user_in_rooms body = {.rooms = allows->rooms};
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_in_rooms, &body, on_in_rooms);
}

static void ask_profile(gr_call *c, gr_str user)
{
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, user), &gr_type_user_profile, &(gr_user_profile){0},
                on_profile);
}

/* From here on it is the join of somebody who is invited. */
static void on_accepted(gr_call *c, gr_err err)
{
    if (gr_failed(err)) gr_call_fail(c, err);
    else enter(c);
}

static void accept(gr_call *c)
{
    change *h = c->state;
    gr_threepid_accept *t = &h->accept;
    const gr_json *signed_by = t->signed_by;
    h->is_accepted = true;
    *t = (gr_threepid_accept){.room_id = h->room_id, .sender = gr_json_text(signed_by, "sender"), .user = c->user,
                              .signed_by = signed_by, .then = on_accepted};
    gr_outside_add(c, &h->outside, gr_ident_domain(t->sender));
    if (gr_call_fits(c, gr_ident_user(t->sender), "'third_party_signed' does not name its sender")) gr_threepid_accept_send(c, t);
}

static void enter(gr_call *c)
{
    change *h = c->state;
    if (h->accept.signed_by && !h->is_accepted) {
        accept(c);
        return;
    }
    h->waiting = 3;
    ask_profile(c, c->user);
    ask_look(c, on_look);
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, h->room_id), &gr_type_room_allows,
                &(gr_room_allows){.user = c->user}, on_allows);
}

static void on_alias(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_json *value = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &value);
    h->room_id = gr_json_text(value, "room_id");
    if (gr_failed(err)) gr_call_fail(c, err);
    else enter(c);
}

static void on_remote_alias(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_json *object = gr_remote_object(c, a), *servers = gr_json_get(object, "servers");
    if (!object) return;
    h->room_id = gr_json_text(object, "room_id");
    if (!gr_ident_room(h->room_id)) {
        gr_call_fail_with(c, GR_BAD_GATEWAY, "The other server's answer makes no sense");
        return;
    }
    for (uint32_t i = 0; gr_json_is(servers, GR_JSON_ARRAY) && i < servers->count; i++)
        gr_outside_add(c, &h->outside, gr_json_string(&servers->items[i]));
    enter(c);
}

static void ask_alias(gr_call *c, gr_str alias)
{
    change *h = c->state;
    gr_str uri = gr_arena_cat(c->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/query/directory?room_alias="),
                                                      gr_uri_encode(c->arena, alias)});
    gr_outside_add(c, &h->outside, gr_ident_domain(alias));
    gr_remote_ask(c, gr_ident_domain(alias), "GET", uri, (gr_str){0}, on_remote_alias, 0);
}

static void serve_enter(gr_call *c, const char *action, const char *param)
{
    gr_str id = gr_call_param(c, param);
    change *h = begin(c, action, c->user);
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
    if (gr_call_fits(c, gr_ident_room(id), "The path holds neither a room id nor a room alias")) enter(c);
}

static void serve_join(gr_call *c) { serve_enter(c, "join", "roomId"); }
static void serve_join_alias(gr_call *c) { serve_enter(c, "join", "roomIdOrAlias"); }
static void serve_knock(gr_call *c) { serve_enter(c, "knock", "roomIdOrAlias"); }

/* --- the others ---------------------------------------------------------------------------------------- */
static change *begin_on_path(gr_call *c, const char *action, gr_str target)
{
    change *h = begin(c, action, target);
    h->room_id = gr_call_param(c, "roomId");
    bool good = gr_call_fits(c, gr_ident_room(h->room_id), "The path holds no valid room id")
                && gr_call_may_str(c, "reason", &h->m.reason);
    return good ? h : NULL;
}

/* A room that is here needs no account to be left: it tells the user later. */
static void on_leaving(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_user_outside_is *is = a->body;
    if (a->err.code == GR_UNAVAILABLE) {
        h->err = gr_call_keep_err(c, a->err);
        ask_change(c);
    } else if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
    } else if (is->is_outside) {
        add_servers_of(c, is);
        go_outside(c);
    } else {
        ask_change(c);
    }
}

static void serve_leave(gr_call *c)
{
    if (begin_on_path(c, "leave", c->user)) ask_look(c, on_leaving);
}

static change *begin_on_user(gr_call *c, const char *action)
{
    gr_str target;
    if (!gr_call_want_str(c, "user_id", &target)) return NULL;
    return gr_call_fits(c, gr_ident_user(target), "user_id is not a user id") ? begin_on_path(c, action, target)
                                                                      : NULL;
}

static void serve_kick(gr_call *c)
{
    if (begin_on_user(c, "kick")) ask_change(c);
}

static void serve_ban(gr_call *c)
{
    if (begin_on_user(c, "ban")) ask_change(c);
}

static void serve_unban(gr_call *c)
{
    if (begin_on_user(c, "unban")) ask_change(c);
}

static void on_invited(gr_call *c, gr_err err)
{
    if (gr_failed(err)) gr_call_fail(c, err);
    else gr_call_empty(c);
}

static void invite_outside(gr_call *c)
{
    const change *h = c->state;
    gr_inviting *v = gr_arena_alloc(c->arena, sizeof *v);
    *v = (gr_inviting){.room_id = h->room_id, .then = on_invited,
                       .invite = {.user = c->user, .target = h->m.target, .reason = h->m.reason}};
    gr_inviting_send(c, v);
}

static void invite(gr_call *c)
{
    change *h = c->state;
    if (!gr_ident_is_local(h->m.target, gr_call_server_name(c))) {
        invite_outside(c);
        return;
    }
    h->waiting = 1;
    ask_profile(c, h->m.target);
}

static void on_threepid(gr_call *c, gr_err err, gr_str user)
{
    change *h = c->state;
    h->m.target = user;
    if (gr_failed(err)) gr_call_fail(c, err);
    else if (user.size) invite(c);
    else gr_call_empty(c);
}

static void invite_threepid(gr_call *c)
{
    change *h = begin_on_path(c, "invite", (gr_str){0});
    if (!h) return;
    gr_threepid_invite *t = &h->threepid;
    *t = (gr_threepid_invite){.room_id = h->room_id, .then = on_threepid};
    if (!gr_call_want_str(c, "id_server", &t->id_server) || !gr_call_want_str(c, "id_access_token", &t->token)
        || !gr_call_want_str(c, "medium", &t->medium) || !gr_call_want_str(c, "address", &t->address))
        return;
    if (gr_call_fits(c, gr_str_is(t->medium, "email"), "Only e-mail addresses can be invited")
        && gr_call_fits(c, gr_ident_server_name(t->id_server), "'id_server' is not the name of a server"))
        gr_threepid_invite_send(c, t);
}

static void serve_invite(gr_call *c)
{
    if (!gr_json_get(c->json, "user_id") && gr_json_get(c->json, "address")) invite_threepid(c);
    else if (begin_on_user(c, "invite")) invite(c);
}

#define V3 "/_matrix/client/(r0|v3)"
#define ROOMS V3 "/rooms/{roomId}"

const gr_call_route gr_routes_member[] = {
    {GR_HTTP_POST, ROOMS "/join", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN, serve_join,
     .guest_ok = true},
    {GR_HTTP_POST, V3 "/join/{roomIdOrAlias}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN,
     serve_join_alias, .guest_ok = true},
    {GR_HTTP_POST, V3 "/knock/{roomIdOrAlias}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN,
     serve_knock},
    {GR_HTTP_POST, ROOMS "/leave", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN, serve_leave,
     .guest_ok = true},
    {GR_HTTP_POST, ROOMS "/invite", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_invite},
    {GR_HTTP_POST, ROOMS "/kick", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_kick},
    {GR_HTTP_POST, ROOMS "/ban", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_ban},
    {GR_HTTP_POST, ROOMS "/unban", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_unban},
    {.pattern = NULL}};
