/* uia.c - sessions of user-interactive authentication. See login.h; Client-Server API, "User-Interactive Authentication". */
#include "actors/login/login_private.h"

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

static void make_session(gr_login *l, gr_ctx *ctx, gr_strs flows)
{
    gr_login_session s = {.binding = l->attempt->binding, .user = l->attempt->asked_by, .made_ms = gr_ctx_now_ms(ctx),
                          .flows = flows, .action = l->attempt->action, .terms = gr_login_terms(ctx)};
    put_session(ctx, &s);
    gr_ctx_timer(ctx, GR_STR("end"), s.made_ms + GR_LOGIN_SESSION_MS, true);
}

void gr_login_session_over(gr_ctx *ctx) { gr_ctx_del(ctx, SESSION_KEY); }

/* --- answers ----------------------------------------------------------------------------------------------- */
static void write_flows(gr_jw *w, gr_strs flows)
{
    gr_jw_key(w, "flows");
    gr_jw_array(w);
    for (size_t i = 0; i < flows.count; i++) {
        gr_str rest = flows.at[i];
        gr_jw_object(w);
        gr_jw_key(w, "stages");
        gr_jw_array(w);
        while (rest.size) {
            ptrdiff_t end = gr_str_find(rest, ' ');
            gr_str stage = end < 0 ? rest : gr_str_head(rest, (size_t)end);
            gr_jw_str(w, stage);
            rest = gr_str_from(rest, stage.size + 1);
        }
        gr_jw_end_array(w);
        gr_jw_end_object(w);
    }
    gr_jw_end_array(w);
}

/* 401 with what there is to do; err says what went wrong with the stage that was tried. */
static void want(gr_login *l, gr_ctx *ctx, gr_err err)
{
    gr_login_session s;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_assert(read_session(ctx, &s));
    gr_jw_object(&w);
    gr_jw_kstr(&w, "session", l->id);
    write_flows(&w, s.flows);
    gr_login_stage_params(&w, ctx, s.flows);
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

static void tell_page(gr_login *l, gr_ctx *ctx, bool done, gr_err err)
{
    gr_login_stage_is is = {.done = done, .failed = gr_failed(err), .error = gr_str_c(err.text),
                             .user = l->attempt->asked_by, .action = l->attempt->action};
    gr_ctx_answer(ctx, &l->attempt->asker, &gr_type_login_stage_is, &is);
    gr_login_end(l);
}

static bool same_texts(gr_strs a, gr_strs b)
{
    bool same = a.count == b.count;
    for (size_t i = 0; same && i < a.count; i++) same = gr_str_eq(a.at[i], b.at[i]);
    return same;
}

bool gr_login_terms_shown(gr_login *l, gr_ctx *ctx)
{
    gr_login_session s;
    gr_strs now = gr_login_terms(ctx);
    (void)l;
    gr_assert(read_session(ctx, &s));
    if (same_texts(s.terms, now)) return true;
    s.terms = now;
    put_session(ctx, &s);
    return false;
}

/* --- the end of a stage ------------------------------------------------------------------------------------ */
static bool is_done(const gr_login_session *s, gr_str stage)
{
    for (size_t i = 0; i < s->done.count; i++)
        if (gr_str_eq(s->done.at[i], stage)) return true;
    return false;
}

static void keep_terms(gr_login *l, const gr_login_session *s)
{
    login_attempt *a = l->attempt;
    if (!is_done(s, GR_STR("m.login.terms"))) return;
    gr_str *at = gr_arena_alloc(a->arena, s->terms.count * sizeof *at);
    for (size_t i = 0; i < s->terms.count; i++) at[i] = gr_arena_str(a->arena, s->terms.at[i]);
    a->terms = (gr_strs){at, s->terms.count};
}

/* Once all there is to do is done only this request may be repeated. */
static void pass(gr_login *l, gr_ctx *ctx, gr_login_session *s)
{
    s->passed = true;
    keep_terms(l, s);
    s->request_hash = l->attempt->request_hash;
    put_session(ctx, s);
    gr_login_act(l, ctx);
}

void gr_login_stage_done(gr_login *l, gr_ctx *ctx)
{
    gr_login_session s;
    login_attempt *a = l->attempt;
    gr_assert(read_session(ctx, &s));
    if (!is_done(&s, a->stage)) {
        gr_str *done = gr_arena_alloc(gr_ctx_arena(ctx), (s.done.count + 1) * sizeof *done);
        if (s.done.count) memcpy(done, s.done.at, s.done.count * sizeof *done);
        done[s.done.count] = a->stage;
        s.done = (gr_strs){done, s.done.count + 1};
        if (a->email.size) s.email = a->email, s.language = a->language;
        put_session(ctx, &s);
    }
    if (a->by_page) tell_page(l, ctx, true, gr_ok());
    else if (gr_login_flows_done(s.flows, s.done)) pass(l, ctx, &s);
    else want(l, ctx, gr_ok());
}

void gr_login_stage_failed(gr_login *l, gr_ctx *ctx, gr_err err)
{
    if (l->attempt->by_page) tell_page(l, ctx, false, err);
    else want(l, ctx, err);
}

/* --- the request ------------------------------------------------------------------------------------------- */
static bool is_offered(const gr_login_session *s, gr_str stage)
{
    for (size_t i = 0; i < s->flows.count; i++)
        if (gr_login_flow_has(s->flows.at[i], stage)) return true;
    return false;
}

/* Goes on with a session that is there, by what the client says of a stage. */
static void go_on(gr_login *l, gr_ctx *ctx)
{
    gr_login_session s;
    login_attempt *a = l->attempt;
    gr_assert(read_session(ctx, &s));
    a->stage = gr_json_text(a->auth, "type");
    a->email = gr_arena_str(a->arena, s.email);
    a->language = gr_arena_str(a->arena, s.language);
    keep_terms(l, &s);
    if (s.passed) gr_login_act(l, ctx);                     /* the answer was lost: it is made again */
    else if (gr_login_flows_done(s.flows, s.done)) pass(l, ctx, &s);       /* the last stage was done on its page */
    else if (a->stage.size == 0) want(l, ctx, gr_ok());
    else if (!is_offered(&s, a->stage)) want(l, ctx, gr_fail(GR_UNRECOGNIZED, "This stage is not part of a flow"));
    else if (is_done(&s, a->stage)) want(l, ctx, gr_ok());
    else gr_login_try_stage(l, ctx);
}

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
    a->by_oauth = m->by_oauth;
    gr_sha256(m->request.ptr, m->request.size, hash);
    a->request_hash = gr_arena_str(a->arena, gr_str_of(hash, sizeof hash));
    gr_err err = gr_json_parse(a->arena, m->request, GR_JSON_LAX, &a->request);
    if (!gr_failed(err) && m->auth.size) err = gr_json_parse(a->arena, m->auth, GR_JSON_LAX, &a->auth);
    if (!gr_failed(err) && gr_str_is(a->action, "register")) err = gr_login_check_register(l, ctx);
    return err;
}

