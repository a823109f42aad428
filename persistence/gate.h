/* gate.h - which batches of which epoch may still be written: the rule that all engines share.
 *
 * A shard is open to one epoch at a time.  A batch passes when its epoch is the open one and it follows the
 * newest batch by number and hash.  Whatever is refused or unknown closes the shard until it is acquired
 * anew.  The engine locks it.
 */
#pragma once
#include "persistence/engine.h"

enum { GR_POSITION_BYTES = 8 + GR_HASH_SIZE };

typedef struct {
    struct { uint64_t epoch; bool open; gr_position newest; } shards[GR_SHARDS];
} gr_gate;

/* the new epoch; 1 is the first */
uint64_t gr_gate_acquire(gr_gate *, uint8_t shard, const gr_position *newest);
/* true: the batch is the newest now; false: the shard is closed */
bool gr_gate_admit(gr_gate *, const gr_batch *);
void gr_gate_close(gr_gate *, uint8_t shard);
void gr_gate_close_all(gr_gate *);

/* The record of a shard's position, kept in the shard under the key "\0p". */
#define GR_POSITION_KEY ((gr_str){"\0p", 2})
void gr_position_bytes(const gr_position *, char out[GR_POSITION_BYTES]);
bool gr_position_read(gr_str bytes, gr_position *out);

/* Writes 's' + shard + key to out, which has room for GR_WHOLE_KEY_MAX bytes. */
gr_str gr_whole_key(char *out, uint8_t shard, gr_str key);
