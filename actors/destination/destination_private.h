/* destination_private.h - what the files of the destination share. */
#pragma once
#include "actors/destination/destination.h"

#include "proto/json.h"

enum { GR_DESTINATION_STEP_REQUEST = 1, GR_DESTINATION_STEP_KEYS = 2, GR_DESTINATION_STEP_SEND = 3 };

struct gr_destination_asked {
    gr_destination_asked *next;
    gr_asker *asker;
    uint64_t number;
    bool with_object;                          /* of keys */
};

/* --- backoff.c --- */
void gr_backoff_load(gr_destination *, gr_ctx *);
bool gr_backoff_holds(const gr_destination *, gr_ctx *);               /* it is to be left alone now */
/* What came of a request; of one that is no transaction only whether it could be connected to counts as a failure. */
void gr_backoff_on_fetched(gr_destination *, const gr_fetched *, bool is_transaction, gr_ctx *);
void gr_backoff_on_heard(gr_destination *, gr_ctx *);
/* How long it is left alone after so many failures in a row; random: 0 to UINT32_MAX. */
uint64_t gr_backoff_wait_ms(const gr_env *, uint64_t failures, uint32_t random);

/* --- request.c --- */
void gr_request_on_ask(gr_destination *, const gr_destination_request *, gr_ctx *);
void gr_request_on_fetched(gr_destination *, const gr_fetched *, uint64_t number, gr_ctx *);
/* Signs and sends; `step` comes back with the answer. */
void gr_request_send(gr_destination *, const gr_destination_request *, const gr_resume *step, gr_ctx *);
/* Why there is no good answer, as it may be told to a client; gr_ok() when there is one. */
gr_err gr_request_error(gr_arena *, const gr_fetched *);
void gr_request_drop(gr_destination *);

/* --- queue.c --- */
void gr_queue_load(gr_destination *, gr_ctx *);
void gr_queue_on_item(gr_destination *, const gr_destination_queue *, gr_str attachment, gr_ctx *);
void gr_queue_on_fetched(gr_destination *, const gr_fetched *, uint64_t txn, gr_ctx *);
/* Sends what waits, unless something is under way or the server is left alone: then the durable timer "send" comes back. */
void gr_queue_go_on(gr_destination *, gr_ctx *);
bool gr_queue_is_taken(const gr_fetched *);            /* the answer of a server that has taken a transaction */
bool gr_queue_is_refused(const gr_fetched *);          /* or of one that never will */

/* --- server_keys.c --- */
void gr_server_keys_on_ask(gr_destination *, const gr_destination_keys *, gr_ctx *);
void gr_server_keys_on_learn(gr_destination *, const gr_destination_learn *, gr_ctx *);
void gr_server_keys_on_fetched(gr_destination *, const gr_fetched *, gr_ctx *);
void gr_server_keys_drop(gr_destination *);
