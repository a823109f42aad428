/* memory_engine.h - a store engine in memory for the simulator: ordered, fast, and failing on purpose.
 *
 * Deterministic from its seed.  Completions come from step, `delay` steps after the submit; a batch becomes
 * readable and durable when it completes.  A crash drops what was not completed; the contents outlive the
 * engine in a gr_memory_disk, so that a simulated node can be started again on it.
 */
#pragma once
#include "persistence/engine.h"

/* What is durable; outlives engines, used by one at a time. */
typedef struct gr_memory_disk gr_memory_disk;
gr_memory_disk *gr_memory_disk_new(void);
void gr_memory_disk_free(gr_memory_disk **);
size_t gr_memory_disk_keys(const gr_memory_disk *);
uint64_t gr_memory_disk_hash(const gr_memory_disk *);      /* equal contents give equal hashes */

typedef struct {
    uint64_t seed;
    uint32_t delay_min, delay_max;    /* steps from submit to completion; order per shard is kept */
    uint32_t fenced_per_million;      /* batches refused */
    uint32_t unknown_per_million;     /* batches answered UNKNOWN; half of those are written all the same */
    uint32_t tail_max;                /* batches kept per shard for tail; 0: 64 */
} gr_memory_options;

/* The engine goes into gr_store_options.engine; the disk stays the caller's. */
gr_engine *gr_memory_engine_new(gr_memory_disk *, const gr_memory_options *);

/* Kills what is in flight without answering it: some of it, a prefix in order of submission chosen by the
 * seed, may have become durable.  The engine only takes a close after that. */
void gr_memory_engine_crash(gr_engine *);
size_t gr_memory_engine_waiting(const gr_engine *);        /* batches not yet completed */
