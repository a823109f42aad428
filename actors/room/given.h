/* given.h - states that another server tells as lists of event ids, and how they become roots.
 *
 * All events of the list are here before (gr_room_hold).  A state may be large: looking up what it holds only reads, and
 * belongs on the pool (with gr_work_ctx); its root is then made by as many steps as it takes, each from the root of the
 * step before, and kept under a name while no event has it.
 */
#pragma once
#include "actors/room/room.h"

/* What has to change in a state so that it becomes the one given. */
typedef struct {
    uint64_t *keys, *events;           /* event 0: the key goes */
    size_t count;
    gr_strs missing;                   /* of the ids: not here */
    size_t headers;                    /* of events that had to be read: those that the base does not have */
} gr_room_given;

/* Ids of events that are no state or were rejected are passed over; of two with one key the first counts.  base 0: the
 * whole state; that of a state nearby: what differs. */
void gr_room_given_find(gr_room *, gr_ctx *, uint64_t base, gr_strs ids, gr_room_given *);
/* The root after the changes from one of them on, at most so many.  The caller saves the room. */
uint64_t gr_room_given_root(gr_room *, gr_ctx *, uint64_t base, const gr_room_given *, size_t from, size_t most);

/* A name (at most 64 bytes, without NUL) for a root, so that its nodes stay; root 0 forgets it.  0: there is none. */
void gr_room_root_keep(gr_ctx *, gr_str name, uint64_t root);
uint64_t gr_room_root_kept(gr_ctx *, gr_str name);

/* Makes a root the current state of a room that nobody sees yet: members and all that hangs on it, at most so many keys
 * in one step, beginning after a key (0: the first).  Answers the key to go on with, or 0 when it is done: then the
 * room has that state, and a gap at the newest position.  A step may be repeated.  The caller saves the room. */
uint64_t gr_room_adopt(gr_room *, gr_ctx *, uint64_t root, uint64_t after, size_t most);
