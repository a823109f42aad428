/* routes_manage.c - the pages on which users look after their account: Client-Server API, "Account management" (OAuth 2.0).
 *
 * One address; the query says what for, by names of the specification or those from before they were stable:
 * ?action=org.matrix.device_view&device_id=ABC.  Each action is a page, and a form that is posted to the same address.
 */
#include "edge/browser.h"
#include "edge/oauth.h"
#include "edge/routes.h"
#include "edge/uia.h"

#include "proto/ident.h"
#include "proto/uri.h"

#include <time.h>

enum { LOGIN_TIMEOUT_MS = 30000, SESSION_MAX = 64 };

static gr_str own_address(gr_call *call) { return gr_call_address(call, GR_KIND_USER, call->user); }

static gr_str address_of(gr_call *call, const char *action, gr_str device)
{
    gr_arena *a = call->arena;
    gr_str url = gr_arena_printf(a, GR_OAUTH_ACCOUNT "?action=%s", action);
    return device.size ? gr_arena_cat(a, 3, (gr_str[]){url, GR_STR("&device_id="), gr_uri_encode(a, device)}) : url;
}

static void link_action(gr_page *page, const char *action, gr_page_say say)
{
    gr_page_choice(page, address_of(page->call, action, (gr_str){0}), say);
}

static void done_page(gr_call *call, gr_page_say title, gr_page_say what)
{
    gr_page page = gr_page_begin(call, title);
    gr_page_para(&page, what);
    gr_page_link(&page, GR_STR(GR_OAUTH_ACCOUNT), GR_SAY(manage_back));
    gr_page_send(&page, 200);
}

