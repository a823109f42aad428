/* base64.h - unpadded base64, standard and URL-safe. Appendices, "Unpadded Base64".
 *
 * Results live in the arena.  Decoding takes padding or none, as the specification asks, and either alphabet;
 * it is strict elsewhere: no blanks, no left-over bits, so that a value has one spelling per alphabet.
 */
#pragma once
#include "proto/str.h"

enum { GR_BASE64_MAX = 16 * 1024 * 1024 };                        /* longest text that is decoded, in bytes */

gr_str gr_base64(gr_arena *, gr_str raw);                         /* with + and /; a NUL follows */
gr_str gr_base64_url(gr_arena *, gr_str raw);                     /* with - and _; a NUL follows */

/* False, and *raw empty, when text is not base64 or longer than GR_BASE64_MAX.  Empty text is empty bytes. */
bool gr_base64_decode(gr_arena *, gr_str text, gr_str *raw);
