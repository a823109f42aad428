/* room.h - the room actor: one room's event graph, state, members and positions, and how they are stored.
 *
 * All in the room's own keyspace, numbers big-endian.  Event ids, (type, state_key) pairs and users are numbers of the room
 * inside records.  "n" is an event number, given in order of arrival; "pos" a room position, the order in which readers see
 * things; the current state is one trie root (trie.h).
 *
 *   m                     the record below (gr_room_meta): written by every batch that changes it
 *   i <event id>          -> n
 *   e <n>                 -> gr_room_record header, event id, canonical JSON (record.h)
 *   p <pos>               -> kind, n, root of the current state after it (what /sync walks)
 *   d <depth> <pos>       -> n                pagination order (stream events only)
 *   k <type> 0 <key>      -> key number;      K <number> -> type 0 key
 *   t <node>              -> a trie node
 *   u <user>              -> membership, n of the member event, since pos (gr_room_member)
 *   w <user> 0 <pos>      -> membership from this position on: the user's own intervals
 *   v <pos>               -> history visibility from this position on
 *   x <user> 0 <device> 0 <txn>   -> event id, time (transaction ids; swept after a day)
 *   r <user> 0 <type> 0 <thread>  -> event id, ts, pos read up to, receipt pos
 *   R <receipt pos>       -> the key of the r row: what /sync reads
 *   l <target n> <n>      -> relation: rel_type 0 type 0 sender 0 key (aggregations, threads)
 *   s <shard>             -> number of local users joined (who get feed posts)
 *   b <n>                 -> event ids waited for: backward extremities
 *
 * Files: room.c (load, dispatch, inspect), record.c, trie.c, state.c (keys and current state), build.c (make and accept an
 * event), create.c, member.c, send.c, feed.c (posts to feeds and users), and for reading: view.c (visibility, rendering),
 * page.c, members.c, sync.c, receipts.c.
 */
#pragma once
#include "actors/env.h"
#include "proto/auth.h"

enum {
    GR_ROOM_EXTREMITIES_MAX = 64,      /* forward; more are healed by a dummy event */
    GR_ROOM_PAGE_MAX = 1000,           /* events in one answer */
    GR_ROOM_TXN_KEEP_MS = 24 * 3600 * 1000
};

/* Flags of a stored event. */
enum {
    GR_ROOM_ACCEPTED = 1, GR_ROOM_REJECTED = 2, GR_ROOM_SOFT_FAILED = 4, GR_ROOM_OUTLIER = 8,
    GR_ROOM_REDACTED = 16, GR_ROOM_PROVISIONAL = 32
};

/* The header of a stored event: readable without its JSON. */
typedef struct {
    uint32_t flags;
    uint64_t number;                   /* n */
    uint64_t depth, pos, ts;           /* pos 0: not in the stream (outlier, rejected) */
    uint64_t key;                      /* number of (type, state_key); 0: no state event */
    uint64_t state_before;             /* trie root; 0: the empty state (or unknown: an outlier) */
    uint64_t chain, chain_seq;         /* chain cover; 0: none yet */
    uint64_t powers;                   /* n of the power levels before it; 0: none */
    uint64_t redacted_by;              /* n of the redaction */
    gr_str event_id, type, sender, state_key;      /* views into the record */
    bool is_state;
    gr_str json;                       /* canonical JSON, without unsigned */
} gr_room_record;

typedef enum { GR_MEMBER_NONE, GR_MEMBER_LEAVE, GR_MEMBER_INVITE, GR_MEMBER_JOIN, GR_MEMBER_KNOCK, GR_MEMBER_BAN } gr_membership;

typedef enum { GR_VISIBLE_SHARED, GR_VISIBLE_WORLD, GR_VISIBLE_INVITED, GR_VISIBLE_JOINED } gr_visibility;

typedef enum { GR_POS_EVENT = 1, GR_POS_STATE = 2, GR_POS_GAP = 3 } gr_pos_kind;

typedef struct gr_room gr_room;
struct gr_room {
    gr_str id;                         /* owned */
    bool exists;
    const gr_room_version *version;
    /* the meta record */
    uint64_t next_number, next_key, next_node, next_pos, next_receipt;
    uint64_t root;                     /* of the current state */
    uint64_t depth;                    /* of the deepest event */
    uint64_t joined, invited;          /* members, local and remote */
    uint64_t extremities[GR_ROOM_EXTREMITIES_MAX];
    size_t extremity_count;
    bool encrypted, published;
    gr_visibility visibility;
    gr_str create_key;                 /* idempotency key of room_create */
    /* memory only */
    uint32_t local_joined[GR_SHARDS];  /* joined local users per shard */
    struct gr_room_typing *typing;     /* list of (user, until) */
    struct gr_room_pending *pending_receipts;      /* coalesced before they enter feeds */
    struct gr_room_cache *cache;       /* create, power levels, join rules...: parsed, dropped when the state moves */
};

extern const gr_actor_kind gr_room_kind;
