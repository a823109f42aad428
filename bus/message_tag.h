/* message_tag.h - what the message log takes from bodies: the id a message can be found by, and the body
 * without secrets. */
#pragma once
#include "proto/message.h"

/* The first plain field of that body named event_id, txn or key that is not empty, as a view into the body;
 * found without decoding. Empty when there is none. */
gr_str gr_message_tag(unsigned type, gr_str body);

/* Adds the body to out with every secret field emptied and unknown trailing fields left out. False, and
 * nothing added, for unknown types and what cannot be decoded. */
bool gr_message_blank(gr_arena *, unsigned type, gr_str body, gr_buf *out);
