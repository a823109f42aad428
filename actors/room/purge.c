/* purge.c - see purge.h. */
#include "actors/room/cache.h"
#include "actors/room/purge.h"
#include "actors/room/graph.h"
#include "actors/room/read.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

enum {
    FORMAT = 1, HEAD = 2 + 3 * 8 + GR_SHARDS / 8,
    POSITIONS = 8,                     /* of a step: events read, with what hangs on them */
    MEMBERS = 60,                      /* of a step: looked at */
    ROWS = 200,                        /* of a step: deleted without a look */
    STEP_DELAY_MS = 5,
    YOUNG_MS = GR_ROOM_TXN_KEEP_MS,
    SEARCH_MAX = 28,
    BUSY_MS = 1000
};

static const char timer_name[] = "purge", forgotten_timer[] = "forgotten";
static const char *const phases[] = {"nothing", "members", "room", "stream", "history"};

/* --- row U: format, phase (1 each), next, until, done (8 each), a bit for each shard, a cursor ------------------------- */
static void save(gr_room *room, gr_ctx *ctx)
{
    const gr_room_purge *p = &room->purge;
    gr_buf out = {0};
    gr_buf_char(&out, FORMAT);
    gr_buf_char(&out, (char)p->phase);
    gr_buf_u64be(&out, p->next);
    gr_buf_u64be(&out, p->until);
    gr_buf_u64be(&out, p->done);
    gr_buf_str(&out, gr_str_of((const char *)p->shards, sizeof p->shards));
    gr_buf_str(&out, p->cursor);
    if (p->phase == GR_PURGE_NOTHING) gr_ctx_del(ctx, GR_STR("U"));
    else gr_ctx_put(ctx, GR_STR("U"), gr_buf_view(&out));
    gr_buf_free(&out);
}

void gr_room_purge_load(gr_room *room, gr_ctx *ctx)
{
    gr_room_purge *p = &room->purge;
    gr_str row;
    if (gr_ctx_get(ctx, GR_STR("F"), &row) && row.size == 8) room->floor = gr_u64be(row.ptr);
    if (!gr_ctx_get(ctx, GR_STR("U"), &row) || row.size < HEAD || row.ptr[0] != FORMAT
        || (unsigned char)row.ptr[1] > GR_PURGE_HISTORY)
        return;
    p->phase = (gr_room_purge_phase)row.ptr[1];
    p->next = gr_u64be(row.ptr + 2);
    p->until = gr_u64be(row.ptr + 10);
    p->done = gr_u64be(row.ptr + 18);
    memcpy(p->shards, row.ptr + 26, sizeof p->shards);
    p->cursor = gr_str_of(gr_str_dup(gr_str_from(row, HEAD)), row.size - HEAD);
}

static void set_cursor(gr_room *room, gr_str cursor)
{
    gr_str old = room->purge.cursor;
    room->purge.cursor = gr_str_of(gr_str_dup(cursor), cursor.size);
    free((char *)old.ptr);
}

static void go_on(gr_room *room, gr_ctx *ctx)
{
    save(room, ctx);
    if (room->purge.phase != GR_PURGE_NOTHING)
        gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + STEP_DELAY_MS, true);
}

static void end(gr_room *room)
{
    free((char *)room->purge.cursor.ptr);
    room->purge = (gr_room_purge){0};
}

static void answer(gr_room *room, gr_ctx *ctx)
{
    const gr_room_purge *p = &room->purge;
    gr_ctx_json(ctx, gr_arena_printf(gr_ctx_arena(ctx), "{\"purging\":\"%s\",\"next\":%llu,\"until\":%llu,\"done\":%llu}",
                                     phases[p->phase], (unsigned long long)p->next, (unsigned long long)p->until,
                                     (unsigned long long)p->done));
}

/* --- history: where it ends ------------------------------------------------------------------------------------- */
typedef struct { uint64_t pos; gr_room_record record; bool found; gr_ctx *ctx; } nearest;

