/* browser.h - who is signed in to the server's own pages in this browser, and the page to sign in.
 *
 * The cookie holds a token that opens pages only (actors/token/browser.c), for an hour.  Used by the consent page of the
 * OAuth 2.0 API and by account management.
 */
#pragma once
#include "edge/page.h"

enum { GR_BROWSER_FRESH_MS = 10 * 60 * 1000 };

typedef enum {
    GR_BROWSER_ANY,
    GR_BROWSER_FRESH           /* signed in within GR_BROWSER_FRESH_MS: for what can't be undone */
} gr_browser_age;

/* Calls go, with call->user and call->signed_in set, when somebody is signed in; else sends the browser to the page to sign
 * in, and from there back to the path and query of this call.  call->state stays. */
void gr_browser_need(gr_call *, gr_browser_age, void (*go)(gr_call *));
/* To the page that makes a new account, and from there back to `then`, as gr_browser_here writes it. */
void gr_browser_register(gr_call *, gr_str then);
void gr_browser_sign_in(gr_call *, gr_str then);
/* Does the query of a page to log in or register say where to go on? */
bool gr_browser_goes_on(gr_call *);
/* Signs this browser in as that user (provider, session, subject: who vouched for them, or empty), and goes on there. */
void gr_browser_go_on(gr_call *, const gr_browser_begin *);
/* Is it the way back from a login by an identity provider that began on the page to sign in?  Then nobody has to confirm it. */
bool gr_browser_is_way_back(const gr_call *, gr_str url);
/* Path and query of this call, without a parameter of that name (NULL: with all). */
gr_str gr_browser_here(gr_call *, const char *without);
/* For links and forms on pages: "/_greenroom/sign_in?then=<here>". */
gr_str gr_browser_other_account(gr_call *, gr_str then);
