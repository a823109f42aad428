/* gap.h - the gap flow: "gap/!room/flow/<origin>" finds what events of one server wait for in one room, and
 * "gap/!room/flow/~history" what history is missing, "gap/!room/flow/~moment" the event that is next to a time.
 *
 * Server-server API, "Retrieving missing events", "Backfilling and retrieving missing events".  The server is asked for the
 * events between those that are here and the one that waits (/get_missing_events); for history, those that may have it for
 * what came before its oldest events (/backfill).  If predecessors are still missing, the first of them becomes a backward
 * extremity: the ids of the state before it (/state_ids) are compared with what the room has, what it lacks of them and of
 * their auth chain is fetched (/event, or all by /state when most is missing) and held, the room makes the state out of the
 * ids, and takes the event with that state.  Auth events that are here are only looked up, not read: what they say was judged
 * when the events that cite them came.
 *
 * Who can't help is followed by other servers of the room, some of those with most members.  Who has helped is asked on.
 *
 * A third kind, "gap/!room/flow/~left-out", looks for events of the state that the room was entered without (left_out.h of
 * actors/room): the room names some, they are fetched as missing auth events are, and the room has it look again later.
 *
 * Its question is a row; all else is memory, and begins again after a restart: what was fetched is in the room by then.
 * What can't be had is tried again, since it may come; after GR_GAP_MS it ends in any case.  History is looked for when
 * somebody asks for it and answered when what could be had is here; if nobody had it, again after GR_GAP_VAIN_MS.
 */
#pragma once
#include "actors/env.h"

/* In place of an origin; no names of servers. */
#define GR_GAP_HISTORY "~history"
#define GR_GAP_MOMENT "~moment"
#define GR_GAP_LEFT_OUT "~left-out"

enum {
    GR_GAP_MS = 60 * 1000,
    GR_GAP_AGAIN_MS = 10 * 1000,           /* after what was missing could not be had */
    GR_GAP_STEP_MS = 2000,                 /* the timer that sees to it that it goes on */
    GR_GAP_VAIN_MS = 60 * 1000,
    GR_GAP_LIMIT = 10,                     /* of get_missing_events */
    GR_GAP_BACKFILL = 100,                 /* events asked of a server at a time */
    GR_GAP_SERVERS = 4,                    /* asked besides the origin */
    GR_GAP_WAITERS = 32,                   /* who wait for history */
    GR_GAP_ROUNDS = 8,                     /* backward extremities, and fetches of auth events */
    GR_GAP_LEFT_OUT_ROUNDS = 3,
    GR_GAP_WIDTH = 8,                      /* events fetched at a time */
    GR_GAP_MANY = 50,                      /* fewer are fetched one by one, whatever the share */
    GR_GAP_IDS_MAX = 400000,
    GR_GAP_STATE_BYTES = 128 * 1024 * 1024,    /* of a state as PDUs */
    GR_GAP_IDS_BYTES = 32 * 1024 * 1024
};

extern const gr_actor_kind gr_gap_kind;
