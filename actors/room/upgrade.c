/* upgrade.c - what a room gives to the one that takes its place, and how it ends. See room.h.
 *
 * Client-server API, "Room Upgrades"; the steps are those of the flow in actors/create/upgrade.c.  Levels are written
 * as plain integers, whatever the old version let in.  Where the user who upgrades is not above every level
 * that is to be written, the new room begins with levels that let them do it all, and gets its own last.
 */
#include "actors/room/policy.h"

enum {
    LEVEL_OF_ADMINS = 100, LEVEL_OF_MODERATORS = 50,
    ALIASES_MAX = 200,     /* that are moved */
    CHILDREN_PAGE = 16, CHILDREN_BYTES = 64 * 1024
};

static gr_str kept(gr_ctx *ctx, gr_buf *out)
{
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(out));
    gr_buf_free(out);
    return text;
}

static bool among(gr_strs list, gr_str one)
{
    for (size_t i = 0; i < list.count; i++)
        if (gr_str_eq(list.at[i], one)) return true;
    return false;
}

static const gr_json *content_of(gr_room *room, gr_ctx *ctx, const char *type)
{
    const gr_event *e = gr_room_state(room, ctx, gr_str_c(type), (gr_str){0});
    return e ? e->content : NULL;
}

/* --- power levels -------------------------------------------------------------------------------------- */
typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    const gr_room_replace *m;
    const gr_room_version *version; /* of the new room */
    int64_t highest;                /* of all levels written */
    int64_t of_user;                /* what the user who upgrades has by them */
} levels;

static bool is_new_creator(const levels *l, gr_str user)
{
    return l->version->privileged_creators && (gr_str_eq(user, l->m->user) || among(l->m->creators, user));
}

static void write_level(levels *l, gr_jw *w, gr_str key, int64_t level)
{
    gr_jw_key_str(w, key);
    gr_jw_int(w, level);
    if (level > l->highest) l->highest = level;
}

static void write_map(levels *l, gr_jw *w, const char *key, const gr_json *map)
{
    bool users = gr_str_is(gr_str_c(key), "users");
    for (uint32_t i = 0; gr_json_is(map, GR_JSON_OBJECT) && i < map->count; i++) {
        int64_t level;
        gr_str name = map->members[i].key;
        if (!gr_power_value(l->room->version, &map->members[i].value, &level)) continue;
        if (users && is_new_creator(l, name)) continue;
        if (users && gr_str_eq(name, l->m->user)) l->of_user = level;
        write_level(l, w, name, level);
    }
}

/* Who was above all levels in the old room, and has no such privilege in the new one, gets the highest of them. */
static void write_old_creators(levels *l, gr_jw *w, const gr_json *users)
{
    const gr_event *create = gr_room_state(l->room, l->ctx, GR_STR("m.room.create"), (gr_str){0});
    if (!l->room->version->privileged_creators || l->version->privileged_creators || !create) return;
    const gr_json *more = gr_json_get(create->content, "additional_creators");
    uint32_t count = gr_json_is(more, GR_JSON_ARRAY) ? more->count : 0;
    for (uint32_t i = 0; i <= count; i++) {
        gr_str user = i ? gr_json_string(&more->items[i - 1]) : create->sender;
        bool again = gr_json_get_str(users, user) || (i && gr_str_eq(user, create->sender));
        for (uint32_t k = 1; k < i; k++) again = again || gr_str_eq(gr_json_string(&more->items[k - 1]), user);
        if (again || user.size == 0) continue;
        if (gr_str_eq(user, l->m->user)) l->of_user = l->highest;
        write_level(l, w, user, l->highest);
    }
}

static gr_str new_levels(levels *l, const gr_json *old)
{
    static const char *const plain[] = {"ban",    "events_default", "invite",       "kick",
                                        "redact", "state_default",  "users_default"};
    static const char *const maps[] = {"events", "notifications", "users"};
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    l->highest = LEVEL_OF_ADMINS;
    gr_power_value(l->room->version, gr_json_get(old, "users_default"), &l->of_user);
    gr_jw_object(&w);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        int64_t level;
        if (gr_power_value(l->room->version, gr_json_get(old, plain[i]), &level))
            write_level(l, &w, gr_str_c(plain[i]), level);
    }
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        const gr_json *map = gr_json_get(old, maps[i]);
        gr_jw_key(&w, maps[i]);
        gr_jw_object(&w);
        write_map(l, &w, maps[i], map);
        if (i == 2) write_old_creators(l, &w, map);
        gr_jw_end_object(&w);
    }
    gr_jw_end_object(&w);
    return kept(l->ctx, &out);
}

