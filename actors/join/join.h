/* join.h - joining a room through other servers: a flow.  "join/<room>", in the shard of the room.
 *
 * Server-server API, "Joining Rooms".  One room is joined by one flow at a time: others who want in wait for it, and then
 * join by themselves.  Its steps:
 *
 *   MAKE    a server is asked for a template; on failure the next one
 *   SEND    the join is signed and sent; the answer comes in parts, and is taken apart on the pool into rows (reply.c)
 *   KEYS    the keys of all who signed an event of it (keys.c)
 *   CHECK   signatures and hashes on the pool, some chains of works side by side (check.c); KEYS again while some lack
 *   ORDER   which event comes before which (order.c)
 *   FEED    the room is given the events, oldest first, as many at a time as make one batch there
 *   ENTER   the state becomes the room's, the join is in it
 *   SWEEP   the rows are deleted
 *
 * An event whose signature cannot be checked, since nobody gives the key just then, is not taken, nor is the room entered as
 * if there were no such event: that would leave it with a state that is nobody else's.  Its keys are asked for again: of the
 * server joined through, which must have had them, as one more notary (actors/keys; what it says counts for this join only,
 * and not against what others have said), then of all, for GR_JOIN_KEYS_MS.  What still cannot be checked then is either the
 * membership of somebody who made it themselves, and nothing else of the state cites it: the room is entered without it, knows
 * that it lacks it, and takes it as soon as it can be had (actors/room/left_out.h).  Or more rests on it: this server is no
 * help, the next one is tried, and whoever asked is told whose keys are missing.
 *
 * A restricted room that is here, but where nobody of this server may vouch for who joins, is joined through a server whose
 * members may: of its answer only the signature is taken, and CHECK to FEED are left out (here.c).
 *
 * What is staged is in rows of the flow's own keyspace, so an answer of any size takes little memory:
 *
 *   f                          the flow: gr_join_flow
 *   e <event id>               canonical JSON of an event; once checked: without what was not signed
 *   s <event id>               nothing: it is of the state
 *   l <event id>               the same, of one that cannot be checked without a key that is missing
 *   x <event id>               nothing: of these, one that the room is entered without
 *   k <server> 0 <key id>      nothing: that key has signed something
 *   u <server> 0 <key id>      time of an event (8) that is signed with it: a key that is missing
 *   K <server> 0 <key id>      public key (32), valid until (8), expired (8)
 *
 * The step is in the row f, and a durable timer goes on after a restart: before KEYS from the beginning, later from KEYS.
 */
#pragma once
#include "actors/env.h"
#include "proto/event.h"

enum {
    GR_JOIN_SERVERS_MAX = 16,              /* that are tried */
    GR_JOIN_ASKERS_MAX = 64,
    GR_JOIN_REQUEST_MS = 30 * 1000,
    GR_JOIN_ANSWER_MS = 240 * 1000,        /* for all of the state */
    GR_JOIN_ANSWER_MAX = 512 << 20,        /* bytes of it */
    GR_JOIN_PART = 192 * 1024,
    GR_JOIN_KEY_ROUNDS = 7,                /* in which keys are asked for: the second at once */
    GR_JOIN_KEYS_AGAIN_MS = 12 * 1000,     /* before each other one: a server is asked once in 10 s at most */
    GR_JOIN_KEYS_MS = 75 * 1000,           /* no round begins after that */
    GR_JOIN_LEFT_OUT_MAX = 200,            /* events that a room may be entered without */
    GR_JOIN_HERE_MS = 1500,                /* between tries to enter a room that is here */
    GR_JOIN_ROOM_AGAIN_MS = 500,           /* between tries to give something to a room that another join has left behind, */
    GR_JOIN_ROOM_WAITS = 120,              /* and that is being taken away, or has too much to do; then the step is repeated */
    GR_JOIN_STEP_MS = 15 * 1000,           /* after a restart it goes on within that */
    GR_JOIN_ROOM_MS = 60 * 1000            /* for the room to take what it is given */
};

typedef enum {
    GR_JOIN_IDLE, GR_JOIN_MAKE, GR_JOIN_SEND, GR_JOIN_KEYS, GR_JOIN_CHECK, GR_JOIN_ORDER, GR_JOIN_FEED, GR_JOIN_ENTER,
    GR_JOIN_SWEEP
} gr_join_step;

extern const gr_actor_kind gr_join_kind;
