/* rescinding.c - telling users that an invite or knock has ended. See rescinding.h. */
#include "edge/edge.h"
#include "edge/incoming.h"

#include "actors/keys/ring.h"
#include "proto/ident.h"

static gr_rescinding *rescinding_of(gr_call *call) { return &((gr_incoming *)call->state)->rescinding; }

static void finish(gr_call *call, gr_err err)
{
    gr_rescinding *r = rescinding_of(call);
    r->err = gr_failed(err) ? gr_call_keep_err(call, err) : err;
    r->then(call);
}

bool gr_rescinding_is(gr_call *call, const gr_json *pdu)
{
    gr_str user = gr_json_text(pdu, "state_key"), sender = gr_json_text(pdu, "sender");
    gr_str membership = gr_json_string(gr_json_path(pdu, "content/membership"));
    return gr_str_is(gr_json_text(pdu, "type"), "m.room.member")
        && (gr_str_is(membership, "leave") || gr_str_is(membership, "ban")) && gr_ident_user(user)
        && gr_ident_is_local(user, gr_call_server_name(call)) && gr_ident_user(sender)
        && gr_str_eq(gr_ident_domain(sender), call->origin);
}

static gr_str user_address(gr_call *call)
{
    const gr_rescinding *r = rescinding_of(call);
    return gr_call_address(call, GR_KIND_USER, gr_json_text(r->pdu, "state_key"));
}

static void on_told(gr_call *call, const gr_answer *a) { finish(call, a->err); }

static gr_err check(gr_call *call, const gr_room_version *version)
{
    gr_rescinding *r = rescinding_of(call);
    gr_ring keys = {r->keys, r->key_count, call->edge->env->signer};
    gr_key_ring ring = {.find = gr_ring_find, .arg = &keys};
    gr_event_shape shape;
    gr_str text;
    r->event_id = gr_event_id(call->arena, version, r->pdu);
    return gr_event_check(call->arena, version, r->pdu, &ring, &r->event, &text, &shape);
}

static void on_look(gr_call *call, const gr_answer *a)
{
    gr_rescinding *r = rescinding_of(call);
    const gr_user_outside_is *is = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_user_outside_is) {
        finish(call, gr_failed(a->err) ? a->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    const gr_room_version *version = gr_room_version_find(is->room_version);
    gr_err err = is->is_outside && version ? check(call, version) : gr_fail(GR_NOT_FOUND, "This server is not in that room");
    if (gr_failed(err)) {
        finish(call, err);
        return;
    }
    gr_user_outside m = {.room_id = r->event.room_id, .membership = gr_json_text(r->event.content, "membership"),
                         .event_id = r->event.event_id, .sender = r->event.sender, .is_rescinded = true};
    gr_call_ask(call, user_address(call), &gr_type_user_outside, &m, on_told);
}

void gr_rescinding_tell(gr_call *call)
{
    gr_user_outside_look m = {.room_id = gr_json_text(rescinding_of(call)->pdu, "room_id")};
    gr_call_ask(call, user_address(call), &gr_type_user_outside_look, &m, on_look);
}
