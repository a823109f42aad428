/* routes_resident.c - other servers' users join, leave and knock through this server. Server-server API, "Joining Rooms",
 * "Knocking upon a room", "Leaving Rooms".
 *
 * Both halves of the handshake begin alike: the room tells whether the server may ask at all, and in a restricted room which
 * rooms would let the user in; these are asked whether the user is there.  The room decides again when it makes the template,
 * and when it takes the event.
 */
#include "edge/edge.h"
#include "edge/event_list.h"
#include "edge/fan.h"
#include "edge/policy.h"
#include "edge/routes.h"
#include "edge/signed_events.h"

#include "proto/ident.h"

enum { CONDITIONS_MAX = 64 };          /* rooms looked at whose members may join */

typedef struct {
    gr_str room_id, user, membership;
    bool is_send, is_v1;               /* else: a template is wanted */
    const gr_room_version *version;
    gr_fan fan;
    gr_strs conditions, member_of;
    bool must_vouch, some_unknown;
    gr_signed_event event;
    gr_str event_id;
    gr_room_offer offer;
    gr_event_list state, chain;
} handshake;

static gr_str room_address(gr_call *call)
{
    return gr_call_address(call, GR_KIND_ROOM, ((const handshake *)call->state)->room_id);
}

/* --- templates ------------------------------------------------------------------------------------------ */
static void ask_template(gr_call *call)
{
    const handshake *h = call->state;
    gr_room_template m = {.origin = call->origin, .user = h->user, .membership = h->membership, .member_of = h->member_of};
    gr_call_pass(call, room_address(call), &gr_type_room_template, &m);
}

/* --- answers to events that were taken ------------------------------------------------------------------ */
/* Version 1 of send_join and send_leave answers [200, object]. */
static void answer(gr_call *call, gr_buf *object)
{
    gr_buf out = {0};
    if (((const handshake *)call->state)->is_v1) {
        gr_buf_str(&out, GR_STR("[200,"));
        gr_buf_str(&out, gr_buf_view(object));
        gr_buf_char(&out, ']');
        gr_buf_free(object);
        *object = out;
    }
    gr_call_json_take(call, 200, object);
}

static void end_join(gr_call *call)
{
    gr_stream_write(call, ((const handshake *)call->state)->is_v1 ? GR_STR("]}]") : GR_STR("]}"));
    gr_stream_end(call);
}

static void get_state(gr_call *call)
{
    handshake *h = call->state;
    h->state = (gr_event_list){.room = room_address(call), .list = {.event_id = h->event_id}, .then = end_join};
    h->state.head = gr_arena_printf(call->arena,
                                    "],\"event\":%" GR_FMT ",\"members_omitted\":false,\"origin\":\"%" GR_FMT "\",\"state\":[",
                                    GR_ARG(h->event.text), GR_ARG(gr_call_server_name(call)));
    gr_event_list_get(call, &h->state);
}

/* The event, the state before it and its auth chain: as large as the room, and sent as it comes from there. */
static void answer_join(gr_call *call)
{
    handshake *h = call->state;
    gr_str omit = {0};
    bool reduced = gr_call_query(call, "omit_members", &omit) && gr_str_is(omit, "true");
    h->chain = (gr_event_list){.room = room_address(call), .then = get_state,
                               .head = h->is_v1 ? GR_STR("[200,{\"auth_chain\":[") : GR_STR("{\"auth_chain\":["),
                               .list = {.event_id = h->event_id, .chain = true, .without_state = reduced}};
    gr_event_list_get(call, &h->chain);
}

