/* batch.h - the writes of one shard that become durable together, as deterministic bytes that need nothing
 * else to replay.
 *
 * Bytes: format (1), shard (1), epoch (8), number (8), hash of the batch before (16), count (4), then the
 * operations in the order they were added: kind (1), key size (varint), value size (varint, puts only), key,
 * value.  Integers big-endian. Numbers of a shard rise by one; the hash (BLAKE2b, 128 bits, over all the
 * bytes) chains each batch to the one before. The runtime fills batches from an overlay (overlay.h); engines
 * write them; nothing here knows about LevelDB.
 */
#pragma once
#include "proto/address.h"
#include "proto/err.h"

enum {
    GR_BATCH_FORMAT = 1,
    GR_BATCH_HEADER = 38,             /* bytes before the first operation */
    GR_BATCH_MAX = 512 * 1024,        /* bytes of one batch, header included */
    GR_KEY_MAX = 4096,                /* bytes of a key inside its shard */
    GR_WHOLE_KEY_MAX = GR_KEY_MAX + 2,
    GR_HASH_SIZE = 16,
};

/* Where a shard's history stands: the newest batch it holds.  {0} is a shard that was never written. */
typedef struct { uint64_t number; uint8_t hash[GR_HASH_SIZE]; } gr_position;

typedef enum { GR_OP_PUT = 1, GR_OP_DELETE = 2 } gr_op_kind;
/* Key and value are views into the bytes they were read from. */
typedef struct { gr_op_kind kind; gr_str key, value; } gr_op;

/* Operations in order, without a header: also what schema deltas write.  {0} is an empty list. */
typedef struct { gr_buf bytes; uint32_t count; } gr_ops;
void gr_ops_put(gr_ops *, gr_str key, gr_str value);
void gr_ops_delete(gr_ops *, gr_str key);
/* Forgets the operations, keeps the memory. */
void gr_ops_clear(gr_ops *);
void gr_ops_free(gr_ops *);
size_t gr_op_size(size_t key_size, size_t value_size);             /* most bytes that one operation takes */

/* Takes the first operation off *rest.  False at the end and at malformed bytes; *rest is empty only in the
 * first case. */
bool gr_op_next(gr_str *rest, gr_op *out);

typedef struct {
    uint8_t shard;
    uint64_t epoch;                   /* of the shard handle it was made with */
    uint64_t number;
    uint8_t before[GR_HASH_SIZE];     /* hash of batch number - 1; zeros for the first */
    uint32_t count;
} gr_batch_header;

/* A sealed batch.  `bytes` belongs to whoever made it and stays untouched until the batch's completion has
 * come. */
typedef struct { gr_batch_header header; gr_position position; gr_str bytes; } gr_batch;

/* Encodes ops as the batch after `before`; the bytes lie in the arena.  Fails when they pass GR_BATCH_MAX. */
gr_err gr_batch_seal(uint8_t shard, uint64_t epoch, const gr_position *before, const gr_ops *ops,
                     gr_arena *, gr_batch *out) GR_MUST_USE;

/* Reads a batch from bytes (views into them); checks format, sizes and every operation, and computes its
 * position. */
gr_err gr_batch_read(gr_str bytes, gr_batch *out) GR_MUST_USE;
gr_str gr_batch_ops(const gr_batch *);                             /* the operations, for gr_op_next */
