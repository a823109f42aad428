/* err.h - an error as a value: a Matrix error code, a text for people, and for M_LIMIT_EXCEEDED a wait.
 *
 * Client-server API, "Standard error response".  {0} is success.  Texts never contain secrets.
 */
#pragma once
#include "proto/str.h"

/* X(name, "wire code", default HTTP status) */
#define GR_ERRCODES(X) \
    X(OK, "", 200) \
    X(UNKNOWN, "M_UNKNOWN", 500) \
    X(FORBIDDEN, "M_FORBIDDEN", 403) \
    X(UNKNOWN_TOKEN, "M_UNKNOWN_TOKEN", 401) \
    X(MISSING_TOKEN, "M_MISSING_TOKEN", 401) \
    X(UNAUTHORIZED, "M_UNAUTHORIZED", 401) \
    X(USER_DEACTIVATED, "M_USER_DEACTIVATED", 403) \
    X(USER_LOCKED, "M_USER_LOCKED", 401) \
    X(BAD_JSON, "M_BAD_JSON", 400) \
    X(NOT_JSON, "M_NOT_JSON", 400) \
    X(NOT_FOUND, "M_NOT_FOUND", 404) \
    X(LIMIT_EXCEEDED, "M_LIMIT_EXCEEDED", 429) \
    X(UNRECOGNIZED, "M_UNRECOGNIZED", 404) \
    X(METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", 405) \
    X(USER_IN_USE, "M_USER_IN_USE", 400) \
    X(INVALID_USERNAME, "M_INVALID_USERNAME", 400) \
    X(ROOM_IN_USE, "M_ROOM_IN_USE", 400) \
    X(INVALID_ROOM_STATE, "M_INVALID_ROOM_STATE", 400) \
    X(UNSUPPORTED_ROOM_VERSION, "M_UNSUPPORTED_ROOM_VERSION", 400) \
    X(INCOMPATIBLE_ROOM_VERSION, "M_INCOMPATIBLE_ROOM_VERSION", 400) \
    X(BAD_STATE, "M_BAD_STATE", 400) \
    X(GUEST_ACCESS_FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", 403) \
    X(MISSING_PARAM, "M_MISSING_PARAM", 400) \
    X(INVALID_PARAM, "M_INVALID_PARAM", 400) \
    X(TOO_LARGE, "M_TOO_LARGE", 413) \
    X(EXCLUSIVE, "M_EXCLUSIVE", 400) \
    X(RESOURCE_LIMIT_EXCEEDED, "M_RESOURCE_LIMIT_EXCEEDED", 403) \
    X(CANNOT_LEAVE_SERVER_NOTICE_ROOM, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", 403) \
    X(WEAK_PASSWORD, "M_WEAK_PASSWORD", 400) \
    X(BAD_ALIAS, "M_BAD_ALIAS", 400) \
    X(DUPLICATE_ANNOTATION, "M_DUPLICATE_ANNOTATION", 400) \
    X(WRONG_ROOM_KEYS_VERSION, "M_WRONG_ROOM_KEYS_VERSION", 403) \
    X(INVALID_SIGNATURE, "M_INVALID_SIGNATURE", 400) \
    X(NOT_YET_UPLOADED, "M_NOT_YET_UPLOADED", 504) \
    X(CANNOT_OVERWRITE_MEDIA, "M_CANNOT_OVERWRITE_MEDIA", 409) \
    X(THREEPID_DENIED, "M_THREEPID_DENIED", 403) \
    X(THREEPID_IN_USE, "M_THREEPID_IN_USE", 400) \
    X(THREEPID_NOT_FOUND, "M_THREEPID_NOT_FOUND", 400) \
    X(THREEPID_AUTH_FAILED, "M_THREEPID_AUTH_FAILED", 400) \
    X(THREEPID_MEDIUM_NOT_SUPPORTED, "M_THREEPID_MEDIUM_NOT_SUPPORTED", 400) \
    X(SERVER_NOT_TRUSTED, "M_SERVER_NOT_TRUSTED", 400) \
    X(INVITE_BLOCKED, "M_INVITE_BLOCKED", 403) \
    X(UNABLE_TO_AUTHORISE_JOIN, "M_UNABLE_TO_AUTHORISE_JOIN", 400) \
    X(UNABLE_TO_GRANT_JOIN, "M_UNABLE_TO_GRANT_JOIN", 400) \
    X(UNAVAILABLE, "M_UNKNOWN", 503) \
    X(BAD_GATEWAY, "M_UNKNOWN", 502) \
    X(TIMEOUT, "M_UNKNOWN", 504) \
    X(UNSUPPORTED_MEDIA_TYPE, "M_UNKNOWN", 415) \
    X(PROFILE_TOO_LARGE, "M_PROFILE_TOO_LARGE", 400) \
    X(KEY_TOO_LARGE, "M_KEY_TOO_LARGE", 400) \
    X(EXPIRED_TOKEN, "M_UNKNOWN_TOKEN", 401)     /* a refresh gives a new one: sent with soft_logout */ \
    X(REFUSED, "M_UNKNOWN", 400)                 /* a request that is wrong in a way which has no code of its own */

typedef enum {
#define X(name, wire, status) GR_##name,
    GR_ERRCODES(X)
#undef X
    GR_ERRCODE_COUNT
} gr_errcode;

typedef struct {
    gr_errcode code;
    const char *text;         /* a string literal, or memory of the arena of the one who asked */
    uint64_t retry_after_ms;  /* only with GR_LIMIT_EXCEEDED */
} gr_err;

#define GR_MUST_USE __attribute__((warn_unused_result))
static inline gr_err gr_ok(void) { return (gr_err){GR_OK, NULL, 0}; }
static inline gr_err gr_fail(gr_errcode code, const char *text) { return (gr_err){code, text, 0}; }
static inline bool gr_failed(gr_err e) { return e.code != GR_OK; }
gr_err gr_failf(gr_arena *, gr_errcode code, const char *format, ...) __attribute__((format(printf, 3, 4)));
const char *gr_errcode_wire(gr_errcode);    /* "M_FORBIDDEN" */
int gr_errcode_status(gr_errcode);          /* the HTTP status that goes with it by default */
