/* check_current.c - the current state, and what hangs on it: members, their numbers, visibility. See check.h. */
#include "actors/env.h"
#include "actors/room/check_inside.h"
#include "actors/room/read.h"

enum { INTERVALS = 128 };              /* read at a time */

typedef struct {
    room_check *check;
    gr_trie trie;
    uint64_t members, joined, invited, elsewhere, local_joined[GR_SHARDS];
} present;

static void check_root(room_check *c)
{
    uint64_t roots[GR_ROOM_EXTREMITIES_MAX], root;
    gr_check_step(c);
    for (size_t i = 0; i < c->room->extremity_count; i++) roots[i] = c->room->extremities[i].root;
    gr_err err = gr_room_resolve(c->room, c->ctx, (gr_u64s){roots, c->room->extremity_count}, &root);
    if (gr_failed(err)) gr_check_problem(c, GR_STR("m"), "the current state can't be resolved");
    else if (!gr_check_same(c, root, c->room->root))
        gr_check_problem(c, GR_STR("m"), "the current state is not what the forward extremities give");
}

static void check_member(present *p, const gr_room_record *r, const gr_event *e)
{
    gr_room_member_row row;
    room_check *c = p->check;
    gr_membership now = gr_membership_of(gr_json_text(e->content, "membership"));
    p->members++;
    p->joined += now == GR_MEMBER_JOIN;
    p->invited += now == GR_MEMBER_INVITE;
    if (now == GR_MEMBER_JOIN && gr_room_is_local(c->ctx, r->state_key)) p->local_joined[gr_id_shard(r->state_key)]++;
    else if (now == GR_MEMBER_JOIN && gr_ident_server_name(gr_ident_domain(r->state_key))) p->elsewhere++;
    if (!gr_room_member_at(c->ctx, r->state_key, &row) || row.number != r->number || row.membership != now)
        gr_check_event_problem(c, r->number, "the member has another row than the current state says");
}

static void check_key(present *p, uint64_t key)
{
    gr_room_record r;
    gr_event e;
    room_check *c = p->check;
    uint64_t number = gr_trie_get(&p->trie, c->room->root, key);
    if (number == 0) return;
    if (!gr_room_record_at(c->ctx, number, &r) || !gr_room_event_of(c->room, gr_ctx_arena(c->ctx), &r, &e))
        gr_check_event_problem(c, number, "an event of the current state can't be read");
    else if (r.key != key || (r.flags & GR_ROOM_REJECTED))
        gr_check_event_problem(c, number, "an event of the current state was rejected, or has another key");
    else if (gr_str_is(r.type, "m.room.member")) check_member(p, &r, &e);
}

static void check_counts(present *p)
{
    const gr_room *room = p->check->room;
    size_t rows = 0;
    gr_ctx_scan_prefix(p->check->ctx, GR_STR("u"), 0, gr_ctx_count_row, &rows);
    if (rows != p->members) gr_check_problem(p->check, GR_STR("u"), "there are more members than the current state has");
    bool counted = room->joined == p->joined && room->invited == p->invited;
    for (int i = 0; i < GR_SHARDS; i++) counted = counted && room->local_joined[i] == p->local_joined[i];
    if (!counted) gr_check_problem(p->check, GR_STR("m"), "the numbers of members are others than the current state says");
}

typedef struct { uint64_t joined; uint32_t servers[GR_SHARDS]; } others;

static bool on_server(void *arg, gr_str key, gr_str value)
{
    others *o = arg;
    o->joined += value.size == 8 ? gr_u64be(value.ptr) : 0;
    o->servers[gr_id_shard(gr_str_from(key, 1))]++;
    return true;
}

/* Rows n count the joined members of other servers, row S those servers. */
static void check_servers(present *p)
{
    const gr_room *room = p->check->room;
    others o = {0};
    gr_ctx_scan_prefix(p->check->ctx, GR_STR("n"), 0, on_server, &o);
    if (o.joined != p->elsewhere || memcmp(o.servers, room->servers, sizeof o.servers) != 0)
        gr_check_problem(p->check, GR_STR("n"), "the servers of the members are others than the current state says");
}

