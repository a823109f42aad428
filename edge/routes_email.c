/* routes_email.c - email addresses: showing that one is yours, and those of an account. Client-Server API, "Account
 * registration", "Account management" and "Adding Account Administrative Contact Information".
 *
 * This server validates addresses itself and works with no identity server.  Phone numbers are not offered.  Whether an
 * address belongs to somebody is told by mail only, never by an answer.
 */
#include "edge/edge.h"
#include "edge/email.h"
#include "edge/page.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "actors/email/email.h"
#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/sha256.h"

#define V3 "/_matrix/client/(r0|v3)"

enum { SECRET_MAX = 255, SESSION_SIZE = 32 };

static bool is_on(const gr_call *call) { return call->edge->env->email.from.size > 0; }

/* --- asking for a mail ------------------------------------------------------------------------------------- */
static bool secret_good(gr_str secret)
{
    for (size_t i = 0; i < secret.size; i++) {
        char c = secret.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '=' || c == '_'
            || c == '-';
        if (!good) return false;
    }
    return secret.size > 0 && secret.size <= SECRET_MAX;
}

static gr_str hash_of(gr_call *call, gr_str text)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(text.ptr, text.size, hash);
    return gr_call_keep(call, gr_str_of(hash, sizeof hash));
}

gr_str gr_email_sid(gr_call *call, const gr_email_wish *wish)
{
    gr_str nul = {"", 1};
    gr_str text = gr_arena_cat(call->arena, 5, (gr_str[]){wish->purpose, nul, wish->address, nul, wish->secret});
    return gr_str_head(gr_base64_url(call->arena, hash_of(call, text)), SESSION_SIZE);
}

gr_err gr_email_request(gr_call *call, const gr_email_wish *wish, gr_call_then *then)
{
    gr_edge *e = call->edge;
    gr_email_ask m = {.address = gr_arena_lower(call->arena, wish->address), .secret_hash = hash_of(call, wish->secret),
                      .attempt = wish->attempt, .purpose = wish->purpose, .next_link = wish->next_link,
                      .language = gr_str_c(gr_page_text_tag(gr_page_text_choose(call->languages)))};
    if (!gr_ident_email(wish->address)) return gr_fail(GR_INVALID_PARAM, "This is not an email address");
    if (!secret_good(wish->secret)) return gr_fail(GR_INVALID_PARAM, "'client_secret' is 1 to 255 of A-Z a-z 0-9 . = _ -");
    gr_err err = e->config->rate_limits ? gr_rates_take(e->rates, GR_RATE_EMAIL, m.address, e->now_ms) : gr_ok();
    if (gr_failed(err)) return err;
    gr_email_wish lower = *wish;
    lower.address = m.address;
    gr_call_ask(call, gr_call_address(call, GR_KIND_EMAIL, gr_email_sid(call, &lower)), &gr_type_email_ask, &m, then);
    return gr_ok();
}

static void told_asked(gr_call *call, const gr_answer *answer)
{
    gr_buf out = {0};
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "sid", *(gr_str *)call->state);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void ask_mail(gr_call *call, gr_str purpose)
{
    int64_t attempt = 0;
    gr_email_wish wish = {.purpose = purpose};
    const gr_json *number = NULL;
    if (!gr_call_want_str(call, "email", &wish.address) || !gr_call_want_str(call, "client_secret", &wish.secret)
        || !gr_call_want(call, "send_attempt", GR_JSON_INT, &number) || !gr_call_may_str(call, "next_link", &wish.next_link))
        return;
    attempt = gr_json_integer(number, 0);
    wish.attempt = attempt > 0 ? (uint64_t)attempt : 1;
    if (!gr_page_url_good(wish.next_link)) wish.next_link = (gr_str){0};
    gr_str *state = call->state = gr_arena_alloc(call->arena, sizeof *state);
    gr_email_wish lower = wish;
    lower.address = gr_arena_lower(call->arena, wish.address);
    *state = gr_email_sid(call, &lower);
    gr_err err = gr_email_request(call, &wish, told_asked);
    if (gr_failed(err)) gr_call_fail(call, err);
}

static void serve_register_mail(gr_call *call)
{
    if (!is_on(call)) gr_call_fail_with(call, GR_THREEPID_DENIED, "This server sends no mails");
    else if (gr_call_config(call)->registration == GR_CONFIG_REGISTRATION_CLOSED)
        gr_call_fail_with(call, GR_FORBIDDEN, "This server takes no registrations: ask its administrator for an account");
    else ask_mail(call, GR_STR("register"));
}

static void serve_password_mail(gr_call *call)
{
    if (is_on(call)) ask_mail(call, GR_STR("password"));
    else gr_call_fail_with(call, GR_THREEPID_DENIED, "This server sends no mails");
}

