/* fsck.h - what has to hold among the rows of actors, for `greenroom fsck`.
 *
 * Of rooms: every event record can be read and the index by event id points back to it, positions and
 * members point to existing events, the numbers of state keys agree both ways, and every node of the current
 * state is there; states, chain cover, extremities and members are what the events give (room/check.h).  Of
 * feeds: heads and rows can be read and belong together.  Rows of other kinds are checked for having an
 * address in that shard.
 */
#pragma once
#include "actors/env.h"
#include "persistence/fsck.h"

/* Registers all checks.  Of the env, which outlives the fsck, they need the server's name. */
void gr_fsck_actors(gr_fsck *, const gr_env *);
