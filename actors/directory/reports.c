/* reports.c - what users reported to the owner of the server. See directory.h; client-server API, "Reporting Content".
 *
 * Rows "r<number>", numbered as they came; the oldest make room for new ones.
 */
#include "actors/directory/directory.h"

#include "proto/json.h"

static gr_str report_key(gr_ctx *ctx, uint64_t number)
{
    char *key = gr_arena_alloc(gr_ctx_arena(ctx), 9);
    key[0] = 'r';
    for (int i = 0; i < 8; i++) key[1 + i] = (char)(number >> (56 - 8 * i));
    return gr_str_of(key, 9);
}

static bool read_number(void *arg, gr_str key, gr_str value)
{
    (void)value;
    if (key.size == 9) *(uint64_t *)arg = gr_u64be(key.ptr + 1);
    return false;
}

void gr_directory_on_report(const gr_report_put *m, gr_ctx *ctx)
{
    uint64_t number = 0;
    gr_ctx_scan(ctx, GR_STR("r"), GR_STR("s"), true, 1, read_number, &number);
    gr_report_put kept = *m;
    kept.ts = gr_ctx_now_ms(ctx);
    gr_ctx_put_body(ctx, report_key(ctx, ++number), &gr_type_report_put, &kept);
    if (number > GR_REPORTS_MAX) gr_ctx_del(ctx, report_key(ctx, number - GR_REPORTS_MAX));
    gr_ctx_done(ctx);
}

typedef struct {
    gr_ctx *ctx;
    gr_jw *w;
    uint64_t last;
    size_t count;
} listing;

static void write_if(gr_jw *w, const char *key, gr_str value)
{
    if (value.size) gr_jw_kstr(w, key, value);
}

static bool write_report(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    void *body = NULL;
    if (key.size != 9 || gr_failed(gr_body_decode(gr_ctx_arena(l->ctx), &gr_type_report_put, value, &body)))
        return true;
    const gr_report_put *r = body;
    l->last = gr_u64be(key.ptr + 1);
    l->count++;
    gr_jw_object(l->w);
    gr_jw_kint(l->w, "number", (int64_t)l->last);
    gr_jw_kint(l->w, "ts", (int64_t)r->ts);
    gr_jw_kstr(l->w, "user_id", r->user);
    write_if(l->w, "room_id", r->room_id);
    write_if(l->w, "event_id", r->event_id);
    write_if(l->w, "reported_user_id", r->reported);
    write_if(l->w, "reason", r->reason);
    gr_jw_end_object(l->w);
    return true;
}

void gr_directory_on_report_list(const gr_report_list *m, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    listing l = {.ctx = ctx, .w = &w};
    uint64_t limit = m->limit && m->limit < GR_REPORTS_PAGE ? m->limit : GR_REPORTS_PAGE;
    gr_str to = m->before ? report_key(ctx, m->before) : GR_STR("s");
    gr_jw_object(&w);
    gr_jw_key(&w, "reports");
    gr_jw_array(&w);
    gr_ctx_scan(ctx, GR_STR("r"), to, true, limit, write_report, &l);
    gr_jw_end_array(&w);
    if (l.count == limit && l.last > 1) gr_jw_kint(&w, "next", (int64_t)l.last);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}
