/* node_frame.h - what two nodes say to each other: a header, and behind it a HELLO or a group of envelopes.
 *
 * Pure functions over bytes that come from outside: whatever is cut short, too long, of another version or
 * claims a sender that the peer does not run is refused here, before anything else looks at it. The header
 * names the session of its sender (its process and its link's epoch); the frame of a session that is over is
 * dropped by who receives it.
 */
#pragma once
#include "bus/cluster.h"
#include "proto/message.h"

enum {
    GR_NODE_FRAME_VERSION = 1,
    GR_NODE_FRAME_HEADER = 32,
    GR_NODE_FRAME_BODY_MAX = GR_MESSAGE_MAX + 256 * 1024, /* a group that was not yet full, and a largest message */
    GR_NODE_HELLO_MAX = 64 * 1024
};

typedef enum { GR_NODE_FRAME_HELLO = 1, GR_NODE_FRAME_ENVELOPES = 2 } gr_node_frame_kind;

typedef struct {
    gr_node_frame_kind kind;
    uint16_t node;               /* the sender's index in its list */
    uint32_t epoch;              /* of the sender's way to the receiver */
    uint64_t start;              /* which process of that node */
    uint64_t map;                /* the first bytes of the hash of its map */
    uint64_t seq;                /* counts frames of the session, from 1 */
} gr_node_frame;

typedef struct {
    char name[GR_CLUSTER_NAME_MAX + 1];
    uint8_t map_hash[GR_CLUSTER_HASH_SIZE];
    uint64_t generation;
    uint32_t level_low, level_high; /* feature levels that it understands */
    uint32_t level;              /* at which it speaks and stores */
    uint64_t heard_start;        /* the receiver's session as the sender knows it; 0: hears nothing from it */
    uint32_t heard_epoch;
    uint64_t received;           /* bytes taken in that session: makes room in the receiver's window */
    uint64_t clock_us;           /* when this left */
    uint64_t heard_clock_us, held_us; /* clock_us of the newest HELLO from the receiver, and how long ago that came */
    gr_str map;                  /* gr_cluster_encode, when the sender knows that the maps differ; else empty */
} gr_node_hello;

void gr_node_frame_header(char out[GR_NODE_FRAME_HEADER], const gr_node_frame *);
/* body: what follows the header. GR_BAD_JSON names what is wrong with it. */
GR_MUST_USE gr_err gr_node_frame_decode(gr_str bytes, gr_node_frame *, gr_str *body);
void gr_node_hello_encode(gr_buf *, const gr_node_hello *);
GR_MUST_USE gr_err gr_node_hello_decode(gr_str bytes, gr_node_hello *); /* map: a view into bytes */

/* For whom an envelope of a frame is: bytes is the envelope with its 4 bytes of size. */
typedef struct {
    bool is_edge;
    unsigned edge;               /* index of the port */
    uint8_t shard;               /* when it is for an actor, or of the pairs of a control message */
    gr_str bytes;
} gr_node_envelope;
typedef void gr_node_envelope_fn(void *arg, const gr_node_envelope *);
/* Hands on each envelope whose sender `peer` may claim and whose receiver `self` runs: a control message once
 * for each shard of ours that it speaks of, unless the shard's `worker` (an index per shard) had it already.
 * Counts those that were not handed on; *why says what was wrong with the newest, a literal. */
size_t gr_node_frame_each(gr_str body, const gr_cluster *, unsigned peer, unsigned self, const uint8_t *worker,
                          gr_arena *, gr_node_envelope_fn *, void *arg, const char **why);