static void on_taken(gr_call *call, const gr_answer *a)
{
    handshake *h = call->state;
    gr_buf out = {0};
    if (gr_policy_takes_offer(call, a, h->room_id, &h->offer, on_taken)) return;
    if (gr_failed(a->err) || a->type != &gr_type_room_taken) {
        gr_call_fail(call, gr_failed(a->err) ? a->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    if (gr_str_is(h->membership, "join")) {
        answer_join(call);
        return;
    }
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (gr_str_is(h->membership, "knock")) gr_jw_kraw(&w, "knock_room_state", ((const gr_room_taken *)a->body)->state);
    gr_jw_end_object(&w);
    answer(call, &out);
}

/* --- events --------------------------------------------------------------------------------------------- */
static void offer(gr_call *call)
{
    handshake *h = call->state;
    if (!gr_signed_event_fits(call, &h->event, h->room_id)) return;
    h->event_id = h->event.event.event_id;
    h->offer = (gr_room_offer){.origin = call->origin, .event = h->event.text, .member_of = h->member_of};
    gr_call_ask(call, room_address(call), &gr_type_room_offer, &h->offer, on_taken);
}

/* A member of this server vouches for the join: then this server signs the event, too. */
static gr_err sign_if_vouching(gr_call *call, const gr_json **event)
{
    const handshake *h = call->state;
    gr_event_built built;
    gr_str by = gr_json_string(gr_json_path(*event, "content/join_authorised_via_users_server"));
    if (!h->version->restricted || by.size == 0 || !gr_ident_is_local(by, gr_call_server_name(call))) return gr_ok();
    gr_err err = gr_event_sign(call->arena, h->version, *event, call->edge->env->signer, &built);
    return gr_failed(err) ? err : gr_json_parse(call->arena, built.text, GR_JSON_LAX, event);
}

static void check_event(gr_call *call)
{
    handshake *h = call->state;
    const gr_json *event = call->json;
    gr_err err = sign_if_vouching(call, &event);
    if (gr_failed(err)) {
        gr_call_fail_with(call, GR_INVALID_PARAM, err.text);
        return;
    }
    h->event = (gr_signed_event){.version = h->version, .json = event};
    gr_signed_events_check(call, &h->event, 1, offer);
}

/* --- the beginning of both ------------------------------------------------------------------------------ */
static void proceed(gr_call *call)
{
    const handshake *h = call->state;
    if (h->must_vouch && h->member_of.count == 0 && h->some_unknown)
        gr_call_fail_with(call, GR_UNABLE_TO_AUTHORISE_JOIN,
                          "This server does not know all rooms whose members may join this one: ask another");
    else if (h->is_send) check_event(call);
    else ask_template(call);
}

static void on_condition(gr_call *call, const gr_answer *a)
{
    handshake *h = call->state;
    const gr_room_membership_is *is = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_room_membership_is) h->some_unknown = true;
    else if (gr_str_is(is->membership, "join")) h->member_of.at[h->member_of.count++] = h->conditions.at[a->number];
    gr_fan_answered(&h->fan, call);
}

static void ask_condition(gr_call *call, size_t number)
{
    const handshake *h = call->state;
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_ROOM, h->conditions.at[number]), &gr_type_room_has_member,
                     &(gr_room_has_member){.user = h->user}, on_condition, number, GR_CALL_TIMEOUT_MS, false);
}

static bool speaks(const gr_call *call, gr_str version)
{
    for (size_t i = 0;; i++) {
        gr_str given = gr_route_query_nth(&call->query, "ver", i);
        if (!given.ptr) return i == 0 && gr_str_is(version, "1");
        if (gr_str_eq(given, version)) return true;
    }
}

static void refuse_version(gr_call *call, gr_str version)
{
    gr_str extra = gr_arena_printf(call->arena, "\"room_version\":\"%" GR_FMT "\"", GR_ARG(version));
    gr_call_fail_status(call, 400, gr_fail(GR_INCOMPATIBLE_ROOM_VERSION, "Your server does not know the version of this room"),
                        extra);
}

