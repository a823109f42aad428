/* sync.c - what a user has not seen yet, and waiting for it. See user.h; client-server API, "GET /sync".
 *
 * Cost follows what changed: for each room the newest position of its feed (in memory) is compared with the token, and only
 * rooms that moved are looked at.  Everything of one shard has one number line, so one position in the token is enough.
 */
#include "actors/user/keys.h"
#include "actors/user/sync_token.h"
#include "actors/user/user.h"

#include "actors/feed/feed.h"

#include <stdlib.h>

struct gr_user_waiter {
    gr_asker *asker;
    gr_str device, since, without;     /* owned */
    uint64_t until_ms;
    bool full_state, include_leave;
};

typedef struct { gr_sync_room room; gr_buf data; } moved;

typedef struct {
    gr_user *u;
    gr_ctx *ctx;
    const gr_user_sync *ask;
    gr_sync_token since;
    gr_shard_set without;              /* rooms of these are left out */
    bool has_parts;                    /* rooms are not all alike: some are left out, or owed from earlier on */
    bool initial;                      /* nothing was seen yet (or the token is of another life) */
    gr_strs ignored;                   /* users */
    bool blocks_invites;
    moved *rooms;
    size_t count, space;
    uint32_t *moved_at;                /* number of a room of the user -> its place in rooms + 1, or 0 */
} collection;

/* --- rooms --------------------------------------------------------------------------------------------------- */
/* Up to where this room was delivered; 0: nothing was. */
static uint64_t seen_of(const collection *c, gr_str room_id)
{
    return c->has_parts ? gr_sync_token_seen(&c->since, gr_id_shard(room_id)) : c->since.position;
}

static bool is_left_out(const collection *c, gr_str room_id)
{
    return c->has_parts && gr_shard_set_has(&c->without, gr_id_shard(room_id));
}

static moved *moved_room(collection *c, const gr_user_room *r)
{
    uint32_t *at = &c->moved_at[r - c->u->rooms];
    if (*at) return &c->rooms[*at - 1];
    if (c->count == c->space) {
        c->space = c->space ? c->space * 2 : 16;
        c->rooms = gr_realloc(c->rooms, c->space * sizeof *c->rooms);
    }
    c->rooms[c->count++] = (moved){.room = {.room_id = r->room_id}};
    *at = (uint32_t)c->count;
    return &c->rooms[c->count - 1];
}

static void collect_counts(collection *c, moved *m, uint64_t seen, bool always)
{
    gr_feed_unread unread = gr_feed_unread_of(c->ctx, m->room.room_id, c->u->id);
    if (!always && unread.at <= seen) return;
    m->room.counts = true;
    m->room.notifications = unread.notifications;
    m->room.highlights = unread.highlights;
    m->room.threads.at = unread.threads;
    m->room.threads.count = unread.thread_count;
}

static void add_room_data(void *arg, gr_str room_id, uint64_t position, gr_str event_json)
{
    moved *m = arg;
    (void)room_id;
    (void)position;
    if (m->data.size) gr_buf_char(&m->data, ',');
    gr_buf_str(&m->data, event_json);
}