static gr_str level_of_one(gr_ctx *ctx, gr_str user, int64_t level)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "users");
    gr_jw_object(&w);
    gr_jw_key_str(&w, user);
    gr_jw_int(&w, level);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    return kept(ctx, &out);
}

/* --- the other parts ----------------------------------------------------------------------------------- */
/* What only newer versions know falls back to invites. */
static gr_str new_join_rules(gr_room *room, gr_ctx *ctx, const gr_room_version *version)
{
    const gr_json *old = content_of(room, ctx, "m.room.join_rules");
    gr_str rule = gr_json_text(old, "join_rule");
    bool fits = rule.size > 0;
    if (gr_str_is(rule, "knock")) fits = version->knock;
    if (gr_str_is(rule, "restricted")) fits = version->restricted;
    if (gr_str_is(rule, "knock_restricted")) fits = version->knock_restricted;
    return fits ? gr_json_printed(gr_ctx_arena(ctx), old) : GR_STR("{\"join_rule\":\"invite\"}");
}

static void write_state(gr_jw *w, const char *type, gr_str content)
{
    gr_jw_object(w);
    gr_jw_kraw(w, "content", content);
    gr_jw_kc(w, "state_key", "");
    gr_jw_kc(w, "type", type);
    gr_jw_end_object(w);
}

/* The body of a createRoom.  The preset matters only for guests, whom it forbids unless the old state says so. */
static gr_str new_request(gr_room *room, gr_ctx *ctx, const gr_room_version *version, gr_str powers)
{
    static const char *const copied[] = {"m.room.encryption",   "m.room.server_acl", "m.room.history_visibility",
                                         "m.room.guest_access", "m.room.name",       "m.room.topic",
                                         "m.room.avatar"};
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "initial_state");
    gr_jw_array(&w);
    write_state(&w, "m.room.join_rules", new_join_rules(room, ctx, version));
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        const gr_json *content = content_of(room, ctx, copied[i]);
        if (content) write_state(&w, copied[i], gr_json_printed(gr_ctx_arena(ctx), content));
    }
    gr_jw_end_array(&w);
    if (powers.size) gr_jw_kraw(&w, "power_level_content_override", powers);
    gr_jw_kc(&w, "preset", "public_chat");
    gr_jw_end_object(&w);
    return kept(ctx, &out);
}

static gr_str new_create(gr_room *room, gr_ctx *ctx, const gr_room_version *version, gr_strs creators)
{
    const gr_json *old = content_of(room, ctx, "m.room.create");
    const gr_json *federate = gr_json_get(old, "m.federate");
    gr_str type = gr_json_text(old, "type");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (version->privileged_creators && creators.count) {
        gr_jw_key(&w, "additional_creators");
        gr_jw_array(&w);
        for (size_t i = 0; i < creators.count; i++) gr_jw_str(&w, creators.at[i]);
        gr_jw_end_array(&w);
    }
    if (gr_json_is(federate, GR_JSON_BOOL)) gr_jw_kbool(&w, "m.federate", federate->boolean);
    gr_jw_key(&w, "predecessor");
    gr_jw_object(&w);
    if (room->extremity_count)
        gr_jw_kstr(&w, "event_id", room->extremities[room->extremity_count - 1].id);
    gr_jw_kstr(&w, "room_id", room->id);
    gr_jw_end_object(&w);
    gr_jw_kc(&w, "room_version", version->id);
    if (type.size) gr_jw_kstr(&w, "type", type);
    gr_jw_end_object(&w);
    return kept(ctx, &out);
}

typedef struct {
    gr_arena *arena;
    gr_room_replacement *to;
} aliases;

