/* catalogue_oauth.h - messages of the OAuth 2.0 API (800-899). See catalogue.h.
 *
 * Codes are told apart by the SHA-256 hash of their whole text; the text itself is only ever in answers.
 */
#pragma once

#define GR_RECORDS_OAUTH(R) \
    R(oauth_client, "A client that has registered, as it is stored") \
    R(oauth_grant, "What a user allows a client, or is asked to, as it is stored")

#define GR_FIELDS_oauth_client(F, L) F(str, metadata, CONTENT, 1) F(u64, until_ms, PLAIN, 1)
/* provider, session, subject, here and below: of the identity provider that vouched for the user when they signed in; empty:
 * nobody else.  mode, step: of actors/oauth/grant.c.  hash: of the code (of the device code).  challenge: of the proof key. */
#define GR_FIELDS_oauth_grant(F, L) \
    F(u64, mode, PLAIN, 1) F(u64, step, PLAIN, 1) F(str, client, PLAIN, 1) F(str, client_name, CONTENT, 1) \
    F(str, redirect_uri, CONTENT, 1) F(str, scope, PLAIN, 1) F(str, device, PLAIN, 1) F(str, user, PLAIN, 1) \
    F(str, challenge, SECRET, 1) F(str, hash, SECRET, 1) F(u64, until_ms, PLAIN, 1) \
    F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) F(str, subject, CONTENT, 1)

#define GR_MESSAGES_OAUTH(M) \
    M(800, client_register, false, "A client with this metadata; answered done") \
    M(801, client_look, false, "What is registered of this client; answered with client_is, or NOT_FOUND") \
    M(802, client_is, false, "What is registered of a client") \
    M(803, client_session, false, "Posted by a user actor when a device began or ended that this client was given") \
    M(810, grant_code, false, "The user allows the client a device: answered with grant_made, its code") \
    M(811, grant_made, false, "The code for the client") \
    M(812, grant_redeem, false, "Tokens for a code; answered with token_pair by the token index, or grant_refused") \
    M(813, grant_refused, false, "Why there are no tokens: an error of RFC 6749 or RFC 8628") \
    M(814, grant_device, false, "A client waits for a user to allow it a device; answered with grant_made, or USER_IN_USE when " \
      "this user code waits for another") \
    M(815, grant_look, false, "What waits for this user code; answered with grant_is, or NOT_FOUND") \
    M(816, grant_is, false, "What waits for a user code") \
    M(817, grant_decide, false, "The user allows or denies what waits for this user code; answered done, or NOT_FOUND") \
    M(818, grant_poll, false, "Tokens for a device code; answered with token_pair by the token index, or grant_refused") \
    M(820, token_look, false, "Whose access or refresh token is this; answered with token_owner, or NOT_FOUND") \
    M(821, browser_begin, false, "The user has signed in to the server's pages; answered with token_pair: the cookie") \
    M(822, browser_look, false, "Who is signed in to the pages with this cookie; answered with browser_is, or UNKNOWN_TOKEN") \
    M(823, browser_is, false, "Who is signed in to the pages, and since when") \
    M(824, browser_end, false, "Signed out from the pages; answered done") \
    M(830, login_proved, false, "Whose password or login token it is, when no device was wanted")

/* metadata: JSON, as the client is told it was registered. */
#define GR_FIELDS_client_register(F, L) F(str, metadata, CONTENT, 1)
#define GR_FIELDS_client_look(F, L)
#define GR_FIELDS_client_is(F, L) F(str, metadata, CONTENT, 1)
#define GR_FIELDS_client_session(F, L) F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(bool, ended, PLAIN, 1)
#define GR_FIELDS_grant_code(F, L) \
    F(str, client, PLAIN, 1) F(str, client_name, CONTENT, 1) F(str, redirect_uri, CONTENT, 1) F(str, scope, PLAIN, 1) \
    F(str, device, PLAIN, 1) F(str, user, PLAIN, 1) F(str, challenge, SECRET, 1) \
    F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) F(str, subject, CONTENT, 1)
#define GR_FIELDS_grant_made(F, L) F(str, code, SECRET, 1)
#define GR_FIELDS_grant_redeem(F, L) \
    F(str, hash, SECRET, 1) F(str, client, PLAIN, 1) F(str, redirect_uri, CONTENT, 1) F(str, verifier, SECRET, 1) \
    F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1)
#define GR_FIELDS_grant_refused(F, L) F(str, error, PLAIN, 1) F(str, text, PLAIN, 1)
#define GR_FIELDS_grant_device(F, L) \
    F(str, client, PLAIN, 1) F(str, client_name, CONTENT, 1) F(str, scope, PLAIN, 1) F(str, device, PLAIN, 1)
#define GR_FIELDS_grant_look(F, L)
#define GR_FIELDS_grant_is(F, L) F(str, client, PLAIN, 1) F(str, device, PLAIN, 1)
#define GR_FIELDS_grant_decide(F, L) \
    F(str, user, PLAIN, 1) F(bool, allowed, PLAIN, 1) F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) \
    F(str, subject, CONTENT, 1)
#define GR_FIELDS_grant_poll(F, L) \
    F(str, hash, SECRET, 1) F(str, client, PLAIN, 1) F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1)
#define GR_FIELDS_token_look(F, L) F(str, hash, SECRET, 1)
#define GR_FIELDS_browser_begin(F, L) \
    F(str, user, PLAIN, 1) F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) F(str, subject, CONTENT, 1)
#define GR_FIELDS_browser_look(F, L) F(str, hash, SECRET, 1)
#define GR_FIELDS_browser_is(F, L) \
    F(str, user, PLAIN, 1) F(u64, made_ms, PLAIN, 1) F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) \
    F(str, subject, CONTENT, 1)
#define GR_FIELDS_browser_end(F, L) F(str, hash, SECRET, 1)
#define GR_FIELDS_login_proved(F, L) \
    F(str, user, PLAIN, 1) F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) F(str, subject, CONTENT, 1)
