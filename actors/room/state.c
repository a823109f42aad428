/* state.c - what a room is at rest: its meta record, keys of rows, records, members, and look-ups in states. See room.h. */
#include "actors/room/cache.h"
#include "actors/room/entering.h"
#include "actors/room/graph.h"
#include "actors/room/incoming.h"
#include "actors/room/moved.h"
#include "actors/room/purge.h"
#include "actors/room/reading.h"
#include "actors/room/record.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

enum { META_FORMAT = 2, META_NUMBERS = 9, FLAG_ENCRYPTED = 1, FLAG_PUBLISHED = 2 };

/* --- keys of rows ------------------------------------------------------------------------------------------ */
static char *big_endian(char *to, uint64_t n)
{
    for (int i = 0; i < 8; i++) to[i] = (char)(n >> (56 - 8 * i));
    return to + 8;
}

gr_str gr_room_key(gr_ctx *ctx, char letter, gr_str text)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){{&letter, 1}, text});
}

gr_str gr_room_key_number(gr_ctx *ctx, char letter, uint64_t number)
{
    return gr_arena_key(gr_ctx_arena(ctx), letter, number);
}

gr_str gr_room_key_numbers(gr_ctx *ctx, char letter, uint64_t a, uint64_t b)
{
    char *key = gr_arena_alloc(gr_ctx_arena(ctx), 17);
    key[0] = letter;
    big_endian(big_endian(key + 1, a), b);
    return gr_str_of(key, 17);
}

gr_str gr_room_key_parts(gr_ctx *ctx, char letter, size_t count, const gr_str *parts)
{
    gr_buf key = {0};
    gr_buf_char(&key, letter);
    for (size_t i = 0; i < count; i++) {
        if (i) gr_buf_char(&key, 0);
        gr_buf_str(&key, parts[i]);
    }
    gr_str kept = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&key));
    gr_buf_free(&key);
    return kept;
}

gr_str gr_room_key_interval(gr_ctx *ctx, gr_str user, uint64_t pos)
{
    char bytes[8];
    big_endian(bytes, pos);
    return gr_room_key_parts(ctx, 'w', 2, (gr_str[]){user, {bytes, 8}});
}

/* --- the meta record ---------------------------------------------------------------------------------------
 * format (1), flags (1), visibility (1), size of the version's name (1), the name, the numbers (8 each), size of the
 * create key (1) and the key, then the extremities: number, root, depth (8 each), size of the id (1), the id. */
static gr_str keep_text(gr_str s) { return gr_str_of(gr_str_dup(s), s.size); }

void gr_room_drop_extremities(gr_room *room)
{
    for (size_t i = 0; i < room->extremity_count; i++) free((char *)room->extremities[i].id.ptr);
    free(room->extremities);
    room->extremities = NULL;
    room->extremity_count = 0;
}

static bool take(gr_str *rest, size_t size, gr_str *out)
{
    if (rest->size < size) return false;
    *out = gr_str_head(*rest, size);
    *rest = gr_str_from(*rest, size);
    return true;
}

static bool take_sized(gr_str *rest, gr_str *out)
{
    gr_str size;
    return take(rest, 1, &size) && take(rest, (unsigned char)size.ptr[0], out);
}

static bool read_extremities(gr_room *room, gr_str rest)
{
    room->extremities = gr_alloc(GR_ROOM_EXTREMITIES_MAX * sizeof *room->extremities);
    while (rest.size && room->extremity_count < GR_ROOM_EXTREMITIES_MAX) {
        gr_str numbers, id;
        if (!take(&rest, 24, &numbers) || !take_sized(&rest, &id)) return false;
        room->extremities[room->extremity_count++] =
            (gr_room_extremity){gr_u64be(numbers.ptr), gr_u64be(numbers.ptr + 8), gr_u64be(numbers.ptr + 16),
                                keep_text(id)};
    }
    return rest.size == 0;
}

