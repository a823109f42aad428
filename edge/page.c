/* page.c - an escaping printer of HTML, and its answers. See page.h. */
#include "edge/page.h"
#include "edge/cookie.h"
#include "edge/edge.h"

#include "proto/base64.h"
#include "proto/sha256.h"

#include <sodium.h>
#include <stdlib.h>
#include <strings.h>

#define FORM_FIELD "form_proof"
enum { COOKIE_BYTES = 16 };

static const char style[] =
    ":root{color-scheme:light dark;--line:#8a8f98;--go:#0b6e4f;--bad:#b3261e}"
    "*{box-sizing:border-box}"
    "body{font:1.0625rem/1.5 system-ui,sans-serif;margin:0;padding:1.5rem 1rem}"
    "main{max-width:26rem;margin:0 auto;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;line-height:1.25}"
    "label{display:block;font-weight:600;margin-top:1rem}"
    "label.check{font-weight:400}"
    "input:not([type=checkbox]){font:inherit;width:100%;min-height:2.75rem;padding:.5rem;border:1px solid var(--line);"
    "border-radius:.375rem}"
    "input[type=checkbox]{width:1.25rem;height:1.25rem;vertical-align:middle;margin-right:.5rem}"
    "button,a.choice{display:block;font:inherit;font-weight:600;width:100%;min-height:2.75rem;margin-top:1rem;padding:.5rem 1rem;"
    "border:1px solid var(--go);border-radius:.375rem;background:var(--go);color:#fff;text-align:center;text-decoration:none;"
    "cursor:pointer}"
    "button[value=cancel]{background:transparent;color:inherit;border-color:var(--line)}"
    "small{display:block}"
    "code{font-size:1.125rem}"
    "[role=alert]{border-left:.25rem solid var(--bad);padding:.5rem .75rem;font-weight:600}"
    ":focus-visible{outline:3px solid #2f6fdb;outline-offset:2px}";

static const char *const scripts[] = {
    [GR_PAGE_SCRIPT_AUTH_DONE] =
        "if(window.onAuthDone)window.onAuthDone();"
        "else if(window.opener&&window.opener.postMessage)window.opener.postMessage('authDone','*');",
    [GR_PAGE_SCRIPT_LOGGED_IN] =
        "if(window.matrixLogin&&window.matrixLogin.onLogin)"
        "window.matrixLogin.onLogin(JSON.parse(document.getElementById('data').textContent));"};

/* --- escaping ---------------------------------------------------------------------------------------------- */
static const char *entity_of(char b)
{
    switch (b) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

static void escaped(gr_buf *out, gr_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        char b = text.ptr[i];
        const char *entity = entity_of(b);
        if (entity) gr_buf_c(out, entity);
        else gr_buf_char(out, (unsigned char)b < 0x20 || b == 0x7f ? ' ' : b);
    }
}

/* A text with what is put in; around that, in running text, <bdi>: a name from outside must not turn the rest around. */
static void said(gr_page *p, gr_page_say say, bool isolated)
{
    gr_str text = gr_page_text_in(p->language, say.text);
    while (text.size) {
        ptrdiff_t at = gr_str_find(text, '{');
        if (at < 0) {
            escaped(&p->out, text);
            return;
        }
        gr_assert((size_t)at + 2 < text.size && (text.ptr[at + 1] == '1' || text.ptr[at + 1] == '2'));
        escaped(&p->out, gr_str_head(text, (size_t)at));
        if (isolated) gr_buf_c(&p->out, "<bdi>");
        escaped(&p->out, say.args[text.ptr[at + 1] - '1']);
        if (isolated) gr_buf_c(&p->out, "</bdi>");
        text = gr_str_from(text, (size_t)at + 3);
    }
}

static void attribute(gr_page *p, const char *name, gr_str value)
{
    gr_buf_printf(&p->out, " %s=\"", name);
    escaped(&p->out, value);
    gr_buf_char(&p->out, '"');
}

