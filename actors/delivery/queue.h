/* queue.h - what waits to be delivered, in order, in transactions.  Part of a destination; made for application services and
 * pushers too.
 *
 *   q<letter> <number>    an item that waits (queue_item_row)
 *   f<letter> <fold>      the number of the item with that fold, which waits
 *   s<letter>             how far these are delivered, and in which transaction (queue_row)
 *   x<letter> <0..15>     the newest items that were set aside (queue_item_row)
 *
 * An actor may have several, by their letters.  One transaction at a time: its number, time and extent are durable before it
 * leaves, so what is repeated is the same.  Items are texts, or events of rooms here whose texts the owner gets before it
 * sends them; should these be others when it is repeated (an event was redacted), it is another transaction.  One that is
 * refused is cut in halves until the item at fault is alone, and set aside.  Items that fold take the place of the one
 * before, while it is in no transaction.
 */
#pragma once
#include "bus/actor.h"

enum {
    GR_QUEUE_ITEMS = 50,               /* of one transaction: 50 PDUs and 100 EDUs are allowed, 64 rows may be read */
    GR_QUEUE_BYTES = 128 * 1024,       /* likewise: of texts, with one item more than that if it is the first */
    GR_QUEUE_REFUSALS = 3,             /* then it is cut in halves */
    GR_QUEUE_SET_ASIDE = 16            /* kept, for people to see */
};

typedef struct {
    char letter;
    gr_queue_row row;
    /* memory only: of the items that were picked for the transaction */
    uint64_t picked_bytes;
    gr_buf picked_folds;
} gr_queue;

void gr_queue_load(gr_queue *, char letter, gr_ctx *);
void gr_queue_drop(gr_queue *);
void gr_queue_save(const gr_queue *, gr_ctx *);
uint64_t gr_queue_count(const gr_queue *);                 /* items waiting, those under way too */
uint64_t gr_queue_digest(const gr_queue *);

void gr_queue_add(gr_queue *, const gr_queue_item_row *, gr_ctx *);
/* An item that waits; false when it has folded or can't be read. Views in the arena of ctx. */
bool gr_queue_item(const gr_queue *, uint64_t number, gr_queue_item_row *, gr_ctx *);
/* Takes the oldest item away, whatever transaction it was in. False: it could not be read. */
bool gr_queue_shift(gr_queue *, gr_queue_item_row *, gr_ctx *);
/* Folds the items from `from` on, at most `most` of them, by what their fold begins with, up to a NUL: the newest takes the
 * place of the oldest. Returns where to go on; the end of the queue when all is done. */
uint64_t gr_queue_fold(gr_queue *, uint64_t from, size_t most, gr_ctx *);

/* The items of the transaction that is to be sent, again or for the first time: numbers from first up to the end, which is
 * returned; items[i].size and text are empty when it folded. */
uint64_t gr_queue_pick(gr_queue *, gr_queue_item_row items[GR_QUEUE_ITEMS], gr_ctx *);
/* It goes out, with texts of that hash. */
void gr_queue_begin(gr_queue *, uint64_t end, uint64_t hash, gr_ctx *);
void gr_queue_taken(gr_queue *, gr_ctx *);                 /* it was delivered */
void gr_queue_refused(gr_queue *, gr_ctx *);
/* Items that were set aside, the newest ones, in no order. */
size_t gr_queue_set_aside(const gr_queue *, gr_queue_item_row items[GR_QUEUE_SET_ASIDE], gr_ctx *);