static void serve_add_mail(gr_call *call)
{
    if (is_on(call)) ask_mail(call, GR_STR("add"));
    else gr_call_fail_with(call, GR_THREEPID_MEDIUM_NOT_SUPPORTED, "This server sends no mails");
}

static void serve_no_phone(gr_call *call) { gr_call_fail_with(call, GR_THREEPID_DENIED, "This server takes no phone numbers"); }

static void serve_no_phone_added(gr_call *call)
{
    gr_call_fail_with(call, GR_THREEPID_MEDIUM_NOT_SUPPORTED, "This server takes no phone numbers");
}

/* --- the page that a mail links to ------------------------------------------------------------------------- */
/* Only a press of the button confirms: programs that look at links in mails do not. */
static void ask_to_confirm(gr_call *call, gr_page_say title, gr_page_say hint, gr_page_say button)
{
    gr_str token = {0};
    gr_call_query(call, "token", &token);
    gr_page page = gr_page_begin(call, title);
    gr_page_para(&page, hint);
    gr_page_form(&page, call->path);
    gr_page_hidden(&page, "token", gr_str_head(token, SECRET_MAX));
    gr_page_button(&page, button, NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_send(&page, 200);
}

static void serve_page(gr_call *call)
{
    ask_to_confirm(call, GR_SAY(email_title), GR_SAY(email_hint, gr_call_server_name(call)), GR_SAY(email_confirm));
}

static void told_submitted(gr_call *call, const gr_answer *answer)
{
    if (answer->err.code == GR_FORBIDDEN) {
        gr_page_error(call, 403, GR_SAY(email_old));
        return;
    }
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    const gr_email_is *is = answer->body;
    gr_page page = gr_page_begin(call, GR_SAY(email_done_title));
    gr_page_para(&page, GR_SAY(email_done_hint, is->address));
    if (gr_page_url_good(is->next_link)) gr_page_link(&page, is->next_link, GR_SAY(email_back));
    gr_page_send(&page, 200);
}

static void serve_submit(gr_call *call)
{
    gr_str sid = gr_call_param(call, "sid");
    gr_email_submit m = {.token = gr_str_head(gr_page_posted(call, "token"), SECRET_MAX)};
    if (gr_ident_opaque(sid))
        gr_call_ask(call, gr_call_address(call, GR_KIND_EMAIL, sid), &gr_type_email_submit, &m, told_submitted);
    else gr_page_error(call, 404, GR_SAY(error_not_found));
}

/* --- renewing an account ----------------------------------------------------------------------------------- */
static void serve_renew_page(gr_call *call)
{
    ask_to_confirm(call, GR_SAY(renew_title, gr_call_server_name(call)), GR_SAY(renew_hint), GR_SAY(renew_button));
}

static void told_renewed(gr_call *call, const gr_answer *answer)
{
    if (answer->err.code == GR_FORBIDDEN) {
        gr_page_error(call, 403, GR_SAY(email_old));
        return;
    }
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_page page = gr_page_begin(call, GR_SAY(renew_done_title));
    gr_page_para(&page, GR_SAY(logged_in_hint));
    gr_page_send(&page, 200);
}

static void serve_renew(gr_call *call)
{
    gr_str user;
    gr_user_renew m = {.token = gr_str_head(gr_page_posted(call, "token"), SECRET_MAX)};
    bool good = gr_base64_decode(call->arena, gr_call_param(call, "user"), &user) && gr_ident_user_strict(user)
        && gr_ident_is_local(user, gr_call_server_name(call));
    if (good) gr_call_ask(call, gr_call_address(call, GR_KIND_USER, user), &gr_type_user_renew, &m, told_renewed);
    else gr_page_error(call, 404, GR_SAY(error_not_found));
}

/* --- those of an account ----------------------------------------------------------------------------------- */
static gr_str own_address(gr_call *call) { return gr_call_address(call, GR_KIND_USER, call->user); }

static void serve_list(gr_call *call)
{
    gr_call_pass(call, own_address(call), &gr_type_user_threepids, &(gr_user_threepids){0});
}

typedef struct { gr_str address, language; uint64_t validated_ms; } adding;

static void told_claimed(gr_call *call, const gr_answer *answer)
{
    const adding *a = call->state;
    gr_user_threepid_put put = {.medium = GR_STR("email"), .address = a->address, .language = a->language,
                                .validated_ms = a->validated_ms};
    if (answer->err.code == GR_USER_IN_USE)
        gr_call_fail_with(call, GR_THREEPID_IN_USE, "This email address belongs to an account already");
    else if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else gr_call_pass(call, own_address(call), &gr_type_user_threepid_put, &put);
}

static void told_validated(gr_call *call, const gr_answer *answer)
{
    const gr_email_is *is = answer->body;
    bool is_good = !gr_failed(answer->err) && is->validated_ms && gr_str_is(is->purpose, "add");
    if (!is_good) {
        bool is_lost = gr_failed(answer->err) && answer->err.code != GR_NOT_FOUND;
        gr_err not_yet = gr_fail(GR_THREEPID_AUTH_FAILED, "The address is not confirmed yet: open the page of the mail");
        gr_call_fail(call, is_lost ? answer->err : not_yet);
        return;
    }
    adding *a = call->state = gr_arena_alloc(call->arena, sizeof *a);
    *a = (adding){gr_call_keep(call, is->address), gr_call_keep(call, is->language), is->validated_ms};
    gr_name_claim claim = {.holder = call->user,
                           .value = gr_arena_printf(call->arena, "{\"user_id\":\"%" GR_FMT "\"}", GR_ARG(call->user))};
    gr_call_ask(call, gr_mail_name(call->arena, a->address), &gr_type_name_claim, &claim, told_claimed);
}

static void add(gr_call *call)
{
    gr_str sid = gr_json_text(call->json, "sid"), secret = gr_json_text(call->json, "client_secret");
    gr_email_look look = {.secret_hash = hash_of(call, secret)};
    if (gr_ident_opaque(sid))
        gr_call_ask(call, gr_call_address(call, GR_KIND_EMAIL, sid), &gr_type_email_look, &look, told_validated);
    else gr_call_fail_with(call, GR_THREEPID_AUTH_FAILED, "There is no such session: ask for a mail first");
}

static void serve_add(gr_call *call)
{
    gr_str text;
    if (gr_call_want_str(call, "sid", &text) && gr_call_want_str(call, "client_secret", &text)) gr_uia_check(call, add);
}

static void told_dropped(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else gr_call_json(call, 200, GR_STR("{\"id_server_unbind_result\":\"no-support\"}"));
}

static void serve_delete(gr_call *call)
{
    gr_user_threepid_drop m = {0};
    if (!gr_call_want_str(call, "medium", &m.medium) || !gr_call_want_str(call, "address", &m.address)) return;
    if (gr_str_is(m.medium, "email")) m.address = gr_arena_lower(call->arena, m.address);
    bool is_one = m.medium.size < 32 && m.address.size < GR_IDENT_MAX && !memchr(m.medium.ptr, 0, m.medium.size);
    if (is_one) gr_call_ask(call, own_address(call), &gr_type_user_threepid_drop, &m, told_dropped);
    else gr_call_fail_with(call, GR_INVALID_PARAM, "This is no third-party id");
}

static void serve_unbind(gr_call *call)
{
    gr_str text;
    if (gr_call_want_str(call, "medium", &text) && gr_call_want_str(call, "address", &text))
        gr_call_json(call, 200, GR_STR("{\"id_server_unbind_result\":\"no-support\"}"));
}

static void serve_bind(gr_call *call)
{
    gr_call_fail_with(call, GR_SERVER_NOT_TRUSTED, "This server works with no identity server");
}

/* The deprecated way takes what an identity server has validated. */
static void serve_old_add(gr_call *call)
{
    gr_err err = gr_fail(GR_THREEPID_AUTH_FAILED, "This server works with no identity server: use /account/3pid/add");
    gr_call_fail_status(call, 403, err, (gr_str){0});
}

const gr_call_route gr_routes_email[] = {
    {GR_HTTP_POST, V3 "/register/email/requestToken", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_register_mail,
     .mails = true},
    {GR_HTTP_POST, V3 "/register/msisdn/requestToken", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_no_phone},
    {GR_HTTP_POST, V3 "/account/password/email/requestToken", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_password_mail,
     .mails = true},
    {GR_HTTP_POST, V3 "/account/password/msisdn/requestToken", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_no_phone},
    {GR_HTTP_POST, V3 "/account/3pid/email/requestToken", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_add_mail,
     .mails = true},
    {GR_HTTP_POST, V3 "/account/3pid/msisdn/requestToken", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_no_phone_added},
    {GR_HTTP_GET, V3 "/account/3pid", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_list},
    {GR_HTTP_POST, V3 "/account/3pid", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_old_add},
    {GR_HTTP_POST, V3 "/account/3pid/add", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_add},
    {GR_HTTP_POST, V3 "/account/3pid/bind", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_bind},
    {GR_HTTP_POST, V3 "/account/3pid/delete", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_delete},
    {GR_HTTP_POST, V3 "/account/3pid/unbind", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_LOGIN, serve_unbind},
    {GR_HTTP_GET, "/_greenroom/email/{sid}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_page, .page = true},
    {GR_HTTP_POST, "/_greenroom/email/{sid}", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_submit, .page = true},
    {GR_HTTP_GET, "/_greenroom/renew/{user}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_renew_page, .page = true},
    {GR_HTTP_POST, "/_greenroom/renew/{user}", GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_renew, .page = true},
    {.pattern = NULL}};
