/* policy.c - see policy.h. */
#include "actors/room/policy.h"
#include "actors/room/graph.h"

#include "proto/ident.h"

#define KEY_ID GR_STR("ed25519:policy_server")

typedef struct { gr_str via, key; } policy;

/* False: the room has none that is enabled: it must have a user in the room, so that nobody is made one without consent. */
static bool find(gr_room *room, gr_ctx *ctx, policy *p)
{
    const gr_event *e = gr_room_state(room, ctx, GR_STR("m.room.policy"), (gr_str){0});
    if (!e) return false;
    p->via = gr_json_text(e->content, "via");
    p->key = gr_json_string(gr_json_path(e->content, "public_keys/ed25519"));
    if (!gr_ident_server_name(p->via) || p->key.size == 0) return false;
    if (gr_str_eq(p->via, gr_env_of(ctx)->server_name)) return gr_room_has_locals(room);
    return gr_room_server_members(ctx, p->via) > 0;
}

/* By such an event a room can get rid of a policy server that does not work. */
static bool is_exempt(gr_str type, bool is_state, gr_str state_key)
{
    return is_state && state_key.size == 0 && gr_str_is(type, "m.room.policy");
}

gr_str gr_room_policy_server(gr_room *room, gr_ctx *ctx, const gr_room_draft *d)
{
    policy p;
    return is_exempt(d->type, d->has_state_key, d->state_key) || !find(room, ctx, &p) ? (gr_str){0} : p.via;
}

/* What nobody waits for (a member leaves because the account goes) can't be signed first, and is sent as it is. */
bool gr_room_policy_asks(gr_room *room, gr_ctx *ctx, const gr_room_draft *d)
{
    gr_event_built built;
    gr_str via = gr_room_policy_server(room, ctx, d);
    gr_err err = via.size ? gr_room_sign(room, ctx, d, &built) : gr_ok();
    if (gr_failed(err)) gr_room_fail(room, ctx, err);
    gr_asker *asker = via.size && !gr_failed(err) ? gr_ctx_keep_asker(ctx) : NULL;
    if (!asker) return gr_failed(err);
    gr_ctx_answer(ctx, &asker, &gr_type_room_unsigned, &(gr_room_unsigned){.via = via, .event = built.text});
    return true;
}

gr_err gr_room_policy_check(gr_room *room, gr_ctx *ctx, const gr_event *e, const gr_json *json)
{
    policy p;
    if (is_exempt(e->type, e->has_state_key, e->state_key) || !find(room, ctx, &p)) return gr_ok();
    if (gr_event_has_signature(gr_ctx_arena(ctx), room->version, json, p.via, KEY_ID, p.key)) return gr_ok();
    return gr_fail(GR_FORBIDDEN, "The policy server of the room does not recommend the event");
}
