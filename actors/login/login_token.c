/* login_token.c - making and spending login tokens. See login_token.h. */
#include "actors/login/login_token.h"

#include "actors/env.h"
#include "proto/base64.h"
#include "proto/ident.h"

#define ROW GR_STR("t")
#define TIMER GR_STR("token")
enum { NONCE_BYTES = 16, DEVICE_SIZE = 10 };

gr_str gr_login_token_address(gr_arena *arena, gr_str token)
{
    unsigned char hash[GR_TOKEN_HASH];
    gr_token_hash(token, hash);
    return gr_address(arena, GR_KIND_LOGIN, gr_base64_url(arena, gr_str_of(hash, sizeof hash)));
}

static bool read_row(gr_ctx *ctx, gr_login_token_row *out)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, ROW, &bytes) || gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_login_token_row, bytes, &body)))
        return false;
    *out = *(gr_login_token_row *)body;
    return out->version == GR_LOGIN_TOKEN_VERSION;
}

static void put_row(gr_ctx *ctx, const gr_login_token_row *row) { gr_ctx_put_body(ctx, ROW, &gr_type_login_token_row, row); }

void gr_login_token_on_make(const gr_login_token_make *m, gr_ctx *ctx)
{
    unsigned char nonce[NONCE_BYTES];
    gr_login_token_row row = {.version = GR_LOGIN_TOKEN_VERSION, .user = m->user, .provider = m->provider, .session = m->session,
                              .subject = m->subject, .expires_ms = gr_ctx_now_ms(ctx) + m->lifetime_ms};
    gr_ctx_random(ctx, nonce, sizeof nonce);
    row.nonce = gr_str_of(nonce, sizeof nonce);
    put_row(ctx, &row);
    gr_ctx_timer(ctx, TIMER, row.expires_ms + GR_LOGIN_TOKEN_KEPT_MS, true);
    gr_ctx_done(ctx);
}

static void refuse(gr_ctx *ctx, gr_login_refusal why)
{
    gr_ctx_reply(ctx, &gr_type_login_refused, &(gr_login_refused){.why = why});
}

static gr_str new_device(gr_ctx *ctx)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    unsigned char random[DEVICE_SIZE];
    char *text = gr_arena_alloc(gr_ctx_arena(ctx), DEVICE_SIZE);
    gr_ctx_random(ctx, random, sizeof random);
    for (size_t i = 0; i < DEVICE_SIZE; i++) text[i] = letters[random[i] % 32];
    return gr_str_of(text, DEVICE_SIZE);
}

void gr_login_token_on_login(const gr_login_token *m, gr_ctx *ctx)
{
    gr_login_token_row row;
    if (m->device.size && !gr_ident_device(m->device)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "'device_id' is not a valid device id"));
        return;
    }
    if (!read_row(ctx, &row)) {
        refuse(ctx, GR_LOGIN_TOKEN_UNKNOWN);
        return;
    }
    if (row.spent || row.expires_ms <= gr_ctx_now_ms(ctx)) {
        refuse(ctx, row.spent ? GR_LOGIN_TOKEN_REUSED : GR_LOGIN_TOKEN_EXPIRED);
        return;
    }
    row.spent = true;
    put_row(ctx, &row);
    if (m->verify_only) {
        gr_ctx_reply(ctx, &gr_type_login_proved, &(gr_login_proved){
            .user = row.user, .provider = row.provider, .session = row.session, .subject = row.subject});
        return;
    }
    gr_user_login login = {.device = m->device.size ? m->device : new_device(ctx), .display_name = m->display_name,
                           .refreshable = m->refreshable, .ip = m->ip, .agent = m->agent, .provider = row.provider,
                           .session = row.session, .subject = row.subject};
    gr_ctx_post_forward(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, row.user), &gr_type_user_login, &login);
}

void gr_login_token_over(gr_ctx *ctx) { gr_ctx_del(ctx, ROW); }
