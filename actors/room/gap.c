/* gap.c - what a room does for gap flows: what is missing, which events are here, states out of ids; and what becomes of
 * events that still wait when a flow has ended. See incoming.h. */
#include "actors/room/given.h"
#include "actors/room/graph.h"
#include "actors/room/incoming.h"
#include "actors/room/left_out.h"
#include "actors/room/policy.h"
#include "actors/room/resolving.h"
#include "actors/tally.h"

#include <stdlib.h>

enum {
    DROP_MAX = 24,                     /* of one step: three rows each */
    ORIGINS_MAX = 64,
    LOOKS_MAX = 60,
    GIVEN_STEP = 8,                    /* keys of a state that change in one step */
    GIVEN_IDS_MAX = 200000
};

static const char given_timer[] = "given";

static bool read_row(gr_ctx *ctx, gr_str key, const gr_type *type, void **body)
{
    gr_str bytes;
    return gr_ctx_get(ctx, key, &bytes) && !gr_failed(gr_body_decode(gr_ctx_arena(ctx), type, bytes, body));
}

/* --- flows --------------------------------------------------------------------------------------------------- */
static gr_str flow_row(gr_ctx *ctx, gr_str origin) { return gr_room_key(ctx, 'A', origin); }

static gr_str flow_of(const gr_room *room, gr_ctx *ctx, gr_str origin)
{
    gr_arena *a = gr_ctx_arena(ctx);
    return gr_address(a, GR_KIND_GAP, gr_arena_cat(a, 3, (gr_str[]){room->id, GR_STR("/flow/"), origin}));
}

void gr_room_begin_gap(gr_room *room, gr_ctx *ctx, gr_str origin, gr_str event_id, uint64_t number)
{
    size_t flows = 0;
    gr_str known;
    gr_gap_fill m = {.room_id = room->id, .origin = origin, .event_id = event_id};
    if (gr_ctx_get(ctx, flow_row(ctx, origin), &known)) return;
    gr_ctx_scan(ctx, GR_STR("A"), flow_row(ctx, GR_STR(GR_GAP_HISTORY)), false, GR_GAP_FLOWS, gr_ctx_count_row, &flows);
    if (flows == GR_GAP_FLOWS) return;                     /* the one that ends next makes room for it */
    m.known.at = gr_arena_alloc(gr_ctx_arena(ctx), (room->extremity_count + 1) * sizeof(gr_str));
    for (size_t i = 0; i < room->extremity_count; i++) {
        m.known.at[m.known.count++] = room->extremities[i].id;
        if (i == 0 || room->extremities[i].depth < m.depth) m.depth = room->extremities[i].depth;
    }
    gr_gap_row row = {.since_ms = gr_ctx_now_ms(ctx), .number = number};
    gr_ctx_put_body(ctx, flow_row(ctx, origin), &gr_type_gap_row, &row);
    m.servers = gr_room_some_servers(ctx, origin, GR_GAP_SERVERS);
    gr_ctx_post(ctx, flow_of(room, ctx, origin), &gr_type_gap_fill, &m);
}

/* --- history ------------------------------------------------------------------------------------------------- */
void gr_room_seek_history(gr_room *room, gr_ctx *ctx)
{
    gr_gap_back m = {.room_id = room->id, .depth = UINT64_MAX};
    gr_ctx_post(ctx, flow_of(room, ctx, GR_STR(GR_GAP_HISTORY)), &gr_type_gap_back, &m);
}

/* Those that the deepest event which lacks some follows. */
void gr_room_on_back(gr_room *room, gr_ctx *ctx, const gr_room_back *m)
{
    gr_room_backward lacking;
    gr_room_back_is is = {.servers = gr_room_some_servers(ctx, (gr_str){0}, GR_GAP_SERVERS)};
    (void)room;
    if (gr_room_backwards(ctx, m->depth, &lacking, 1)) is.ids = lacking.missing;
    gr_gap_row row = {.since_ms = gr_ctx_now_ms(ctx), .number = UINT64_MAX};
    gr_ctx_put_body(ctx, flow_row(ctx, m->origin), &gr_type_gap_row, &row);
    gr_ctx_reply(ctx, &gr_type_room_back_is, &is);
}

/* --- what waits ------------------------------------------------------------------------------------------------ */
typedef struct {
    gr_ctx *ctx;
    size_t prefix, count, most;
    struct { uint64_t number; gr_str origin; gr_room_waits waits; } at[GR_INCOMING_WAITING];
} waiters;