static bool on_event_row(void *arg, gr_str key, gr_str value)
{
    nearest *n = arg;
    if (key.size != 9 || value.size != 17 || value.ptr[0] != GR_POS_EVENT) return true;
    n->pos = gr_u64be(key.ptr + 1);
    n->found = gr_room_record_at(n->ctx, gr_u64be(value.ptr + 1), &n->record);
    return !n->found;
}

/* The newest event of the stream at or below a position. */
static bool event_below(gr_ctx *ctx, uint64_t pos, nearest *n)
{
    *n = (nearest){.ctx = ctx};
    gr_ctx_scan(ctx, GR_STR("p"), gr_room_key_number(ctx, 'p', pos + 1), true, 8, on_event_row, n);
    return n->found;
}

/* The first position whose event is not older than this; stream positions mostly rise with time. */
static uint64_t position_of(gr_room *room, gr_ctx *ctx, uint64_t ts)
{
    uint64_t low = room->floor, high = room->next_pos - 1;
    nearest n;
    for (int i = 0; i < SEARCH_MAX && low < high; i++) {
        uint64_t middle = low + (high - low) / 2;
        if (!event_below(ctx, middle, &n) || n.record.ts < ts) low = middle + 1;
        else high = n.pos < high ? n.pos : middle;
    }
    return low;
}

static gr_err find_end(gr_room *room, gr_ctx *ctx, const gr_room_purge_history *m, uint64_t *until)
{
    uint64_t number, now = gr_ctx_now_ms(ctx), young = position_of(room, ctx, now > YOUNG_MS ? now - YOUNG_MS : 0);
    gr_room_record r;
    *until = m->before_ts ? position_of(room, ctx, m->before_ts) : 0;
    if (m->event_id.size) {
        if (!gr_room_number_of(ctx, m->event_id, &number) || !gr_room_record_at(ctx, number, &r) || r.pos == 0)
            return gr_fail(GR_NOT_FOUND, "There is no such event in the room's history");
        *until = r.pos;
    }
    if (*until == 0) return gr_fail(GR_MISSING_PARAM, "Say up to which event or time history is to go");
    if (*until > young) *until = young;
    if (*until > room->next_pos - 1) *until = room->next_pos - 1;
    return gr_ok();
}

/* --- history: one event ------------------------------------------------------------------------------------------ */
typedef struct { gr_str at[ROWS]; size_t count; gr_arena *arena; } keys;

static bool collect_key(void *arg, gr_str key, gr_str value)
{
    keys *k = arg;
    (void)value;
    k->at[k->count++] = gr_arena_str(k->arena, key);
    return k->count < ROWS;
}

/* False: there may be more. */
static bool delete_prefix(gr_ctx *ctx, gr_str prefix, size_t most)
{
    keys k = {.arena = gr_ctx_arena(ctx)};
    gr_ctx_scan_prefix(ctx, prefix, most, collect_key, &k);
    for (size_t i = 0; i < k.count; i++) gr_ctx_del(ctx, k.at[i]);
    return k.count < most;
}

static bool is_extremity(const gr_room *room, uint64_t number)
{
    for (size_t i = 0; i < room->extremity_count; i++)
        if (room->extremities[i].number == number) return true;
    return false;
}

static void delete_thread(gr_ctx *ctx, uint64_t root)
{
    gr_str newest, key = gr_room_key_number(ctx, 'y', root);
    if (!gr_ctx_get(ctx, key, &newest) || newest.size != 8) return;
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'T', gr_u64be(newest.ptr)));
    gr_ctx_del(ctx, key);
}

/* A backward extremity waits for nothing any more. */
static void delete_waits(gr_ctx *ctx, const gr_room_record *r)
{
    gr_str row, key = gr_room_key_numbers(ctx, 'b', r->depth, r->number);
    gr_str number = gr_str_from(gr_room_key_number(ctx, ' ', r->number), 1);
    if (!gr_ctx_get(ctx, key, &row)) return;
    while (row.size) {
        ptrdiff_t zero = gr_str_find(row, 0);
        gr_str id = zero < 0 ? row : gr_str_head(row, (size_t)zero);
        gr_ctx_del(ctx, gr_room_key_parts(ctx, 'B', 2, (gr_str[]){id, number}));
        row = gr_str_from(row, zero < 0 ? row.size : (size_t)zero + 1);
    }
    gr_ctx_del(ctx, key);
}

