/* level.h - the feature level at which a node speaks and stores, and when it rises.
 *
 * A program understands the levels from low to high (proto/level.h). What came with a level above the node's own is not
 * sent, not written to an outbox and not stored, so that nodes of the version before can work with it, and its program can
 * be put back. The level is kept in the store and never falls. A server of one node takes the highest at its start; in a
 * cluster it rises by `greenroom upgrade finish` on one node, once all nodes understand more, and the others follow when
 * they hear of it (link.h).
 */
#pragma once
#include "persistence/store.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    gr_store *store;
    uint32_t low, high;            /* what the program understands */
    _Atomic uint32_t now;
    pthread_mutex_t lock;          /* of raising */
} gr_level;

/* Reads where the store stands. GR_BAD_STATE: at a level that this program does not understand. */
GR_MUST_USE gr_err gr_level_open(gr_level *, gr_store *, uint32_t low, uint32_t high, bool is_alone, gr_arena *);
void gr_level_close(gr_level *);
/* Makes it durable first; nothing when it stands there or above already. Any thread; waits for the disk. */
GR_MUST_USE gr_err gr_level_raise(gr_level *, uint32_t to);
/* NULL: nothing is held back. */
static inline uint32_t gr_level_now(const gr_level *l) { return l ? atomic_load(&l->now) : INT32_MAX; }
