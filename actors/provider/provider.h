/* provider.h - one identity provider: what it publishes of itself, its keys, and the devices that came of its sessions.
 *
 * Addressed provider/<id as configured>.  Metadata and keys are in memory only, fetched when they are asked for and kept for
 * an hour; a key that is not known makes it ask again, at most every GR_PROVIDER_KEYS_MS.  When the provider ends a session
 * (OpenID Connect Back-Channel Logout; CAS single logout) the devices that came of it are logged out, and no others.  Their
 * users say which there are, and when they end.
 *
 *   s <session> 0 <user> 0 <device>    the subject    (session, subject: base64)
 *   u <subject> 0 <user> 0 <device>    the session
 */
#pragma once
#include "bus/actor.h"
#include "proto/json.h"

enum {
    GR_PROVIDER_METADATA_MS = 60 * 60 * 1000, GR_PROVIDER_KEYS_MS = 500, GR_PROVIDER_FETCH_MS = 8000,
    GR_PROVIDER_ANSWER_MAX = 256 * 1024, GR_PROVIDER_WAITING_MAX = 256, GR_PROVIDER_LOGOUT_STEP = 64,
    GR_PROVIDER_SESSION_MAX = 512
};

/* As configured: edge/config_table.c says what each means. */
typedef struct {
    gr_str id, name, issuer, client_id, client_secret, scopes;     /* scopes: with blanks between */
    bool is_cas, secret_in_form, has_secret;
    bool userinfo, registration, pick_name, link_existing;
    gr_str subject, localpart, display_name;       /* templates */
} gr_provider;
typedef struct { const gr_provider *at; size_t count; } gr_providers;

const gr_provider *gr_provider_find(const gr_providers *, gr_str id);      /* or NULL */

extern const gr_actor_kind gr_provider_kind;