static void erase(gr_room *room, gr_ctx *ctx, const gr_room_record *r)
{
    gr_event e;
    uint64_t number = r->number;
    if (gr_room_event_of(room, gr_ctx_arena(ctx), r, &e)) {
        gr_room_unrelate(ctx, r, &e);
        gr_room_redact_forget(ctx, number, &e);
    }
    delete_thread(ctx, number);
    delete_waits(ctx, r);
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'X', number));
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'D', number));
    gr_ctx_del(ctx, gr_room_key(ctx, 'i', r->event_id));
    gr_room_cache_forget_facts(room->cache);
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'e', number));
    room->purge.done++;
}

/* What nobody was shown has no position: messages that failed and dummy events.  They go along with the event that came
 * after them. */
static void delete_hidden_before(gr_room *room, gr_ctx *ctx, uint64_t number)
{
    enum { MOST = 4 };
    for (uint64_t n = number - 1; n > 0 && number - n <= MOST; n--) {
        gr_room_record r;
        bool is_hidden = gr_room_record_at(ctx, n, &r) && r.pos == 0 && !r.is_state && !is_extremity(room, n);
        if (!is_hidden) return;
        erase(room, ctx, &r);
    }
}

/* What hangs on it goes first; false: there is more of that than one step takes.  An extremity goes when it is none any more:
 * the next purge finds it by its depth. */
static bool delete_event(gr_room *room, gr_ctx *ctx, uint64_t number)
{
    enum { HANGING = 40 };
    gr_room_record r;
    delete_hidden_before(room, ctx, number);
    if (!gr_room_record_at(ctx, number, &r) || is_extremity(room, number)) return true;
    if (!r.is_state && (!delete_prefix(ctx, gr_room_key_number(ctx, 'l', number), HANGING)
                        || !delete_prefix(ctx, gr_room_key_number(ctx, 'L', number), HANGING)))
        return false;
    gr_ctx_del(ctx, gr_room_key_numbers(ctx, 'd', r.depth, r.pos));
    if (!r.is_state) erase(room, ctx, &r);
    return true;
}

/* --- history: steps ------------------------------------------------------------------------------------------------ */
typedef struct { uint64_t at[POSITIONS], number[POSITIONS]; size_t count; } places;

static bool on_position(void *arg, gr_str key, gr_str value)
{
    places *p = arg;
    if (key.size != 9 || value.size != 17) return true;
    p->at[p->count] = gr_u64be(key.ptr + 1);
    p->number[p->count++] = value.ptr[0] == GR_POS_EVENT ? gr_u64be(value.ptr + 1) : 0;
    return p->count < POSITIONS;
}

/* The last position before the end is a gap by now, and stays: who has seen only what is behind it reads on from there. */
static void step_stream(gr_room *room, gr_ctx *ctx)
{
    gr_room_purge *g = &room->purge;
    places p = {.count = 0};
    gr_ctx_scan(ctx, gr_room_key_number(ctx, 'p', g->next), gr_room_key_number(ctx, 'p', g->until - 1), false, POSITIONS,
                on_position, &p);
    for (size_t i = 0; i < p.count; i++) {
        if (p.number[i] && !delete_event(room, ctx, p.number[i])) return;
        gr_ctx_del(ctx, gr_room_key_number(ctx, 'p', p.at[i]));
        g->next = p.at[i] + 1;
    }
    if (p.count == POSITIONS) return;
    g->phase = GR_PURGE_HISTORY;
    set_cursor(room, GR_STR("d"));
}

typedef struct { places p; gr_room *room; gr_str last; gr_arena *arena; size_t looked; } older;

