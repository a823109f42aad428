/* oauth.h - the grammar of the OAuth 2.0 API: scopes, redirect URIs, what clients say of themselves, proof keys.
 *
 * Client-Server API, "OAuth 2.0 API"; RFC 6749, 7591, 7636, 8252.  All pure; results lie in the arena.
 */
#pragma once
#include "proto/json.h"

enum {
    GR_OAUTH_URI_MAX = 2048, GR_OAUTH_REDIRECTS_MAX = 16, GR_OAUTH_NAME_MAX = 120, GR_OAUTH_SCOPE_MAX = 1024,
    GR_OAUTH_STATE_MAX = 2048, GR_OAUTH_DEVICE_MAX = 64, GR_OAUTH_METADATA_MAX = 48 * 1024
};

#define GR_OAUTH_DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"

/* --- scopes --- */
typedef struct {
    gr_str device;                 /* of the one token urn:matrix:client:device:<device id> */
    gr_str granted;                /* the tokens that this server knows, as they were asked for */
} gr_oauth_scope;
/* NULL, or what is wrong: the whole API and exactly one device have to be asked for.  Tokens that are not known are left
 * out; names from before the API was stable are taken too. */
const char *gr_oauth_scope_read(gr_arena *, gr_str text, gr_oauth_scope *);
bool gr_oauth_scope_has_api(gr_str granted);

/* --- clients --- */
typedef struct { const char *error, *text; } gr_oauth_refusal;          /* {NULL, NULL}: none */
/* Judges the metadata of a registration; *out is the JSON object that is registered: what is known, with defaults. */
gr_oauth_refusal gr_oauth_client_read(gr_arena *, const gr_json *request, gr_str *out);
/* Is the URI one of those registered?  To the byte, but for the port of loopback addresses. */
bool gr_oauth_redirect_known(const gr_json *metadata, gr_str uri);
bool gr_oauth_client_may(const gr_json *metadata, const char *grant_type);
/* Host of an https URI, scheme of another: where people are sent. */
gr_str gr_oauth_uri_where(gr_str uri);

/* --- proof keys --- */
bool gr_oauth_challenge(gr_str);                                        /* is it one, of method S256 */
bool gr_oauth_verifies(gr_arena *, gr_str verifier, gr_str challenge);