static void collect_joined(collection *c, const gr_user_room *r)
{
    gr_feed_head head = gr_feed_head_of(c->ctx, r->room_id);
    uint64_t seen = seen_of(c, r->room_id);
    bool new_here = seen == 0 || r->joined_at > seen;
    bool typing = head.typing_at > seen || (new_here && head.typing.count);
    uint64_t newest = head.position > head.typing_at ? head.position : head.typing_at;
    if (!new_here && !c->ask->full_state && newest <= seen) return;    /* reading moves the feed too */
    moved *m = moved_room(c, r);
    gr_feed_place place = {0};
    bool trimmed = false;
    if (!new_here) place = gr_feed_place_at(c->ctx, r->room_id, seen, &trimmed);
    /* The join may have been told before the feed had it: it is not told again. */
    if (!new_here && r->joined_at == r->position && place.room_pos < r->room_pos) place.room_pos = r->room_pos;
    m->room.section = GR_STR("join");
    m->room.full = new_here || c->ask->full_state || trimmed;
    m->room.gap = trimmed;
    m->room.from_pos = place.room_pos;
    m->room.to_pos = head.room_pos > r->room_pos ? head.room_pos : r->room_pos;
    m->room.events = m->room.full || m->room.to_pos > place.room_pos;
    m->room.receipts = new_here || head.receipts_at > seen;    /* the room may know of some that are not in the feed yet */
    m->room.receipts_from = place.receipt_pos;
    m->room.typing_moved = typing;
    m->room.typing = head.typing;
    if (r->encrypted && head.keys_at > seen && !new_here) m->room.keys_changed = gr_feed_keys_after(c->ctx, r->room_id, seen);
    collect_counts(c, m, seen, new_here || m->room.events);
    if (new_here && !c->initial) gr_user_account_data_of_room(c->ctx, r->room_id, add_room_data, m);
}

static void collect_left(collection *c, const gr_user_room *r)
{
    uint64_t seen = seen_of(c, r->room_id);
    bool wanted = seen == 0 ? c->ask->include_leave : r->position > seen;
    if (!wanted || r->forgotten) return;
    moved *m = moved_room(c, r);
    gr_feed_place place = {0};
    bool trimmed = false;
    if (seen) place = gr_feed_place_at(c->ctx, r->room_id, seen, &trimmed);
    m->room.section = GR_STR("leave");
    m->room.full = seen == 0 || trimmed;
    m->room.gap = trimmed;
    m->room.from_pos = place.room_pos;
    m->room.to_pos = r->room_pos;
    m->room.events = r->room_pos > 0;      /* else the room was never here */
}

/* "Ignoring Users": their invites are not told.  The own member event in the stripped state says whose it is. */
static bool is_of_ignored(const collection *c, gr_str stripped)
{
    const gr_json *events = NULL;
    if (c->ignored.count == 0 || gr_failed(gr_json_parse(gr_ctx_arena(c->ctx), stripped, GR_JSON_LAX, &events))) return false;
    for (uint32_t i = 0; gr_json_is(events, GR_JSON_ARRAY) && i < events->count; i++) {
        const gr_json *event = &events->items[i];
        if (!gr_str_is(gr_json_text(event, "type"), "m.room.member")) continue;
        if (!gr_str_eq(gr_json_text(event, "state_key"), c->u->id)) continue;
        for (size_t k = 0; k < c->ignored.count; k++)
            if (gr_str_eq(c->ignored.at[k], gr_json_text(event, "sender"))) return true;
    }
    return false;
}

static void collect_stripped(collection *c, const gr_user_room *r)
{
    gr_str stripped;
    if (r->position <= seen_of(c, r->room_id)) return;
    gr_user_stripped(c->ctx, r->room_id, &stripped);
    if (gr_str_is(r->membership, "invite") && (c->blocks_invites || is_of_ignored(c, stripped))) return;
    moved *m = moved_room(c, r);
    m->room.section = r->membership;
    m->room.stripped = stripped;
}

static void collect_rooms(collection *c)
{
    for (size_t i = 0; i < c->u->room_count; i++) {
        const gr_user_room *r = &c->u->rooms[i];
        if (is_left_out(c, r->room_id)) continue;
        if (gr_str_is(r->membership, "join")) collect_joined(c, r);
        else if (gr_str_is(r->membership, "invite") || gr_str_is(r->membership, "knock")) collect_stripped(c, r);
        else collect_left(c, r);
    }
}

/* Rooms that were left are told of when they were left just now, or the filter asks for them. */
static bool shows_left(const collection *c, const gr_user_room *r)
{
    bool is_left = gr_str_is(r->membership, "leave") || gr_str_is(r->membership, "ban");
    return is_left && !r->forgotten && (c->moved_at[r - c->u->rooms] || c->ask->include_leave);
}

