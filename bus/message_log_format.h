/* message_log_format.h - bytes of a segment, shared by those who write and read it only.
 *
 * A segment is named <number>-<made, ms>.log and begins with GR_SEGMENT_MAGIC, the size of the node's name
 * (1 byte) and the name.  Then entries: size of the payload (4 bytes, big-endian), check (the low 4 bytes of
 * its gr_str_hash), payload.  Payload: a byte of kind, then numbers as varints (7 bits each, low first, high
 * bit: more follows):
 *   address: number, bytes up to the end
 *   message: verb, type, trace, span, parent (8 bytes each), from, to (numbers of addresses), queued_us, then
 *            started, handled, committed, released as 0 or 1 + the time since queued, body_size, tag size,
 *            tag, body up to the end
 *   dropped: how many records were lost since the entry before
 *   sent: when the message of the next entry left the other node, by that node's clock
 *   clock: when (by this node's clock), 1 if the other's is behind else 0, by how much, the round trip it was
 *            measured with, the other node's name up to the end
 * Kinds that are not known are skipped.
 */
#pragma once
#include "proto/str.h"

#define GR_SEGMENT_MAGIC "GRMSG\0\1\n"
enum {
    GR_SEGMENT_MAGIC_SIZE = 8, GR_SEGMENT_ENTRY_HEAD = 8, GR_SEGMENT_ENTRY_MAX = 1 << 20,
    GR_SEGMENT_NAME_MAX = 64, GR_SEGMENT_TIMES = 4,
};
typedef enum {
    GR_SEGMENT_ADDRESS = 1, GR_SEGMENT_MESSAGE = 2, GR_SEGMENT_DROPPED = 3, GR_SEGMENT_SENT = 4,
    GR_SEGMENT_CLOCK = 5
} gr_segment_kind;

typedef struct { uint64_t number, made_ms, size; } gr_segment;
/* The segments of a folder, oldest first, in the arena; false when it can't be listed. */
bool gr_segment_list(const char *dir, gr_arena *, gr_segment **, size_t *count);
void gr_segment_path(const char *dir, const gr_segment *, char *out, size_t size);
