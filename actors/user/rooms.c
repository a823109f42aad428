/* rooms.c - which rooms a user is in, was in, or is invited to. See user.h. */
#include "actors/user/data.h"

#include "proto/ident.h"
#include "proto/json.h"

#include <stdlib.h>
#include <uthash.h>

enum { ROW_FORMAT = 1, FLAG_ENCRYPTED = 1, FLAG_DIRECT = 2, FLAG_FORGOTTEN = 4, FLAG_OUTSIDE = 8 };

/* Rooms are found by id through this table; the array keeps their order. */
struct gr_user_room_index { UT_hash_handle hh; size_t number; gr_str room_id; };

static const char *const memberships[] = {"leave", "join", "invite", "knock", "ban"};

static gr_str membership_literal(gr_str text)
{
    for (size_t i = 0; i < sizeof memberships / sizeof memberships[0]; i++)
        if (gr_str_is(text, memberships[i])) return gr_str_c(memberships[i]);
    return gr_str_c(memberships[0]);
}

/* Row: format, flags, membership index (1 each), position, joined_at, room_pos (8 each), version size (1), version,
 * stripped state to the end. */
static void save_room(const gr_user_room *r, gr_str stripped, gr_ctx *ctx)
{
    gr_buf out = {0};
    unsigned index = 0;
    while (!gr_str_is(r->membership, memberships[index])) index++;
    gr_buf_char(&out, ROW_FORMAT);
    gr_buf_char(&out, (char)((r->encrypted ? FLAG_ENCRYPTED : 0) | (r->is_direct ? FLAG_DIRECT : 0)
                             | (r->forgotten ? FLAG_FORGOTTEN : 0) | (r->is_outside ? FLAG_OUTSIDE : 0)));
    gr_buf_char(&out, (char)index);
    gr_buf_u64be(&out, r->position);
    gr_buf_u64be(&out, r->joined_at);
    gr_buf_u64be(&out, r->room_pos);
    gr_buf_char(&out, (char)r->version.size);
    gr_buf_str(&out, r->version);
    gr_buf_str(&out, stripped);
    gr_ctx_put(ctx, gr_user_key(ctx, 'r', r->room_id), gr_buf_view(&out));
    gr_buf_free(&out);
}

static bool read_room(gr_str bytes, gr_user_room *r, gr_str *stripped)
{
    if (bytes.size < 28 || bytes.ptr[0] != ROW_FORMAT || (unsigned char)bytes.ptr[2] >= 5) return false;
    size_t version = (unsigned char)bytes.ptr[27];
    if (bytes.size < 28 + version) return false;
    r->encrypted = bytes.ptr[1] & FLAG_ENCRYPTED;
    r->is_direct = bytes.ptr[1] & FLAG_DIRECT;
    r->forgotten = bytes.ptr[1] & FLAG_FORGOTTEN;
    r->is_outside = bytes.ptr[1] & FLAG_OUTSIDE;
    r->membership = gr_str_c(memberships[(unsigned char)bytes.ptr[2]]);
    r->position = gr_u64be(bytes.ptr + 3);
    r->joined_at = gr_u64be(bytes.ptr + 11);
    r->room_pos = gr_u64be(bytes.ptr + 19);
    r->version = (gr_str){bytes.ptr + 28, version};
    *stripped = gr_str_from(bytes, 28 + version);
    return true;
}

static gr_user_room *add(gr_user *u, gr_str room_id)
{
    if (u->room_count == u->room_space) {
        u->room_space = u->room_space ? u->room_space * 2 : 8;
        u->rooms = gr_realloc(u->rooms, u->room_space * sizeof *u->rooms);
    }
    gr_user_room *r = &u->rooms[u->room_count];
    *r = (gr_user_room){.room_id = gr_str_keep(room_id), .membership = gr_str_c(memberships[0])};
    struct gr_user_room_index *entry = gr_alloc(sizeof *entry);
    entry->number = u->room_count++;
    entry->room_id = r->room_id;
    HASH_ADD_KEYPTR(hh, u->index, entry->room_id.ptr, entry->room_id.size, entry);
    return r;
}