static bool read_meta(gr_room *room, gr_str rest)
{
    uint64_t *const numbers[META_NUMBERS] = {&room->next_number, &room->next_key, &room->next_node, &room->next_pos,
                                             &room->next_receipt, &room->root, &room->depth, &room->joined,
                                             &room->invited};
    gr_str head, name, bytes, key;
    if (!take(&rest, 3, &head) || head.ptr[0] != META_FORMAT || !take_sized(&rest, &name)) return false;
    room->version = gr_room_version_find(name);
    if (!room->version || !take(&rest, 8 * META_NUMBERS, &bytes) || !take_sized(&rest, &key)) return false;
    for (int i = 0; i < META_NUMBERS; i++) *numbers[i] = gr_u64be(bytes.ptr + 8 * i);
    room->encrypted = head.ptr[1] & FLAG_ENCRYPTED;
    room->published = head.ptr[1] & FLAG_PUBLISHED;
    room->visibility = (gr_visibility)head.ptr[2];
    free((char *)room->create_key.ptr);
    room->create_key = keep_text(key);
    free(room->extremities);
    return read_extremities(room, rest);
}

void gr_room_save(gr_room *room, gr_ctx *ctx)
{
    const uint64_t numbers[META_NUMBERS] = {room->next_number, room->next_key, room->next_node, room->next_pos,
                                            room->next_receipt, room->root, room->depth, room->joined, room->invited};
    gr_str name = gr_str_c(room->version->id);
    gr_assert(name.size < 256 && room->create_key.size < 256);
    gr_buf out = {0};
    gr_buf_char(&out, META_FORMAT);
    gr_buf_char(&out, (char)((room->encrypted ? FLAG_ENCRYPTED : 0) | (room->published ? FLAG_PUBLISHED : 0)));
    gr_buf_char(&out, (char)room->visibility);
    gr_buf_char(&out, (char)name.size);
    gr_buf_str(&out, name);
    for (int i = 0; i < META_NUMBERS; i++) gr_buf_u64be(&out, numbers[i]);
    gr_buf_char(&out, (char)room->create_key.size);
    gr_buf_str(&out, room->create_key);
    for (size_t i = 0; i < room->extremity_count; i++) {
        const gr_room_extremity *e = &room->extremities[i];
        gr_buf_u64be(&out, e->number);
        gr_buf_u64be(&out, e->root);
        gr_buf_u64be(&out, e->depth);
        gr_buf_char(&out, (char)e->id.size);
        gr_buf_str(&out, e->id);
    }
    gr_ctx_put(ctx, GR_STR("m"), gr_buf_view(&out));
    gr_buf_free(&out);
}

/* M: phase (1), from, target, cursor (8 each). */
void gr_room_save_moving(gr_room *room, gr_ctx *ctx)
{
    const gr_room_moving *m = &room->moving;
    gr_buf out = {0};
    gr_buf_char(&out, (char)m->phase);
    gr_buf_u64be(&out, m->from);
    gr_buf_u64be(&out, m->target);
    gr_buf_u64be(&out, m->cursor);
    if (m->phase != GR_MOVING_NOT) gr_ctx_put(ctx, GR_STR("M"), gr_buf_view(&out));
    else gr_ctx_del(ctx, GR_STR("M"));
    gr_buf_free(&out);
}

static void read_moving(gr_room *room, gr_ctx *ctx)
{
    gr_str row;
    if (!gr_ctx_get(ctx, GR_STR("M"), &row) || row.size != 25 || (unsigned char)row.ptr[0] > GR_MOVING_TELLING) return;
    room->moving = (gr_room_moving){.phase = (gr_room_moving_phase)row.ptr[0], .from = gr_u64be(row.ptr + 1),
                                    .target = gr_u64be(row.ptr + 9), .cursor = gr_u64be(row.ptr + 17)};
}