/* --- the parts --------------------------------------------------------------------------------------------- */
gr_page gr_page_begin(gr_call *call, gr_page_say title)
{
    gr_page p = {.call = call, .language = gr_page_text_choose(call->languages)};
    gr_buf_printf(&p.out, "<!DOCTYPE html>\n<html lang=\"%s\"><head><meta charset=\"utf-8\">", gr_page_text_tag(p.language));
    gr_buf_c(&p.out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>");
    said(&p, title, false);
    gr_buf_printf(&p.out, "</title><style>%s</style></head>\n<body><main>\n<h1>", style);
    said(&p, title, true);
    gr_buf_c(&p.out, "</h1>\n");
    return p;
}

static void element(gr_page *p, const char *open, gr_page_say say, const char *close)
{
    gr_buf_c(&p->out, open);
    said(p, say, true);
    gr_buf_c(&p->out, close);
}

void gr_page_para(gr_page *p, gr_page_say say) { element(p, "<p>", say, "</p>\n"); }
void gr_page_alert(gr_page *p, gr_page_say say) { element(p, "<p role=\"alert\">", say, "</p>\n"); }

void gr_page_code(gr_page *p, gr_str text)
{
    gr_buf_c(&p->out, "<p><code>");
    escaped(&p->out, text);
    gr_buf_c(&p->out, "</code></p>\n");
}

/* A path of ours, or a URL that is good. */
static void link_to(gr_page *p, const char *open, gr_str url)
{
    bool path = url.size && url.ptr[0] == '/' && !(url.size > 1 && (url.ptr[1] == '/' || url.ptr[1] == '\\'));
    gr_assert(path || gr_page_url_good(url));
    gr_buf_c(&p->out, open);
    attribute(p, "href", url);
    gr_buf_char(&p->out, '>');
}

void gr_page_link(gr_page *p, gr_str url, gr_page_say say)
{
    gr_buf_c(&p->out, "<p>");
    link_to(p, "<a", url);
    element(p, "", say, "</a></p>\n");
}

void gr_page_choice(gr_page *p, gr_str url, gr_page_say say)
{
    link_to(p, "<a class=\"choice\"", url);
    element(p, "", say, "</a>\n");
}

gr_page_say gr_page_user_label(const gr_call *call)
{
    return call->edge->env->email.from.size ? GR_SAY(user_name_or_email) : GR_SAY(user_name);
}

/* --- forms ------------------------------------------------------------------------------------------------- */
static gr_str path_of(gr_str url)
{
    ptrdiff_t query = gr_str_find(url, '?');
    return query < 0 ? url : gr_str_head(url, (size_t)query);
}

/* What this browser is known by: the cookie it has, or a new one. */
static gr_str browser_of(gr_call *call)
{
    gr_str known;
    unsigned char random[COOKIE_BYTES];
    if (call->browser.size == 0 && gr_cookie_get(call, GR_PAGE_FORM_COOKIE, &known)) call->browser = known;
    else if (call->browser.size == 0) {
        randombytes_buf(random, sizeof random);
        call->browser = gr_base64_url(call->arena, gr_str_of(random, sizeof random));
    }
    return call->browser;
}

static gr_str form_content(gr_call *call, gr_str browser, gr_str path)
{
    return gr_arena_cat(call->arena, 3, (gr_str[]){browser, GR_STR(" "), path});
}

void gr_page_form(gr_page *p, gr_str path)
{
    gr_assert(!p->in_form && path.size && path.ptr[0] == '/');
    p->in_form = true;
    gr_str proof = gr_cookie_seal(p->call, "form", form_content(p->call, browser_of(p->call), path_of(path)), GR_PAGE_FORM_MS);
    gr_buf_c(&p->out, "<form method=\"post\"");
    attribute(p, "action", path);
    gr_buf_c(&p->out, ">\n");
    gr_page_hidden(p, FORM_FIELD, proof);
}

bool gr_page_form_good(gr_call *call)
{
    gr_str browser, content;
    return gr_cookie_get(call, GR_PAGE_FORM_COOKIE, &browser)
        && gr_cookie_open(call, "form", gr_page_posted(call, FORM_FIELD), &content)
        && gr_str_eq(content, form_content(call, browser, call->path));
}

gr_str gr_page_posted(const gr_call *call, const char *name)
{
    gr_str value = gr_route_query_get(&call->form, name);
    return value.ptr ? value : GR_STR("");
}

void gr_page_input(gr_page *p, const gr_page_field *f)
{
    unsigned number = ++p->inputs;
    gr_assert(p->in_form);
    gr_buf_printf(&p->out, "<label for=\"f%u\">", number);
    element(p, "", f->label, "</label>\n");
    gr_buf_printf(&p->out, "<input id=\"f%u\"", number);
    attribute(p, "name", gr_str_c(f->name));
    attribute(p, "type", gr_str_c(f->type ? f->type : "text"));
    attribute(p, "autocomplete", gr_str_c(f->autocomplete ? f->autocomplete : "off"));
    if (f->value.size) attribute(p, "value", f->value);
    gr_buf_c(&p->out, " autocapitalize=\"none\" spellcheck=\"false\"");
    if (f->hint.text) gr_buf_printf(&p->out, " aria-describedby=\"h%u\"", number);
    gr_buf_printf(&p->out, "%s%s>\n", f->required ? " required" : "", f->focus ? " autofocus" : "");
    if (!f->hint.text) return;
    gr_buf_printf(&p->out, "<small id=\"h%u\">", number);
    element(p, "", f->hint, "</small>\n");
}

void gr_page_checkbox(gr_page *p, const char *name, gr_page_say label, bool checked)
{
    gr_assert(p->in_form);
    gr_buf_c(&p->out, "<label class=\"check\"><input type=\"checkbox\" value=\"yes\"");
    attribute(p, "name", gr_str_c(name));
    element(p, checked ? " checked>" : ">", label, "</label>\n");
}

void gr_page_hidden(gr_page *p, const char *name, gr_str value)
{
    gr_assert(p->in_form);
    gr_buf_c(&p->out, "<input type=\"hidden\"");
    attribute(p, "name", gr_str_c(name));
    attribute(p, "value", value);
    gr_buf_c(&p->out, ">\n");
}

void gr_page_button(gr_page *p, gr_page_say say, const char *name, gr_str value)
{
    gr_assert(p->in_form);
    gr_buf_c(&p->out, "<button type=\"submit\"");
    if (name) attribute(p, "name", gr_str_c(name));
    if (name) attribute(p, "value", value);
    element(p, ">", say, "</button>\n");
}

void gr_page_end_form(gr_page *p)
{
    gr_assert(p->in_form);
    p->in_form = false;
    gr_buf_c(&p->out, "</form>\n");
}

/* "https://host:port" of http and https, else "scheme:": what form-action takes. */
void gr_page_form_target(gr_page *p, gr_str url)
{
    gr_assert(gr_page_url_good(url));
    size_t end = (size_t)gr_str_find(url, ':') + 1;
    if (gr_str_starts(gr_str_from(url, end), GR_STR("//")) && url.ptr[0] == 'h')
        for (end += 2; end < url.size && !strchr("/?#", url.ptr[end]);) end++;
    gr_str origin = gr_str_head(url, end);
    for (size_t i = 0; i < origin.size; i++)
        if (strchr(";, '", origin.ptr[i])) return;                 /* it would end the directive: no target then */
    p->form_targets = gr_arena_cat(p->call->arena, 3, (gr_str[]){p->form_targets, GR_STR(" "), origin});
}

void gr_page_run(gr_page *p, gr_page_script script) { p->script = script; }

/* Inside <script> nothing but "<" could end it. */
void gr_page_data(gr_page *p, gr_str json)
{
    gr_buf_c(&p->out, "<script type=\"application/json\" id=\"data\">");
    for (size_t i = 0; i < json.size; i++) {
        if (json.ptr[i] == '<') gr_buf_c(&p->out, "\\u003c");
        else gr_buf_char(&p->out, json.ptr[i]);
    }
    gr_buf_c(&p->out, "</script>\n");
}

/* --- sending ----------------------------------------------------------------------------------------------- */
static gr_str hash_source(gr_arena *arena, const char *text)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(text, strlen(text), hash);
    return gr_arena_printf(arena, "'sha256-%" GR_FMT "='", GR_ARG(gr_base64(arena, gr_str_of(hash, sizeof hash))));
}

