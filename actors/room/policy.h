/* policy.h - the policy server of a room, which recommends events by signing them.
 *
 * Server-server API, "Policy Servers".  An event made here is signed by it before the room takes it: whoever asked for the event
 * gets it as room_unsigned, and offers it again.  What comes from elsewhere without that signature soft-fails.
 */
#pragma once
#include "actors/room/room.h"

/* Another server must sign an event by this draft first: then it is made and given to who asked for it, and true comes back. */
bool gr_room_policy_asks(gr_room *, gr_ctx *, const gr_room_draft *);
/* The server that must sign an event like this first; empty: none. */
gr_str gr_room_policy_server(gr_room *, gr_ctx *, const gr_room_draft *);
/* Is the event one that the room's policy server recommends, or is there none?  json: with its signatures. */
GR_MUST_USE gr_err gr_room_policy_check(gr_room *, gr_ctx *, const gr_event *, const gr_json *json);
