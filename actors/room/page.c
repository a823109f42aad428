/* page.c - walking history, and GET /messages. See read.h. */
#include "actors/room/read.h"
#include "actors/room/receive.h"

enum { BACKWARDS_MAX = 8 };

/* --- cuts as text: "t<bound>" or "t<depth>_<pos>_<bound>" ----------------------------------------------- */
gr_str gr_room_cut_text(gr_arena *a, const gr_room_cut *c)
{
    if (!c->place) return gr_room_cut_at(a, c->bound);
    return gr_arena_printf(a, "t%llu_%llu_%llu", (unsigned long long)c->depth, (unsigned long long)c->pos,
                           (unsigned long long)c->bound);
}

gr_str gr_room_cut_at(gr_arena *a, uint64_t bound) { return gr_arena_printf(a, "t%llu", (unsigned long long)bound); }

bool gr_room_cut_read(gr_str text, gr_room_cut *c)
{
    uint64_t numbers[3];
    size_t count = 0;
    *c = (gr_room_cut){0};
    if (text.size < 2 || text.ptr[0] != 't') return false;
    for (gr_str rest = gr_str_from(text, 1); count < 3; count++) {
        ptrdiff_t bar = gr_str_find(rest, '_');
        if (!gr_str_u64(bar < 0 ? rest : gr_str_head(rest, (size_t)bar), &numbers[count])) return false;
        if (bar < 0) {
            count++;
            break;
        }
        if (count == 2) return false;
        rest = gr_str_from(rest, (size_t)bar + 1);
    }
    if (count == 2) return false;
    *c = count == 1 ? (gr_room_cut){.bound = numbers[0]} : (gr_room_cut){true, numbers[0], numbers[1], numbers[2]};
    return true;
}

/* --- walking -------------------------------------------------------------------------------------------- */
typedef struct { uint64_t depth, pos, number; } spot;

typedef struct {
    gr_view *view;
    const gr_room_filter *filter;
    const gr_room_cut *to;
    bool backward;
    size_t limit, looked, bytes;
    gr_room_page *page;
    spot spots[GR_READ_ROWS_MAX];
    size_t count;
    uint64_t gap_depth;                /* where history is missing; 0: nowhere */
} walker;

static bool comes_before(const gr_room_cut *c, const spot *s)
{
    if (!c->place) return true;
    return s->depth < c->depth || (s->depth == c->depth && s->pos < c->pos);
}

static bool lies_before(const gr_room_cut *c, const spot *s) { return s->pos <= c->bound && comes_before(c, s); }

static bool on_depth_row(void *arg, gr_str key, gr_str value)
{
    walker *w = arg;
    if (key.size == 17 && value.size == 8)
        w->spots[w->count++] = (spot){gr_u64be(key.ptr + 1), gr_u64be(key.ptr + 9), gr_u64be(value.ptr)};
    return w->count < GR_READ_ROWS_MAX;
}

static bool on_pos_row(void *arg, gr_str key, gr_str value)
{
    walker *w = arg;
    if (key.size == 9 && value.size == 17)
        w->spots[w->count++] = (spot){.pos = gr_u64be(key.ptr + 1),
                                      .number = value.ptr[0] == GR_POS_EVENT ? gr_u64be(value.ptr + 1) : 0};
    return w->count < GR_READ_ROWS_MAX;
}

static void take(walker *w, const spot *s)
{
    gr_room_record r;
    gr_view *v = w->view;
    w->looked++;
    if (!gr_room_record_at(v->ctx, s->number, &r)) return;
    if (!w->backward && w->to && !lies_before(w->to, &(spot){r.depth, r.pos, s->number})) return;
    if (!gr_room_filter_passes(w->filter, gr_ctx_arena(v->ctx), v->room->id, &r) || !gr_view_sees(v, &r)) return;
    w->page->at[w->page->count++] = r;
    w->bytes += r.json.size;
}

static bool is_full(const walker *w)
{
    return w->page->count == w->limit || w->looked == GR_READ_RECORDS_MAX || w->bytes >= GR_READ_TIMELINE_BYTES;
}

/* The cut just behind a spot, in the direction of the walk. */
static gr_room_cut behind(const walker *w, const spot *s, uint64_t bound)
{
    if (w->backward) return (gr_room_cut){true, s->depth, s->pos, bound};
    return (gr_room_cut){true, s->depth, s->pos + 1, bound};
}

/* --- where history is missing --------------------------------------------------------------------------- */
/* Would the user see what came before it? */
static bool is_open_behind(gr_view *v, uint64_t number)
{
    gr_room_record r;
    if (!gr_room_record_at(v->ctx, number, &r)) return false;
    r.is_state = false;                /* what it changes itself does not count */
    return gr_view_sees(v, &r);
}

