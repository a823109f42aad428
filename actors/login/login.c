/* login.c - plain logins, and the steps that sessions share with them. See login.h. */
#include "actors/login/login_private.h"

#include "actors/email/email.h"
#include "actors/login/login_token.h"
#include "actors/login/password.h"
#include "actors/login/sso.h"
#include "proto/ident.h"

#include <stdlib.h>

/* --- the attempt ------------------------------------------------------------------------------------------- */
static void wipe(gr_str secret)
{
    if (secret.size) explicit_bzero((char *)secret.ptr, secret.size);
}

void gr_login_end(gr_login *l)
{
    login_attempt *a = l->attempt;
    if (!a) return;
    wipe(a->password);
    wipe(a->new_password);
    wipe(a->hash);
    gr_asker_free(&a->asker);
    gr_arena_free(&a->arena);
    free(a);
    l->attempt = NULL;
}

void gr_login_fail(gr_login *l, gr_ctx *ctx, gr_err err)
{
    gr_ctx_answer_fail(ctx, &l->attempt->asker, err);
    gr_login_end(l);
}

void gr_login_answer_json(gr_login *l, gr_ctx *ctx, gr_str json)
{
    gr_login_answer answer = {.body = json};
    gr_ctx_answer(ctx, &l->attempt->asker, &gr_type_login_answer, &answer);
    gr_login_end(l);
}

/* --- shared steps ------------------------------------------------------------------------------------------ */
void gr_login_ask_user(gr_login *l, gr_ctx *ctx, gr_str user, login_step step, const gr_type *type, const void *body)
{
    gr_resume resume = {.step = step};
    (void)l;
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, user), type, body, GR_LOGIN_ASK_MS, &resume);
}

void gr_login_ask_holder(gr_login *l, gr_ctx *ctx, gr_str email, login_step step)
{
    (void)l;
    gr_ctx_ask(ctx, gr_mail_name(gr_ctx_arena(ctx), email), &gr_type_name_look, &(gr_name_look){0}, GR_LOGIN_ASK_MS,
               &(gr_resume){.step = step});
}

gr_str gr_login_holder(gr_login *l, const gr_msg *m)
{
    const gr_json *value = NULL;
    if (gr_failed(m->err)) return (gr_str){0};
    gr_err err = gr_json_parse(l->attempt->arena, ((const gr_result *)m->body)->body, GR_JSON_LAX, &value);
    return gr_failed(err) ? (gr_str){0} : gr_json_text(value, "user_id");
}

void gr_login_try_password(gr_login *l, gr_ctx *ctx, gr_str user)
{
    gr_user_auth_info info = {.attempt = true, .ip = l->attempt->ip};
    gr_login_ask_user(l, ctx, user, STEP_INFO, &gr_type_user_auth_info, &info);
}

static void verify(gr_login *l, gr_ctx *ctx, gr_str hash)
{
    login_attempt *a = l->attempt;
    unsigned char salt[GR_PASSWORD_SALT];
    gr_ctx_random(ctx, salt, sizeof salt);
    a->hash = gr_arena_str(a->arena, hash);
    gr_str input = gr_password_verify_input(gr_ctx_arena(ctx), gr_env_of(ctx), salt, hash, a->password);
    gr_ctx_work(ctx, &gr_password_verify_work, input, &(gr_resume){.step = STEP_VERIFY});
    wipe(input);
}

void gr_login_verify(gr_login *l, gr_ctx *ctx, const gr_user_auth_is *account)
{
    if (account->wait_ms == 0) verify(l, ctx, account->password_hash);
    else gr_login_fail(l, ctx, (gr_err){GR_LIMIT_EXCEEDED, "Too many wrong passwords for this account: wait, then try again",
                                        account->wait_ms});
}

/* A hash that is made otherwise than ours are, as by another server, is replaced. */
bool gr_login_verified(gr_login *l, gr_ctx *ctx, gr_str user, const gr_work_done *done)
{
    gr_str to = gr_address(gr_ctx_arena(ctx), GR_KIND_USER, user), hash = gr_str_from(done->output, 1);
    if (!gr_str_starts(done->output, GR_STR("1"))) return false;
    gr_ctx_tell(ctx, to, &gr_type_user_guessed, &(gr_user_guessed){.ip = l->attempt->ip});
    gr_user_password anew = {.password_hash = hash, .instead_of = l->attempt->hash};
    if (hash.size) gr_ctx_post(ctx, to, &gr_type_user_password, &anew);
    return true;
}