/* What changed in the account data of rooms; of a room that is new to the client all was taken already. */
static void collect_room_data(void *arg, gr_str room_id, uint64_t position, gr_str event_json)
{
    collection *c = arg;
    const gr_user_room *r = gr_user_room_find(c->u, room_id);
    if (!r || is_left_out(c, room_id)) return;
    bool is_in = gr_str_is(r->membership, "join");
    uint64_t seen = seen_of(c, room_id);
    bool new_here = is_in && (seen == 0 || r->joined_at > seen);
    if (!is_in && !shows_left(c, r)) return;
    if (!c->initial && (new_here || position <= seen)) return;
    moved *m = moved_room(c, r);
    m->room.section = is_in ? GR_STR("join") : GR_STR("leave");
    add_room_data(m, room_id, position, event_json);
}

/* Before this no room that was delivered once owes anything. */
static uint64_t earliest_owed(const collection *c)
{
    uint64_t earliest = c->since.position;
    for (size_t i = 0; i < c->since.owed_count; i++)
        if (c->since.owed[i].position && c->since.owed[i].position < earliest) earliest = c->since.owed[i].position;
    return earliest;
}

static gr_str list_of(gr_ctx *ctx, gr_buf *items)
{
    gr_str out = {0};
    if (items->size)
        out = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("["), gr_buf_view(items), GR_STR("]")});
    gr_buf_free(items);
    return out;
}

/* --- presence -------------------------------------------------------------------------------------------------- */
enum { PRESENCE_MAX = 500 };           /* users told in one answer */

typedef struct { collection *c; gr_buf out; size_t count; } presences;

/* Shares a room; was_told: by what was told before, it did not. */
static bool is_shared(const collection *c, const gr_feed_presence_of *p, bool was_told)
{
    for (size_t i = 0; i < p->rooms.count; i++) {
        const gr_user_room *r = gr_user_room_find(c->u, p->rooms.at[i]);
        if (r && gr_str_is(r->membership, "join") && (!was_told || r->joined_at > c->since.position)) return true;
    }
    return false;
}

static bool add_presence(void *arg, const gr_feed_presence_of *p)
{
    presences *all = arg;
    const collection *c = all->c;
    uint64_t now_ms = gr_ctx_now_ms(c->ctx);
    for (size_t i = 0; i < c->ignored.count; i++)
        if (gr_str_eq(c->ignored.at[i], p->user)) return true;
    if ((c->initial && gr_str_is(gr_str_c(p->presence), "offline"))
        || !is_shared(c, p, !c->initial && p->position <= c->since.position)) return true;
    if (all->out.size) gr_buf_char(&all->out, ',');
    gr_jw w = gr_jw_begin(&all->out);
    gr_jw_object(&w);
    gr_jw_key(&w, "content");
    gr_jw_object(&w);
    gr_jw_kbool(&w, "currently_active", p->is_active);
    if (p->active_ms) gr_jw_kint(&w, "last_active_ago", p->active_ms < now_ms ? (int64_t)(now_ms - p->active_ms) : 0);
    gr_jw_kc(&w, "presence", p->presence);
    if (p->status_msg.size) gr_jw_kstr(&w, "status_msg", p->status_msg);
    gr_jw_end_object(&w);
    gr_jw_kstr(&w, "sender", p->user);
    gr_jw_kc(&w, "type", "m.presence");
    gr_jw_end_object(&w);
    return ++all->count < PRESENCE_MAX;
}

/* Of who is in a room that is new to the client all is told, however old. */
static gr_str collect_presence(collection *c)
{
    presences all = {.c = c};
    bool any_new = c->initial;
    for (size_t i = 0; i < c->u->room_count && !any_new; i++) any_new = c->u->rooms[i].joined_at > c->since.position;
    gr_feed_presence_after(c->ctx, any_new ? 0 : c->since.position, add_presence, &all);
    return list_of(c->ctx, &all.out);
}

