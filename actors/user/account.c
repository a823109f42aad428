/* account.c - that a user exists, their password hash and flags. See account.h. */
#include "actors/user/account.h"

#include <stdlib.h>

gr_user_account gr_user_account_read(gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, GR_STR("a"), &bytes)) return (gr_user_account){0};
    gr_err err = gr_body_decode(gr_ctx_arena(ctx), &gr_type_user_account, bytes, &body);
    return gr_failed(err) ? (gr_user_account){0} : *(gr_user_account *)body;
}

void gr_user_account_put(gr_user *u, const gr_user_account *a, gr_ctx *ctx)
{
    gr_ctx_put_body(ctx, GR_STR("a"), &gr_type_user_account, a);
    u->exists = true;
    u->admin = a->admin;
    u->guest = a->guest;
    u->deactivated = a->deactivated;
    u->locked = a->locked;
    u->held = a->held;
}

void gr_user_account_load(gr_user *u, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    u->exists = a.made_ms != 0;
    u->admin = a.admin;
    u->guest = a.guest;
    u->deactivated = a.deactivated;
    u->locked = a.locked;
    u->held = a.held;
    gr_user_profile_load(u, ctx);
}

void gr_user_account_drop(gr_user *u)
{
    free((char *)u->displayname.ptr);
    free((char *)u->avatar_url.ptr);
}

static void agree(gr_user_account *a, const gr_user_create *m, gr_ctx *ctx)
{
    a->terms = m->terms;
    a->terms_ms = m->terms.count ? gr_ctx_now_ms(ctx) : 0;
}

void gr_user_account_inspect(gr_ctx *ctx, gr_buf *out)
{
    gr_user_account a = gr_user_account_read(ctx);
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_key(&w, "agreed");
    gr_jw_array(&w);
    for (size_t i = 0; i < a.terms.count; i++) gr_jw_str(&w, a.terms.at[i]);
    gr_jw_end_array(&w);
    if (a.terms.count) gr_jw_kint(&w, "agreed_ts", (int64_t)a.terms_ms);
    gr_jw_end_object(&w);
}

/* Client-server API, "Guest Access": a guest registers, and stays who they are.  Their guest's tokens end. */
static void become_user(gr_user *u, const gr_user_create *m, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    a.guest = false;
    a.password_hash = m->password_hash;
    a.key = m->key;
    agree(&a, m, ctx);
    gr_user_account_put(u, &a, ctx);
    gr_user_tell_directory(u, ctx);
    gr_user_spread(u, "profile", ctx);
    gr_user_devices_end(u, (gr_strs){0}, (gr_str){0}, ctx);
}

void gr_user_on_create(gr_user *u, const gr_user_create *m, gr_ctx *ctx)
{
    if (u->exists && m->from_guest && u->guest && !u->deactivated) {
        become_user(u, m, ctx);
        return;
    }
    if (u->exists) {
        gr_user_account old = gr_user_account_read(ctx);
        if (m->key.size && gr_str_eq(old.key, m->key)) gr_ctx_done(ctx);
        else gr_ctx_fail(ctx, gr_fail(GR_USER_IN_USE, "This user name is taken: choose another"));
        return;
    }
    gr_user_account a = {.password_hash = m->password_hash, .admin = m->admin, .guest = m->guest, .appservice = m->appservice,
                         .key = m->key, .made_ms = gr_ctx_now_ms(ctx)};
    uint64_t period_ms = gr_env_of(ctx)->validity.period_ms;
    agree(&a, m, ctx);
    if (period_ms && !m->guest && m->appservice.size == 0) gr_user_valid_until(u, &a, a.made_ms + period_ms, ctx);
    gr_user_account_put(u, &a, ctx);
    if (!u->guest) gr_user_tell_directory(u, ctx);
    gr_ctx_done(ctx);
}

void gr_user_on_auth_info(gr_user *u, const gr_user_auth_info *m, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    gr_user_auth_is is = {.exists = u->exists, .password_hash = a.password_hash, .admin = a.admin, .guest = a.guest,
                          .deactivated = a.deactivated, .locked = a.locked, .key = a.key,
                          .wait_ms = m->attempt ? gr_user_guess(u, ctx, m->ip) : 0};
    gr_ctx_reply(ctx, &gr_type_user_auth_is, &is);
}

void gr_user_on_password(gr_user *u, const gr_user_password *m, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    if (!u->exists || u->deactivated) {
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "There is no such account"));
        return;
    }
    if (m->instead_of.size && !gr_str_eq(a.password_hash, m->instead_of)) return;      /* changed meanwhile */
    a.password_hash = m->password_hash;
    gr_user_account_put(u, &a, ctx);
    if (m->logout_devices) gr_user_devices_end(u, (gr_strs){0}, m->keep, ctx);
    else gr_ctx_done(ctx);
}

/* All of it may be repeated: what is gone stays gone. */
void gr_user_on_deactivate(gr_user *u, const gr_user_deactivate *m, gr_ctx *ctx)
{
    gr_user_account a = gr_user_account_read(ctx);
    if (!u->exists) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such account"));
        return;
    }
    a.deactivated = true;
    a.erased = a.erased || m->erase;
    a.password_hash = (gr_str){0};
    gr_user_account_put(u, &a, ctx);
    gr_user_devices_end(u, (gr_strs){0}, (gr_str){0}, ctx);
    gr_user_threepids_end(u, ctx);
    if (a.erased) {
        gr_user_profile_erase(u, ctx);
        gr_user_sweep_erase(ctx);
    }
    gr_user_tell_directory(u, ctx);
    gr_user_spread(u, "leave", ctx);
}
