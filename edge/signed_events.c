/* signed_events.c - finding the keys of a few events and checking them. See signed_events.h. */
#include "edge/signed_events.h"
#include "edge/edge.h"

#include "actors/keys/ring.h"
#include "actors/keys/wants.h"

enum { KEY_ID_RANDOM = 16 };

typedef struct {
    void *state;                       /* of the call, put back at the end */
    gr_signed_event *events;
    size_t count;
    void (*then)(gr_call *);
    gr_wants wants;
} checking;

static void want_keys(gr_call *call, checking *c, const gr_signed_event *s)
{
    gr_strs signers = gr_event_signers(call->arena, &s->event);
    for (size_t i = 0; i < signers.count; i++)
        gr_wants_add(&c->wants, gr_json_get(s->json, "signatures"), signers.at[i], s->event.origin_server_ts);
}

/* --- checking ----------------------------------------------------------------------------------------------- */
static void finish(gr_call *call, const gr_keys_found *found)
{
    checking *c = call->state;
    gr_ring keys = {found ? found->servers.at : NULL, found ? found->servers.count : 0, call->edge->env->signer};
    gr_key_ring ring = {.find = gr_ring_find, .arg = &keys};
    for (size_t i = 0; i < c->count; i++) {
        gr_signed_event *s = &c->events[i];
        if (!gr_failed(s->err))
            s->err = gr_event_check(call->arena, s->version, s->json, &ring, &s->event, &s->text, &s->shape);
    }
    call->state = c->state;
    c->then(call);
}

static void on_keys(gr_call *call, const gr_answer *a)
{
    finish(call, gr_failed(a->err) || a->type != &gr_type_keys_found ? NULL : a->body);
}

void gr_signed_events_check(gr_call *call, gr_signed_event *events, size_t count, void (*then)(gr_call *))
{
    gr_assert(count <= GR_SIGNED_EVENTS_MAX);
    checking *c = gr_arena_alloc(call->arena, sizeof *c);
    *c = (checking){.state = call->state, .events = events, .count = count, .then = then,
                    .wants = gr_wants_begin(call->arena, gr_call_server_name(call), call->now_ms)};
    call->state = c;
    for (size_t i = 0; i < count; i++) {
        events[i].err = gr_event_from_json(call->arena, events[i].version, events[i].json, &events[i].event);
        if (!gr_failed(events[i].err)) want_keys(call, c, &events[i]);
    }
    if (c->wants.count == 0) {
        finish(call, NULL);
        return;
    }
    gr_keys_find find = {.servers = {c->wants.at, c->wants.count}};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_KEYS, gr_call_new_id(call, KEY_ID_RANDOM)), &gr_type_keys_find, &find,
                     on_keys, 0, 2 * GR_CALL_TIMEOUT_MS, false);
}

bool gr_signed_event_fits(gr_call *call, const gr_signed_event *s, gr_str room_id)
{
    const char *wrong = NULL;
    if (gr_failed(s->err)) wrong = s->err.text;
    else if (!gr_str_eq(s->event.event_id, gr_call_param(call, "eventId"))) wrong = "The path does not hold the id of the event";
    else if (!gr_str_eq(s->event.room_id, room_id)) wrong = "The event is of another room";
    if (wrong) gr_call_fail_with(call, GR_INVALID_PARAM, wrong);
    return !wrong;
}
