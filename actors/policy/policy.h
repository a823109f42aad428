/* policy.h - the policy flow: "policy/!room/flow/<hash>" has the room's policy server sign one event that nobody waits for.
 *
 * Server-server API, "Asking for a Policy Server signature on an event".  Requests of clients are answered only then, so the edge
 * does it for them (edge/policy.h); what is left is here:
 *
 * - An event of another server that came without a valid signature: the room keeps it aside (actors/room/incoming.h) until
 *   this flow has told it what the policy server said, which is asked once.
 * - An event of a user here that a request made unasked: a change of a profile, a leave of who is gone.  The room posts the
 *   message that is to make it here; the flow asks the room the same, so that the event is made anew for every try, and offers
 *   it with the signature.  A policy server that can't be reached is tried again, later and later, for GR_POLICY_OWN_MS.  What
 *   it does not sign is dropped, but for a leave: who is gone must not stay in a room because of a server, so that goes without,
 *   and others decide.
 *
 * The question is a row; all else is memory, and begins again after a restart.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_POLICY_REQUEST_MS = 10 * 1000,
    GR_POLICY_AGAIN_MS = 5 * 1000,         /* the first wait; each is twice as long as the one before it */
    GR_POLICY_AGAIN_MAX_MS = 10 * 60 * 1000,
    GR_POLICY_OTHERS_MS = 20 * 1000,       /* until an event of another server must be judged */
    GR_POLICY_OWN_MS = 60 * 60 * 1000
};

extern const gr_actor_kind gr_policy_kind;

/* The address of the flow for this. */
gr_str gr_policy_flow(gr_arena *, gr_str room_id, gr_str what);

#define GR_POLICY_SIGN_URI "/_matrix/policy/v1/sign"
/* What the policy server answered to that: the event (JSON text) with its signature, which nobody has checked yet.
 * err: why there is no answer.  FORBIDDEN: it has not signed. */
GR_MUST_USE gr_err gr_policy_answer(gr_arena *, gr_str event, gr_str via, gr_err err, gr_str answer, gr_str *signed_event);
