/* jwt.h - JSON Web Tokens of identity providers: the signature, and what an ID token or logout token must say.
 *
 * RFC 7515 (compact form), 7517, 7519 and 8725; OpenID Connect Core, 3.1.3.7, and Back-Channel Logout, 2.6.  Signatures are
 * checked by cjose.  Taken are RS, PS and ES algorithms and no others: none is never a signature, and a public key is never
 * taken for a secret (HS).
 */
#pragma once
#include "proto/json.h"

enum { GR_JWT_SIZE_MAX = 64 * 1024, GR_JWT_SKEW_S = 60 };

/* The claims of a token signed with one of the keys (a JWK set).  GR_NOT_FOUND: no key has the token's id, so that the
 * keys may be old.  GR_FORBIDDEN: not a token, an algorithm that is not taken, or a wrong signature. */
GR_MUST_USE gr_err gr_jwt_verify(gr_arena *, gr_str token, const gr_json *keys, const gr_json **claims);

typedef struct { gr_str issuer, client_id, nonce; uint64_t now_s; } gr_jwt_wanted;
/* GR_FORBIDDEN, with what does not fit.  Clocks may differ by GR_JWT_SKEW_S. */
GR_MUST_USE gr_err gr_jwt_check_id(const gr_json *claims, const gr_jwt_wanted *);
GR_MUST_USE gr_err gr_jwt_check_logout(const gr_json *claims, const gr_jwt_wanted *);    /* without a nonce */
