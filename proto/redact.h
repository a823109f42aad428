/* redact.h - what redaction leaves of an event, by room version.
 *
 * Client-server API, "Redactions".  The same text, without signatures, is what servers sign and what event
 * ids hash.
 */
#pragma once
#include "proto/room_version.h"

/* Appends the canonical text of the redacted event.  unsigned never stays; signatures stay when asked for.
 * A content that is no object becomes {}. */
void gr_redact_event(gr_buf *, const gr_room_version *, const gr_json *event, bool signatures);
/* Appends the canonical text of what stays of the content of an event of this type. */
void gr_redact_content(gr_buf *, const gr_room_version *, gr_str type, const gr_json *content);
