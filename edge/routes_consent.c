/* routes_consent.c - the pages on which a user allows a client in: authorisation requests, and codes of devices.
 *
 * RFC 6749 section 4.1, RFC 8628 section 3.3; Client-Server API, "Authorisation code flow", "Device authorisation flow".
 * Nothing is stored before the user has decided: a request stands whole in the address of the page.
 */
#include "edge/browser.h"
#include "edge/oauth.h"
#include "edge/routes.h"

#include "actors/oauth/grant.h"
#include "proto/uri.h"

enum { GRANT_BYTES = 18 };

/* --- authorisation requests -------------------------------------------------------------------------------- */
typedef struct {
    gr_str client, redirect_uri, state, challenge;
    bool by_fragment;
    gr_oauth_scope scope;
    const gr_json *metadata;
} request;

static gr_str param(const gr_call *call, const char *name) { return gr_oauth_field(&call->query, name); }

/* Back to the client with these parameters, already encoded. */
static void send_back(gr_call *call, const char *name, gr_str value, const char *text)
{
    const request *r = call->state;
    gr_arena *a = call->arena;
    bool has_query = gr_str_find(r->redirect_uri, '?') >= 0;
    const char *mark = r->by_fragment ? "#" : has_query ? "&" : "?";
    gr_str url = gr_arena_printf(a, "%" GR_FMT "%s%s=%" GR_FMT, GR_ARG(r->redirect_uri), mark, name,
                                 GR_ARG(gr_uri_encode(a, value)));
    if (text) url = gr_arena_cat(a, 3, (gr_str[]){url, GR_STR("&error_description="), gr_uri_encode(a, gr_str_c(text))});
    if (r->state.size) url = gr_arena_cat(a, 3, (gr_str[]){url, GR_STR("&state="), gr_uri_encode(a, r->state)});
    gr_page_redirect(call, url);
}

static void refuse(gr_call *call, const char *error, const char *text) { send_back(call, "error", gr_str_c(error), text); }

/* What is wrong with the request once it is known whom to tell. */
static gr_oauth_refusal check(gr_call *call, request *r)
{
    gr_str mode = param(call, "response_mode"), prompt = param(call, "prompt");
    const char *bad = gr_oauth_scope_read(call->arena, param(call, "scope"), &r->scope);
    r->challenge = param(call, "code_challenge");
    if (gr_oauth_twice(&call->query)) return (gr_oauth_refusal){"invalid_request", "A parameter is there twice"};
    if (!gr_str_is(param(call, "response_type"), "code"))
        return (gr_oauth_refusal){"unsupported_response_type", "'response_type' must be code"};
    if (mode.size && !r->by_fragment && !gr_str_is(mode, "query"))
        return (gr_oauth_refusal){"invalid_request", "'response_mode' must be query or fragment"};
    if (!gr_str_is(param(call, "code_challenge_method"), "S256") || !gr_oauth_challenge(r->challenge))
        return (gr_oauth_refusal){"invalid_request", "A proof key is needed: 'code_challenge' with the method S256"};
    if (bad) return (gr_oauth_refusal){"invalid_scope", bad};
    if (!gr_oauth_client_may(r->metadata, "authorization_code"))
        return (gr_oauth_refusal){"unauthorized_client", "This client has not registered for the authorisation code grant"};
    if (gr_str_is(prompt, "none")) return (gr_oauth_refusal){"interaction_required", "The user has to be asked"};
    return (gr_oauth_refusal){NULL, NULL};
}

static void links_page(gr_page *page, const gr_json *metadata)
{
    gr_str tos = gr_json_text(metadata, "tos_uri"), policy = gr_json_text(metadata, "policy_uri");
    if (tos.size) gr_page_link(page, tos, GR_SAY(consent_tos));
    if (policy.size) gr_page_link(page, policy, GR_SAY(consent_policy));
}

static void buttons(gr_page *page, gr_call *call)
{
    gr_page_hidden(page, "user", call->user);
    gr_page_button(page, GR_SAY(consent_allow), "decision", GR_STR("allow"));
    gr_page_button(page, GR_SAY(cancel), "decision", GR_STR("cancel"));
    gr_page_end_form(page);
    gr_page_link(page, gr_browser_other_account(call, gr_browser_here(call, NULL)), GR_SAY(consent_other));
}

