/* routes_fallback.c - pages for clients that can't do a stage, a login or a registration themselves. Client-Server API,
 * "Fallback" of user-interactive authentication, "Login Fallback" and "Account registration".
 *
 * A stage's page hands what was filled in to the login actor of the session; the client finds the stage done.  The page of
 * /register goes through the stages of a session of its own, one request after the other; the pages of the OAuth 2.0 API
 * send people there too (browser.h).
 */
#include "edge/browser.h"
#include "edge/edge.h"
#include "edge/email.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "actors/login/password.h"
#include "proto/ident.h"

#define STAGE_PATH "/_matrix/client/(r0|v3)/auth/{stage}/fallback/web"
#define EMAIL_STAGE "m.login.email.identity"
#define LOGIN_PATH "/_matrix/static/client/login"
#define REGISTER_PATH "/_matrix/static/client/register"

enum { LOGIN_TIMEOUT_MS = 60000, SESSION_MAX = 64, STEPS_MAX = 6 };

/* --- parts of pages ---------------------------------------------------------------------------------------- */
/* Links to the terms, those in the reader's language where there are such, and what to tick. */
static void put_terms(gr_call *call, gr_page *page)
{
    const gr_json *params = NULL;
    if (gr_failed(gr_json_parse(call->arena, gr_call_terms(call), GR_JSON_LAX, &params))) return;
    const gr_json *policies = gr_json_get(params, "policies");
    gr_page_para(page, GR_SAY(stage_terms_hint));
    for (uint32_t i = 0; policies && i < policies->count; i++) {
        const gr_json *policy = &policies->members[i].value, *in = gr_json_get(policy, gr_page_text_tag(page->language));
        for (uint32_t k = 0; !in && k < policy->count; k++)
            if (gr_json_is(&policy->members[k].value, GR_JSON_OBJECT)) in = &policy->members[k].value;
        gr_page_link(page, gr_json_text(in, "url"), GR_SAY(stage_terms_link, gr_json_text(in, "name")));
    }
}

static void put_password(gr_page *page, const char *autocomplete)
{
    gr_page_input(page, &(gr_page_field){.name = "password", .type = "password", .autocomplete = autocomplete,
                                         .label = GR_SAY(password), .required = true});
}

static void put_token(gr_page *page, gr_str value)
{
    gr_page_input(page, &(gr_page_field){.name = "token", .label = GR_SAY(stage_token_label), .value = value, .required = true});
}

/* A mail that was asked for, as the fields of a form carry it from page to page; sid empty: none was. */
typedef struct { gr_str address, sid, secret; } mail_asked;

static mail_asked posted_mail(const gr_call *call)
{
    return (mail_asked){gr_page_posted(call, "email"), gr_page_posted(call, "sid"), gr_page_posted(call, "client_secret")};
}

static mail_asked wished_mail(gr_call *call, const gr_email_wish *wish)
{
    return (mail_asked){wish->address, gr_email_sid(call, wish), wish->secret};
}

static void put_mail(gr_page *page, const mail_asked *asked)
{
    gr_page_hidden(page, "email", asked->address);
    gr_page_hidden(page, "sid", asked->sid);
    gr_page_hidden(page, "client_secret", asked->secret);
}

static void put_address(gr_page *page)
{
    gr_page_input(page, &(gr_page_field){.name = "email", .type = "email", .autocomplete = "email",
                                         .label = GR_SAY(stage_email_label), .required = true});
}

static void write_creds(gr_jw *w, const mail_asked *asked)
{
    gr_jw_key(w, "threepid_creds");
    gr_jw_object(w);
    gr_jw_kstr(w, "sid", asked->sid);
    gr_jw_kstr(w, "client_secret", asked->secret);
    gr_jw_end_object(w);
}

