/* sync_token.h - the token of /sync: everything of this user up to a position of the shard has been delivered.
 *
 * Opaque to clients: "s1_<incarnation>_<position>_<to-device position>", hexadecimal.  A token of another incarnation (a
 * restored backup) or from the future is answered as a gap with full state, never with an error.
 *
 * Rooms whose node was away are *owed*: of all rooms of their shard, only what came up to an earlier position was delivered.
 * Each such position follows as "_<position>_<shards>", a set of 64 hexadecimal digits, shard 0 first.
 */
#pragma once
#include "proto/address.h"

enum { GR_SYNC_OWED_MAX = 8, GR_SYNC_TOKEN_MAX = 64 + GR_SYNC_OWED_MAX * 96 };

typedef struct { uint64_t position; gr_shard_set shards; } gr_sync_owed;

typedef struct {
    uint64_t incarnation;          /* of the shard's store */
    uint64_t position;
    uint64_t to_device;            /* to-device events up to this position were delivered */
    gr_sync_owed owed[GR_SYNC_OWED_MAX];
    size_t owed_count;
} gr_sync_token;

gr_str gr_sync_token_text(gr_arena *, const gr_sync_token *);
bool gr_sync_token_read(gr_str text, gr_sync_token *);         /* false: not such a token */
/* Up to where the rooms of a shard were delivered; 0: nothing was. */
uint64_t gr_sync_token_seen(const gr_sync_token *, uint8_t shard);
/* The token after an answer that lacks the rooms of these shards: of them, what `since` stands for was delivered (an empty text:
 * nothing).  next is the token without that lack.  Empty when more would be owed than a token remembers. */
gr_str gr_sync_token_owe(gr_arena *, gr_str since, gr_str next, const gr_shard_set *lacking);
