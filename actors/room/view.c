/* view.c - which events a user may see. See read.h; client-server API, "Room history visibility".
 *
 * The rules speak of the state at an event.  In most rooms no state that there ever was hides anything from members, which
 * row V would tell; then the position at which the user left decides.  Else, where the state at the event is what the room's
 * state was at its position, and that is everywhere but in forks, visibility and own membership are found in their intervals.
 * In forks they are looked up in the state itself.  What was found is remembered by the root: events in a row share it.
 */
#include "actors/room/read.h"

typedef struct { gr_view *view; size_t count; gr_room_interval at[GR_READ_INTERVALS_MAX]; } collector;

static bool on_interval(void *arg, gr_str key, gr_str value)
{
    collector *c = arg;
    if (key.size < 8 || value.size != 1 || c->count == GR_READ_INTERVALS_MAX) return true;
    c->at[c->count++] = (gr_room_interval){gr_u64be(key.ptr + key.size - 8), (gr_membership)value.ptr[0]};
    return true;
}

const gr_room_interval *gr_view_intervals(gr_view *v, size_t *count)
{
    *count = v->own_count;
    if (v->own) return v->own;
    collector *c = gr_arena_alloc(gr_ctx_arena(v->ctx), sizeof *c);
    gr_ctx_scan(v->ctx, gr_room_key_interval(v->ctx, v->user, 0), gr_room_key_interval(v->ctx, v->user, UINT64_MAX), true,
                GR_READ_INTERVALS_MAX, on_interval, c);
    v->own = gr_arena_alloc(gr_ctx_arena(v->ctx), (c->count + 1) * sizeof *v->own);
    *count = v->own_count = c->count;
    for (size_t i = 0; i < c->count; i++) v->own[i] = c->at[c->count - 1 - i];
    return v->own;
}

static uint64_t last_left(gr_view *v)
{
    size_t count;
    uint64_t until = 0;
    const gr_room_interval *own = gr_view_intervals(v, &count);
    for (size_t i = 0; i < count; i++)
        if (own[i].membership == GR_MEMBER_JOIN) until = i + 1 < count ? own[i + 1].pos : UINT64_MAX;
    return until;
}

void gr_view_begin(gr_view *v, gr_room *room, gr_ctx *ctx, gr_str user, gr_str device)
{
    gr_str none;
    *v = (gr_view){.room = room, .ctx = ctx, .user = user, .device = device, .rows_left = 2048};
    v->open = !gr_ctx_get(ctx, GR_STR("V"), &none);
    v->now = gr_room_membership(ctx, user);
    v->until = v->now == GR_MEMBER_JOIN ? UINT64_MAX : last_left(v);
}

gr_err gr_view_check(gr_view *v)
{
    if (v->until || v->room->visibility == GR_VISIBLE_WORLD) return gr_ok();
    return gr_fail(GR_FORBIDDEN, "You are not in this room and never were, and its history is not readable to everybody");
}

/* --- the state at an event ------------------------------------------------------------------------------ */
static bool event_by(gr_view *v, uint64_t number, gr_event *e)
{
    gr_room_record record;
    return gr_room_record_at(v->ctx, number, &record)
        && gr_room_event_of(v->room, gr_ctx_arena(v->ctx), &record, e);
}

gr_membership gr_view_membership_by(gr_view *v, uint64_t number)
{
    gr_event e;
    return number && event_by(v, number, &e) ? gr_membership_of(gr_json_text(e.content, "membership")) : GR_MEMBER_NONE;
}

static gr_visibility visibility_by(gr_view *v, uint64_t number)
{
    gr_event e;
    if (!number || !event_by(v, number, &e)) return GR_VISIBLE_SHARED;
    return gr_visibility_of(gr_json_text(e.content, "history_visibility"));
}

/* The membership at a position; false when it lies before all that are known. */
static bool own_at(gr_view *v, uint64_t pos, gr_membership *out)
{
    size_t count, low = 0;
    const gr_room_interval *own = gr_view_intervals(v, &count);
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (own[middle].pos <= pos) low = middle + 1;
        else high = middle;
    }
    *out = low ? own[low - 1].membership : GR_MEMBER_NONE;
    return low || count < GR_READ_INTERVALS_MAX;
}

