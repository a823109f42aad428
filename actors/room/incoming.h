/* incoming.h - events that other servers push, or that are fetched of them, from the edge or a flow into the room.
 *
 * Server-server API, "Checks performed on receipt of a PDU".  The pool checks signatures and hashes, with the keys that come
 * along; what is good is staged, and durable before it is answered; then the room takes one after the other (receive.h) by
 * the timer "incoming".  An event whose predecessors or auth events are not here waits alone, and others pass it; it is ready
 * again when one of those has come.  One that the room's policy server has not signed is kept aside until that was asked
 * (policy.h).
 *
 *   I <number>              a staged event (staged_pdu_row)
 *   J <number>              -> nothing: it is to be taken
 *   H <origin> 0 <number>   it waits (room_waits)
 *   E <event id> 0 <number> -> its origin: it waits for that event
 *   A <origin>              a gap flow of that origin is under way (gap_row)
 *   Z <name> 0 <first>      some of the ids of a state that another server told (room_given_put)
 *
 * Events that wait are helped by gap flows (actors/gap), one for each origin and GR_GAP_FLOWS in all.  Those that still wait
 * when such a flow has done what it could are dropped: they will be missing again if anybody cites them.  Another flow looks
 * for history when somebody pages back to where it ends, and after a join; for that GR_GAP_HISTORY stands for an origin.
 */
#pragma once
#include "actors/gap/gap.h"
#include "actors/room/receive.h"

enum {
    GR_INCOMING_PDUS = 64,                 /* of one message */
    GR_INCOMING_CHECKS = 16,               /* under way in the pool, of one room */
    GR_INCOMING_READY = 1000,              /* staged and to be taken */
    GR_INCOMING_WAITING = 100,             /* of one origin */
    GR_INCOMING_STEP = 4,                  /* plain ones taken by one step: messages, and those of a state; else one event */
    GR_GAP_FLOWS = 4,                      /* of one room, at a time */
    GR_GIVEN_PAGE = 4000                   /* ids of one message, at most */
};

/* What is to become of an event. */
typedef enum {
    GR_INCOMING_LIVE,                      /* it takes its place in the stream */
    GR_INCOMING_HELD,                      /* of a state or an auth chain: an outlier */
    GR_INCOMING_HISTORY                    /* from before the stream */
} gr_incoming_mode;

/* The pool's part; input: incoming_check, output: incoming_checked, encoded. */
extern const gr_work gr_room_incoming_work;

void gr_room_on_incoming(gr_room *, gr_ctx *, const gr_room_incoming *);
void gr_room_on_policy_said(gr_room *, gr_ctx *, const gr_room_policy_said *);
void gr_room_on_checked(gr_room *, gr_ctx *, const gr_msg *);              /* work_done */
bool gr_room_take_incoming(gr_room *, gr_ctx *, gr_str timer);             /* false when it is another */
/* An event is here now: what waits for it is ready. */
void gr_room_wake(gr_room *, gr_ctx *, gr_str event_id);
bool gr_room_is_checking(const gr_room *);
void gr_room_incoming_drop(gr_room *);

/* --- gap.c ---------------------------------------------------------------------------------------------------- */
/* Has a flow look for what an event of this origin waits for, unless enough are under way. */
void gr_room_begin_gap(gr_room *, gr_ctx *, gr_str origin, gr_str event_id, uint64_t number);
/* Has the flow of history look for what came before the room's oldest events. */
void gr_room_seek_history(gr_room *, gr_ctx *);
void gr_room_on_back(gr_room *, gr_ctx *, const gr_room_back *);
void gr_room_on_gap_done(gr_room *, gr_ctx *, const gr_room_gap_done *);
void gr_room_on_gap_look(gr_room *, gr_ctx *, const gr_room_gap_look *);
void gr_room_on_have(gr_room *, gr_ctx *, const gr_room_have *);
/* A state as ids, in pages (first is a multiple of GR_GIVEN_PAGE); then its root, made in steps of a timer and kept under the
 * name (gr_room_root_kept). */
void gr_room_on_given_put(gr_room *, gr_ctx *, const gr_room_given_put *);
void gr_room_on_given_make(gr_room *, gr_ctx *, const gr_room_given_make *);
void gr_room_on_given(gr_room *, gr_ctx *, const gr_msg *);                /* work_done */
bool gr_room_give_on(gr_room *, gr_ctx *, gr_str timer);                   /* false when it is another */
void gr_room_giving_drop(gr_room *);