static void consent_page(gr_call *call)
{
    const request *r = call->state;
    gr_page page = gr_page_begin(call, GR_SAY(consent_title, gr_oauth_client_name(r->metadata)));
    gr_page_para(&page, GR_SAY(consent_as, call->user));
    gr_page_para(&page, GR_SAY(consent_what, gr_oauth_client_name(r->metadata),
                               gr_oauth_uri_where(gr_json_text(r->metadata, "client_uri"))));
    gr_page_para(&page, GR_SAY(consent_where, gr_oauth_uri_where(r->redirect_uri)));
    links_page(&page, r->metadata);
    gr_page_form(&page, gr_browser_here(call, NULL));
    gr_page_form_target(&page, r->redirect_uri);
    buttons(&page, call);
    gr_page_send(&page, 200);
}

static void told_code(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else send_back(call, "code", gr_call_keep(call, ((const gr_grant_made *)answer->body)->code), NULL);
}

static void allow(gr_call *call)
{
    const request *r = call->state;
    gr_grant_code m = {.client = r->client, .client_name = gr_oauth_client_name(r->metadata), .redirect_uri = r->redirect_uri,
                       .scope = r->scope.granted, .device = r->scope.device, .user = call->user, .challenge = r->challenge,
                       .provider = call->signed_in->provider, .session = call->signed_in->session,
                       .subject = call->signed_in->subject};
    gr_str to = gr_call_address(call, GR_KIND_GRANT, gr_call_new_id(call, GRANT_BYTES));
    gr_call_ask(call, to, &gr_type_grant_code, &m, told_code);
}

/* Who was signed in to another account meanwhile is asked again. */
static void decide(gr_call *call)
{
    bool same_user = gr_str_eq(gr_page_posted(call, "user"), call->user);
    gr_str decision = gr_page_posted(call, "decision");
    if (gr_str_is(decision, "cancel")) refuse(call, "access_denied", "The user has refused");
    else if (same_user && gr_str_is(decision, "allow")) allow(call);
    else consent_page(call);
}

static void told_client(gr_call *call, const gr_answer *answer)
{
    request *r = call->state;
    gr_str prompt = param(call, "prompt");
    if (!gr_oauth_client_told(call, answer, &r->metadata)) return;
    if (!r->metadata) {
        gr_page_error(call, 400, GR_SAY(consent_client_unknown));
        return;
    }
    if (!gr_oauth_redirect_known(r->metadata, r->redirect_uri)) {
        gr_page_error(call, 400, GR_SAY(consent_redirect_unknown));
        return;
    }
    gr_oauth_refusal refusal = check(call, r);
    if (refusal.error) refuse(call, refusal.error, refusal.text);
    else if (call->method == GR_HTTP_POST) gr_browser_need(call, GR_BROWSER_ANY, decide);
    else if (gr_str_is(prompt, "create")) gr_browser_register(call, gr_browser_here(call, "prompt"));
    else if (gr_str_is(prompt, "login")) gr_browser_sign_in(call, gr_browser_here(call, "prompt"));
    else gr_browser_need(call, GR_BROWSER_ANY, consent_page);
}

static void serve_authorize(gr_call *call)
{
    if (!gr_oauth_is_on(call)) return;
    request *r = call->state = gr_arena_alloc(call->arena, sizeof *r);
    *r = (request){.client = param(call, "client_id"), .redirect_uri = param(call, "redirect_uri"),
                   .state = param(call, "state"), .by_fragment = gr_str_is(param(call, "response_mode"), "fragment")};
    if (r->state.size > GR_OAUTH_STATE_MAX) gr_page_error(call, 400, GR_SAY(error_request));
    else if (!gr_oauth_ask_client(call, r->client, told_client)) gr_page_error(call, 400, GR_SAY(consent_client_unknown));
}

/* --- codes of devices -------------------------------------------------------------------------------------- */
typedef struct { gr_str user_code, client, device; } link_request;

