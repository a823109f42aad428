/* page.h - the pages that people see in a browser: logging in, consent, results, errors.
 *
 * A page is written from top to bottom and sent; everything put in is escaped here, every text is in page_text.h:
 *
 *     gr_page page = gr_page_begin(call, GR_SAY(choose_title));
 *     gr_page_para(&page, GR_SAY(choose_hint, server_name));
 *     gr_page_form(&page, GR_STR("/_matrix/..."));             the path that the form is posted to
 *     gr_page_input(&page, &(gr_page_field){.name = "username", .label = GR_SAY(user_name), .required = true});
 *     gr_page_button(&page, GR_SAY(go_on), NULL, (gr_str){0});
 *     gr_page_end_form(&page);
 *     gr_page_send(&page, 200);
 *
 * Pages are plain HTML that needs no script, loads nothing, may not be framed, and fits a phone.  The routes of pages have
 * `.page = true` (call.h): then gr_call_fail answers with an error page, cookies work (cookie.h), and for posts (body
 * GR_CALL_FORM, fields in call->form) a form is taken only from a page that this server gave to that very browser for that
 * very path (a hidden field against a cookie); others get an error page before `serve` runs.
 */
#pragma once
#include "edge/call.h"
#include "proto/page_text.h"

#define GR_PAGE_FORM_COOKIE "gr_form"         /* what a browser is known by: call->browser */
enum { GR_PAGE_FORM_MAX = 64 * 1024, GR_PAGE_FORM_MS = 60 * 60 * 1000 };

/* The only scripts there are, for apps that show a page inside themselves and wait for its end. */
typedef enum {
    GR_PAGE_NO_SCRIPT,
    GR_PAGE_SCRIPT_AUTH_DONE,          /* a stage is done: client-server API, "Fallback" */
    GR_PAGE_SCRIPT_LOGGED_IN           /* hands the JSON of gr_page_data to the app: client-server API, "Login Fallback" */
} gr_page_script;

typedef struct {
    gr_call *call;
    gr_buf out;
    gr_page_language language;
    gr_str form_targets;               /* for the content-security policy */
    gr_page_script script;
    unsigned inputs;
    bool in_form;
} gr_page;

/* The title is the heading too.  The page must be sent. */
gr_page gr_page_begin(gr_call *, gr_page_say title);
void gr_page_para(gr_page *, gr_page_say);
void gr_page_alert(gr_page *, gr_page_say);                        /* what went wrong; read out at once */
void gr_page_code(gr_page *, gr_str);                              /* a user id, a code to compare: shown letter by letter */
void gr_page_link(gr_page *, gr_str url, gr_page_say);             /* a paragraph with one link; http, https or a path */
void gr_page_choice(gr_page *, gr_str url, gr_page_say);           /* a link that looks like a button */

/* A form posted to path, which may have a query. One at a time; buttons and fields stand inside. */
void gr_page_form(gr_page *, gr_str path);
typedef struct {
    const char *name, *type;           /* type NULL: text */
    const char *autocomplete;          /* as HTML has it: "username", "current-password", "one-time-code"; NULL: off */
    gr_page_say label, hint;
    gr_str value;
    bool required, focus;
} gr_page_field;
void gr_page_input(gr_page *, const gr_page_field *);
/* What to call the field in which a user is named who logs in: an email address is good too where there are such. */
gr_page_say gr_page_user_label(const gr_call *);
void gr_page_checkbox(gr_page *, const char *name, gr_page_say label, bool checked);
void gr_page_hidden(gr_page *, const char *name, gr_str value);
void gr_page_button(gr_page *, gr_page_say, const char *name, gr_str value);      /* name NULL: it sends no field of its own */
void gr_page_end_form(gr_page *);
/* The answer to the form's post may redirect to that address: browsers ask for it to be said. */
void gr_page_form_target(gr_page *, gr_str url);

void gr_page_run(gr_page *, gr_page_script);
void gr_page_data(gr_page *, gr_str json);                         /* for the script */

/* Answers the call with the page and the cookies that were set. */
void gr_page_send(gr_page *, int status);

/* --- whole answers --- */
void gr_page_error(gr_call *, int status, gr_page_say why);        /* a page that says why */
void gr_page_failed(gr_call *, int status, gr_err);                /* the same for an error; gr_call_fail does it */
/* 303 with the cookies that were set.  url: whole or a path; bytes that could end the line are escaped. */
void gr_page_redirect(gr_call *, gr_str url);

/* May the browser be told to go there?  A whole URL with a scheme that runs nothing (not javascript:, data:, ...), without
 * blanks, control bytes, user names or backslashes; of http and https with a host. */
bool gr_page_url_good(gr_str url);

/* For call.c: was this form given to this browser for this path? */
bool gr_page_form_good(gr_call *);
/* A field of the posted form; empty when it is not there. */
gr_str gr_page_posted(const gr_call *, const char *name);
