/* threepids.c - third-party ids of an account. See account.h.
 *
 * Rows "e <medium> 0 <address>".  The name of each (name/3pid/..) is claimed for the user before it is put here, and freed
 * from here, so that no two accounts have one.
 */
#include "actors/user/account.h"

#include "proto/json.h"

static gr_str name_of(gr_ctx *ctx, gr_str medium, gr_str address)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 4, (gr_str[]){GR_STR("name/3pid/"), medium, GR_STR("/"), address});
}

void gr_user_on_threepid_put(gr_user *u, const gr_user_threepid_put *m, gr_ctx *ctx)
{
    size_t count = 0;
    gr_str key = gr_user_key2(ctx, 'e', m->medium, m->address), old;
    gr_user_threepid row = {.added_ms = gr_ctx_now_ms(ctx), .validated_ms = m->validated_ms, .language = m->language};
    bool is_there = gr_ctx_get(ctx, key, &old);
    if (!is_there) gr_ctx_scan_prefix(ctx, GR_STR("e"), GR_USER_THREEPIDS_MAX, gr_ctx_count_row, &count);
    if (!u->exists || u->deactivated) gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "There is no such account"));
    else if (count >= GR_USER_THREEPIDS_MAX) gr_ctx_fail(ctx, gr_fail(GR_REFUSED, "This account has too many addresses"));
    else {
        if (!is_there) gr_ctx_put_body(ctx, key, &gr_type_user_threepid, &row);
        gr_ctx_done(ctx);
    }
}

typedef struct { gr_ctx *ctx; gr_jw *w; gr_str user; } walking;

static bool show_one(void *arg, gr_str key, gr_str value)
{
    walking *s = arg;
    void *body = NULL;
    gr_str rest = gr_str_from(key, 1);
    ptrdiff_t nul = gr_str_find(rest, 0);
    if (nul < 0 || gr_failed(gr_body_decode(gr_ctx_arena(s->ctx), &gr_type_user_threepid, value, &body))) return true;
    const gr_user_threepid *t = body;
    gr_jw_object(s->w);
    gr_jw_kstr(s->w, "medium", gr_str_head(rest, (size_t)nul));
    gr_jw_kstr(s->w, "address", gr_str_from(rest, (size_t)nul + 1));
    gr_jw_kint(s->w, "added_at", (int64_t)t->added_ms);
    gr_jw_kint(s->w, "validated_at", (int64_t)t->validated_ms);
    gr_jw_end_object(s->w);
    return true;
}

void gr_user_on_threepids(gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "threepids");
    gr_jw_array(&w);
    gr_ctx_scan_prefix(ctx, GR_STR("e"), GR_USER_THREEPIDS_MAX, show_one, &(walking){.ctx = ctx, .w = &w});
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

void gr_user_on_threepid_drop(gr_user *u, const gr_user_threepid_drop *m, gr_ctx *ctx)
{
    gr_str key = gr_user_key2(ctx, 'e', m->medium, m->address), old;
    if (gr_ctx_get(ctx, key, &old)) {
        gr_ctx_del(ctx, key);
        gr_ctx_post(ctx, name_of(ctx, m->medium, m->address), &gr_type_name_release, &(gr_name_release){.holder = u->id});
    }
    gr_ctx_done(ctx);
}

static bool drop_one(void *arg, gr_str key, gr_str value)
{
    walking *s = arg;
    gr_str rest = gr_str_from(key, 1);
    ptrdiff_t nul = gr_str_find(rest, 0);
    (void)value;
    if (nul < 0) return true;
    gr_str name = name_of(s->ctx, gr_str_head(rest, (size_t)nul), gr_str_from(rest, (size_t)nul + 1));
    gr_ctx_del(s->ctx, key);
    gr_ctx_post(s->ctx, name, &gr_type_name_release, &(gr_name_release){.holder = s->user});
    return true;
}

void gr_user_threepids_end(gr_user *u, gr_ctx *ctx)
{
    gr_ctx_scan_prefix(ctx, GR_STR("e"), 0, drop_one, &(walking){.ctx = ctx, .user = u->id});
}