/* Has a mail sent to the posted address; call->state is the wish meanwhile.  An error: it was not asked for. */
static gr_err ask_mail(gr_call *call, gr_str purpose, gr_call_then *then)
{
    gr_email_wish *wish = gr_arena_alloc(call->arena, sizeof *wish);
    *wish = (gr_email_wish){.purpose = purpose, .secret = gr_call_new_id(call, 18), .attempt = 1,
                            .address = gr_arena_lower(call->arena, gr_page_posted(call, "email"))};
    call->state = wish;
    return gr_email_request(call, wish, then);
}

/* --- stages ------------------------------------------------------------------------------------------------ */
static bool session_of(gr_call *call, gr_str *session)
{
    *session = gr_page_posted(call, "session");
    if (session->size == 0) gr_call_query(call, "session", session);
    if (session->size && session->size <= SESSION_MAX && gr_ident_opaque(*session)) return true;
    gr_page_error(call, 400, GR_SAY(error_stale));
    return false;
}

static gr_page_say title_of(gr_call *call, gr_str stage)
{
    if (gr_str_is(stage, "m.login.password")) return GR_SAY(stage_password_title);
    if (gr_str_is(stage, "m.login.registration_token")) return GR_SAY(stage_token_title);
    if (gr_str_is(stage, EMAIL_STAGE)) return GR_SAY(stage_email_title);
    if (gr_str_is(stage, "m.login.terms")) return GR_SAY(stage_terms_title, gr_call_server_name(call));
    return GR_SAY(stage_dummy_title);
}

/* First the address; then, while a mail is on its way, what the server knows it by. */
static void put_email(gr_call *call, gr_page *page)
{
    mail_asked asked = posted_mail(call);
    if (asked.sid.size) {
        gr_page_para(page, GR_SAY(stage_email_sent, asked.address));
        put_mail(page, &asked);
        return;
    }
    gr_page_para(page, GR_SAY(stage_email_hint, gr_call_server_name(call)));
    put_address(page);
}

static void stage_form(gr_call *call, const gr_login_stage_is *is)
{
    gr_str stage = gr_call_param(call, "stage"), session;
    gr_page page = gr_page_begin(call, title_of(call, stage));
    if (is->failed) gr_page_alert(&page, GR_SAY(stage_wrong));
    if (gr_str_is(stage, "m.login.terms")) put_terms(call, &page);
    session = gr_page_posted(call, "session");
    if (session.size == 0) gr_call_query(call, "session", &session);
    gr_page_form(&page, call->path);
    gr_page_hidden(&page, "session", session);
    if (gr_str_is(stage, "m.login.password")) {
        gr_page_para(&page, GR_SAY(stage_password_hint, is->user));
        put_password(&page, "current-password");
    } else if (gr_str_is(stage, "m.login.registration_token")) {
        gr_page_para(&page, GR_SAY(stage_token_hint, gr_call_server_name(call)));
        put_token(&page, (gr_str){0});
    } else if (gr_str_is(stage, EMAIL_STAGE)) {
        put_email(call, &page);
    } else if (gr_str_is(stage, "m.login.terms")) {
        gr_page_checkbox(&page, "agree", GR_SAY(stage_terms_agree), false);
    } else {
        gr_page_para(&page, GR_SAY(stage_dummy_hint));
    }
    gr_page_button(&page, GR_SAY(go_on), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_send(&page, is->failed ? 401 : 200);
}

static void told_stage(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        if (answer->err.code == GR_NOT_FOUND) gr_page_error(call, 404, GR_SAY(error_stale));
        else gr_call_fail(call, answer->err);
        return;
    }
    const gr_login_stage_is *is = answer->body;
    if (!is->done) {
        stage_form(call, is);
        return;
    }
    gr_page page = gr_page_begin(call, GR_SAY(stage_done_title));
    gr_page_para(&page, GR_SAY(stage_done_hint));
    gr_page_run(&page, GR_PAGE_SCRIPT_AUTH_DONE);
    gr_page_send(&page, 200);
}

