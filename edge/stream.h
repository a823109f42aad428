/* stream.h - an answer that is sent piece by piece, so that its size costs no memory.
 *
 * What was written leaves before more is asked for.  From the first piece on the answer is 200: a call that fails later has
 * its connection ended, so that nobody takes what was sent for the whole.
 */
#pragma once
#include "edge/call.h"

/* Begins the answer of a call that has none, with JSON text.  more: called when all that was written has left; it asks for
 * what follows, and sooner or later writes or ends. */
void gr_stream_begin(gr_call *, gr_str text, void (*more)(gr_call *));
void gr_stream_write(gr_call *, gr_str text);
void gr_stream_end(gr_call *);

/* For call.c: the call is over before its answer was. */
void gr_stream_drop(gr_call *);