/* A session that is repeated finds the device that it made. */
static gr_str choose_device(gr_login *l, gr_ctx *ctx)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    char random[GR_LOGIN_DEVICE_SIZE], *text = gr_arena_alloc(l->attempt->arena, sizeof random + 1);
    uint64_t hash = gr_str_hash(l->id);
    gr_ctx_random(ctx, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        text[i] = letters[(l->attempt->is_session || l->attempt->is_account ? hash >> (5 * i) : (unsigned char)random[i]) % 32];
    return gr_str_of(text, sizeof random);
}

void gr_login_make_tokens(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    if (a->verify_only) {
        gr_ctx_answer(ctx, &a->asker, &gr_type_login_proved, &(gr_login_proved){.user = a->user});
        gr_login_end(l);
        return;
    }
    if (a->device.size == 0) a->device = choose_device(l, ctx);
    gr_user_login login = {.device = a->device, .display_name = a->display_name, .refreshable = a->refreshable, .ip = a->ip,
                           .agent = a->agent};
    gr_login_ask_user(l, ctx, a->user, STEP_LOGIN, &gr_type_user_login, &login);
}

static void answer_tokens(gr_login *l, const gr_token_pair *pair, gr_ctx *ctx)
{
    const login_attempt *a = l->attempt;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "user_id", a->user);
    gr_jw_kstr(&w, "device_id", a->device);
    gr_jw_kstr(&w, "home_server", gr_env_of(ctx)->server_name);
    gr_jw_kstr(&w, "access_token", pair->access);
    if (pair->refresh.size) {
        gr_jw_kstr(&w, "refresh_token", pair->refresh);
        gr_jw_kint(&w, "expires_in_ms", (int64_t)pair->expires_in_ms);
    }
    gr_jw_end_object(&w);
    gr_login_answer_json(l, ctx, gr_buf_view(&out));
    explicit_bzero(out.ptr, out.size);
    gr_buf_free(&out);
}

/* --- plain logins ------------------------------------------------------------------------------------------ */
static login_attempt *begin(gr_login *l, gr_ctx *ctx)
{
    l->attempt = gr_alloc(sizeof *l->attempt);
    l->attempt->arena = gr_arena_new(1024);
    l->attempt->asker = gr_ctx_keep_asker(ctx);
    return l->attempt;
}

static void on_password(gr_login *l, const gr_login_password *m, gr_ctx *ctx)
{
    login_attempt *a = begin(l, ctx);
    a->user = gr_arena_str(a->arena, m->user);
    a->password = gr_arena_str(a->arena, m->password);
    a->device = gr_arena_str(a->arena, m->device);
    a->display_name = gr_arena_str(a->arena, m->display_name);
    a->refreshable = m->refreshable;
    a->verify_only = m->verify_only;
    a->ip = gr_arena_str(a->arena, m->ip);
    a->agent = gr_arena_str(a->arena, m->agent);
    a->email = gr_arena_str(a->arena, m->email);
    if (a->email.size) {
        gr_login_ask_holder(l, ctx, a->email, STEP_HOLDER);
        return;
    }
    bool may_exist = gr_ident_user_strict(m->user) && gr_ident_is_local(m->user, gr_env_of(ctx)->server_name);
    if (may_exist) gr_login_try_password(l, ctx, a->user);
    else verify(l, ctx, (gr_str){0});                      /* takes as long as a wrong password */
}

/* An address that is nobody's is taken for a user that can't be, so that it costs and counts as much as another. */
static void on_holder(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    a->user = gr_login_holder(l, m);
    if (a->user.size == 0)
        a->user = gr_arena_printf(a->arena, "@?%016llx:%" GR_FMT, (unsigned long long)gr_str_hash(a->email),
                                  GR_ARG(gr_env_of(ctx)->server_name));
    gr_login_try_password(l, ctx, a->user);
}

