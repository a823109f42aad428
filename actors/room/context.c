/* context.c - an event with its neighbours, and the event closest to a time. See read.h; client-server API,
 * "GET /context", "GET /timestamp_to_event". */
#include "actors/room/receive.h"
#include "actors/room/serve.h"

enum { GAPS_MAX = 8 };

static gr_err find_event(gr_view *v, gr_str event_id, gr_room_record *r)
{
    uint64_t number;
    if (gr_room_number_of(v->ctx, event_id, &number) && gr_room_record_at(v->ctx, number, r) && gr_view_sees(v, r))
        return gr_ok();
    return gr_fail(GR_NOT_FOUND, "There is no such event in this room, or you may not see it");
}

static void write_events(gr_view *v, gr_jw *w, const char *key, gr_room_page page)
{
    gr_buf list = {0};
    gr_buf_char(&list, '[');
    for (size_t i = 0; i < page.count; i++) gr_render_item(v, &list, &page.at[i], GR_RENDER_BUNDLE);
    gr_buf_char(&list, ']');
    gr_jw_kraw(w, key, gr_buf_view(&list));
    gr_buf_free(&list);
}

/* The state at the last event told; of the members only the senders when they are loaded lazily. */
typedef struct { gr_view *view; const gr_room_filter *filter; uint64_t root; } state_at;

static bool is_wanted(void *arg, const gr_room_record *r)
{
    state_at *s = arg;
    return gr_room_filter_passes(s->filter, gr_ctx_arena(s->view->ctx), s->view->room->id, r);
}

/* Part of it, beginning after a key; where to go on, or 0. */
static uint64_t write_state(state_at *s, gr_buf *out, uint64_t key)
{
    gr_state_choice choice = s->filter->lazy ? GR_STATE_OTHERS : GR_STATE_ALL;
    return gr_room_state_part(s->view, out, s->root, key, choice, is_wanted, s);
}

static void write_senders(gr_view *v, gr_buf *out, gr_room_page before, gr_room_page after, const gr_room_record *event,
                          uint64_t root)
{
    size_t count = 0;
    gr_room_record *told = gr_arena_alloc(gr_ctx_arena(v->ctx), (before.count + after.count + 1) * sizeof *told);
    for (size_t i = 0; i < before.count; i++) told[count++] = before.at[i];
    told[count++] = *event;
    for (size_t i = 0; i < after.count; i++) told[count++] = after.at[i];
    gr_room_senders_state(v, out, told, count, root);
}

static void answer(gr_view *v, const gr_room_filter *filter, const gr_room_record *event, size_t limit)
{
    gr_arena *a = gr_ctx_arena(v->ctx);
    uint64_t newest = v->room->next_pos - 1;
    gr_room_cut back = {true, event->depth, event->pos, newest}, on = {true, event->depth, event->pos + 1, newest};
    gr_room_page before = gr_room_page_of(v, filter, back, NULL, true, limit / 2);
    gr_room_page after = gr_room_page_of(v, filter, on, NULL, false, limit - limit / 2);
    gr_buf out = {0}, one = {0}, state = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "start", gr_room_cut_text(a, &before.stop));
    gr_jw_kstr(&w, "end", gr_room_cut_text(a, &after.stop));
    gr_render_event(v, &one, event, GR_RENDER_BUNDLE);
    gr_jw_kraw(&w, "event", gr_buf_view(&one));
    gr_buf_free(&one);
    write_events(v, &w, "events_before", before);
    write_events(v, &w, "events_after", after);
    gr_str head = gr_arena_cat(a, 2, (gr_str[]){gr_buf_view(&out), GR_STR(",\"state\":[")});
    gr_buf_free(&out);
    state_at s = {v, filter, (after.count ? &after.at[after.count - 1] : event)->state_after};
    if (filter->lazy) write_senders(v, &state, before, after, event, s.root);
    uint64_t key = write_state(&s, &state, 0);
    gr_room_answer_page(v->ctx, head, &state, GR_STR("]}"), (gr_str){0}, gr_room_cursor(a, s.root, key));
}

