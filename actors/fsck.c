/* fsck.c - checks of the rows of actors. See fsck.h; the layout is in room.h, feed.h and bus/ctx.h. */
#include "actors/fsck.h"

#include "actors/feed/feed_private.h"
#include "actors/env.h"
#include "actors/room/check.h"
#include "actors/room/record.h"
#include "bus/ctx.h"
#include "proto/json.h"

enum {
    RUNTIME_FIRST = 1,
    RUNTIME_LAST = 8,
    META_FORMAT = 2,
    META_HEAD = 3,
    META_NUMBERS = 9,
    META_ROOT = 5,
    EVENT_NUMBER = 8,
    POSITION_ROW = 17
};

/* A row of an actor: prefix is kind, id and NUL; own is the actor's own key. */
typedef struct {
    const gr_fsck_at *at;
    gr_str key, prefix, own, value;
} row;

static void problem(const row *r, const char *what)
{
    gr_fsck_problem(r->at->fsck, r->at->shard, r->key, what);
}

/* Another row of the same actor, its own key made of a letter and bytes; false when there is none. */
static bool sibling(const row *r, char letter, gr_str rest, gr_str *value)
{
    gr_shard shard = {.store = r->at->store, .shard = r->at->shard};
    gr_str key = gr_arena_cat(r->at->arena, 3, (gr_str[]){r->prefix, {&letter, 1}, rest});
    return !gr_failed(gr_shard_get(&shard, r->at->snapshot, key, r->at->arena, value)) && value->ptr;
}

/* --- rooms -------------------------------------------------------------------------------------------- */
static bool has_event(const row *r, gr_str number)
{
    gr_str value;
    return number.size == EVENT_NUMBER && sibling(r, 'e', number, &value);
}

static void check_event(const row *r)
{
    gr_room_record record;
    gr_str number = gr_str_from(r->own, 1), back;
    const gr_json *event;
    if (!gr_room_record_read(r->value, &record) || record.event_id.size == 0)
        problem(r, "the event record can't be read");
    else if (number.size != EVENT_NUMBER || gr_u64be(number.ptr) != record.number)
        problem(r, "the event has another number");
    else if (!sibling(r, 'i', record.event_id, &back)) problem(r, "the index by event id has no such event");
    else if (!gr_str_eq(back, number)) problem(r, "the index by event id points to another event");
    else if (gr_failed(gr_json_parse(r->at->arena, record.json, GR_JSON_LAX, &event)))
        problem(r, "the event is no JSON");
}

static void check_index(const row *r)
{
    gr_room_record record;
    gr_str value;
    if (r->value.size != EVENT_NUMBER || !sibling(r, 'e', r->value, &value))
        problem(r, "the event of this id is missing");
    else if (!gr_room_record_read(value, &record) || !gr_str_eq(record.event_id, gr_str_from(r->own, 1)))
        problem(r, "the event found by this id has another id");
}

static void check_position(const row *r)
{
    gr_str node;
    if (r->own.size != 9 || r->value.size != POSITION_ROW || r->value.ptr[0] < GR_POS_EVENT
        || r->value.ptr[0] > GR_POS_GAP) {
        problem(r, "the position can't be read");
        return;
    }
    gr_str number = {r->value.ptr + 1, EVENT_NUMBER}, root = {r->value.ptr + 9, 8};
    if ((gr_u64be(number.ptr) || r->value.ptr[0] == GR_POS_EVENT) && !has_event(r, number))
        problem(r, "the event at this position is missing");
    if (gr_u64be(root.ptr) && !sibling(r, 't', root, &node))
        problem(r, "the state after this position is missing");
}

/* Positions of history are not those of the stream. */
static bool is_history(const row *r)
{
    gr_str value;
    gr_room_record record;
    return sibling(r, 'e', r->value, &value) && gr_room_record_read(value, &record) && (record.flags & GR_ROOM_HISTORY);
}

static void check_depth(const row *r)
{
    gr_str value;
    if (r->own.size != 17 || !has_event(r, r->value)) problem(r, "the event in order of depth is missing");
    else if (!sibling(r, 'p', gr_str_from(r->own, 9), &value) && !is_history(r))
        problem(r, "the position in order of depth is missing");
}

static void check_state_key(const row *r)
{
    gr_str back;
    bool by_text = r->own.ptr[0] == 'k';
    if (!sibling(r, by_text ? 'K' : 'k', r->value, &back) || !gr_str_eq(back, gr_str_from(r->own, 1)))
        problem(r, "text and number of this state key do not agree");
}

static void check_member(const row *r)
{
    if (r->value.size != 17 || !has_event(r, (gr_str){r->value.ptr + 1, EVENT_NUMBER}))
        problem(r, "the member event is missing");
}

/* --- the current state: all nodes, and all events in them --------------------------------------------- */
typedef struct {
    const row *r;
    uint64_t missing_nodes, missing_events;
} walking;

