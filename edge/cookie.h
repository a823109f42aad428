/* cookie.h - what a browser is given to bring back: sealed texts, and cookies made of them.
 *
 * A sealed text is readable, but only nodes of this server can make one; it names what it is for, so that one made for one
 * purpose is good for no other, and ends by itself.  Put in it what may be seen; never a password or a token.
 * Cookies are for this host alone, hidden from scripts and not sent along with posts from other sites (SameSite=Lax); where
 * public_base_url is https they are Secure and their name has the prefix __Host-.  Only for routes that are pages (call.h).
 */
#pragma once
#include "edge/call.h"

enum { GR_COOKIE_SEALED_MAX = 2048, GR_COOKIE_SET_MAX = 4 };

/* "<until, in ms>.<content>.<proof>", the last two base64: safe in a form, a query and a cookie. */
gr_str gr_cookie_seal(gr_call *, const char *purpose, gr_str content, uint64_t lifetime_ms);
/* False when it was not sealed here for that purpose, was changed, or is over. */
bool gr_cookie_open(gr_call *, const char *purpose, gr_str sealed, gr_str *content);

/* The cookie of that name as this browser brought it; false when there is none that is good. */
bool gr_cookie_get(gr_call *, const char *name, gr_str *content);
/* Goes with the answer, which must be a page or a redirect (page.h). At most GR_COOKIE_SET_MAX. */
void gr_cookie_set(gr_call *, const char *name, gr_str content, uint64_t lifetime_ms);
void gr_cookie_drop(gr_call *, const char *name);
