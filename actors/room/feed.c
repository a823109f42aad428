/* feed.c - what a room posts to feeds, user actors and the directory. See room.h. */
#include "actors/room/graph.h"

static gr_str state_text(gr_room *room, gr_ctx *ctx, const char *type, const char *key)
{
    const gr_event *e = gr_room_state(room, ctx, gr_str_c(type), (gr_str){0});
    return e ? gr_json_text(e->content, key) : (gr_str){0};
}

/* --- invites and knocks -------------------------------------------------------------------------------- */
static void strip(gr_jw *w, const gr_event *e)
{
    if (!e) return;
    gr_jw_object(w);
    gr_jw_kstr(w, "type", e->type);
    gr_jw_kstr(w, "state_key", e->state_key);
    gr_jw_kstr(w, "sender", e->sender);
    gr_jw_kjson(w, "content", e->content);
    gr_jw_end_object(w);
}

const char *const gr_room_stripped_types[GR_ROOM_STRIPPED_TYPES] = {
    "m.room.create", "m.room.join_rules", "m.room.canonical_alias", "m.room.name", "m.room.avatar", "m.room.topic",
    "m.room.encryption"};

gr_str gr_room_stripped(gr_room *room, gr_ctx *ctx, const gr_event *member)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_array(&w);
    for (size_t i = 0; i < GR_ROOM_STRIPPED_TYPES; i++)
        strip(&w, gr_room_state(room, ctx, gr_str_c(gr_room_stripped_types[i]), (gr_str){0}));
    if (!gr_str_eq(member->sender, member->state_key))
        strip(&w, gr_room_state(room, ctx, GR_STR("m.room.member"), member->sender));
    strip(&w, member);
    gr_jw_end_array(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static bool is_member(const gr_room_made *made)
{
    return made->event.has_state_key && gr_str_is(made->event.type, "m.room.member");
}

/* The room that this one has taken the place of: who joins may take along what they had there. */
static gr_str predecessor_of(gr_room *room, gr_ctx *ctx)
{
    const gr_event *create = gr_room_state(room, ctx, GR_STR("m.room.create"), (gr_str){0});
    gr_str id = create ? gr_json_text(gr_json_get(create->content, "predecessor"), "room_id") : (gr_str){0};
    return gr_ident_room(id) ? id : (gr_str){0};
}

static void post_membership(gr_room *room, gr_ctx *ctx, gr_user_membership *body, const gr_event *e, gr_membership now,
                            bool forward)
{
    gr_str user = e->state_key;
    body->room_id = room->id;
    body->room_version = gr_str_c(room->version->id);
    body->membership = gr_str_c(gr_membership_text(now));
    body->event_id = e->event_id;
    body->sender = e->sender;
    body->encrypted = room->encrypted;
    body->is_direct = gr_json_boolean(gr_json_get(e->content, "is_direct"), false);
    if (now == GR_MEMBER_INVITE || now == GR_MEMBER_KNOCK) body->stripped = gr_room_stripped(room, ctx, e);
    gr_str to = gr_address(gr_ctx_arena(ctx), GR_KIND_USER, user);
    if (forward) gr_ctx_post_forward(ctx, to, &gr_type_user_membership, body);
    else gr_ctx_post(ctx, to, &gr_type_user_membership, body);
}

void gr_room_post_membership(gr_room *room, gr_ctx *ctx, const gr_room_made *made, bool forward)
{
    const gr_event *e = &made->event;
    if (!is_member(made) || !made->is_current || !gr_room_is_local(ctx, e->state_key)) return;
    gr_user_membership body = {.room_pos = made->pos};
    gr_membership now = gr_membership_of(gr_json_text(e->content, "membership"));
    if (now == GR_MEMBER_JOIN && made->before != GR_MEMBER_JOIN) body.predecessor = predecessor_of(room, ctx);
    post_membership(room, ctx, &body, e, now, forward);
}

void gr_room_post_moved_member(gr_room *room, gr_ctx *ctx, const gr_event *e, bool is_there, uint64_t pos)
{
    gr_membership now = is_there ? gr_membership_of(gr_json_text(e->content, "membership")) : GR_MEMBER_NONE;
    gr_user_membership body = {.room_pos = pos};
    post_membership(room, ctx, &body, e, now, false);
    gr_feed_event told = {.room_pos = pos, .kind = GR_STR("state"), .members = room->joined, .encrypted = room->encrypted,
                          .room_version = body.room_version, .target = e->state_key, .membership = body.membership,
                          .target_displayname = gr_json_text(e->content, "displayname")};
    gr_ctx_post(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, gr_id_shard(e->state_key)),
                &gr_type_feed_event, &told);
}

/* --- feeds --------------------------------------------------------------------------------------------- */
/* The thread an event belongs to: it says so itself, or what it relates to does, at most GR_ROOM_THREAD_HOPS away.  Client-
 * server API, "Threaded read receipts". */