static bool on_depth(void *arg, gr_str key, gr_str value)
{
    older *o = arg;
    o->last = gr_arena_str(o->arena, key);
    if (key.size == 17 && value.size == 8 && gr_u64be(key.ptr + 9) < o->room->floor)
        o->p.number[o->p.count++] = gr_u64be(value.ptr);
    return ++o->looked < ROWS && o->p.count < POSITIONS;
}

/* What came before the stream, from other servers, has positions below it and no rows p: it is found by depth. */
static void step_history(gr_room *room, gr_ctx *ctx)
{
    older o = {.room = room, .arena = gr_ctx_arena(ctx)};
    gr_ctx_scan(ctx, room->purge.cursor, GR_STR("e"), false, ROWS, on_depth, &o);
    for (size_t i = 0; i < o.p.count; i++)
        if (!delete_event(room, ctx, o.p.number[i])) return;
    if (o.looked == ROWS || o.p.count == POSITIONS) {
        set_cursor(room, o.last);
        return;
    }
    gr_room_loosen(room, ctx, room->next_node);            /* the states of all those events */
    end(room);
}

static void begin_history(gr_room *room, gr_ctx *ctx, const gr_room_purge_history *m)
{
    nearest last;
    uint64_t until;
    gr_err err = find_end(room, ctx, m, &until);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    if (until > room->floor + 1 && event_below(ctx, until - 1, &last) && last.pos >= room->floor) {
        uint64_t root = gr_room_root_at(room, ctx, until - 1);
        room->purge = (gr_room_purge){.phase = GR_PURGE_STREAM, .next = room->floor, .until = until};
        room->floor = until;
        gr_ctx_put(ctx, GR_STR("F"), gr_str_from(gr_room_key_number(ctx, ' ', until), 1));
        /* Its event, if it is one, has lost its place and is found by its depth. */
        gr_room_put_pos(ctx, until - 1, GR_POS_GAP, 0, root);
        go_on(room, ctx);
    }
    answer(room, ctx);
}

/* --- a whole room ---------------------------------------------------------------------------------------------------- */
typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    gr_strs here;                      /* local users */
    gr_str inside, last;               /* one who is in it; the last looked at */
    size_t looked;
} census;

static bool on_member(void *arg, gr_str key, gr_str value)
{
    census *c = arg;
    gr_str user = gr_arena_str(gr_ctx_arena(c->ctx), gr_str_from(key, 1));
    c->last = user;
    if (gr_room_is_local(c->ctx, user) && value.size == 17) {
        gr_membership m = (gr_membership)value.ptr[0];
        if (m == GR_MEMBER_JOIN || m == GR_MEMBER_INVITE || m == GR_MEMBER_KNOCK) c->inside = user;
        else c->here.at[c->here.count++] = user;
    }
    return ++c->looked < MEMBERS && c->inside.size == 0;
}

static bool has_forgotten(gr_ctx *ctx, gr_str user)
{
    keys k = {.arena = gr_ctx_arena(ctx)};
    gr_ctx_scan_prefix(ctx, gr_room_key_parts(ctx, 'w', 2, (gr_str[]){user, GR_STR("")}), 1, collect_key, &k);
    return k.count == 0;
}

/* Their feeds know the room; who has not forgotten it stops the purge, or does so now. */
static gr_err look_at(gr_room *room, gr_ctx *ctx, const census *c)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_room_purge *p = &room->purge;
    if (c->inside.size) return gr_failf(a, GR_FORBIDDEN, "%.*s is in the room", GR_ARG(c->inside));
    for (size_t i = 0; i < c->here.count; i++) {
        uint8_t shard = gr_id_shard(c->here.at[i]);
        bool knows = !has_forgotten(ctx, c->here.at[i]);
        if (knows && !p->until) return gr_failf(a, GR_FORBIDDEN, "%.*s has not forgotten the room", GR_ARG(c->here.at[i]));
        if (knows)
            gr_ctx_post(ctx, gr_address(a, GR_KIND_USER, c->here.at[i]), &gr_type_user_forget,
                        &(gr_user_forget){.room_id = room->id});
        p->shards[shard / 8] |= (uint8_t)(1 << (shard % 8));
    }
    return gr_ok();
}