static bool collect_alias(void *arg, gr_str key, gr_str value)
{
    aliases *a = arg;
    a->to->aliases.at[a->to->aliases.count++] = gr_arena_str(a->arena, gr_str_from(key, 1));
    a->to->made_by.at[a->to->made_by.count++] = gr_arena_str(a->arena, value);
    return true;
}

static gr_err check_upgrade(gr_room *room, gr_ctx *ctx, gr_str user)
{
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    gr_powers powers = gr_auth_powers(room->version, &state);
    if (gr_room_membership(ctx, user) != GR_MEMBER_JOIN) return gr_fail(GR_FORBIDDEN, "You are not in this room");
    if (gr_power_of_user(&powers, user) >= gr_power_for_event(&powers, GR_STR("m.room.tombstone"), true))
        return gr_ok();
    return gr_fail(GR_FORBIDDEN, "To upgrade a room you need the power to send m.room.tombstone in it");
}

void gr_room_on_replace(gr_room *room, gr_ctx *ctx, const gr_room_replace *m)
{
    const gr_room_version *version = gr_room_version_find(m->version);
    gr_err err = check_upgrade(room, ctx, m->user);
    if (!gr_failed(err) && !version)
        err = gr_fail(GR_UNSUPPORTED_ROOM_VERSION, "This server does not support that room version");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *old = content_of(room, ctx, "m.room.power_levels");
    const gr_json *canonical = content_of(room, ctx, "m.room.canonical_alias");
    levels l = {.room = room, .ctx = ctx, .m = m, .version = version};
    gr_str powers = old ? new_levels(&l, old) : (gr_str){0}, last = {0};
    if (old && !version->privileged_creators && l.of_user < l.highest) {
        last = powers;
        powers = level_of_one(ctx, m->user, l.highest);
    }
    gr_room_replacement body = {.create = new_create(room, ctx, version, m->creators),
                                .request = new_request(room, ctx, version, powers),
                                .powers = last,
                                .published = room->published};
    body.aliases.at = gr_arena_alloc(a, ALIASES_MAX * sizeof(gr_str));
    body.made_by.at = gr_arena_alloc(a, ALIASES_MAX * sizeof(gr_str));
    gr_ctx_scan_prefix(ctx, GR_STR("a"), ALIASES_MAX, collect_alias, &(aliases){a, &body});
    if (canonical && canonical->count) body.canonical_alias = gr_json_printed(a, canonical);
    gr_ctx_reply(ctx, &gr_type_room_replacement, &body);
}

/* --- the end of a room --------------------------------------------------------------------------------- */
/* Levels at which only moderators talk and invite; empty when they do already. */
static gr_str closing_levels(gr_room *room, gr_ctx *ctx)
{
    const gr_json *old = content_of(room, ctx, "m.room.power_levels");
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    gr_powers powers = gr_auth_powers(room->version, &state);
    int64_t level = gr_power_for(&powers, "users_default") + 1, talk = gr_power_for(&powers, "events_default");
    int64_t invite = gr_power_for(&powers, "invite");
    if (level < LEVEL_OF_MODERATORS) level = LEVEL_OF_MODERATORS;
    if (talk >= level && invite >= level) return (gr_str){0};
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; old && i < old->count; i++) {
        gr_str key = old->members[i].key;
        if (gr_str_is(key, "events_default") || gr_str_is(key, "invite")) continue;
        gr_jw_key_str(&w, key);
        gr_jw_json(&w, &old->members[i].value);
    }
    gr_jw_kint(&w, "events_default", talk > level ? talk : level);
    gr_jw_kint(&w, "invite", invite > level ? invite : level);
    gr_jw_end_object(&w);
    return kept(ctx, &out);
}

/* Sends state that the upgrade would like to; a refusal takes nothing from the upgrade. */
static void send_if(gr_room *room, gr_ctx *ctx, gr_str user, const char *type, gr_str content)
{
    gr_room_made made;
    gr_room_draft d = {
        .sender = user, .type = gr_str_c(type), .has_state_key = true, .content = content};
    gr_room_send asked = {.user = user, .type = d.type, .is_state = true, .content = content};
    if (content.size == 0 || gr_room_policy_defers(room, ctx, &d, &gr_type_room_send, &asked)) return;
    if (gr_failed(gr_room_build(room, ctx, &d, &made))) return;
    gr_room_save(room, ctx);
    gr_room_post_feeds(room, ctx, &made);
}