static void plain_step(gr_login *l, login_step step, const gr_msg *m, gr_ctx *ctx)
{
    switch (step) {
    case STEP_HOLDER: on_holder(l, m, ctx); return;
    case STEP_INFO: gr_login_verify(l, ctx, m->body); return;
    case STEP_VERIFY:
        if (gr_login_verified(l, ctx, l->attempt->user, m->body)) gr_login_make_tokens(l, ctx);
        else gr_login_fail(l, ctx, gr_fail(GR_FORBIDDEN, "Wrong user name or password"));
        return;
    case STEP_HASH:
    case STEP_CREATE: gr_login_act_step(l, step, m, ctx); return;
    default: gr_assert(false);
    }
}

/* --- the actor --------------------------------------------------------------------------------------------- */
static void on_reply(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    login_step step = m->resume->step;
    if (gr_sso_is_step(m->resume->step)) {
        gr_sso_on_reply(l, m, ctx);
        return;
    }
    if (!l->attempt) return;                   /* answered already; or this actor was loaded again since */
    if (step == STEP_LOGIN && !gr_failed(m->err)) answer_tokens(l, m->body, ctx);
    else if (m->type == &gr_type_work_done && ((const gr_work_done *)m->body)->failed)
        gr_login_fail(l, ctx, gr_fail(GR_UNAVAILABLE, "The server is busy with other logins: try again"));
    else if (step == STEP_HOLDER && gr_failed(m->err) && m->err.code != GR_NOT_FOUND) gr_login_fail(l, ctx, m->err);
    else if (l->attempt->is_session) gr_login_session_step(l, step, m, ctx);
    else if (gr_failed(m->err) && step != STEP_HOLDER) gr_login_fail(l, ctx, m->err);
    else plain_step(l, step, m, ctx);
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_login *l = self;
    (void)ctx;
    l->id = (gr_str){gr_str_dup(id), id.size};
}

static void on_timer(gr_str name, gr_ctx *ctx)
{
    if (gr_str_is(name, "token")) gr_login_token_over(ctx);
    else if (gr_str_is(name, "sso")) gr_sso_over(ctx);
    else gr_login_session_over(ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_login *l = self;
    if (m->verb == GR_REPLY) {
        on_reply(l, m, ctx);
        return;
    }
    if ((l->attempt || l->sso) && m->type != &gr_type_timer) {
        gr_ctx_fail(ctx, (gr_err){GR_LIMIT_EXCEEDED, "This login is under way: wait for its answer", 1000});
        return;
    }
    switch (m->type->id) {
    case GR_T_login_password: on_password(l, m->body, ctx); return;
    case GR_T_login_token: gr_login_token_on_login(m->body, ctx); return;
    case GR_T_login_token_make: gr_login_token_on_make(m->body, ctx); return;
    case GR_T_sso_begin:
    case GR_T_sso_back:
    case GR_T_sso_name:
    case GR_T_sso_look:
    case GR_T_sso_finish: gr_sso_handle(l, m, ctx); return;
    case GR_T_login_vouched: begin(l, ctx); gr_login_on_vouched(l, m->body, ctx); return;
    case GR_T_login_uia: begin(l, ctx); gr_login_on_uia(l, m->body, ctx); return;
    case GR_T_login_appservice: begin(l, ctx); gr_login_on_appservice(l, m->body, ctx); return;
    case GR_T_login_stage: begin(l, ctx); gr_login_on_stage(l, m->body, ctx); return;
    case GR_T_login_account: begin(l, ctx); gr_login_on_account(l, m->body, ctx); return;
    case GR_T_login_guest: begin(l, ctx); gr_login_on_guest(l, m->body, ctx); return;
    case GR_T_timer: on_timer(((const gr_timer *)m->body)->name, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A login does not take this message"));
    }
}

static void drop(void *self)
{
    gr_login *l = self;
    gr_login_end(l);
    gr_sso_end(l);
    free((char *)l->id.ptr);
}

static bool busy(const void *self)
{
    const gr_login *l = self;
    return l->attempt || l->sso;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    gr_str row;
    gr_buf_printf(out, "\"session\":%s,\"under_way\":%s", gr_ctx_get(ctx, GR_STR("s"), &row) ? "true" : "false",
                  busy(self) ? "true" : "false");
}

const gr_actor_kind gr_login_kind = {.kind = GR_KIND_LOGIN, .size = sizeof(gr_login), .load = load, .handle = handle,
                                     .drop = drop, .busy = busy, .inspect = inspect};
