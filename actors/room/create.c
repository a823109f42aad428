/* create.c - a new room: its first events, in the order createRoom gives them, in one batch. See room.h.
 *
 * Client-server API, "POST /createRoom": create, the creator's join, power levels, canonical alias, what the
 * preset says, initial_state, name and topic, invites.  The flow (actors/create) has checked the request's
 * shape and made the create event; here authorisation judges each event as if it came alone.
 */
#include "actors/room/cache.h"

/* What an event costs in the batch besides its content: rows, and for an invite the stripped state that is
 * posted. */
enum { DRAFTS_MAX = 128, CREATE_BYTES_MAX = 200 * 1024, EVENT_BYTES = 1200, INVITE_BYTES = 4096 };

typedef struct {
    const char *name, *join_rule, *visibility, *guest_access;
    bool invitees_lead;
} preset;

static const preset presets[] = {
    {"private_chat", "invite", "shared", "can_join", false},
    {"trusted_private_chat", "invite", "shared", "can_join", true},
    {"public_chat", "public", "shared", "forbidden", false},
};

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    const gr_room_create *m;
    const gr_json *request;
    const preset *preset;
    gr_room_made *made; /* made[0] is the create event */
    size_t count, bytes;
    gr_err err; /* of the first event that failed */
} maker;

static const preset *find_preset(const gr_json *request)
{
    gr_str name = gr_json_text(request, "preset");
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (gr_str_is(name, presets[i].name)) return &presets[i];
    return gr_str_is(gr_json_text(request, "visibility"), "public") ? &presets[2] : &presets[0];
}

/* --- one event ----------------------------------------------------------------------------------------- */
static void add(maker *k, const char *type, gr_str state_key, gr_str content)
{
    if (gr_failed(k->err)) return;
    k->bytes += content.size + (gr_str_is(gr_str_c(type), "m.room.member") ? INVITE_BYTES : EVENT_BYTES);
    if (k->count == DRAFTS_MAX || k->bytes > CREATE_BYTES_MAX) {
        k->err =
            gr_fail(GR_TOO_LARGE, "The new room's initial state is too large: send part of it afterwards");
        return;
    }
    gr_room_draft d = {.sender = k->m->user,
                       .type = gr_str_c(type),
                       .state_key = state_key,
                       .has_state_key = true,
                       .content = content};
    k->err = gr_room_build(k->room, k->ctx, &d, &k->made[k->count]);
    if (!gr_failed(k->err)) k->count++;
}

/* The text that a writer made, kept. */
static gr_str written(maker *k, gr_buf *out)
{
    gr_str text = gr_arena_str(gr_ctx_arena(k->ctx), gr_buf_view(out));
    gr_buf_free(out);
    return text;
}

/* {key: value}; nothing when value is empty. */
static void add_text(maker *k, const char *type, const char *key, gr_str value)
{
    if (value.size == 0) return;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, key, value);
    gr_jw_end_object(&w);
    add(k, type, (gr_str){0}, written(k, &out));
}

static void add_join(maker *k)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (k->m->avatar_url.size) gr_jw_kstr(&w, "avatar_url", k->m->avatar_url);
    if (k->m->displayname.size) gr_jw_kstr(&w, "displayname", k->m->displayname);
    gr_jw_kc(&w, "membership", "join");
    gr_jw_end_object(&w);
    add(k, "m.room.member", k->m->user, written(k, &out));
}

/* --- power levels -------------------------------------------------------------------------------------- */
/* Where creators have privileges, they must not be listed, and only they may end the room. */
static void write_users(maker *k, gr_jw *w)
{
    const gr_json *invite = gr_json_get(k->request, "invite");
    bool listed = !k->room->version->privileged_creators;
    gr_jw_key(w, "users");
    gr_jw_object(w);
    if (listed) {
        gr_jw_key_str(w, k->m->user);
        gr_jw_int(w, 100);
    }
    for (uint32_t i = 0;
         listed && k->preset->invitees_lead && gr_json_is(invite, GR_JSON_ARRAY) && i < invite->count; i++) {
        gr_str user = gr_json_string(&invite->items[i]);
        if (gr_str_eq(user, k->m->user)) continue;
        bool again = false;
        for (uint32_t j = 0; j < i; j++) again = again || gr_str_eq(gr_json_string(&invite->items[j]), user);
        if (again) continue;
        gr_jw_key_str(w, user);
        gr_jw_int(w, 100);
    }
    gr_jw_end_object(w);
}