static bool read_local(void *arg, gr_str key, gr_str value)
{
    gr_room *room = arg;
    if (key.size == 2 && value.size == 4) room->local_joined[(unsigned char)key.ptr[1]] = gr_u32be(value.ptr);
    return true;
}

void gr_room_load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_room *room = self;
    room->id = keep_text(id);
    room->cache = gr_room_cache_new();
    room->next_number = room->next_key = room->next_node = room->next_pos = room->next_receipt = 1;
    gr_str meta;
    gr_room_purge_load(room, ctx);
    if (!gr_ctx_get(ctx, GR_STR("m"), &meta)) return;
    room->exists = read_meta(room, meta);
    read_moving(room, ctx);
    gr_ctx_scan_prefix(ctx, GR_STR("s"), GR_SHARDS, read_local, room);
    gr_room_servers_load(room, ctx);
}

void gr_room_drop(void *self)
{
    gr_room *room = self;
    gr_room_drop_extremities(room);
    gr_receipts_drop(room);
    gr_readings_drop(room);
    gr_room_incoming_drop(room);
    gr_room_giving_drop(room);
    gr_room_entering_drop(room);
    gr_room_resolving_drop(room);
    gr_room_moved_drop(room);
    gr_room_cache_free(&room->cache);
    gr_room_txns_drop(room);
    free((char *)room->purge.cursor.ptr);
    free((char *)room->id.ptr);
    free((char *)room->create_key.ptr);
    room->id = room->create_key = (gr_str){0};
}

/* --- keys and nodes ---------------------------------------------------------------------------------------- */
bool gr_room_fact(gr_room *room, gr_ctx *ctx, gr_str key, gr_str *value)
{
    if (gr_room_cache_fact(room->cache, key, value)) {
        *value = gr_arena_str(gr_ctx_arena(ctx), *value);
        return true;
    }
    if (!gr_ctx_get(ctx, key, value)) return false;
    gr_room_cache_keep_fact(room->cache, key, *value);
    return true;
}

uint64_t gr_room_key_of(gr_room *room, gr_ctx *ctx, gr_str type, gr_str state_key)
{
    if (gr_room_cache_is_fresh(room->cache)) return gr_room_cache_key(room->cache, type, state_key);
    gr_str value;
    bool found = gr_room_fact(room, ctx, gr_room_key_parts(ctx, 'k', 2, (gr_str[]){type, state_key}), &value);
    return found && value.size == 8 ? gr_u64be(value.ptr) : 0;
}

uint64_t gr_room_key_make(gr_room *room, gr_ctx *ctx, gr_str type, gr_str state_key, bool *made)
{
    uint64_t key = gr_room_key_of(room, ctx, type, state_key);
    *made = key == 0;
    if (key) return key;
    key = room->next_key++;
    gr_str text = gr_room_key_parts(ctx, 'k', 2, (gr_str[]){type, state_key});
    gr_ctx_put(ctx, text, gr_str_from(gr_room_key_number(ctx, 'K', key), 1));
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'K', key), gr_str_from(text, 1));
    if (gr_room_cache_is_fresh(room->cache)) gr_room_cache_keep_key(room->cache, type, state_key, key);
    return key;
}

bool gr_room_key_text(gr_ctx *ctx, uint64_t key, gr_str *type, gr_str *state_key)
{
    gr_str value;
    *type = *state_key = (gr_str){0};
    if (!gr_ctx_get(ctx, gr_room_key_number(ctx, 'K', key), &value)) return false;
    ptrdiff_t zero = gr_str_find(value, 0);
    if (zero < 0) return false;
    *type = gr_str_head(value, (size_t)zero);
    *state_key = gr_str_from(value, (size_t)zero + 1);
    return true;
}

