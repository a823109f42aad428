/* policy.c - see policy.h. */
#include "actors/room/policy.h"
#include "actors/policy/policy.h"
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

gr_str gr_room_policy_via(gr_room *room, gr_ctx *ctx)
{
    policy p;
    return find(room, ctx, &p) ? p.via : (gr_str){0};
}

gr_str gr_room_policy_server(gr_room *room, gr_ctx *ctx, const gr_room_draft *d)
{
    policy p;
    return is_exempt(d->type, d->has_state_key, d->state_key) || !find(room, ctx, &p) ? (gr_str){0} : p.via;
}

/* A later one of the same kind about the same takes the place of it.  Who is gone leaves in any case. */
bool gr_room_policy_defers(gr_room *room, gr_ctx *ctx, const gr_room_draft *d, const gr_type *type, const void *body)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str via = gr_room_policy_server(room, ctx, d);
    if (via.size == 0) return false;
    gr_buf message = {0};
    gr_body_encode(&message, type, body);
    gr_policy_begin m = {.room_id = room->id, .type = type->id, .body = gr_buf_view(&message)};
    m.must = type == &gr_type_room_member && gr_str_is(((const gr_room_member *)body)->action, "leave");
    gr_str what = gr_arena_cat(a, 5, (gr_str[]){gr_str_c(type->name), {"", 1}, d->type, {"", 1}, d->state_key});
    gr_ctx_post(ctx, gr_policy_flow(a, room->id, what), &gr_type_policy_begin, &m);
    gr_buf_free(&message);
    return true;
}

bool gr_room_policy_asks(gr_room *room, gr_ctx *ctx, const gr_room_draft *d, const gr_type *type, const void *body)
{
    gr_event_built built;
    gr_str via = gr_room_policy_server(room, ctx, d);
    gr_asker *asker = via.size ? gr_ctx_keep_asker(ctx) : NULL;
    if (!asker) return gr_room_policy_defers(room, ctx, d, type, body);
    gr_ctx_take_asker(ctx, &asker);
    gr_err err = gr_room_sign(room, ctx, d, &built);
    if (gr_failed(err)) gr_room_fail(room, ctx, err);
    else gr_ctx_reply(ctx, &gr_type_room_unsigned, &(gr_room_unsigned){.via = via, .event = built.text});
    return true;
}

gr_err gr_room_policy_check(gr_room *room, gr_ctx *ctx, const gr_event *e, const gr_json *json)
{
    policy p;
    if (is_exempt(e->type, e->has_state_key, e->state_key) || !find(room, ctx, &p)) return gr_ok();
    if (gr_event_has_signature(gr_ctx_arena(ctx), room->version, json, p.via, KEY_ID, p.key)) return gr_ok();
    return gr_fail(GR_FORBIDDEN, "The policy server of the room does not recommend the event");
}

/* --- events of other servers that are kept aside ----------------------------------------------------------------- */
static gr_str aside_key(gr_ctx *ctx, gr_str event_id) { return gr_room_key(ctx, '1', event_id); }

bool gr_room_policy_set_aside(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_str text, uint64_t number)
{
    policy p;
    size_t aside = 0;
    gr_arena *a = gr_ctx_arena(ctx);
    if (gr_ctx_now_ms(ctx) < room->policy_away_until_ms || !find(room, ctx, &p)) return false;
    gr_ctx_scan_prefix(ctx, GR_STR("1"), GR_POLICY_ASIDE, gr_ctx_count_row, &aside);
    if (aside >= GR_POLICY_ASIDE) return false;
    gr_policy_begin m = {.room_id = room->id, .event_id = e->event_id, .via = p.via, .body = text};
    gr_ctx_put(ctx, aside_key(ctx, e->event_id), gr_str_from(gr_room_key_number(ctx, ' ', number), 1));
    gr_ctx_post(ctx, gr_policy_flow(a, room->id, e->event_id), &gr_type_policy_begin, &m);
    room->aside = GR_ROOM_SOME;
    return true;
}

bool gr_room_policy_is_aside(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    gr_str none;
    return gr_room_has_any(ctx, '1', &room->aside) && gr_ctx_get(ctx, aside_key(ctx, event_id), &none);
}

uint64_t gr_room_policy_take_aside(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    gr_str value;
    if (!gr_ctx_get(ctx, aside_key(ctx, event_id), &value) || value.size != 8) return 0;
    gr_ctx_del(ctx, aside_key(ctx, event_id));
    room->aside = GR_ROOM_UNKNOWN;         /* perhaps none is left */
    return gr_u64be(value.ptr);
}
