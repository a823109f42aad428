/* servers.h - the other servers of one shard: which of them is in which room, and what rooms have for them.
 *
 * A room posts each event once per shard that holds a server of it, however many these are (as with feeds); here it goes
 * into the queue of each, in the same shard.  A large event for many servers goes in steps, and what comes later waits behind.
 *
 *   r <room> 0 <server>    the server is in the room
 *   s <server> 0 <room>    the same
 *   w <number>             what is not sent to all yet (servers_sending_row)
 */
#pragma once
#include "actors/env.h"

enum {
    GR_SERVERS_STEP_BYTES = 192 * 1024,        /* put into queues by one step */
    GR_SERVERS_STEP = 200,                     /* servers that one step reads */
    GR_SERVERS_ROOMS_PAGE = 200,
    GR_SERVERS_FIND = 60                       /* rooms that are looked into by one message */
};

typedef struct { uint64_t first, next; } gr_servers;       /* rows w: first to next - 1 */

extern const gr_actor_kind gr_servers_kind;