static void check_flags(room_check *c)
{
    gr_str none;
    const gr_event *e = gr_room_state(c->room, c->ctx, GR_STR("m.room.history_visibility"), (gr_str){0});
    gr_visibility visible = e ? gr_visibility_of(gr_json_text(e->content, "history_visibility")) : GR_VISIBLE_SHARED;
    if (c->room->visibility != visible) gr_check_problem(c, GR_STR("m"), "history is visible to others than the state says");
    if (visible != GR_VISIBLE_SHARED && visible != GR_VISIBLE_WORLD && !gr_ctx_get(c->ctx, GR_STR("V"), &none))
        gr_check_problem(c, GR_STR("V"), "the room has forgotten that history was hidden");
    e = gr_room_state(c->room, c->ctx, GR_STR("m.room.encryption"), (gr_str){0});
    if (e && !c->room->encrypted) gr_check_problem(c, GR_STR("m"), "the room has forgotten that it is encrypted");
}

/* --- intervals: what they say of a position is what the state there said -------------------------------- */
typedef struct { gr_str user; uint64_t pos; char is; } interval;
typedef struct { gr_arena *arena; gr_str from; interval at[INTERVALS]; size_t count; } intervals;

static bool on_interval(void *arg, gr_str key, gr_str value)
{
    intervals *i = arg;
    if (key.size < 9 || value.size != 1) return true;
    gr_str user = key.ptr[0] == 'w' && key.size > 10 ? gr_str_of(key.ptr + 1, key.size - 10) : (gr_str){0};
    i->at[i->count++] = (interval){gr_arena_str(i->arena, user), gr_u64be(key.ptr + key.size - 8), value.ptr[0]};
    i->from = gr_arena_cat(i->arena, 2, (gr_str[]){key, GR_STR("\0")});
    return i->count < INTERVALS;
}

static char said_at(room_check *c, const interval *i)
{
    uint64_t root = gr_room_root_at(c->room, c->ctx, i->pos);
    gr_str type = i->user.size ? GR_STR("m.room.member") : GR_STR("m.room.history_visibility");
    const gr_event *e = gr_room_state_at(c->room, c->ctx, root, type, i->user);
    if (i->user.size) return (char)(e ? gr_membership_of(gr_json_text(e->content, "membership")) : GR_MEMBER_NONE);
    return (char)gr_visibility_of(e ? gr_json_text(e->content, "history_visibility") : (gr_str){0});
}

static void check_interval(room_check *c, const interval *i)
{
    gr_check_step(c);
    if (i->pos < c->room->floor || i->is == said_at(c, i)) return;
    gr_str key = i->user.size ? gr_room_key_interval(c->ctx, i->user, i->pos) : gr_room_key_number(c->ctx, 'v', i->pos);
    gr_check_problem(c, key, "the interval does not say what the state at its beginning did");
}

static void check_intervals(room_check *c, const char *first, const char *end)
{
    intervals i = {.from = gr_str_c(first), .count = INTERVALS};
    while (i.count == INTERVALS) {
        i.count = 0;
        gr_arena *a = gr_arena_new(0), *last = i.arena;
        i.arena = a;
        gr_check_step(c);
        gr_ctx_scan(c->ctx, i.from, gr_str_c(end), false, INTERVALS, on_interval, &i);
        gr_arena_free(&last);
        for (size_t k = 0; k < i.count; k++) check_interval(c, &i.at[k]);
    }
    gr_arena_free(&i.arena);
}

/* A room that is being joined has no extremity yet, and half of its members. */
void gr_check_current(room_check *c)
{
    gr_room_nodes nodes;
    present p = {.check = c, .trie = gr_room_trie(&nodes, c->room, c->ctx)};
    if (c->room->extremity_count == 0) return;
    check_root(c);
    for (uint64_t key = 1; key < c->room->next_key; key++) {
        gr_check_step(c);
        check_key(&p, key);
    }
    gr_check_step(c);
    check_counts(&p);
    check_servers(&p);
    check_flags(c);
    check_intervals(c, "v", "w");
    check_intervals(c, "w", "x");
}
