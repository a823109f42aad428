/* catalogue_login.h - messages to login flows and token indexes (100-199). See catalogue.h.
 *
 * Tokens are told apart by the SHA-256 hash of their whole text; the text itself is only ever in answers.
 */
#pragma once

#define GR_RECORDS_LOGIN(R) \
    R(token_row, "A token as its index stores it") \
    R(login_session, "A session of user-interactive authentication as it is stored") \
    R(email_session, "The validation of an email address as it is stored") \
    R(login_token_row, "A login token as its login actor stores it") \
    R(sso_flow, "A login by an identity provider as its login actor stores it")

/* kind: the letter of gr_token_kind.  partner: of an access token its refresh token and the other way round.
 * before: the refresh token that this pair replaces, until this pair is used; after: the pair made by a refresh, not used yet.
 * client, scope: of the OAuth 2.0 API, empty with a legacy login; spent: its refresh tokens before, the newest last.
 * provider, session, subject: of a browser's token, who vouched for the user. */
#define GR_FIELDS_token_row(F, L) \
    F(u64, kind, PLAIN, 1) F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) \
    F(u64, expires_ms, PLAIN, 1) F(str, partner, SECRET, 1) F(str, before, SECRET, 1) F(str, after, SECRET, 1) \
    F(str, client, PLAIN, 1) F(str, scope, PLAIN, 1) F(strs, spent, SECRET, 1) F(u64, made_ms, PLAIN, 1) \
    F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) F(str, subject, CONTENT, 1)
/* request_hash: of the body without auth, once all stages are done: only that very request may be repeated.
 * flows: each the names of its stages with blanks between. */
#define GR_FIELDS_login_session(F, L) \
    F(str, binding, PLAIN, 1) F(str, user, PLAIN, 1) F(strs, done, PLAIN, 1) F(u64, made_ms, PLAIN, 1) \
    F(str, request_hash, SECRET, 1) F(bool, passed, PLAIN, 1) F(strs, flows, PLAIN, 1) \
    F(str, email, CONTENT, 1)             /* that the email stage was done with */ \
    F(str, action, PLAIN, 1) \
    F(strs, terms, PLAIN, 1)              /* that were shown, as in user_create */ \
    F(str, language, PLAIN, 1)            /* of the mail to email */
/* secret_hash: of the client_secret; token_hash: of what the newest mail said.  attempt: the client's send_attempt; mails: how
 * many were asked for; tries: at sending the newest; guesses: wrong tokens.  validated_ms, 0: not yet. */
#define GR_FIELDS_email_session(F, L) \
    F(str, address, CONTENT, 1) F(str, secret_hash, SECRET, 1) F(str, token_hash, SECRET, 1) F(u64, attempt, PLAIN, 1) \
    F(str, purpose, PLAIN, 1) F(str, user, PLAIN, 1) F(str, next_link, CONTENT, 1) \
    F(u64, made_ms, PLAIN, 1) F(u64, validated_ms, PLAIN, 1) F(u64, mails, PLAIN, 1) F(u64, tries, PLAIN, 1) \
    F(u64, guesses, PLAIN, 1) \
    F(str, language, PLAIN, 1)            /* of its mails, as HTML has it: "en" */

/* provider, session: who vouched for the user, and what the provider calls its session with them; empty: a session of ours. */
#define GR_FIELDS_login_token_row(F, L) \
    F(u64, version, PLAIN, 1) F(str, user, PLAIN, 1) F(u64, expires_ms, PLAIN, 1) F(str, nonce, SECRET, 1) \
    F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) F(bool, spent, PLAIN, 1) F(str, subject, CONTENT, 1)
/* step: a gr_sso_step.  uia: the session of user-interactive authentication that it is for, and of whom. */
#define GR_FIELDS_sso_flow(F, L) \
    F(u64, step, PLAIN, 1) F(str, provider, PLAIN, 1) F(str, redirect_url, SECRET, 1) F(str, nonce, SECRET, 1) \
    F(str, verifier, SECRET, 1) F(u64, made_ms, PLAIN, 1) F(str, uia, PLAIN, 1) F(str, uia_user, PLAIN, 1) \
    F(str, subject, CONTENT, 1) F(str, localpart, PLAIN, 1) F(str, display_name, CONTENT, 1) F(str, session, SECRET, 1) \
    F(str, user, PLAIN, 1) F(bool, registered, PLAIN, 1)