/* --- the whole ------------------------------------------------------------------------------------------------ */
static void finish_rooms(collection *c, gr_user_changes *out)
{
    out->rooms.count = c->count;
    out->rooms.at = gr_arena_alloc(gr_ctx_arena(c->ctx), c->count * sizeof(gr_sync_room));
    for (size_t i = 0; i < c->count; i++) {
        c->rooms[i].room.account_data = list_of(c->ctx, &c->rooms[i].data);
        out->rooms.at[i] = c->rooms[i].room;
    }
    free(c->rooms);
}

/* Collects everything after the token.  True when there is anything to tell. */
static bool collect(gr_user *u, gr_ctx *ctx, const gr_user_sync *ask, gr_user_changes *out)
{
    collection c = {.u = u, .ctx = ctx, .ask = ask};
    gr_buf global = {0}, to_device = {0};
    bool known = gr_sync_token_read(ask->since, &c.since) && c.since.incarnation == gr_ctx_incarnation(ctx)
              && c.since.position <= gr_ctx_newest(ctx);
    if (!known) c.since = (gr_sync_token){0};
    c.initial = !known;
    c.has_parts = c.since.owed_count || ask->without.size == GR_SHARD_SET;
    if (ask->without.size == GR_SHARD_SET) memcpy(c.without.bits, ask->without.ptr, GR_SHARD_SET);
    c.ignored = gr_user_ignored_list(ctx);
    c.blocks_invites = gr_user_blocks_invites(ctx);
    c.moved_at = gr_arena_alloc(gr_ctx_arena(ctx), (u->room_count + 1) * sizeof *c.moved_at);
    *out = (gr_user_changes){.initial = c.initial};
    collect_rooms(&c);
    bool is_quiet = !c.initial && earliest_owed(&c) >= u->written_at;
    if (!is_quiet)
        gr_user_account_data_after(ctx, c.initial, c.since.position, earliest_owed(&c), &global, collect_room_data, &c);
    gr_sync_token next = {.incarnation = gr_ctx_incarnation(ctx), .position = gr_ctx_newest(ctx), .to_device = c.since.to_device};
    if (ask->device.size) gr_user_to_device_take(ctx, ask->device, c.since.to_device, &to_device, &next.to_device);
    out->account_data = list_of(ctx, &global);
    out->to_device = list_of(ctx, &to_device);
    finish_rooms(&c, out);
    if (!c.initial && !is_quiet) out->keys_changed = gr_keys_noted_after(ctx, c.since.position);
    if (ask->device.size) gr_user_key_counts(ctx, ask->device, &out->one_time_keys, &out->fallback_types);
    out->ignored = c.ignored;
    if (gr_env_of(ctx)->presence.is_on) out->presence = collect_presence(&c);
    out->next_batch = gr_sync_token_text(gr_ctx_arena(ctx), &next);
    out->news = c.initial || ask->full_state || out->rooms.count || out->account_data.size || out->to_device.size
             || out->keys_changed.count || out->presence.size
             || (ask->device.size && gr_user_key_counts_at(ctx, ask->device) > c.since.position);
    return out->news;
}

/* --- waiting -------------------------------------------------------------------------------------------------- */
static void tell_feed(gr_user *u, gr_ctx *ctx, bool waiting)
{
    if (u->told_feed == waiting && !waiting) return;
    u->told_feed = waiting;
    gr_feed_waiting m = {.user = u->id, .waiting = waiting, .seen = gr_ctx_newest(ctx)};
    gr_ctx_tell(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, gr_ctx_shard(ctx)), &gr_type_feed_waiting, &m);
}

static void free_waiter(gr_user *u, size_t i)
{
    gr_user_waiter *w = &u->waiters[i];
    gr_asker_free(&w->asker);
    free((char *)w->device.ptr);
    free((char *)w->since.ptr);
    free((char *)w->without.ptr);
    *w = u->waiters[--u->waiter_count];
}

static gr_user_sync ask_of(const gr_user_waiter *w)
{
    return (gr_user_sync){.device = w->device, .since = w->since, .without = w->without, .full_state = w->full_state,
                          .include_leave = w->include_leave};
}

