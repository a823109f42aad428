/* media.c - reserving, keeping and looking up uploads. See media.h. */
#include "actors/media/media.h"

#define ROW GR_STR("m")
#define TIMER GR_STR("reserved")

static bool read_row(gr_ctx *ctx, gr_media_row *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_media_row){0};
    if (!gr_ctx_get(ctx, ROW, &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_media_row, bytes, &body))) return false;
    *out = *(gr_media_row *)body;
    return true;
}

static void put_row(gr_ctx *ctx, const gr_media_row *row) { gr_ctx_put_body(ctx, ROW, &gr_type_media_row, row); }

static void on_reserve(const gr_media_reserve *m, gr_ctx *ctx)
{
    gr_media_row row;
    if (!read_row(ctx, &row)) {
        row = (gr_media_row){.user = m->user, .made_ms = gr_ctx_now_ms(ctx), .missing = true};
        put_row(ctx, &row);
        gr_ctx_timer(ctx, TIMER, row.made_ms + GR_MEDIA_RESERVED_MS, true);
    }
    gr_ctx_done(ctx);
}

static gr_err may_put(const gr_media_put *m, bool known, const gr_media_row *row)
{
    if (m->reserved && !known) return gr_fail(GR_NOT_FOUND, "This media id was not reserved, or its time is over");
    if (!known) return gr_ok();
    if (!gr_str_eq(row->user, m->user)) return gr_fail(GR_FORBIDDEN, "This media id was reserved by another user");
    return row->missing ? gr_ok() : gr_fail(GR_CANNOT_OVERWRITE_MEDIA, "This media has been uploaded already");
}

static void on_put(const gr_media_put *m, gr_ctx *ctx)
{
    gr_media_row row;
    bool known = read_row(ctx, &row);
    gr_err err = may_put(m, known, &row);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    row = (gr_media_row){.user = m->user, .content_type = m->content_type, .name = m->name, .size = m->size,
                         .made_ms = gr_ctx_now_ms(ctx)};
    put_row(ctx, &row);
    gr_ctx_timer_clear(ctx, TIMER);
    gr_ctx_done(ctx);
}

static void on_look(gr_ctx *ctx)
{
    gr_media_row row;
    if (!read_row(ctx, &row)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such media"));
        return;
    }
    gr_media_is is = {.user = row.user, .content_type = row.content_type, .name = row.name, .size = row.size,
                      .missing = row.missing};
    gr_ctx_reply(ctx, &gr_type_media_is, &is);
}

static void on_timer(gr_ctx *ctx)
{
    gr_media_row row;
    if (read_row(ctx, &row) && row.missing) gr_ctx_del(ctx, ROW);
}

static void load(void *self, gr_str id, gr_ctx *ctx) { (void)self, (void)id, (void)ctx; }

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    (void)self;
    switch (m->type->id) {
    case GR_T_media_reserve: on_reserve(m->body, ctx); return;
    case GR_T_media_put: on_put(m->body, ctx); return;
    case GR_T_media_look: on_look(ctx); return;
    case GR_T_timer: on_timer(ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "Media does not take this message"));
    }
}

static void drop(void *self) { (void)self; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    gr_media_row row;
    (void)self;
    bool known = read_row(ctx, &row);
    gr_buf_printf(out, "\"known\":%s,\"missing\":%s,\"size\":%llu", known ? "true" : "false", row.missing ? "true" : "false",
                  (unsigned long long)row.size);
}

const gr_actor_kind gr_media_kind = {.kind = GR_KIND_MEDIA, .size = 1, .load = load, .handle = handle, .drop = drop,
                                     .inspect = inspect};