/* A page with one button, posted to where it is. */
static void ask_page(gr_call *call, gr_page_say title, gr_page_say what, gr_page_say button)
{
    gr_page page = gr_page_begin(call, title);
    gr_page_para(&page, GR_SAY(consent_as, call->user));
    gr_page_para(&page, what);
    gr_page_form(&page, gr_browser_here(call, NULL));
    gr_page_button(&page, button, NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_link(&page, GR_STR(GR_OAUTH_ACCOUNT), GR_SAY(manage_back));
    gr_page_send(&page, 200);
}

/* --- the first page ---------------------------------------------------------------------------------------- */
static void index_page(gr_call *call)
{
    gr_page page = gr_page_begin(call, GR_SAY(manage_title));
    gr_page_para(&page, GR_SAY(consent_as, call->user));
    link_action(&page, "org.matrix.profile", GR_SAY(manage_profile));
    link_action(&page, "org.matrix.devices_list", GR_SAY(manage_devices));
    link_action(&page, "password", GR_SAY(manage_password));
    link_action(&page, "org.matrix.account_deactivate", GR_SAY(manage_deactivate));
    gr_page_form(&page, GR_STR("/_greenroom/sign_out"));
    gr_page_button(&page, GR_SAY(sign_out_button), NULL, GR_STR(""));
    gr_page_end_form(&page);
    gr_page_send(&page, 200);
}

/* --- the profile ------------------------------------------------------------------------------------------- */
static void told_profile(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    const gr_user_profile_is *is = answer->body;
    gr_page page = gr_page_begin(call, GR_SAY(manage_profile));
    gr_page_code(&page, call->user);
    gr_page_form(&page, gr_browser_here(call, NULL));
    gr_page_input(&page, &(gr_page_field){.name = "displayname", .label = GR_SAY(profile_name), .value = is->displayname,
                                          .autocomplete = "nickname", .hint = GR_SAY(profile_hint)});
    gr_page_button(&page, GR_SAY(save), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_link(&page, GR_STR(GR_OAUTH_ACCOUNT), GR_SAY(manage_back));
    gr_page_send(&page, 200);
}

static void profile_page(gr_call *call)
{
    gr_call_ask(call, own_address(call), &gr_type_user_profile, &(gr_user_profile){0}, told_profile);
}

static void told_named(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else done_page(call, GR_SAY(saved_title), GR_SAY(saved));
}

static void post_profile(gr_call *call)
{
    gr_buf value = {0};
    gr_jw w = gr_jw_begin(&value);
    gr_jw_str(&w, gr_page_posted(call, "displayname"));
    gr_user_profile_put m = {.field = GR_STR("displayname"), .value = gr_buf_view(&value)};
    gr_call_ask(call, own_address(call), &gr_type_user_profile_put, &m, told_named);
    gr_buf_free(&value);
}

/* --- devices ----------------------------------------------------------------------------------------------- */
static gr_str param_device(gr_call *call)
{
    gr_str device = gr_oauth_field(&call->query, "device_id");
    return gr_ident_device(device) ? device : GR_STR("");
}

static gr_str time_text(gr_call *call, const gr_json *device)
{
    char text[32];
    struct tm tm;
    time_t seconds = (time_t)(gr_json_integer(gr_json_get(device, "last_seen_ts"), 0) / 1000);
    gmtime_r(&seconds, &tm);
    return gr_arena_str(call->arena, gr_str_of(text, strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &tm)));
}

static gr_str name_of(const gr_json *device)
{
    gr_str name = gr_json_text(device, "display_name");
    return name.size ? name : gr_json_text(device, "device_id");
}

/* NULL: the call was answered. */
static const gr_json *told_json(gr_call *call, const gr_answer *answer)
{
    const gr_json *json = NULL;
    gr_err err = answer->err;
    if (!gr_failed(err)) err = gr_json_parse(call->arena, ((const gr_result *)answer->body)->body, GR_JSON_LAX, &json);
    if (!gr_failed(err)) return json;
    gr_call_fail(call, err);
    return NULL;
}

static void told_devices(gr_call *call, const gr_answer *answer)
{
    const gr_json *json = told_json(call, answer), *list = gr_json_get(json, "devices");
    if (!json) return;
    gr_page page = gr_page_begin(call, GR_SAY(manage_devices));
    for (uint32_t i = 0; i < list->count; i++) {
        const gr_json *device = &list->items[i];
        gr_page_link(&page, address_of(call, "org.matrix.device_view", gr_json_text(device, "device_id")),
                     GR_SAY(device_line, name_of(device), time_text(call, device)));
    }
    if (list->count == 0) gr_page_para(&page, GR_SAY(devices_none));
    gr_page_link(&page, GR_STR(GR_OAUTH_ACCOUNT), GR_SAY(manage_back));
    gr_page_send(&page, 200);
}

static void devices_page(gr_call *call)
{
    gr_call_ask(call, own_address(call), &gr_type_user_devices, &(gr_user_devices){0}, told_devices);
}

static void told_device(gr_call *call, const gr_answer *answer)
{
    const gr_json *device = told_json(call, answer);
    if (!device) return;
    gr_str ip = gr_json_text(device, "last_seen_ip");
    gr_page page = gr_page_begin(call, GR_SAY(device_title, name_of(device)));
    gr_page_code(&page, gr_json_text(device, "device_id"));
    gr_page_para(&page, GR_SAY(device_seen, time_text(call, device), ip.size ? ip : GR_STR("-")));
    gr_page_form(&page, address_of(call, "org.matrix.device_delete", gr_json_text(device, "device_id")));
    gr_page_button(&page, GR_SAY(device_end_button), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_link(&page, address_of(call, "org.matrix.devices_list", (gr_str){0}), GR_SAY(manage_devices));
    gr_page_send(&page, 200);
}

/* Without a device that exists: the list, to choose from. */
static void device_page(gr_call *call)
{
    gr_user_devices m = {.device = param_device(call)};
    if (m.device.size == 0) devices_page(call);
    else gr_call_ask(call, own_address(call), &gr_type_user_devices, &m, told_device);
}

static void told_ended(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else done_page(call, GR_SAY(device_ended_title), GR_SAY(device_ended));
}

static void post_device_delete(gr_call *call)
{
    gr_str device = param_device(call);
    gr_user_logout m = {.devices = {&device, 1}};
    if (device.size == 0) devices_page(call);
    else gr_call_ask(call, own_address(call), &gr_type_user_logout, &m, told_ended);
}

/* --- the password ------------------------------------------------------------------------------------------ */
static void show_password_page(gr_call *call, gr_str alert)
{
    gr_page page = gr_page_begin(call, GR_SAY(manage_password));
    if (alert.size) gr_page_alert(&page, GR_SAY(password_refused, alert));
    gr_page_form(&page, gr_browser_here(call, NULL));
    gr_page_input(&page, &(gr_page_field){.name = "password", .type = "password", .label = GR_SAY(password_old),
                                          .autocomplete = "current-password", .required = true});
    gr_page_input(&page, &(gr_page_field){.name = "new_password", .type = "password", .label = GR_SAY(password_new),
                                          .autocomplete = "new-password", .required = true});
    gr_page_checkbox(&page, "logout_devices", GR_SAY(password_logout), false);
    gr_page_button(&page, GR_SAY(save), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_link(&page, GR_STR(GR_OAUTH_ACCOUNT), GR_SAY(manage_back));
    gr_page_send(&page, alert.size ? 400 : 200);
}

static void password_page(gr_call *call) { show_password_page(call, (gr_str){0}); }

static void told_password(gr_call *call, const gr_answer *answer)
{
    const gr_json *json = NULL;
    if (gr_failed(answer->err)) {
        if (gr_errcode_status(answer->err.code) >= 429) gr_call_fail(call, answer->err);
        else show_password_page(call, gr_str_c(answer->err.text));
        return;
    }
    if (answer->type == &gr_type_login_answer) {
        done_page(call, GR_SAY(saved_title), GR_SAY(saved));
        return;
    }
    gr_err err = gr_json_parse(call->arena, ((const gr_login_wanted *)answer->body)->body, GR_JSON_LAX, &json);
    gr_assert(!gr_failed(err));
    show_password_page(call, gr_json_text(json, "error"));
}

static gr_str password_request(gr_call *call)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "new_password", gr_page_posted(call, "new_password"));
    gr_jw_kbool(&w, "logout_devices", gr_page_posted(call, "logout_devices").size > 0);
    gr_jw_end_object(&w);
    gr_str request = gr_call_keep(call, gr_buf_view(&out));
    gr_buf_free(&out);
    return request;
}

static void post_password(gr_call *call)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kc(&w, "type", "m.login.password");
    gr_jw_kstr(&w, "password", gr_page_posted(call, "password"));
    gr_jw_end_object(&w);
    gr_login_uia m = {.action = GR_STR("password"), .binding = GR_STR("POST " GR_OAUTH_ACCOUNT), .user = call->user,
                      .request = password_request(call), .auth = gr_buf_view(&out), .ip = call->peer,
                      .agent = call->user_agent};
    gr_call_ask_more(call, gr_uia_new_address(call), &gr_type_login_uia, &m, told_password, 0, LOGIN_TIMEOUT_MS, false);
    explicit_bzero(out.ptr, out.size);
    gr_buf_free(&out);
}

