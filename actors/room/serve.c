/* serve.c - see serve.h. */
#include "actors/room/serve.h"
#include "actors/room/graph.h"
#include "actors/room/receive.h"
#include "actors/room/resident.h"

#include <stdlib.h>

/* --- who may see what --------------------------------------------------------------------------------------- */
gr_err gr_serve_begin(gr_serve *s, gr_room *room, gr_ctx *ctx, gr_str server)
{
    gr_err err = gr_room_serves(room, ctx, server);
    if (!gr_failed(err) && gr_room_server_members(ctx, server) == 0)
        err = gr_fail(GR_FORBIDDEN, "Your server is not in this room");
    *s = (gr_serve){.server = server};
    if (!gr_failed(err)) gr_view_begin(&s->view, room, ctx, (gr_str){0}, (gr_str){0});
    return err;
}

typedef struct {
    gr_serve *serve;
    gr_trie trie;
    uint64_t root;
    size_t prefix, looked;
    gr_membership most;                /* the best that one of them is: join, then invite */
} members;

static bool on_user(void *arg, gr_str key, gr_str value)
{
    members *m = arg;
    gr_view *v = &m->serve->view;
    (void)value;
    uint64_t row = gr_room_key_of(v->room, v->ctx, GR_STR("m.room.member"), gr_str_from(key, m->prefix));
    gr_membership is = gr_view_membership_by(v, row ? gr_trie_get(&m->trie, m->root, row) : 0);
    if (is == GR_MEMBER_JOIN || (is == GR_MEMBER_INVITE && m->most != GR_MEMBER_JOIN)) m->most = is;
    return m->most != GR_MEMBER_JOIN && ++m->looked < GR_SERVE_MEMBERS_MAX;
}

/* What the state of a root says, the current one at this position if it ever was: the visibility, and the best membership
 * that a user of the server has. */
static gr_room_moment moment_of(gr_serve *s, uint64_t root, uint64_t pos)
{
    gr_room_nodes nodes;
    gr_view *v = &s->view;
    for (size_t i = 0; i < GR_READ_MOMENTS; i++)
        if (s->moments[i].known && s->moments[i].root == root) return s->moments[i];
    gr_room_moment is = gr_view_moment(v, root, pos);
    if (is.visibility == GR_VISIBLE_INVITED || is.visibility == GR_VISIBLE_JOINED) {
        gr_str prefix = gr_room_key_parts(v->ctx, 'N', 2, (gr_str[]){s->server, {0}});
        members m = {.serve = s, .trie = gr_room_trie(&nodes, v->room, v->ctx), .root = root, .prefix = prefix.size};
        gr_ctx_scan_prefix(v->ctx, prefix, GR_SERVE_MEMBERS_MAX, on_user, &m);
        is.membership = m.most;
    }
    s->moments[s->next_moment++ % GR_READ_MOMENTS] = is;
    return is;
}

static bool allows(gr_room_moment m)
{
    if (m.visibility == GR_VISIBLE_WORLD || m.visibility == GR_VISIBLE_SHARED || m.membership == GR_MEMBER_JOIN) return true;
    return m.visibility == GR_VISIBLE_INVITED && m.membership == GR_MEMBER_INVITE;
}

/* Whichever side of its own change shows it. */
static bool has_two_sides(const gr_serve *s, const gr_room_record *r)
{
    if (gr_str_is(r->type, "m.room.history_visibility")) return r->is_state && r->state_key.size == 0;
    return r->is_state && gr_str_is(r->type, "m.room.member") && gr_str_eq(gr_ident_domain(r->state_key), s->server);
}

bool gr_serve_sees(gr_serve *s, const gr_room_record *r)
{
    if (r->flags & GR_ROOM_OUTLIER) return r->is_state;    /* part of a state or of its auth chain */
    if (s->view.open || allows(moment_of(s, r->state_before, r->pos ? r->pos - 1 : 0))) return true;
    return has_two_sides(s, r) && allows(moment_of(s, r->state_after, r->pos));
}

static bool is_given(const gr_room *room, const gr_room_record *r)
{
    if (r->flags & (GR_ROOM_REJECTED | GR_ROOM_SOFT_FAILED)) return false;
    return r->pos == 0 || r->pos >= room->floor || r->is_state;        /* else it is purged */
}

static void write_pdu(gr_serve *s, gr_jw *w, const gr_room_record *r)
{
    const gr_json *json;
    gr_arena *a = gr_ctx_arena(s->view.ctx);
    gr_str text = gr_room_pdu(s->view.room, a, r);
    if (!gr_serve_sees(s, r) && !gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &json)))
        text = gr_event_redact(a, s->view.room->version, json);
    gr_jw_raw(w, text);
}

/* --- walks back through the graph --------------------------------------------------------------------------- */
enum { OPEN_MAX = 2048, SEEN_MAX = 4096 };

typedef struct {
    gr_serve *serve;
    gr_strs skip;                      /* neither told nor passed */
    uint64_t min_depth;
    gr_room_record open[OPEN_MAX];     /* to be visited */
    size_t open_count;
    uint64_t seen[SEEN_MAX];
    size_t seen_count;
    gr_room_record *told;
    size_t told_count, told_max, bytes;
} walk;

