/* signed_events.h - events that other servers have signed, checked before a room or user is asked about them.
 *
 * Server-server API, "Checks performed on receipt of a PDU", 1 to 3.  The keys are found first, of all signers at once; what
 * has no valid signature then has failed, whatever the reason.  A few events of one call: those of transactions and of
 * whole states go other ways.
 */
#pragma once
#include "edge/call.h"

#include "proto/event.h"

enum { GR_SIGNED_EVENTS_MAX = 64 };

typedef struct {
    const gr_room_version *version;    /* given, with json */
    const gr_json *json;
    gr_err err;                        /* code GR_OK: event, text and shape are as gr_event_check leaves them */
    gr_event event;
    gr_str text;
    gr_event_shape shape;
} gr_signed_event;

/* Of the path of a call: the event was good, has the id {eventId} and is of this room.  False: the call was answered. */
bool gr_signed_event_fits(gr_call *, const gr_signed_event *, gr_str room_id);
/* Then calls `then`, once, with call->state as it was.  events live in the call's arena. */
void gr_signed_events_check(gr_call *, gr_signed_event *events, size_t count, void (*then)(gr_call *));