static void write_events(maker *k, gr_jw *w)
{
    static const char *const moderators[] = {"m.room.avatar", "m.room.canonical_alias", "m.room.name",
                                             "m.room.topic"};
    static const char *const admins[] = {"m.room.encryption", "m.room.history_visibility",
                                         "m.room.power_levels", "m.room.server_acl"};
    gr_jw_key(w, "events");
    gr_jw_object(w);
    for (size_t i = 0; i < 4; i++) gr_jw_kint(w, moderators[i], 50);
    for (size_t i = 0; i < 4; i++) gr_jw_kint(w, admins[i], 100);
    gr_jw_kint(w, "m.room.tombstone", k->room->version->privileged_creators ? 150 : 100);
    gr_jw_end_object(w);
}

static void add_power_levels(maker *k)
{
    static const struct {
        const char *key;
        int level;
    } levels[] = {{"ban", 50},    {"events_default", 0}, {"invite", 0},       {"kick", 50},
                  {"redact", 50}, {"state_default", 50}, {"users_default", 0}};
    const gr_json *over = gr_json_get(k->request, "power_level_content_override");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (!gr_json_get(over, levels[i].key)) gr_jw_kint(&w, levels[i].key, levels[i].level);
    if (!gr_json_get(over, "users")) write_users(k, &w);
    if (!gr_json_get(over, "events")) write_events(k, &w);
    for (uint32_t i = 0; gr_json_is(over, GR_JSON_OBJECT) && i < over->count; i++) {
        gr_jw_key_str(&w, over->members[i].key);
        gr_jw_json(&w, &over->members[i].value);
    }
    gr_jw_end_object(&w);
    add(k, "m.room.power_levels", (gr_str){0}, written(k, &out));
}

/* --- the rest ------------------------------------------------------------------------------------------ */
static const gr_json *initial(const maker *k, const char *type)
{
    const gr_json *list = gr_json_get(k->request, "initial_state");
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++)
        if (gr_str_is(gr_json_text(&list->items[i], "type"), type)
            && !gr_json_text(&list->items[i], "state_key").size)
            return &list->items[i];
    return NULL;
}

/* initial_state takes the place of what the preset would say. */
static void add_preset(maker *k)
{
    const preset *p = k->preset;
    if (!initial(k, "m.room.join_rules"))
        add_text(k, "m.room.join_rules", "join_rule", gr_str_c(p->join_rule));
    if (!initial(k, "m.room.history_visibility"))
        add_text(k, "m.room.history_visibility", "history_visibility", gr_str_c(p->visibility));
    if (!initial(k, "m.room.guest_access"))
        add_text(k, "m.room.guest_access", "guest_access", gr_str_c(p->guest_access));
}

static void add_initial_state(maker *k)
{
    const gr_json *list = gr_json_get(k->request, "initial_state");
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++) {
        const gr_json *one = &list->items[i], *content = gr_json_get(one, "content");
        gr_str type = gr_json_text(one, "type");
        if (gr_str_is(type, "m.room.create") || gr_str_is(type, "m.room.member")) continue;
        add(k, type.ptr, gr_json_text(one, "state_key"),
            content ? gr_json_printed(gr_ctx_arena(k->ctx), content) : GR_STR("{}"));
    }
}

static void add_topic(maker *k)
{
    gr_str topic = gr_json_text(k->request, "topic");
    if (topic.size == 0) return;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "m.topic");
    gr_jw_object(&w);
    gr_jw_key(&w, "m.text");
    gr_jw_array(&w);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "body", topic);
    gr_jw_end_object(&w);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_jw_kstr(&w, "topic", topic);
    gr_jw_end_object(&w);
    add(k, "m.room.topic", (gr_str){0}, written(k, &out));
}

