/* send.c - messages, state and redactions that a local user sends. See room.h.
 *
 * Client-server API, "Sending events to a room" and "Redactions".
 */
#include "actors/room/graph.h"
#include "actors/room/policy.h"

/* --- checks beyond those of authorisation -------------------------------------------------------------- */
/* Own events, or the power to redact those of others; that of the domain alone is for other servers' users.
 * */
static gr_err check_redaction(gr_room *room, gr_ctx *ctx, const gr_room_draft *d)
{
    uint64_t number;
    gr_room_record target;
    gr_room_nodes nodes;
    if (d->redacts.size == 0)
        return gr_fail(GR_MISSING_PARAM, "A redaction must name the event that it redacts");
    if (!gr_room_number_of(ctx, d->redacts, &number) || !gr_room_record_at(ctx, number, &target))
        return gr_fail(GR_NOT_FOUND, "The event to be redacted is not in this room");
    if (gr_str_is(target.type, "m.room.create"))
        return gr_fail(GR_FORBIDDEN, "The event that created the room can't be redacted");
    if (gr_str_eq(target.sender, d->sender)) return gr_ok();
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    gr_powers powers = gr_auth_powers(room->version, &state);
    if (gr_power_of_user(&powers, d->sender) >= gr_power_for(&powers, "redact")) return gr_ok();
    return gr_fail(GR_FORBIDDEN,
                   "You can redact your own events only: redacting those of others needs more power");
}

static bool has_parent(gr_room *room, gr_ctx *ctx, uint64_t number)
{
    gr_room_record r;
    gr_event e;
    return gr_room_record_at(ctx, number, &r) && gr_room_event_of(room, gr_ctx_arena(ctx), &r, &e)
           && gr_json_text(gr_json_get(e.content, "m.relates_to"), "rel_type").size > 0;
}

static gr_err check_relation(gr_room *room, gr_ctx *ctx, const gr_room_draft *d, const gr_json *content)
{
    gr_room_relation rel;
    if (!gr_room_relation_of(ctx, content, &rel)) return gr_ok();
    if (gr_str_is(rel.rel_type, "m.thread") && has_parent(room, ctx, rel.target))
        return gr_fail(GR_REFUSED, "A thread can't begin with an event that itself relates to another");
    if (!gr_str_is(rel.rel_type, "m.annotation")) return gr_ok();
    if (!gr_room_annotated(ctx, rel.target, d->sender, d->type, rel.key)) return gr_ok();
    return gr_fail(GR_DUPLICATE_ANNOTATION, "You have already annotated that event in this way");
}

static gr_err check(gr_room *room, gr_ctx *ctx, gr_room_draft *d, const gr_json *content)
{
    if (gr_str_is(d->type, "m.room.create"))
        return gr_fail(GR_FORBIDDEN, "A room has just one m.room.create event: the one that made it");
    if (!d->has_state_key && gr_str_is(d->type, "m.room.redaction")) {
        if (d->redacts.size == 0) d->redacts = gr_json_text(content, "redacts");
        return check_redaction(room, ctx, d);
    }
    return gr_json_get(content, "m.relates_to") ? check_relation(room, ctx, d, content) : gr_ok();
}

/* The same state sent again by the same user is no new event. */
static const gr_event *same_state(gr_room *room, gr_ctx *ctx, const gr_room_draft *d, const gr_json *content)
{
    if (!d->has_state_key) return NULL;
    const gr_event *now = gr_room_state(room, ctx, d->type, d->state_key);
    return now && gr_str_eq(now->sender, d->sender) && gr_json_equal(now->content, content) ? now : NULL;
}

void gr_room_on_send(gr_room *room, gr_ctx *ctx, const gr_room_send *m)
{
    gr_str event_id;
    uint64_t pos;
    gr_room_made made;
    const gr_json *content;
    if (gr_room_txn_seen(room, ctx, m->user, m->device, m->txn, &event_id, &pos)) {
        gr_room_answer_sent(room, ctx, event_id, pos);
        return;
    }
    if (m->is_state && gr_str_is(m->type, "m.room.member")) {
        gr_room_member_by_content(room, ctx, m);
        return;
    }
    gr_room_draft d = {.sender = m->user,
                       .type = m->type,
                       .state_key = m->state_key,
                       .has_state_key = m->is_state,
                       .content = m->content,
                       .redacts = m->redacts,
                       .ts = m->ts};
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), m->content, room->version->json, &content);
    if (!gr_failed(err)) err = check(room, ctx, &d, content);
    const gr_event *same = gr_failed(err) ? NULL : same_state(room, ctx, &d, content);
    if (same) {
        gr_room_answer_sent(room, ctx, same->event_id, 0);
        return;
    }
    if (!gr_failed(err) && gr_room_policy_asks(room, ctx, &d, &gr_type_room_send, m)) return;
    if (!gr_failed(err)) err = gr_room_build(room, ctx, &d, &made);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    gr_room_txn_keep(room, ctx, m->user, m->device, m->txn, &made);
    gr_room_finish(room, ctx, &made, false);
}