/* The deepest event on the far side of a cut before which history is missing, if that may come: its depth; else 0. */
static uint64_t gap_behind(gr_view *v, gr_room_cut from)
{
    gr_room_backward b[BACKWARDS_MAX];
    gr_str next;                       /* the position that history gets next */
    if (!gr_ctx_get(v->ctx, GR_STR("o"), &next) || next.size != 8 || gr_u64be(next.ptr) > from.bound) return 0;
    size_t count = gr_room_backwards(v->ctx, from.place ? from.depth : UINT64_MAX, b, BACKWARDS_MAX);
    for (size_t i = 0; i < count; i++)
        if (is_open_behind(v, b[i].number)) return b[i].depth;
    return 0;
}

/* Nothing is told of what lies behind it. */
static bool ends_at_gap(walker *w, uint64_t depth)
{
    if (depth >= w->gap_depth) return false;
    w->page->gap_depth = w->gap_depth;
    return true;
}

/* By (depth, pos), events up to the bound.  True when this part of the history has come to its end. */
static bool walk_depths(walker *w, gr_room_cut from)
{
    gr_ctx *ctx = w->view->ctx;
    if (w->backward && !w->view->over_gaps) w->gap_depth = gap_behind(w->view, from);
    gr_str place = from.place ? gr_room_key_numbers(ctx, 'd', from.depth, from.pos) : GR_STR("e");
    if (w->backward) gr_ctx_scan(ctx, GR_STR("d"), place, true, GR_READ_ROWS_MAX, on_depth_row, w);
    else gr_ctx_scan(ctx, place, GR_STR("e"), false, GR_READ_ROWS_MAX, on_depth_row, w);
    for (size_t i = 0; i < w->count; i++) {
        const spot *s = &w->spots[i];
        bool is_before = w->to && lies_before(w->to, s);
        /* Everything further back lies before `to` as well, everything further on behind it. */
        if (w->backward && is_before && w->to->bound >= from.bound) return true;
        if (ends_at_gap(w, s->depth)) return false;
        if (!w->backward && w->to && w->to->place && !comes_before(w->to, s)) return true;
        bool skip = s->pos > from.bound || (w->to && (w->backward ? is_before : !is_before));
        w->page->stop = behind(w, s, from.bound);
        if (!skip) take(w, s);
        if (is_full(w)) return i + 1 == w->count && w->count < GR_READ_ROWS_MAX && !w->gap_depth;
    }
    return w->count < GR_READ_ROWS_MAX && !ends_at_gap(w, 0);
}

/* By position: what came after the bound, or backward down to that of `to`. */
static bool walk_positions(walker *w, gr_room_cut from)
{
    gr_ctx *ctx = w->view->ctx;
    uint64_t newest = w->view->room->next_pos - 1;
    uint64_t low = w->backward ? w->to->bound : from.bound;
    uint64_t high = w->backward ? from.bound : w->to ? w->to->bound : newest;
    w->count = 0;
    if (low < high)
        gr_ctx_scan(ctx, gr_room_key_number(ctx, 'p', low + 1), gr_room_key_number(ctx, 'p', high + 1), w->backward,
                    GR_READ_ROWS_MAX, on_pos_row, w);
    for (size_t i = 0; i < w->count; i++) {
        const spot *s = &w->spots[i];
        w->page->stop = (gr_room_cut){.bound = w->backward ? s->pos - 1 : s->pos};
        if (s->number) take(w, s);
        if (is_full(w)) return i + 1 == w->count && w->count < GR_READ_ROWS_MAX;
    }
    return w->count < GR_READ_ROWS_MAX;
}

gr_room_page gr_room_page_of(gr_view *v, const gr_room_filter *filter, gr_room_cut from, const gr_room_cut *to,
                             bool backward, size_t limit)
{
    gr_room_page page = {.at = gr_arena_alloc(gr_ctx_arena(v->ctx), (limit + 1) * sizeof(gr_room_record)), .stop = from};
    walker *w = gr_arena_alloc(gr_ctx_arena(v->ctx), sizeof *w);
    *w = (walker){.view = v, .filter = filter, .to = to, .backward = backward, .limit = limit, .page = &page};
    if (limit == 0) {
        page.more = true;
        return page;
    }
    /* Two cuts without a place bound a range of positions: walking those finds late events where they are. */
    if (backward && to && !to->place && !from.place) {
        page.more = !walk_positions(w, from);
        return page;
    }
    bool by_depth = backward || from.place;
    if (by_depth && !walk_depths(w, from)) {
        page.more = true;
        return page;
    }
    if (backward) return page;
    if (by_depth) page.stop = (gr_room_cut){.bound = from.bound};
    if (is_full(w)) page.more = page.stop.bound + 1 < v->room->next_pos;
    else page.more = !walk_positions(w, page.stop);
    return page;
}

