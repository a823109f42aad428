/* uia.c - sessions of user-interactive authentication. See login.h; Client-Server API, "User-Interactive Authentication". */
#include "actors/login/login_private.h"

#include "proto/ident.h"
#include "proto/sha256.h"

#define SESSION_KEY GR_STR("s")

/* --- the row ----------------------------------------------------------------------------------------------- */
static bool read_session(gr_ctx *ctx, gr_login_session *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_login_session){0};
    if (!gr_ctx_get(ctx, SESSION_KEY, &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_login_session, bytes, &body))) return false;
    *out = *(gr_login_session *)body;
    return true;
}

static void put_session(gr_ctx *ctx, const gr_login_session *s)
{
    gr_ctx_put_body(ctx, SESSION_KEY, &gr_type_login_session, s);
}

/* The session of the attempt, made if there is none. */
static gr_login_session session_of(gr_login *l, gr_ctx *ctx)
{
    gr_login_session s;
    if (read_session(ctx, &s)) return s;
    s = (gr_login_session){.binding = l->attempt->binding, .user = l->attempt->asked_by, .made_ms = gr_ctx_now_ms(ctx)};
    put_session(ctx, &s);
    gr_ctx_timer(ctx, GR_STR("end"), s.made_ms + GR_LOGIN_SESSION_MS, true);
    return s;
}

void gr_login_session_over(gr_ctx *ctx) { gr_ctx_del(ctx, SESSION_KEY); }

/* --- flows ------------------------------------------------------------------------------------------------- */
static const char *wanted_stage(const gr_login *l, gr_ctx *ctx)
{
    if (!gr_str_is(l->attempt->action, "register")) return "m.login.password";
    return gr_env_of(ctx)->registration_token ? "m.login.registration_token" : "m.login.dummy";
}

/* 401 with what there is to do; err says what went wrong with the stage that was tried. */
static void want(gr_login *l, gr_ctx *ctx, gr_err err)
{
    gr_login_session s = session_of(l, ctx);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "session", l->id);
    gr_jw_kraw(&w, "params", GR_STR("{}"));
    gr_jw_key(&w, "flows");
    gr_jw_array(&w);
    gr_jw_object(&w);
    gr_jw_key(&w, "stages");
    gr_jw_array(&w);
    gr_jw_str(&w, gr_str_c(wanted_stage(l, ctx)));
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_jw_end_array(&w);
    gr_jw_key(&w, "completed");
    gr_jw_array(&w);
    for (size_t i = 0; i < s.done.count; i++) gr_jw_str(&w, s.done.at[i]);
    gr_jw_end_array(&w);
    if (gr_failed(err)) {
        gr_jw_kc(&w, "errcode", gr_errcode_wire(err.code));
        gr_jw_kc(&w, "error", err.text);
    }
    gr_jw_end_object(&w);
    gr_login_wanted wanted = {.body = gr_buf_view(&out)};
    gr_ctx_answer(ctx, &l->attempt->asker, &gr_type_login_wanted, &wanted);
    gr_buf_free(&out);
    gr_login_end(l);
}

/* All there is to do is done: from here on only this request may be repeated. */
static void stage_done(gr_login *l, gr_ctx *ctx)
{
    gr_login_session s = session_of(l, ctx);
    s.done = (gr_strs){&l->attempt->stage, 1};
    s.passed = true;
    s.request_hash = l->attempt->request_hash;
    put_session(ctx, &s);
    gr_login_act(l, ctx);
}

/* --- stages ------------------------------------------------------------------------------------------------ */
/* Whom the password stage names, as a whole id; the deprecated `user` too.  Empty: nobody, which means the asker. */
static gr_str named_user(const gr_login *l, gr_ctx *ctx)
{
    const gr_json *auth = l->attempt->auth;
    gr_str name = gr_json_string(gr_json_path(auth, "identifier/user"));
    if (name.size == 0) name = gr_json_text(auth, "user");
    if (name.size == 0 || name.ptr[0] == '@') return name;
    return gr_arena_printf(gr_ctx_arena(ctx), "@%" GR_FMT ":%" GR_FMT, GR_ARG(name), GR_ARG(gr_env_of(ctx)->server_name));
}

static void try_password(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    gr_str named = named_user(l, ctx), password = gr_json_text(a->auth, "password");
    if (password.size == 0) {
        want(l, ctx, gr_fail(GR_MISSING_PARAM, "The password stage needs 'password'"));
        return;
    }
    if (named.size && !gr_str_eq(named, a->asked_by)) {
        want(l, ctx, gr_fail(GR_FORBIDDEN, "The password must be that of the user who asks"));
        return;
    }
    a->password = password;
    gr_login_ask_user(l, ctx, a->asked_by, STEP_INFO, &gr_type_user_auth_info, &(gr_user_auth_info){0});
}

