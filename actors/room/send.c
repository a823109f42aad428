/* send.c - messages, state and redactions that a local user sends. See room.h.
 *
 * Client-server API, "Sending events to a room" and "Redactions".  A transaction id is remembered in the
 * batch of its event: the room handles one message at a time, so a repeat finds either nothing (and nothing
 * was sent) or the event.
 */
#include "actors/room/graph.h"
#include "actors/room/policy.h"

enum { TXN_SWEPT = 32, TXN_SWEEP_EVERY = 32 };

/* --- transactions -------------------------------------------------------------------------------------- */
static gr_str txn_key(gr_ctx *ctx, gr_str user, gr_str device, gr_str txn)
{
    return gr_room_key_parts(ctx, 'x', 3, (gr_str[]){user, device, txn});
}

/* Rows X lie in order of age; the record has what else is in the key of row x. */
typedef struct {
    uint64_t number;
    gr_str device, name;
} old_txn;
typedef struct {
    gr_arena *arena;
    old_txn at[TXN_SWEPT];
    size_t count;
} old_txns;

static bool collect_txn(void *arg, gr_str key, gr_str value)
{
    old_txns *old = arg;
    ptrdiff_t zero = gr_str_find(value, 0);
    if (key.size != 9 || zero < 0) return true;
    value = gr_arena_str(old->arena, value);
    old->at[old->count++] = (old_txn){gr_u64be(key.ptr + 1), gr_str_head(value, (size_t)zero),
                                      gr_str_from(value, (size_t)zero + 1)};
    return old->count < TXN_SWEPT;
}

bool gr_room_txn_sweep(gr_ctx *ctx, uint64_t *forgotten)
{
    static const char *const endpoints[] = {"send/", "redact/", ""};
    gr_arena *a = gr_ctx_arena(ctx);
    old_txns old = {.arena = a};
    gr_ctx_scan_prefix(ctx, GR_STR("X"), TXN_SWEPT, collect_txn, &old);
    for (size_t i = 0; i < old.count; i++) {
        gr_room_record r;
        const old_txn *t = &old.at[i];
        bool known = gr_room_record_at(ctx, t->number, &r);
        if (known && r.ts + GR_ROOM_TXN_KEEP_MS > gr_ctx_now_ms(ctx)) return false;
        gr_ctx_del(ctx, gr_room_key_number(ctx, 'X', t->number));
        for (size_t e = 0; known && e < 3; e++)
            gr_ctx_del(ctx, txn_key(ctx, r.sender, t->device,
                                    gr_arena_cat(a, 2, (gr_str[]){gr_str_c(endpoints[e]), t->name})));
        ++*forgotten;
    }
    return old.count == TXN_SWEPT;
}

bool gr_room_txn_seen(gr_ctx *ctx, gr_str user, gr_str device, gr_str txn, gr_str *event_id, uint64_t *pos)
{
    gr_str value;
    if (txn.size == 0 || !gr_ctx_get(ctx, txn_key(ctx, user, device, txn), &value) || value.size < 16)
        return false;
    *pos = gr_u64be(value.ptr + 8);
    *event_id = gr_str_from(value, 16);
    return true;
}

void gr_room_txn_keep(gr_ctx *ctx, gr_str user, gr_str device, gr_str txn, const gr_room_made *made)
{
    if (txn.size == 0) return;
    gr_buf out = {0};
    gr_buf_u64be(&out, gr_ctx_now_ms(ctx));
    gr_buf_u64be(&out, made->pos);
    gr_buf_str(&out, made->event_id);
    gr_ctx_put(ctx, txn_key(ctx, user, device, txn), gr_buf_view(&out));
    gr_str name = gr_str_from(txn, (size_t)(gr_str_find(txn, '/') + 1)); /* without its endpoint */
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'X', made->number),
               gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){device, GR_STR("\0"), name}));
    gr_buf_free(&out);
    if (made->number % TXN_SWEEP_EVERY == 0) gr_room_txn_sweep(ctx, &(uint64_t){0});
}

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
    if (gr_room_txn_seen(ctx, m->user, m->device, m->txn, &event_id, &pos)) {
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
    if (!gr_failed(err) && gr_room_policy_asks(room, ctx, &d)) return;
    if (!gr_failed(err)) err = gr_room_build(room, ctx, &d, &made);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    gr_room_txn_keep(ctx, m->user, m->device, m->txn, &made);
    gr_room_finish(room, ctx, &made, false);
}
