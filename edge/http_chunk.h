/* http_chunk.h - the chunked transfer coding of a request, strict.  RFC 9112 7.1.  Pure.
 *
 * Extensions and trailers are checked, limited and dropped.
 */
#pragma once
#include "proto/str.h"

enum { GR_HTTP_CHUNK_LINE_MAX = 256, GR_HTTP_TRAILERS_MAX = 8192 };

typedef struct {
    uint64_t left;            /* bytes of data left in this chunk */
    uint16_t line;            /* bytes of the present size line, or of all trailers */
    uint8_t step, digits;
} gr_http_chunk;              /* {0} at the start of a body */

typedef enum {
    GR_HTTP_CHUNK_MORE,
    GR_HTTP_CHUNK_DATA,
    GR_HTTP_CHUNK_END,
    GR_HTTP_CHUNK_BAD
} gr_http_chunk_got;

/* Consumes from *bytes up to the next event.  DATA: *piece holds body bytes.  MORE: all is consumed. */
gr_http_chunk_got gr_http_chunk_next(gr_http_chunk *, gr_str *bytes, gr_str *piece);
