/* serve.h - what other servers may fetch of a room: events and history, as PDUs.
 *
 * Server-server API, "Backfilling and retrieving missing events", "Retrieving events".  A server that is in the room gets
 * every event that was accepted; what history visibility keeps from all of its users comes as redaction leaves it.  All of
 * this only reads, and runs on the pool (reading.h).
 */
#pragma once
#include "actors/room/read.h"

enum {
    GR_SERVE_BACKFILL_MAX = 100, GR_SERVE_MISSING_MAX = 20,    /* events in one answer */
    GR_SERVE_BYTES = 256 * 1024,           /* of PDUs: the one that passes this is the last */
    GR_SERVE_MEMBERS_MAX = 4096            /* of one server, looked at where history is not visible to all */
};

/* The room as one server may see it; made per request, as gr_view. */
typedef struct { gr_view view; gr_str server; gr_room_moment moments[GR_READ_MOMENTS]; unsigned next_moment; } gr_serve;

/* GR_NOT_FOUND: nobody of this server is in the room.  GR_FORBIDDEN: that server is not, and can't be, or is kept out. */
GR_MUST_USE gr_err gr_serve_begin(gr_serve *, gr_room *, gr_ctx *, gr_str server);
/* Is there a user of that server who may see the event whole? */
bool gr_serve_sees(gr_serve *, const gr_room_record *);

void gr_room_on_may_fetch(gr_room *, gr_ctx *, const gr_room_may_fetch *);
void gr_room_on_backfill(gr_room *, gr_ctx *, const gr_room_backfill *);
void gr_room_on_missing_events(gr_room *, gr_ctx *, const gr_room_missing_events *);
void gr_room_on_fetch_event(gr_room *, gr_ctx *, const gr_room_fetch_event *);