/* --- the end of the account -------------------------------------------------------------------------------- */
static void deactivate_page(gr_call *call)
{
    gr_page page = gr_page_begin(call, GR_SAY(manage_deactivate));
    gr_page_para(&page, GR_SAY(consent_as, call->user));
    gr_page_para(&page, GR_SAY(deactivate_what));
    gr_page_form(&page, gr_browser_here(call, NULL));
    gr_page_checkbox(&page, "erase", GR_SAY(deactivate_erase), false);
    gr_page_input(&page, &(gr_page_field){.name = "confirm", .label = GR_SAY(deactivate_confirm), .required = true,
                                          .hint = GR_SAY(deactivate_hint, call->user)});
    gr_page_button(&page, GR_SAY(manage_deactivate), NULL, (gr_str){0});
    gr_page_end_form(&page);
    gr_page_link(&page, GR_STR(GR_OAUTH_ACCOUNT), GR_SAY(manage_back));
    gr_page_send(&page, 200);
}

static void told_deactivated(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_page page = gr_page_begin(call, GR_SAY(deactivated_title));
    gr_page_para(&page, GR_SAY(deactivated));
    gr_page_send(&page, 200);
}

static void post_deactivate(gr_call *call)
{
    gr_user_deactivate m = {.erase = gr_page_posted(call, "erase").size > 0};
    if (!gr_str_eq(gr_page_posted(call, "confirm"), call->user)) deactivate_page(call);
    else gr_call_ask(call, own_address(call), &gr_type_user_deactivate, &m, told_deactivated);
}

