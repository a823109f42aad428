/* browser.c - signing in to pages, registering, signing out. See browser.h. */
#include "edge/browser.h"
#include "edge/cookie.h"
#include "edge/oauth.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "actors/login/login_token.h"
#include "actors/token/token.h"
#include "proto/token.h"
#include "proto/uri.h"

#define COOKIE "gr_signed_in"
#define SIGN_IN "/_greenroom/sign_in"
#define REGISTER "/_matrix/static/client/register/"
#define OURS "/_greenroom/"
#define WAY_BACK SIGN_IN "/token"
#define PROOF "sign in"

enum { LOGIN_TIMEOUT_MS = 30000, THEN_MAX = 8192 };

/* --- where to go on ---------------------------------------------------------------------------------------- */
gr_str gr_browser_here(gr_call *call, const char *without)
{
    gr_buf out = {0};
    char mark = '?';
    gr_buf_str(&out, call->path);
    for (size_t i = 0; i < call->query.count; i++) {
        const gr_http_header *pair = &call->query.at[i];
        if (without && gr_str_is(pair->name, without)) continue;
        gr_buf_char(&out, mark);
        gr_buf_str(&out, gr_uri_encode(call->arena, pair->name));
        gr_buf_char(&out, '=');
        gr_buf_str(&out, gr_uri_encode(call->arena, pair->value));
        mark = '&';
    }
    gr_str here = gr_call_keep(call, gr_buf_view(&out));
    gr_buf_free(&out);
    return here;
}

static gr_str with_then(gr_call *call, const char *path, gr_str then)
{
    return gr_arena_cat(call->arena, 3, (gr_str[]){gr_str_c(path), GR_STR("?then="), gr_uri_encode(call->arena, then)});
}

gr_str gr_browser_other_account(gr_call *call, gr_str then) { return with_then(call, SIGN_IN, then); }
void gr_browser_sign_in(gr_call *call, gr_str then) { gr_page_redirect(call, with_then(call, SIGN_IN, then)); }
void gr_browser_register(gr_call *call, gr_str then) { gr_page_redirect(call, with_then(call, REGISTER, then)); }

/* Where the page that needs a sign-in is: one of our own pages, whoever wrote the link. */
static gr_str then_of(gr_call *call)
{
    gr_str then = gr_oauth_field(&call->query, "then");
    bool ours = gr_str_starts(then, GR_STR(OURS)) && then.size <= THEN_MAX && gr_str_find(then, '\\') < 0;
    return ours ? then : GR_STR(GR_OAUTH_ACCOUNT);
}

/* --- who is signed in -------------------------------------------------------------------------------------- */
typedef struct { void *state; void (*go)(gr_call *); gr_browser_age age; } needing;

static void told_browser(gr_call *call, const gr_answer *answer)
{
    const needing *n = call->state;
    call->state = n->state;
    if (gr_failed(answer->err) && answer->err.code != GR_UNKNOWN_TOKEN) {
        gr_call_fail(call, answer->err);
        return;
    }
    const gr_browser_is *is = gr_failed(answer->err) ? NULL : answer->body;
    bool is_old = is && n->age == GR_BROWSER_FRESH && is->made_ms + GR_BROWSER_FRESH_MS < call->now_ms;
    if (!is || is_old) {
        gr_browser_sign_in(call, gr_browser_here(call, NULL));
        return;
    }
    gr_browser_is *kept = gr_arena_alloc(call->arena, sizeof *kept);
    *kept = (gr_browser_is){.user = gr_call_keep(call, is->user), .made_ms = is->made_ms,
                            .provider = gr_call_keep(call, is->provider), .session = gr_call_keep(call, is->session),
                            .subject = gr_call_keep(call, is->subject)};
    call->signed_in = kept;
    call->user = kept->user;
    n->go(call);
}