static void ask_stage(gr_call *call, gr_str session, gr_str params)
{
    gr_login_stage stage = {.stage = gr_call_param(call, "stage"), .params = params, .ip = call->peer};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_LOGIN, session), &gr_type_login_stage, &stage, told_stage, 0,
                     LOGIN_TIMEOUT_MS, false);
}

static void serve_stage(gr_call *call)
{
    gr_str session;
    if (session_of(call, &session)) ask_stage(call, session, (gr_str){0});
}

/* --- the email stage --------------------------------------------------------------------------------------- */
static void told_mail_asked(gr_call *call, const gr_answer *answer)
{
    const gr_email_wish *wish = call->state;
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    mail_asked asked = wished_mail(call, wish);
    gr_page page = gr_page_begin(call, GR_SAY(stage_email_title));
    gr_page_para(&page, GR_SAY(stage_email_sent, asked.address));
    gr_page_form(&page, call->path);
    gr_page_hidden(&page, "session", gr_page_posted(call, "session"));
    put_mail(&page, &asked);
    gr_page_button(&page, GR_SAY(go_on), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_send(&page, 200);
}

/* What the session is for says what the mail is for. */
static void told_for_mail(gr_call *call, const gr_answer *answer)
{
    const gr_login_stage_is *is = answer->body;
    if (gr_failed(answer->err) || is->done) {
        told_stage(call, answer);
        return;
    }
    gr_err err = ask_mail(call, gr_call_keep(call, is->action), told_mail_asked);
    if (err.code == GR_INVALID_PARAM) stage_form(call, &(gr_login_stage_is){.failed = true});
    else if (gr_failed(err)) gr_call_fail(call, err);
}

static void serve_email_form(gr_call *call, gr_str session)
{
    mail_asked asked = posted_mail(call);
    gr_buf out = {0};
    if (asked.sid.size == 0) {
        gr_login_stage look = {.stage = GR_STR(EMAIL_STAGE), .ip = call->peer};
        gr_call_ask(call, gr_call_address(call, GR_KIND_LOGIN, session), &gr_type_login_stage, &look, told_for_mail);
        return;
    }
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    write_creds(&w, &asked);
    gr_jw_end_object(&w);
    ask_stage(call, session, gr_buf_view(&out));
    gr_buf_free(&out);
}

static void serve_stage_form(gr_call *call)
{
    gr_str session, password = gr_page_posted(call, "password"), token = gr_page_posted(call, "token");
    gr_buf out = {0};
    if (!session_of(call, &session)) return;
    if (gr_str_is(gr_call_param(call, "stage"), "m.login.terms") && gr_page_posted(call, "agree").size == 0) {
        stage_form(call, &(gr_login_stage_is){.failed = true});
        return;
    }
    if (gr_str_is(gr_call_param(call, "stage"), EMAIL_STAGE)) {
        serve_email_form(call, session);
        return;
    }
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (password.size) gr_jw_kstr(&w, "password", gr_str_head(password, GR_PASSWORD_SIZE_MAX));
    if (token.size) gr_jw_kstr(&w, "token", gr_str_head(token, SESSION_MAX + 1));
    gr_jw_end_object(&w);
    ask_stage(call, session, gr_buf_view(&out));
    explicit_bzero(out.ptr, out.size);
    gr_buf_free(&out);
}

/* --- /login ------------------------------------------------------------------------------------------------ */
static void login_form(gr_call *call, gr_page_say wrong, int status)
{
    gr_page page = gr_page_begin(call, GR_SAY(login_title, gr_call_server_name(call)));
    if (wrong.text != GR_PAGE_TEXT_none) gr_page_alert(&page, wrong);
    gr_page_form(&page, GR_STR(LOGIN_PATH "/"));
    gr_page_input(&page, &(gr_page_field){.name = "username", .autocomplete = "username", .label = gr_page_user_label(call),
                                          .value = gr_page_posted(call, "username"), .required = true, .focus = true});
    put_password(&page, "current-password");
    gr_page_button(&page, GR_SAY(login_button), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_send(&page, status);
}

/* The answer to a login goes to the app that shows this page. */
static void logged_in(gr_call *call, gr_page_say title, gr_str json)
{
    gr_page page = gr_page_begin(call, title);
    gr_page_para(&page, GR_SAY(logged_in_hint));
    gr_page_data(&page, json);
    gr_page_run(&page, GR_PAGE_SCRIPT_LOGGED_IN);
    gr_page_send(&page, 200);
}

static void told_login(gr_call *call, const gr_answer *answer)
{
    if (answer->err.code == GR_FORBIDDEN) login_form(call, GR_SAY(login_failed), 403);
    else if (answer->err.code == GR_LIMIT_EXCEEDED) login_form(call, GR_SAY(login_wait), 429);
    else if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else logged_in(call, GR_SAY(logged_in_title), ((const gr_login_answer *)answer->body)->body);
}

static void serve_login_page(gr_call *call) { login_form(call, GR_SAY(none), 200); }

static void serve_login_form(gr_call *call)
{
    gr_login_password login = gr_uia_typed(call, gr_page_posted(call, "username"), gr_page_posted(call, "password"));
    gr_call_query(call, "device_id", &login.device);
    gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_password, &login, told_login, 0, LOGIN_TIMEOUT_MS, false);
}

/* --- /register --------------------------------------------------------------------------------------------- */
/* Where people may have an email address the first page asks for it, so that the mail is read by the time the second, with
 * name and password, is filled in. */
typedef struct { gr_str session, request, tried; mail_asked mail; unsigned steps; } registering;

static void email_form(gr_call *call, gr_page_say wrong, int status)
{
    gr_str server = gr_call_server_name(call);
    gr_page page = gr_page_begin(call, GR_SAY(register_title, server));
    if (wrong.text != GR_PAGE_TEXT_none) gr_page_alert(&page, wrong);
    gr_page_para(&page, GR_SAY(register_email_hint, server));
    gr_page_form(&page, gr_browser_here(call, NULL));
    put_address(&page);
    gr_page_button(&page, GR_SAY(go_on), NULL, (gr_str){0});
    gr_page_end_form(&page);
    if (!call->edge->env->email.must_register) {
        gr_page_form(&page, gr_browser_here(call, NULL));
        gr_page_button(&page, GR_SAY(register_email_skip), "skip", GR_STR("1"));
        gr_page_end_form(&page);
    }
    gr_page_send(&page, status);
}

static void register_form(gr_call *call, const mail_asked *mail, gr_page_say wrong, int status)
{
    const gr_config *config = gr_call_config(call);
    gr_page page = gr_page_begin(call, GR_SAY(register_title, gr_call_server_name(call)));
    if (wrong.text != GR_PAGE_TEXT_none) gr_page_alert(&page, wrong);
    if (mail->sid.size) gr_page_para(&page, GR_SAY(register_email_sent, mail->address));
    if (gr_call_terms(call).size) put_terms(call, &page);
    gr_page_form(&page, gr_browser_here(call, NULL));
    if (mail->sid.size) put_mail(&page, mail);
    gr_page_input(&page, &(gr_page_field){.name = "username", .autocomplete = "username", .label = GR_SAY(user_name),
                                          .value = gr_page_posted(call, "username"), .required = true, .focus = true});
    put_password(&page, "new-password");
    if (config->registration == GR_CONFIG_REGISTRATION_TOKEN) put_token(&page, gr_page_posted(call, "token"));
    if (gr_call_terms(call).size) gr_page_checkbox(&page, "agree", GR_SAY(stage_terms_agree), false);
    gr_page_button(&page, GR_SAY(register_button), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_send(&page, status);
}

static gr_page_say why_not(gr_err err)
{
    switch (err.code) {
    case GR_USER_IN_USE:
    case GR_EXCLUSIVE: return GR_SAY(register_name_taken);
    case GR_INVALID_USERNAME: return GR_SAY(register_name_bad);
    case GR_THREEPID_IN_USE: return GR_SAY(register_email_taken);
    default: return GR_SAY(register_password_weak);
    }
}

static void told_registering(gr_call *call, const gr_answer *answer);

static void ask_register(gr_call *call, gr_str auth)
{
    registering *r = call->state;
    gr_login_uia uia = {.action = GR_STR("register"), .binding = GR_STR("page"), .request = r->request, .auth = auth,
                        .ip = call->peer, .agent = call->user_agent};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_LOGIN, r->session), &gr_type_login_uia, &uia, told_registering, 0,
                     LOGIN_TIMEOUT_MS, false);
}

