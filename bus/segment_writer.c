/* segment_writer.c - see segment_writer.h. */
#include "bus/segment_writer.h"
#include "bus/message_log_format.h"
#include "bus/message_tag.h"

#include <stdlib.h>

enum {
    ADDRESSES_MAX = 1 << 13, /* known at a time */
    TABLE = 2 * ADDRESSES_MAX
};

typedef struct gr_segment_address {
    gr_str address;
    uint64_t hash;
    uint32_t number; /* 0: free */
} known;

void gr_segment_writer_init(gr_segment_writer *w)
{
    *w = (gr_segment_writer){.addresses = gr_arena_new(0),
                             .scratch = gr_arena_new(0),
                             .table = gr_alloc(TABLE * sizeof(known))};
}

void gr_segment_writer_free(gr_segment_writer *w)
{
    gr_arena_free(&w->addresses);
    gr_arena_free(&w->scratch);
    gr_buf_free(&w->out);
    gr_buf_free(&w->payload);
    gr_buf_free(&w->blanked);
    free(w->table);
    *w = (gr_segment_writer){0};
}

static void forget_addresses(gr_segment_writer *w)
{
    gr_arena_reset(w->addresses);
    memset(w->table, 0, TABLE * sizeof *w->table);
    w->address_count = 0;
}

void gr_segment_begin(gr_segment_writer *w, gr_str node)
{
    size_t before = w->out.size;
    forget_addresses(w);
    gr_buf_add(&w->out, GR_SEGMENT_MAGIC, GR_SEGMENT_MAGIC_SIZE);
    gr_buf_char(&w->out, (char)node.size);
    gr_buf_str(&w->out, node);
    w->size = w->out.size - before;
}

static void put_entry(gr_segment_writer *w)
{
    gr_str payload = gr_buf_view(&w->payload);
    gr_buf_u32be(&w->out, (uint32_t)payload.size);
    gr_buf_u32be(&w->out, (uint32_t)gr_str_hash(payload));
    gr_buf_str(&w->out, payload);
    w->size += GR_SEGMENT_ENTRY_HEAD + payload.size;
    gr_buf_clear(&w->payload);
}

static uint32_t number_of(gr_segment_writer *w, gr_str address)
{
    uint64_t hash = gr_str_hash(address);
    size_t i = hash & (TABLE - 1);
    for (; w->table[i].number; i = (i + 1) & (TABLE - 1))
        if (w->table[i].hash == hash && gr_str_eq(w->table[i].address, address)) return w->table[i].number;
    w->table[i] = (known){gr_arena_str(w->addresses, address), hash, ++w->address_count};
    gr_buf_char(&w->payload, GR_SEGMENT_ADDRESS);
    gr_buf_varint(&w->payload, w->address_count);
    gr_buf_str(&w->payload, address);
    put_entry(w);
    return w->address_count;
}

static void put_sent(gr_segment_writer *w, uint64_t sent_us)
{
    gr_buf_char(&w->payload, GR_SEGMENT_SENT);
    gr_buf_varint(&w->payload, sent_us);
    put_entry(w);
}

static void put_body(gr_segment_writer *w, unsigned type, gr_str body)
{
    if (body.size && gr_message_blank(w->scratch, type, body, &w->blanked))
        gr_buf_str(&w->payload, gr_buf_view(&w->blanked));
    if (w->blanked.size) memset(w->blanked.ptr, 0, w->blanked.size);
    gr_buf_clear(&w->blanked);
    gr_arena_reset(w->scratch);
}

void gr_segment_put_message(gr_segment_writer *w, const gr_log_record *r, gr_str tag)
{
    const uint64_t times_us[GR_SEGMENT_TIMES] = {r->started_us, r->handled_us, r->committed_us, r->released_us};
    /* Both numbers have to be good when the message is read: forget between messages only. */
    if (w->address_count + 2 > ADDRESSES_MAX) forget_addresses(w);
    uint32_t from = number_of(w, r->from), to = number_of(w, r->to);
    gr_buf *p = &w->payload;
    if (r->sent_us) put_sent(w, r->sent_us);
    gr_buf_char(p, GR_SEGMENT_MESSAGE);
    gr_buf_varint(p, r->verb);
    gr_buf_varint(p, r->type);
    gr_buf_u64be(p, r->trace);
    gr_buf_u64be(p, r->span);
    gr_buf_u64be(p, r->parent);
    gr_buf_varint(p, from);
    gr_buf_varint(p, to);
    gr_buf_varint(p, r->queued_us);
    for (int i = 0; i < GR_SEGMENT_TIMES; i++)
        gr_buf_varint(p, times_us[i] == 0              ? 0
                         : times_us[i] < r->queued_us ? 1
                                                      : 1 + times_us[i] - r->queued_us);
    gr_buf_varint(p, r->body_size);
    gr_buf_varint(p, tag.size);
    gr_buf_str(p, tag);
    put_body(w, r->type, r->body);
    put_entry(w);
}

void gr_segment_put_dropped(gr_segment_writer *w, uint64_t count)
{
    gr_buf_char(&w->payload, GR_SEGMENT_DROPPED);
    gr_buf_varint(&w->payload, count);
    put_entry(w);
}

void gr_segment_put_clock(gr_segment_writer *w, const gr_log_clock *c)
{
    bool is_behind = c->offset_us < 0;
    uint64_t distance = is_behind ? 0 - (uint64_t)c->offset_us : (uint64_t)c->offset_us;
    gr_buf_char(&w->payload, GR_SEGMENT_CLOCK);
    gr_buf_varint(&w->payload, c->at_us);
    gr_buf_char(&w->payload, (char)is_behind);
    gr_buf_varint(&w->payload, distance);
    gr_buf_varint(&w->payload, c->rtt_us);
    gr_buf_str(&w->payload, c->peer);
    put_entry(w);
}
