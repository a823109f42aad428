/* routes_room.c - sending events, and making and changing rooms: the client's side. Client-server API,
 * "Rooms".
 *
 * Rooms ask nobody, so what they need to know about users is fetched here and goes along: profiles with
 * joins and invites, and in which rooms a user is with joins to restricted rooms.
 */
#include "edge/inviting.h"
#include "edge/policy.h"
#include "edge/presence.h"
#include "edge/threepid.h"

#include "proto/catalogue.h"
#include "proto/ident.h"


enum { FLOW_ID_RANDOM = 18, CREATE_TIMEOUT_MS = 30000, ALIASES_MAX = 50, CREATE_INVITES_MAX = 100, CREATE_ADDRESSES_MAX = 10 };

static gr_str room_address(gr_call *c, gr_str room_id) { return gr_call_address(c, GR_KIND_ROOM, room_id); }

/* {"event_id": ...} or {"room_id": ...} */
static void answer_id(gr_call *c, const char *key, gr_str id)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, key, id);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

/* The room id of the path; false: the call was answered. */
static bool room_of_path(gr_call *c, gr_str *room_id)
{
    *room_id = gr_call_param(c, "roomId");
    if (gr_ident_room(*room_id)) return true;
    gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds no valid room id");
    return false;
}

/* --- sending ------------------------------------------------------------------------------------------- */
/* The transaction of the path, with its endpoint; empty: state has none. */
static gr_str txn_of(gr_call *c)
{
    const char *pattern = c->route->pattern;
    if (!strstr(pattern, "{txnId}")) return (gr_str){0};
    return gr_arena_printf(c->arena, "%s/%" GR_FMT, strstr(pattern, "/redact/") ? "redact" : "send",
                           GR_ARG(gr_call_param(c, "txnId")));
}

static void on_event_sent(gr_call *c, const gr_answer *a)
{
    if (gr_policy_takes(c, a, gr_call_param(c, "roomId"), txn_of(c), on_event_sent)) return;
    if (gr_failed(a->err)) gr_call_fail(c, a->err);
    else answer_id(c, "event_id", ((const gr_room_sent *)a->body)->event_id);
}

static void ask_send(gr_call *c, gr_str room_id, gr_room_send *m)
{
    m->user = c->user;
    m->device = c->device;
    m->guest = c->guest;
    m->content = c->text;
    gr_presence_acted(c);
    gr_call_ask(c, room_address(c, room_id), &gr_type_room_send, m, on_event_sent);
}

static void serve_send(gr_call *c)
{
    gr_str room_id;
    if (!room_of_path(c, &room_id)) return;
    gr_room_send m = {.type = gr_call_param(c, "eventType"), .txn = txn_of(c)};
    ask_send(c, room_id, &m);
}

static void serve_redact(gr_call *c)
{
    gr_str room_id, reason;
    if (!room_of_path(c, &room_id) || !gr_call_may_str(c, "reason", &reason)) return;
    gr_room_send m = {.type = GR_STR("m.room.redaction"),
                      .redacts = gr_call_param(c, "eventId"),
                      .txn = txn_of(c)};
    ask_send(c, room_id, &m);
}

/* --- state, and aliases that must point to the room ---------------------------------------------------- */
typedef struct {
    gr_str room_id;
    gr_room_send send;
    unsigned waiting;
    bool bad;
    gr_inviting inviting;
} state_put;

static void on_alias_checked(gr_call *c, const gr_answer *a)
{
    state_put *s = c->state;
    const gr_json *value = NULL;
    if (!gr_failed(a->err)
        && gr_failed(gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &value)))
        value = NULL;
    if (!gr_str_eq(gr_json_text(value, "room_id"), s->room_id)) s->bad = true;
    if (--s->waiting) return;
    if (s->bad) gr_call_fail_with(c, GR_BAD_ALIAS, "An alias in this event does not point to this room");
    else ask_send(c, s->room_id, &s->send);
}

/* alias and alt_aliases of m.room.canonical_alias; what is no string is an empty one. */
static gr_strs aliases_of(gr_call *c, const gr_json *content)
{
    const gr_json *one = gr_json_get(content, "alias"), *list = gr_json_get(content, "alt_aliases");
    bool none = !one || gr_json_is(one, GR_JSON_NULL) || (gr_json_is(one, GR_JSON_STRING) && !gr_json_string(one).size);
    gr_strs out = {gr_arena_alloc(c->arena, (ALIASES_MAX + 1) * sizeof(gr_str)), 0};
    if (!none) out.at[out.count++] = gr_json_string(one);
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count && out.count < ALIASES_MAX; i++)
        out.at[out.count++] = gr_json_string(&list->items[i]);
    return out;
}

