/* routes_sso.c - single sign-on: the browser's way to an identity provider and back. Client-Server API, "SSO client login"
 * and "Single Sign-On" of user-interactive authentication; OpenID Connect Back-Channel Logout; CAS single logout.
 *
 * The login actor of the flow decides (actors/login/sso.h); here are pages, redirects and the cookie.  The cookie holds the
 * flows that this browser began: a flow of another browser finds nothing, so nobody can be logged in as somebody else by a
 * link.
 */
#include "edge/auth_count.h"
#include "edge/cookie.h"
#include "edge/browser.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "actors/login/sso.h"
#include "proto/cas.h"
#include "proto/ident.h"
#include "proto/uri.h"

#define V3 "/_matrix/client/(r0|v3)"
#define SSO "/_greenroom/sso"
#define COOKIE "gr_sso"

enum { FLOW_BYTES = 18, FLOW_SIZE_MAX = 64, FLOWS_MAX = 4, SSO_TIMEOUT_MS = 40000 };

/* --- the flows of this browser ----------------------------------------------------------------------------- */
static bool is_mine(gr_call *call, gr_str flow)
{
    gr_str rest;
    if (!gr_ident_opaque(flow) || flow.size > FLOW_SIZE_MAX || !gr_cookie_get(call, COOKIE, &rest)) return false;
    while (rest.size) {
        ptrdiff_t end = gr_str_find(rest, ' ');
        gr_str one = end < 0 ? rest : gr_str_head(rest, (size_t)end);
        if (gr_str_eq(one, flow)) return true;
        rest = gr_str_from(rest, one.size + 1);
    }
    return false;
}

/* The newest first, so many that tabs beside each other don't disturb one another. */
static void add_flow(gr_call *call, gr_str flow)
{
    gr_str old, kept = {0};
    gr_cookie_get(call, COOKIE, &old);
    unsigned count = 1;
    for (size_t i = 0; i <= old.size && count < FLOWS_MAX; i++)
        if (i == old.size || old.ptr[i] == ' ') {
            kept = gr_str_head(old, i);
            count++;
        }
    gr_str all = gr_arena_cat(call->arena, 3, (gr_str[]){flow, kept.size ? GR_STR(" ") : GR_STR(""), kept});
    gr_cookie_set(call, COOKIE, all, GR_SSO_FLOW_MS);
}

/* Asks the flow, if it is one of this browser. */
static void ask_flow(gr_call *call, gr_str flow, const gr_type *type, const void *body, gr_call_then *then)
{
    if (is_mine(call, flow)) {
        call->state = gr_arena_alloc(call->arena, sizeof(gr_str));
        *(gr_str *)call->state = flow;
        gr_call_ask_more(call, gr_call_address(call, GR_KIND_LOGIN, flow), type, body, then, 0, SSO_TIMEOUT_MS, false);
    } else gr_page_error(call, 403, GR_SAY(error_stale));
}

static gr_str flow_of(const gr_call *call) { return *(const gr_str *)call->state; }

static gr_str flow_path(gr_call *call, const char *page)
{
    return gr_arena_printf(call->arena, SSO "/%s?flow=%" GR_FMT, page, GR_ARG(gr_uri_encode(call->arena, flow_of(call))));
}

/* --- to the provider --------------------------------------------------------------------------------------- */
static void told_go(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    add_flow(call, flow_of(call));
    gr_page_redirect(call, ((const gr_sso_go *)answer->body)->url);
}

static void begin(gr_call *call, const gr_sso_begin *m)
{
    gr_str *flow = call->state = gr_arena_alloc(call->arena, sizeof *flow);
    *flow = gr_call_new_id(call, FLOW_BYTES);
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_LOGIN, *flow), &gr_type_sso_begin, m, told_go, 0, SSO_TIMEOUT_MS, false);
}

/* The client's address, and whether the person wants a new account there; another action than "register" is "login". */
static bool want_redirect(gr_call *call, gr_sso_begin *m)
{
    gr_str action;
    bool good = gr_call_query(call, "redirectUrl", &m->redirect_url) && gr_page_url_good(m->redirect_url);
    m->registers = gr_call_query(call, "action", &action) && gr_str_is(action, "register");
    if (!good) gr_page_error(call, 400, GR_SAY(sso_bad_url));
    return good;
}