static bool on_waiter(void *arg, gr_str key, gr_str value)
{
    waiters *w = arg;
    void *body;
    gr_str copy = gr_arena_str(gr_ctx_arena(w->ctx), value);
    if (key.size < 10 || gr_failed(gr_body_decode(gr_ctx_arena(w->ctx), &gr_type_room_waits, copy, &body))) return true;
    w->at[w->count].number = gr_u64be(key.ptr + key.size - 8);
    w->at[w->count].origin = gr_arena_str(gr_ctx_arena(w->ctx), gr_str_of(key.ptr + 1, key.size - 10));
    w->at[w->count++].waits = *(gr_room_waits *)body;
    return w->count < w->most;
}

/* Those of an origin, or of all. */
static waiters *waiting_of(gr_ctx *ctx, gr_str origin, size_t most)
{
    waiters *w = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *w);
    gr_str prefix = origin.size ? gr_room_key_parts(ctx, 'H', 2, (gr_str[]){origin, {0}}) : GR_STR("H");
    w->ctx = ctx;
    w->most = most;
    gr_ctx_scan_prefix(ctx, prefix, most, on_waiter, w);
    return w;
}

typedef struct { gr_room *room; gr_ctx *ctx; const waiters *all; size_t looks; } sieve;

/* Still missing: it is not here, nor does it wait itself, or for the policy server. */
static void add_missing(sieve *s, gr_strs ids, bool outlier_counts, gr_strs *out)
{
    for (size_t i = 0; i < ids.count; i++) {
        gr_str id = ids.at[i];
        gr_room_record r;
        uint64_t number;
        bool known = false;
        for (size_t k = 0; k < s->all->count && !known; k++) known = gr_str_eq(s->all->at[k].waits.event_id, id);
        for (size_t k = 0; k < out->count && !known; k++) known = gr_str_eq(out->at[k], id);
        if (known || s->looks < 3 || out->count == GR_EVENT_PREV_MAX || gr_room_policy_is_aside(s->room, s->ctx, id)) continue;
        s->looks -= 3;
        bool is_here = gr_room_number_of(s->ctx, id, &number)
            && (outlier_counts || (gr_room_record_at(s->ctx, number, &r) && !(r.flags & GR_ROOM_OUTLIER)));
        if (!is_here) out->at[out->count++] = id;
    }
}

void gr_room_on_gap_look(gr_room *room, gr_ctx *ctx, const gr_room_gap_look *m)
{
    gr_arena *a = gr_ctx_arena(ctx);
    sieve s = {room, ctx, waiting_of(ctx, m->origin, GR_INCOMING_WAITING), LOOKS_MAX};
    gr_room_gap_is is = {.prevs = {gr_arena_alloc(a, GR_EVENT_PREV_MAX * sizeof(gr_str)), 0},
                         .auth = {gr_arena_alloc(a, GR_EVENT_PREV_MAX * sizeof(gr_str)), 0}};
    for (size_t i = 0; i < s.all->count; i++) {
        add_missing(&s, s.all->at[i].waits.auth, true, &is.auth);
        add_missing(&s, s.all->at[i].waits.prevs, false, &is.prevs);
    }
    if (gr_str_is(m->origin, GR_GAP_LEFT_OUT))
        add_missing(&s, gr_room_some_left_out(room, ctx, GR_EVENT_PREV_MAX), true, &is.auth);
    gr_ctx_reply(ctx, &gr_type_room_gap_is, &is);
}

static gr_str pair_key(gr_ctx *ctx, char letter, gr_str text, uint64_t number)
{
    return gr_room_key_parts(ctx, letter, 2, (gr_str[]){text, gr_str_from(gr_room_key_number(ctx, ' ', number), 1)});
}

static void drop_waiter(gr_ctx *ctx, gr_str origin, uint64_t number, const gr_room_waits *waits)
{
    const gr_strs *lists[] = {&waits->auth, &waits->prevs};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) gr_ctx_del(ctx, pair_key(ctx, 'E', lists[l]->at[i], number));
    gr_ctx_del(ctx, pair_key(ctx, 'H', origin, number));
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'I', number));
}