static void set_timer(gr_user *u, gr_ctx *ctx)
{
    uint64_t soonest = 0;
    for (size_t i = 0; i < u->waiter_count; i++)
        if (!soonest || u->waiters[i].until_ms < soonest) soonest = u->waiters[i].until_ms;
    if (soonest) gr_ctx_timer(ctx, GR_STR("wait"), soonest, false);
    else gr_ctx_timer_clear(ctx, GR_STR("wait"));
}

/* Answers every waiter for whom there is news, or whose time is over. */
static void look(gr_user *u, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    gr_user_changes changes;
    for (size_t i = u->waiter_count; i-- > 0;) {
        gr_user_waiter *w = &u->waiters[i];
        gr_user_sync ask = ask_of(w);
        if (!collect(u, ctx, &ask, &changes) && now_ms < w->until_ms) continue;
        gr_ctx_answer(ctx, &w->asker, &gr_type_user_changes, &changes);
        free_waiter(u, i);
    }
    set_timer(u, ctx);
    if (u->waiter_count == 0) tell_feed(u, ctx, false);
}

static void wait(gr_user *u, const gr_user_sync *m, gr_ctx *ctx)
{
    if (u->waiter_count == GR_USER_WAITERS_MAX) {          /* the oldest is answered with nothing new */
        gr_user_changes nothing = {.next_batch = u->waiters[0].since};
        gr_ctx_answer(ctx, &u->waiters[0].asker, &gr_type_user_changes, &nothing);
        free_waiter(u, 0);
    }
    u->waiters = gr_realloc(u->waiters, (u->waiter_count + 1) * sizeof *u->waiters);
    u->waiters[u->waiter_count++] = (gr_user_waiter){gr_ctx_keep_asker(ctx), gr_str_keep(m->device), gr_str_keep(m->since),
                                                     gr_str_keep(m->without), gr_ctx_now_ms(ctx) + m->wait_ms,
                                                     m->full_state, m->include_leave};
    set_timer(u, ctx);
    tell_feed(u, ctx, true);
}

void gr_user_on_sync(gr_user *u, const gr_user_sync *m, gr_ctx *ctx)
{
    gr_sync_token token;
    gr_user_changes changes;
    if (!u->exists) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such user"));
        return;
    }
    if (m->since.size && !gr_sync_token_read(m->since, &token)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "'since' is not a token that /sync gave"));
        return;
    }
    if (collect(u, ctx, m, &changes) || m->wait_ms == 0) gr_ctx_reply(ctx, &gr_type_user_changes, &changes);
    else wait(u, m, ctx);
}

void gr_user_on_wake(gr_user *u, gr_ctx *ctx) { look(u, ctx); }
void gr_user_on_wait_timer(gr_user *u, gr_ctx *ctx) { look(u, ctx); }

void gr_user_changed(gr_user *u, gr_ctx *ctx)
{
    u->written_at = gr_ctx_position(ctx);
    if (u->waiter_count) look(u, ctx);
}

void gr_user_waiters_drop(gr_user *u)
{
    while (u->waiter_count) free_waiter(u, u->waiter_count - 1);
    free(u->waiters);
    u->waiters = NULL;
}

/* Where a sync token stands in a room: /messages, /members?at and /keys/changes take sync tokens too. */
void gr_user_on_room_at(gr_user *u, const gr_user_room_at *m, gr_ctx *ctx)
{
    gr_sync_token token;
    gr_feed_place place = {0};
    bool trimmed = false;
    (void)u;
    if (!gr_sync_token_read(m->token, &token)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "This is not a token that this server gave"));
        return;
    }
    if (token.incarnation == gr_ctx_incarnation(ctx) && m->room_id.size)
        place = gr_feed_place_at(ctx, m->room_id, gr_sync_token_seen(&token, gr_id_shard(m->room_id)), &trimmed);
    gr_user_room_pos pos = {.room_pos = place.room_pos, .position = token.position};
    gr_ctx_reply(ctx, &gr_type_user_room_pos, &pos);
}