static bool has(const gr_json *texts, gr_str wanted)
{
    for (uint32_t i = 0; texts && i < texts->count; i++)
        if (gr_str_eq(gr_json_string(&texts->items[i]), wanted)) return true;
    return false;
}

/* The first stage that is not done yet of the flow with an email address, or of that without; empty: none.  That of the
 * address comes first: it may fail, and must not have used up a registration token by then. */
static gr_str next_stage(const gr_json *wanted, bool with_email)
{
    const gr_json *flows = gr_json_get(wanted, "flows"), *done = gr_json_get(wanted, "completed"), *stages = NULL;
    for (uint32_t i = 0; flows && i < flows->count; i++) {
        const gr_json *of_flow = gr_json_get(&flows->items[i], "stages");
        if (has(of_flow, GR_STR(EMAIL_STAGE)) == with_email) stages = of_flow;
    }
    if (has(stages, GR_STR(EMAIL_STAGE)) && !has(done, GR_STR(EMAIL_STAGE))) return GR_STR(EMAIL_STAGE);
    for (uint32_t i = 0; stages && i < stages->count; i++)
        if (!has(done, gr_json_string(&stages->items[i]))) return gr_json_string(&stages->items[i]);
    return (gr_str){0};
}

/* What the form says for a stage; false: the form can't do this one. */
static bool auth_for(gr_call *call, gr_str stage, gr_str *auth)
{
    const registering *r = call->state;
    bool is_token = gr_str_is(stage, "m.login.registration_token"), is_email = gr_str_is(stage, EMAIL_STAGE);
    gr_buf out = {0};
    if (!is_token && !is_email && !gr_str_is(stage, "m.login.terms") && !gr_str_is(stage, "m.login.dummy")) return false;
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "type", stage);
    if (is_token) gr_jw_kstr(&w, "token", gr_str_head(gr_page_posted(call, "token"), SESSION_MAX + 1));
    if (is_email) write_creds(&w, &r->mail);
    gr_jw_end_object(&w);
    *auth = gr_call_keep(call, gr_buf_view(&out));
    gr_buf_free(&out);
    return true;
}