static void serve_provider(gr_call *call)
{
    gr_sso_begin m = {.provider = gr_call_param(call, "idpId")};
    if (want_redirect(call, &m)) begin(call, &m);
}

static void serve_choose(gr_call *call)
{
    const gr_config_providers *all = &gr_call_config(call)->sso_providers;
    gr_sso_begin m = {0};
    if (!want_redirect(call, &m)) return;
    if (all->count == 0) {
        gr_page_error(call, 404, GR_SAY(sso_none));
        return;
    }
    if (all->count == 1) {
        m.provider = gr_str_c(all->at[0].id);
        begin(call, &m);
        return;
    }
    gr_page page = m.registers ? gr_page_begin(call, GR_SAY(register_title, gr_call_server_name(call)))
                               : gr_page_begin(call, GR_SAY(choose_title, gr_call_server_name(call)));
    gr_page_para(&page, GR_SAY(choose_hint));
    for (size_t i = 0; i < all->count; i++) {
        gr_str to = gr_arena_printf(call->arena, "/_matrix/client/v3/login/sso/redirect/%s?redirectUrl=%" GR_FMT "%s",
                                    all->at[i].id, GR_ARG(gr_uri_encode(call->arena, m.redirect_url)),
                                    m.registers ? "&action=register" : "");
        gr_page_choice(&page, to, GR_SAY(choose_with, gr_str_c(all->at[i].name)));
    }
    gr_page_send(&page, 200);
}

/* --- the way back ------------------------------------------------------------------------------------------ */
/* "https://app.example.org" stands for itself and what begins with it and "/", "?" or "#". */
static bool is_trusted(const gr_call *call, gr_str url)
{
    const gr_config_list *list = &gr_call_config(call)->sso_trusted_clients;
    if (gr_browser_is_way_back(call, url)) return true;
    for (size_t i = 0; i < list->count; i++) {
        gr_str one = gr_str_c(list->at[i]);
        if (one.size == 0 || !gr_str_starts(url, one)) continue;
        if (url.size == one.size || one.ptr[one.size - 1] == '/' || strchr("/?#", url.ptr[one.size])) return true;
    }
    return false;
}

static void done_page(gr_call *call)
{
    gr_page page = gr_page_begin(call, GR_SAY(uia_done_title));
    gr_page_para(&page, GR_SAY(uia_done));
    gr_page_run(&page, GR_PAGE_SCRIPT_AUTH_DONE);
    gr_page_send(&page, 200);
}

static void told_finished(gr_call *call, const gr_answer *answer)
{
    const gr_sso_is *is = answer->body;
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else if (is->uia) done_page(call);
    else gr_page_redirect(call, is->url);
}

/* A new name is asked for, the way back is to be confirmed, or there is nothing more to ask. */
static void told_back(gr_call *call, const gr_answer *answer)
{
    const gr_sso_is *is = answer->body;
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    if (is->registered && is->step == GR_SSO_READY) gr_auth_count_registration(call->edge, is->provider);
    if (is->step == GR_SSO_NAMING) gr_page_redirect(call, flow_path(call, "name"));
    else if (is->uia || !is_trusted(call, is->url)) gr_page_redirect(call, flow_path(call, "confirm"));
    else ask_flow(call, flow_of(call), &gr_type_sso_finish, &(gr_sso_finish){0}, told_finished);
}

static gr_str query_of(gr_call *call, const char *name)
{
    gr_str value;
    return gr_call_query(call, name, &value) ? value : GR_STR("");
}

static void serve_callback(gr_call *call)
{
    gr_sso_back m = {.provider = gr_call_param(call, "idpId"), .code = query_of(call, "code"), .issuer = query_of(call, "iss"),
                     .error = query_of(call, "error")};
    if (m.code.size == 0) m.code = query_of(call, "ticket");
    ask_flow(call, query_of(call, "state"), &gr_type_sso_back, &m, told_back);
}

