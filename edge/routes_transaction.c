/* routes_transaction.c - what other servers push: transactions of PDUs and EDUs. Server-server API, "Transactions".
 *
 * A transaction is taken once (actors/inbound).  Its parts are asked of the actors they are for, and it is answered when all
 * that must not be lost is durable there.  EDUs that speak of users of a third server, or make no sense, are left out: the
 * others of the transaction do not suffer for them.
 */
#include "edge/edge.h"
#include "edge/fan.h"
#include "edge/incoming.h"
#include "edge/routes.h"

#include "proto/ident.h"

enum {
    EDUS_MAX = 100,                    /* specification */
    PARTS_MAX = 2000,                  /* of all EDUs together: users written to, receipts */
    MESSAGE_ID_MAX = 128,              /* bytes: 32 characters */
    TYPING_MS = 30000                  /* a server that is cut off does not say that its users stopped */
};

typedef struct {
    gr_str to;
    const gr_type *type;
    const void *body;
    bool must_hold;                    /* the transaction fails when this does */
} part;

typedef struct {
    gr_incoming pdus;                  /* first: see there */
    gr_fan fan;
    gr_str txn_id, reply;
    part *parts;
    size_t count;
    bool is_over, is_failed;           /* is_over: more parts than are taken */
} transaction;

static gr_str inbound_address(gr_call *call) { return gr_call_address(call, GR_KIND_INBOUND, call->origin); }

static bool is_of_origin(gr_call *call, gr_str user)
{
    return gr_ident_user(user) && gr_str_eq(gr_ident_domain(user), call->origin);
}

static void *add_part(gr_call *call, gr_str to, const gr_type *type, bool must_hold)
{
    transaction *t = call->state;
    void *body = gr_arena_alloc(call->arena, type->size);
    if (t->count == PARTS_MAX) t->is_over = true;
    else t->parts[t->count++] = (part){to, type, body, must_hold};
    return body;
}

/* --- EDUs -------------------------------------------------------------------------------------------------- */
static void take_typing(gr_call *call, const gr_json *content)
{
    gr_str room_id = gr_json_text(content, "room_id"), user = gr_json_text(content, "user_id");
    const gr_json *typing = gr_json_get(content, "typing");
    if (!is_of_origin(call, user) || !gr_ident_room(room_id) || !gr_json_is(typing, GR_JSON_BOOL)) return;
    gr_room_typing *m = add_part(call, gr_call_address(call, GR_KIND_ROOM, room_id), &gr_type_room_typing, false);
    *m = (gr_room_typing){.user = user, .typing = typing->boolean, .timeout_ms = TYPING_MS};
}

static void take_receipts_of(gr_call *call, gr_str room_id, const gr_json *by_user)
{
    for (uint32_t i = 0; gr_json_is(by_user, GR_JSON_OBJECT) && i < by_user->count; i++) {
        gr_str user = by_user->members[i].key;
        const gr_json *told = &by_user->members[i].value, *ids = gr_json_get(told, "event_ids");
        gr_str event_id = gr_json_is(ids, GR_JSON_ARRAY) && ids->count ? gr_json_string(&ids->items[0]) : (gr_str){0};
        if (!is_of_origin(call, user) || !gr_ident_event(event_id)) continue;
        gr_room_receipt *m = add_part(call, gr_call_address(call, GR_KIND_ROOM, room_id), &gr_type_room_receipt, false);
        *m = (gr_room_receipt){.user = user, .type = GR_STR("m.read"), .event_id = event_id,
                               .thread = gr_json_string(gr_json_path(told, "data/thread_id"))};
    }
}

static void take_receipts(gr_call *call, const gr_json *content)
{
    for (uint32_t i = 0; gr_json_is(content, GR_JSON_OBJECT) && i < content->count; i++)
        if (gr_ident_room(content->members[i].key))
            take_receipts_of(call, content->members[i].key, gr_json_get(&content->members[i].value, "m.read"));
}