void gr_room_on_close(gr_room *room, gr_ctx *ctx, const gr_room_close *m)
{
    const gr_json *now = content_of(room, ctx, "m.room.tombstone");
    gr_room_made made;
    if (gr_str_eq(gr_json_text(now, "replacement_room"), m->replacement)) {
        gr_ctx_done(ctx);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kc(&w, "body", "This room has been replaced");
    gr_jw_kstr(&w, "replacement_room", m->replacement);
    gr_jw_end_object(&w);
    gr_room_draft d = {.sender = m->user,
                       .type = GR_STR("m.room.tombstone"),
                       .has_state_key = true,
                       .content = kept(ctx, &out)};
    gr_event_built built;
    gr_room_send asked = {.user = d.sender, .type = d.type, .is_state = true, .content = d.content};
    gr_err err = gr_room_policy_server(room, ctx, &d).size ? gr_room_sign(room, ctx, &d, &built)
                                                           : gr_room_build(room, ctx, &d, &made);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    if (!gr_room_policy_defers(room, ctx, &d, &gr_type_room_send, &asked)) {
        gr_room_save(room, ctx);
        gr_room_post_feeds(room, ctx, &made);
    }
    const gr_json *canonical = content_of(room, ctx, "m.room.canonical_alias");
    if (canonical && canonical->count) send_if(room, ctx, m->user, "m.room.canonical_alias", GR_STR("{}"));
    send_if(room, ctx, m->user, "m.room.power_levels", closing_levels(room, ctx));
    gr_ctx_done(ctx);
}

/* --- spaces -------------------------------------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    gr_str keys[CHILDREN_PAGE];
    uint64_t numbers[CHILDREN_PAGE];
    size_t count;
} children;

static bool collect_child(void *arg, gr_str key, gr_str value)
{
    children *c = arg;
    ptrdiff_t zero = gr_str_find(key, 0);
    if (zero < 0 || value.size != 8) return true;
    c->keys[c->count] = gr_arena_str(c->arena, gr_str_from(key, (size_t)zero + 1));
    c->numbers[c->count++] = gr_u64be(value.ptr);
    return c->count < CHILDREN_PAGE;
}

static void write_child(gr_room *room, gr_ctx *ctx, gr_jw *w, uint64_t number)
{
    gr_room_record r;
    gr_event e;
    if (!gr_room_record_at(ctx, number, &r) || !gr_room_event_of(room, gr_ctx_arena(ctx), &r, &e)) return;
    gr_jw_object(w);
    gr_jw_kjson(w, "content", e.content);
    gr_jw_kint(w, "origin_server_ts", e.origin_server_ts);
    gr_jw_kstr(w, "sender", e.sender);
    gr_jw_kstr(w, "state_key", e.state_key);
    gr_jw_kstr(w, "type", e.type);
    gr_jw_end_object(w);
}

/* Rows k name all children the room has ever had; the trie says which it has now. */
void gr_room_on_children(gr_room *room, gr_ctx *ctx, const gr_room_children *m)
{
    gr_str type = GR_STR("m.space.child");
    gr_str from = gr_room_key_parts(ctx, 'k', m->after.size ? 3 : 2, (gr_str[]){type, m->after, (gr_str){0}});
    gr_str to = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("k"), type, GR_STR("\1")});
    children c = {.arena = gr_ctx_arena(ctx)};
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    gr_ctx_scan(ctx, from, to, false, CHILDREN_PAGE, collect_child, &c);
    gr_room_children_page body = {.next = c.count == CHILDREN_PAGE ? c.keys[c.count - 1] : (gr_str){0}};
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_array(&w);
    for (size_t i = 0; i < c.count; i++) {
        uint64_t number = gr_trie_get(&trie, room->root, c.numbers[i]);
        if (number) write_child(room, ctx, &w, number);
        if (out.size < CHILDREN_BYTES || i + 1 == c.count) continue;
        body.next = c.keys[i];
        break;
    }
    gr_jw_end_array(&w);
    body.children = gr_buf_view(&out);
    gr_ctx_reply(ctx, &gr_type_room_children_page, &body);
    gr_buf_free(&out);
}
