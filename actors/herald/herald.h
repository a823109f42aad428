/* herald.h - tells everybody who shares a room with one user what is new of that user.
 *
 * EDUs about the devices of a user of this server go to every server that shares a room, through the destinations' queues,
 * each once.  Presence goes to the feeds of users here, and to servers if the user is of this one; it may be lost.  Who they
 * are is asked of the rooms: for EDUs each time, for presence when what is known is older than GR_HERALD_KNOWN_MS.
 * Presence does not travel through rooms with more members than gr_env.presence.room_max: so its cost has a bound.
 *
 *   q <number>   an EDU that waits (herald_row)
 *   c            those before a number go out, and have come to a server (herald_cursor_row)
 *
 * The durable timer "go" begins again after a restart: servers up to the cursor are passed over.
 * Files: herald.c (load, dispatch, EDUs), audience.c (who shares a room), presence.c.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_HERALD_ROOMS_AT_ONCE = 16,          /* asked in parallel */
    GR_HERALD_STEP = 50,                   /* posts of one message */
    GR_HERALD_EDUS = 10,                   /* that go out together */
    GR_HERALD_EDUS_MAX = 1000,             /* waiting; the oldest go first: a gap makes servers fetch the whole list */
    GR_HERALD_ASK_MS = 10 * 1000,
    GR_HERALD_AGAIN_MS = 30 * 1000,        /* when not all rooms have answered */
    GR_HERALD_KNOWN_MS = 5 * 60 * 1000,
    GR_HERALD_MOVED_MS = 1000              /* of several rooms that change together presence hears once */
};

typedef struct { gr_str id; uint8_t shards[GR_SHARDS / 8]; bool is_small; } gr_herald_room;    /* id: owned */
typedef struct { gr_str name; bool is_near; } gr_herald_server;    /* owned; near: in a small room */

typedef struct {
    gr_str id;                             /* "@a:b", owned */
    bool is_local;
    uint64_t first, next;                  /* rows q */
    /* Memory only: who shares a room. */
    gr_herald_room *rooms;
    size_t room_count;
    gr_herald_server *servers;             /* sorted */
    size_t server_count, server_space;
    uint64_t known_ms;                     /* since when; 0: not all of it is */
    bool is_asking, is_partial;            /* partial: a room did not answer */
    size_t asked, open;                    /* rooms */
    uint64_t upto;                         /* EDUs that came before they were asked; 0: none go out now */
    bool has_presence, is_told;            /* presence: the newest, and whether it was told */
    gr_herald_presence presence;           /* strings owned */
} gr_herald;

extern const gr_actor_kind gr_herald_kind;

/* For actors of users here: an EDU (JSON) for every server that shares a room.  fold: of several that wait for a server with
 * the same, not empty, only the newest need arrive. */
void gr_herald_post(gr_ctx *, gr_str user, gr_str edu, gr_str fold);
