/* policy.h - the policy server of a room, which recommends events by signing them.
 *
 * Server-server API, "Policy Servers".  An event made here is signed by it before the room takes it: whoever asked for the event
 * gets it as room_unsigned, and offers it again; where nobody waits, a flow does (actors/policy).  What comes from elsewhere
 * without a valid signature is kept aside, and such a flow asks for one: at most GR_POLICY_ASIDE at a time, and none for
 * GR_POLICY_AWAY_MS after the server could not be reached.  What has none then soft-fails.
 */
#pragma once
#include "actors/room/room.h"

enum { GR_POLICY_ASIDE = 64, GR_POLICY_AWAY_MS = 60 * 1000 };

/* The policy server must sign an event by this draft first: then it is made and given to who asked for it, or else a flow
 * will ask for it with this message again; and true comes back. */
bool gr_room_policy_asks(gr_room *, gr_ctx *, const gr_room_draft *, const gr_type *, const void *body);
/* The same where who asked does not wait for the event. */
bool gr_room_policy_defers(gr_room *, gr_ctx *, const gr_room_draft *, const gr_type *, const void *body);
/* The server that must sign an event like this first; empty: none. */
gr_str gr_room_policy_server(gr_room *, gr_ctx *, const gr_room_draft *);
gr_str gr_room_policy_via(gr_room *, gr_ctx *);
/* Is the event one that the room's policy server recommends, or is there none?  json: with its signatures. */
GR_MUST_USE gr_err gr_room_policy_check(gr_room *, gr_ctx *, const gr_event *, const gr_json *json);
/* Has a flow ask for the signature of a staged event, which is kept aside until gr_room_on_policy_said.  False: not now. */
bool gr_room_policy_set_aside(gr_room *, gr_ctx *, const gr_event *, gr_str text, uint64_t number);
/* Takes the number of an event that was set aside; 0: there is none. */
uint64_t gr_room_policy_take_aside(gr_room *, gr_ctx *, gr_str event_id);
bool gr_room_policy_is_aside(gr_room *, gr_ctx *, gr_str event_id);