gr_user_room *gr_user_room_find(gr_user *u, gr_str room_id)
{
    struct gr_user_room_index *entry = NULL;
    HASH_FIND(hh, u->index, room_id.ptr, room_id.size, entry);
    return entry ? &u->rooms[entry->number] : NULL;
}

static bool load_room(void *arg, gr_str key, gr_str value)
{
    gr_user *u = arg;
    gr_user_room read = {0};
    gr_str stripped;
    if (!read_room(value, &read, &stripped)) return true;
    gr_user_room *r = add(u, gr_str_from(key, 1));
    read.room_id = r->room_id;
    read.version = gr_str_keep(read.version);
    *r = read;
    return true;
}

void gr_user_rooms_load(gr_user *u, gr_ctx *ctx) { gr_ctx_scan_prefix(ctx, GR_STR("r"), 0, load_room, u); }

void gr_user_rooms_drop(gr_user *u)
{
    struct gr_user_room_index *entry, *next;
    HASH_ITER(hh, u->index, entry, next) {
        HASH_DEL(u->index, entry);
        free(entry);
    }
    for (size_t i = 0; i < u->room_count; i++) {
        free((char *)u->rooms[i].room_id.ptr);
        free((char *)u->rooms[i].version.ptr);
    }
    free(u->rooms);
    u->rooms = NULL;
    u->room_count = u->room_space = 0;
}

bool gr_user_stripped(gr_ctx *ctx, gr_str room_id, gr_str *json)
{
    gr_str bytes;
    gr_user_room r;
    *json = (gr_str){0};
    return gr_ctx_get(ctx, gr_user_key(ctx, 'r', room_id), &bytes) && read_room(bytes, &r, json);
}

/* Client-server API, "Room Upgrades": who was in the room that this one has taken the place of keeps what they had
 * set for it. */
static void take_along(gr_user *u, gr_str predecessor, gr_str room_id, gr_ctx *ctx)
{
    const gr_user_room *r = predecessor.size ? gr_user_room_find(u, predecessor) : NULL;
    bool was_in = r && !r->forgotten && (gr_str_is(r->membership, "join") || gr_str_is(r->membership, "leave"));
    if (!was_in || gr_str_eq(predecessor, room_id)) return;
    gr_user_account_data_move(u, ctx, GR_STR("m.tag"), predecessor, room_id);
    gr_user_account_data_direct(u, ctx, predecessor, room_id);
    gr_user_push_rules_copy(u, ctx, predecessor, room_id);
}

void gr_user_on_membership(gr_user *u, const gr_user_membership *m, gr_ctx *ctx)
{
    gr_user_room *r = gr_user_room_find(u, m->room_id);
    bool was_joined = r && gr_str_is(r->membership, "join");
    if (!r) r = add(u, m->room_id);
    gr_room_sent sent = {.room_id = m->room_id, .event_id = m->event_id, .room_pos = m->room_pos};
    /* Posts come in order; a repeat after a restore may not.  A room that was forgotten may have begun anew. */
    if (m->room_pos >= r->room_pos || r->forgotten) {
        gr_str version = r->version;
        r->version = gr_str_keep(m->room_version);
        free((char *)version.ptr);
        r->membership = membership_literal(m->membership);
        r->room_pos = m->room_pos;
        r->position = gr_ctx_position(ctx);
        r->encrypted = m->encrypted;
        r->is_direct = m->is_direct || (r->is_direct && gr_str_is(m->membership, "join"));
        r->forgotten = r->is_outside = false;
        if (!gr_str_is(r->membership, "join")) r->joined_at = 0;
        else if (!was_joined) r->joined_at = r->position;
        save_room(r, m->stripped, ctx);
        if (was_joined != gr_str_is(r->membership, "join") && gr_env_of(ctx)->presence.is_on)
            gr_ctx_tell(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_HERALD, u->id), &gr_type_herald_moved, &(gr_herald_moved){0});
        if (!was_joined && gr_str_is(m->membership, "join")) take_along(u, m->predecessor, m->room_id, ctx);
        gr_user_changed(u, ctx);
    }
    gr_ctx_reply(ctx, &gr_type_room_sent, &sent);
}

