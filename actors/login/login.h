/* login.h - the login actor: one attempt to log in, or one session of user-interactive authentication.
 *
 * Addressed login/<session id>; a plain login has a random id and writes nothing.  A session's row says what it is bound to
 * (method and path, user), which flows of stages there are and which stages are done, by requests of the client or by pages
 * (message login_stage).  Once all of one flow are, only the very same request may be repeated, and is answered again:
 * making an account and logging in are idempotent by the session's id.  Passwords and tokens are never written; one attempt
 * at a time is in memory, and an answer that was lost is made anew.
 *
 *   s    the session (gr_login_session); deleted by the durable timer "end"
 *
 * A login token (login_token.h) and a login by an identity provider (sso.h) have login actors of their own.
 *
 * Steps of an attempt, by the answer that ends each: what a new session is about, the account's
 * password hash, the password verified, the registration token looked up, a password hashed, the account made, the password
 * set, the tokens made.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_LOGIN_SESSION_MS = 30 * 60 * 1000, GR_LOGIN_ASK_MS = 8000,
    GR_LOGIN_DEVICE_SIZE = 10
};

extern const gr_actor_kind gr_login_kind;