/* --- members of senders --------------------------------------------------------------------------------- */
void gr_room_senders_state(gr_view *v, gr_buf *out, const gr_room_record *events, size_t count, uint64_t root)
{
    for (size_t i = 0; i < count; i++) {
        bool told = false;
        gr_room_record r;
        for (size_t k = 0; k < i && !told; k++) told = gr_str_eq(events[k].sender, events[i].sender);
        if (told) continue;
        uint64_t number = gr_room_state_number(v->room, v->ctx, root, GR_STR("m.room.member"), events[i].sender);
        if (gr_room_record_at(v->ctx, number, &r)) gr_render_item(v, out, &r, GR_RENDER_STATE);
    }
}

/* --- GET /messages -------------------------------------------------------------------------------------- */
/* Where a token or a sync position stands; otherwise, when there is none. */
static gr_err read_cut(gr_room *room, gr_str token, bool has_pos, uint64_t pos, gr_room_cut otherwise, gr_room_cut *cut)
{
    *cut = otherwise;
    if (has_pos) *cut = (gr_room_cut){.bound = pos};
    else if (token.size && !gr_room_cut_read(token, cut))
        return gr_fail(GR_INVALID_PARAM, "This is no token that this server gave for this room's history");
    if (cut->bound >= room->next_pos) cut->bound = room->next_pos - 1;
    return gr_ok();
}

/* There is more, or might be once others give what is missing. */
static bool goes_on(gr_view *v, const gr_room_messages *m, const gr_room_page *page)
{
    if (page->more) return page->count || m->limit;
    return m->backward && v->over_gaps && gap_behind(v, page->stop);
}

static void answer(gr_view *v, const gr_room_messages *m, const gr_room_filter *filter, gr_str start, gr_room_page page)
{
    gr_arena *a = gr_ctx_arena(v->ctx);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "start", start);
    if (goes_on(v, m, &page)) gr_jw_kstr(&w, "end", gr_room_cut_text(a, &page.stop));
    gr_jw_key(&w, "chunk");
    gr_buf list = {0};
    gr_buf_char(&list, '[');
    for (size_t i = 0; i < page.count; i++) gr_render_item(v, &list, &page.at[i], GR_RENDER_BUNDLE);
    gr_buf_char(&list, ']');
    gr_jw_raw(&w, gr_buf_view(&list));
    if (filter->lazy && page.count) {
        gr_buf_clear(&list);
        gr_buf_char(&list, '[');
        gr_room_senders_state(v, &list, page.at, page.count, page.at[0].state_after);
        gr_buf_char(&list, ']');
        gr_jw_kraw(&w, "state", gr_buf_view(&list));
    }
    gr_jw_end_object(&w);
    gr_room_messages_gap body = {.body = gr_buf_view(&out), .depth = page.gap_depth, .count = page.count};
    if (page.gap_depth) gr_ctx_reply(v->ctx, &gr_type_room_messages_gap, &body);
    else gr_ctx_json(v->ctx, gr_buf_view(&out));
    gr_buf_free(&list);
    gr_buf_free(&out);
}

void gr_room_on_messages(gr_room *room, gr_ctx *ctx, const gr_room_messages *m)
{
    gr_view v;
    gr_room_filter filter;
    gr_room_cut from, to, edge = {.bound = room->next_pos - 1};
    gr_arena *a = gr_ctx_arena(ctx);
    gr_view_begin(&v, room, ctx, m->user, m->device);
    v.ignored = m->ignored;
    v.over_gaps = m->over_gaps;
    if (!m->backward) edge.place = true;
    gr_err err = gr_view_check(&v);
    if (!gr_failed(err)) err = gr_room_filter_read(a, m->filter, &filter);
    /* A sync token that is too old to be placed stands for the nearest end of history. */
    if (!gr_failed(err)) err = read_cut(room, m->from, m->has_from_pos && m->from_pos, m->from_pos, edge, &from);
    if (!gr_failed(err)) err = read_cut(room, m->to, m->has_to_pos, m->to_pos, edge, &to);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    filter.ignored = m->ignored;
    bool has_to = m->to.size || (m->has_to_pos && m->to_pos);
    uint64_t limit = gr_room_filter_limit(&filter, m->limit);
    if (limit > m->limit) limit = m->limit;
    if (limit > GR_READ_PAGE_MAX) limit = GR_READ_PAGE_MAX;
    gr_room_page page = gr_room_page_of(&v, &filter, from, has_to ? &to : NULL, m->backward, (size_t)limit);
    answer(&v, m, &filter, m->start.size ? m->start : gr_room_cut_text(a, &from), page);
}
