/* inviting.h - a user of this server invites one of another server. Server-server API, "Inviting to a room".
 *
 * The room makes the event, but does not take it yet; the other server signs it, and tells its user; then the room takes it
 * with both signatures and tells everybody else.  Servers that know only the first room versions are asked the older way.
 */
#pragma once
#include "edge/policy.h"
#include "edge/signed_events.h"

typedef struct {
    gr_str room_id;
    gr_room_invite invite;             /* user, target, reason and the like; in the call's arena */
    void (*then)(gr_call *, gr_err);   /* with call->state as it was; the error lives in the call's arena */
    gr_str event_id;                   /* once it is made */
    /* the rest is inviting.c's */
    void *state;
    const gr_room_version *version;
    gr_str event, room_state;
    bool is_v1;
    gr_signed_event signed_event;
    gr_policy_ask policy;
} gr_inviting;

void gr_inviting_send(gr_call *, gr_inviting *);
