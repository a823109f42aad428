/* stages.c - the stages of user-interactive authentication. See login_private.h; Client-Server API, "Authentication types". */
#include "actors/login/login_private.h"

#include "proto/ident.h"
#include "proto/sha256.h"
#include "proto/token.h"

#define PASSWORD "m.login.password"
#define SSO "m.login.sso"
#define DUMMY "m.login.dummy"
#define TERMS "m.login.terms"
#define REGISTRATION_TOKEN "m.login.registration_token"
#define OAUTH "m.oauth"
#define OAUTH_OLD "org.matrix.cross_signing_reset"         /* as it was called before it was stable */
#define EMAIL "m.login.email.identity"

enum { FLOWS_MAX = 4, CLIENT_SECRET_MAX = 255 };

/* --- flows ------------------------------------------------------------------------------------------------- */
static void add_stage(gr_buf *flow, const char *stage)
{
    if (flow->size) gr_buf_char(flow, ' ');
    gr_buf_c(flow, stage);
}

static void add_flow(gr_ctx *ctx, gr_strs *flows, gr_buf *flow)
{
    gr_assert(flows->count < FLOWS_MAX);
    if (!flows->at) flows->at = gr_arena_alloc(gr_ctx_arena(ctx), FLOWS_MAX * sizeof *flows->at);
    flows->at[flows->count++] = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(flow));
    gr_buf_free(flow);
}

static void add_register_flow(gr_ctx *ctx, gr_strs *flows, bool with_email)
{
    const gr_env *env = gr_env_of(ctx);
    gr_buf flow = {0};
    if (env->registration_token) add_stage(&flow, REGISTRATION_TOKEN);
    if (env->terms.size) add_stage(&flow, TERMS);
    if (with_email) add_stage(&flow, EMAIL);
    if (flow.size == 0) add_stage(&flow, DUMMY);
    add_flow(ctx, flows, &flow);
}

gr_strs gr_login_flows_register(gr_ctx *ctx)
{
    const gr_env *env = gr_env_of(ctx);
    gr_strs flows = {0};
    if (!env->email.must_register) add_register_flow(ctx, &flows, false);
    if (env->email.must_register || env->email.may_register) add_register_flow(ctx, &flows, true);
    return flows;
}

static gr_strs one_stage(gr_ctx *ctx, const char *stage)
{
    gr_strs flows = {0};
    gr_buf flow = {0};
    add_stage(&flow, stage);
    add_flow(ctx, &flows, &flow);
    return flows;
}

gr_strs gr_login_flows_reset(gr_ctx *ctx) { return one_stage(ctx, EMAIL); }

gr_strs gr_login_flows_account(gr_ctx *ctx, const gr_user_auth_is *account)
{
    bool by_provider = gr_env_of(ctx)->providers.count > 0, by_password = account->password_hash.size || !by_provider;
    gr_str *at = gr_arena_alloc(gr_ctx_arena(ctx), 2 * sizeof *at);
    size_t count = 0;
    if (by_password) at[count++] = gr_str_c(PASSWORD);
    if (by_provider) at[count++] = gr_str_c(SSO);
    return (gr_strs){at, count};
}

gr_strs gr_login_flows_oauth(gr_ctx *ctx)
{
    gr_str *flows = gr_arena_alloc(gr_ctx_arena(ctx), 2 * sizeof *flows);
    flows[0] = GR_STR(OAUTH);
    flows[1] = GR_STR(OAUTH_OLD);
    return (gr_strs){flows, 2};
}

/* The next name of a flow, taken off its front. */
static bool next_stage(gr_str *flow, gr_str *stage)
{
    if (flow->size == 0) return false;
    ptrdiff_t end = gr_str_find(*flow, ' ');
    *stage = end < 0 ? *flow : gr_str_head(*flow, (size_t)end);
    *flow = gr_str_from(*flow, stage->size + 1);
    return true;
}

bool gr_login_flow_has(gr_str flow, gr_str wanted)
{
    gr_str stage;
    while (next_stage(&flow, &stage))
        if (gr_str_eq(stage, wanted)) return true;
    return false;
}

static bool is_in(gr_strs list, gr_str wanted)
{
    for (size_t i = 0; i < list.count; i++)
        if (gr_str_eq(list.at[i], wanted)) return true;
    return false;
}

bool gr_login_flows_done(gr_strs flows, gr_strs done)
{
    for (size_t i = 0; i < flows.count; i++) {
        gr_str flow = flows.at[i], stage;
        bool all = true;
        while (next_stage(&flow, &stage)) all = all && is_in(done, stage);
        if (all) return true;
    }
    return false;
}

static bool any_has(gr_strs flows, const char *stage)
{
    for (size_t i = 0; i < flows.count; i++)
        if (gr_login_flow_has(flows.at[i], gr_str_c(stage))) return true;
    return false;
}

