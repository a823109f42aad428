/* poison.h - the crash page: which message each worker is handling, readable after the process has died of
 * it.
 *
 * One slot per worker in a memory-mapped file; a simulated node keeps slots in plain memory that outlives it.
 * The worker writes its slot before each handler and clears it after.  At the next start a slot that is still
 * marked names the suspect: such a message is run alone, and when it crashes again its post goes to the dead
 * letters and its actor is suspended.
 */
#pragma once
#include "proto/address.h"
#include "proto/message.h"

typedef struct {
    uint32_t busy;    /* 1 while a handler runs */
    uint32_t crashes; /* times that this very message was found here at a start */
    uint32_t verb, type;
    uint64_t seq; /* of a post; else 0 */
    uint16_t to_size, from_size;
    char to[GR_ADDRESS_MAX], from[GR_ADDRESS_MAX];
} gr_crash_slot;

typedef struct gr_poison gr_poison;
/* Maps `dir`/crash.page, made when missing, for this many workers.  A page of another size is begun anew. */
GR_MUST_USE gr_err gr_poison_open(const char *dir, unsigned workers, gr_arena *, gr_poison **);
gr_crash_slot *gr_poison_slot(gr_poison *, unsigned worker);
void gr_poison_close(gr_poison **);