static bool among(gr_strs list, gr_str s)
{
    for (size_t i = 0; i < list.count; i++)
        if (gr_str_eq(list.at[i], s)) return true;
    return false;
}

/* Those that the state has already need not be right.  New ones of this server are looked up; others can't be known here. */
static void on_old_aliases(gr_call *c, const gr_answer *a)
{
    state_put *s = c->state;
    const gr_json *old = NULL;
    if (!gr_failed(a->err)
        && gr_failed(gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &old)))
        old = NULL;
    gr_strs aliases = aliases_of(c, c->json), known = aliases_of(c, old);
    for (size_t i = 0; i < aliases.count; i++) {
        if (among(known, aliases.at[i])) continue;
        if (!gr_ident_alias(aliases.at[i])) {
            gr_call_fail_with(c, GR_INVALID_PARAM, "An alias in this event is not a room alias");
            return;
        }
        if (!gr_ident_is_local(aliases.at[i], gr_call_server_name(c))) continue;
        s->waiting++;
        gr_call_ask(c, gr_call_address(c, GR_KIND_NAME, aliases.at[i]), &gr_type_name_look, &(gr_name_look){0},
                    on_alias_checked);
    }
    if (s->waiting == 0) ask_send(c, s->room_id, &s->send);
}

static void check_aliases(gr_call *c)
{
    const state_put *s = c->state;
    gr_room_state_get m = {.user = c->user, .type = s->send.type};
    gr_call_ask(c, room_address(c, s->room_id), &gr_type_room_state_get, &m, on_old_aliases);
}

static void on_invite_put(gr_call *c, gr_err err)
{
    const state_put *s = c->state;
    if (gr_failed(err)) gr_call_fail(c, err);
    else answer_id(c, "event_id", s->inviting.event_id);
}

/* An invite is made together with the server of who is invited. */
static bool is_invite_elsewhere(gr_call *c, const state_put *s)
{
    return gr_str_is(s->send.type, "m.room.member") && gr_str_is(gr_json_text(c->json, "membership"), "invite")
        && gr_ident_user(s->send.state_key) && !gr_ident_is_local(s->send.state_key, gr_call_server_name(c));
}

static void invite_elsewhere(gr_call *c)
{
    state_put *s = c->state;
    s->inviting = (gr_inviting){.room_id = s->room_id, .then = on_invite_put,
                                .invite = {.user = c->user, .target = s->send.state_key, .content = c->text}};
    gr_inviting_send(c, &s->inviting);
}

static void put_state(gr_call *c, gr_str state_key)
{
    state_put *s = c->state = gr_arena_alloc(c->arena, sizeof *s);
    if (!room_of_path(c, &s->room_id)) return;
    s->send = (gr_room_send){.type = gr_call_param(c, "eventType"), .is_state = true, .state_key = state_key};
    bool aliases = gr_str_is(s->send.type, "m.room.canonical_alias") && state_key.size == 0;
    if (aliases) check_aliases(c);
    else if (is_invite_elsewhere(c, s)) invite_elsewhere(c);
    else ask_send(c, s->room_id, &s->send);
}

static void serve_state(gr_call *c) { put_state(c, (gr_str){0}); }
static void serve_state_key(gr_call *c) { put_state(c, gr_call_param(c, "stateKey")); }

/* --- createRoom ---------------------------------------------------------------------------------------- */
/* The room is there; users of other servers are invited one after the other, and it is told also when some can't be. */
typedef struct {
    gr_str answer;
    const gr_json *list, *addresses;   /* user ids; third-party identifiers */
    uint32_t next, next_address;
    gr_inviting inviting;
    gr_threepid_invite threepid;
    gr_room_member member;             /* of a user here whose address it is */
} created;

static void invite_next(gr_call *c);

static void on_invited(gr_call *c, gr_err err)
{
    (void)err;
    invite_next(c);
}

static bool is_direct(const gr_call *c) { return gr_json_boolean(gr_json_get(c->json, "is_direct"), false); }