static void told_registering(gr_call *call, const gr_answer *answer)
{
    registering *r = call->state;
    const gr_json *said = NULL;
    if (gr_failed(answer->err)) {
        bool is_ours = gr_errcode_status(answer->err.code) == 400;
        if (is_ours) register_form(call, &r->mail, why_not(answer->err), 400);
        else gr_call_fail(call, answer->err);
        return;
    }
    bool is_over = answer->type == &gr_type_login_answer;
    gr_str json = is_over ? ((const gr_login_answer *)answer->body)->body : ((const gr_login_wanted *)answer->body)->body;
    gr_err err = gr_json_parse(call->arena, json, GR_JSON_LAX, &said);
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return;
    }
    if (is_over && gr_browser_goes_on(call)) {
        gr_browser_go_on(call, &(gr_browser_begin){.user = gr_json_text(said, "user_id")});
        return;
    }
    if (is_over) {
        logged_in(call, GR_SAY(registered_title, gr_json_text(said, "user_id")), json);
        return;
    }
    gr_str stage = next_stage(said, r->mail.sid.size > 0), auth;
    bool is_unconfirmed = gr_str_is(r->tried, EMAIL_STAGE);
    r->tried = gr_call_keep(call, stage);
    if (gr_json_get(said, "errcode"))
        register_form(call, &r->mail, is_unconfirmed ? GR_SAY(register_email_not_yet) : GR_SAY(stage_wrong), 401);
    else if (++r->steps > STEPS_MAX || !auth_for(call, stage, &auth))
        gr_page_error(call, 403, GR_SAY(register_elsewhere, gr_call_server_name(call)));
    else ask_register(call, auth);
}