#define GR_MESSAGES_LOGIN(M) \
    M(100, token_check, false, "Whose access token is this; answered with token_owner, UNKNOWN_TOKEN, or EXPIRED_TOKEN") \
    M(101, token_owner, false, "The owner of a token, and how long the edge may remember it") \
    M(102, token_forget, false, "To an edge: drop what you remember of this token; answered done") \
    M(103, token_issue, false, "Make a token (pair) for a device, ending those it had; answered with token_pair") \
    M(104, token_pair, false, "New tokens") \
    M(105, token_drop, false, "End tokens of a user; answered done when no edge takes them any more") \
    M(106, token_refresh, false, "A new pair for a refresh token; answered with token_pair, or UNKNOWN_TOKEN") \
    M(110, login_password, false, "Log in by password; answered with login_answer") \
    M(111, login_token, false, "To login/<hash of a login token>: log in by it; answered with token_pair, or login_refused") \
    M(112, login_uia, false, "A request that needs user-interactive authentication; answered with login_answer, login_wanted " \
      "or login_passed") \
    M(113, login_answer, false, "The final answer for the client: JSON with its tokens") \
    M(114, login_wanted, false, "401 for the client: JSON with the flows and the session") \
    M(115, login_passed, false, "Authenticated: the edge goes on with the request") \
    M(116, login_account, false, "From the owner of the server: make an account; answered with login_account_made, or " \
      "login_answer") \
    M(117, login_account_made, false, "The account's user id") \
    M(118, login_guest, false, "Make a guest account, without a password; answered with login_answer") \
    M(130, login_stage, false, "From a page: do one stage of a session; answered with login_stage_is, or NOT_FOUND") \
    M(131, login_stage_is, false, "How a stage of a session stands") \
    M(132, login_appservice, false, "An application service logs a user of its own in, or makes their account; answered with " \
      "login_answer") \
    M(140, email_ask, false, "To email/<session id>: send a mail to this address by which somebody shows that it is theirs; " \
      "answered done") \
    M(141, email_submit, false, "What the mail said; answered with email_is, or FORBIDDEN") \
    M(142, email_look, false, "Is the address validated; answered with email_is, or NOT_FOUND") \
    M(143, email_is, false, "An address, and since when it is validated (0: it is not)") \
    M(150, token_hold, false, "Posted by a user actor: access tokens of this user are refused from now on, or taken again") \
    M(170, sso_begin, false, "Log in by an identity provider; answered with sso_go") \
    M(171, sso_go, false, "Where the browser is to go") \
    M(172, sso_back, false, "The browser is back from the provider with this; answered with sso_is") \
    M(173, sso_name, false, "The user name that somebody new picked; answered with sso_is") \
    M(174, sso_look, false, "How far is the login; answered with sso_is") \
    M(175, sso_finish, false, "Go back to the client with a login token; answered with sso_is, then with nothing more") \
    M(176, sso_is, false, "How far a login by an identity provider is") \
    M(177, login_token_make, false, "To login/<hash of the token>: this login token is good; answered done") \
    M(178, login_refused, false, "A login token that lets nobody in, and why") \
    M(179, provider_about, false, "Where a provider is, and its keys; answered with provider_is") \
    M(180, provider_is, false, "What a provider publishes of itself") \
    M(181, provider_session, false, "From a user: a device that came of a provider's session, or that has ended") \
    M(182, provider_logout, false, "The provider ends a session; answered done, or FORBIDDEN") \
    M(183, login_vouched, false, "From a login by a provider: the user of this session has authenticated; answered done")

#define GR_FIELDS_token_check(F, L) \
    F(str, hash, SECRET, 1)               /* SHA-256 of the whole token */ \
    F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1)      /* of the client: where its device was last seen */
#define GR_FIELDS_token_owner(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) \
    F(u64, expires_ms, PLAIN, 1)          /* 0: never */ \
    F(u64, lease_ms, PLAIN, 1)            /* the edge may answer from memory that long, from when it asked */ \
    F(str, client, PLAIN, 1)              /* of the OAuth 2.0 API; empty with a legacy login */ \
    F(str, scope, PLAIN, 1)
