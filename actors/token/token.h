/* token.h - the token index of one shard: whose token is this, and which edges may answer that from memory.
 *
 * Tokens of a user lie in the user's shard; only hashes are stored, the text leaves once, in the answer that made it.
 *
 *   h <hash>                      a token (gr_token_row)
 *   u <user> 0 <device> 0 <hash>  its kind: tokens of a user, by device
 *   x <user>                      tokens of this user are refused for the time being
 *   e <address>                   an edge that has asked: it may hold leases
 *   g <user> 0 <device> 0 <hash>  an access token that was ended while edges held leases: until when they may
 *
 * An edge that was told an owner may remember it for GR_TOKEN_LEASE_MS.  Ending a token is answered when every edge with a
 * lease has dropped it, or when the leases have run out, also when the request is repeated because the first answer was
 * lost.  Which edges hold leases is memory; after a load all that ever asked are taken to hold some.
 *
 * A refresh makes a successor pair; a repeat before its first use replaces that pair; its first use ends the old one.
 * With the OAuth 2.0 API the newest of those that were ended are remembered: who uses one of them ends the session.
 */
#pragma once
#include "actors/env.h"

enum {
    /* Told to edges, which count it from when they asked; short, since a logout waits for it when an edge can't be reached. */
    GR_TOKEN_LEASE_MS = 3000,
    GR_TOKEN_WAIT_MS = 4500,       /* taken here: clocks may run an eighth faster or slower (bus/clock.h) */
    GR_TOKEN_DROP_STEP = 64,       /* tokens ended by one message; more are ended by a post to itself */
    GR_TOKEN_EDGES_MAX = 256,
    GR_TOKEN_SPENT_MAX = 8,        /* refresh tokens of a session that are remembered after their use */
    GR_TOKEN_BROWSER_MS = 3600 * 1000
};

extern const gr_actor_kind gr_token_index_kind;
