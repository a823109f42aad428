/* uia.h - routes that need user-interactive authentication.
 *
 * The login actor of the session judges; the edge only carries.  Client-Server API, "User-Interactive Authentication API".
 */
#pragma once
#include "edge/call.h"

/* Calls go when the user has authenticated; else answers 401 with the flows, or an error.  The body must be a JSON object.
 * Uses call->state until go runs. */
void gr_uia_check(gr_call *, void (*go)(gr_call *));
/* The same where sessions of the OAuth 2.0 API may come too: they are approved on a page (stage m.oauth). */
void gr_uia_check_oauth(gr_call *, void (*go)(gr_call *));
/* The login actor does all of it ("register", "password") and its answer is passed on. */
void gr_uia_run(gr_call *, const char *action);
/* The same for who wants the answer first, and passes it on with gr_uia_passed_on. */
void gr_uia_run_then(gr_call *, const char *action, gr_call_then *);

/* login/<random>: the address of a login of its own. */
gr_str gr_uia_new_address(gr_call *);
/* Whom somebody who types this on a page means: a user id, its localpart, or an email address.  A password that is too
 * long is cut to what is too long. */
gr_login_password gr_uia_typed(gr_call *, gr_str name, gr_str password);
/* Answers a call with what the login actor said: login_answer, login_wanted or an error. */
void gr_uia_passed_on(gr_call *, const gr_answer *);