static bool is_skipped(const walk *w, gr_str id)
{
    for (size_t i = 0; i < w->skip.count; i++)
        if (gr_str_eq(w->skip.at[i], id)) return true;
    return false;
}

static void open_event(walk *w, gr_str id)
{
    gr_room_record r;
    uint64_t number;
    gr_ctx *ctx = w->serve->view.ctx;
    if (is_skipped(w, id) || !gr_room_number_of(ctx, id, &number)) return;
    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i] == number) return;
    if (w->seen_count == SEEN_MAX || w->open_count == OPEN_MAX) return;
    if (!gr_room_record_at(ctx, number, &r) || (r.flags & GR_ROOM_OUTLIER) || r.depth < w->min_depth) return;
    w->seen[w->seen_count++] = number;
    w->open[w->open_count++] = r;
}

static void open_prevs(walk *w, const gr_room_record *r)
{
    gr_event e;
    if (!gr_room_event_of(w->serve->view.room, gr_ctx_arena(w->serve->view.ctx), r, &e)) return;
    for (size_t i = 0; i < e.prev_events.count; i++) open_event(w, e.prev_events.at[i]);
}

/* The deepest that is open: so nothing is told before what follows it. */
static gr_room_record take_deepest(walk *w)
{
    size_t best = 0;
    for (size_t i = 1; i < w->open_count; i++)
        if (w->open[i].depth > w->open[best].depth) best = i;
    gr_room_record r = w->open[best];
    w->open[best] = w->open[--w->open_count];
    return r;
}

static void run(walk *w)
{
    while (w->open_count && w->told_count < w->told_max && w->bytes < GR_SERVE_BYTES) {
        gr_room_record r = take_deepest(w);
        open_prevs(w, &r);
        if (!is_given(w->serve->view.room, &r)) continue;
        w->told[w->told_count++] = r;
        w->bytes += r.json.size;
    }
}

static walk *begin_walk(gr_serve *s, size_t most)
{
    gr_arena *a = gr_ctx_arena(s->view.ctx);
    walk *w = gr_arena_alloc(a, sizeof *w);
    w->serve = s;
    w->told_max = most;
    w->told = gr_arena_alloc(a, (most + 1) * sizeof *w->told);
    return w;
}

/* --- handlers ----------------------------------------------------------------------------------------------- */
static void answer_pdus(gr_serve *s, const gr_room_record *told, size_t count, bool oldest_first)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) write_pdu(s, &w, &told[oldest_first ? count - 1 - i : i]);
    gr_jw_end_array(&w);
    gr_ctx_json(s->view.ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

void gr_room_on_may_fetch(gr_room *room, gr_ctx *ctx, const gr_room_may_fetch *m)
{
    gr_serve s;
    gr_err err = gr_serve_begin(&s, room, ctx, m->server);
    if (gr_failed(err)) gr_ctx_fail(ctx, err);
    else gr_ctx_done(ctx);
}

void gr_room_on_backfill(gr_room *room, gr_ctx *ctx, const gr_room_backfill *m)
{
    gr_serve s;
    gr_err err = gr_serve_begin(&s, room, ctx, m->server);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    walk *w = begin_walk(&s, m->limit < GR_SERVE_BACKFILL_MAX ? (size_t)m->limit : GR_SERVE_BACKFILL_MAX);
    for (size_t i = 0; i < m->from.count; i++) open_event(w, m->from.at[i]);
    run(w);
    answer_pdus(&s, w->told, w->told_count, false);
}

void gr_room_on_missing_events(gr_room *room, gr_ctx *ctx, const gr_room_missing_events *m)
{
    gr_serve s;
    gr_err err = gr_serve_begin(&s, room, ctx, m->server);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    walk *w = begin_walk(&s, m->limit < GR_SERVE_MISSING_MAX ? (size_t)m->limit : GR_SERVE_MISSING_MAX);
    w->min_depth = m->min_depth;
    w->skip = m->earliest;
    for (size_t i = 0; i < m->latest.count; i++) {
        gr_room_record r;
        uint64_t number;
        if (gr_room_number_of(ctx, m->latest.at[i], &number) && gr_room_record_at(ctx, number, &r)) open_prevs(w, &r);
    }
    run(w);
    answer_pdus(&s, w->told, w->told_count, true);
}

void gr_room_on_fetch_event(gr_room *room, gr_ctx *ctx, const gr_room_fetch_event *m)
{
    gr_serve s;
    gr_room_record r;
    uint64_t number;
    gr_err err = gr_serve_begin(&s, room, ctx, m->server);
    bool found = !gr_failed(err) && gr_room_number_of(ctx, m->event_id, &number) && gr_room_record_at(ctx, number, &r);
    if (!gr_failed(err) && (!found || !is_given(room, &r)))
        err = gr_fail(GR_NOT_FOUND, "There is no such event in a room that your server is in");
    if (gr_failed(err)) gr_ctx_fail(ctx, err);
    else answer_pdus(&s, &r, 1, false);
}
