/* routes_member.c - leaves, invites, kicks and bans. Client-server API, "Leaving rooms", "Banning users in a room". */
#include "edge/inviting.h"
#include "edge/membership.h"
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"

static gr_membership_change *begin_on_path(gr_call *c, const char *action, gr_str target)
{
    gr_membership_change *h = gr_membership_begin(c, action, target);
    h->room_id = gr_call_param(c, "roomId");
    bool good = gr_call_fits(c, gr_ident_room(h->room_id), "The path holds no valid room id")
                && gr_call_may_str(c, "reason", &h->m.reason);
    return good ? h : NULL;
}

/* A room that is here needs no account to be left: it tells the user later. */
static void on_leaving(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    const gr_user_outside_is *is = a->body;
    if (a->err.code == GR_UNAVAILABLE) {
        h->err = gr_call_keep_err(c, a->err);
        gr_membership_ask(c);
    } else if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
    } else if (is->is_outside) {
        gr_membership_add_servers(c, is);
        gr_membership_go_outside(c);
    } else {
        gr_membership_ask(c);
    }
}

static void serve_leave(gr_call *c)
{
    if (begin_on_path(c, "leave", c->user)) gr_membership_look(c, on_leaving);
}

static gr_membership_change *begin_on_user(gr_call *c, const char *action)
{
    gr_str target;
    if (!gr_call_want_str(c, "user_id", &target)) return NULL;
    return gr_call_fits(c, gr_ident_user(target), "user_id is not a user id") ? begin_on_path(c, action, target)
                                                                      : NULL;
}

static void serve_kick(gr_call *c)
{
    if (begin_on_user(c, "kick")) gr_membership_ask(c);
}

static void serve_ban(gr_call *c)
{
    if (begin_on_user(c, "ban")) gr_membership_ask(c);
}

static void serve_unban(gr_call *c)
{
    if (begin_on_user(c, "unban")) gr_membership_ask(c);
}

static void on_invited(gr_call *c, gr_err err)
{
    if (gr_failed(err)) gr_call_fail(c, err);
    else gr_call_empty(c);
}

static void invite_outside(gr_call *c)
{
    const gr_membership_change *h = c->state;
    gr_inviting *v = gr_arena_alloc(c->arena, sizeof *v);
    *v = (gr_inviting){.room_id = h->room_id, .then = on_invited,
                       .invite = {.user = c->user, .target = h->m.target, .reason = h->m.reason}};
    gr_inviting_send(c, v);
}

static void invite(gr_call *c)
{
    gr_membership_change *h = c->state;
    if (!gr_ident_is_local(h->m.target, gr_call_server_name(c))) {
        invite_outside(c);
        return;
    }
    h->waiting = 1;
    gr_membership_profile(c, h->m.target);
}

static void on_threepid(gr_call *c, gr_err err, gr_str user)
{
    gr_membership_change *h = c->state;
    h->m.target = user;
    if (gr_failed(err)) gr_call_fail(c, err);
    else if (user.size) invite(c);
    else gr_call_empty(c);
}

static void invite_threepid(gr_call *c)
{
    gr_membership_change *h = begin_on_path(c, "invite", (gr_str){0});
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
    {GR_HTTP_POST, ROOMS "/leave", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_JOIN, serve_leave,
     .guest_ok = true},
    {GR_HTTP_POST, ROOMS "/invite", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_invite},
    {GR_HTTP_POST, ROOMS "/kick", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_kick},
    {GR_HTTP_POST, ROOMS "/ban", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_ban},
    {GR_HTTP_POST, ROOMS "/unban", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE, serve_unban},
    {.pattern = NULL}};
