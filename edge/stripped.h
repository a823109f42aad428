/* stripped.h - state that other servers give along with invites and knocks, as clients see it.
 *
 * Client-server API, "Stripped state"; server-server API, "Inviting to a room": what comes is whole PDUs, the create event
 * among them.  Where the room id is the hash of the create event that is insisted on; in older rooms what is good is kept.
 */
#pragma once
#include "edge/signed_events.h"

enum { GR_STRIPPED_MAX = 32 };         /* events that are looked at */

typedef struct {
    gr_str room_id;
    const gr_room_version *version;
    gr_signed_event *events;
    size_t count;
    bool encrypted;
    gr_err err;                        /* of gr_stripped_read, and of its checks */
} gr_stripped;

/* Reads a list of events (any JSON, or NULL); their signatures are still to be checked (gr_signed_events_check). */
void gr_stripped_read(gr_call *, gr_str room_id, const gr_room_version *, const gr_json *list, gr_stripped *out);
/* After that: the JSON array for a user actor, closed by the user's own member event.  GR_MISSING_PARAM, GR_INVALID_PARAM: the
 * version insists on what is not there or not right. */
GR_MUST_USE gr_err gr_stripped_write(gr_call *, gr_stripped *, const gr_event *member, gr_str *out);