/* Where the user approves of just this session. */
static void write_reset_page(gr_jw *w, gr_ctx *ctx)
{
    gr_str session = gr_address_id(gr_ctx_self(ctx));
    gr_str page = GR_STR("/_greenroom/account?action=org.matrix.cross_signing_reset&session=");
    gr_str url = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){gr_env_of(ctx)->base_url, page, session});
    for (int i = 0; i < 2; i++) {
        gr_jw_key(w, i == 0 ? OAUTH : OAUTH_OLD);
        gr_jw_object(w);
        gr_jw_kstr(w, "url", url);
        gr_jw_end_object(w);
    }
}

void gr_login_stage_params(gr_jw *w, gr_ctx *ctx, gr_strs flows)
{
    const gr_env *env = gr_env_of(ctx);
    gr_jw_key(w, "params");
    gr_jw_object(w);
    if (any_has(flows, TERMS) && env->terms.size) gr_jw_kraw(w, TERMS, env->terms);
    if (any_has(flows, OAUTH)) write_reset_page(w, ctx);
    gr_jw_end_object(w);
}

gr_strs gr_login_terms(gr_ctx *ctx)
{
    gr_arena *arena = gr_ctx_arena(ctx);
    gr_str params = gr_env_of(ctx)->terms;
    const gr_json *all = NULL;
    if (params.size == 0 || gr_failed(gr_json_parse(arena, params, GR_JSON_LAX, &all))) return (gr_strs){0};
    const gr_json *policies = gr_json_get(all, "policies");
    size_t count = gr_json_is(policies, GR_JSON_OBJECT) ? policies->count : 0;
    gr_str *at = gr_arena_alloc(arena, count * sizeof *at);
    for (size_t i = 0; i < count; i++)
        at[i] = gr_arena_cat(arena, 3, (gr_str[]){policies->members[i].key, GR_STR(" "),
                                                  gr_json_text(&policies->members[i].value, "version")});
    return (gr_strs){at, count};
}

/* --- the stages -------------------------------------------------------------------------------------------- */
/* Whom the password stage names, as a whole id; the deprecated `user` too.  Empty: nobody, which means the asker. */
static gr_str named_user(const gr_login *l, gr_ctx *ctx)
{
    const gr_json *auth = l->attempt->auth;
    gr_str name = gr_json_string(gr_json_path(auth, "identifier/user"));
    if (name.size == 0) name = gr_json_text(auth, "user");
    if (name.size == 0 || name.ptr[0] == '@') return name;
    return gr_arena_printf(gr_ctx_arena(ctx), "@%" GR_FMT ":%" GR_FMT, GR_ARG(name), GR_ARG(gr_env_of(ctx)->server_name));
}

/* One answer for an address that is nobody's and for one of somebody else. */
static void refuse_address(gr_login *l, gr_ctx *ctx)
{
    gr_login_fail(l, ctx, gr_fail(GR_FORBIDDEN, "This is not an address of the user who asks"));
}

static void ask_whose(gr_login *l, gr_ctx *ctx, const gr_json *identifier)
{
    gr_str address = gr_json_text(identifier, "address");
    bool is_one = gr_str_is(gr_json_text(identifier, "medium"), "email") && gr_ident_email(address);
    if (is_one) gr_login_ask_holder(l, ctx, gr_arena_lower(gr_ctx_arena(ctx), address), STEP_NAMED);
    else refuse_address(l, ctx);
}

static void try_password(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    const gr_json *identifier = gr_json_get(a->auth, "identifier");
    gr_str named = named_user(l, ctx), password = gr_json_text(a->auth, "password");
    if (password.size == 0) {
        gr_login_stage_failed(l, ctx, gr_fail(GR_MISSING_PARAM, "The password stage needs 'password'"));
        return;
    }
    if (named.size && !gr_str_eq(named, a->asked_by)) {
        gr_login_stage_failed(l, ctx, gr_fail(GR_FORBIDDEN, "The password must be that of the user who asks"));
        return;
    }
    a->password = password;
    if (gr_str_is(gr_json_text(identifier, "type"), "m.id.thirdparty")) ask_whose(l, ctx, identifier);
    else gr_login_try_password(l, ctx, a->asked_by);
}

static void on_named(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    if (gr_str_eq(gr_login_holder(l, m), l->attempt->asked_by)) gr_login_try_password(l, ctx, l->attempt->asked_by);
    else refuse_address(l, ctx);
}

static void try_invitation(gr_login *l, gr_ctx *ctx)
{
    gr_str token = gr_json_text(l->attempt->auth, "token");
    if (!gr_ident_opaque(token) || token.size > 64) {
        gr_login_stage_failed(l, ctx, gr_fail(GR_UNAUTHORIZED, "This is not a registration token"));
        return;
    }
    gr_name_use use = {.holder = l->id};
    gr_ctx_ask(ctx, gr_token_name(gr_ctx_arena(ctx), token), &gr_type_name_use, &use, GR_LOGIN_ASK_MS,
               &(gr_resume){.step = STEP_INVITATION});
}

