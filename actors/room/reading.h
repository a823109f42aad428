/* reading.h - reads that are too large for a handler, run on the pool: the same functions, over a snapshot of the store.
 *
 * A handler looks at no more than 64 rows by key and 256 by range, whatever the size of the room.  A read that may need
 * more is handed over as it came, with the time; the pool loads the room from a snapshot, which is at least as new as what
 * the handler saw, and its answer goes to who asked.  Nothing else of the room is used, so nothing has to be checked when it
 * comes back.  Answers are bounded in bytes and go on in pages; what makes them fit together is in their cursors.
 */
#pragma once
#include "actors/room/read.h"

enum { GR_READINGS_MAX = 256 };        /* of one room, at a time */

/* Hands a read over if it may be large; false: it is to be answered here. */
bool gr_reading_begin(gr_room *, gr_ctx *, const gr_type *, const void *body);
void gr_reading_end(gr_room *, gr_ctx *, const gr_msg *);      /* work_done */
void gr_readings_drop(gr_room *);                              /* those who asked are not answered */

/* room.c: one message of the read side, in a handler or a work. */
void gr_room_read(gr_room *, gr_ctx *, const gr_type *, const void *body);
