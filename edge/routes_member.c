/* routes_member.c - memberships and aliases: the client's side. Client-server API, "Room membership", "Room
 * aliases".
 *
 * A join or knock resolves an alias first, then fetches at once the user's profile and what a restricted
 * room asks for.
 */
#include "edge/inviting.h"
#include "edge/outside.h"
#include "edge/remote.h"
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"
#include "proto/uri.h"

enum { CLAIM_MS = 60000 };

/* One membership change on its way. */
typedef struct {
    gr_str room_id;
    gr_room_member m;
    unsigned waiting;
    gr_err err;        /* why a fact could not be asked for */
    bool answers_room; /* {"room_id": ...}, else {} */
    bool was_outside;  /* other servers were asked */
    gr_outside outside;
} change;

static bool fits(gr_call *c, bool good, const char *text)
{
    if (!good) gr_call_fail_with(c, GR_INVALID_PARAM, text);
    return good;
}

/* --- asking the room ----------------------------------------------------------------------------------- */
static void go_outside(gr_call *c);
static void enter(gr_call *c);

/* Nobody of this server is in the room: other servers may let the user in. */
static bool is_outside(const change *h, gr_err err)
{
    bool enters = gr_str_is(h->m.action, "join") || gr_str_is(h->m.action, "knock");
    return err.code == GR_NOT_FOUND && enters && !h->was_outside && h->outside.servers.count > 0;
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
    gr_err err = a->err.code == GR_NOT_FOUND && gr_failed(h->err) ? h->err : a->err;
    if (is_outside(h, err)) go_outside(c);
    else if (gr_failed(err)) gr_call_fail(c, err);
    else answer(c);
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
    else if (gr_failed(err)) gr_call_fail(c, err);
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

static void go_outside(gr_call *c)
{
    change *h = c->state;
    bool leaves = gr_str_is(h->m.action, "leave");
    h->was_outside = true;
    h->err = gr_ok();
    h->outside.room_id = h->room_id;
    h->outside.content = content_of(c, h, !leaves);
    h->outside.then = on_outside;
    if (c->guest && !leaves) gr_call_fail_with(c, GR_GUEST_ACCESS_FORBIDDEN, "Guests may not join rooms of other servers");
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

static gr_err kept_error(gr_call *c, gr_err err)
{
    gr_str text = gr_call_keep(c, gr_str_c(err.text));
    return gr_fail(err.code, gr_arena_str(c->arena, text).ptr);
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
        h->err = kept_error(c, a->err);
    }
    arrive(c);
}

static void on_in_rooms(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_user_in_rooms *in = a->body;
    if (gr_failed(a->err)) h->err = kept_error(c, a->err);
    else if (in->rooms.count) {
        h->m.member_of =
            (gr_strs){gr_arena_alloc(c->arena, in->rooms.count * sizeof(gr_str)), in->rooms.count};
        for (size_t i = 0; i < in->rooms.count; i++) h->m.member_of.at[i] = gr_call_keep(c, in->rooms.at[i]);
    }
    arrive(c);
}

static void on_allows(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_room_allows_rooms *allows = a->body;
    if (gr_failed(a->err) && !gr_failed(h->err)) h->err = kept_error(c, a->err);
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

static void enter(gr_call *c)
{
    change *h = c->state;
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
    const gr_json *third_party;
    h->answers_room = true;
    gr_outside_add_queried(c, &h->outside);
    if (!gr_call_may_str(c, "reason", &h->m.reason)
        || !gr_call_may(c, "third_party_signed", GR_JSON_OBJECT, &third_party)) return;
    if (gr_ident_alias(id)) {
        if (!gr_ident_is_local(id, gr_call_server_name(c))) ask_alias(c, id);
        else
            gr_call_ask(c, gr_call_address(c, GR_KIND_NAME, id), &gr_type_name_look, &(gr_name_look){0},
                        on_alias);
        return;
    }
    h->room_id = id;
    if (fits(c, gr_ident_room(id), "The path holds neither a room id nor a room alias")) enter(c);
}

static void serve_join(gr_call *c) { serve_enter(c, "join", "roomId"); }
static void serve_join_alias(gr_call *c) { serve_enter(c, "join", "roomIdOrAlias"); }
static void serve_knock(gr_call *c) { serve_enter(c, "knock", "roomIdOrAlias"); }

/* --- the others ---------------------------------------------------------------------------------------- */
static change *begin_on_path(gr_call *c, const char *action, gr_str target)
{
    change *h = begin(c, action, target);
    h->room_id = gr_call_param(c, "roomId");
    bool good = fits(c, gr_ident_room(h->room_id), "The path holds no valid room id")
                && gr_call_may_str(c, "reason", &h->m.reason);
    return good ? h : NULL;
}

/* A room that is here needs no account to be left: it tells the user later. */
static void on_leaving(gr_call *c, const gr_answer *a)
{
    change *h = c->state;
    const gr_user_outside_is *is = a->body;
    if (a->err.code == GR_UNAVAILABLE) {
        h->err = kept_error(c, a->err);
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
    return fits(c, gr_ident_user(target), "user_id is not a user id") ? begin_on_path(c, action, target)
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

static void serve_invite(gr_call *c)
{
    if (!gr_json_get(c->json, "user_id") && gr_json_get(c->json, "address")) {
        gr_call_fail_with(c, GR_THREEPID_DENIED, "This server sends no invites to third-party identifiers");
        return;
    }
    change *h = begin_on_user(c, "invite");
    if (!h) return;
    if (!gr_ident_is_local(h->m.target, gr_call_server_name(c))) {
        invite_outside(c);
        return;
    }
    h->waiting = 1;
    ask_profile(c, h->m.target);
}

/* --- aliases ------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str alias, room_id, creator, holder;
    gr_err err;
} aliasing;

/* The alias of the path; NULL: it is none, or of another server, and the call was answered. */
static aliasing *alias_of_path(gr_call *c)
{
    aliasing *s = gr_arena_alloc(c->arena, sizeof *s);
    s->alias = gr_call_param(c, "roomAlias");
    c->state = s;
    if (!fits(c, gr_ident_alias(s->alias), "The path holds no valid room alias")) return NULL;
    if (gr_ident_is_local(s->alias, gr_call_server_name(c))) return s;
    gr_call_fail_with(c, GR_INVALID_PARAM, "The alias belongs to another server");
    return NULL;
}

static gr_str name_address(gr_call *c)
{
    return gr_call_address(c, GR_KIND_NAME, ((const aliasing *)c->state)->alias);
}

void gr_routes_alias_known(gr_call *c, const gr_answer *a)
{
    const gr_json *value = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &value);
    if (gr_failed(err)) {
        gr_call_fail(c, err);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", gr_json_text(value, "room_id"));
    const gr_json *servers = gr_json_get(value, "servers");
    if (servers) gr_jw_kjson(&w, "servers", servers);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void remote_alias_known(gr_call *c, const gr_answer *a)
{
    const gr_json *object = gr_remote_object(c, a), *servers = gr_json_get(object, "servers");
    gr_str room_id = gr_json_text(object, "room_id");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    if (!object) return;
    if (!gr_ident_room(room_id) || !gr_json_is(servers, GR_JSON_ARRAY)) {
        gr_call_fail_with(c, GR_BAD_GATEWAY, "The other server's answer makes no sense");
        return;
    }
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", room_id);
    gr_jw_key(&w, "servers");
    gr_jw_array(&w);
    for (uint32_t i = 0; i < servers->count; i++)
        if (gr_ident_server_name(gr_json_string(&servers->items[i]))) gr_jw_json(&w, &servers->items[i]);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void serve_alias_get(gr_call *c)
{
    gr_str alias = gr_call_param(c, "roomAlias");
    if (gr_ident_alias(alias) && !gr_ident_is_local(alias, gr_call_server_name(c))) {
        gr_str uri = gr_arena_cat(c->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/query/directory?room_alias="),
                                                          gr_uri_encode(c->arena, alias)});
        gr_remote_ask(c, gr_ident_domain(alias), "GET", uri, (gr_str){0}, remote_alias_known, 0);
        return;
    }
    if (alias_of_path(c))
        gr_call_ask(c, name_address(c), &gr_type_name_look, &(gr_name_look){0}, gr_routes_alias_known);
}

static void on_released(gr_call *c, const gr_answer *a)
{
    const aliasing *s = c->state;
    (void)a;
    gr_call_fail(c, s->err);
}

/* The room has noted the alias, and it is for good; or it has not, and the name is free again. */
static void on_noted(gr_call *c, const gr_answer *a)
{
    aliasing *s = c->state;
    if (!gr_failed(a->err)) {
        gr_call_pass(c, name_address(c), &gr_type_name_confirm, &(gr_name_confirm){.holder = s->holder});
        return;
    }
    s->err = kept_error(c, a->err);
    gr_call_ask(c, name_address(c), &gr_type_name_release, &(gr_name_release){.holder = s->holder},
                on_released);
}

static void on_claimed(gr_call *c, const gr_answer *a)
{
    aliasing *s = c->state;
    if (a->err.code == GR_ROOM_IN_USE) {
        gr_call_fail_status(c, 409, gr_fail(GR_UNKNOWN, "That room alias exists already"), (gr_str){0});
        return;
    }
    if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
        return;
    }
    gr_room_alias m = {.user = c->user, .alias = s->alias, .add = true, .made_by = c->user};
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, s->room_id), &gr_type_room_alias, &m, on_noted);
}

static void serve_alias_put(gr_call *c)
{
    aliasing *s = alias_of_path(c);
    if (!s || !gr_call_want_str(c, "room_id", &s->room_id)) return;
    if (!fits(c, gr_ident_room(s->room_id), "room_id is not a room id")) return;
    gr_buf value = {0};
    gr_jw w = gr_jw_begin(&value);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", s->room_id);
    gr_jw_key(&w, "servers");
    gr_jw_array(&w);
    gr_jw_str(&w, gr_call_server_name(c));
    gr_jw_end_array(&w);
    gr_jw_kstr(&w, "creator", c->user);
    gr_jw_end_object(&w);
    s->holder = gr_arena_printf(c->arena, "%.*s/%llu", GR_ARG(c->user), (unsigned long long)c->trace);
    gr_name_claim m = {.holder = s->holder, .value = gr_buf_view(&value), .keep_ms = CLAIM_MS};
    gr_call_ask(c, name_address(c), &gr_type_name_claim, &m, on_claimed);
    gr_buf_free(&value);
}

static void on_unnoted(gr_call *c, const gr_answer *a)
{
    const aliasing *s = c->state;
    bool orphan = a->err.code == GR_NOT_FOUND && gr_str_eq(s->creator, c->user); /* the room is gone */
    if (gr_failed(a->err) && !orphan) gr_call_fail(c, a->err);
    else gr_call_pass(c, name_address(c), &gr_type_name_release, &(gr_name_release){0});
}

static void on_doomed(gr_call *c, const gr_answer *a)
{
    aliasing *s = c->state;
    const gr_json *value = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &value);
    if (gr_failed(err)) {
        gr_call_fail(c, err);
        return;
    }
    s->room_id = gr_json_text(value, "room_id");
    s->creator = gr_json_text(value, "creator");
    gr_room_alias m = {.user = c->user, .alias = s->alias, .made_by = s->creator};
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, s->room_id), &gr_type_room_alias, &m, on_unnoted);
}

static void serve_alias_delete(gr_call *c)
{
    if (alias_of_path(c))
        gr_call_ask(c, name_address(c), &gr_type_name_look, &(gr_name_look){0}, on_doomed);
}

static void serve_aliases(gr_call *c)
{
    gr_str room_id = gr_call_param(c, "roomId");
    if (fits(c, gr_ident_room(room_id), "The path holds no valid room id"))
        gr_call_pass(c, gr_call_address(c, GR_KIND_ROOM, room_id), &gr_type_room_aliases,
                     &(gr_room_aliases){.user = c->user});
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
    {GR_HTTP_GET, ROOMS "/aliases", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_aliases},
    {GR_HTTP_GET, V3 "/directory/room/{roomAlias}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ,
     serve_alias_get},
    {GR_HTTP_PUT, V3 "/directory/room/{roomAlias}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_ROOM,
     serve_alias_put},
    {GR_HTTP_DELETE, V3 "/directory/room/{roomAlias}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_ROOM,
     serve_alias_delete},
    {0}};