static bool on_alias(void *arg, gr_str key, gr_str value)
{
    census *c = arg;
    (void)value;
    gr_str to = gr_address(gr_ctx_arena(c->ctx), GR_KIND_NAME, gr_str_from(key, 1));
    gr_ctx_post(c->ctx, to, &gr_type_name_release, &(gr_name_release){.room_id = c->room->id});
    return true;
}

/* From here on the room is not there. */
static void unlink_room(gr_room *room, gr_ctx *ctx)
{
    census c = {.room = room, .ctx = ctx};
    gr_arena *a = gr_ctx_arena(ctx);
    gr_ctx_scan_prefix(ctx, GR_STR("a"), GR_HANDLER_ROWS_MAX, on_alias, &c);
    room->published = false;
    gr_room_post_listing(room, ctx);
    for (int shard = 0; shard < GR_SHARDS; shard++)
        if (room->purge.shards[shard / 8] >> (shard % 8) & 1)
            gr_ctx_post(ctx, gr_address_of_shard(a, GR_KIND_FEED, (uint8_t)shard), &gr_type_feed_purge,
                        &(gr_feed_purge){.room_id = room->id});
    gr_room_forget_servers(room, ctx);
    gr_ctx_del(ctx, GR_STR("m"));
    room->purge.phase = GR_PURGE_ROOM;
    set_cursor(room, (gr_str){0});
    save(room, ctx);
    gr_room_read_again(room, ctx);
}

static void begin_census(gr_room *room)
{
    set_cursor(room, (gr_str){0});
    room->purge.next = room->next_number;
}

/* When anything has happened in the room meanwhile, all are looked at again. */
static void step_members(gr_room *room, gr_ctx *ctx)
{
    gr_room_purge *p = &room->purge;
    census c = {.room = room, .ctx = ctx, .here = {gr_arena_alloc(gr_ctx_arena(ctx), MEMBERS * sizeof(gr_str)), 0}};
    gr_str from = p->cursor.size ? gr_room_key_parts(ctx, 'u', 2, (gr_str[]){p->cursor, {0}}) : GR_STR("u");
    gr_ctx_scan(ctx, from, GR_STR("v"), false, MEMBERS, on_member, &c);
    gr_err err = look_at(room, ctx, &c);
    if (gr_failed(err)) {
        end(room);
        gr_ctx_fail(ctx, err);
        return;
    }
    if (c.looked == MEMBERS) set_cursor(room, c.last);
    else if (p->next == room->next_number) unlink_room(room, ctx);
    else begin_census(room);
}

static void step_room(gr_room *room, gr_ctx *ctx)
{
    gr_room_purge *p = &room->purge;
    keys k = {.arena = gr_ctx_arena(ctx)};
    gr_ctx_scan(ctx, p->cursor, (gr_str){0}, false, ROWS, collect_key, &k);
    for (size_t i = 0; i < k.count; i++)
        if (!gr_str_is(k.at[i], "U")) gr_ctx_del(ctx, k.at[i]);
    p->done += k.count;
    if (k.count == ROWS) {
        set_cursor(room, k.at[k.count - 1]);
        return;
    }
    gr_ctx_del(ctx, GR_STR("U"));
    gr_room_read_again(room, ctx);                                 /* it is as a room that never was */
}

static bool is_busy(const gr_room *room, gr_ctx *ctx)
{
    return gr_room_is_resolving(room) || gr_room_is_waiting(room) || room->moving.phase != GR_MOVING_NOT
        || gr_room_is_telling_remotes(ctx);
}

static void forgotten_after(gr_ctx *ctx, uint64_t delay_ms)
{
    gr_ctx_timer(ctx, gr_str_c(forgotten_timer), gr_ctx_now_ms(ctx) + delay_ms, true);
}

static bool leads_nowhere(const gr_room *room, gr_ctx *ctx)
{
    gr_str row;
    bool is_elsewhere = gr_ctx_get(ctx, GR_STR("o"), &row);
    return is_elsewhere && room->exists && !gr_room_has_locals(room) && room->purge.phase == GR_PURGE_NOTHING;
}

