/* inviting.c - inviting users of other servers. See inviting.h. */
#include "edge/inviting.h"
#include "edge/remote.h"

#include "proto/ident.h"
#include "proto/uri.h"

static void finish(gr_call *call, gr_err err)
{
    gr_inviting *v = call->state;
    call->state = v->state;
    v->then(call, gr_failed(err) ? gr_call_keep_err(call, err) : err);
}

static gr_str room_address(gr_call *call)
{
    return gr_call_address(call, GR_KIND_ROOM, ((const gr_inviting *)call->state)->room_id);
}

static void on_taken(gr_call *call, const gr_answer *a) { finish(call, a->err); }

static void offer(gr_call *call)
{
    gr_inviting *v = call->state;
    const gr_signed_event *s = &v->signed_event;
    gr_str target = gr_ident_domain(v->invite.target);
    bool is_same = !gr_failed(s->err) && s->shape == GR_EVENT_WHOLE && gr_str_eq(s->event.event_id, v->event_id);
    if (!is_same || !gr_json_get_str(gr_json_get(s->json, "signatures"), target)) {
        finish(call, gr_fail(GR_BAD_GATEWAY, "The other server has not signed the invite"));
        return;
    }
    gr_room_offer m = {.origin = gr_call_server_name(call), .event = s->text, .is_invite = true, .was_asked = true};
    gr_call_ask(call, room_address(call), &gr_type_room_offer, &m, on_taken);
}

static void send_v1(gr_call *call);

/* Of the first version the answer is [200, {"event": ..}], or the object alone. */
static void on_signed(gr_call *call, const gr_answer *a)
{
    gr_inviting *v = call->state;
    const gr_json *body = NULL;
    gr_err err = a->err;
    bool is_old = (err.code == GR_UNRECOGNIZED || err.code == GR_NOT_FOUND) && v->version->event_id == GR_EVENT_ID_CHOSEN;
    if (is_old && !v->is_v1) {
        send_v1(call);
        return;
    }
    if (err.code == GR_MISSING_PARAM || err.code == GR_INVALID_PARAM) err.code = GR_BAD_GATEWAY;   /* no fault of the client */
    if (!gr_failed(err)) err = gr_json_parse(call->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &body);
    if (gr_failed(err)) {
        finish(call, err);
        return;
    }
    if (gr_json_is(body, GR_JSON_ARRAY) && body->count == 2) body = &body->items[1];
    v->signed_event = (gr_signed_event){.version = v->version, .json = gr_json_get(body, "event")};
    if (!gr_json_is(v->signed_event.json, GR_JSON_OBJECT))
        finish(call, gr_fail(GR_BAD_GATEWAY, "The other server's answer to the invite makes no sense"));
    else gr_signed_events_check(call, &v->signed_event, 1, offer);
}

static void put(gr_call *call, const char *version, gr_str content)
{
    const gr_inviting *v = call->state;
    gr_str uri = gr_arena_printf(call->arena, "/_matrix/federation/%s/invite/%" GR_FMT "/%" GR_FMT, version,
                                 GR_ARG(gr_uri_encode(call->arena, v->room_id)),
                                 GR_ARG(gr_uri_encode(call->arena, v->event_id)));
    gr_remote_ask(call, gr_ident_domain(v->invite.target), "PUT", uri, content, on_signed, 0);
}

static void send_v1(gr_call *call)
{
    gr_inviting *v = call->state;
    v->is_v1 = true;
    gr_str text = gr_str_head(v->event, v->event.size - 1);
    put(call, "v1", gr_arena_cat(call->arena, 4, (gr_str[]){text, GR_STR(",\"unsigned\":{\"invite_room_state\":"), v->room_state,
                                                            GR_STR("}}")}));
}

static void send_v2(gr_call *call)
{
    const gr_inviting *v = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kraw(&w, "event", v->event);
    gr_jw_kraw(&w, "invite_room_state", v->room_state);
    gr_jw_kc(&w, "room_version", v->version->id);
    gr_jw_end_object(&w);
    put(call, "v2", gr_buf_view(&out));
    gr_buf_free(&out);
}

static void on_recommended(gr_call *call, gr_err err, gr_str event)
{
    gr_inviting *v = call->state;
    v->event = event;
    if (gr_failed(err)) finish(call, err);
    else send_v2(call);
}

static void on_invited(gr_call *call, const gr_answer *a)
{
    gr_inviting *v = call->state;
    const gr_room_invited *made = a->body;
    if (gr_failed(a->err)) {
        finish(call, a->err);
        return;
    }
    v->version = gr_room_version_find(made->version);
    v->event = gr_call_keep(call, made->event);
    v->event_id = gr_call_keep(call, made->event_id);
    v->room_state = gr_call_keep(call, made->state);
    v->policy = (gr_policy_ask){.via = gr_call_keep(call, made->via), .event = v->event, .then = on_recommended};
    if (v->policy.via.size) gr_policy_sign(call, &v->policy);
    else send_v2(call);
}

void gr_inviting_send(gr_call *call, gr_inviting *v)
{
    v->state = call->state;
    call->state = v;
    gr_call_ask(call, room_address(call), &gr_type_room_invite, &v->invite, on_invited);
}