static gr_str number_bytes(gr_arena *a, uint64_t n)
{
    char *bytes = gr_arena_alloc(a, 8);
    for (int i = 0; i < 8; i++) bytes[i] = (char)(n >> (56 - 8 * i));
    return gr_str_of(bytes, 8);
}

static bool get_node(void *arg, uint64_t node, gr_str *bytes)
{
    walking *w = arg;
    bool found = sibling(w->r, 't', number_bytes(w->r->at->arena, node), bytes);
    w->missing_nodes += !found;
    return found;
}

static bool look_at_leaf(void *arg, uint64_t key, uint64_t event)
{
    walking *w = arg;
    gr_arena *a = w->r->at->arena;
    gr_str value;
    if (!has_event(w->r, number_bytes(a, event)) || !sibling(w->r, 'K', number_bytes(a, key), &value))
        w->missing_events++;
    return true;
}

/* The meta record begins: format, flags, visibility, size and text of the version, then the numbers
 * (gr_room_save in state.c). */
static bool root_of(gr_str meta, uint64_t *root)
{
    size_t version = meta.size > META_HEAD ? (unsigned char)meta.ptr[META_HEAD] : 0,
           at = META_HEAD + 1 + version;
    if (meta.size < at + 8 * META_NUMBERS || meta.ptr[0] != META_FORMAT) return false;
    *root = gr_u64be(meta.ptr + at + 8 * META_ROOT);
    return true;
}

static void check_meta(const row *r)
{
    walking w = {.r = r};
    gr_trie trie = {.get = get_node, .arg = &w};
    uint64_t root = 0;
    if (!root_of(r->value, &root)) {
        problem(r, "the room's own record can't be read");
        return;
    }
    gr_trie_each(&trie, root, look_at_leaf, &w);
    if (w.missing_nodes) problem(r, "a node of the current state is missing");
    if (w.missing_events) problem(r, "an event of the current state is missing");
}

static void on_recomputed(void *arg, gr_str own_key, const char *what)
{
    const row *r = arg;
    gr_str key = gr_arena_cat(r->at->arena, 2, (gr_str[]){r->prefix, own_key});
    gr_fsck_problem(r->at->fsck, r->at->shard, key, what);
}

/* All that follows from the events, once per room. */
static void recompute(const row *r, gr_fsck_rooms *c)
{
    gr_shard home = {.store = r->at->store, .shard = r->at->shard};
    gr_ctx ctx = {.arena = gr_arena_new(0), .home = &home, .snapshot = r->at->snapshot, .shard = r->at->shard, .env = c->env};
    gr_str id = {r->prefix.ptr + 1, r->prefix.size - 2};
    gr_ctx_begin(&ctx, gr_address(r->at->arena, GR_KIND_ROOM, id));
    if (!gr_room_check(&ctx, on_recomputed, (void *)r)) {
        gr_buf_char(&c->uncovered, (char)r->at->shard);
        gr_buf_varint(&c->uncovered, r->prefix.size);
        gr_buf_str(&c->uncovered, r->prefix);
    }
    gr_arena_free(&ctx.arena);
    gr_ctx_free(&ctx);
}

static void check_room(const row *r, gr_fsck_rooms *c)
{
    static const char others[] = "vwxXrRflLTyasbBcCDgGPzqQoMWhOjFUYVnNSZ";
    char letter = r->own.ptr[0];
    switch (letter) {
    case 'm':
        check_meta(r);
        recompute(r, c);
        return;
    case 'e': check_event(r); return;
    case 'i': check_index(r); return;
    case 'p': check_position(r); return;
    case 'd': check_depth(r); return;
    case 'k':
    case 'K': check_state_key(r); return;
    case 'u': check_member(r); return;
    case 't':
        if (r->own.size != 9 || r->value.size < 5 || r->value.ptr[0] != 1)
            problem(r, "the state node can't be read");
        return;
    default:
        if (letter == 0 || !strchr(others, letter))
            gr_fsck_unknown(r->at->fsck, r->at->shard, r->key, "rooms have no such row");
    }
}

/* --- feeds -------------------------------------------------------------------------------------------- */
static void check_feed_row(const row *r)
{
    gr_feed_row feed_row;
    gr_feed_head head;
    gr_str value, room = {r->own.ptr + 1, 0};
    ptrdiff_t end = gr_str_find(r->own, 0);
    if (end > 1) room.size = (size_t)end - 1;
    if (end < 1 || (size_t)end + 9 != r->own.size || !gr_feed_row_read(r->own, r->value, &feed_row))
        problem(r, "the row of the feed can't be read");
    else if (sibling(r, 'P', room, &value)) return;                /* of a room that is gone */
    else if (!sibling(r, 'h', room, &value) || !gr_feed_head_read(value, &head))
        problem(r, "the row of the feed has no head");
    else if (feed_row.position > head.position || feed_row.room_pos > head.room_pos)
        problem(r, "the row of the feed is beyond its head");
}

