/* extremity.c - the forward extremities of a room: which events a new one follows, and how wide forks heal.
 * See graph.h.
 *
 * An event names at most 20 predecessors.  Every event made here joins as many branches; where nobody here
 * speaks for a while a dummy event does, an event without content that no client is shown.
 */
#include "actors/room/graph.h"
#include "actors/room/policy.h"
#include "actors/room/record.h"

#include <stdlib.h>

enum {
    HEAL_ABOVE = 10,        /* extremities */
    HEAL_DELAY_MS = 10000,  /* a burst from other servers mostly joins its branches itself */
    HEAL_AGAIN_EVERY = 64,  /* events, while nobody could */
    SPEAKERS_SEEN = 16,     /* newest events whose senders are asked for first */
    MEMBERS_SEEN = 200,
    HIDDEN_PREVS_MAX = 40,  /* looked behind for one event */
    LEAVING_SEEN = 8        /* events looked at for how users here left */
};

static const char timer_name[] = "extremities", dummy_type[] = "org.matrix.dummy_event";

bool gr_room_is_dummy(const gr_event *e) { return !e->has_state_key && gr_str_is(e->type, dummy_type); }

/* --- what a new event follows -------------------------------------------------------------------------- */
gr_strs gr_room_prevs(const gr_room *room, gr_ctx *ctx, int64_t *depth)
{
    size_t total = room->extremity_count, count = total < GR_EVENT_PREV_MAX ? total : GR_EVENT_PREV_MAX;
    gr_strs prevs = {gr_arena_alloc(gr_ctx_arena(ctx), (count + 1) * sizeof(gr_str)), count};
    uint64_t deepest = 0, most = (uint64_t)room->version->depth_max;
    for (size_t i = 0; i < count; i++) {
        const gr_room_extremity *e = &room->extremities[total - count + i];
        prevs.at[i] = gr_arena_str(gr_ctx_arena(ctx), e->id);
        if (e->depth > deepest) deepest = e->depth;
    }
    *depth = (int64_t)(deepest < most ? deepest + 1 : most);
    return prevs;
}

/* --- what an accepted event does to them --------------------------------------------------------------- */
typedef struct {
    gr_str at[HIDDEN_PREVS_MAX];
    size_t count;
} hidden_prevs;

static bool among(const gr_str *ids, size_t count, gr_str id)
{
    for (size_t i = 0; i < count; i++)
        if (gr_str_eq(ids[i], id)) return true;
    return false;
}

const gr_room_extremity *gr_room_extremity_of(const gr_room *room, gr_str id)
{
    for (size_t i = 0; i < room->extremity_count; i++)
        if (gr_str_eq(room->extremities[i].id, id)) return &room->extremities[i];
    return NULL;
}

/* Soft-failed and rejected events take no extremity's place; an accepted one behind them does it for them. */
static void look_behind(gr_room *room, gr_ctx *ctx, gr_strs prevs, hidden_prevs *behind)
{
    for (size_t i = 0; i < prevs.count; i++) {
        uint64_t number;
        gr_room_record r;
        gr_event e;
        if (gr_room_extremity_of(room, prevs.at[i]) || !gr_room_number_of(ctx, prevs.at[i], &number)
            || !gr_room_record_at(ctx, number, &r) || !(r.flags & (GR_ROOM_SOFT_FAILED | GR_ROOM_REJECTED))
            || !gr_room_event_of(room, gr_ctx_arena(ctx), &r, &e))
            continue;
        for (size_t k = 0; k < e.prev_events.count && behind->count < HIDDEN_PREVS_MAX; k++)
            if (!among(behind->at, behind->count, e.prev_events.at[k]))
                behind->at[behind->count++] = e.prev_events.at[k];
    }
}

static void collect_behind(gr_room *room, gr_ctx *ctx, gr_strs prevs, hidden_prevs *behind)
{
    look_behind(room, ctx, prevs, behind);
    for (size_t i = 0; i < behind->count; i++) look_behind(room, ctx, (gr_strs){&behind->at[i], 1}, behind);
}

static void remove_extremity(gr_room *room, size_t at)
{
    free((char *)room->extremities[at].id.ptr);
    room->extremity_count--;
    for (size_t i = at; i < room->extremity_count; i++) room->extremities[i] = room->extremities[i + 1];
}

bool gr_room_named(gr_room *room, gr_ctx *ctx, gr_strs prevs)
{
    size_t before = room->extremity_count;
    hidden_prevs behind = {.count = 0};
    collect_behind(room, ctx, prevs, &behind);
    for (size_t i = room->extremity_count; i-- > 0;) {
        gr_str id = room->extremities[i].id;
        if (among(prevs.at, prevs.count, id) || among(behind.at, behind.count, id)) remove_extremity(room, i);
    }
    return room->extremity_count < before;
}

/* Its branch stays reachable for readers, it is just not healed. */
static void give_up(gr_room *room, gr_ctx *ctx, size_t at)
{
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'D', room->extremities[at].number), (gr_str){0});
    remove_extremity(room, at);
}

