/* incoming.h - the PDUs of a transaction, on their way into rooms.
 *
 * The keys of all signers are found in one batch; then each room gets its events, which it checks, stages and answers one by
 * one (actors/room/incoming.h).  What is wrong with one is told of that one.  A room that nobody here is in takes none, but what
 * ends an invite or a knock of a user here is for that user (rescinding.h).
 */
#pragma once
#include "edge/rescinding.h"

enum { GR_INCOMING_MAX = 50 };         /* of one transaction: specification */

/* The call's state begins with it. */
typedef struct {
    const gr_json *pdus;               /* an array, or NULL */
    gr_str results;                    /* JSON object: event id -> {} or {"error"} */
    bool is_failed;                    /* not all could be staged: the transaction is to come again */
    void (*then)(gr_call *);
    struct gr_incoming_part *parts;
    size_t part_count, open;
    gr_str *ids, *errors;              /* of each */
    gr_keys_known *keys;
    size_t key_count;
    bool *unknown;                     /* of each: nobody here is in its room */
    size_t looked_at;
    gr_rescinding rescinding;
} gr_incoming;

void gr_incoming_take(gr_call *);