/* What a new session is about: the name to be registered, unless the server is to choose it; or the account of who asks. */
static void ask_account(gr_login *l, gr_ctx *ctx)
{
    const login_attempt *a = l->attempt;
    bool is_register = gr_str_is(a->action, "register"), is_reset = !is_register && a->asked_by.size == 0;
    if (is_reset) {
        make_session(l, ctx, gr_login_flows_reset(ctx));
        go_on(l, ctx);
        return;
    }
    if (!is_register || (a->user.size && a->asked_by.size == 0)) {
        gr_login_ask_user(l, ctx, a->user, STEP_ACCOUNT, &gr_type_user_auth_info, &(gr_user_auth_info){0});
        return;
    }
    make_session(l, ctx, gr_login_flows_register(ctx));
    go_on(l, ctx);
}

static void on_account(gr_login *l, const gr_user_auth_is *account, gr_ctx *ctx)
{
    bool is_register = gr_str_is(l->attempt->action, "register");
    if (is_register && account->exists) {
        gr_login_fail(l, ctx, gr_fail(GR_USER_IN_USE, "This user name is taken: choose another"));
        return;
    }
    make_session(l, ctx, is_register ? gr_login_flows_register(ctx) : l->attempt->by_oauth ? gr_login_flows_oauth(ctx)
                 : gr_login_flows_account(ctx, account));
    go_on(l, ctx);
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
    if (gr_failed(err)) gr_login_fail(l, ctx, err);
    else if (known) go_on(l, ctx);
    else ask_account(l, ctx);
}

void gr_login_on_stage(gr_login *l, const gr_login_stage *m, gr_ctx *ctx)
{
    gr_login_session s;
    login_attempt *a = l->attempt;
    gr_err err = gr_ok();
    a->is_session = a->by_page = true;
    a->stage = gr_arena_str(a->arena, m->stage);
    a->ip = gr_arena_str(a->arena, m->ip);
    if (!read_session(ctx, &s) || !is_offered(&s, a->stage))
        err = gr_fail(GR_NOT_FOUND, "This has taken too long, or was never asked for: begin again in your app");
    else if (m->params.size) err = gr_json_parse(a->arena, m->params, GR_JSON_LAX, &a->auth);
    if (gr_failed(err)) {
        gr_login_fail(l, ctx, err);
        return;
    }
    a->asked_by = gr_arena_str(a->arena, s.user);
    a->action = gr_arena_str(a->arena, s.action);
    if (is_done(&s, a->stage) || s.passed) tell_page(l, ctx, true, gr_ok());
    else if (m->params.size) gr_login_try_stage(l, ctx);
    else tell_page(l, ctx, false, gr_ok());
}

/* From a login by an identity provider, which knows for whom that was. */
void gr_login_on_vouched(gr_login *l, const gr_login_vouched *m, gr_ctx *ctx)
{
    gr_login_session s;
    login_attempt *a = l->attempt;
    a->is_session = a->by_page = true;
    a->stage = GR_STR("m.login.sso");
    if (!read_session(ctx, &s) || !is_offered(&s, a->stage) || s.user.size == 0 || !gr_str_eq(s.user, m->user)) {
        gr_login_fail(l, ctx, gr_fail(GR_FORBIDDEN, "This has taken too long, or was never asked for: begin again in your app"));
        return;
    }
    a->asked_by = gr_arena_str(a->arena, s.user);
    gr_login_stage_done(l, ctx);
}

static bool is_of_stage(login_step step)
{
    return step == STEP_INFO || step == STEP_VERIFY || step == STEP_INVITATION || step == STEP_VALIDATED || step == STEP_NAMED;
}

void gr_login_session_step(gr_login *l, login_step step, const gr_msg *m, gr_ctx *ctx)
{
    if (is_of_stage(step)) gr_login_stage_step(l, step, m, ctx);
    else if (gr_failed(m->err) && step != STEP_CREATE && step != STEP_HOLDER && step != STEP_CLAIM) gr_login_fail(l, ctx, m->err);
    else if (step == STEP_ACCOUNT) on_account(l, m->body, ctx);
    else gr_login_act_step(l, step, m, ctx);
}