static void take_to_device(gr_call *call, const gr_json *content)
{
    gr_str sender = gr_json_text(content, "sender"), type = gr_json_text(content, "type");
    gr_str message_id = gr_json_text(content, "message_id");
    const gr_json *messages = gr_json_get(content, "messages");
    bool good = is_of_origin(call, sender) && type.size && type.size <= GR_IDENT_MAX && message_id.size
        && message_id.size <= MESSAGE_ID_MAX && gr_json_is(messages, GR_JSON_OBJECT);
    for (uint32_t i = 0; good && i < messages->count; i++) {
        gr_str user = messages->members[i].key;
        if (!gr_ident_user(user) || !gr_ident_is_local(user, gr_call_server_name(call))) continue;
        gr_to_device_put *m = add_part(call, gr_call_address(call, GR_KIND_USER, user), &gr_type_to_device_put, true);
        *m = (gr_to_device_put){.sender = sender, .type = type, .message_id = message_id,
                                .devices = gr_json_printed(call->arena, &messages->members[i].value)};
    }
}

/* The content goes to the actor of the user that it is about, one of the origin's own. */
static gr_str user_of_edu(gr_call *call, const gr_json *content)
{
    gr_str user = gr_json_text(content, "user_id");
    return is_of_origin(call, user) ? gr_call_address(call, GR_KIND_REMOTE_USER, user) : (gr_str){0};
}

static void take_devices(gr_call *call, const gr_json *content)
{
    gr_str to = user_of_edu(call, content);
    if (to.size == 0) return;
    gr_remote_user_devices *m = add_part(call, to, &gr_type_remote_user_devices, true);
    *m = (gr_remote_user_devices){.content = gr_json_printed(call->arena, content)};
}

static void take_signing(gr_call *call, const gr_json *content)
{
    gr_str to = user_of_edu(call, content);
    if (to.size == 0) return;
    gr_remote_user_signing *m = add_part(call, to, &gr_type_remote_user_signing, true);
    *m = (gr_remote_user_signing){.content = gr_json_printed(call->arena, content)};
}

static void take_presence(gr_call *call, const gr_json *content)
{
    const gr_json *push = gr_json_get(content, "push");
    if (!call->edge->env->presence.is_on || !gr_json_is(push, GR_JSON_ARRAY)) return;
    for (uint32_t i = 0; i < push->count; i++) {
        const gr_json *one = &push->items[i];
        gr_str to = user_of_edu(call, one);
        int64_t ago_ms = gr_json_integer(gr_json_get(one, "last_active_ago"), 0);
        if (to.size == 0) continue;
        gr_presence_told *m = add_part(call, to, &gr_type_presence_told, false);
        *m = (gr_presence_told){.presence = gr_json_text(one, "presence"), .status_msg = gr_json_text(one, "status_msg"),
                                .active_ago_ms = ago_ms > 0 ? (uint64_t)ago_ms : 0};
    }
}

static void take_edu(gr_call *call, const gr_json *edu)
{
    static const struct { const char *type; void (*take)(gr_call *, const gr_json *); } takers[] = {
        {"m.typing", take_typing}, {"m.receipt", take_receipts}, {"m.direct_to_device", take_to_device},
        {"m.device_list_update", take_devices}, {"m.signing_key_update", take_signing},
        {"m.presence", take_presence}};
    gr_str type = gr_json_text(edu, "edu_type");
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        if (gr_str_is(type, takers[i].type)) takers[i].take(call, gr_json_get(edu, "content"));
}

/* --- the answer -------------------------------------------------------------------------------------------- */
static void on_ended(gr_call *call, const gr_answer *a)
{
    const transaction *t = call->state;
    if (gr_failed(a->err)) gr_call_fail(call, a->err);
    else gr_call_json(call, 200, t->reply);
}

/* It is to come again; also when the server that sent it went away before it was answered. */
static void give_up(gr_call *call)
{
    gr_inbound_drop m = {.txn_id = ((const transaction *)call->state)->txn_id};
    gr_port_tell(call->edge->port, inbound_address(call), &gr_type_inbound_drop, &m, call->trace);
}