void gr_room_purge_if_forgotten(gr_room *room, gr_ctx *ctx)
{
    if (leads_nowhere(room, ctx)) forgotten_after(ctx, 0);
}

/* Whether all have forgotten it, the census finds out. */
static void begin_forgotten(gr_room *room, gr_ctx *ctx)
{
    if (!leads_nowhere(room, ctx)) return;
    if (is_busy(room, ctx)) {
        forgotten_after(ctx, BUSY_MS);
        return;
    }
    room->purge = (gr_room_purge){.phase = GR_PURGE_MEMBERS};
    begin_census(room);
    go_on(room, ctx);
}

static void begin_room(gr_room *room, gr_ctx *ctx, const gr_room_purge_room *m)
{
    bool here = gr_room_has_locals(room);
    if (is_busy(room, ctx) || here) {
        gr_ctx_fail(ctx, here ? gr_fail(GR_FORBIDDEN, "There are users of this server in the room")
                              : (gr_err){GR_LIMIT_EXCEEDED, "The room's state is moving: try again", 1000});
        return;
    }
    room->purge = (gr_room_purge){.phase = GR_PURGE_MEMBERS, .until = m->force};
    begin_census(room);
    step_members(room, ctx);
    go_on(room, ctx);
    answer(room, ctx);
}

/* --- messages ---------------------------------------------------------------------------------------------------------- */
bool gr_room_purge_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    if (gr_str_is(timer, forgotten_timer)) {
        begin_forgotten(room, ctx);
        return true;
    }
    if (!gr_str_is(timer, timer_name)) return false;
    if (gr_ctx_upkeep_paused(ctx, GR_ROOM_UPKEEP_PURGES)) {
        gr_ctx_timer(ctx, timer, gr_ctx_now_ms(ctx) + GR_UPKEEP_PAUSED_MS, true);
        return true;
    }
    uint64_t before = room->purge.done;
    switch (room->purge.phase) {
    case GR_PURGE_NOTHING: return true;                    /* a timer that fired twice */
    case GR_PURGE_MEMBERS: step_members(room, ctx); break;
    case GR_PURGE_ROOM: step_room(room, ctx); break;
    case GR_PURGE_STREAM: step_stream(room, ctx); break;
    case GR_PURGE_HISTORY: step_history(room, ctx); break;
    }
    if (room->purge.done > before) gr_ctx_upkeep(ctx, GR_ROOM_UPKEEP_PURGES, room->purge.done - before);
    go_on(room, ctx);
    return true;
}

static bool is_purge(const gr_type *type)
{
    return type == &gr_type_room_purge_history || type == &gr_type_room_purge_room || type == &gr_type_room_purge_status;
}

/* Whoever wants in is told what is true soon, so that they look elsewhere at once; a join that has been there waits. */
static bool wants_in(const gr_msg *m)
{
    const gr_room_member *change = m->body;
    if (m->type == &gr_type_room_allows) return true;
    return m->type == &gr_type_room_member && (gr_str_is(change->action, "join") || gr_str_is(change->action, "knock"));
}

bool gr_room_purge_takes(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    bool ours = is_purge(m->type), going = room->purge.phase == GR_PURGE_ROOM;
    if (!ours && !going) return false;
    if (m->type == &gr_type_timer) gr_room_purge_on(room, ctx, ((const gr_timer *)m->body)->name);
    else if (wants_in(m)) gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such room on this server"));
    else if (!ours) gr_ctx_fail(ctx, (gr_err){GR_LIMIT_EXCEEDED, "The room is being taken away: try again later", 5000});
    else if (room->purge.phase != GR_PURGE_NOTHING) answer(room, ctx);
    else if (!room->exists) return false;
    else if (m->type == &gr_type_room_purge_status) answer(room, ctx);
    else if (m->type == &gr_type_room_purge_history) begin_history(room, ctx, m->body);
    else begin_room(room, ctx, m->body);
    return true;
}