static void add_invites(maker *k)
{
    const gr_json *invite = gr_json_get(k->request, "invite");
    bool direct = gr_json_boolean(gr_json_get(k->request, "is_direct"), false);
    gr_str content = direct ? GR_STR("{\"is_direct\":true,\"membership\":\"invite\"}")
                            : GR_STR("{\"membership\":\"invite\"}");
    for (uint32_t i = 0; gr_json_is(invite, GR_JSON_ARRAY) && i < invite->count && i < GR_ROOM_CREATE_INVITES;
         i++) {
        gr_str user = gr_json_string(&invite->items[i]);
        bool is_here = gr_room_is_local(k->ctx, user);         /* others have to be asked: the edge does that */
        if (is_here && !gr_str_eq(user, k->m->user)) add(k, "m.room.member", user, content);
    }
}

/* --- the whole ----------------------------------------------------------------------------------------- */
static void add_create(maker *k)
{
    gr_room *room = k->room;
    gr_event e;
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, k->ctx);
    k->err = gr_event_parse(gr_ctx_arena(k->ctx), room->version, k->m->create_event, &e);
    if (!gr_failed(k->err) && !(gr_event_is(&e, "m.room.create", "") && gr_str_eq(e.room_id, room->id)))
        k->err = gr_fail(GR_BAD_JSON, "That is not the create event of this room");
    if (!gr_failed(k->err)) k->err = gr_auth_check(gr_ctx_arena(k->ctx), &e, &state);
    if (!gr_failed(k->err))
        k->err = gr_room_accept(room, k->ctx, &e, k->m->create_event, GR_ROOM_ACCEPTED, &k->made[0]);
    k->count = 1;
}

static void add_all(maker *k)
{
    add_create(k);
    add_join(k);
    add_power_levels(k);
    add_text(k, "m.room.canonical_alias", "alias", k->m->alias);
    add_preset(k);
    add_initial_state(k);
    add_text(k, "m.room.name", "name", gr_json_text(k->request, "name"));
    add_topic(k);
    add_invites(k);
    if (k->m->powers.size) add(k, "m.room.power_levels", (gr_str){0}, k->m->powers);
}

/* The creator's membership goes last and carries the answer: whoever then syncs finds the whole room. */
static void post_all(maker *k)
{
    for (size_t i = 0; i < k->count; i++) {
        if (i != 1) gr_room_post_membership(k->room, k->ctx, &k->made[i], false);
        gr_room_post_feeds(k->room, k->ctx, &k->made[i]);
    }
    gr_room_post_membership(k->room, k->ctx, &k->made[1], true);
}

static void start(gr_room *room, gr_str key)
{
    room->exists = true;
    room->create_key = gr_str_of(gr_str_dup(key), key.size);
    gr_room_cache_fresh(room->cache, true);
}

void gr_room_on_create(gr_room *room, gr_ctx *ctx, const gr_room_create *m)
{
    if (room->exists && m->key.size && gr_str_eq(room->create_key, m->key)) {
        gr_room_answer_sent(room, ctx, (gr_str){0}, 0);
        return;
    }
    maker k = {.room = room, .ctx = ctx, .m = m};
    const gr_room_version *version = gr_room_version_find(m->version);
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), m->request, GR_JSON_LAX, &k.request);
    if (room->exists) err = gr_fail(GR_ROOM_IN_USE, "A room with this id exists already");
    else if (!version)
        err = gr_fail(GR_UNSUPPORTED_ROOM_VERSION, "This server does not support that room version");
    else if (m->key.size > 255) err = gr_fail(GR_INVALID_PARAM, "The key of the request is too long");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    k.preset = find_preset(k.request);
    k.made = gr_arena_alloc(gr_ctx_arena(ctx), DRAFTS_MAX * sizeof *k.made);
    room->version = version;
    start(room, m->key);
    add_all(&k);
    if (gr_failed(k.err)) {
        gr_room_fail(room, ctx, k.err);
        return;
    }
    gr_room_cache_fresh(room->cache, false);
    gr_room_save(room, ctx);
    post_all(&k);
    gr_room_answer_sent(room, ctx, k.made[1].event_id, k.made[1].pos);
}
