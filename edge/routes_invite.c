/* routes_invite.c - users of this server are invited by other servers. Server-server API, "Inviting to a room".
 *
 * The invite is signed and goes back to the inviting server, which tells the room.  When nobody of this server is in the room
 * the user learns of it here; else the room tells them, as it does of every member event.
 */
#include "edge/edge.h"
#include "edge/routes.h"
#include "edge/stripped.h"

#include "proto/ident.h"

typedef struct {
    gr_str room_id;
    const gr_room_version *version;
    const gr_json *json;
    bool is_v1, is_ours;               /* is_ours: somebody of this server is in the room */
    gr_signed_event invite;
    gr_stripped state;
    gr_str stripped, answer;
} invitation;

static void answer(gr_call *call)
{
    const invitation *v = call->state;
    gr_buf out = {0};
    gr_buf_printf(&out, v->is_v1 ? "[200,{\"event\":%" GR_FMT "}]" : "{\"event\":%" GR_FMT "}", GR_ARG(v->answer));
    gr_call_json_take(call, 200, &out);
}

static void on_told(gr_call *call, const gr_answer *a)
{
    if (gr_failed(a->err)) gr_call_fail(call, a->err);
    else answer(call);
}

static void tell_user(gr_call *call)
{
    invitation *v = call->state;
    const gr_event *e = &v->invite.event;
    gr_err err = gr_stripped_write(call, &v->state, e, &v->stripped);
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return;
    }
    gr_user_outside m = {.room_id = v->room_id, .room_version = gr_str_c(v->version->id), .membership = GR_STR("invite"),
                         .event_id = e->event_id, .sender = e->sender, .stripped = v->stripped,
                         .is_direct = gr_json_boolean(gr_json_get(e->content, "is_direct"), false),
                         .encrypted = v->state.encrypted};
    gr_call_ask(call, gr_call_address(call, GR_KIND_USER, e->state_key), &gr_type_user_outside, &m, on_told);
}

static void on_user(gr_call *call, const gr_answer *a)
{
    const gr_user_profile_is *is = a->body;
    if (gr_failed(a->err)) gr_call_fail(call, a->err);
    else if (is->blocks_invites) gr_call_fail_with(call, GR_INVITE_BLOCKED, "The user wants no invites");
    else answer(call);
}

static void sign(gr_call *call)
{
    invitation *v = call->state;
    const gr_event *e = &v->invite.event;
    gr_event_built built;
    if (!gr_signed_event_fits(call, &v->invite, v->room_id)) return;
    gr_err err = gr_event_sign(call->arena, v->version, v->json, call->edge->env->signer, &built);
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return;
    }
    v->answer = built.text;
    if (!v->is_ours) gr_signed_events_check(call, v->state.events, v->state.count, tell_user);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, e->state_key), &gr_type_user_profile, &(gr_user_profile){0},
                     on_user);
}

static void on_admission(gr_call *call, const gr_answer *a)
{
    invitation *v = call->state;
    if (gr_failed(a->err) && a->err.code != GR_NOT_FOUND) {
        gr_call_fail(call, a->err);
        return;
    }
    v->is_ours = !gr_failed(a->err);
    v->invite = (gr_signed_event){.version = v->version, .json = v->json};
    gr_signed_events_check(call, &v->invite, 1, sign);
}

static void begin(gr_call *call, const gr_json *event, const gr_json *state)
{
    invitation *v = call->state;
    gr_str user = gr_json_text(event, "state_key"), sender = gr_json_text(event, "sender");
    v->room_id = gr_call_param(call, "roomId");
    v->json = event;
    if (!gr_call_fits(call, gr_ident_room(v->room_id), "The path holds no valid room id")
        || !gr_call_fits(call, gr_str_is(gr_json_text(event, "type"), "m.room.member"),
                         "The event is not of type m.room.member")
        || !gr_call_fits(call, gr_str_is(gr_json_string(gr_json_path(event, "content/membership")), "invite"),
                         "That is no invite")
        || !gr_call_fits(call, gr_ident_user(sender) && gr_str_eq(gr_ident_domain(sender), call->origin),
                         "The event's sender is not of your server")
        || !gr_call_fits(call, gr_ident_user(user) && gr_ident_is_local(user, gr_call_server_name(call)),
                         "The event's state_key is not a user of this server"))
        return;
    gr_stripped_read(call, v->room_id, v->version, state, &v->state);
    gr_room_admission m = {.origin = call->origin, .user = user, .membership = GR_STR("invite")};
    gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, v->room_id), &gr_type_room_admission, &m, on_admission);
}

static invitation *new_invitation(gr_call *call)
{
    return call->state = gr_arena_alloc(call->arena, sizeof(invitation));
}

static void serve_invite(gr_call *call)
{
    const gr_json *event, *state;
    gr_str version;
    invitation *v = new_invitation(call);
    if (!gr_call_want_str(call, "room_version", &version) || !gr_call_want(call, "event", GR_JSON_OBJECT, &event)
        || !gr_call_may(call, "invite_room_state", GR_JSON_ARRAY, &state))
        return;
    v->version = gr_room_version_find(version);
    if (v->version) {
        begin(call, event, state);
        return;
    }
    gr_buf extra = {0};
    gr_jw w = gr_jw_begin(&extra);
    gr_jw_str(&w, version);
    gr_call_fail_status(call, 400, gr_fail(GR_INCOMPATIBLE_ROOM_VERSION, "This server does not know the version of that room"),
                        gr_arena_cat(call->arena, 2, (gr_str[]){GR_STR("\"room_version\":"), gr_buf_view(&extra)}));
    gr_buf_free(&extra);
}

/* Only servers that know no other room versions than the first two speak this. */
static void serve_invite_v1(gr_call *call)
{
    invitation *v = new_invitation(call);
    v->version = gr_room_version_find(GR_STR("1"));
    v->is_v1 = true;
    begin(call, call->json, gr_json_path(call->json, "unsigned/invite_room_state"));
}

#define V1 "/_matrix/federation/v1"
#define V2 "/_matrix/federation/v2"

const gr_call_route gr_routes_invite[] = {
    {GR_HTTP_PUT, V2 "/invite/{roomId}/{eventId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_invite},
    {GR_HTTP_PUT, V1 "/invite/{roomId}/{eventId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_invite_v1},
    {.pattern = NULL}};