static void invite_user(gr_call *c, gr_str user)
{
    created *s = c->state;
    s->inviting.invite = (gr_room_invite){.user = c->user, .target = user, .is_direct = is_direct(c)};
    s->inviting.then = on_invited;
    gr_inviting_send(c, &s->inviting);
}

static void on_member(gr_call *c, const gr_answer *a)
{
    (void)a;
    invite_next(c);
}

static void on_invited_profile(gr_call *c, const gr_answer *a)
{
    created *s = c->state;
    const gr_user_profile_is *profile = a->body;
    if (gr_failed(a->err) || profile->blocks_invites) {
        invite_next(c);
        return;
    }
    s->member.displayname = gr_call_keep(c, profile->displayname);
    s->member.avatar_url = gr_call_keep(c, profile->avatar_url);
    gr_call_ask(c, room_address(c, s->inviting.room_id), &gr_type_room_member, &s->member, on_member);
}

static void on_address(gr_call *c, gr_err err, gr_str user)
{
    created *s = c->state;
    s->member = (gr_room_member){.user = c->user, .target = user, .action = GR_STR("invite"), .is_direct = is_direct(c)};
    if (gr_failed(err) || user.size == 0) invite_next(c);
    else if (!gr_ident_is_local(user, gr_call_server_name(c))) invite_user(c, user);
    else gr_call_ask(c, gr_call_address(c, GR_KIND_USER, user), &gr_type_user_profile, &(gr_user_profile){0}, on_invited_profile);
}

/* False: there is none left. */
static bool invite_address(gr_call *c)
{
    created *s = c->state;
    while (s->addresses && s->next_address < s->addresses->count && s->next_address < CREATE_ADDRESSES_MAX) {
        const gr_json *one = &s->addresses->items[s->next_address++];
        s->threepid = (gr_threepid_invite){
            .room_id = s->inviting.room_id, .id_server = gr_json_text(one, "id_server"), .then = on_address,
            .token = gr_json_text(one, "id_access_token"), .medium = gr_json_text(one, "medium"),
            .address = gr_json_text(one, "address")};
        if (!gr_ident_server_name(s->threepid.id_server) || !gr_str_is(s->threepid.medium, "email")) continue;
        gr_threepid_invite_send(c, &s->threepid);
        return true;
    }
    return false;
}

static void invite_next(gr_call *c)
{
    created *s = c->state;
    while (s->list && s->next < s->list->count && s->next < CREATE_INVITES_MAX) {
        gr_str user = gr_json_string(&s->list->items[s->next++]);
        if (!gr_ident_user(user) || gr_ident_is_local(user, gr_call_server_name(c))) continue;
        invite_user(c, user);
        return;
    }
    if (!invite_address(c)) gr_call_json(c, 200, s->answer);
}

static void on_created(gr_call *c, const gr_answer *a)
{
    const gr_json *list = gr_json_get(c->json, "invite"), *addresses = gr_json_get(c->json, "invite_3pid"), *answer = NULL;
    if (gr_failed(a->err) || a->type != &gr_type_result || (!list && !addresses)) {
        gr_call_passed(c, a);
        return;
    }
    created *s = c->state = gr_arena_alloc(c->arena, sizeof *s);
    s->answer = gr_call_keep(c, ((const gr_result *)a->body)->body);
    s->list = list;
    s->addresses = addresses;
    if (gr_failed(gr_json_parse(c->arena, s->answer, GR_JSON_LAX, &answer))) gr_assert(!"a flow answers JSON");
    s->inviting.room_id = gr_json_text(answer, "room_id");
    invite_next(c);
}

static void on_creator(gr_call *c, const gr_answer *a)
{
    gr_create_room m = {.user = c->user, .request = c->text, .guest = c->guest,
                        .shards = gr_call_reached(c)};
    if (gr_failed(a->err) && a->err.code != GR_NOT_FOUND) {
        gr_call_fail(c, a->err);
        return;
    }
    if (!gr_failed(a->err)) {
        const gr_user_profile_is *profile = a->body;
        m.displayname = profile->displayname;
        m.avatar_url = profile->avatar_url;
    }
    gr_str flow = gr_call_address(c, GR_KIND_CREATE, gr_call_new_id(c, FLOW_ID_RANDOM));
    gr_call_ask_more(c, flow, &gr_type_create_room, &m, on_created, 0, CREATE_TIMEOUT_MS, false);
}