static void on_admission(gr_call *call, const gr_answer *a)
{
    handshake *h = call->state;
    const gr_room_admits *admits = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_room_admits) {
        gr_call_fail(call, gr_failed(a->err) ? a->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    h->version = gr_room_version_find(admits->version);
    if (!h->is_send && !gr_str_is(h->membership, "leave") && !speaks(call, admits->version)) {
        refuse_version(call, admits->version);
        return;
    }
    size_t count = admits->rooms.count < CONDITIONS_MAX ? admits->rooms.count : CONDITIONS_MAX;
    h->must_vouch = admits->must_vouch;
    h->some_unknown = count < admits->rooms.count;
    h->conditions.at = gr_arena_alloc(call->arena, (count + 1) * sizeof(gr_str));
    h->member_of.at = gr_arena_alloc(call->arena, (count + 1) * sizeof(gr_str));
    for (size_t i = 0; i < count; i++) h->conditions.at[i] = gr_call_keep(call, admits->rooms.at[i]);
    h->conditions.count = count;
    h->fan = (gr_fan){.count = count, .ask = ask_condition, .finish = proceed};
    gr_fan_go(&h->fan, call);
}

static handshake *begin(gr_call *call, const char *membership)
{
    handshake *h = call->state = gr_arena_alloc(call->arena, sizeof *h);
    *h = (handshake){.room_id = gr_call_param(call, "roomId"), .membership = gr_str_c(membership)};
    return h;
}

static void ask_admission(gr_call *call)
{
    const handshake *h = call->state;
    gr_room_admission m = {.origin = call->origin, .user = h->user, .membership = h->membership};
    if (!gr_call_fits(call, gr_ident_room(h->room_id), "The path holds no valid room id")
        || !gr_call_fits(call, gr_ident_user(h->user), "This is not a user id"))
        return;
    if (!gr_str_eq(gr_ident_domain(h->user), call->origin))
        gr_call_fail_with(call, h->is_send ? GR_INVALID_PARAM : GR_FORBIDDEN, "The user is not of your server");
    else gr_call_ask(call, room_address(call), &gr_type_room_admission, &m, on_admission);
}

static void make(gr_call *call, const char *membership)
{
    begin(call, membership)->user = gr_call_param(call, "userId");
    ask_admission(call);
}

static void take(gr_call *call, const char *membership, bool is_v1)
{
    handshake *h = begin(call, membership);
    h->is_send = true;
    h->is_v1 = is_v1;
    h->user = gr_json_text(call->json, "sender");
    if (!gr_call_fits(call, gr_str_is(gr_json_text(call->json, "type"), "m.room.member"),
                      "The event is not of type m.room.member")
        || !gr_call_fits(call, gr_str_is(gr_json_string(gr_json_path(call->json, "content/membership")), membership),
                         "The event's content.membership is another")
        || !gr_call_fits(call, gr_str_eq(gr_json_text(call->json, "state_key"), h->user),
                         "The event's state_key is not its sender"))
        return;
    ask_admission(call);
}

static void serve_make_join(gr_call *call) { make(call, "join"); }
static void serve_make_leave(gr_call *call) { make(call, "leave"); }
static void serve_make_knock(gr_call *call) { make(call, "knock"); }
static void serve_send_join(gr_call *call) { take(call, "join", false); }
static void serve_send_join_v1(gr_call *call) { take(call, "join", true); }
static void serve_send_leave(gr_call *call) { take(call, "leave", false); }
static void serve_send_leave_v1(gr_call *call) { take(call, "leave", true); }
static void serve_send_knock(gr_call *call) { take(call, "knock", false); }

#define V1 "/_matrix/federation/v1"
#define V2 "/_matrix/federation/v2"

const gr_call_route gr_routes_resident[] = {
    {GR_HTTP_GET, V1 "/make_join/{roomId}/{userId}", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_make_join},
    {GR_HTTP_GET, V1 "/make_leave/{roomId}/{userId}", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_make_leave},
    {GR_HTTP_GET, V1 "/make_knock/{roomId}/{userId}", GR_CALL_SERVER, GR_CALL_NO_BODY, GR_RATE_SERVER, serve_make_knock},
    {GR_HTTP_PUT, V1 "/send_join/{roomId}/{eventId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_send_join_v1},
    {GR_HTTP_PUT, V2 "/send_join/{roomId}/{eventId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_send_join},
    {GR_HTTP_PUT, V1 "/send_leave/{roomId}/{eventId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_send_leave_v1},
    {GR_HTTP_PUT, V2 "/send_leave/{roomId}/{eventId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_send_leave},
    {GR_HTTP_PUT, V1 "/send_knock/{roomId}/{eventId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_send_knock},
    {.pattern = NULL}};