static void end(gr_call *call)
{
    const transaction *t = call->state;
    if (t->is_failed) {
        give_up(call);
        gr_call_fail_with(call, GR_UNAVAILABLE, "Not all of the transaction could be taken: send it again");
        return;
    }
    gr_inbound_end m = {.txn_id = t->txn_id, .reply = t->reply};
    gr_call_ask(call, inbound_address(call), &gr_type_inbound_end, &m, on_ended);
}

/* --- taking it apart --------------------------------------------------------------------------------------- */
static void on_part(gr_call *call, const gr_answer *a)
{
    transaction *t = call->state;
    t->is_failed |= t->parts[a->number].must_hold && gr_failed(a->err);
    gr_fan_answered(&t->fan, call);
}

static void ask_part(gr_call *call, size_t number)
{
    const part *p = &((const transaction *)call->state)->parts[number];
    gr_call_ask_more(call, p->to, p->type, p->body, on_part, number, GR_CALL_TIMEOUT_MS, false);
}

/* Events first: what EDUs speak of may be in them. */
static void on_pdus(gr_call *call)
{
    transaction *t = call->state;
    t->is_failed |= t->pdus.is_failed;
    t->reply = gr_arena_printf(call->arena, "{\"pdus\":%" GR_FMT "}", GR_ARG(t->pdus.results));
    t->fan = (gr_fan){.count = t->count, .ask = ask_part, .finish = end};
    gr_fan_go(&t->fan, call);
}

static void on_begun(gr_call *call, const gr_answer *a)
{
    const gr_inbound_state *state = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_inbound_state) {
        gr_call_fail(call, gr_failed(a->err) ? a->err : gr_fail(GR_UNKNOWN, "No answer"));
    } else if (state->reply.size) {
        gr_call_json(call, 200, state->reply);
    } else {
        call->on_gone = give_up;
        gr_incoming_take(call);
    }
}

static bool want_list(gr_call *call, const char *key, uint32_t most, const gr_json **out)
{
    if (!gr_call_may(call, key, GR_JSON_ARRAY, out)) return false;
    if (!*out || (*out)->count <= most) return true;
    gr_call_fail(call, gr_failf(call->arena, GR_BAD_JSON, "A transaction has at most %u '%s'", most, key));
    return false;
}

static void serve_send(gr_call *call)
{
    const gr_json *pdus = NULL, *edus = NULL;
    gr_str origin = {0};
    transaction *t = call->state = gr_arena_alloc(call->arena, sizeof *t);
    if (!want_list(call, "pdus", GR_INCOMING_MAX, &pdus) || !want_list(call, "edus", EDUS_MAX, &edus)
        || !gr_call_may_str(call, "origin", &origin)) return;
    if (origin.size && !gr_str_eq(origin, call->origin)) {
        gr_call_fail_with(call, GR_INVALID_PARAM, "'origin' is not the server that signed the request");
        return;
    }
    t->txn_id = gr_call_param(call, "txnId");
    t->pdus = (gr_incoming){.pdus = pdus, .then = on_pdus};
    t->parts = gr_arena_alloc(call->arena, PARTS_MAX * sizeof *t->parts);
    for (uint32_t i = 0; edus && i < edus->count; i++) take_edu(call, &edus->items[i]);
    gr_inbound_begin m = {.txn_id = t->txn_id};
    if (t->is_over) gr_call_fail_with(call, GR_TOO_LARGE, "The EDUs of the transaction are for too many users and rooms");
    else gr_call_ask_more(call, inbound_address(call), &gr_type_inbound_begin, &m, on_begun, 0, 2 * GR_CALL_TIMEOUT_MS, false);
}

const gr_call_route gr_routes_transaction[] = {
    {GR_HTTP_PUT, "/_matrix/federation/v1/send/{txnId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_send},
    {.pattern = NULL}};