static bool get_node(void *arg, uint64_t node, gr_str *bytes)
{
    gr_room_nodes *n = arg;
    if (gr_room_cache_node(n->room->cache, node, bytes)) return true;
    if (!gr_ctx_get(n->ctx, gr_room_key_number(n->ctx, 't', node), bytes)) return false;
    gr_room_cache_keep_node(n->room->cache, node, *bytes);
    return true;
}

static void put_node(void *arg, uint64_t node, gr_str bytes)
{
    gr_room_nodes *n = arg;
    gr_ctx_put(n->ctx, gr_room_key_number(n->ctx, 't', node), bytes);
    gr_room_cache_keep_node(n->room->cache, node, bytes);
}

gr_trie gr_room_trie(gr_room_nodes *nodes, gr_room *room, gr_ctx *ctx)
{
    *nodes = (gr_room_nodes){room, ctx};
    return (gr_trie){get_node, put_node, nodes, &room->next_node};
}

/* --- records ----------------------------------------------------------------------------------------------- */
bool gr_room_record_at(gr_ctx *ctx, uint64_t number, gr_room_record *out)
{
    gr_str bytes;
    *out = (gr_room_record){0};
    return number && gr_ctx_get(ctx, gr_room_key_number(ctx, 'e', number), &bytes) && gr_room_record_read(bytes, out);
}

static bool take_number(bool found, gr_str value, uint64_t *number)
{
    *number = found && value.size == 8 ? gr_u64be(value.ptr) : 0;
    return *number != 0;
}

bool gr_room_number_of(gr_ctx *ctx, gr_str event_id, uint64_t *number)
{
    gr_str value = {0};
    bool found = event_id.size <= GR_EVENT_FIELD_MAX && gr_ctx_get(ctx, gr_room_key(ctx, 'i', event_id), &value);
    return take_number(found, value, number);
}

bool gr_room_number_cited(gr_room *room, gr_ctx *ctx, gr_str event_id, uint64_t *number)
{
    gr_str value = {0};
    bool found = event_id.size <= GR_EVENT_FIELD_MAX && gr_room_fact(room, ctx, gr_room_key(ctx, 'i', event_id), &value);
    return take_number(found, value, number);
}

bool gr_room_pos_at(gr_ctx *ctx, uint64_t pos, gr_pos_kind *kind, uint64_t *number, uint64_t *root)
{
    gr_str value;
    if (!gr_ctx_get(ctx, gr_room_key_number(ctx, 'p', pos), &value) || value.size != 17) return false;
    *kind = (gr_pos_kind)value.ptr[0];
    *number = gr_u64be(value.ptr + 1);
    *root = gr_u64be(value.ptr + 9);
    return true;
}

bool gr_room_event_of(const gr_room *room, gr_arena *arena, const gr_room_record *r, gr_event *out)
{
    gr_str text = r->json;
    if (r->flags & GR_ROOM_REDACTED) {
        const gr_json *whole;
        if (gr_failed(gr_json_parse(arena, text, GR_JSON_LAX, &whole))) return false;
        text = gr_event_redact(arena, room->version, whole);
    }
    return !gr_failed(gr_event_load(arena, room->version, gr_arena_str(arena, r->event_id), room->id, text, out));
}

/* --- members ----------------------------------------------------------------------------------------------- */
bool gr_room_member_at(gr_ctx *ctx, gr_str user, gr_room_member_row *out)
{
    gr_str value;
    *out = (gr_room_member_row){0};
    if (user.size > GR_EVENT_FIELD_MAX || !gr_ctx_get(ctx, gr_room_key(ctx, 'u', user), &value)) return false;
    if (value.size != 17) return false;
    *out = (gr_room_member_row){(gr_membership)value.ptr[0], gr_u64be(value.ptr + 1), gr_u64be(value.ptr + 9)};
    return true;
}

gr_membership gr_room_membership(gr_ctx *ctx, gr_str user)
{
    gr_room_member_row row;
    gr_room_member_at(ctx, user, &row);
    return row.membership;
}