#define GR_FIELDS_token_forget(F, L) F(str, hash, SECRET, 1)
#define GR_FIELDS_token_issue(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) \
    F(bool, refreshable, PLAIN, 1)        /* a pair whose access token expires */ \
    F(str, client, PLAIN, 1) F(str, scope, PLAIN, 1) \
    F(str, provider, PLAIN, 1)            /* who vouched: the answer says so too */
#define GR_FIELDS_token_pair(F, L) \
    F(str, access, SECRET, 1) F(str, refresh, SECRET, 1)      /* refresh: empty when access does not expire */ \
    F(u64, expires_in_ms, PLAIN, 1) F(str, scope, PLAIN, 1) F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) \
    F(str, provider, PLAIN, 1)
/* devices: of these; empty: of all of the user but keep. */
#define GR_FIELDS_token_drop(F, L) F(str, user, PLAIN, 1) F(strs, devices, PLAIN, 1) F(str, keep, PLAIN, 1)
/* client: of the OAuth 2.0 API; the token must be its own, or of a legacy login when it is empty. */
#define GR_FIELDS_token_refresh(F, L) F(str, hash, SECRET, 1) F(str, client, PLAIN, 1)

#define GR_FIELDS_login_password(F, L) \
    F(str, user, PLAIN, 1)                /* whole user id */ \
    F(str, password, SECRET, 1) F(str, device, PLAIN, 1) F(str, display_name, CONTENT, 1) F(bool, refreshable, PLAIN, 1) \
    F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1) \
    F(str, email, CONTENT, 1)             /* instead of user */ \
    F(bool, verify_only, PLAIN, 1)        /* make no device; answered with login_proved */
#define GR_FIELDS_login_token(F, L) \
    F(str, device, PLAIN, 1) F(str, display_name, CONTENT, 1) F(bool, refreshable, PLAIN, 1) \
    F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1) F(bool, verify_only, PLAIN, 1)
/* action: register, password, or check (the edge does the rest).  binding: method and path.  user: who asks; with register
 * the guest who becomes a user.  request: the body without auth. */
#define GR_FIELDS_login_uia(F, L) \
    F(str, action, PLAIN, 1) F(str, binding, PLAIN, 1) F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) \
    F(str, auth, SECRET, 1) F(str, request, SECRET, 1) F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1) \
    F(bool, by_oauth, PLAIN, 1)           /* user is logged in by the OAuth 2.0 API */
#define GR_FIELDS_login_guest(F, L) F(str, display_name, CONTENT, 1) F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1)
#define GR_FIELDS_login_answer(F, L) F(str, body, SECRET, 1)
#define GR_FIELDS_login_wanted(F, L) F(str, body, PLAIN, 1)
#define GR_FIELDS_login_passed(F, L)
/* password_hash: as another server had it, instead of a password.  log_in: answered with login_answer, a device and tokens;
 * what is repeated with the same address is answered again. */
#define GR_FIELDS_login_account(F, L) \
    F(str, name, PLAIN, 1) F(str, password, SECRET, 1) F(bool, admin, PLAIN, 1) F(str, password_hash, SECRET, 1) \
    F(bool, log_in, PLAIN, 1) F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1)
#define GR_FIELDS_login_account_made(F, L) F(str, user, PLAIN, 1)
/* params: of the stage, as `auth` would have them; empty: only look. */
#define GR_FIELDS_login_stage(F, L) \
    F(str, stage, PLAIN, 1) F(str, params, SECRET, 1) F(str, ip, PLAIN, 1)
/* failed, error: what was wrong with params.  user: who authenticates, empty in a registration. */
#define GR_FIELDS_login_stage_is(F, L) \
    F(bool, done, PLAIN, 1) F(bool, failed, PLAIN, 1) F(str, error, PLAIN, 1) F(str, user, PLAIN, 1) F(str, action, PLAIN, 1)