static gr_str policy(gr_page *p)
{
    gr_arena *a = p->call->arena;
    gr_str script = p->script ? hash_source(a, scripts[p->script]) : GR_STR("'none'");
    return gr_arena_printf(a, "default-src 'none'; style-src %" GR_FMT "; script-src %" GR_FMT
                              "; form-action 'self'%" GR_FMT "; base-uri 'none'; frame-ancestors 'none'",
                           GR_ARG(hash_source(a, style)), GR_ARG(script), GR_ARG(p->form_targets));
}

static size_t cookie_headers(const gr_call *call, gr_http_header *at)
{
    for (size_t i = 0; i < call->set_cookie_count; i++) at[i] = (gr_http_header){GR_STR("Set-Cookie"), call->set_cookies[i]};
    return call->set_cookie_count;
}

void gr_page_send(gr_page *p, int status)
{
    gr_call *call = p->call;
    if (call->browser.size) gr_cookie_set(call, GR_PAGE_FORM_COOKIE, call->browser, GR_PAGE_FORM_MS);
    if (p->script) gr_buf_printf(&p->out, "<script>%s</script>\n", scripts[p->script]);
    gr_buf_c(&p->out, "</main></body></html>\n");
    gr_http_header headers[7 + GR_COOKIE_SET_MAX] = {
        {GR_STR("Content-Type"), GR_STR("text/html; charset=utf-8")},
        {GR_STR("Content-Security-Policy"), policy(p)},
        {GR_STR("X-Frame-Options"), GR_STR("DENY")},
        {GR_STR("X-Content-Type-Options"), GR_STR("nosniff")},
        {GR_STR("Referrer-Policy"), GR_STR("no-referrer")},
        {GR_STR("Cache-Control"), GR_STR("no-store")},
        {GR_STR("Vary"), GR_STR("Accept-Language")}};
    size_t count = 7 + cookie_headers(call, headers + 7);
    gr_call_reply(call, &(gr_http_answer){.status = status, .headers = headers, .header_count = count,
                                          .body = gr_buf_view(&p->out)});
    gr_buf_free(&p->out);
}

