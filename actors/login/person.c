/* person.c - from the subject that a provider vouches for to an account of ours. See sso.h.
 *
 * The name sso/<provider>/<hash of the subject> stands for the account.  A new account is made with the subject as its key.
 * The name is claimed first, and says until all is done that the account is "new": a login that finds that ends what was cut
 * short, so that nobody gets a second account by beginning again.
 */
#include "actors/login/sso.h"

#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/sha256.h"

enum { DISPLAY_NAME_MAX = 256 };

/* What the account is made by, and its name without "name/". */
static gr_str subject_key(const gr_sso *s)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(s->flow.subject.ptr, s->flow.subject.size, hash);
    return gr_arena_cat(s->arena, 4, (gr_str[]){GR_STR("sso/"), s->provider->id, GR_STR("/"),
                                                gr_base64_url(s->arena, gr_str_of(hash, sizeof hash))});
}

static void ask_name(gr_login *l, gr_ctx *ctx, sso_work step, const gr_type *type, const void *body)
{
    gr_sso_ask(l, ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_NAME, subject_key(l->sso)), step, type, body);
}

static void ask_user(gr_login *l, gr_ctx *ctx, sso_work step, const gr_type *type, const void *body)
{
    gr_sso_ask(l, ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, l->sso->flow.user), step, type, body);
}

static void look(gr_login *l, gr_ctx *ctx) { ask_name(l, ctx, SSO_LOOK, &gr_type_name_look, &(gr_name_look){0}); }

/* --- how it ends ------------------------------------------------------------------------------------------- */
static void deny(gr_login *l, gr_ctx *ctx, const char *why) { gr_sso_fail(l, ctx, gr_fail(GR_FORBIDDEN, why)); }

static void ready(gr_login *l, gr_ctx *ctx)
{
    const gr_sso_flow *f = &l->sso->flow;
    if (f->uia.size && !gr_str_eq(f->uia_user, f->user)) {
        deny(l, ctx, "The identity provider vouches for another account than the one that is asked for");
        return;
    }
    gr_sso_move(l, ctx, GR_SSO_READY);
    gr_sso_answer(l, ctx, (gr_str){0});
}

static void ask_for_name(gr_login *l, gr_ctx *ctx, gr_sso_problem problem)
{
    gr_sso *s = l->sso;
    if (!s->provider->registration) {
        deny(l, ctx, "You have no account on this server");
        return;
    }
    s->problem = problem;
    s->flow.user = (gr_str){0};
    gr_sso_move(l, ctx, GR_SSO_NAMING);
    gr_sso_answer(l, ctx, (gr_str){0});
}

/* --- somebody new ------------------------------------------------------------------------------------------ */
static void want(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    s->flow.user = gr_arena_printf(s->arena, "@%" GR_FMT ":%" GR_FMT, GR_ARG(s->flow.localpart),
                                   GR_ARG(gr_env_of(ctx)->server_name));
    if (!gr_ident_localpart_new(s->flow.localpart) || s->flow.user.size > GR_IDENT_MAX) ask_for_name(l, ctx, GR_SSO_NAME_BAD);
    else ask_user(l, ctx, SSO_WANTED, &gr_type_user_auth_info, &(gr_user_auth_info){0});
}

/* new: the account may not be there yet. */
static gr_str value_of(const gr_sso *s, bool is_new)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (is_new) gr_jw_kbool(&w, "new", true);
    gr_jw_kstr(&w, "user_id", s->flow.user);
    gr_jw_end_object(&w);
    gr_str value = gr_arena_str(s->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return value;
}

static void claim(gr_login *l, gr_ctx *ctx, sso_work step)
{
    gr_name_claim c = {.holder = l->sso->flow.user, .value = value_of(l->sso, step == SSO_CLAIM)};
    ask_name(l, ctx, step, &gr_type_name_claim, &c);
}

static void on_wanted(gr_login *l, const gr_user_auth_is *is, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    bool picked = s->flow.step == GR_SSO_NAMING, ours = is->exists && gr_str_eq(is->key, subject_key(s));
    bool may_link = s->provider->link_existing && !picked && !is->deactivated && !is->guest;
    if (is->exists && !ours && may_link) claim(l, ctx, SSO_LINK);
    else if (is->exists && !ours) ask_for_name(l, ctx, GR_SSO_NAME_TAKEN);
    else if (!picked && s->provider->pick_name && !ours) ask_for_name(l, ctx, GR_SSO_FINE);
    else if (!s->provider->registration) deny(l, ctx, "You have no account on this server");
    else claim(l, ctx, SSO_CLAIM);
}

static void create(gr_login *l, gr_ctx *ctx)
{
    gr_user_create m = {.key = subject_key(l->sso)};
    ask_user(l, ctx, SSO_CREATE, &gr_type_user_create, &m);
}

