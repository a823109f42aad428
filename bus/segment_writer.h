/* segment_writer.h - makes the bytes of a segment of the message log, entry by entry (message_log_format.h).
 *
 * Used by the log thread, which writes them to a file and takes them out of `out` whenever it likes, and by who
 * picks records out of a log to send them elsewhere. Addresses are written once, before their first use.
 */
#pragma once
#include "bus/message_log.h"

typedef struct {
    gr_buf out;                    /* whole entries; may be taken and cleared between calls */
    uint64_t size;                 /* of the segment so far */
    gr_buf payload, blanked;
    gr_arena *addresses, *scratch;
    struct gr_segment_address *table;
    uint32_t address_count;
} gr_segment_writer;

void gr_segment_writer_init(gr_segment_writer *);
void gr_segment_writer_free(gr_segment_writer *);
/* The head of a new segment; what was known of addresses is forgotten. */
void gr_segment_begin(gr_segment_writer *, gr_str node);
/* The body is kept without its secrets; when it is no body of its type, not at all. */
void gr_segment_put_message(gr_segment_writer *, const gr_log_record *, gr_str tag);
void gr_segment_put_dropped(gr_segment_writer *, uint64_t count);
void gr_segment_put_clock(gr_segment_writer *, const gr_log_clock *);
