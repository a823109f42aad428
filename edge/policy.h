/* policy.h - events that the policy server of their room is to sign before the room takes them.
 *
 * Server-server API, "Asking for a Policy Server signature on an event".  A room that has one answers room_unsigned to who sends
 * an event; then that server is asked here, and the event goes to the room with its signature.
 */
#pragma once
#include "edge/call.h"

/* If the answer is room_unsigned, sees to the signature and calls `then` later, with room_sent or why it was refused;
 * call->state is as it was.  txn: as the event was sent with.  False: it is another answer. */
bool gr_policy_takes(gr_call *, const gr_answer *, gr_str room_id, gr_str txn, gr_call_then *then);

/* The same of an event of another server that was offered to the room (in the arena): it is offered again. */
bool gr_policy_takes_offer(gr_call *, const gr_answer *, gr_str room_id, const gr_room_offer *offered, gr_call_then *then);

typedef struct {
    gr_str via, event;                 /* in the arena of the call */
    void (*then)(gr_call *, gr_err, gr_str event);     /* the event with the signature; call->state is as it was */
    void *state;                       /* policy.c's */
} gr_policy_ask;
void gr_policy_sign(gr_call *, gr_policy_ask *);