static void check_feed(const row *r)
{
    static const char others[] = "mnquNyYP";
    gr_feed_head head;
    char letter = r->own.ptr[0];
    if (letter == 'e') {
        check_feed_row(r);
    } else if (letter == 'h') {
        if (!gr_feed_head_read(r->value, &head)) problem(r, "the head of the feed can't be read");
    } else if (letter == 0 || !strchr(others, letter)) {
        gr_fsck_unknown(r->at->fsck, r->at->shard, r->key, "feeds have no such row");
    }
}

/* --- destinations ------------------------------------------------------------------------------------- */
static bool read_body(const row *r, gr_str bytes, const gr_type *type, void *out)
{
    void *body = NULL;
    if (gr_failed(gr_body_decode(r->at->arena, type, bytes, &body))) return false;
    memcpy(out, body, type->size);
    return true;
}

static void check_owed(const row *r)
{
    gr_owed_row owed;
    gr_str room;
    if (!read_body(r, r->value, &gr_type_owed_row, &owed)) problem(r, "what a room owes can't be read");
    else if (!sibling(r, 'n', number_bytes(r->at->arena, owed.number), &room) || !gr_str_eq(room, gr_str_from(r->own, 1)))
        problem(r, "what a room owes is not in the order of what is owed");
}

static void check_owed_order(const row *r)
{
    gr_owed_row owed;
    gr_str value;
    bool good = r->own.size == 9 && sibling(r, 'r', r->value, &value) && read_body(r, value, &gr_type_owed_row, &owed);
    if (!good || owed.number != gr_u64be(r->own.ptr + 1)) problem(r, "the room at this place owes nothing");
}

/* A letter of the queue, its own letter, and a number, a fold or nothing. */
static void check_queue(const row *r)
{
    gr_queue_row queue;
    gr_queue_item_row item;
    char letter = r->own.ptr[0];
    if (letter == 's' && !read_body(r, r->value, &gr_type_queue_row, &queue)) problem(r, "the queue can't be read");
    else if (letter == 's' && (queue.first > queue.next || queue.end > queue.next)) problem(r, "the queue ends before it begins");
    else if ((letter == 'q' || letter == 'x') && !read_body(r, r->value, &gr_type_queue_item_row, &item))
        problem(r, "what waits in the queue can't be read");
}

static void check_destination(const row *r)
{
    static const char others[] = "kobucf";
    char letter = r->own.ptr[0];
    if (letter == 'r') check_owed(r);
    else if (letter == 'n') check_owed_order(r);
    else if (letter == 'q' || letter == 's' || letter == 'x') check_queue(r);
    else if (letter == 0 || !strchr(others, letter))
        gr_fsck_unknown(r->at->fsck, r->at->shard, r->key, "destinations have no such row");
}

/* --- all ---------------------------------------------------------------------------------------------- */
static void check_actor(void *arg, const gr_fsck_at *at, gr_str key, gr_str value)
{
    ptrdiff_t end = gr_str_find(key, 0);
    gr_kind kind = (gr_kind)(key.ptr[0] - GR_ACTOR_KEY_FIRST);
    if (end < 2 || (size_t)end + 1 == key.size) {
        gr_fsck_problem(at->fsck, at->shard, key, "no actor can have this key");
        return;
    }
    row r = {at, key, gr_str_head(key, (size_t)end + 1), gr_str_from(key, (size_t)end + 1), value};
    gr_str id = {key.ptr + 1, (size_t)end - 1};
    if (!gr_address_valid(gr_address(at->arena, kind, id))) problem(&r, "this is no address of an actor");
    else if (gr_address_shard(gr_address(at->arena, kind, id)) != at->shard)
        problem(&r, "the actor belongs to another shard");
    else if (kind == GR_KIND_ROOM && gr_str_find(id, '/') < 0) check_room(&r, arg);
    else if (kind == GR_KIND_FEED) check_feed(&r);
    else if (kind == GR_KIND_DESTINATION) check_destination(&r);
}

/* Numbers of posts, timers and the like: the runtime reads all of them at every start. */
static void check_runtime(void *arg, const gr_fsck_at *at, gr_str key, gr_str value)
{
    (void)arg, (void)at, (void)key, (void)value;
}

void gr_fsck_actors(gr_fsck *fsck, gr_fsck_rooms *rooms)
{
    static char first[GR_ACTOR_KEY_FIRST + GR_KIND_COUNT];
    for (int i = 0; i < (int)sizeof first; i++) first[i] = (char)i;
    for (int i = RUNTIME_FIRST; i <= RUNTIME_LAST; i++)
        gr_fsck_check(fsck, gr_str_of(first + i, 1), check_runtime, NULL);
    for (int kind = 1; kind < GR_KIND_COUNT; kind++)
        if (kind != GR_KIND_EDGE)
            gr_fsck_check(fsck, gr_str_of(first + GR_ACTOR_KEY_FIRST + kind, 1), check_actor, rooms);
}
