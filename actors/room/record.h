/* record.h - stored events: a header readable without the JSON, the event id, and the canonical JSON.
 *
 * Bytes: format (1), flags (4), n, depth, pos, ts, key, state-before root, state-after root, power
 * levels n, redacted-by n (8 each), is_state (1), then event id, type, sender, state key (2 bytes of size each and
 * the bytes), then the JSON to the end.  Big-endian.  Stored under "e<n>"; also the attachment of feed posts.
 */
#pragma once
#include "actors/room/room.h"

enum { GR_ROOM_RECORD_FORMAT = 1 };

void gr_room_record_write(gr_buf *, const gr_room_record *);
/* Views into bytes.  False when it is no such record. */
bool gr_room_record_read(gr_str bytes, gr_room_record *);
/* Rewrites flags and redacted_by in a copy of the record, and the JSON when json is not empty (redaction at
 * rest). */
gr_str gr_room_record_marked(gr_arena *, gr_str bytes, uint32_t flags, uint64_t redacted_by, gr_str json);
