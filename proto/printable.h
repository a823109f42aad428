/* printable.h - texts from strangers on a terminal or in a log: nothing in them may drive it, or forge a line. */
#pragma once
#include "proto/str.h"

/* Bytes of the character at s[i] when it may be shown as it is, else 0: controls (also U+0080 to U+009F), what turns the
 * direction of writing, and what is no UTF-8. */
size_t gr_printable_at(gr_str s, size_t i);
void gr_printable_add(gr_buf *, gr_str);      /* with what may not be shown as \xNN */
