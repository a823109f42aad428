/* apply.c - what hangs on the current state and moves with it: members, their counts and intervals, visibility.
 * See graph.h. */
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
    if (!gr_room_is_local(ctx, user)) {
        gr_room_count_server(room, ctx, user, by);
        gr_room_remote_moved(room, ctx, user, by > 0);
        return;
    }
    put_local_joined(room, ctx, user, by);
    gr_room_local_moved(room, ctx, by);
    if (by < 0) gr_room_guest_mark(ctx, user, false);
}

static gr_membership move_member(gr_room *room, gr_ctx *ctx, const gr_room_moved_key *k)
{
    gr_str user = k->state_key;
    gr_room_member_row row = k->row ? *k->row : (gr_room_member_row){0};
    if (!k->row && !k->is_new) gr_room_member_at(ctx, user, &row);
    gr_membership before = row.membership, now = k->now;
    if (!k->row && k->number) now = gr_membership_of(gr_json_text(k->content, "membership"));
    if (now != before) {
        count_member(room, ctx, user, before, -1);
        count_member(room, ctx, user, now, 1);
        char membership = (char)now;
        gr_ctx_put(ctx, gr_room_key_interval(ctx, user, k->pos), gr_str_of(&membership, 1));
        row.since = k->pos;
    }
    gr_str key = gr_room_key(ctx, 'u', user);
    gr_buf out = {0};
    gr_buf_char(&out, (char)now);
    gr_buf_u64be(&out, k->number);
    gr_buf_u64be(&out, row.since);
    if (k->number) gr_ctx_put(ctx, key, gr_buf_view(&out));
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

gr_membership gr_room_apply_key(gr_room *room, gr_ctx *ctx, const gr_room_moved_key *k)
{
    gr_room_cache_moved(room->cache, k->type, k->state_key);
    if (gr_str_is(k->type, "m.room.member")) return move_member(room, ctx, k);
    if (k->state_key.size) return GR_MEMBER_NONE;
    if (gr_str_is(k->type, "m.room.history_visibility")) move_visibility(room, ctx, k->content, k->pos);
    if (gr_str_is(k->type, "m.room.guest_access")) gr_room_guest_access(ctx, k->content);
    if (gr_str_is(k->type, "m.room.encryption") && k->content) room->encrypted = true;
    return GR_MEMBER_NONE;
}

static void apply_own_key(gr_room *room, gr_ctx *ctx, gr_room_made *made)
{
    const gr_event *e = &made->event;
    gr_room_moved_key own = {.type = e->type, .state_key = e->state_key, .number = made->number, .pos = made->pos,
                             .content = e->content, .is_new = made->key_is_new};
    made->before = gr_room_apply_key(room, ctx, &own);
    made->is_current = true;
}

void gr_room_apply_event(gr_room *room, gr_ctx *ctx, gr_room_made *made)
{
    const gr_room_record *r = &made->record;
    room->root = r->state_after;
    if (r->pos) gr_room_put_pos(ctx, r->pos, GR_POS_EVENT, r->number, room->root);
    if (r->key) apply_own_key(room, ctx, made);
}

void gr_room_apply_state(gr_room *room, gr_ctx *ctx, uint64_t root, gr_room_made *made)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    const gr_room_record *r = &made->record;
    if (r->key && gr_trie_get(&trie, root, r->key) == r->number) {
        room->root = gr_trie_set(&trie, room->root, r->key, r->number);
        apply_own_key(room, ctx, made);
    }
    if (r->pos) gr_room_put_pos(ctx, r->pos, GR_POS_EVENT, r->number, room->root);
    made->moved_from = room->root;
    made->state_pos = gr_room_move(room, ctx, root);
}

void gr_room_apply_later(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    const gr_room_record *r = &made->record;
    if (r->pos) gr_room_put_pos(ctx, r->pos, GR_POS_EVENT, r->number, room->root);
    gr_room_move_when_resolved(room, ctx);
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
    (void)before;
    if (gr_room_key_text(a->ctx, key, &type, &state_key)
        && (after == 0 || (gr_room_record_at(a->ctx, after, &record)
                           && gr_room_event_of(a->room, gr_ctx_arena(a->ctx), &record, &event))))
        gr_room_apply_key(a->room, a->ctx,
                          &(gr_room_moved_key){.type = type, .state_key = state_key, .number = after,
                                               .pos = a->room->next_pos, .content = event.content});
    a->last = key;
    return ++a->count < a->most;
}

uint64_t gr_room_adopt(gr_room *room, gr_ctx *ctx, uint64_t root, uint64_t after, size_t most)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    adopter a = {.room = room, .ctx = ctx, .most = most};
    gr_assert(room->extremity_count == 0 && most > 0);
    if (room->root == root) return 0;
    gr_trie_diff_from(&trie, room->root, root, after, on_adopted, &a);
    if (a.count == most) return a.last;
    room->root = root;
    gr_room_put_pos(ctx, room->next_pos++, GR_POS_GAP, 0, root);
    return 0;
}
