/* published.h - what a server publishes of its signing keys: read, and believed by its own signature.
 *
 * Server-server API, "Publishing Keys".  Whoever brings such an object could have made it with keys of their own: that it is
 * that server's is the word of whom it came from.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_SERVER_KEYS_MAX = 64,                   /* of one server */
    GR_SERVER_KEYS_OBJECT_MAX = 64 * 1024,     /* bytes that it may publish */
    GR_SERVER_KEYS_VALID_MS = 7 * 24 * 3600 * 1000     /* from when they were learnt, whatever they say */
};

typedef struct {
    gr_arena *arena;
    gr_server_key at[GR_SERVER_KEYS_MAX];
    size_t count;
} gr_published;

/* The keys of that object, with views into the text and what is in the arena, and until when those in use are valid.  False:
 * it is not of that server, or not signed by one of the keys in use. */
bool gr_published_read(gr_published *, gr_arena *, gr_str server, gr_str text, uint64_t now_ms, uint64_t *valid_until_ms);
/* NULL: there is none of that id. */
gr_server_key *gr_published_find(gr_published *, gr_str key_id);