/* --- picking a name ---------------------------------------------------------------------------------------- */
static void name_page(gr_call *call, const gr_sso_is *is)
{
    gr_page page = gr_page_begin(call, GR_SAY(name_title));
    gr_page_para(&page, GR_SAY(name_hint, gr_call_server_name(call)));
    if (is->problem == GR_SSO_NAME_TAKEN) gr_page_alert(&page, GR_SAY(name_taken, is->localpart));
    if (is->problem == GR_SSO_NAME_BAD && is->localpart.size) gr_page_alert(&page, GR_SAY(name_bad));
    gr_page_form(&page, flow_path(call, "name"));
    gr_page_input(&page, &(gr_page_field){.name = "username", .autocomplete = "username", .label = GR_SAY(user_name),
                                          .hint = GR_SAY(name_rules), .value = is->localpart, .required = true, .focus = true});
    gr_page_button(&page, GR_SAY(go_on), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_form_target(&page, is->url);
    gr_page_send(&page, is->problem ? 400 : 200);
}

static void told_named(gr_call *call, const gr_answer *answer)
{
    const gr_sso_is *is = answer->body;
    if (!gr_failed(answer->err) && is->step == GR_SSO_NAMING) name_page(call, is);
    else told_back(call, answer);
}

static void told_name(gr_call *call, const gr_answer *answer)
{
    const gr_sso_is *is = answer->body;
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else if (is->step == GR_SSO_NAMING) name_page(call, is);
    else gr_page_redirect(call, flow_path(call, "confirm"));
}

static void serve_name(gr_call *call)
{
    ask_flow(call, query_of(call, "flow"), &gr_type_sso_look, &(gr_sso_look){0}, told_name);
}

static void serve_named(gr_call *call)
{
    gr_sso_name m = {.localpart = gr_page_posted(call, "username")};
    ask_flow(call, query_of(call, "flow"), &gr_type_sso_name, &m, told_named);
}

/* --- confirming -------------------------------------------------------------------------------------------- */
/* "scheme://host:port" of an address; all of it when it has no host. */
static gr_str place_of(gr_str url)
{
    size_t slashes = 0, end = 0;
    while (end < url.size && (slashes += url.ptr[end] == '/') < 3 && !strchr("?#", url.ptr[end])) end++;
    return gr_str_head(url, end);
}

static void confirm_page(gr_call *call, const gr_sso_is *is)
{
    gr_page page = gr_page_begin(call, is->uia ? GR_SAY(uia_title) : GR_SAY(confirm_title));
    gr_page_para(&page, GR_SAY(confirm_who));
    gr_page_code(&page, is->user);
    gr_page_para(&page, is->uia ? GR_SAY(uia_hint) : GR_SAY(confirm_where));
    if (!is->uia) gr_page_code(&page, place_of(is->url));
    gr_page_form(&page, flow_path(call, "confirm"));
    gr_page_button(&page, is->uia ? GR_SAY(uia_confirm) : GR_SAY(go_on), NULL, (gr_str){0});
    gr_page_end_form(&page);
    if (!is->uia) gr_page_form_target(&page, is->url);
    gr_page_send(&page, 200);
}

static void told_confirm(gr_call *call, const gr_answer *answer)
{
    const gr_sso_is *is = answer->body;
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else if (is->step == GR_SSO_NAMING) gr_page_redirect(call, flow_path(call, "name"));
    else confirm_page(call, is);
}

static void serve_confirm(gr_call *call)
{
    ask_flow(call, query_of(call, "flow"), &gr_type_sso_look, &(gr_sso_look){0}, told_confirm);
}

static void serve_confirmed(gr_call *call)
{
    ask_flow(call, query_of(call, "flow"), &gr_type_sso_finish, &(gr_sso_finish){0}, told_finished);
}

/* --- the stage m.login.sso --------------------------------------------------------------------------------- */
static void told_stage(gr_call *call, const gr_answer *answer)
{
    const gr_login_stage_is *is = answer->body;
    const gr_config_providers *all = &gr_call_config(call)->sso_providers;
    gr_str provider = query_of(call, "provider"), session = query_of(call, "session");
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    if (is->done) {
        done_page(call);
        return;
    }
    if (provider.size) {
        begin(call, &(gr_sso_begin){.provider = provider, .uia = session, .uia_user = is->user});
        return;
    }
    gr_page page = gr_page_begin(call, GR_SAY(uia_title));
    gr_page_para(&page, GR_SAY(uia_hint));
    for (size_t i = 0; i < all->count; i++) {
        gr_str to = gr_arena_printf(call->arena, "%" GR_FMT "?session=%" GR_FMT "&provider=%s", GR_ARG(call->path),
                                    GR_ARG(gr_uri_encode(call->arena, session)), all->at[i].id);
        gr_page_choice(&page, to, GR_SAY(choose_with, gr_str_c(all->at[i].name)));
    }
    gr_page_send(&page, 200);
}

static void serve_stage(gr_call *call)
{
    gr_str session = query_of(call, "session");
    if (!gr_ident_opaque(session) || session.size > FLOW_SIZE_MAX) {
        gr_page_error(call, 400, GR_SAY(error_request));
        return;
    }
    gr_login_stage m = {.stage = GR_STR("m.login.sso"), .ip = call->peer};
    gr_call_ask(call, gr_call_address(call, GR_KIND_LOGIN, session), &gr_type_login_stage, &m, told_stage);
}

/* --- providers that end sessions --------------------------------------------------------------------------- */
static void told_logout(gr_call *call, const gr_answer *answer)
{
    static const gr_http_header no_store = {{"Cache-Control", 13}, {"no-store", 8}};
    if (answer->err.code == GR_FORBIDDEN) gr_call_fail_status(call, 400, answer->err, (gr_str){0});
    else if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else gr_call_reply(call, &(gr_http_answer){.status = 200, .headers = &no_store, .header_count = 1});
}

static void end_session(gr_call *call, const gr_provider_logout *m)
{
    gr_str to = gr_call_address(call, GR_KIND_PROVIDER, gr_call_param(call, "idpId"));
    gr_call_ask_more(call, to, &gr_type_provider_logout, m, told_logout, 0, SSO_TIMEOUT_MS, false);
}

static bool is_provider(gr_call *call, gr_config_provider_kind kind)
{
    const gr_config_providers *all = &gr_call_config(call)->sso_providers;
    for (size_t i = 0; i < all->count; i++)
        if (gr_str_is(gr_call_param(call, "idpId"), all->at[i].id) && all->at[i].kind == kind) return true;
    gr_call_fail_with(call, GR_NOT_FOUND, "There is no such identity provider");
    return false;
}

static void serve_backchannel(gr_call *call)
{
    gr_provider_logout m = {.token = gr_page_posted(call, "logout_token")};
    if (!is_provider(call, GR_CONFIG_PROVIDER_OIDC)) return;
    if (m.token.size) end_session(call, &m);
    else gr_call_fail_with(call, GR_MISSING_PARAM, "Missing 'logout_token'");
}

static void serve_cas_logout(gr_call *call)
{
    gr_provider_logout m = {.session = gr_cas_logout_session(call->arena, gr_page_posted(call, "logoutRequest"))};
    if (!is_provider(call, GR_CONFIG_PROVIDER_CAS)) return;
    if (m.session.size) end_session(call, &m);
    else gr_call_fail_with(call, GR_INVALID_PARAM, "'logoutRequest' names no session");
}

#define PAGE(method, path, body, rate, serve) {method, path, GR_CALL_NO_TOKEN, body, rate, serve, .page = true}

const gr_call_route gr_routes_sso[] = {
    PAGE(GR_HTTP_GET, V3 "/login/sso/redirect", GR_CALL_NO_BODY, GR_RATE_LOGIN, serve_choose),
    PAGE(GR_HTTP_GET, V3 "/login/sso/redirect/{idpId}", GR_CALL_NO_BODY, GR_RATE_LOGIN, serve_provider),
    PAGE(GR_HTTP_GET, SSO "/callback/{idpId}", GR_CALL_NO_BODY, GR_RATE_LOGIN, serve_callback),
    PAGE(GR_HTTP_GET, SSO "/name", GR_CALL_NO_BODY, GR_RATE_READ, serve_name),
    PAGE(GR_HTTP_POST, SSO "/name", GR_CALL_FORM, GR_RATE_LOGIN, serve_named),
    PAGE(GR_HTTP_GET, SSO "/confirm", GR_CALL_NO_BODY, GR_RATE_READ, serve_confirm),
    PAGE(GR_HTTP_POST, SSO "/confirm", GR_CALL_FORM, GR_RATE_LOGIN, serve_confirmed),
    PAGE(GR_HTTP_GET, V3 "/auth/m.login.sso/fallback/web", GR_CALL_NO_BODY, GR_RATE_LOGIN, serve_stage),
    {GR_HTTP_POST, SSO "/callback/{idpId}", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_cas_logout},
    {GR_HTTP_POST, SSO "/backchannel/{idpId}", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_backchannel},
    {.pattern = NULL}};
