/* gap.h - the gap flow: "gap/!room/flow/<origin>" finds what events of one server wait for in one room.
 *
 * Server-server API, "Retrieving missing events".  The server is asked for the events between those that are here and the one
 * that waits (/get_missing_events).  If predecessors are still missing, the first of them becomes a backward extremity: the
 * ids of the state before it (/state_ids) are compared with what the room has, what it lacks of them and of their auth chain
 * is fetched (/event, or all by /state when most is missing) and held, the room makes the state out of the ids, and takes
 * the event with that state.  Auth events that are here are only looked up, not read: what they say was judged when the
 * events that cite them came.
 *
 * Its question is a row; all else is memory, and begins again after a restart: what was fetched is in the room by then.
 * What can't be had is tried again, since it may come; after GR_GAP_MS it ends in any case.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_GAP_MS = 60 * 1000,
    GR_GAP_AGAIN_MS = 10 * 1000,           /* after what was missing could not be had */
    GR_GAP_STEP_MS = 2000,                 /* the timer that sees to it that it goes on */
    GR_GAP_LIMIT = 10,                     /* of get_missing_events */
    GR_GAP_ROUNDS = 8,                     /* backward extremities, and fetches of auth events */
    GR_GAP_WIDTH = 8,                      /* events fetched at a time */
    GR_GAP_MANY = 50,                      /* fewer are fetched one by one, whatever the share */
    GR_GAP_IDS_MAX = 400000,
    GR_GAP_STATE_BYTES = 128 * 1024 * 1024,    /* of a state as PDUs */
    GR_GAP_IDS_BYTES = 32 * 1024 * 1024
};

extern const gr_actor_kind gr_gap_kind;
