/* summary.c - what may be told of a room to who is not in it. See read.h; client-server API, "GET /room_summary". */
#include "actors/room/graph.h"
#include "actors/room/read.h"
#include "actors/room/resident.h"

static gr_str content_of(gr_room *room, gr_ctx *ctx, const char *type, const char *key)
{
    const gr_event *e = gr_room_state(room, ctx, gr_str_c(type), (gr_str){0});
    return e ? gr_json_text(e->content, key) : (gr_str){0};
}

static const gr_json *allow_list(gr_room *room, gr_ctx *ctx)
{
    const gr_event *e = gr_room_state(room, ctx, GR_STR("m.room.join_rules"), (gr_str){0});
    const gr_json *allow = e ? gr_json_get(e->content, "allow") : NULL;
    return gr_json_is(allow, GR_JSON_ARRAY) ? allow : NULL;
}

static bool is_restricted(gr_str join_rule)
{
    return gr_str_is(join_rule, "restricted") || gr_str_is(join_rule, "knock_restricted");
}

static bool is_let_in(gr_room *room, gr_ctx *ctx, gr_strs member_of)
{
    const gr_json *allow = allow_list(room, ctx);
    for (uint32_t i = 0; allow && i < allow->count; i++)
        for (size_t k = 0; k < member_of.count; k++)
            if (gr_str_eq(gr_json_text(&allow->items[i], "room_id"), member_of.at[k])) return true;
    return false;
}

static bool may_know(gr_room *room, gr_ctx *ctx, const gr_room_summary *m, gr_membership now, gr_str join_rule)
{
    bool is_old = !gr_room_has_locals(room) && room->joined > 0;       /* what is known of it here */
    if (is_old || (m->server.size && gr_failed(gr_room_serves(room, ctx, m->server)))) return false;
    if (m->server.size && gr_room_server_members(ctx, m->server)) return true;
    if (now == GR_MEMBER_JOIN || now == GR_MEMBER_INVITE || now == GR_MEMBER_KNOCK) return true;
    if (room->visibility == GR_VISIBLE_WORLD) return true;
    if (now == GR_MEMBER_BAN) return false;
    if (gr_str_is(join_rule, "public")) return true;
    if (gr_str_is(join_rule, "knock") || gr_str_is(join_rule, "knock_restricted")) return true;
    return is_restricted(join_rule) && is_let_in(room, ctx, m->member_of);
}

static void write_if(gr_jw *w, const char *key, gr_str value)
{
    if (value.size) gr_jw_kstr(w, key, value);
}

static void write_allowed(gr_jw *w, const gr_json *allow)
{
    gr_jw_key(w, "allowed_room_ids");
    gr_jw_array(w);
    for (uint32_t i = 0; allow && i < allow->count; i++) {
        gr_str id = gr_json_text(&allow->items[i], "room_id");
        if (id.size) gr_jw_str(w, id);
    }
    gr_jw_end_array(w);
}

void gr_room_on_summary(gr_room *room, gr_ctx *ctx, const gr_room_summary *m)
{
    gr_membership now = m->user.size ? gr_room_membership(ctx, m->user) : GR_MEMBER_NONE;
    gr_str join_rule = content_of(room, ctx, "m.room.join_rules", "join_rule");
    if (!may_know(room, ctx, m, now, join_rule)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such room, or you may not know of it"));
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", room->id);
    gr_jw_kint(&w, "num_joined_members", (int64_t)room->joined);
    gr_jw_kbool(&w, "world_readable", room->visibility == GR_VISIBLE_WORLD);
    gr_str guests = content_of(room, ctx, "m.room.guest_access", "guest_access");
    gr_jw_kbool(&w, "guest_can_join", gr_str_is(guests, "can_join"));
    write_if(&w, "name", content_of(room, ctx, "m.room.name", "name"));
    write_if(&w, "topic", content_of(room, ctx, "m.room.topic", "topic"));
    write_if(&w, "avatar_url", content_of(room, ctx, "m.room.avatar", "url"));
    write_if(&w, "canonical_alias", content_of(room, ctx, "m.room.canonical_alias", "alias"));
    write_if(&w, "room_type", content_of(room, ctx, "m.room.create", "type"));
    write_if(&w, "encryption", content_of(room, ctx, "m.room.encryption", "algorithm"));
    gr_jw_kstr(&w, "join_rule", join_rule.size ? join_rule : GR_STR("invite"));
    gr_jw_kc(&w, "room_version", room->version->id);
    if (is_restricted(join_rule)) write_allowed(&w, allow_list(room, ctx));
    if (m->user.size) gr_jw_kc(&w, "membership", gr_membership_text(now));
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}
