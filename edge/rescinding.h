/* rescinding.h - invites of users of this server that are taken back, and knocks that are refused, in rooms that nobody here is
 * in.
 *
 * Such a room takes no event, so the member event that ends it is checked here, by the keys of its transaction, and told to the
 * user.  Whether its sender may do that only the room's servers know: it counts when it comes from one that told the user of the
 * room.
 */
#pragma once
#include "edge/call.h"
#include "proto/event.h"

typedef struct {
    const gr_json *pdu;
    const gr_keys_known *keys;
    size_t key_count;
    void (*then)(gr_call *);
    gr_err err;                        /* after that; GR_OK: the user has been told.  Lives in the call's arena */
    gr_str event_id;                   /* likewise, as far as the version of the room is known */
    gr_event event;                    /* rescinding.c's */
} gr_rescinding;

/* Is it a member event by which a user of the server that asks ends what a user of this server has in its room? */
bool gr_rescinding_is(gr_call *, const gr_json *pdu);
/* That of the gr_incoming which is the state of the call. */
void gr_rescinding_tell(gr_call *);
