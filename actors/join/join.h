/* join.h - joining a room through other servers: a flow.  "join/<room>", in the shard of the room.
 *
 * Server-server API, "Joining Rooms".  One room is joined by one flow at a time: others who want in wait for it, and then
 * join by themselves.  Its steps:
 *
 *   MAKE    a server is asked for a template; on failure the next one
 *   SEND    the join is signed and sent; the answer comes in parts, and is taken apart on the pool into rows (reply.c)
 *   KEYS    the keys of all who signed an event of it
 *   CHECK   signatures and hashes on the pool, some chains of works side by side (check.c)
 *   ORDER   which event comes before which
 *   FEED    the room is given the events, oldest first, as many at a time as make one batch there
 *   ENTER   the state becomes the room's, the join is in it
 *   SWEEP   the rows are deleted
 *
 * A restricted room that is here, but where nobody of this server may vouch for who joins, is joined through a server whose
 * members may: of its answer only the signature is taken, and CHECK to FEED are left out (here.c).
 *
 * What is staged is in rows of the flow's own keyspace, so an answer of any size takes little memory:
 *
 *   f                          the flow: gr_join_flow
 *   e <event id>               canonical JSON of an event; once checked: without what was not signed
 *   s <event id>               nothing: it is of the state
 *   k <server> 0 <key id>      nothing: that key has signed something
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
    GR_JOIN_HERE_MS = 1500,                /* between tries to enter a room that is here */
    GR_JOIN_STEP_MS = 15 * 1000,           /* after a restart it goes on within that */
    GR_JOIN_ROOM_MS = 60 * 1000            /* for the room to take what it is given */
};

typedef enum {
    GR_JOIN_IDLE, GR_JOIN_MAKE, GR_JOIN_SEND, GR_JOIN_KEYS, GR_JOIN_CHECK, GR_JOIN_ORDER, GR_JOIN_FEED, GR_JOIN_ENTER,
    GR_JOIN_SWEEP
} gr_join_step;

extern const gr_actor_kind gr_join_kind;