/* What is left of the state. */
static void answer_more(gr_view *v, const gr_room_filter *filter, gr_str page, uint64_t root, uint64_t key)
{
    gr_buf state = {0};
    state_at s = {v, filter, root};
    key = write_state(&s, &state, key);
    gr_room_answer_page(v->ctx, (gr_str){0}, &state, GR_STR("]}"), page, gr_room_cursor(gr_ctx_arena(v->ctx), root, key));
}

void gr_room_on_context(gr_room *room, gr_ctx *ctx, const gr_room_context *m)
{
    gr_view v;
    uint64_t root, key;
    gr_room_record event;
    gr_room_filter filter;
    gr_view_begin(&v, room, ctx, m->user, m->device);
    v.ignored = m->ignored;
    gr_err err = gr_view_check(&v);
    if (!gr_failed(err)) err = gr_room_filter_read(gr_ctx_arena(ctx), m->filter, &filter);
    if (!gr_failed(err)) err = find_event(&v, m->event_id, &event);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    filter.ignored = m->ignored;
    if (gr_room_cursor_read(m->page, &root, &key)) answer_more(&v, &filter, m->page, root, key);
    else answer(&v, &filter, &event, m->limit < GR_READ_PAGE_MAX ? (size_t)m->limit : GR_READ_PAGE_MAX);
}

/* --- by time -------------------------------------------------------------------------------------------- */
typedef struct { uint64_t at[GR_READ_RECORDS_MAX]; size_t count, limit; } numbers;

static bool on_pos(void *arg, gr_str key, gr_str value)
{
    numbers *n = arg;
    if (key.size == 9 && value.size == 17 && value.ptr[0] == GR_POS_EVENT)
        n->at[n->count++] = gr_u64be(value.ptr + 1);
    return n->count < n->limit;
}

/* Events at positions from here on, or back from here. */
static numbers events_from(gr_ctx *ctx, uint64_t pos, bool backward, size_t limit)
{
    numbers n = {.limit = limit};
    gr_str low = gr_room_key_number(ctx, 'p', backward ? 0 : pos);
    gr_str high = backward ? gr_room_key_number(ctx, 'p', pos + 1) : GR_STR("q");
    gr_ctx_scan(ctx, low, high, backward, GR_READ_ROWS_MAX, on_pos, &n);
    return n;
}

/* The first position whose event is not older than ts.  Times rise with positions but for events that came late,
 * which the walk from here finds if they are near. */
