/* name.c - claim, confirm, release, look, use. See name.h. */
#include "actors/name/name.h"

#include "proto/json.h"

#define ROW GR_STR("n")
#define TIMER GR_STR("claim")

/* False when there is none that holds. */
static bool read_row(gr_ctx *ctx, gr_name_row *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_name_row){0};
    if (!gr_ctx_get(ctx, ROW, &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_name_row, bytes, &body))) return false;
    *out = *(gr_name_row *)body;
    return out->until_ms == 0 || out->until_ms > gr_ctx_now_ms(ctx);
}

static void put_row(gr_ctx *ctx, const gr_name_row *row) { gr_ctx_put_body(ctx, ROW, &gr_type_name_row, row); }

static void on_claim(const gr_name_claim *m, gr_ctx *ctx)
{
    gr_name_row row;
    bool is_alias = gr_address_id(gr_ctx_self(ctx)).ptr[0] == '#';
    if (read_row(ctx, &row)) {
        if (gr_str_eq(row.holder, m->holder)) gr_ctx_done(ctx);
        else gr_ctx_fail(ctx, is_alias ? gr_fail(GR_ROOM_IN_USE, "This alias is taken: choose another")
                                       : gr_fail(GR_USER_IN_USE, "This name is taken: choose another"));
        return;
    }
    row = (gr_name_row){.holder = m->holder, .value = m->value, .until_ms = m->keep_ms ? gr_ctx_now_ms(ctx) + m->keep_ms : 0};
    put_row(ctx, &row);
    if (row.until_ms) gr_ctx_timer(ctx, TIMER, row.until_ms, true);
    gr_ctx_done(ctx);
}

static void on_confirm(const gr_name_confirm *m, gr_ctx *ctx)
{
    gr_name_row row;
    if (!read_row(ctx, &row) || !gr_str_eq(row.holder, m->holder)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "The claim to this name has run out"));
        return;
    }
    bool is_new = m->value.size && !gr_str_eq(m->value, row.value);
    if (row.until_ms) gr_ctx_timer_clear(ctx, TIMER);
    if (row.until_ms || is_new) {
        row.until_ms = 0;
        if (is_new) row.value = m->value;
        put_row(ctx, &row);
    }
    gr_ctx_done(ctx);
}

typedef struct { gr_ctx *ctx; } forgetting;

static bool forget_use(void *arg, gr_str key, gr_str value)
{
    (void)value;
    gr_ctx_del(((forgetting *)arg)->ctx, key);
    return true;
}

static void free_name(gr_ctx *ctx)
{
    gr_ctx_del(ctx, ROW);
    gr_ctx_timer_clear(ctx, TIMER);
    gr_ctx_scan_prefix(ctx, GR_STR("u"), 0, forget_use, &(forgetting){ctx});
}

static bool points_to(gr_ctx *ctx, const gr_name_row *row, gr_str room_id)
{
    const gr_json *value = NULL;
    return !gr_failed(gr_json_parse(gr_ctx_arena(ctx), row->value, GR_JSON_LAX, &value))
        && gr_str_eq(gr_json_text(value, "room_id"), room_id);
}

static void on_release(const gr_name_release *m, gr_ctx *ctx)
{
    gr_name_row row;
    bool is_held = read_row(ctx, &row) && (m->holder.size == 0 || gr_str_eq(row.holder, m->holder));
    if (is_held && (m->room_id.size == 0 || points_to(ctx, &row, m->room_id))) free_name(ctx);
    gr_ctx_done(ctx);
}

/* Repeats are free: an alias that points elsewhere stays as it is. */
static void on_move(const gr_name_move *m, gr_ctx *ctx)
{
    gr_name_row row;
    if (read_row(ctx, &row) && row.until_ms == 0 && points_to(ctx, &row, m->room_id)) {
        row.value = m->value;
        put_row(ctx, &row);
    }
    gr_ctx_done(ctx);
}

static void on_look(gr_ctx *ctx)
{
    gr_name_row row;
    if (read_row(ctx, &row) && row.until_ms == 0) gr_ctx_json(ctx, row.value);
    else gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is nothing of this name"));
}

static gr_err may_use(gr_ctx *ctx, const gr_name_row *row)
{
    const gr_json *value = NULL;
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), row->value, GR_JSON_LAX, &value);
    if (gr_failed(err)) return err;
    int64_t allowed = gr_json_integer(gr_json_get(value, "uses_allowed"), -1);
    int64_t expiry_ms = gr_json_integer(gr_json_get(value, "expiry_time"), 0);
    if (allowed >= 0 && row->uses >= (uint64_t)allowed) return gr_fail(GR_FORBIDDEN, "It has been used up");
    if (expiry_ms > 0 && (uint64_t)expiry_ms <= gr_ctx_now_ms(ctx)) return gr_fail(GR_FORBIDDEN, "It has expired");
    return gr_ok();
}

static void on_use(const gr_name_use *m, gr_ctx *ctx)
{
    gr_name_row row;
    gr_str use = gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("u"), m->holder}), used;
    if (!read_row(ctx, &row) || row.until_ms) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is nothing of this name"));
        return;
    }
    bool again = !m->look_only && gr_ctx_get(ctx, use, &used);
    gr_err err = again ? gr_ok() : may_use(ctx, &row);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    if (!again && !m->look_only) {
        row.uses++;
        put_row(ctx, &row);
        gr_ctx_put(ctx, use, GR_STR(""));
    }
    gr_ctx_done(ctx);
}

static void on_timer(gr_ctx *ctx)
{
    gr_name_row row;
    if (!read_row(ctx, &row)) free_name(ctx);
}

static void load(void *self, gr_str id, gr_ctx *ctx) { (void)self, (void)id, (void)ctx; }

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    (void)self;
    switch (m->type->id) {
    case GR_T_name_claim: on_claim(m->body, ctx); return;
    case GR_T_name_confirm: on_confirm(m->body, ctx); return;
    case GR_T_name_release: on_release(m->body, ctx); return;
    case GR_T_name_look: on_look(ctx); return;
    case GR_T_name_move: on_move(m->body, ctx); return;
    case GR_T_name_use: on_use(m->body, ctx); return;
    case GR_T_timer: on_timer(ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A name does not take this message"));
    }
}

static void drop(void *self) { (void)self; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    gr_name_row row;
    (void)self;
    bool held = read_row(ctx, &row);
    gr_buf_printf(out, "\"claimed\":%s,\"confirmed\":%s,\"uses\":%llu", held ? "true" : "false",
                  held && row.until_ms == 0 ? "true" : "false", (unsigned long long)row.uses);
}

const gr_actor_kind gr_name_kind = {.kind = GR_KIND_NAME, .size = 1, .load = load, .handle = handle, .drop = drop,
                                    .inspect = inspect};
