/* policy.c - see policy.h. */
#include "edge/policy.h"
#include "edge/remote.h"

#include "proto/event.h"

/* --- the signature --------------------------------------------------------------------------------------- */
/* The event with what the policy server signed, beside the signatures that it has. */
static gr_str with_signatures(gr_call *call, const gr_json *event, gr_str via, const gr_json *given)
{
    const gr_json *signatures = gr_json_get(event, "signatures");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; i < event->count; i++) {
        if (gr_str_is(event->members[i].key, "signatures")) continue;
        gr_jw_key_str(&w, event->members[i].key);
        gr_jw_json(&w, &event->members[i].value);
    }
    gr_jw_key(&w, "signatures");
    gr_jw_object(&w);
    for (uint32_t i = 0; i < signatures->count; i++) {
        if (gr_str_eq(signatures->members[i].key, via)) continue;
        gr_jw_key_str(&w, signatures->members[i].key);
        gr_jw_json(&w, &signatures->members[i].value);
    }
    gr_jw_key_str(&w, via);
    gr_jw_json(&w, given);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    const gr_json *whole = NULL;
    gr_str text = gr_arena_str(call->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return gr_failed(gr_json_parse(call->arena, text, GR_JSON_LAX, &whole)) ? text : gr_json_printed(call->arena, whole);
}

static void end(gr_call *call, gr_err err, gr_str event)
{
    gr_policy_ask *p = call->state;
    call->state = p->state;
    p->then(call, gr_failed(err) ? gr_call_keep_err(call, err) : err, event);
}

static void on_signed(gr_call *call, const gr_answer *a)
{
    const gr_policy_ask *p = call->state;
    const gr_json *body = NULL, *event = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(call->arena, gr_call_keep(call, ((const gr_result *)a->body)->body), GR_JSON_LAX, &body);
    if (!gr_failed(err)) err = gr_json_parse(call->arena, p->event, GR_JSON_LAX, &event);
    const gr_json *given = gr_json_get_str(body, p->via);
    if (!gr_failed(err) && !gr_json_is(given, GR_JSON_OBJECT))
        err = gr_fail(GR_FORBIDDEN, "The policy server of the room has not signed the event");
    if (err.code == GR_NOT_FOUND || err.code == GR_UNRECOGNIZED)
        err = gr_fail(GR_FORBIDDEN, "The policy server of the room knows nothing of that");
    end(call, err, gr_failed(err) ? (gr_str){0} : with_signatures(call, event, p->via, given));
}

void gr_policy_sign(gr_call *call, gr_policy_ask *p)
{
    p->state = call->state;
    call->state = p;
    gr_remote_ask(call, p->via, "POST", GR_STR("/_matrix/policy/v1/sign"), p->event, on_signed, 0);
}

/* --- and the room ------------------------------------------------------------------------------------------ */
typedef struct { gr_policy_ask ask; gr_str room_id, txn; gr_call_then *then; void *state; } sending;

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
                       .txn = s->txn};
    gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, s->room_id), &gr_type_room_offer, &m, on_offered);
}

bool gr_policy_takes(gr_call *call, const gr_answer *a, gr_str room_id, gr_str txn, gr_call_then *then)
{
    const gr_room_unsigned *is = a->body;
    if (gr_failed(a->err) || a->type != &gr_type_room_unsigned) return false;
    sending *s = gr_arena_alloc(call->arena, sizeof *s);
    *s = (sending){.ask = {.via = gr_call_keep(call, is->via), .event = gr_call_keep(call, is->event), .then = offer},
                   .room_id = room_id, .txn = txn, .then = then, .state = call->state};
    call->state = s;
    gr_policy_sign(call, &s->ask);
    return true;
}