#define GR_FIELDS_login_appservice(F, L) \
    F(str, appservice, PLAIN, 1) F(str, user, PLAIN, 1) F(bool, make, PLAIN, 1) F(bool, inhibit_login, PLAIN, 1) \
    F(str, device, PLAIN, 1) F(str, display_name, CONTENT, 1) F(bool, refreshable, PLAIN, 1) F(str, ip, PLAIN, 1) \
    F(str, agent, PLAIN, 1)
/* purpose: register, password or add.  user: who is logged in. */
#define GR_FIELDS_email_ask(F, L) \
    F(str, address, CONTENT, 1) F(str, secret_hash, SECRET, 1) F(u64, attempt, PLAIN, 1) F(str, purpose, PLAIN, 1) \
    F(str, user, PLAIN, 1) F(str, next_link, CONTENT, 1) F(str, language, PLAIN, 1)
/* secret_hash: may be empty, when a person follows the link. */
#define GR_FIELDS_email_submit(F, L) F(str, token, SECRET, 1) F(str, secret_hash, SECRET, 1)
#define GR_FIELDS_email_look(F, L) F(str, secret_hash, SECRET, 1)
#define GR_FIELDS_email_is(F, L) \
    F(str, address, CONTENT, 1) F(str, purpose, PLAIN, 1) F(str, user, PLAIN, 1) F(u64, validated_ms, PLAIN, 1) \
    F(str, next_link, CONTENT, 1) F(str, language, PLAIN, 1)
#define GR_FIELDS_token_hold(F, L) F(str, user, PLAIN, 1) F(bool, held, PLAIN, 1)
/* redirect_url: the client's.  uia: see sso_flow.  registers: the person wants an account that is not there yet. */
#define GR_FIELDS_sso_begin(F, L) \
    F(str, provider, PLAIN, 1) F(str, redirect_url, SECRET, 1) F(str, uia, PLAIN, 1) F(str, uia_user, PLAIN, 1) \
    F(bool, registers, PLAIN, 1)
#define GR_FIELDS_sso_go(F, L) F(str, url, SECRET, 1)
/* provider: as the path says.  code: of OpenID Connect, or the ticket of CAS.  issuer: RFC 9207; empty: not said. */
#define GR_FIELDS_sso_back(F, L) \
    F(str, provider, PLAIN, 1) F(str, code, SECRET, 1) F(str, issuer, PLAIN, 1) F(str, error, PLAIN, 1)
#define GR_FIELDS_sso_name(F, L) F(str, localpart, PLAIN, 1)
#define GR_FIELDS_sso_look(F, L)
#define GR_FIELDS_sso_finish(F, L)
/* url: of the client; after sso_finish with the login token in it.  problem: with the user name, a gr_sso_problem. */
#define GR_FIELDS_sso_is(F, L) \
    F(u64, step, PLAIN, 1) F(str, provider, PLAIN, 1) F(str, url, SECRET, 1) F(str, user, PLAIN, 1) F(str, localpart, PLAIN, 1) \
    F(u64, problem, PLAIN, 1) F(bool, registered, PLAIN, 1) F(bool, uia, PLAIN, 1)
#define GR_FIELDS_login_token_make(F, L) \
    F(str, user, PLAIN, 1) F(u64, lifetime_ms, PLAIN, 1) F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) \
    F(str, subject, CONTENT, 1)
#define GR_FIELDS_login_refused(F, L) F(u64, why, PLAIN, 1)     /* a gr_login_refusal */
#define GR_FIELDS_provider_about(F, L) F(str, key_id, PLAIN, 1)         /* a key that should be among them; empty: any */
#define GR_FIELDS_provider_is(F, L) F(str, metadata, PLAIN, 1) F(str, keys, PLAIN, 1)        /* JSON */
#define GR_FIELDS_provider_session(F, L) \
    F(str, session, SECRET, 1) F(str, subject, CONTENT, 1) F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) \
    F(bool, ended, PLAIN, 1)
/* token: a logout token; or session: the ticket that CAS ends; subject: without either, all sessions of that. */
#define GR_FIELDS_provider_logout(F, L) F(str, token, SECRET, 1) F(str, session, SECRET, 1) F(str, subject, CONTENT, 1)
#define GR_FIELDS_login_vouched(F, L) F(str, user, PLAIN, 1)
