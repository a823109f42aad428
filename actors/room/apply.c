/* apply.c - what hangs on the current state and moves with it: members, their counts and intervals,
 * visibility. */
#include "actors/room/cache.h"
#include "actors/room/given.h"
#include "actors/room/graph.h"

static void put_local_joined(gr_room *room, gr_ctx *ctx, gr_str user, int by)
{
    uint8_t shard = gr_id_shard(user);
    room->local_joined[shard] += (uint32_t)by;
    gr_str key = gr_room_key(ctx, 's', gr_str_of(&shard, 1));
    gr_buf out = {0};
    gr_buf_u32be(&out, room->local_joined[shard]);
    if (room->local_joined[shard]) gr_ctx_put(ctx, key, gr_buf_view(&out));
    else gr_ctx_del(ctx, key);
    gr_buf_free(&out);
}

static void count_member(gr_room *room, gr_ctx *ctx, gr_str user, gr_membership m, int by)
{
    if (m == GR_MEMBER_INVITE) room->invited += (uint64_t)by;
    if (m != GR_MEMBER_JOIN) return;
    room->joined += (uint64_t)by;
    if (gr_room_is_local(ctx, user)) put_local_joined(room, ctx, user, by);
}

/* number 0: the state has no member event of this user any more. */
static gr_membership move_member(gr_room *room, gr_ctx *ctx, gr_str user, bool is_new, uint64_t number,
                                 const gr_json *content, uint64_t pos)
{
    gr_room_member_row row = {0};
    if (!is_new) gr_room_member_at(ctx, user, &row);
    gr_membership before = row.membership;
    gr_membership now = number ? gr_membership_of(gr_json_text(content, "membership")) : GR_MEMBER_NONE;
    if (now != before) {
        count_member(room, ctx, user, before, -1);
        count_member(room, ctx, user, now, 1);
        char membership = (char)now;
        gr_ctx_put(ctx, gr_room_key_interval(ctx, user, pos), gr_str_of(&membership, 1));
        row.since = pos;
    }
    gr_str key = gr_room_key(ctx, 'u', user);
    gr_buf out = {0};
    gr_buf_char(&out, (char)now);
    gr_buf_u64be(&out, number);
    gr_buf_u64be(&out, row.since);
    if (number) gr_ctx_put(ctx, key, gr_buf_view(&out));
    else gr_ctx_del(ctx, key);
    gr_buf_free(&out);
    return before;
}

static void move_visibility(gr_room *room, gr_ctx *ctx, const gr_json *content, uint64_t pos)
{
    gr_visibility now = gr_visibility_of(gr_json_text(content, "history_visibility"));
    char value = (char)now;
    room->visibility = now;
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'v', pos), gr_str_of(&value, 1));
}

/* One key of the current state has another event; content is NULL when it has none. */
static gr_membership move_key(gr_room *room, gr_ctx *ctx, gr_str type, gr_str state_key, bool is_new,
                              uint64_t number, const gr_json *content, uint64_t pos)
{
    gr_room_cache_moved(room->cache, type, state_key);
    if (gr_str_is(type, "m.room.member"))
        return move_member(room, ctx, state_key, is_new, number, content, pos);
    if (state_key.size) return GR_MEMBER_NONE;
    if (gr_str_is(type, "m.room.history_visibility")) move_visibility(room, ctx, content, pos);
    if (gr_str_is(type, "m.room.encryption") && content) room->encrypted = true;
    return GR_MEMBER_NONE;
}

void gr_room_apply_event(gr_room *room, gr_ctx *ctx, gr_room_made *made)
{
    const gr_room_record *r = &made->record;
    room->root = r->state_after;
    made->is_current = r->key != 0;
    if (r->pos) gr_room_put_pos(ctx, r->pos, GR_POS_EVENT, r->number, room->root);
    if (r->key)
        made->before = move_key(room, ctx, made->event.type, made->event.state_key, made->key_is_new,
                                r->number, made->event.content, r->pos);
}

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    gr_room_made *made;
    uint64_t pos;
    bool others; /* keys besides the event's own moved */
} mover;

/* A local user hears of the own membership even when no event of its own tells of it. */
static void note_moved(mover *m, gr_str user)
{
    gr_strs *list = &m->made->moved;
    if (!gr_room_is_local(m->ctx, user)) return;
    if ((list->count & (list->count - 1)) == 0) {
        gr_str *at = gr_arena_alloc(gr_ctx_arena(m->ctx), (list->count ? list->count * 2 : 1) * sizeof *at);
        if (list->count) memcpy(at, list->at, list->count * sizeof *at);
        list->at = at;
    }
    list->at[list->count++] = gr_arena_str(gr_ctx_arena(m->ctx), user);
}

static bool on_moved(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    mover *m = arg;
    gr_str type, state_key;
    (void)before;
    if (!gr_room_key_text(m->ctx, key, &type, &state_key)) return true;
    bool own = key == m->made->record.key && after == m->made->number;
    gr_room_record record;
    gr_event event = {0};
    gr_arena *a = gr_ctx_arena(m->ctx);
    if (own) event = m->made->event;
    else if (after
             && (!gr_room_record_at(m->ctx, after, &record)
                 || !gr_room_event_of(m->room, a, &record, &event)))
        return true;
    uint64_t pos = own ? m->made->pos : m->pos;
    m->others = m->others || !own;
    gr_membership was =
        move_key(m->room, m->ctx, type, state_key, false, after, after ? event.content : NULL, pos);
    if (own) {
        m->made->before = was;
        m->made->is_current = true;
    } else if (gr_str_is(type, "m.room.member")) {
        note_moved(m, state_key);
    }
    return true;
}

void gr_room_apply_state(gr_room *room, gr_ctx *ctx, uint64_t root, gr_room_made *made)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    const gr_room_record *r = &made->record;
    uint64_t old = room->root, between = old;
    if (r->key && gr_trie_get(&trie, root, r->key) == r->number)
        between = gr_trie_set(&trie, old, r->key, r->number);
    mover m = {room, ctx, made, room->next_pos, false};
    room->root = root;
    if (r->pos) gr_room_put_pos(ctx, r->pos, GR_POS_EVENT, r->number, between);
    gr_trie_diff(&trie, old, root, on_moved, &m);
    if (!m.others) return;
    made->state_pos = room->next_pos++;
    gr_room_put_pos(ctx, made->state_pos, GR_POS_STATE, 0, root);
}

/* --- a state as a whole -------------------------------------------------------------------------------- */
typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    size_t count, most;
    uint64_t last;
} adopter;

static bool on_adopted(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    adopter *a = arg;
    gr_str type, state_key;
    gr_room_record record;
    gr_event event = {0};
    if (gr_room_key_text(a->ctx, key, &type, &state_key)
        && (after == 0 || (gr_room_record_at(a->ctx, after, &record)
                           && gr_room_event_of(a->room, gr_ctx_arena(a->ctx), &record, &event))))
        move_key(a->room, a->ctx, type, state_key, before == 0, after, event.content, a->room->next_pos);
    a->last = key;
    return ++a->count < a->most;
}

uint64_t gr_room_adopt(gr_room *room, gr_ctx *ctx, uint64_t root, uint64_t after, size_t most)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    adopter a = {.room = room, .ctx = ctx, .most = most};
    gr_assert(room->extremity_count == 0 && most > 0);
    gr_trie_diff_from(&trie, room->root, root, after, on_adopted, &a);
    if (a.count == most) return a.last;
    room->root = root;
    gr_room_put_pos(ctx, room->next_pos++, GR_POS_GAP, 0, root);
    return 0;
}