/* The token in the cookie: which index knows it, and its hash.  False: there is none. */
static bool cookie_token(gr_call *call, gr_str *index, gr_str *hash)
{
    gr_str token;
    uint8_t shard = 0;
    unsigned char bytes[GR_TOKEN_HASH];
    if (!gr_cookie_get(call, COOKIE, &token) || !gr_token_read(token, GR_TOKEN_BROWSER, &shard)) return false;
    gr_token_hash(token, bytes);
    *hash = gr_call_keep(call, gr_str_of(bytes, sizeof bytes));
    *index = gr_address_of_shard(call->arena, GR_KIND_TOKEN, shard);
    return true;
}

void gr_browser_need(gr_call *call, gr_browser_age age, void (*go)(gr_call *))
{
    gr_str index, hash;
    if (!cookie_token(call, &index, &hash)) {
        gr_browser_sign_in(call, gr_browser_here(call, NULL));
        return;
    }
    needing *n = gr_arena_alloc(call->arena, sizeof *n);
    *n = (needing){call->state, go, age};
    call->state = n;
    gr_call_ask(call, index, &gr_type_browser_look, &(gr_browser_look){.hash = hash}, told_browser);
}

static void begun(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_cookie_set(call, COOKIE, ((const gr_token_pair *)answer->body)->access, GR_TOKEN_BROWSER_MS);
    gr_page_redirect(call, then_of(call));
}

bool gr_browser_goes_on(gr_call *call) { return gr_oauth_field(&call->query, "then").size > 0; }

void gr_browser_go_on(gr_call *call, const gr_browser_begin *m)
{
    gr_call_ask(call, gr_address_of_shard(call->arena, GR_KIND_TOKEN, gr_id_shard(m->user)), &gr_type_browser_begin, m, begun);
}

/* --- signing in -------------------------------------------------------------------------------------------- */
/* The way to an identity provider and back to WAY_BACK, with a login token.  The proof is good for this browser only: nobody
 * is signed in by a link as somebody else. */
static void put_providers(gr_page *page)
{
    gr_call *call = page->call;
    const gr_config_providers *all = &gr_call_config(call)->sso_providers;
    gr_arena *a = call->arena;
    gr_str proof = gr_cookie_seal(call, PROOF, call->browser, GR_PAGE_FORM_MS);
    gr_str back = gr_arena_cat(a, 4, (gr_str[]){gr_call_base_url(call), with_then(call, WAY_BACK, then_of(call)),
                                                GR_STR("&proof="), proof});
    for (size_t i = 0; i < all->count; i++) {
        gr_str to = gr_arena_printf(a, "/_matrix/client/v3/login/sso/redirect/%s?redirectUrl=%" GR_FMT, all->at[i].id,
                                    GR_ARG(gr_uri_encode(a, back)));
        gr_page_choice(page, to, GR_SAY(choose_with, gr_str_c(all->at[i].name)));
    }
}

bool gr_browser_is_way_back(const gr_call *call, gr_str url)
{
    gr_str base = gr_call_base_url(call);
    gr_str path = gr_str_from(url, base.size);
    return gr_call_config(call)->oauth && gr_str_starts(url, base) && gr_str_starts(path, GR_STR(WAY_BACK "?"));
}

static void sign_in_page(gr_call *call, gr_page_say alert, int status)
{
    gr_page page = gr_page_begin(call, GR_SAY(login_title, gr_call_server_name(call)));
    if (alert.text) gr_page_alert(&page, alert);
    gr_page_form(&page, with_then(call, SIGN_IN, then_of(call)));
    gr_page_input(&page, &(gr_page_field){.name = "username", .label = gr_page_user_label(call), .autocomplete = "username",
                                          .value = gr_page_posted(call, "username"), .required = true, .focus = true});
    gr_page_input(&page, &(gr_page_field){.name = "password", .type = "password", .label = GR_SAY(password),
                                          .autocomplete = "current-password", .required = true});
    gr_page_button(&page, GR_SAY(login_button), NULL, (gr_str){0});
    gr_page_end_form(&page);
    put_providers(&page);
    if (gr_call_config(call)->registration != GR_CONFIG_REGISTRATION_CLOSED)
        gr_page_link(&page, with_then(call, REGISTER, then_of(call)), GR_SAY(sign_in_to_register));
    gr_page_send(&page, status);
}

