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

/* env: the server's name is needed.  uncovered: rooms whose chain cover is missing or wrong, for gr_fsck_repair; freed by the
 * caller. */
typedef struct { const gr_env *env; gr_buf uncovered; } gr_fsck_rooms;

/* Registers all checks; the rooms outlive the fsck. */
void gr_fsck_actors(gr_fsck *, gr_fsck_rooms *);

/* Of a store that nobody runs on, and that commits in gr_store_step: takes away what is wrong of the chain covers of these
 * rooms, so that they are made again by the server once it runs. */
GR_MUST_USE gr_err gr_fsck_repair(gr_store *, const gr_fsck_rooms *, size_t *repaired);