/* The flow could not help them, however often it is asked; those that came later are the next one's. */
static void end_flow(gr_room *room, gr_ctx *ctx, gr_str origin)
{
    void *body;
    if (!read_row(ctx, flow_row(ctx, origin), &gr_type_gap_row, &body)) return;
    const gr_gap_row *row = body;
    waiters *w = waiting_of(ctx, origin, DROP_MAX);
    size_t dropped = 0;
    for (size_t i = 0; i < w->count && w->at[i].number <= row->number; i++, dropped++)
        drop_waiter(ctx, origin, w->at[i].number, &w->at[i].waits);
    if (dropped == DROP_MAX) {
        gr_ctx_post(ctx, gr_ctx_self(ctx), &gr_type_room_gap_done, &(gr_room_gap_done){.origin = origin});
        return;
    }
    gr_ctx_del(ctx, flow_row(ctx, origin));
    if (dropped < w->count) gr_room_begin_gap(room, ctx, origin, w->at[dropped].waits.event_id, w->at[w->count - 1].number);
}

void gr_room_on_gap_done(gr_room *room, gr_ctx *ctx, const gr_room_gap_done *m)
{
    end_flow(room, ctx, m->origin);
    waiters *w = waiting_of(ctx, (gr_str){0}, ORIGINS_MAX);
    for (size_t i = 0; i < w->count; i++)
        if (i == 0 || !gr_str_eq(w->at[i].origin, w->at[i - 1].origin))
            gr_room_begin_gap(room, ctx, w->at[i].origin, w->at[i].waits.event_id, w->at[i].number);
}

/* --- which events are here ---------------------------------------------------------------------------------------- */
/* Only looked up: whether they were rejected was seen by those that cite them when these came. */
void gr_room_on_have(gr_room *room, gr_ctx *ctx, const gr_room_have *m)
{
    gr_room_have_not out = {.ids = {gr_arena_alloc(gr_ctx_arena(ctx), (m->ids.count + 1) * sizeof(gr_str)), 0}};
    (void)room;
    for (size_t i = 0; i < m->ids.count; i++) {
        uint64_t number;
        if (!gr_room_number_of(ctx, m->ids.at[i], &number)) out.ids.at[out.ids.count++] = m->ids.at[i];
    }
    gr_ctx_reply(ctx, &gr_type_room_have_not, &out);
}

/* --- a state out of ids ---------------------------------------------------------------------------------------------- */
struct gr_room_giving {
    gr_arena *arena;
    gr_str name;
    gr_asker *asker;
    uint64_t number;
    gr_u64s keys, events;
    uint64_t root;
    size_t next, ids;
};

static gr_str page_row(gr_ctx *ctx, gr_str name, uint64_t first)
{
    return gr_room_key_parts(ctx, 'Z', 2, (gr_str[]){name, gr_str_from(gr_room_key_number(ctx, ' ', first), 1)});
}

void gr_room_on_given_put(gr_room *room, gr_ctx *ctx, const gr_room_given_put *m)
{
    (void)room;
    gr_ctx_put_body(ctx, page_row(ctx, m->name, m->first), &gr_type_room_given_put, m);
    gr_ctx_done(ctx);
}

typedef struct { gr_arena *arena; gr_strs ids; size_t room; } pages;

static bool on_page(void *arg, gr_str key, gr_str value)
{
    pages *p = arg;
    void *body;
    (void)key;
    if (gr_failed(gr_body_decode(p->arena, &gr_type_room_given_put, gr_arena_str(p->arena, value), &body))) return true;
    const gr_room_given_put *m = body;
    for (size_t i = 0; i < m->ids.count && p->ids.count < p->room; i++) p->ids.at[p->ids.count++] = m->ids.at[i];
    return true;
}

static bool run_given(gr_arena *a, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    void *body;
    gr_room_given given;
    gr_ctx *ctx = gr_work_ctx(reader, 0);
    gr_err err = gr_body_decode(a, &gr_type_room_given_make, input, &body);
    gr_assert(!gr_failed(err));
    const gr_room_given_make *m = body;
    gr_room *room = gr_arena_alloc(a, sizeof *room);
    gr_room_load(room, gr_address_id(gr_ctx_self(ctx)), ctx);
    pages p = {a, {gr_arena_alloc(a, (m->count + 1) * sizeof(gr_str)), 0}, m->count};
    gr_ctx_scan_prefix(ctx, gr_room_key_parts(ctx, 'Z', 2, (gr_str[]){m->name, {0}}), 0, on_page, &p);
    gr_room_given_find(room, ctx, room->root, p.ids, &given);
    gr_room_given_is is = {.base = room->root, .keys = {given.keys, given.count}, .events = {given.events, given.count},
                           .missing = given.missing.count, .headers = given.headers};
    gr_body_encode(output, &gr_type_room_given_is, &is);
    gr_room_drop(room);
    return !gr_work_failed(reader);
}

