/* publish.c - listing in the public directory, local aliases, and news of device keys. See room.h. */
#include "actors/room/room.h"

static gr_powers powers_of(gr_room *room, gr_ctx *ctx, gr_room_nodes *nodes)
{
    gr_auth_state state = gr_room_auth_state(nodes, room, ctx);
    return gr_auth_powers(room->version, &state);
}

/* May this member change what only moderators change: canonical aliases and the listing? */
static gr_err check_moderator(gr_room *room, gr_ctx *ctx, gr_str user, const char *act)
{
    gr_room_nodes nodes;
    gr_powers powers = powers_of(room, ctx, &nodes);
    if (gr_room_membership(ctx, user) != GR_MEMBER_JOIN)
        return gr_fail(GR_FORBIDDEN, "You are not in this room");
    if (gr_power_of_user(&powers, user)
        >= gr_power_for_event(&powers, GR_STR("m.room.canonical_alias"), true))
        return gr_ok();
    return gr_failf(gr_ctx_arena(ctx), GR_FORBIDDEN, "To %s you need the power to change its canonical alias",
                    act);
}

void gr_room_on_publish(gr_room *room, gr_ctx *ctx, const gr_room_publish *m)
{
    gr_err err = check_moderator(room, ctx, m->user, "change whether a room is listed");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    room->published = m->publish;
    gr_room_save(room, ctx);
    gr_room_post_listing(room, ctx);
    gr_ctx_done(ctx);
}

void gr_room_on_listing(gr_room *room, gr_ctx *ctx)
{
    gr_ctx_json(ctx, room->published ? GR_STR("{\"visibility\":\"public\"}")
                                     : GR_STR("{\"visibility\":\"private\"}"));
}

void gr_room_on_alias(gr_room *room, gr_ctx *ctx, const gr_room_alias *m)
{
    gr_str made_by, key = gr_room_key(ctx, 'a', m->alias);
    if (m->alias.size > GR_IDENT_MAX) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "The alias is too long"));
        return;
    }
    if (m->add) {
        gr_ctx_put(ctx, key, m->made_by.size ? m->made_by : m->user);
        gr_ctx_done(ctx);
        return;
    }
    bool known = gr_ctx_get(ctx, key, &made_by);
    bool own = gr_str_eq(m->user, known ? made_by : m->made_by);
    gr_err err =
        own ? gr_ok() : check_moderator(room, ctx, m->user, "remove an alias that somebody else made");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_ctx_del(ctx, key);
    gr_ctx_done(ctx);
}

static bool write_alias(void *arg, gr_str key, gr_str value)
{
    (void)value;
    gr_jw_str(arg, gr_str_from(key, 1));
    return true;
}

void gr_room_on_aliases(gr_room *room, gr_ctx *ctx, const gr_room_aliases *m)
{
    if (gr_room_membership(ctx, m->user) != GR_MEMBER_JOIN && room->visibility != GR_VISIBLE_WORLD) {
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "You are not in this room"));
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "aliases");
    gr_jw_array(&w);
    gr_ctx_scan_prefix(ctx, GR_STR("a"), GR_HANDLER_ROWS_MAX, write_alias, &w);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

/* Only those who share an encrypted room need to know. */
void gr_room_on_keys_changed(gr_room *room, gr_ctx *ctx, const gr_room_keys_changed *m)
{
    gr_feed_keys body = {.room_id = room->id, .user = m->user};
    if (room->encrypted && gr_room_membership(ctx, m->user) == GR_MEMBER_JOIN)
        for (int shard = 0; shard < GR_SHARDS; shard++)
            if (room->local_joined[shard])
                gr_ctx_post(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, (uint8_t)shard),
                            &gr_type_feed_keys, &body);
    gr_ctx_done(ctx);
}
