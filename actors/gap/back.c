/* back.c - history that is missing here. See gap.h.
 *
 * The room names the events that follow on the oldest it has; who may have them is asked for these and what came before, and
 * what came is given to the room as the events of any other gap are.
 */
#include "actors/gap/gap_private.h"

#include "proto/uri.h"

#include <stdlib.h>

void gap_ask_back(gap_flow *f, gr_ctx *ctx)
{
    gap_begin_step(f, BACK);
    gap_ask_room(f, ctx, &gr_type_room_back, &(gr_room_back){.origin = f->row->origin, .depth = f->row->depth});
}

static void ask_backfill(gap_flow *f, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_buf uri = {0};
    gap_begin_step(f, BACKFILL);
    gr_buf_str(&uri, gap_uri(f, ctx, "backfill", (gr_str){0}));
    gr_buf_printf(&uri, "?limit=%d", GR_GAP_BACKFILL);
    for (size_t i = 0; i < f->ids.count; i++) gr_buf_printf(&uri, "&v=%" GR_FMT, GR_ARG(gr_uri_encode(a, f->ids.at[i])));
    gap_ask_server(f, ctx, "GET", gr_buf_view(&uri), (gr_str){0}, 0);
    gr_buf_free(&uri);
}

/* --- next to a time: Server-server API, "GET /timestamp_to_event" ------------------------------------------------ */
static void ask_moment(gap_flow *f, gr_ctx *ctx)
{
    gr_str uri = gap_uri(f, ctx, "timestamp_to_event", (gr_str){0});
    gap_begin_step(f, MOMENT);
    gap_ask_server(f, ctx, "GET", gr_arena_printf(gr_ctx_arena(ctx), "%" GR_FMT "?ts=%llu&dir=%" GR_FMT, GR_ARG(uri),
                                                  (unsigned long long)f->row->ts, GR_ARG(f->row->dir)), (gr_str){0}, 0);
}

static bool is_nearer(const gr_gap_flow_row *row, int64_t ts)
{
    uint64_t at = ts > 0 ? (uint64_t)ts : 0;
    if (gr_str_is(row->dir, "b")) return at <= row->ts && at > row->nearest;
    return at >= row->ts && at && (row->nearest == 0 || at < row->nearest);
}

/* Who knows of a nearer event is asked for it, and for what came before it: it becomes history here, apart from the rest. */
void gap_on_moment(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = gap_answered(ctx, m);
    gr_str id = gr_json_text(body, "event_id");
    if (gr_ident_event(id) && is_nearer(f->row, gr_json_integer(gr_json_get(body, "origin_server_ts"), -1))) {
        f->ids = (gr_strs){0};
        gap_keep_more(f, &f->ids, gap_keep(f, id));
        gap_helped(f);
        ask_backfill(f, ctx);
    } else if (gap_next_server(f)) {
        ask_moment(f, ctx);
    } else {
        gap_give_up(f, ctx);
    }
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */
void gap_on_back(gap_flow *f, gr_ctx *ctx, const gr_room_back_is *m)
{
    f->ids = f->servers = (gr_strs){0};
    f->server = f->refusals = 0;
    for (size_t i = 0; i < m->ids.count; i++) gap_keep_more(f, &f->ids, gap_keep(f, m->ids.at[i]));
    for (size_t i = 0; i < m->servers.count; i++) gap_keep_more(f, &f->servers, gap_keep(f, m->servers.at[i]));
    if (f->ids.count == 0) gap_end(f, ctx);
    else if (f->servers.count == 0) gap_give_up(f, ctx);
    else if (gap_is_moment(f)) ask_moment(f, ctx);
    else ask_backfill(f, ctx);
}

/* Oldest first, so that few wait for others.  A depth may lie: then they wait after all. */
typedef struct { int64_t depth; size_t place; gr_str text; } aged;

static int by_age(const void *a, const void *b)
{
    const aged *x = a, *y = b;
    if (x->depth != y->depth) return x->depth < y->depth ? -1 : 1;
    return (x->place < y->place) - (x->place > y->place);
}

static void take_oldest_first(gap_flow *f, gr_ctx *ctx, const gr_json *pdus)
{
    gr_arena *a = gr_ctx_arena(ctx);
    size_t count = gr_json_is(pdus, GR_JSON_ARRAY) ? pdus->count : 0;
    if (count > GR_GAP_BACKFILL) count = GR_GAP_BACKFILL;
    aged *all = gr_arena_alloc(a, (count + 1) * sizeof *all);
    for (size_t i = 0; i < count; i++)
        all[i] = (aged){gr_json_integer(gr_json_get(&pdus->items[i], "depth"), 0), i, gr_json_printed(a, &pdus->items[i])};
    if (count) qsort(all, count, sizeof *all, by_age);
    for (size_t i = 0; i < count; i++) gap_keep_more(f, &f->given, gap_keep(f, all[i].text));
}

void gap_on_backfill(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = gap_answered(ctx, m);
    gap_begin_giving(f, GR_INCOMING_HISTORY, (gr_str){0}, gap_look);
    take_oldest_first(f, ctx, body ? gr_json_get(body, "pdus") : NULL);
    if (f->given.count) {
        gap_helped(f);
        gap_give(f, ctx);
    } else if (gap_next_server(f)) {
        ask_backfill(f, ctx);
    } else {
        gap_give_up(f, ctx);
    }
}
