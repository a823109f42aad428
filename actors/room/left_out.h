/* left_out.h - events of the state that a room was entered without: their signatures could not be checked then.
 *
 * The joining flow (actors/join) leaves out only what nothing else of the state cites: what users have done about their own
 * membership.  The room remembers
 *
 *   - <event id>   -> number of the join (8): the state before it lacks that event
 *   -              -> how long it waits before they are looked for again (8), in ms
 *
 * and has a flow (actors/gap) ask other servers for them, and for the keys of their signers: after GR_LEFT_OUT_MS, then after
 * twice as long each time, GR_LEFT_OUT_MS_MAX at most, for as long as anybody of this server is in the room.  An event that
 * cites one has it fetched, too, since its server is there then.  By whichever way it comes, it is checked as any other; once
 * it is held it gets its place: in the state before the join and in that before the extremities, where nothing else has come
 * in its place.  So the room has the state of others from then on.  The states before the events between stay those by which
 * they were judged; where somebody goes on from there, state resolution brings in what was left out.
 */
#pragma once
#include "actors/room/receive.h"

enum { GR_LEFT_OUT_MS = 60 * 1000, GR_LEFT_OUT_MS_MAX = 24 * 3600 * 1000 };

/* The state before that event lacks these, and no others: what earlier joins lacked is forgotten.  At most
 * GR_JOIN_LEFT_OUT_MAX. */
void gr_room_leave_out(gr_room *, gr_ctx *, gr_strs ids, uint64_t join);
bool gr_room_is_left_out(gr_room *, gr_ctx *, gr_str event_id);
/* It is here now, and has come to its place when it was not rejected; made: as for an event (receive.h).  GR_UNAVAILABLE:
 * not now, as for gr_room_receive. */
GR_MUST_USE gr_err gr_room_put_back(gr_room *, gr_ctx *, gr_str event_id, gr_room_made *);
/* Some of them, others each time; at most so many, in the arena. */
gr_strs gr_room_some_left_out(gr_room *, gr_ctx *, size_t most);
bool gr_room_seek_left_out(gr_room *, gr_ctx *, gr_str timer);         /* false when it is another */
