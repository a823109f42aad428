/* http_head.h - the head of a request: found in a stream of bytes, taken apart, judged.  Pure functions.
 *
 * Scanning sees every byte once, in order, so that the verdict does not depend on how the bytes were split.
 */
#pragma once
#include "edge/http.h"

enum { GR_HTTP_HEADERS_MAX = 128 };

/* Where a scan stands; {0} at the start of a head. */
typedef struct {
    uint32_t seen;            /* bytes of the head looked at */
    uint32_t line_start;
    uint16_t lines;           /* complete lines, the request line among them */
    uint8_t cr;               /* the last byte was CR */
} gr_http_scan;

/* Looks at bytes (the head from its first byte).  Returns 0: more is needed; 200: complete, scan->seen is its
 * size; else the status to refuse with. */
int gr_http_scan_head(gr_http_scan *, gr_str bytes, const gr_http_limits *);

/* Takes a complete head apart into req, whose views point into head and whose headers are stored in room
 * (GR_HTTP_HEADERS_MAX of them).  False when it is not HTTP. */
bool gr_http_parse_head(gr_str head, gr_http_header *room, gr_http_req *req);

/* 0 when the request may be served, else the status to refuse with: 400, 413, 417, 505.  RFC 9112 3, 5, 6. */
int gr_http_check_head(const gr_http_req *);

bool gr_http_is_token(gr_str);                         /* RFC 9110 5.6.2; false when empty */
bool gr_http_same_name(gr_str, const char *name);      /* in any case of letters */