static const gr_work given_work = {.name = "state_given", .run = run_given, .is_long = true};

static void end_giving(gr_room *room, gr_ctx *ctx, gr_err err)
{
    struct gr_room_giving *g = room->giving;
    for (size_t first = 0; first < g->ids; first += GR_GIVEN_PAGE) gr_ctx_del(ctx, page_row(ctx, g->name, first));
    if (gr_failed(err)) gr_ctx_answer_fail(ctx, &g->asker, err);
    else gr_ctx_answer(ctx, &g->asker, &gr_type_done, &(gr_done){0});
    gr_room_giving_drop(room);
}

void gr_room_on_given_make(gr_room *room, gr_ctx *ctx, const gr_room_given_make *m)
{
    gr_err err = gr_ok();
    if (room->giving) err = (gr_err){GR_LIMIT_EXCEEDED, "Another state is being made: try again", 500};
    else if (m->count == 0 || m->count > GIVEN_IDS_MAX) err = gr_fail(GR_INVALID_PARAM, "A state has 1 to 200000 events");
    gr_asker *asker = gr_failed(err) ? NULL : gr_ctx_keep_asker(ctx);
    if (gr_failed(err)) gr_ctx_fail(ctx, err);
    if (!asker) return;
    gr_arena *a = gr_arena_new(0);
    struct gr_room_giving *g = room->giving = gr_alloc(sizeof *g);
    *g = (struct gr_room_giving){.arena = a, .name = gr_arena_str(a, m->name), .asker = asker, .ids = (size_t)m->count};
    gr_ctx_random(ctx, &g->number, sizeof g->number);
    gr_buf input = {0};
    gr_body_encode(&input, &gr_type_room_given_make, m);
    gr_ctx_work(ctx, &given_work, gr_buf_view(&input), &(gr_resume){.step = GR_ROOM_WORK_GIVEN, .number = g->number});
    gr_buf_free(&input);
}

void gr_room_on_given(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    struct gr_room_giving *g = room->giving;
    void *body = NULL;
    if (!g || g->number != m->resume->number) return;      /* the room was loaded again meanwhile */
    const gr_work_done *done = m->body;
    bool good = !gr_failed(m->err) && !done->failed
        && !gr_failed(gr_body_decode(g->arena, &gr_type_room_given_is, gr_arena_str(g->arena, done->output), &body));
    const gr_room_given_is *is = body;
    if (!good || is->base == 0) {
        end_giving(room, ctx, gr_fail(GR_UNAVAILABLE, "The state could not be made: try again"));
        return;
    }
    gr_ctx_tally(ctx, GR_TALLY_GAP_HEADERS, is->headers);
    if (is->missing) gr_ctx_tally(ctx, GR_TALLY_GAP_INCOMPLETE, 1);
    g->keys = is->keys;
    g->events = is->events;
    g->root = is->base;
    gr_room_root_keep(ctx, g->name, g->root);
    gr_ctx_timer(ctx, gr_str_c(given_timer), gr_ctx_now_ms(ctx), false);
}

bool gr_room_give_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    struct gr_room_giving *g = room->giving;
    if (!gr_str_is(timer, given_timer)) return false;
    if (!g || !g->root) return true;
    gr_room_given given = {.keys = g->keys.at, .events = g->events.at, .count = g->keys.count};
    g->root = gr_room_given_root(room, ctx, g->root, &given, g->next, GIVEN_STEP);
    g->next += GIVEN_STEP;
    gr_room_root_keep(ctx, g->name, g->root);
    gr_room_save(room, ctx);
    if (g->next >= g->keys.count) end_giving(room, ctx, gr_ok());
    else gr_ctx_timer(ctx, gr_str_c(given_timer), gr_ctx_now_ms(ctx), false);
    return true;
}

void gr_room_giving_drop(gr_room *room)
{
    struct gr_room_giving *g = room->giving;
    if (!g) return;
    gr_asker_free(&g->asker);
    gr_arena_free(&g->arena);
    free(g);
    room->giving = NULL;
}
