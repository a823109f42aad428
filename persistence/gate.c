/* gate.c - epochs and chains of shards. See gate.h. */
#include "persistence/gate.h"

uint64_t gr_gate_acquire(gr_gate *gate, uint8_t shard, const gr_position *newest)
{
    gate->shards[shard].open = true;
    gate->shards[shard].newest = *newest;
    return ++gate->shards[shard].epoch;
}

bool gr_gate_admit(gr_gate *gate, const gr_batch *batch)
{
    const gr_batch_header *header = &batch->header;
    gr_position *newest = &gate->shards[header->shard].newest;
    /* A batch of an older epoch says nothing about the present one, so it closes nothing. */
    if (header->epoch != gate->shards[header->shard].epoch) return false;
    bool follows = header->number == newest->number + 1
        && memcmp(header->before, newest->hash, GR_HASH_SIZE) == 0;
    if (!gate->shards[header->shard].open || !follows) {
        gr_gate_close(gate, header->shard);
        return false;
    }
    *newest = batch->position;
    return true;
}

void gr_gate_close(gr_gate *gate, uint8_t shard) { gate->shards[shard].open = false; }

void gr_gate_close_all(gr_gate *gate)
{
    for (int shard = 0; shard < GR_SHARDS; shard++) gate->shards[shard].open = false;
}

void gr_position_bytes(const gr_position *position, char out[GR_POSITION_BYTES])
{
    for (int i = 0; i < 8; i++) out[i] = (char)(position->number >> (56 - 8 * i));
    memcpy(out + 8, position->hash, GR_HASH_SIZE);
}

bool gr_position_read(gr_str bytes, gr_position *out)
{
    *out = (gr_position){0};
    if (bytes.size != GR_POSITION_BYTES) return false;
    out->number = gr_u64be(bytes.ptr);
    memcpy(out->hash, bytes.ptr + 8, GR_HASH_SIZE);
    return true;
}

gr_str gr_whole_key(char *out, uint8_t shard, gr_str key)
{
    gr_assert(key.size <= GR_KEY_MAX);
    out[0] = 's';
    out[1] = (char)shard;
    if (key.size) memcpy(out + 2, key.ptr, key.size);
    return (gr_str){out, key.size + 2};
}