/* Another login of the same person was faster: this one goes on with what that one claimed. */
static void on_claimed(gr_login *l, const gr_msg *m, bool is_link, gr_ctx *ctx)
{
    if (m->err.code == GR_USER_IN_USE) look(l, ctx);
    else if (gr_failed(m->err)) gr_sso_fail(l, ctx, m->err);
    else if (is_link) ready(l, ctx);
    else create(l, ctx);
}

static void confirm(gr_login *l, gr_ctx *ctx)
{
    gr_name_confirm m = {.holder = l->sso->flow.user, .value = value_of(l->sso, false)};
    ask_name(l, ctx, SSO_CONFIRM, &gr_type_name_confirm, &m);
}

static void on_created(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    gr_buf value = {0};
    gr_name_release release = {.holder = s->flow.user};
    if (m->err.code == GR_USER_IN_USE) {       /* taken since it was looked at */
        gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_NAME, subject_key(s)), &gr_type_name_release, &release);
        ask_for_name(l, ctx, GR_SSO_NAME_TAKEN);
        return;
    }
    if (gr_failed(m->err)) {
        gr_sso_fail(l, ctx, m->err);
        return;
    }
    if (s->flow.display_name.size == 0) {
        confirm(l, ctx);
        return;
    }
    gr_jw w = gr_jw_begin(&value);
    gr_jw_str(&w, s->flow.display_name);
    gr_user_profile_put put = {.field = GR_STR("displayname"), .value = gr_buf_view(&value)};
    ask_user(l, ctx, SSO_PROFILE, &gr_type_user_profile_put, &put);
    gr_buf_free(&value);
}

/* A display name that is not taken is no reason to keep somebody out; one that may not have come is. */
static void on_profile(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    if (m->err.code == GR_UNAVAILABLE || m->err.code == GR_TIMEOUT) gr_sso_fail(l, ctx, m->err);
    else confirm(l, ctx);
}

static void on_confirmed(gr_login *l, gr_ctx *ctx)
{
    l->sso->flow.registered = true;
    ready(l, ctx);
}

void gr_sso_person_named(gr_login *l, gr_ctx *ctx, gr_str localpart)
{
    l->sso->flow.localpart = gr_arena_str(l->sso->arena, localpart);
    want(l, ctx);
}

/* --- whom the provider vouches for ------------------------------------------------------------------------- */
void gr_sso_person(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    s->flow.subject = gr_sso_fill(s, s->provider->subject);
    s->flow.localpart = gr_arena_lower(s->arena, gr_sso_fill(s, s->provider->localpart));
    s->flow.display_name = gr_sso_fill(s, s->provider->display_name);
    if (s->flow.display_name.size > DISPLAY_NAME_MAX) s->flow.display_name = (gr_str){0};
    if (s->flow.subject.size == 0) deny(l, ctx, "The identity provider does not say who you are");
    else look(l, ctx);
}

static void on_looked(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    const gr_json *value = NULL;
    if (m->err.code == GR_NOT_FOUND && s->flow.uia.size) deny(l, ctx, "This identity has no account here");
    else if (m->err.code == GR_NOT_FOUND) want(l, ctx);
    else if (gr_failed(m->err)) gr_sso_fail(l, ctx, m->err);
    else if (gr_failed(gr_json_parse(s->arena, ((const gr_result *)m->body)->body, GR_JSON_LAX, &value)))
        gr_sso_fail(l, ctx, gr_fail(GR_UNKNOWN, "The account of this identity can't be read"));
    else {
        s->flow.user = gr_json_text(value, "user_id");
        s->flow.localpart = gr_ident_localpart(s->flow.user);
        if (!gr_json_boolean(gr_json_get(value, "new"), false))
            ask_user(l, ctx, SSO_KNOWN, &gr_type_user_auth_info, &(gr_user_auth_info){0});
        else if (s->flow.uia.size) deny(l, ctx, "This identity has no account here");
        else create(l, ctx);
    }
}

static void on_known(gr_login *l, const gr_user_auth_is *is, gr_ctx *ctx)
{
    if (is->exists && !is->deactivated) ready(l, ctx);
    else deny(l, ctx, "Your account on this server was closed");
}

void gr_sso_person_step(gr_login *l, sso_work step, const gr_msg *m, gr_ctx *ctx)
{
    switch (step) {
    case SSO_LOOK: on_looked(l, m, ctx); return;
    case SSO_KNOWN: on_known(l, m->body, ctx); return;
    case SSO_WANTED: on_wanted(l, m->body, ctx); return;
    case SSO_CLAIM:
    case SSO_LINK: on_claimed(l, m, step == SSO_LINK, ctx); return;
    case SSO_CREATE: on_created(l, m, ctx); return;
    case SSO_CONFIRM: on_confirmed(l, ctx); return;
    case SSO_PROFILE: on_profile(l, m, ctx); return;
    default: gr_assert(false);
    }
}