/* --- rooms that nobody of this server is in -------------------------------------------------------------------- */
/* Whose invite it was: the own member event in the stripped state says so. */
static gr_str inviter_of(const gr_user *u, gr_ctx *ctx, gr_str room_id)
{
    gr_str stripped;
    const gr_json *events = NULL;
    gr_user_stripped(ctx, room_id, &stripped);
    if (gr_failed(gr_json_parse(gr_ctx_arena(ctx), stripped, GR_JSON_LAX, &events))) return (gr_str){0};
    for (uint32_t i = 0; gr_json_is(events, GR_JSON_ARRAY) && i < events->count; i++) {
        const gr_json *event = &events->items[i];
        if (gr_str_is(gr_json_text(event, "type"), "m.room.member") && gr_str_eq(gr_json_text(event, "state_key"), u->id))
            return gr_json_text(event, "sender");
    }
    return (gr_str){0};
}

static bool is_outside(gr_str membership) { return gr_str_is(membership, "invite") || gr_str_is(membership, "knock"); }

static void put_outside(gr_user *u, gr_user_room *r, const gr_user_outside *m, gr_ctx *ctx)
{
    if (m->room_version.size) {
        free((char *)r->version.ptr);
        r->version = gr_str_keep(m->room_version);
    }
    r->membership = membership_literal(m->membership);
    r->position = gr_ctx_position(ctx);
    r->encrypted = m->encrypted;
    r->is_direct = m->is_direct;
    r->forgotten = false;
    r->joined_at = 0;
    r->is_outside = is_outside(m->membership);
    save_room(r, m->stripped, ctx);
    gr_user_changed(u, ctx);
}

static gr_strs users_of(const gr_user *u, gr_ctx *ctx, gr_str room_id)
{
    gr_str stripped;
    const gr_json *events = NULL;
    gr_user_stripped(ctx, room_id, &stripped);
    if (gr_failed(gr_json_parse(gr_ctx_arena(ctx), stripped, GR_JSON_LAX, &events))) events = NULL;
    uint32_t count = gr_json_is(events, GR_JSON_ARRAY) ? events->count : 0;
    gr_strs users = {gr_arena_alloc(gr_ctx_arena(ctx), (count + 1) * sizeof(gr_str)), 0};
    users.at[users.count++] = inviter_of(u, ctx, room_id);
    for (uint32_t i = 0; i < count; i++) users.at[users.count++] = gr_json_text(&events->items[i], "sender");
    return users;
}

/* Whether the sender may take back an invite or refuse a knock can't be judged here; but the server is one of those that told
 * of the room. */
static bool may_end(const gr_user *u, const gr_user_room *r, const gr_user_outside *m, gr_ctx *ctx)
{
    if (!r || !is_outside(r->membership)) return false;
    gr_strs users = m->is_rescinded ? users_of(u, ctx, m->room_id) : (gr_strs){0};
    for (size_t i = 0; i < users.count; i++)
        if (gr_str_eq(gr_ident_domain(users.at[i]), gr_ident_domain(m->sender))) return true;
    return !m->is_rescinded;
}

