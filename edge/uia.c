/* uia.c - carrying user-interactive authentication between client and login actor. See uia.h. */
#include "edge/uia.h"

#include "actors/login/password.h"
#include "proto/ident.h"

enum { SESSION_BYTES = 18, SESSION_MAX = 64, LOGIN_TIMEOUT_MS = 60000, REQUEST_MAX = 512 * 1024 };

gr_str gr_uia_new_address(gr_call *call)
{
    return gr_call_address(call, GR_KIND_LOGIN, gr_call_new_id(call, SESSION_BYTES));
}

static const char *method_name(gr_http_method method)
{
    return method == GR_HTTP_POST ? "POST" : method == GR_HTTP_PUT ? "PUT" : method == GR_HTTP_DELETE ? "DELETE" : "GET";
}

void gr_uia_passed_on(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else if (answer->type == &gr_type_login_wanted) gr_call_json(call, 401, ((const gr_login_wanted *)answer->body)->body);
    else if (answer->type == &gr_type_login_answer) gr_call_json(call, 200, ((const gr_login_answer *)answer->body)->body);
    else gr_call_empty(call);
}

gr_login_password gr_uia_typed(gr_call *call, gr_str name, gr_str password)
{
    bool is_email = gr_ident_email(name);
    return (gr_login_password){.user = is_email ? (gr_str){0} : gr_call_whole_id(call, gr_str_head(name, GR_IDENT_MAX + 1)),
                               .email = is_email ? gr_arena_lower(call->arena, name) : (gr_str){0},
                               .password = gr_str_head(password, GR_PASSWORD_SIZE_MAX + 1),
                               .ip = call->peer, .agent = call->user_agent};
}

typedef struct { void (*go)(gr_call *); } waiting;

static void checked(gr_call *call, const gr_answer *answer)
{
    void (*go)(gr_call *) = ((waiting *)call->state)->go;
    call->state = NULL;
    if (!gr_failed(answer->err) && answer->type == &gr_type_login_passed) go(call);
    else gr_uia_passed_on(call, answer);
}

static void ask(gr_call *call, const char *action, gr_call_then *then)
{
    const gr_json *auth = gr_json_get(call->json, "auth");
    gr_str session = gr_json_text(auth, "session"), to;
    gr_buf request = {0};
    if (call->text.size > REQUEST_MAX) {
        gr_call_fail_with(call, GR_TOO_LARGE, "This request is too large");
        return;
    }
    if (session.size && (!gr_ident_opaque(session) || session.size > SESSION_MAX)) {
        gr_call_fail_with(call, GR_INVALID_PARAM, "'session' must be one that this server gave");
        return;
    }
    to = session.size ? gr_call_address(call, GR_KIND_LOGIN, session) : gr_uia_new_address(call);
    gr_json_print_without(&request, call->json, (const char *const[]){"auth", NULL});
    gr_login_uia uia = {.action = gr_str_c(action), .user = call->user, .device = call->device, .request = gr_buf_view(&request),
                        .auth = gr_json_is(auth, GR_JSON_OBJECT) ? gr_json_printed(call->arena, auth) : (gr_str){0},
                        .ip = call->peer, .agent = call->user_agent, .by_oauth = call->client.size > 0};
    uia.binding = gr_arena_printf(call->arena, "%s %" GR_FMT, method_name(call->method), GR_ARG(call->path));
    gr_call_ask_more(call, to, &gr_type_login_uia, &uia, then, 0, LOGIN_TIMEOUT_MS, false);
    explicit_bzero(request.ptr, request.size);
    gr_buf_free(&request);
}

/* Client-Server API, "OAuth 2.0 API": who is logged in by it does these things on the server's pages. */
static bool refused_by_oauth(gr_call *call)
{
    if (call->client.size)
        gr_call_fail_with(call, GR_FORBIDDEN, "This can't be done with a session of the OAuth 2.0 API: use the page that "
                                              "account_management_uri in /auth_metadata names");
    return call->client.size > 0;
}

void gr_uia_check(gr_call *call, void (*go)(gr_call *))
{
    if (!refused_by_oauth(call)) gr_uia_check_oauth(call, go);
}

void gr_uia_check_oauth(gr_call *call, void (*go)(gr_call *))
{
    waiting *w = gr_arena_alloc(call->arena, sizeof *w);
    w->go = go;
    call->state = w;
    ask(call, "check", checked);
}

void gr_uia_run_then(gr_call *call, const char *action, gr_call_then *then)
{
    if (!refused_by_oauth(call)) ask(call, action, then);
}

void gr_uia_run(gr_call *call, const char *action) { gr_uia_run_then(call, action, gr_uia_passed_on); }
