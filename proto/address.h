/* address.h - who a message is for: "kind/id", and which of the 256 shards that is in.
 *
 * The shard is a hash of the id alone (not of the kind), fixed for ever, so that "user/@a:b" and all that is kept for
 * @a:b lie together.  Kinds that exist once per shard carry its number as id: "feed/17", "token/17".
 * A flow that serves an actor is addressed below it ("room/!id/flow/7") and lies in that actor's shard.
 */
#pragma once
#include "proto/str.h"

enum { GR_SHARDS = 256, GR_ADDRESS_MAX = 512 };

/* X(name, wire name, one per shard) */
#define GR_KINDS(X) \
    X(ROOM, "room", false) \
    X(USER, "user", false) \
    X(TOKEN, "token", true) \
    X(FEED, "feed", true) \
    X(LOGIN, "login", false) \
    X(NAME, "name", false) \
    X(DIRECTORY, "directory", false) \
    X(MEDIA, "media", false) \
    X(CREATE, "create", false) \
    X(JOB, "job", true) \
    X(EDGE, "edge", false) \
    X(ECHO, "echo", false) \
    X(UPGRADE, "upgrade", false) \
    X(DESTINATION, "destination", false) \
    X(KEYS, "keys", false) \
    X(INBOUND, "inbound", false) \
    X(SERVERS, "servers", true) \
    X(REMOTE_USER, "remote_user", false) \
    X(HERALD, "herald", false) \
    X(PRESENCE, "presence", false) \
    X(GAP, "gap", false) \
    X(JOIN, "join", false) \
    X(EMAIL, "email", false) \
    X(CLIENT, "client", false) \
    X(GRANT, "grant", false) \
    X(PROVIDER, "provider", false) \
    X(POLICY, "policy", false)

typedef enum {
    GR_KIND_NONE,
#define X(name, wire, per_shard) GR_KIND_##name,
    GR_KINDS(X)
#undef X
    GR_KIND_COUNT
} gr_kind;

/* A set of shards. */
enum { GR_SHARD_SET = GR_SHARDS / 8 };
typedef struct { unsigned char bits[GR_SHARD_SET]; } gr_shard_set;
static inline bool gr_shard_set_has(const gr_shard_set *s, uint8_t shard) { return s->bits[shard / 8] >> shard % 8 & 1; }
static inline void gr_shard_set_add(gr_shard_set *s, uint8_t shard) { s->bits[shard / 8] |= (unsigned char)(1u << shard % 8); }

gr_kind gr_address_kind(gr_str address);              /* GR_KIND_NONE when it is not an address */
gr_str gr_address_id(gr_str address);                 /* what follows the first '/': "!id", or "!id/flow/7" */
uint8_t gr_address_shard(gr_str address);             /* asserts that it is an address of a sharded kind (not EDGE) */
uint8_t gr_id_shard(gr_str id);                       /* the shard of everything kept for this id */
bool gr_address_valid(gr_str address);                /* known kind, an id (a shard number where due), not too long */
const char *gr_kind_name(gr_kind);
gr_str gr_address(gr_arena *, gr_kind, gr_str id);    /* "kind/id" */
gr_str gr_address_of_shard(gr_arena *, gr_kind, uint8_t shard);    /* "feed/17" */