/* --- whole answers ----------------------------------------------------------------------------------------- */
void gr_page_error(gr_call *call, int status, gr_page_say why)
{
    gr_page p = gr_page_begin(call, GR_SAY(error_title));
    gr_page_alert(&p, why);
    gr_page_send(&p, status);
}

void gr_page_failed(gr_call *call, int status, gr_err err)
{
    if (status == 0) status = gr_errcode_status(err.code);
    gr_page p = gr_page_begin(call, GR_SAY(error_title));
    if (status == 429 || status == 503) gr_page_alert(&p, GR_SAY(error_busy));
    else if (status == 404) gr_page_alert(&p, GR_SAY(error_not_found));
    else if (status == 403 || status == 401) gr_page_alert(&p, GR_SAY(error_denied));
    else gr_page_alert(&p, status < 500 ? GR_SAY(error_request) : GR_SAY(error_server));
    if (err.text && err.text[0]) gr_page_para(&p, GR_SAY(error_detail, gr_str_c(err.text)));
    gr_page_send(&p, status);
}

static gr_str header_safe(gr_arena *arena, gr_str url)
{
    gr_buf out = {0};
    for (size_t i = 0; i < url.size; i++) {
        unsigned char b = (unsigned char)url.ptr[i];
        if (b <= 0x20 || b >= 0x7f || b == '"' || b == '<' || b == '>' || b == '\\') gr_buf_printf(&out, "%%%02X", b);
        else gr_buf_char(&out, (char)b);
    }
    gr_str safe = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return safe;
}

void gr_page_redirect(gr_call *call, gr_str url)
{
    gr_http_header headers[3 + GR_COOKIE_SET_MAX] = {{GR_STR("Location"), header_safe(call->arena, url)},
                                                     {GR_STR("Cache-Control"), GR_STR("no-store")},
                                                     {GR_STR("Referrer-Policy"), GR_STR("no-referrer")}};
    size_t count = 3 + cookie_headers(call, headers + 3);
    gr_call_reply(call, &(gr_http_answer){.status = 303, .headers = headers, .header_count = count});
}

static bool scheme_is(gr_str scheme, const char *name)
{
    return scheme.size == strlen(name) && strncasecmp(scheme.ptr, name, scheme.size) == 0;
}

static bool scheme_runs(gr_str scheme)
{
    static const char *const bad[] = {"javascript", "data", "vbscript", "file", "blob", "about", "view-source", "filesystem"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (scheme_is(scheme, bad[i])) return true;
    return false;
}

bool gr_page_url_good(gr_str url)
{
    ptrdiff_t colon = gr_str_find(url, ':');
    if (colon < 1 || url.size > 2048) return false;
    gr_str scheme = gr_str_head(url, (size_t)colon), rest = gr_str_from(url, (size_t)colon + 1);
    for (size_t i = 0; i < scheme.size; i++) {
        char b = scheme.ptr[i], low = (char)(b | 0x20);
        bool letter = low >= 'a' && low <= 'z', more = (b >= '0' && b <= '9') || b == '+' || b == '-' || b == '.';
        if (!letter && !(i && more)) return false;
    }
    for (size_t i = 0; i < rest.size; i++)
        if ((unsigned char)rest.ptr[i] <= ' ' || rest.ptr[i] == 0x7f || strchr("\\\"<>^`{|}", rest.ptr[i])) return false;
    if (scheme_runs(scheme)) return false;
    bool web = scheme_is(scheme, "http") || scheme_is(scheme, "https");
    if (!gr_str_starts(rest, GR_STR("//"))) return !web && rest.size > 0;
    gr_str authority = gr_str_from(rest, 2);
    size_t end = 0;
    while (end < authority.size && !strchr("/?#", authority.ptr[end])) end++;
    authority.size = end;
    return gr_str_find(authority, '@') < 0 && (!web || (authority.size > 0 && authority.ptr[0] != ':'));
}