/* --- cross-signing ----------------------------------------------------------------------------------------- */
/* The app's request names its session of user-interactive authentication: just that one is approved. */
static gr_str param_session(gr_call *call)
{
    gr_str session = gr_oauth_field(&call->query, "session");
    return gr_ident_opaque(session) && session.size <= SESSION_MAX ? session : GR_STR("");
}

static void reset_page(gr_call *call)
{
    if (param_session(call).size) ask_page(call, GR_SAY(reset_title), GR_SAY(reset_what), GR_SAY(reset_button));
    else done_page(call, GR_SAY(reset_title), GR_SAY(reset_from_app));
}

static void told_reset(gr_call *call, const gr_answer *answer)
{
    bool is_gone = answer->err.code == GR_NOT_FOUND;
    if (gr_failed(answer->err) && !is_gone) gr_call_fail(call, answer->err);
    else if (is_gone || !((const gr_login_stage_is *)answer->body)->done) gr_page_error(call, 403, GR_SAY(reset_not_yours));
    else done_page(call, GR_SAY(reset_done_title), GR_SAY(reset_done));
}

static void post_reset(gr_call *call)
{
    gr_str session = param_session(call);
    gr_buf params = {0};
    gr_jw w = gr_jw_begin(&params);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "user", call->user);
    gr_jw_end_object(&w);
    gr_login_stage m = {.stage = GR_STR("m.oauth"), .params = gr_buf_view(&params), .ip = call->peer};
    if (session.size == 0) reset_page(call);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_LOGIN, session), &gr_type_login_stage, &m, told_reset);
    gr_buf_free(&params);
}

/* --- which action ------------------------------------------------------------------------------------------ */
static const struct {
    const char *name, *old_name;
    gr_browser_age age;
    void (*page)(gr_call *), (*post)(gr_call *);
} actions[] = {
    {"org.matrix.profile", NULL, GR_BROWSER_ANY, profile_page, post_profile},
    {"org.matrix.devices_list", "org.matrix.sessions_list", GR_BROWSER_ANY, devices_page, devices_page},
    {"org.matrix.device_view", "org.matrix.session_view", GR_BROWSER_ANY, device_page, device_page},
    {"org.matrix.device_delete", "org.matrix.session_end", GR_BROWSER_ANY, device_page, post_device_delete},
    {"password", NULL, GR_BROWSER_ANY, password_page, post_password},
    {"org.matrix.account_deactivate", NULL, GR_BROWSER_FRESH, deactivate_page, post_deactivate},
    {"org.matrix.cross_signing_reset", NULL, GR_BROWSER_FRESH, reset_page, post_reset},
};

static void serve_account(gr_call *call)
{
    if (!gr_oauth_is_on(call)) return;
    gr_str action = gr_oauth_field(&call->query, "action");
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (gr_str_is(action, actions[i].name) || (actions[i].old_name && gr_str_is(action, actions[i].old_name))) {
            gr_browser_need(call, actions[i].age, call->method == GR_HTTP_POST ? actions[i].post : actions[i].page);
            return;
        }
    gr_browser_need(call, GR_BROWSER_ANY, index_page);
}

const gr_call_route gr_routes_manage[] = {
    {GR_HTTP_GET, GR_OAUTH_ACCOUNT, GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_account, .page = true},
    {GR_HTTP_POST, GR_OAUTH_ACCOUNT, GR_CALL_NO_TOKEN, GR_CALL_FORM, GR_RATE_LOGIN, serve_account, .page = true},
    {.pattern = NULL}};
