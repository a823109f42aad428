/* destination_private.h - what the files of the destination share. */
#pragma once
#include "actors/destination/destination.h"

#include "proto/json.h"

enum { GR_DESTINATION_STEP_REQUEST = 1, GR_DESTINATION_STEP_KEYS, GR_DESTINATION_STEP_SEND, GR_DESTINATION_STEP_ROOM };

struct gr_destination_asked {
    gr_destination_asked *next;
    gr_asker *asker;
    uint64_t number;
    bool with_object;                          /* of keys */
};

struct gr_destination_volatile_edu {
    gr_destination_volatile_edu *next;
    gr_str fold, edu;                          /* owned */
    uint64_t until_ms;                         /* 0: until the queue is given up */
    bool is_under_way;
};

/* What a transaction is made of. */
typedef enum { GR_SEND_EDUS, GR_SEND_OWED, GR_SEND_EVENTS, GR_SEND_VOLATILE, GR_SEND_KINDS } gr_send_kind;

typedef struct { gr_str room_id, event_id, pdu; } gr_destination_event;      /* owned; pdu empty: it is not there */

struct gr_destination_sending {
    gr_send_kind kind;
    uint64_t number;                           /* comes back with answers: others are of before */
    uint64_t end;                              /* of EDUS and EVENTS: in the queue */
    gr_destination_event *events;              /* of OWED and EVENTS, until they are sent; owned */
    size_t count, waiting;                     /* waiting: answers of rooms */
    bool is_failed;                            /* a room could not be asked */
    gr_str room_id;                            /* of OWED; owned */
    uint64_t owed_number, position;
};

/* --- request.c --- */
void gr_request_on_ask(gr_destination *, const gr_destination_request *, gr_ctx *);
void gr_request_on_fetched(gr_destination *, const gr_fetched *, uint64_t number, gr_ctx *);
/* Signs and sends; `step` comes back with the answer. */
void gr_request_send(gr_destination *, const gr_destination_request *, const gr_resume *step, gr_ctx *);
/* Why there is no good answer, as it may be told to a client; gr_ok() when there is one. */
gr_err gr_request_error(gr_arena *, const gr_fetched *);
void gr_request_drop(gr_destination *);

/* --- queue.c --- */
void gr_destination_on_queue(gr_destination *, const gr_destination_queue *, gr_ctx *);
void gr_destination_on_reset(gr_destination *, gr_ctx *);
void gr_destination_on_timer(gr_destination *, const gr_timer *, gr_ctx *);
/* Sends what waits, unless something is under way or the server is left alone: then the durable timer "send" comes back. */
void gr_destination_go_on(gr_destination *, gr_ctx *);
/* The same, then. */
void gr_destination_go_on_at(uint64_t due_ms, gr_ctx *);
void gr_destination_works(gr_destination *, gr_ctx *);     /* it has answered */
/* It failed, and has said itself how long to leave it alone (or 0).  When that was so for too long its queue is given up. */
void gr_destination_failed(gr_destination *, uint64_t at_least_ms, gr_ctx *);

/* --- transaction.c --- */
void gr_transaction_start(gr_destination *, gr_send_kind, gr_ctx *);
void gr_transaction_on_room(gr_destination *, const gr_msg *, gr_ctx *);
void gr_transaction_on_fetched(gr_destination *, const gr_fetched *, uint64_t number, gr_ctx *);
void gr_transaction_drop(gr_destination *);

/* --- catch_up.c --- */
void gr_catch_up_load(gr_destination *, gr_ctx *);
void gr_catch_up_save(const gr_destination *, gr_ctx *);
void gr_catch_up_drop(gr_destination *);
/* The room owes the server this event, unless a newer one. */
void gr_catch_up_owe(gr_destination *, const gr_queue_item_row *, gr_ctx *);
bool gr_catch_up_is_owed(const gr_destination *, gr_str room_id, gr_ctx *);    /* and not under way */
/* The next owed room and its event; false: none is left. */
bool gr_catch_up_next(gr_destination *, gr_str *room_id, gr_owed_row *, gr_ctx *);
/* The room is done with: sent up to a position, or not to be sent (position 0). */
void gr_catch_up_done(gr_destination *, gr_str room_id, uint64_t number, uint64_t position, gr_ctx *);
/* Was this event among what was sent when the room was caught up? */
bool gr_catch_up_has(gr_destination *, const gr_queue_item_row *, gr_ctx *);
void gr_catch_up_forget(gr_destination *, const gr_queue_item_row *newer, gr_ctx *);

/* --- volatile.c --- */
void gr_volatile_on_edu(gr_destination *, const gr_destination_volatile *, gr_ctx *);
/* Those that are to be sent, separated by commas; they are under way from now on.  At most so many as a transaction takes. */
void gr_volatile_take(gr_destination *, gr_buf *out, gr_ctx *);
void gr_volatile_sent(gr_destination *, bool taken);
bool gr_volatile_waits(gr_destination *, gr_ctx *);        /* forgets those that are too old */
void gr_volatile_drop(gr_destination *);

/* --- server_keys.c --- */
void gr_server_keys_on_ask(gr_destination *, const gr_destination_keys *, gr_ctx *);
void gr_server_keys_on_learn(gr_destination *, const gr_destination_learn *, gr_ctx *);
void gr_server_keys_on_fetched(gr_destination *, const gr_fetched *, gr_ctx *);
void gr_server_keys_drop(gr_destination *);