static const char *const memberships[] = {"leave", "leave", "invite", "join", "knock", "ban"};

gr_membership gr_membership_of(gr_str text)
{
    for (unsigned i = GR_MEMBER_LEAVE; i <= GR_MEMBER_BAN; i++)
        if (gr_str_is(text, memberships[i])) return (gr_membership)i;
    return GR_MEMBER_NONE;
}

const char *gr_membership_text(gr_membership m) { return memberships[m]; }

gr_visibility gr_visibility_of(gr_str text)
{
    if (gr_str_is(text, "world_readable")) return GR_VISIBLE_WORLD;
    if (gr_str_is(text, "invited")) return GR_VISIBLE_INVITED;
    return gr_str_is(text, "joined") ? GR_VISIBLE_JOINED : GR_VISIBLE_SHARED;
}

bool gr_room_has_locals(const gr_room *room)
{
    for (size_t i = 0; i < GR_SHARDS; i++)
        if (room->local_joined[i]) return true;
    return false;
}

bool gr_room_is_local(gr_ctx *ctx, gr_str user) { return gr_ident_is_local(user, gr_env_of(ctx)->server_name); }

/* --- states ------------------------------------------------------------------------------------------------ */
uint64_t gr_room_state_number(gr_room *room, gr_ctx *ctx, uint64_t root, gr_str type, gr_str state_key)
{
    if (root == room->root && gr_str_is(type, "m.room.member")) {
        gr_room_member_row row;
        gr_room_member_at(ctx, state_key, &row);
        return row.number;
    }
    uint64_t key = gr_room_key_of(room, ctx, type, state_key);
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    return key ? gr_trie_get(&trie, root, key) : 0;
}

static const gr_event *parse_at(gr_room *room, gr_ctx *ctx, gr_arena *arena, uint64_t number)
{
    gr_room_record record;
    gr_event *event = gr_arena_alloc(arena, sizeof *event);
    if (!gr_room_record_at(ctx, number, &record)) return NULL;
    room->parsed++;
    return gr_room_event_of(room, arena, &record, event) ? event : NULL;
}

const gr_event *gr_room_state(gr_room *room, gr_ctx *ctx, gr_str type, gr_str state_key)
{
    const gr_event *event;
    if (gr_room_cache_get(room->cache, type, state_key, &event)) return event;
    uint64_t number = gr_room_state_number(room, ctx, room->root, type, state_key);
    gr_arena *own = gr_arena_new(number ? 2048 : 256);
    event = number ? parse_at(room, ctx, own, number) : NULL;
    return gr_room_cache_put(room->cache, type, state_key, &own, event);
}

const gr_event *gr_room_state_at(gr_room *room, gr_ctx *ctx, uint64_t root, gr_str type, gr_str state_key)
{
    if (root == room->root) return gr_room_state(room, ctx, type, state_key);
    uint64_t number = gr_room_state_number(room, ctx, root, type, state_key);
    return number ? parse_at(room, ctx, gr_ctx_arena(ctx), number) : NULL;
}

static const gr_event *auth_get(void *arg, gr_str type, gr_str state_key)
{
    gr_room_nodes *n = arg;
    return gr_room_state(n->room, n->ctx, type, state_key);
}

static const gr_event *auth_get_then(void *arg, gr_str type, gr_str state_key)
{
    gr_room_then *t = arg;
    return gr_room_state_at(t->room, t->ctx, t->root, type, state_key);
}

gr_auth_state gr_room_auth_state_at(gr_room_then *then, gr_room *room, gr_ctx *ctx, uint64_t root)
{
    *then = (gr_room_then){room, ctx, root};
    return (gr_auth_state){auth_get_then, then};
}

gr_auth_state gr_room_auth_state(gr_room_nodes *nodes, gr_room *room, gr_ctx *ctx)
{
    *nodes = (gr_room_nodes){room, ctx};
    return (gr_auth_state){auth_get, nodes};
}
