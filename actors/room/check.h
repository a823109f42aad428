/* check.h - recomputes what a room keeps of its events, and tells what is different.
 *
 * For `greenroom fsck`.  Each event is taken by itself: the state before it is resolved from those after its predecessors
 * as they are stored, its state after it, its authorisation and its place in the chain cover follow from what it cites; so
 * if no event is wrong by what the others say, all are right.  Then the extremities, forward and backward, the current
 * state and the members are made of all events.  States that another server told are taken as they are.
 */
#pragma once
#include "actors/room/room.h"

typedef void gr_room_problem_fn(void *arg, gr_str own_key, const char *what);

/* The ctx reads a snapshot; its arena is emptied on the way.  What resolution makes on the way stays in the ctx.  False: the
 * chain cover is missing or wrong, which can be repaired. */
bool gr_room_check(gr_ctx *, gr_room_problem_fn *, void *arg);
