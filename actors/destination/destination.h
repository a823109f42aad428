/* destination.h - one other server: its keys, the requests to it, and how long to leave it alone when it fails.
 *
 *   k <key id>    a key of it, in use or old (server_key_row)
 *   o             what it published last (server_object_row)
 *   b             it fails: since when, when to try again (backoff_row); absent: it does not
 *   q <number>    a PDU or EDU that waits for it (queue_item_row)
 *   s             how far these are sent, and in which transaction (queue_row)
 *
 * Requests of users (destination_request) are sent at once or fail at once: while a server is left alone nobody waits for
 * it.  A server is left alone when it can't be connected to or fails to take a transaction, longer each time; an answer that
 * is no failure ends that.  What is queued (destination_queue) goes out in order, one transaction at a time; one that is
 * repeated is the same, byte by byte.  One that is refused is cut in halves until the item at fault is alone, and set aside.
 * Files: destination.c (load, dispatch, inspect), backoff.c, request.c, server_keys.c, queue.c.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_DESTINATION_REQUESTS_MAX = 256,         /* under way */
    GR_DESTINATION_ANSWER_MAX = 900 * 1024,    /* bytes: what fits a message */
    GR_DESTINATION_TIMEOUT_MS = 30 * 1000,
    GR_DESTINATION_QUICK_TRIES = 10,           /* before the first long wait */
    GR_DESTINATION_HEARD_MS = 60 * 1000        /* being heard of makes it tried at once no more often than that */
};
enum {
    GR_SERVER_KEYS_MAX = 64,                   /* kept of one server; the one that ended first goes first */
    GR_SERVER_KEYS_OBJECT_MAX = 64 * 1024,     /* bytes that it may publish */
    GR_SERVER_KEYS_VALID_MS = 7 * 24 * 3600 * 1000,    /* from when they were learnt, whatever they say */
    GR_SERVER_KEYS_ASK_MS = 10 * 1000,         /* asked for no more often than that */
    GR_SERVER_KEYS_TIMEOUT_MS = 20 * 1000
};

enum {
    GR_QUEUE_ITEMS_MAX = 10000,                /* waiting; what comes beyond is set aside */
    GR_QUEUE_ITEMS = 50,                       /* of one transaction: 50 PDUs and 100 EDUs are allowed, 64 rows may be read */
    GR_QUEUE_BYTES = 128 * 1024,               /* likewise */
    GR_QUEUE_TIMEOUT_MS = 60 * 1000,
    GR_QUEUE_REFUSALS = 3,                     /* then it is cut in halves */
    GR_QUEUE_REFUSED_MS = 2000
};

typedef struct gr_destination_asked gr_destination_asked;      /* who waits for an answer of the server, or for its keys */

typedef struct {
    gr_str name;                               /* owned */
    gr_destination_asked *requests, *key_waiters;
    size_t request_count;
    uint64_t next_number;
    uint64_t failing_since_ms, next_try_ms, failures;   /* 0: it does not fail */
    uint64_t heard_ms;
    uint64_t keys_asked_ms;
    bool keys_under_way;
    gr_queue_row queue;
    bool is_sending;                           /* its transaction */
} gr_destination;

extern const gr_actor_kind gr_destination_kind;