gr_str gr_room_thread_of(gr_room *room, gr_ctx *ctx, const gr_json *content)
{
    for (int hops = 0; hops <= GR_ROOM_THREAD_HOPS; hops++) {
        const gr_json *relates = gr_json_get(content, "m.relates_to");
        gr_str rel_type = gr_json_text(relates, "rel_type"), target = gr_json_text(relates, "event_id");
        uint64_t number;
        gr_room_record record;
        gr_event parent;
        if (gr_str_is(rel_type, "m.thread")) return gr_ident_event(target) ? target : (gr_str){0};
        bool known = rel_type.size && gr_room_number_of(ctx, target, &number) && gr_room_record_at(ctx, number, &record)
                     && gr_room_event_of(room, gr_ctx_arena(ctx), &record, &parent);
        if (!known) break;
        content = parent.content;
    }
    return (gr_str){0};
}

static gr_feed_event describe(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    gr_powers powers = gr_auth_powers(room->version, &state);
    const gr_event *e = &made->event;
    bool redaction = gr_str_is(e->type, "m.room.redaction");
    return (gr_feed_event){.room_pos = made->pos,
                           .kind = redaction ? GR_STR("redaction") : GR_STR("event"),
                           .event_id = made->event_id,
                           .sender = e->sender,
                           .type = e->type,
                           .members = room->joined,
                           .sender_power = gr_power_of_user(&powers, e->sender),
                           .room_notify_power = gr_power_for_notification(&powers, GR_STR("room")),
                           .encrypted = room->encrypted,
                           .ts = made->record.ts,
                           .redacts = e->redacts,
                           .thread = gr_room_thread_of(room, ctx, e->content),
                           .room_version = gr_str_c(room->version->id)};
}

/* A listing changes with the number of members and with these. */
static bool is_listed(const gr_room_made *made)
{
    static const char *const types[] = {
        "m.room.canonical_alias",    "m.room.name",         "m.room.avatar",    "m.room.topic",
        "m.room.history_visibility", "m.room.guest_access", "m.room.join_rules"};
    if (is_member(made)) return true;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (gr_event_is(&made->event, types[i], "")) return true;
    return false;
}

void gr_room_post_feeds(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_feed_event body = describe(room, ctx, made), plain = body, moved = body;
    int target = -1;
    if (is_member(made) && made->is_current && gr_room_is_local(ctx, made->event.state_key)) {
        target = gr_id_shard(made->event.state_key);
        body.target = made->event.state_key;
        body.membership = gr_json_text(made->event.content, "membership");
        if (gr_str_is(body.membership, "join"))
            body.target_displayname = gr_json_text(made->event.content, "displayname");
    }
    moved.kind = GR_STR("state");
    moved.room_pos = made->state_pos;
    plain.sender = plain.type = body.sender = body.type = (gr_str){0};
    plain.ts = body.ts = 0;
    for (int shard = 0; shard < GR_SHARDS; shard++) {
        if (room->local_joined[shard] == 0 && shard != target) continue;
        gr_str to = gr_address_of_shard(a, GR_KIND_FEED, (uint8_t)shard);
        if (made->pos)
            gr_ctx_post_with(ctx, to, &gr_type_feed_event, shard == target ? &body : &plain,
                             gr_room_key_number(ctx, 'e', made->number));
        if (made->state_pos) gr_ctx_post(ctx, to, &gr_type_feed_event, &moved);
    }
    if (made->is_ours) gr_room_post_servers(room, ctx, made);
    if (room->published && is_listed(made)) gr_room_post_listing(room, ctx);
}

void gr_room_post_moved(gr_room *room, gr_ctx *ctx, uint64_t pos)
{
    gr_feed_event moved = {.room_pos = pos, .kind = GR_STR("state"), .members = room->joined, .encrypted = room->encrypted,
                           .room_version = gr_str_c(room->version->id)};
    for (int shard = 0; shard < GR_SHARDS; shard++)
        if (room->local_joined[shard])
            gr_ctx_post(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, (uint8_t)shard), &gr_type_feed_event,
                        &moved);
    if (room->published) gr_room_post_listing(room, ctx);
}

/* --- the directory ------------------------------------------------------------------------------------- */
void gr_room_post_listing(gr_room *room, gr_ctx *ctx)
{
    gr_str join_rule = state_text(room, ctx, "m.room.join_rules", "join_rule");
    gr_directory_put body = {
        .room_id = room->id,
        .alias = state_text(room, ctx, "m.room.canonical_alias", "alias"),
        .name = state_text(room, ctx, "m.room.name", "name"),
        .topic = state_text(room, ctx, "m.room.topic", "topic"),
        .avatar_url = state_text(room, ctx, "m.room.avatar", "url"),
        .joined = room->joined,
        .world_readable = room->visibility == GR_VISIBLE_WORLD,
        .guest_can_join = gr_str_is(state_text(room, ctx, "m.room.guest_access", "guest_access"), "can_join"),
        .join_rule = join_rule.size ? join_rule : GR_STR("invite"),
        .room_type = state_text(room, ctx, "m.room.create", "type")};
    gr_str to = gr_address(gr_ctx_arena(ctx), GR_KIND_DIRECTORY, GR_STR("rooms"));
    if (room->published && room->joined > 0) {
        gr_ctx_post(ctx, to, &gr_type_directory_put, &body);
        return;
    }
    gr_ctx_post(ctx, to, &gr_type_directory_remove, &(gr_directory_remove){.room_id = room->id});
}
