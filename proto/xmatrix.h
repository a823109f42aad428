/* xmatrix.h - how requests between servers are signed: the X-Matrix Authorization header.
 *
 * Server-server API, "Request Authentication".  Signed is an object of method, uri, origin, destination and, when there is a
 * body, its content.  The header's grammar is RFC 9110's, read strictly, but for colons in values without quotes.
 */
#pragma once
#include "proto/sign.h"

enum { GR_XMATRIX_HEADER_MAX = 4096, GR_XMATRIX_PARAMS_MAX = 16 };

/* The parameters of a header; views into it or the arena.  destination is empty when it was not given. */
typedef struct { gr_str origin, destination, key, sig; } gr_xmatrix;

/* What was asked.  uri: path and query as on the wire; content: the parsed body, NULL when there is none. */
typedef struct {
    gr_str method, uri;
    const gr_json *content;
} gr_xmatrix_request;

/* The header's value for a request of ours. */
gr_str gr_xmatrix_header(gr_arena *, const gr_signer *, gr_str destination, const gr_xmatrix_request *);

/* GR_UNAUTHORIZED says what is wrong: another scheme, the grammar, a parameter missing or given twice, an origin that is no
 * server name, a key id that is none. */
GR_MUST_USE gr_err gr_xmatrix_parse(gr_arena *, gr_str header, gr_xmatrix *out);
/* Has the origin signed this, for own_name?  GR_UNAUTHORIZED if not. */
GR_MUST_USE gr_err gr_xmatrix_check(gr_arena *, const gr_xmatrix *, const gr_xmatrix_request *, gr_str own_name,
                                    const unsigned char public_key[GR_SIGN_PUBLIC]);