static void add_extremity(gr_room *room, gr_ctx *ctx, const gr_room_record *r)
{
    if (!room->extremities) room->extremities = gr_alloc(GR_ROOM_EXTREMITIES_MAX * sizeof *room->extremities);
    if (gr_room_extremity_of(room, r->event_id)) return;
    if (room->extremity_count == GR_ROOM_EXTREMITIES_MAX) give_up(room, ctx, 0);
    room->extremities[room->extremity_count++] = (gr_room_extremity){
        r->number, r->state_after, r->depth, gr_str_of(gr_str_dup(r->event_id), r->event_id.size)};
}

void gr_room_advance(gr_room *room, gr_ctx *ctx, const gr_room_record *r, gr_strs prevs, bool is_named)
{
    size_t before = room->extremity_count;
    gr_room_named(room, ctx, prevs);
    if (!is_named || room->extremity_count == 0) add_extremity(room, ctx, r);
    bool is_time = before <= HEAL_ABOVE || r->number % HEAL_AGAIN_EVERY == 0;
    if (room->extremity_count > HEAL_ABOVE && is_time)
        gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + HEAL_DELAY_MS, true);
}

/* --- a room that is entered again ----------------------------------------------------------------------- */
/* The state holds the member event, or one that was made knowing it. */
static bool is_heard_of(gr_room *room, gr_ctx *ctx, uint64_t state, const gr_room_record *r)
{
    bool reaches;
    gr_chain chain = gr_room_chain(ctx);
    uint64_t there = gr_room_state_number(room, ctx, state, r->type, r->state_key);
    return there == r->number
           || (there && gr_chain_reaches(&chain, gr_ctx_arena(ctx), there, r->number, &reaches) && reaches);
}

/* The last that happened to members of this server, at the extremity or behind it, is news there. */
static bool is_news(gr_room *room, gr_ctx *ctx, uint64_t state, gr_str extremity, size_t *looks)
{
    gr_str ids[LEAVING_SEEN] = {extremity};
    for (size_t i = 0, count = 1; i < count && *looks; i++, --*looks) {
        uint64_t number;
        gr_room_record r;
        gr_event e;
        if (!gr_room_number_of(ctx, ids[i], &number) || !gr_room_record_at(ctx, number, &r)
            || !gr_room_event_of(room, gr_ctx_arena(ctx), &r, &e))
            continue;
        bool is_ours = r.is_state && gr_str_is(r.type, "m.room.member") && gr_room_is_local(ctx, r.state_key);
        if (is_ours && !is_heard_of(room, ctx, state, &r)) return true;
        for (size_t k = 0; !is_ours && k < e.prev_events.count && count < LEAVING_SEEN; k++)
            if (!among(ids, count, e.prev_events.at[k])) ids[count++] = e.prev_events.at[k];
    }
    return false;
}

void gr_room_leave_behind(gr_room *room, gr_ctx *ctx, uint64_t state)
{
    size_t looks = LEAVING_SEEN;
    for (size_t i = room->extremity_count; i-- > 0;)
        if (!is_news(room, ctx, state, room->extremities[i].id, &looks)) give_up(room, ctx, i);
}

/* --- dummy events -------------------------------------------------------------------------------------- */
typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    gr_powers powers;
    gr_str user; /* who may send one; empty: nobody yet */
} search;

static bool may_send(search *s, gr_str user)
{
    return gr_room_is_local(s->ctx, user) && gr_room_membership(s->ctx, user) == GR_MEMBER_JOIN
           && gr_power_of_user(&s->powers, user) >= gr_power_for_event(&s->powers, gr_str_c(dummy_type), false);
}

static bool on_member(void *arg, gr_str key, gr_str value)
{
    search *s = arg;
    gr_str user = gr_str_from(key, 1);
    (void)value;
    if (!may_send(s, user)) return true;
    s->user = gr_arena_str(gr_ctx_arena(s->ctx), user);
    return false;
}

/* Of those who spoke last, else of the members as far as one looks. */
static gr_str find_sender(gr_room *room, gr_ctx *ctx)
{
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    search s = {.room = room, .ctx = ctx, .powers = gr_auth_powers(room->version, &state)};
    for (uint64_t back = 1; back <= SPEAKERS_SEEN && back < room->next_number; back++) {
        gr_room_record r;
        if (gr_room_record_at(ctx, room->next_number - back, &r) && may_send(&s, r.sender)) return r.sender;
    }
    gr_ctx_scan_prefix(ctx, GR_STR("u"), MEMBERS_SEEN, on_member, &s);
    return s.user;
}

bool gr_room_heal(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    gr_room_made made;
    if (!gr_str_is(timer, timer_name)) return false;
    if (room->extremity_count <= HEAL_ABOVE) return true;
    gr_room_draft draft = {
        .sender = find_sender(room, ctx), .type = gr_str_c(dummy_type), .content = GR_STR("{}")};
    gr_room_send asked = {.user = draft.sender, .type = draft.type, .content = draft.content};
    if (draft.sender.size == 0 || gr_room_policy_defers(room, ctx, &draft, &gr_type_room_send, &asked)) return true;
    gr_err err = gr_room_build(room, ctx, &draft, &made);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return true;
    }
    if (room->extremity_count > HEAL_ABOVE)
        gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx), true);
    gr_room_finish(room, ctx, &made, false);
    return true;
}
