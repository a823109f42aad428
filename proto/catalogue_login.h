/* catalogue_login.h - messages to login flows and token indexes (100-199). See catalogue.h. */
#pragma once

#define GR_RECORDS_LOGIN(R)

#define GR_MESSAGES_LOGIN(M) \
    M(100, token_check, false, "Whose access token is this; answered with token_owner, or UNKNOWN_TOKEN") \
    M(101, token_owner, false, "The owner of a token, and how long the edge may remember it") \
    M(102, token_forget, false, "To an edge: drop what you remember of this token; answered done")

#define GR_FIELDS_token_check(F, L) F(str, hash, SECRET, 1)    /* SHA-256 of the whole token */
#define GR_FIELDS_token_owner(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) \
    F(u64, expires_ms, PLAIN, 1)          /* 0: never */ \
    F(u64, lease_ms, PLAIN, 1)            /* the edge may answer from memory until then (ms since 1970) */
#define GR_FIELDS_token_forget(F, L) F(str, hash, SECRET, 1)