static void code_page(gr_call *call, gr_page_say alert)
{
    gr_page page = gr_page_begin(call, GR_SAY(link_title));
    if (alert.text) gr_page_alert(&page, alert);
    gr_page_para(&page, GR_SAY(link_hint));
    gr_page_form(&page, GR_STR(GR_OAUTH_LINK));
    gr_page_input(&page, &(gr_page_field){.name = "user_code", .label = GR_SAY(link_code), .autocomplete = "one-time-code",
                                          .required = true, .focus = true});
    gr_page_button(&page, GR_SAY(go_on), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_send(&page, alert.text ? 404 : 200);
}

static void link_page(gr_call *call, const gr_answer *answer)
{
    const gr_json *metadata = NULL;
    const link_request *r = call->state;
    if (!gr_oauth_client_told(call, answer, &metadata)) return;
    if (!metadata) {
        code_page(call, GR_SAY(link_unknown));
        return;
    }
    gr_page page = gr_page_begin(call, GR_SAY(consent_title, gr_oauth_client_name(metadata)));
    gr_page_para(&page, GR_SAY(link_compare));
    gr_page_code(&page, gr_grant_user_code_shown(call->arena, r->user_code));
    gr_page_para(&page, GR_SAY(consent_as, call->user));
    gr_page_para(&page, GR_SAY(consent_what, gr_oauth_client_name(metadata),
                               gr_oauth_uri_where(gr_json_text(metadata, "client_uri"))));
    gr_page_para(&page, GR_SAY(link_warning));
    links_page(&page, metadata);
    gr_page_form(&page, gr_browser_here(call, NULL));
    buttons(&page, call);
    gr_page_send(&page, 200);
}

static void told_waiting(gr_call *call, const gr_answer *answer)
{
    link_request *r = call->state;
    if (answer->err.code == GR_NOT_FOUND) {
        code_page(call, GR_SAY(link_unknown));
        return;
    }
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    const gr_grant_is *is = answer->body;
    r->client = gr_call_keep(call, is->client);
    if (!gr_oauth_ask_client(call, r->client, link_page)) code_page(call, GR_SAY(link_unknown));
}

static void look(gr_call *call)
{
    const link_request *r = call->state;
    if (param(call, "user_code").size == 0) code_page(call, (gr_page_say){0});
    else if (r->user_code.size == 0) code_page(call, GR_SAY(link_unknown));
    else gr_call_ask(call, gr_call_address(call, GR_KIND_GRANT, r->user_code), &gr_type_grant_look, &(gr_grant_look){0},
                     told_waiting);
}

static void told_allowed(gr_call *call, const gr_answer *answer)
{
    if (answer->err.code == GR_NOT_FOUND) {
        code_page(call, GR_SAY(link_unknown));
        return;
    }
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    bool allowed = gr_str_is(gr_page_posted(call, "decision"), "allow");
    gr_page page = gr_page_begin(call, allowed ? GR_SAY(link_done_title) : GR_SAY(link_denied_title));
    gr_page_para(&page, allowed ? GR_SAY(link_done) : GR_SAY(link_denied));
    gr_page_send(&page, 200);
}

static void decide_link(gr_call *call)
{
    const link_request *r = call->state;
    gr_str decision = gr_page_posted(call, "decision"), typed = gr_page_posted(call, "user_code");
    bool allowed = gr_str_is(decision, "allow") && gr_str_eq(gr_page_posted(call, "user"), call->user);
    if (typed.size) {
        gr_page_redirect(call, gr_arena_cat(call->arena, 2, (gr_str[]){GR_STR(GR_OAUTH_LINK "?user_code="),
                                                                       gr_uri_encode(call->arena, typed)}));
        return;
    }
    if (r->user_code.size == 0 || (!allowed && !gr_str_is(decision, "cancel"))) {
        look(call);
        return;
    }
    gr_grant_decide m = {.user = call->user, .allowed = allowed, .provider = call->signed_in->provider,
                         .session = call->signed_in->session, .subject = call->signed_in->subject};
    gr_call_ask(call, gr_call_address(call, GR_KIND_GRANT, r->user_code), &gr_type_grant_decide, &m, told_allowed);
}

static void serve_link(gr_call *call)
{
    if (!gr_oauth_is_on(call)) return;
    link_request *r = call->state = gr_arena_alloc(call->arena, sizeof *r);
    r->user_code = gr_grant_user_code_read(call->arena, param(call, "user_code"));
    gr_browser_need(call, GR_BROWSER_ANY, call->method == GR_HTTP_POST ? decide_link : look);
}

/* Codes of devices are short: who tries them is slowed down like who tries passwords. */
const gr_call_route gr_routes_consent[] = {
    {GR_HTTP_GET, GR_OAUTH_AUTHORIZE, GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_authorize, .page = true},
    {GR_HTTP_POST, GR_OAUTH_AUTHORIZE, GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_READ, serve_authorize, .page = true},
    {GR_HTTP_GET, GR_OAUTH_LINK, GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_LOGIN, serve_link, .page = true},
    {GR_HTTP_POST, GR_OAUTH_LINK, GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_link, .page = true},
    {.pattern = NULL}};
