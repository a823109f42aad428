/* oauth.h - what the routes of the OAuth 2.0 API share: addresses, errors, the client that asks.
 *
 * routes_oauth.c serves clients (metadata, registration, tokens), routes_consent.c the pages on which a user allows one
 * something, routes_manage.c those on which users look after their account; browser.h says who is signed in to pages.
 */
#pragma once
#include "edge/call.h"

#include "proto/oauth.h"

#define GR_OAUTH_AUTHORIZE "/_greenroom/oauth2/authorize"
#define GR_OAUTH_LINK "/_greenroom/link"
#define GR_OAUTH_ACCOUNT "/_greenroom/account"

/* False, and the call is answered 404, when it is switched off. */
bool gr_oauth_is_on(gr_call *);

/* An error as RFC 6749 section 5.2 has it, and an answer that nobody may keep. */
void gr_oauth_fail(gr_call *, int status, const char *error, const char *text);
void gr_oauth_answer(gr_call *, int status, gr_buf *json);

/* A field of the posted form, or of the query; empty when it is not there. Who gives one twice is refused: `twice`. */
gr_str gr_oauth_field(const gr_route_query *, const char *name);
bool gr_oauth_twice(const gr_route_query *);

/* Asks for what the client has registered.  False: there can be none of this id. */
bool gr_oauth_ask_client(gr_call *, gr_str client_id, gr_call_then *);
/* The answer to that: *metadata is NULL when it is not registered.  False: the call was answered, the node is busy. */
bool gr_oauth_client_told(gr_call *, const gr_answer *, const gr_json **metadata);
/* What it calls itself, else where it is from. */
gr_str gr_oauth_client_name(const gr_json *metadata);
