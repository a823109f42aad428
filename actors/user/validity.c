/* validity.c - how long an account is valid. See account.h.
 *
 * Where accounts are valid for a while only, the durable timer "valid" first has a mail sent to the account's addresses, by
 * which it can be renewed, and then has the token index refuse its tokens, which stay what they are: after a renewal they are
 * good again.
 */
#include "actors/user/account.h"

#include "actors/email/email.h"
#include "proto/base64.h"
#include "proto/sha256.h"

enum { TOKEN_BYTES = 24, MAILS_MAX = 4 };
#define TIMER GR_STR("valid")

static void hold(gr_user *u, gr_user_account *a, gr_ctx *ctx, bool held)
{
    gr_token_hold m = {.user = u->id, .held = held};
    if (a->held == held) return;
    a->held = held;
    gr_ctx_post(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_TOKEN, gr_ctx_shard(ctx)), &gr_type_token_hold, &m);
}

void gr_user_valid_until(gr_user *u, gr_user_account *a, uint64_t until_ms, gr_ctx *ctx)
{
    const gr_env *env = gr_env_of(ctx);
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    a->valid_until_ms = until_ms;
    a->renew_hash = (gr_str){0};
    hold(u, a, ctx, until_ms && until_ms <= now_ms);
    uint64_t warn_ms = until_ms > env->validity.warn_ms ? until_ms - env->validity.warn_ms : 0;
    if (until_ms > now_ms) gr_ctx_timer(ctx, TIMER, warn_ms > now_ms ? warn_ms : now_ms, true);
    else gr_ctx_timer_clear(ctx, TIMER);
}

typedef struct { gr_ctx *ctx; gr_str link; size_t count; } mailing;

static bool mail_one(void *arg, gr_str key, gr_str value)
{
    mailing *m = arg;
    gr_arena *a = gr_ctx_arena(m->ctx);
    unsigned char id[12];
    void *row = NULL;
    gr_str prefix = GR_STR("eemail\0");
    if (!gr_str_starts(key, prefix) || gr_failed(gr_body_decode(a, &gr_type_user_threepid, value, &row))) return true;
    gr_ctx_random(m->ctx, id, sizeof id);
    gr_str to = gr_arena_str(a, gr_str_from(key, prefix.size));
    gr_mail mail = {.text = GR_MAIL_RENEW, .language = ((const gr_user_threepid *)row)->language, .to = to, .link = m->link,
                    .id = gr_base64_url(a, gr_str_of(id, sizeof id))};
    gr_str message = gr_mail_write(a, gr_env_of(m->ctx), &mail);
    gr_mail_send(m->ctx, to, message, &(gr_resume){0});
    return ++m->count < MAILS_MAX;
}

static gr_str hash_of(gr_ctx *ctx, gr_str text)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(text.ptr, text.size, hash);
    return gr_arena_str(gr_ctx_arena(ctx), gr_str_of(hash, sizeof hash));
}

static void send_mails(gr_user *u, gr_user_account *a, gr_ctx *ctx)
{
    unsigned char random[TOKEN_BYTES];
    gr_arena *arena = gr_ctx_arena(ctx);
    if (gr_env_of(ctx)->email.from.size == 0) return;
    gr_ctx_random(ctx, random, sizeof random);
    gr_str token = gr_base64_url(arena, gr_str_of(random, sizeof random));
    a->renew_hash = hash_of(ctx, token);
    mailing m = {.ctx = ctx,
                 .link = gr_arena_printf(arena, "%" GR_FMT "/_greenroom/renew/%" GR_FMT "?token=%" GR_FMT,
                                         GR_ARG(gr_env_of(ctx)->email.base_url), GR_ARG(gr_base64_url(arena, u->id)),
                                         GR_ARG(token))};
    gr_ctx_scan_prefix(ctx, GR_STR("e"), GR_USER_THREEPIDS_MAX, mail_one, &m);
}

void gr_user_on_valid_timer(gr_user *u, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (a.valid_until_ms == 0 || u->deactivated) return;
    if (a.valid_until_ms <= now_ms) {
        hold(u, &a, ctx, true);
    } else {
        send_mails(u, &a, ctx);
        gr_ctx_timer(ctx, TIMER, a.valid_until_ms, true);
    }
    gr_user_account_put(u, &a, ctx);
}

void gr_user_on_valid(gr_user *u, const gr_user_valid *m, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    if (!u->exists || u->deactivated) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such account"));
        return;
    }
    gr_user_valid_until(u, &a, m->until_ms, ctx);
    gr_user_account_put(u, &a, ctx);
    gr_ctx_done(ctx);
}

/* A link that was used is of no more use, but says so kindly to who follows it twice. */
void gr_user_on_renew(gr_user *u, const gr_user_renew *m, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    bool is_right = u->exists && !u->deactivated && a.renew_hash.size && gr_str_eq(a.renew_hash, hash_of(ctx, m->token));
    if (!is_right) {
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "This link is not good, or was used"));
        return;
    }
    gr_user_valid_until(u, &a, gr_ctx_now_ms(ctx) + gr_env_of(ctx)->validity.period_ms, ctx);
    gr_user_account_put(u, &a, ctx);
    gr_ctx_done(ctx);
}
