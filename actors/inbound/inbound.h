/* inbound.h - the transactions of one other server: each is taken once, and answered the same however often it comes.
 *
 *   t <txn id>    a transaction that was taken: its answer, its number (inbound_row)
 *   n <number>    its id: the oldest goes when there are more than GR_INBOUND_KEPT
 *
 * The edge takes a transaction apart (edge/routes_transaction.c) between inbound_begin and inbound_end.  Which ones are under
 * way is memory: after a crash the server sends again what it was not answered, and every part of it can be taken twice.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_INBOUND_KEPT = 100,
    GR_INBOUND_UNDER_WAY = 4,          /* at once; more are told to come later */
    GR_INBOUND_WAITERS = 4,            /* who repeat one that is under way */
    GR_INBOUND_TAKE_MS = 60 * 1000     /* one that is not ended by then was lost with its edge */
};

typedef struct {
    gr_str txn_id;                     /* owned */
    uint64_t until_ms;
    gr_asker *waiters[GR_INBOUND_WAITERS];
    size_t waiter_count;
} gr_inbound_taking;

typedef struct {
    gr_inbound_taking taking[GR_INBOUND_UNDER_WAY];
    size_t count;
} gr_inbound;

extern const gr_actor_kind gr_inbound_kind;