void gr_user_on_outside(gr_user *u, const gr_user_outside *m, gr_ctx *ctx)
{
    gr_user_room *r = gr_user_room_find(u, m->room_id);
    gr_room_sent sent = {.room_id = m->room_id, .event_id = m->event_id};
    bool begins = is_outside(m->membership);
    if (!u->exists || u->deactivated) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such user"));
        return;
    }
    if (gr_str_is(m->membership, "invite") && gr_user_blocks_invites(ctx)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVITE_BLOCKED, "The user wants no invites"));
        return;
    }
    bool counts = begins ? !r || !gr_str_is(r->membership, "join") : may_end(u, r, m, ctx);
    if (!counts && m->is_rescinded) {
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "There is no invite or knock that your server could end"));
        return;
    }
    if (counts) put_outside(u, r ? r : add(u, m->room_id), m, ctx);
    gr_ctx_reply(ctx, &gr_type_room_sent, &sent);
}

void gr_user_on_outside_look(gr_user *u, const gr_user_outside_look *m, gr_ctx *ctx)
{
    const gr_user_room *r = gr_user_room_find(u, m->room_id);
    gr_user_outside_is is = {0};
    if (r) is = (gr_user_outside_is){.membership = r->membership, .is_outside = r->is_outside,
                                             .room_version = r->version};
    if (r && is_outside(r->membership)) is.users = users_of(u, ctx, m->room_id);
    gr_ctx_reply(ctx, &gr_type_user_outside_is, &is);
}

/* --- answers to clients --------------------------------------------------------------------------------------- */
void gr_user_on_joined_rooms(gr_user *u, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "joined_rooms");
    gr_jw_array(&w);
    for (size_t i = 0; i < u->room_count; i++)
        if (gr_str_is(u->rooms[i].membership, "join")) gr_jw_str(&w, u->rooms[i].room_id);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_ctx_reply(ctx, &gr_type_result, &(gr_result){.body = gr_buf_view(&out)});
    gr_buf_free(&out);
}

/* Client-server API, "POST /rooms/{roomId}/forget": only a room one is not in. */
void gr_user_on_forget(gr_user *u, const gr_user_forget *m, gr_ctx *ctx)
{
    gr_user_room *r = gr_user_room_find(u, m->room_id);
    if (!r || r->forgotten) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "You have not been in this room"));
        return;
    }
    if (!gr_str_is(r->membership, "leave") && !gr_str_is(r->membership, "ban")) {
        gr_ctx_fail(ctx, gr_fail(GR_REFUSED, "Leave the room before you forget it"));
        return;
    }
    r->forgotten = true;
    save_room(r, (gr_str){0}, ctx);
    gr_feed_forget forget = {.user = u->id, .room_id = m->room_id};
    gr_ctx_tell(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, gr_ctx_shard(ctx)), &gr_type_feed_forget, &forget);
    gr_room_forget gone = {.user = u->id};
    gr_ctx_post_forward(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, m->room_id), &gr_type_room_forget, &gone);
}

/* Which of these rooms is the user joined to: for restricted joins, and for device lists of who left. */
void gr_user_on_in_rooms(gr_user *u, const gr_user_in_rooms *m, gr_ctx *ctx)
{
    gr_user_in_rooms in = {0};
    in.rooms.at = gr_arena_alloc(gr_ctx_arena(ctx), m->rooms.count * sizeof(gr_str));
    for (size_t i = 0; i < m->rooms.count; i++) {
        gr_user_room *r = gr_user_room_find(u, m->rooms.at[i]);
        if (r && gr_str_is(r->membership, "join")) in.rooms.at[in.rooms.count++] = r->room_id;
    }
    gr_ctx_reply(ctx, &gr_type_user_in_rooms, &in);
}

void gr_user_on_encrypted_rooms(gr_user *u, gr_ctx *ctx)
{
    gr_user_in_rooms in = {0};
    in.rooms.at = gr_arena_alloc(gr_ctx_arena(ctx), u->room_count * sizeof(gr_str));
    for (size_t i = 0; i < u->room_count; i++)
        if (u->rooms[i].encrypted && gr_str_is(u->rooms[i].membership, "join"))
            in.rooms.at[in.rooms.count++] = u->rooms[i].room_id;
    gr_ctx_reply(ctx, &gr_type_user_in_rooms, &in);
}