static uint64_t first_since(gr_room *room, gr_ctx *ctx, uint64_t ts)
{
    uint64_t low = 1, high = room->next_pos;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        numbers n = events_from(ctx, middle, false, 1);
        gr_room_record r;
        if (n.count && gr_room_record_at(ctx, n.at[0], &r) && r.ts < ts) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* --- history from other servers: it has no rows p, and is found by depth -------------------------------- */
static bool on_depth(void *arg, gr_str key, gr_str value)
{
    numbers *n = arg;
    if (key.size == 17 && value.size == 8) n->at[n->count++] = gr_u64be(value.ptr);
    return n->count < n->limit;
}

static numbers events_by_depth(gr_ctx *ctx, uint64_t depth, bool backward, size_t limit)
{
    numbers n = {.limit = limit};
    gr_str low = gr_room_key_number(ctx, 'd', backward ? 0 : depth);
    gr_str high = backward ? gr_room_key_number(ctx, 'd', depth + 1) : GR_STR("e");
    gr_ctx_scan(ctx, low, high, backward, GR_READ_ROWS_MAX, on_depth, &n);
    return n;
}

/* The same by depth: mostly times rise with it, too. */
static uint64_t first_depth_since(gr_room *room, gr_ctx *ctx, uint64_t ts)
{
    uint64_t low = 1, high = room->depth + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        numbers n = events_by_depth(ctx, middle, false, 1);
        gr_room_record r;
        if (n.count && gr_room_record_at(ctx, n.at[0], &r) && r.ts < ts) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* --- the nearest that may be seen ------------------------------------------------------------------------ */
typedef struct {
    const gr_room_timestamp *m;
    gr_ctx *ctx;
    gr_view *view;                     /* of a user, or NULL */
    gr_serve *serve;                   /* of a server */
    gr_room_record best;
    bool found;
} nearest;

/* The first of these; what was found before stays when it is nearer. */
static void look_through(nearest *f, numbers n, bool only_history)
{
    gr_room_record r;
    for (size_t i = 0; i < n.count; i++) {
        if (!gr_room_record_at(f->ctx, n.at[i], &r) || (only_history && !(r.flags & GR_ROOM_HISTORY))) continue;
        if (f->view ? !gr_view_sees(f->view, &r) : !gr_serve_sees(f->serve, &r)) continue;
        if (f->m->backward ? r.ts > f->m->ts : r.ts < f->m->ts) continue;
        bool is_nearer = !f->found || (f->m->backward ? r.ts > f->best.ts : r.ts < f->best.ts);
        if (is_nearer) f->best = r;
        f->found = true;
        return;
    }
}

static void find_nearest(gr_room *room, nearest *f)
{
    gr_str none;
    bool back = f->m->backward;
    uint64_t since = back && f->m->ts < UINT64_MAX ? f->m->ts + 1 : f->m->ts, pos = first_since(room, f->ctx, since);
    look_through(f, events_from(f->ctx, back ? pos - 1 : pos, back, GR_READ_RECORDS_MAX), false);
    if (!gr_ctx_get(f->ctx, GR_STR("o"), &none)) return;
    uint64_t depth = first_depth_since(room, f->ctx, since);
    look_through(f, events_by_depth(f->ctx, back ? depth - 1 : depth, back, GR_READ_RECORDS_MAX), true);
}

/* An event nearer than what was found may be missing: before the backward extremity that is next to it, on the side of the time
 * that was asked for.  The depth of that one; 0: there is none. */
static uint64_t gap_beside(gr_ctx *ctx, const nearest *f)
{
    gr_room_backward b[GAPS_MAX];
    uint64_t found = 0, from = f->m->backward || !f->found ? UINT64_MAX : f->best.depth;
    size_t count = gr_room_backwards(ctx, from, b, GAPS_MAX);
    for (size_t i = 0; i < count; i++) {
        gr_room_record r;
        if (f->m->backward && f->found && b[i].depth <= f->best.depth) break;
        if (!gr_room_record_at(ctx, b[i].number, &r) || r.ts < f->m->ts) continue;
        found = b[i].depth;
        if (!f->m->backward) break;    /* the first is the nearest; backward it is the last */
    }
    return found;
}

static gr_str nearest_text(gr_ctx *ctx, const nearest *f)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    if (!f->found) return (gr_str){0};
    gr_jw_object(&w);
    gr_jw_kstr(&w, "event_id", f->best.event_id);
    gr_jw_kint(&w, "origin_server_ts", (int64_t)f->best.ts);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

void gr_room_on_timestamp(gr_room *room, gr_ctx *ctx, const gr_room_timestamp *m)
{
    gr_view v;
    gr_serve s;
    gr_err err;
    nearest f = {.m = m, .ctx = ctx, .view = m->server.size ? NULL : &v, .serve = &s};
    if (m->server.size) {
        err = gr_serve_begin(&s, room, ctx, m->server);
    } else {
        gr_view_begin(&v, room, ctx, m->user, (gr_str){0});
        err = gr_view_check(&v);
    }
    if (!gr_failed(err)) find_nearest(room, &f);
    bool is_best = f.found && f.best.ts == m->ts;
    uint64_t gap = gr_failed(err) || m->server.size || is_best ? 0 : gap_beside(ctx, &f);
    if (!gr_failed(err) && !f.found && !gap) err = gr_fail(GR_NOT_FOUND, "There is no event in that direction that you may see");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_room_messages_gap beside = {.body = nearest_text(ctx, &f), .depth = gap, .count = f.found};
    if (gap) gr_ctx_reply(ctx, &gr_type_room_messages_gap, &beside);
    else gr_ctx_json(ctx, beside.body);
}
