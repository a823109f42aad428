/* grant.h - what a user allows a client: an authorisation code, or a device code that waits for the user.
 *
 * RFC 6749 section 4.1, RFC 7636, RFC 8628; Client-Server API, "Grant types".  Addressed grant/<id>.  A code is
 * "<id>.<secret>", so that it finds its actor from any node; only its hash is stored.  The id of a device grant is its
 * user code.
 *
 *   g    the grant (gr_oauth_grant); deleted by the durable timer "end"
 *
 * Tokens are made by the user actor and the token index, which answer: the post to them and the spent code are one batch,
 * so that a code makes one device at most, and one whose answer was lost none more.  Who presents a spent authorisation
 * code ends the device that it made.
 */
#pragma once
#include "bus/actor.h"

enum {
    GR_GRANT_CODE_MS = 60 * 1000,              /* the client fetches its tokens at once */
    GR_GRANT_SPENT_MS = 24 * 3600 * 1000,      /* how long a replay is noticed */
    GR_GRANT_DEVICE_MS = 15 * 60 * 1000,       /* people look for their telephone */
    GR_GRANT_EXPIRED_MS = 15 * 60 * 1000,      /* after that a device code is told expired */
    GR_GRANT_POLL_MS = 5000,
    GR_GRANT_USER_CODE = 8                     /* characters of a user code */
};

extern const gr_actor_kind gr_grant_kind;

/* The address of the grant of a code, and the hash to ask with; false when it is no code of this server. */
bool gr_grant_of_code(gr_arena *, gr_str code, gr_str *address, gr_str *hash);
/* A user code from random bytes, and as people are shown it: "WDJB-MJHT". */
gr_str gr_grant_user_code(gr_arena *, const unsigned char random[GR_GRANT_USER_CODE]);
gr_str gr_grant_user_code_shown(gr_arena *, gr_str user_code);
/* From what somebody typed, in any case and with or without the dash; empty when it is no user code. */
gr_str gr_grant_user_code_read(gr_arena *, gr_str typed);
