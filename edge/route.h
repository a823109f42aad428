/* route.h - from a raw path and method to the entry of a table; and query parameters.
 *
 * The path is split at '/' first and each segment decoded once, so that an encoded slash stays inside its
 * segment.  Patterns: literal segments, "{name}" for any segment (an empty one only at the end: the empty
 * state key), and "(r0|v3)" for one of several literals.  A literal wins over a name.  The table becomes a
 * tree: cost goes with the number of segments.  The tree never changes and may be shared by threads.
 */
#pragma once
#include "edge/http.h"

enum { GR_ROUTE_SEGMENTS_MAX = 24, GR_ROUTE_PARAMS_MAX = 8, GR_ROUTE_QUERY_MAX = 256 };

typedef struct {
    gr_http_method method;
    const char *pattern; /* "/_matrix/client/(r0|v3)/rooms/{roomId}/send/{eventType}/{txnId}" */
    int handler;                           /* the caller's number */
} gr_route;

typedef struct gr_route_tree gr_route_tree;

/* The table must outlive the tree. Asserts on a bad pattern and on two entries of one method and path. */
gr_route_tree *gr_route_tree_new(const gr_route *, size_t count);
void gr_route_tree_free(gr_route_tree **);

typedef enum {
    GR_ROUTE_FOUND,
    GR_ROUTE_NO_PATH,                      /* 404 */
    GR_ROUTE_NO_METHOD,                    /* 405; allowed says which there are */
    GR_ROUTE_BAD_PATH                      /* 400: bad escape, NUL, not UTF-8 */
} gr_route_answer;

typedef struct {
    const gr_route *route;
    gr_str names[GR_ROUTE_PARAMS_MAX], values[GR_ROUTE_PARAMS_MAX];
    size_t count;
    unsigned allowed;                      /* bit 1 << gr_http_method for each method of this path */
} gr_route_match;

/* Values point into path or the arena. HEAD finds GET where there is no entry of its own. */
gr_route_answer gr_route_find(const gr_route_tree *, gr_arena *, gr_http_method, gr_str path,
                              gr_route_match *);
gr_str gr_route_param(const gr_route_match *, const char *name);   /* asserts that the pattern has it */
gr_str gr_route_allow(gr_arena *, unsigned allowed);               /* "GET, PUT" for the Allow header */

/* One decode of %xx; false for a bad escape, a NUL or bytes that are not UTF-8. plus: '+' is a blank
 * (queries). */
bool gr_route_decode(gr_arena *, gr_str raw, bool plus, gr_str *out);

typedef struct { gr_http_header *at; size_t count; } gr_route_query;
/* "a=1&b&a=2": pairs in order, decoded. GR_INVALID_PARAM for what gr_route_decode refuses or too many. */
GR_MUST_USE gr_err gr_route_query_parse(gr_arena *, gr_str query, gr_route_query *);
gr_str gr_route_query_get(const gr_route_query *, const char *key); /* the first; ptr NULL if absent */
/* For repeated keys; nth counts from 0. */
gr_str gr_route_query_nth(const gr_route_query *, const char *key, size_t nth);
