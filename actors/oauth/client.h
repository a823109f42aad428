/* client.h - a client of the OAuth 2.0 API that has registered itself. RFC 7591; Client-Server API, "Client registration".
 *
 * Addressed client/<client id>; the id is a hash of the metadata, so that the same client on many devices is one record.
 * A record without sessions goes after GR_CLIENT_UNUSED_MS; one with sessions stays.
 *
 *   c                      the registration (gr_oauth_client); looked at by the durable timer "end"
 *   s <user> 0 <device>    a session of this client
 */
#pragma once
#include "bus/actor.h"

enum { GR_CLIENT_UNUSED_MS = 24 * 3600 * 1000 };

extern const gr_actor_kind gr_client_kind;