static void serve_sign_in(gr_call *call)
{
    if (gr_oauth_is_on(call)) sign_in_page(call, GR_SAY(none), 200);
}

static void told_verified(gr_call *call, const gr_answer *answer)
{
    if (!gr_failed(answer->err) && answer->type == &gr_type_login_proved) {
        const gr_login_proved *is = answer->body;
        gr_browser_go_on(call, &(gr_browser_begin){.user = is->user, .provider = is->provider, .session = is->session,
                                                   .subject = is->subject});
    } else if (!gr_failed(answer->err)) gr_page_error(call, 403, GR_SAY(error_stale));
    else if (answer->err.code == GR_FORBIDDEN) sign_in_page(call, GR_SAY(login_failed), 403);
    else if (answer->err.code == GR_LIMIT_EXCEEDED) sign_in_page(call, GR_SAY(login_wait), 429);
    else gr_call_fail(call, answer->err);
}

static void post_sign_in(gr_call *call)
{
    if (!gr_oauth_is_on(call)) return;
    gr_login_password m = gr_uia_typed(call, gr_page_posted(call, "username"), gr_page_posted(call, "password"));
    m.verify_only = true;
    gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_password, &m, told_verified, 0, LOGIN_TIMEOUT_MS, false);
}

/* Back from an identity provider. */
static void serve_way_back(gr_call *call)
{
    gr_str token = gr_oauth_field(&call->query, "loginToken"), browser, content;
    gr_login_token m = {.ip = call->peer, .agent = call->user_agent, .verify_only = true};
    uint8_t shard;
    if (!gr_oauth_is_on(call)) return;
    bool is_mine = gr_cookie_get(call, GR_PAGE_FORM_COOKIE, &browser)
        && gr_cookie_open(call, PROOF, gr_oauth_field(&call->query, "proof"), &content) && gr_str_eq(content, browser);
    if (!is_mine || !gr_token_read(token, GR_TOKEN_LOGIN, &shard)) gr_page_error(call, 403, GR_SAY(error_stale));
    else gr_call_ask(call, gr_login_token_address(call->arena, token), &gr_type_login_token, &m, told_verified);
}

/* --- signing out ------------------------------------------------------------------------------------------- */
static void ended(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_cookie_drop(call, COOKIE);
    gr_page page = gr_page_begin(call, GR_SAY(signed_out_title));
    gr_page_para(&page, GR_SAY(signed_out));
    gr_page_link(&page, GR_STR(GR_OAUTH_ACCOUNT), GR_SAY(sign_in_again));
    gr_page_send(&page, 200);
}

static void post_sign_out(gr_call *call)
{
    gr_str index, hash;
    if (!cookie_token(call, &index, &hash)) ended(call, &(gr_answer){.type = &gr_type_done});
    else gr_call_ask(call, index, &gr_type_browser_end, &(gr_browser_end){.hash = hash}, ended);
}

#define PAGE GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ
#define FORM GR_CALL_NO_TOKEN, GR_CALL_FORM

const gr_call_route gr_routes_browser[] = {
    {GR_HTTP_GET, SIGN_IN, PAGE, serve_sign_in, .page = true},
    {GR_HTTP_POST, SIGN_IN, FORM, GR_RATE_LOGIN, post_sign_in, .page = true},
    {GR_HTTP_GET, WAY_BACK, GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_LOGIN, serve_way_back, .page = true},
    {GR_HTTP_POST, "/_greenroom/sign_out", FORM, GR_RATE_READ, post_sign_out, .page = true},
    {.pattern = NULL}};
