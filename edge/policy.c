/* policy.c - see policy.h. */
#include "edge/policy.h"
#include "edge/remote.h"

#include "actors/policy/policy.h"

/* --- the signature --------------------------------------------------------------------------------------- */
static void end(gr_call *call, gr_err err, gr_str event)
{
    gr_policy_ask *p = call->state;
    call->state = p->state;
    p->then(call, gr_failed(err) ? gr_call_keep_err(call, err) : err, event);
}

static void on_signed(gr_call *call, const gr_answer *a)
{
    const gr_policy_ask *p = call->state;
    gr_str event, answer = gr_failed(a->err) ? (gr_str){0} : gr_call_keep(call, ((const gr_result *)a->body)->body);
    gr_err err = gr_policy_answer(call->arena, p->event, p->via, a->err, answer, &event);
    end(call, err, event);
}

void gr_policy_sign(gr_call *call, gr_policy_ask *p)
{
    p->state = call->state;
    call->state = p;
    gr_remote_ask(call, p->via, "POST", GR_STR(GR_POLICY_SIGN_URI), p->event, on_signed, 0);
}

/* --- and the room ------------------------------------------------------------------------------------------ */
typedef struct {
    gr_policy_ask ask;
    gr_str room_id, txn;
    const gr_room_offer *offered;
    gr_call_then *then;
    void *state;
} sending;

static void on_offered(gr_call *call, const gr_answer *a)
{
    const sending *s = call->state;
    call->state = s->state;
    s->then(call, a);
}

static void offer(gr_call *call, gr_err err, gr_str event)
{
    sending *s = call->state;
    if (gr_failed(err)) {
        on_offered(call, &(gr_answer){.type = &gr_type_error, .err = err});
        return;
    }
    gr_room_offer m = {.origin = gr_call_server_name(call), .event = event, .is_own = true, .device = call->device,
                       .txn = s->txn, .guest = call->guest};
    if (s->offered) {
        m = *s->offered;
        m.event = event;
        m.was_asked = true;
    }
    gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, s->room_id), &gr_type_room_offer, &m, on_offered);
}

static bool takes(gr_call *call, const gr_answer *a, const sending *how)
{
    const gr_room_unsigned *is = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_room_unsigned) return false;
    sending *s = gr_arena_alloc(call->arena, sizeof *s);
    *s = *how;
    s->ask = (gr_policy_ask){.via = gr_call_keep(call, is->via), .event = gr_call_keep(call, is->event), .then = offer};
    s->state = call->state;
    call->state = s;
    gr_policy_sign(call, &s->ask);
    return true;
}

bool gr_policy_takes(gr_call *call, const gr_answer *a, gr_str room_id, gr_str txn, gr_call_then *then)
{
    return takes(call, a, &(sending){.room_id = room_id, .txn = txn, .then = then});
}

bool gr_policy_takes_offer(gr_call *call, const gr_answer *a, gr_str room_id, const gr_room_offer *offered, gr_call_then *then)
{
    return takes(call, a, &(sending){.room_id = room_id, .offered = offered, .then = then});
}