/* threepid_creds {sid, client_secret}; threepidCreds is what it was called once. */
static void try_email(gr_login *l, gr_ctx *ctx)
{
    gr_arena *arena = gr_ctx_arena(ctx);
    unsigned char hash[GR_SHA256_SIZE];
    const gr_json *creds = gr_json_get(l->attempt->auth, "threepid_creds");
    if (!creds) creds = gr_json_get(l->attempt->auth, "threepidCreds");
    gr_str sid = gr_json_text(creds, "sid"), secret = gr_json_text(creds, "client_secret");
    if (!gr_ident_opaque(sid) || secret.size == 0 || secret.size > CLIENT_SECRET_MAX) {
        gr_err err = gr_fail(GR_MISSING_PARAM, "The email stage needs 'threepid_creds' with sid and client_secret");
        gr_login_stage_failed(l, ctx, err);
        return;
    }
    gr_sha256(secret.ptr, secret.size, hash);
    gr_email_look look = {.secret_hash = gr_str_of(hash, sizeof hash)};
    gr_ctx_ask(ctx, gr_address(arena, GR_KIND_EMAIL, sid), &gr_type_email_look, &look, GR_LOGIN_ASK_MS,
               &(gr_resume){.step = STEP_VALIDATED});
}

static void on_validated(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    const gr_email_is *is = m->body;
    bool is_for_this = !gr_failed(m->err) && gr_str_eq(is->purpose, a->action);
    if (!is_for_this || is->validated_ms == 0) {
        gr_login_stage_failed(l, ctx, gr_fail(GR_UNAUTHORIZED, "The address is not confirmed yet: open the page of the mail"));
        return;
    }
    a->email = gr_arena_str(a->arena, is->address);
    a->language = gr_arena_str(a->arena, is->language);
    gr_login_stage_done(l, ctx);
}

/* Only the page can say that the user has approved, and who that was. */
static bool approved_on_page(const gr_login *l)
{
    const login_attempt *a = l->attempt;
    return a->by_page && gr_str_is(a->stage, OAUTH) && gr_str_eq(gr_json_text(a->auth, "user"), a->asked_by);
}

/* What is remembered is what was shown: terms that have changed since are shown first. */
static void try_terms(gr_login *l, gr_ctx *ctx)
{
    if (gr_login_terms_shown(l, ctx)) gr_login_stage_done(l, ctx);
    else gr_login_stage_failed(l, ctx, gr_fail(GR_UNAUTHORIZED, "The terms have changed: read them again"));
}

void gr_login_try_stage(gr_login *l, gr_ctx *ctx)
{
    gr_str stage = l->attempt->stage;
    if (gr_str_is(stage, DUMMY) || approved_on_page(l)) gr_login_stage_done(l, ctx);
    else if (gr_str_is(stage, TERMS)) try_terms(l, ctx);
    else if (gr_str_is(stage, PASSWORD)) try_password(l, ctx);
    else if (gr_str_is(stage, REGISTRATION_TOKEN)) try_invitation(l, ctx);
    else if (gr_str_is(stage, EMAIL)) try_email(l, ctx);
    else gr_login_stage_failed(l, ctx, gr_fail(GR_UNAUTHORIZED, "This stage is not done yet: it is done on its page"));
}

void gr_login_stage_step(gr_login *l, login_step step, const gr_msg *m, gr_ctx *ctx)
{
    bool unknown_token = m->err.code == GR_NOT_FOUND || m->err.code == GR_FORBIDDEN;
    if (step == STEP_INVITATION && unknown_token) {
        gr_login_stage_failed(l, ctx, gr_fail(GR_UNAUTHORIZED, "This registration token is unknown, used up or expired"));
        return;
    }
    bool may_be_none = (step == STEP_VALIDATED || step == STEP_NAMED) && m->err.code == GR_NOT_FOUND;
    if (gr_failed(m->err) && !may_be_none) {
        gr_login_fail(l, ctx, m->err);
        return;
    }
    switch (step) {
    case STEP_VALIDATED: on_validated(l, m, ctx); return;
    case STEP_NAMED: on_named(l, m, ctx); return;
    case STEP_INFO: gr_login_verify(l, ctx, m->body); return;
    case STEP_VERIFY:
        if (gr_login_verified(l, ctx, l->attempt->asked_by, m->body)) gr_login_stage_done(l, ctx);
        else gr_login_stage_failed(l, ctx, gr_fail(GR_FORBIDDEN, "Wrong password"));
        return;
    default:
        gr_assert(step == STEP_INVITATION);
        gr_login_stage_done(l, ctx);
    }
}