static bool may_register(gr_call *call)
{
    gr_str server = gr_call_server_name(call);
    if (gr_call_config(call)->registration != GR_CONFIG_REGISTRATION_CLOSED) return true;
    gr_page page = gr_page_begin(call, GR_SAY(register_title, server));
    gr_page_para(&page, GR_SAY(register_closed, server));
    gr_page_send(&page, 403);
    return false;
}

static bool takes_email(const gr_call *call)
{
    return call->edge->env->email.may_register || call->edge->env->email.must_register;
}

static void serve_register_page(gr_call *call)
{
    if (!may_register(call)) return;
    if (takes_email(call)) email_form(call, GR_SAY(none), 200);
    else register_form(call, &(mail_asked){0}, GR_SAY(none), 200);
}

static void told_register_mail(gr_call *call, const gr_answer *answer)
{
    mail_asked asked = wished_mail(call, call->state);
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else register_form(call, &asked, GR_SAY(none), 200);
}

static void register_with_mail(gr_call *call)
{
    gr_err err = ask_mail(call, GR_STR("register"), told_register_mail);
    if (err.code == GR_INVALID_PARAM) email_form(call, GR_SAY(register_email_bad), 400);
    else if (gr_failed(err)) gr_call_fail(call, err);
}

static void serve_register_form(gr_call *call)
{
    bool must = call->edge->env->email.must_register;
    gr_buf out = {0};
    if (!may_register(call)) return;
    mail_asked mail = takes_email(call) ? posted_mail(call) : (mail_asked){0};
    if (mail.sid.size == 0 && (mail.address.size || must)) {
        register_with_mail(call);
        return;
    }
    if (gr_page_posted(call, "skip").size) {
        register_form(call, &(mail_asked){0}, GR_SAY(none), 200);
        return;
    }
    if (gr_call_terms(call).size && gr_page_posted(call, "agree").size == 0) {
        register_form(call, &mail, GR_SAY(stage_wrong), 400);
        return;
    }
    registering *r = call->state = gr_arena_alloc(call->arena, sizeof *r);
    r->mail = mail;
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "username", gr_str_head(gr_page_posted(call, "username"), GR_IDENT_MAX + 1));
    gr_jw_kstr(&w, "password", gr_str_head(gr_page_posted(call, "password"), GR_PASSWORD_SIZE_MAX + 1));
    gr_jw_kbool(&w, "inhibit_login", gr_browser_goes_on(call));
    gr_jw_end_object(&w);
    r->session = gr_address_id(gr_uia_new_address(call));
    r->request = gr_call_keep(call, gr_buf_view(&out));
    explicit_bzero(out.ptr, out.size);
    gr_buf_free(&out);
    ask_register(call, (gr_str){0});
}

const gr_call_route gr_routes_fallback[] = {
    {GR_HTTP_GET, STAGE_PATH, GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_stage, .page = true},
    {GR_HTTP_POST, STAGE_PATH, GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_stage_form, .page = true},
    {GR_HTTP_GET, LOGIN_PATH "/", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_login_page, .page = true},
    {GR_HTTP_POST, LOGIN_PATH "/", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_login_form, .page = true},
    {GR_HTTP_GET, REGISTER_PATH "/", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_register_page, .page = true},
    {GR_HTTP_POST, REGISTER_PATH "/", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_REGISTER, serve_register_form, .page = true},
    {.pattern = NULL}};
