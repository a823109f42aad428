/* batch.c - encoding and checking of batches. See batch.h. */
#include "persistence/batch.h"

#include <sodium.h>

enum { VARINT_MAX = 5 };

static void add_varint(gr_buf *buf, size_t value)
{
    gr_assert(value <= UINT32_MAX);
    while (value >= 0x80) {
        gr_buf_char(buf, (char)(value | 0x80));
        value >>= 7;
    }
    gr_buf_char(buf, (char)value);
}

static bool take_varint(gr_str *rest, size_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < VARINT_MAX && i < rest->size; i++) {
        unsigned char byte = (unsigned char)rest->ptr[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80) continue;
        /* one number has one encoding, so that equal batches are equal bytes */
        if (i > 0 && byte == 0) return false;
        *rest = gr_str_from(*rest, i + 1);
        *out = (size_t)value;
        return value <= UINT32_MAX;
    }
    return false;
}

void gr_ops_put(gr_ops *ops, gr_str key, gr_str value)
{
    gr_assert(key.size > 0 && key.size <= GR_WHOLE_KEY_MAX);
    gr_buf_char(&ops->bytes, GR_OP_PUT);
    add_varint(&ops->bytes, key.size);
    add_varint(&ops->bytes, value.size);
    gr_buf_str(&ops->bytes, key);
    gr_buf_str(&ops->bytes, value);
    ops->count++;
}

void gr_ops_delete(gr_ops *ops, gr_str key)
{
    gr_assert(key.size > 0 && key.size <= GR_WHOLE_KEY_MAX);
    gr_buf_char(&ops->bytes, GR_OP_DELETE);
    add_varint(&ops->bytes, key.size);
    gr_buf_str(&ops->bytes, key);
    ops->count++;
}

void gr_ops_clear(gr_ops *ops)
{
    gr_buf_clear(&ops->bytes);
    ops->count = 0;
}

void gr_ops_free(gr_ops *ops)
{
    gr_buf_free(&ops->bytes);
    ops->count = 0;
}

size_t gr_op_size(size_t key_size, size_t value_size) { return 1 + 2 * VARINT_MAX + key_size + value_size; }

bool gr_op_next(gr_str *rest, gr_op *out)
{
    *out = (gr_op){0};
    if (rest->size == 0) return false;
    gr_str at = gr_str_from(*rest, 1);
    size_t key_size = 0, value_size = 0;
    char kind = rest->ptr[0];
    if (kind != GR_OP_PUT && kind != GR_OP_DELETE) return false;
    if (!take_varint(&at, &key_size)) return false;
    if (kind == GR_OP_PUT && !take_varint(&at, &value_size)) return false;
    if (key_size == 0 || key_size > GR_WHOLE_KEY_MAX) return false;
    if (at.size < key_size || at.size - key_size < value_size) return false;
    out->kind = (gr_op_kind)kind;
    out->key = gr_str_head(at, key_size);
    out->value = (gr_str){at.ptr + key_size, value_size};
    *rest = gr_str_from(at, key_size + value_size);
    return true;
}

static void hash_bytes(gr_str bytes, uint8_t hash[GR_HASH_SIZE])
{
    crypto_generichash(hash, GR_HASH_SIZE, (const unsigned char *)bytes.ptr, bytes.size, NULL, 0);
}

gr_err gr_batch_seal(uint8_t shard, uint64_t epoch, const gr_position *before, const gr_ops *ops,
                     gr_arena *arena, gr_batch *out)
{
    *out = (gr_batch){0};
    size_t size = GR_BATCH_HEADER + ops->bytes.size;
    if (size > GR_BATCH_MAX)
        return gr_failf(arena, GR_TOO_LARGE, "A batch of %zu bytes is over the limit of %d", size,
                        GR_BATCH_MAX);
    gr_buf head = {0};
    gr_buf_char(&head, GR_BATCH_FORMAT);
    gr_buf_char(&head, (char)shard);
    gr_buf_u64be(&head, epoch);
    gr_buf_u64be(&head, before->number + 1);
    gr_buf_add(&head, before->hash, GR_HASH_SIZE);
    gr_buf_u32be(&head, ops->count);
    gr_assert(head.size == GR_BATCH_HEADER);
    gr_str parts[] = {gr_buf_view(&head), gr_buf_view(&ops->bytes)};
    out->bytes = gr_arena_cat(arena, 2, parts);
    gr_buf_free(&head);
    out->header = (gr_batch_header){.shard = shard, .epoch = epoch, .number = before->number + 1, .count =
                                    ops->count};
    memcpy(out->header.before, before->hash, GR_HASH_SIZE);
    out->position.number = out->header.number;
    hash_bytes(out->bytes, out->position.hash);
    return gr_ok();
}

gr_err gr_batch_read(gr_str bytes, gr_batch *out)
{
    *out = (gr_batch){0};
    if (bytes.size < GR_BATCH_HEADER || bytes.size > GR_BATCH_MAX)
        return gr_fail(GR_BAD_STATE,
                       "The batch has an impossible size; the journal or the copy of it is damaged");
    if (bytes.ptr[0] != GR_BATCH_FORMAT)
        return gr_fail(GR_BAD_STATE,
                       "The batch has a format that this version does not know; use a newer greenroom");
    gr_batch_header header = {.shard = (uint8_t)bytes.ptr[1], .epoch = gr_u64be(bytes.ptr + 2),
                              .number = gr_u64be(bytes.ptr + 10), .count = gr_u32be(bytes.ptr + 34)};
    memcpy(header.before, bytes.ptr + 18, GR_HASH_SIZE);
    gr_str rest = gr_str_from(bytes, GR_BATCH_HEADER);
    uint32_t count = 0;
    for (gr_op op; gr_op_next(&rest, &op) && op.key.size <= GR_KEY_MAX;) count++;
    if (rest.size != 0 || count != header.count || header.number == 0)
        return gr_fail(GR_BAD_STATE,
                       "The batch's operations do not add up; the journal or the copy of it is damaged");
    out->header = header;
    out->bytes = bytes;
    out->position.number = header.number;
    hash_bytes(bytes, out->position.hash);
    return gr_ok();
}

gr_str gr_batch_ops(const gr_batch *batch) { return gr_str_from(batch->bytes, GR_BATCH_HEADER); }