static bool on_visibility(void *arg, gr_str key, gr_str value)
{
    (void)key;
    if (value.size == 1) *(gr_visibility *)arg = (gr_visibility)value.ptr[0];
    return false;
}

static gr_visibility visibility_at(gr_view *v, uint64_t pos)
{
    gr_visibility found = GR_VISIBLE_SHARED;
    gr_ctx_scan(v->ctx, GR_STR("v"), gr_room_key_number(v->ctx, 'v', pos + 1), true, 1, on_visibility, &found);
    return found;
}

static gr_room_moment state_moment(gr_view *v, uint64_t root)
{
    if (!v->keys_known) {
        v->member_key = gr_room_key_of(v->room, v->ctx, GR_STR("m.room.member"), v->user);
        v->visibility_key = gr_room_key_of(v->room, v->ctx, GR_STR("m.room.history_visibility"), (gr_str){0});
        v->keys_known = true;
    }
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, v->room, v->ctx);
    uint64_t member = v->member_key ? gr_trie_get(&trie, root, v->member_key) : 0;
    uint64_t visibility = v->visibility_key ? gr_trie_get(&trie, root, v->visibility_key) : 0;
    return (gr_room_moment){true, root, gr_view_membership_by(v, member), visibility_by(v, visibility)};
}

gr_room_moment gr_view_moment(gr_view *v, uint64_t root, uint64_t pos)
{
    if (root == v->room->root) return (gr_room_moment){true, root, v->now, v->room->visibility};
    for (size_t i = 0; i < GR_READ_MOMENTS; i++)
        if (v->moments[i].known && v->moments[i].root == root) return v->moments[i];
    gr_room_moment m = {.known = true, .root = root};
    if (gr_room_root_at(v->room, v->ctx, pos) == root && own_at(v, pos, &m.membership)) m.visibility = visibility_at(v, pos);
    else m = state_moment(v, root);
    v->moments[v->next_moment++ % GR_READ_MOMENTS] = m;
    return m;
}

static bool allows(const gr_view *v, gr_room_moment m, uint64_t pos)
{
    if (m.visibility == GR_VISIBLE_WORLD) return true;
    if (pos > v->until) return false;                      /* never joined, or it came after the user had left */
    if (m.membership == GR_MEMBER_JOIN || m.visibility == GR_VISIBLE_SHARED) return true;
    return m.visibility == GR_VISIBLE_INVITED && m.membership == GR_MEMBER_INVITE;
}

/* Events whose own change counts too: whichever side of them shows them. */
static bool has_two_sides(const gr_view *v, const gr_room_record *r)
{
    if (!r->is_state) return false;
    if (gr_str_is(r->type, "m.room.history_visibility")) return r->state_key.size == 0;
    return gr_str_is(r->type, "m.room.member") && gr_str_eq(r->state_key, v->user);
}

bool gr_view_sees(gr_view *v, const gr_room_record *r)
{
    if (r->pos == 0 || !(r->flags & GR_ROOM_ACCEPTED) || (r->flags & (GR_ROOM_REJECTED | GR_ROOM_SOFT_FAILED)))
        return false;
    if (r->pos < v->room->floor) return false;             /* purged */
    if (v->open && r->pos <= v->until) return true;
    if (allows(v, gr_view_moment(v, r->state_before, r->pos - 1), r->pos)) return true;
    return has_two_sides(v, r) && allows(v, gr_view_moment(v, r->state_after, r->pos), r->pos);
}

uint64_t gr_room_root_at(gr_room *room, gr_ctx *ctx, uint64_t pos)
{
    gr_pos_kind kind;
    uint64_t number, root;
    if (pos == 0) return 0;
    if (pos + 1 >= room->next_pos) return room->root;
    return gr_room_pos_at(ctx, pos, &kind, &number, &root) ? root : 0;
}

uint64_t gr_view_root(gr_view *v)
{
    if (v->now == GR_MEMBER_JOIN || v->until == 0 || v->room->visibility == GR_VISIBLE_WORLD) return v->room->root;
    return gr_room_root_at(v->room, v->ctx, v->until);
}
