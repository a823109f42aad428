/* destination.h - one other server: its keys, the requests to it, what waits for it, and how long to leave it alone when it
 * fails.
 *
 *   k <key id>    a key of it, in use or old (server_key_row)
 *   o             what it published last (server_object_row)
 *   b             it fails: since when, when to try again (backoff_row)
 *   qe, se, xe    events of rooms that wait for it (delivery/queue.h): the live queue
 *   qd, fd, sd, xd    EDUs that must not be lost: to-device messages, device lists
 *   u             what it missed in all (catch_up_row)
 *   r <room>      the newest event of a room that it missed (owed_row);   n <number> -> room: in the order of the numbers
 *   c <room>      -> position: events of the room up to there were sent when it was caught up
 *
 * Requests of users (destination_request) are sent at once or fail at once: while a server is left alone nobody waits for
 * it.  A server is left alone when it can't be connected to or fails to take a transaction, longer each time; an answer that
 * is no failure ends that.
 *
 *     live --error--> backing off --success--> live
 *     backing off, next wait > 1 hour --> catch-up pending --a try succeeds--> catching up --nothing owed--> live
 *
 * LIVE, BACKING OFF: events go out in order, one transaction at a time; one that is repeated is the same, byte by byte.  A
 * passing failure loses nothing: the remote would have to fill gaps, which is expensive for both sides.  The queue is
 * bounded: past that its oldest events fold into the newest that is owed of their rooms.
 * PENDING: it has failed for too long.  All that waited has folded so, and what comes folds too.
 * CATCHING UP: owed rooms are sent in order, one room in a transaction: what the room says it is to get now (room_owed).  New
 * events of a room that is still owed fold, those of others queue.  An error leads back to backing off, with rooms owed.
 *
 * EDUs that must not be lost are in no transaction with events: they go first and alternate with them, whatever the state.
 * EDUs that may be lost are in memory and in transactions of their own.
 *
 * Files: destination.c (load, dispatch, inspect), request.c, server_keys.c, queue.c (what comes in, what goes out next),
 * transaction.c (one transaction: asking rooms, sending, what came of it), catch_up.c, volatile.c.
 */
#pragma once
#include "actors/delivery/queue.h"
#include "actors/env.h"

enum {
    GR_DESTINATION_REQUESTS_MAX = 256,         /* under way */
    GR_DESTINATION_ANSWER_MAX = 900 * 1024,    /* bytes: what fits a message */
    GR_DESTINATION_TIMEOUT_MS = 30 * 1000,
    GR_DESTINATION_SEND_MS = 60 * 1000,        /* a transaction may take so long */
    GR_DESTINATION_ROOM_MS = 10 * 1000,        /* a room may take so long to answer */
    GR_DESTINATION_WATCH_MS = 15 * 1000,       /* only a restart keeps an answer away: it is looked for so often */
    GR_DESTINATION_AGAIN_MS = 2000,            /* after a refusal, or when something here was missing */
    GR_DESTINATION_LATE_MS = 2000,             /* a timer that is so late has slept through an outage of ours: then tries */
    GR_DESTINATION_SPREAD_MS = 120 * 1000,     /* are spread over as long as it took, at most over this */
    GR_DESTINATION_EDUS_MAX = 10000,           /* waiting, of those that must not be lost; what comes beyond is set aside */
    GR_DESTINATION_VOLATILE_MAX = 100,         /* waiting, of the others; and bytes: the oldest go */
    GR_DESTINATION_VOLATILE_BYTES = 32 * 1024,
    GR_DESTINATION_IDS_MAX = 30,               /* asked of a room at once */
    GR_DESTINATION_PAGE_MAX = 200              /* rooms read at a time, whatever is configured */
};
#define GR_DESTINATION_GONE_MS (30 * 24 * 3600 * (uint64_t)1000)   /* then device lists fold to one hint a user */

enum {
    GR_SERVER_KEYS_ASK_MS = 10 * 1000,         /* asked for no more often than that */
    GR_SERVER_KEYS_TIMEOUT_MS = 20 * 1000
};

typedef enum {
    GR_DESTINATION_LIVE, GR_DESTINATION_BACKING_OFF, GR_DESTINATION_PENDING, GR_DESTINATION_CATCHING_UP
} gr_destination_state;

typedef struct gr_destination_asked gr_destination_asked;      /* who waits for an answer of the server, or for its keys */
typedef struct gr_destination_sending gr_destination_sending;  /* the transaction under way */
typedef struct gr_destination_volatile_edu gr_destination_volatile_edu;
typedef struct { gr_str id; uint64_t number; } gr_destination_room;            /* id: owned; number: as in owed_row */

typedef struct {
    gr_str name;                               /* owned */
    gr_destination_asked *requests, *key_waiters;
    size_t request_count;
    uint64_t next_number;
    uint64_t keys_asked_ms;
    bool keys_under_way;
    gr_backoff backoff;
    gr_queue events, edus;
    gr_catch_up_row owed;
    gr_destination_room *page;                 /* owed rooms that are caught up now, in order; owned */
    size_t page_count, page_next;
    gr_destination_volatile_edu *volatiles;    /* in the order in which they came */
    size_t volatile_count, volatile_bytes;
    gr_destination_sending *sending;           /* NULL: nothing is under way */
    bool is_spread;                            /* the timer was set anew, since it was late */
    unsigned turn;                             /* what goes out next, if it waits (queue.c) */
} gr_destination;

gr_destination_state gr_destination_state_of(const gr_destination *);
const char *gr_destination_state_text(gr_destination_state);

extern const gr_actor_kind gr_destination_kind;

/* request.c: why a request has failed, as it may be told to a client; gr_ok(): it was answered 200. */
GR_MUST_USE gr_err gr_destination_error(gr_arena *, const gr_fetched *);
