/* login_token.h - login tokens: short-lived texts that let a device in once. Client-Server API, "Token-based user login".
 *
 * The login actor of a token is addressed by the token's hash, so the text is stored nowhere and routes itself.  Its row says
 * for whom it is, until when, and who vouched; the batch that spends it posts the device to its user, who has the tokens made
 * and answered: there is exactly one device, whatever answers are lost.  A spent token is remembered until it would have run
 * out, to tell one that was used from one that never was.
 *
 *   t    the token (gr_login_token_row); deleted by the durable timer "token"
 */
#pragma once
#include "bus/actor.h"
#include "proto/token.h"

/* Rows of another version than this are not known; fields may be added without a new one. */
enum { GR_LOGIN_TOKEN_VERSION = 1, GR_LOGIN_TOKEN_KEPT_MS = 10 * 60 * 1000 };

typedef enum { GR_LOGIN_TOKEN_UNKNOWN, GR_LOGIN_TOKEN_EXPIRED, GR_LOGIN_TOKEN_REUSED, GR_LOGIN_REFUSALS } gr_login_refusal;

/* Its login actor's address. */
gr_str gr_login_token_address(gr_arena *, gr_str token);

void gr_login_token_on_make(const gr_login_token_make *, gr_ctx *);
void gr_login_token_on_login(const gr_login_token *, gr_ctx *);
void gr_login_token_over(gr_ctx *);
