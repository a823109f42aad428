/* resolving.h - states that are resolved on the pool, and what waits for them.
 *
 * A handler that needs a state which is too much to be resolved at once says which, and fails; the room undoes what it
 * left, keeps the message and gives the states to the pool.  When the result is there its nodes are written, some in each
 * step (nobody can see them, no row names them yet), and the message is handled again from the beginning: it finds the
 * result by the states it was made from, if they are still those it needs, and else waits once more.  Meanwhile the room
 * reads and writes as always.  An event that makes the current state itself too much is stored, and the state follows in
 * steps (move.c): then what writes waits, and readers see the state as it was.
 *
 * Posts wait in rows and survive a restart; asks in memory, and their answers with them.  Results are in memory: after a
 * restart they are made again.
 */
#pragma once
#include "actors/room/room.h"

enum {
    GR_ROOM_WAITING_MAX = 64,              /* asks */
    /* step of the resume value of work */
    GR_ROOM_WORK_READING = 0, GR_ROOM_WORK_RESOLVING = 1, GR_ROOM_WORK_INCOMING = 2, GR_ROOM_WORK_MOVING = 3,
    GR_ROOM_WORK_GIVEN = 4, GR_ROOM_WORK_ENTERING = 5
};

/* --- resolve.c and build.c, in a handler ------------------------------------------------------------------- */
/* What these roots (different ones, ascending) resolve to, when the pool has told it; *err: it can't be resolved. */
bool gr_room_resolved(const gr_room *, gr_u64s roots, uint64_t *root, gr_err *err);
/* The handler can't go on without it: returns what it is to fail with. */
gr_err gr_room_want_state(gr_room *, gr_u64s roots);
/* The same for what writes while the state moves. */
GR_MUST_USE gr_err gr_room_at_rest(gr_room *);
gr_err gr_room_too_far_apart(void);
/* resolve.c: whole: with the limits of the pool.  New nodes come through the trie.  GR_UNAVAILABLE: past the limits. */
GR_MUST_USE gr_err gr_room_resolve_with(gr_room *, gr_ctx *, const gr_trie *, gr_u64s roots, bool whole, uint64_t *root);

/* --- room.c ------------------------------------------------------------------------------------------------ */
/* Before a message is handled: it is kept behind those of its kind that wait already. */
bool gr_room_waits_behind(gr_room *, gr_ctx *, const gr_msg *);
/* After it: true when it could not go on, and is kept. */
bool gr_room_wait_if_must(gr_room *, gr_ctx *, const gr_msg *);
void gr_room_on_resolved(gr_room *, gr_ctx *, const gr_msg *);             /* work_done */
/* Timers: the next message that waits is handled again, the next nodes are written; false when it is another. */
bool gr_room_go_on(gr_room *, gr_ctx *, gr_str timer);
bool gr_room_write_on(gr_room *, gr_ctx *, gr_str timer);
/* The room must stay loaded. */
bool gr_room_is_resolving(const gr_room *);
bool gr_room_is_waiting(const gr_room *);
void gr_room_resolving_drop(gr_room *);                                    /* what waits too */
void gr_room_dispatch(gr_room *, gr_ctx *, const gr_msg *);
/* From its rows, as they are in this handler; what is in memory only stays.  Revert: after undoing what the handler left. */
void gr_room_read_again(gr_room *, gr_ctx *);
void gr_room_revert(gr_room *, gr_ctx *);

/* --- between resolving.c and waiting.c --------------------------------------------------------------------- */
/* Gives the pool what the handler wanted, unless it is busy with something for this room. */
void gr_room_begin_resolving(gr_room *, gr_ctx *);
void gr_room_go_on_at(gr_ctx *, uint64_t delay_ms);                        /* the next that waits, if any does */
void gr_room_waiting_drop(gr_room *);

/* --- sweep.c: results that no row names yet ------------------------------------------------------------------ */
typedef void gr_room_root_fn(void *arg, uint64_t root);
void gr_room_each_result(const gr_room *, gr_room_root_fn *, void *arg);
/* The first node that is being written; UINT64_MAX: none. */
uint64_t gr_room_first_staged(const gr_room *);
