/* sync_token.h - the token of /sync: everything of this user up to a position of the shard has been delivered.
 *
 * Opaque to clients: "s1_<incarnation>_<position>_<to-device position>", hexadecimal.  A token of another incarnation (a
 * restored backup) or from the future is answered as a gap with full state, never with an error.
 */
#pragma once
#include "proto/str.h"

typedef struct {
    uint64_t incarnation;          /* of the shard's store */
    uint64_t position;
    uint64_t to_device;            /* to-device events up to this position were delivered */
} gr_sync_token;

gr_str gr_sync_token_text(gr_arena *, const gr_sync_token *);
bool gr_sync_token_read(gr_str text, gr_sync_token *);         /* false: not such a token */
