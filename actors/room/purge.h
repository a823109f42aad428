/* purge.h - takes away the older history of a room, or all of a room that nobody here needs.
 *
 * First what is to go becomes invisible, in one small batch; then its rows are deleted, some in each step of a durable
 * timer.  All progress is in row U, so a restart goes on where the last step ended, and asking again tells how far it is.
 *
 * History: events before a position lose their place in the stream.  Messages are deleted with all that hangs on them;
 * state events stay as what they are for states and authorisation.  Never the newest event of the room, an extremity, or what
 * is younger than a day (transactions may still be repeated, posts on their way name stored events).
 * A whole room: nobody here may be in it, or be invited to it, and all who were must have forgotten it (force: it is
 * forgotten for them).  While it goes the room takes no message; afterwards it is as if it never had been.
 */
#pragma once
#include "actors/room/room.h"

/* Somebody has forgotten the room.  One that was joined through another server is taken away when all have, and nobody of this
 * server is in it; one that was made here may be joined again. */
void gr_room_purge_if_forgotten(gr_room *, gr_ctx *);
/* room.c: false when the message is none of these, and the room may take it. */
bool gr_room_purge_takes(gr_room *, gr_ctx *, const gr_msg *);
bool gr_room_purge_on(gr_room *, gr_ctx *, gr_str timer);      /* a step; false when the timer is another */
/* state.c: rows U and F. */
void gr_room_purge_load(gr_room *, gr_ctx *);
