/* moved.h - what a move of the current state changes, looked up on the pool.
 *
 * A step of a move may look up little, and moves may change tens of thousands of keys.  So the pool looks up what the steps
 * need, some thousand keys at a time, while nothing writes to the room; steps only put rows.  A portion is in memory only:
 * after a restart it is listed again, from the cursor on.
 */
#pragma once
#include "actors/room/room.h"

/* What a step does about one key. */
typedef enum { GR_MOVED_MEMBER, GR_MOVED_OTHER, GR_MOVED_TELL_THERE, GR_MOVED_TELL_GONE } gr_room_moved_kind;
typedef struct {
    gr_room_moved_kind kind;
    uint64_t key, number;              /* of the event that it has now, 0: none; TELL_GONE: that it had */
    gr_room_member_row row;            /* MEMBER: before */
    gr_membership now;                 /* MEMBER */
    gr_str type, state_key;            /* OTHER; MEMBER: state_key */
} gr_room_moved;
/* Members of the server `told` hear of it; empty: rows follow it.  False: there is nothing to do about it. */
bool gr_room_moved_find(gr_room *, gr_ctx *, gr_str told, uint64_t key, uint64_t before, uint64_t after, gr_room_moved *);
/* Asks the pool for a portion of what comes after the cursor of room->moving, unless it was asked and has not answered.  The
 * caller saves the move, and looks again at the timer of the steps. */
void gr_room_moved_ask(gr_room *, gr_ctx *);
void gr_room_on_moved_listed(gr_room *, gr_ctx *, const gr_msg *);         /* work_done */
/* The portion that is here, in memory only.  Next: views in it; false at its end.  Done: forgets it; true: it was the last. */
bool gr_room_moved_is_here(const gr_room *);
bool gr_room_moved_has_more(const gr_room *);
bool gr_room_moved_next(gr_room *, gr_room_moved *);
bool gr_room_moved_done(gr_room *);
bool gr_room_moved_is_busy(const gr_room *);                               /* asked, or here */
void gr_room_moved_drop(gr_room *);