static void try_invitation(gr_login *l, gr_ctx *ctx)
{
    gr_str token = gr_json_text(l->attempt->auth, "token");
    if (!gr_ident_opaque(token) || token.size > 64) {
        want(l, ctx, gr_fail(GR_UNAUTHORIZED, "This is not a registration token"));
        return;
    }
    gr_arena *arena = gr_ctx_arena(ctx);
    gr_str name = gr_arena_cat(arena, 2, (gr_str[]){GR_STR("regtoken/"), token});
    gr_name_use use = {.holder = l->id};
    gr_ctx_ask(ctx, gr_address(arena, GR_KIND_NAME, name), &gr_type_name_use, &use, GR_LOGIN_ASK_MS,
               &(gr_resume){.step = STEP_INVITATION});
}

static void try_stage(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    a->stage = gr_json_text(a->auth, "type");
    if (a->stage.size == 0) want(l, ctx, gr_ok());
    else if (!gr_str_is(a->stage, wanted_stage(l, ctx)))
        want(l, ctx, gr_fail(GR_UNRECOGNIZED, "This stage is not part of the flow"));
    else if (gr_str_is(a->stage, "m.login.dummy")) stage_done(l, ctx);
    else if (gr_str_is(a->stage, "m.login.password")) try_password(l, ctx);
    else try_invitation(l, ctx);
}

/* --- the request ------------------------------------------------------------------------------------------- */
static gr_err read_request(gr_login *l, const gr_login_uia *m, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    unsigned char hash[GR_SHA256_SIZE];
    a->is_session = true;
    a->action = gr_arena_str(a->arena, m->action);
    a->binding = gr_arena_str(a->arena, m->binding);
    a->asked_by = gr_arena_str(a->arena, m->user);
    a->user = a->asked_by;
    a->device = gr_arena_str(a->arena, m->device);
    a->ip = gr_arena_str(a->arena, m->ip);
    a->agent = gr_arena_str(a->arena, m->agent);
    gr_sha256(m->request.ptr, m->request.size, hash);
    a->request_hash = gr_arena_str(a->arena, gr_str_of(hash, sizeof hash));
    gr_err err = gr_json_parse(a->arena, m->request, GR_JSON_LAX, &a->request);
    if (!gr_failed(err) && m->auth.size) err = gr_json_parse(a->arena, m->auth, GR_JSON_LAX, &a->auth);
    if (!gr_failed(err) && gr_str_is(a->action, "register")) err = gr_login_check_register(l, ctx);
    return err;
}

void gr_login_on_uia(gr_login *l, const gr_login_uia *m, gr_ctx *ctx)
{
    gr_login_session s;
    login_attempt *a = l->attempt;
    gr_err err = read_request(l, m, ctx);
    bool known = read_session(ctx, &s);
    if (!gr_failed(err) && known && (!gr_str_eq(s.binding, a->binding) || !gr_str_eq(s.user, a->asked_by)))
        err = gr_fail(GR_FORBIDDEN, "This session belongs to another request: begin a new one");
    if (!gr_failed(err) && known && s.passed && !gr_str_eq(s.request_hash, a->request_hash))
        err = gr_fail(GR_FORBIDDEN, "This session has been used: begin a new one");
    if (gr_failed(err)) {
        gr_login_fail(l, ctx, err);
        return;
    }
    if (known && s.passed) gr_login_act(l, ctx);           /* the answer was lost: it is made again */
    else if (!known && a->user.size && a->asked_by.size == 0 && gr_str_is(a->action, "register"))
        gr_login_ask_user(l, ctx, a->user, STEP_FREE, &gr_type_user_auth_info, &(gr_user_auth_info){0});
    else try_stage(l, ctx);
}

void gr_login_session_step(gr_login *l, login_step step, const gr_msg *m, gr_ctx *ctx)
{
    if (step == STEP_INVITATION && (m->err.code == GR_NOT_FOUND || m->err.code == GR_FORBIDDEN)) {
        want(l, ctx, gr_fail(GR_UNAUTHORIZED, "This registration token is unknown, used up or expired"));
        return;
    }
    if (gr_failed(m->err) && step != STEP_CREATE) {
        gr_login_fail(l, ctx, m->err);
        return;
    }
    switch (step) {
    case STEP_FREE:
        if (!((const gr_user_auth_is *)m->body)->exists) try_stage(l, ctx);
        else gr_login_fail(l, ctx, gr_fail(GR_USER_IN_USE, "This user name is taken: choose another"));
        return;
    case STEP_INFO: gr_login_verify(l, ctx, ((const gr_user_auth_is *)m->body)->password_hash); return;
    case STEP_VERIFY:
        if (gr_str_is(((const gr_work_done *)m->body)->output, "1")) stage_done(l, ctx);
        else want(l, ctx, gr_fail(GR_FORBIDDEN, "Wrong password"));
        return;
    case STEP_INVITATION: stage_done(l, ctx); return;
    default: gr_login_act_step(l, step, m, ctx);
    }
}
