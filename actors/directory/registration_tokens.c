/* registration_tokens.c - the list of tokens with which people may register. See directory.h.
 *
 * Rows "t<token>".  How often one was used its name knows (gr_token_name), which is told from here.
 */
#include "actors/directory/directory.h"

#include "proto/ident.h"
#include "proto/json.h"
#include "proto/token.h"

static gr_str token_key(gr_ctx *ctx, gr_str token)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("t"), token});
}

static void write_limits(gr_jw *w, const gr_registration_token_put *t)
{
    if (t->uses_allowed) gr_jw_kint(w, "uses_allowed", (int64_t)t->uses_allowed);
    if (t->expiry_ms) gr_jw_kint(w, "expiry_time", (int64_t)t->expiry_ms);
}

void gr_directory_on_registration_token(const gr_registration_token_put *m, gr_ctx *ctx)
{
    gr_str old;
    gr_buf value = {0};
    if (!gr_ident_opaque(m->token) || m->token.size > GR_REGISTRATION_TOKEN_MAX) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "A registration token has up to 64 of A-Z a-z 0-9 . _ ~ -"));
        return;
    }
    if (gr_ctx_get(ctx, token_key(ctx, m->token), &old)) {
        gr_ctx_fail(ctx, gr_fail(GR_USER_IN_USE, "There is such a token already"));
        return;
    }
    gr_ctx_put_body(ctx, token_key(ctx, m->token), &gr_type_registration_token_put, m);
    gr_jw w = gr_jw_begin(&value);
    gr_jw_object(&w);
    write_limits(&w, m);
    gr_jw_end_object(&w);
    gr_name_claim claim = {.holder = GR_STR("owner"), .value = gr_buf_view(&value)};
    gr_ctx_post_forward(ctx, gr_token_name(gr_ctx_arena(ctx), m->token), &gr_type_name_claim, &claim);
    gr_buf_free(&value);
}

void gr_directory_on_registration_token_drop(const gr_registration_token_drop *m, gr_ctx *ctx)
{
    gr_str old;
    if (!gr_ctx_get(ctx, token_key(ctx, m->token), &old)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such registration token"));
        return;
    }
    gr_ctx_del(ctx, token_key(ctx, m->token));
    gr_ctx_post_forward(ctx, gr_token_name(gr_ctx_arena(ctx), m->token), &gr_type_name_release, &(gr_name_release){0});
}

typedef struct { gr_ctx *ctx; gr_jw *w; gr_str last; size_t count; } listing;

static bool list_token(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    void *body = NULL;
    (void)key;
    if (gr_failed(gr_body_decode(gr_ctx_arena(l->ctx), &gr_type_registration_token_put, value, &body))) return true;
    const gr_registration_token_put *t = body;
    gr_jw_object(l->w);
    gr_jw_kstr(l->w, "token", t->token);
    write_limits(l->w, t);
    gr_jw_end_object(l->w);
    l->last = t->token;
    return ++l->count < GR_REGISTRATION_TOKENS_PAGE;
}

void gr_directory_on_registration_token_list(const gr_registration_token_list *m, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    listing l = {.ctx = ctx, .w = &w};
    gr_str from = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("t"), m->after, m->after.size ? GR_STR("!") : GR_STR("")});
    gr_jw_object(&w);
    gr_jw_key(&w, "registration_tokens");
    gr_jw_array(&w);
    gr_ctx_scan(ctx, from, GR_STR("u"), false, GR_REGISTRATION_TOKENS_PAGE, list_token, &l);
    gr_jw_end_array(&w);
    if (l.count == GR_REGISTRATION_TOKENS_PAGE) gr_jw_kstr(&w, "next", l.last);
    gr_jw_end_object(&w);
    gr_ctx_reply(ctx, &gr_type_registration_tokens, &(gr_registration_tokens){.body = gr_buf_view(&out)});
    gr_buf_free(&out);
}