static void serve_create(gr_call *c)
{
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_profile, &(gr_user_profile){0},
                on_creator);
}

/* --- upgrades ------------------------------------------------------------------------------------------ */
static void on_upgrader(gr_call *c, const gr_answer *a)
{
    gr_upgrade_room *m = c->state;
    if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
        return;
    }
    const gr_user_profile_is *profile = a->body;
    m->displayname = profile->displayname;
    m->avatar_url = profile->avatar_url;
    m->shards = gr_call_reached(c);
    gr_str flow = gr_call_address(c, GR_KIND_UPGRADE, gr_call_param(c, "roomId"));
    gr_call_ask_more(c, flow, &gr_type_upgrade_room, m, gr_call_passed, 0, CREATE_TIMEOUT_MS, false);
}

static void serve_upgrade(gr_call *c)
{
    gr_str room_id;
    const gr_json *creators;
    gr_upgrade_room *m = c->state = gr_arena_alloc(c->arena, sizeof *m);
    *m = (gr_upgrade_room){.user = c->user};
    if (!room_of_path(c, &room_id) || !gr_call_want_str(c, "new_version", &m->version)
        || !gr_call_may(c, "additional_creators", GR_JSON_ARRAY, &creators)) return;
    uint32_t count = creators ? creators->count : 0;
    m->creators.at = gr_arena_alloc(c->arena, (count + 1) * sizeof(gr_str));
    for (uint32_t i = 0; i < count; i++) m->creators.at[m->creators.count++] = gr_json_string(&creators->items[i]);
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_profile, &(gr_user_profile){0},
                on_upgrader);
}

/* --- the directory's list ------------------------------------------------------------------------------ */
static void serve_listing(gr_call *c)
{
    gr_str room_id;
    if (room_of_path(c, &room_id))
        gr_call_pass(c, room_address(c, room_id), &gr_type_room_listing, &(gr_room_listing){0});
}

static void serve_publish(gr_call *c)
{
    gr_str room_id, visibility;
    if (!room_of_path(c, &room_id) || !gr_call_may_str(c, "visibility", &visibility)) return;
    bool hide = gr_str_is(visibility, "private");
    if (!hide && visibility.size && !gr_str_is(visibility, "public")) {
        gr_call_fail_with(c, GR_INVALID_PARAM, "visibility must be public or private");
        return;
    }
    gr_room_publish m = {.user = c->user, .publish = !hide};
    gr_call_pass(c, room_address(c, room_id), &gr_type_room_publish, &m);
}

#define ROOMS "/_matrix/client/(r0|v3)/rooms/{roomId}"

const gr_call_route gr_routes_room[] = {{GR_HTTP_POST, "/_matrix/client/(r0|v3)/createRoom", GR_CALL_TOKEN,
                                         GR_CALL_JSON_OPTIONAL, GR_RATE_ROOM, serve_create},
                                        {GR_HTTP_POST, ROOMS "/upgrade", GR_CALL_TOKEN, GR_CALL_JSON,
                                         GR_RATE_ROOM, serve_upgrade},
                                        {GR_HTTP_PUT, ROOMS "/send/{eventType}/{txnId}", GR_CALL_TOKEN,
                                         GR_CALL_JSON, GR_RATE_MESSAGE, serve_send, .guest_ok = true},
                                        {GR_HTTP_PUT, ROOMS "/redact/{eventId}/{txnId}", GR_CALL_TOKEN,
                                         GR_CALL_JSON_OPTIONAL, GR_RATE_MESSAGE, serve_redact},
                                        {GR_HTTP_PUT, ROOMS "/state/{eventType}", GR_CALL_TOKEN, GR_CALL_JSON,
                                         GR_RATE_MESSAGE, serve_state, .guest_ok = true},
                                        {GR_HTTP_PUT, ROOMS "/state/{eventType}/{stateKey}", GR_CALL_TOKEN,
                                         GR_CALL_JSON, GR_RATE_MESSAGE, serve_state_key, .guest_ok = true},
                                        {GR_HTTP_GET, "/_matrix/client/(r0|v3)/directory/list/room/{roomId}",
                                         GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_listing},
                                        {GR_HTTP_PUT, "/_matrix/client/(r0|v3)/directory/list/room/{roomId}",
                                         GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_ROOM, serve_publish},
                                        {0}};
