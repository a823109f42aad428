/* zmq_transport.h - the real transport: ZeroMQ inproc sockets between the endpoints of a process, TCP with CURVE
 * between nodes.
 *
 * Every endpoint receives on one PULL socket and sends on one PUSH socket per endpoint it has ever sent to,
 * made when first needed. Sockets belong to their endpoint's thread: it alone calls receive, wait, fd and
 * send (as `from`). High-water marks are finite and nothing waits for room. Frames to an endpoint that is not
 * open are refused.
 *
 * What is for another node (GR_ENDPOINT_NODE) goes to one thread more, which has one PULL socket for all peers and
 * one PUSH socket for each. Both ends of a link know each other by the keys in the cluster map; who has another
 * key, or a revoked one, gets nothing. Bytes on the way to a peer are bounded by a window, and refused past it;
 * a link that is down takes nothing. See link.h for when it is up, node_frame.h for what is refused.
 */
#pragma once
#include "bus/link.h"
#include "bus/transport.h"

enum { GR_ZMQ_HIGH_WATER = 4096, GR_ZMQ_WAIT_MAX_MS = 60000 };

enum { GR_ZMQ_WINDOW_BYTES = 8 << 20 };
/* The clock of another node was measured: its clock minus ours. On the transport's own thread, at most a few
 * times in a second. Must not wait. */
typedef void gr_zmq_clock_fn(void *arg, unsigned node, int64_t offset_us, uint64_t rtt_us);
/* A line for the log; called on the transport's own thread, at most a few in a second. Must not wait. */
typedef void gr_zmq_log_fn(void *arg, bool is_warning, const char *text);

typedef struct {
    const gr_cluster *cluster;      /* outlives the transport */
    const uint8_t *secret_key;      /* CURVE, GR_CLUSTER_KEY_SIZE bytes; copied */
    const char *bind;               /* host:port or *:port; NULL: the own address in the map */
    const uint8_t *worker;          /* GR_SHARDS of them: index of the worker that runs an own shard; outlives */
    gr_level *level;                /* of the node; outlives. Rises when a peer's does */
    size_t window_bytes;            /* on the way to one peer; 0: GR_ZMQ_WINDOW_BYTES */
    uint64_t (*clock_us)(void *arg); /* never set back */
    void *clock_arg;
    gr_zmq_log_fn *log;             /* may be NULL */
    void *log_arg;
    gr_zmq_clock_fn *clock_seen;    /* may be NULL */
    void *clock_seen_arg;
} gr_zmq_link_options;

typedef struct {
    uint16_t node;                  /* the own index in the cluster's list */
    uint16_t workers, ports;        /* how many endpoints of each kind there are */
    int high_water;                 /* frames waiting per sender and receiver, about; 0: GR_ZMQ_HIGH_WATER */
    const gr_zmq_link_options *link; /* NULL: there are no other nodes */
} gr_zmq_options;

/* With other nodes it also listens, but nobody is answered before gr_zmq_transport_start. GR_UNAVAILABLE: the
 * address is taken, or this node runs already; GR_FORBIDDEN: the key is not the map's, or revoked. */
GR_MUST_USE gr_err gr_zmq_transport_open(const gr_zmq_options *, gr_arena *, gr_transport **);
/* Begins to speak with other nodes: when what they ask can be handled. */
GR_MUST_USE gr_err gr_zmq_transport_start(gr_transport *);

/* Opens an endpoint on the calling thread, which is its thread from now on; frames sent before this were
 * refused. */
GR_MUST_USE gr_err gr_zmq_endpoint_open(gr_transport *, gr_endpoint, gr_arena *);
/* Frames that wait are lost. May be opened again. Also by another thread once the endpoint's own was joined.
 */
void gr_zmq_endpoint_close(gr_transport *, gr_endpoint);
/* Any thread: frames sent to the endpoint and not received yet, about. */
uint64_t gr_zmq_endpoint_depth(const gr_transport *, gr_endpoint);

/* Other nodes, as `greenroom cluster status` shows them. */
typedef struct {
    char name[GR_CLUSTER_NAME_MAX + 1], address[GR_CLUSTER_ADDRESS_MAX + 1];
    gr_link_state state;
    char why[GR_LINK_WHY_MAX];      /* it is not up; empty when it is */
    bool is_revoked;
    uint64_t since_ms, heard_ms;    /* ago; heard_ms UINT64_MAX: never */
    uint64_t queue_bytes;           /* on the way there, not yet confirmed */
    uint64_t frames_out, frames_in, bytes_out, bytes_in;
    uint64_t full, lost, bad;       /* frames refused as the window was full; lost with a link; bad ones dropped */
    uint64_t rtt_us;
    int64_t clock_offset_us;        /* its clock minus ours; 0 until it was measured */
    uint64_t generation;            /* of its map */
    uint32_t level_low, level_high, level; /* 0 until it was heard */
} gr_zmq_peer;
/* Any thread: one for each node of the map but the own, in its order; at most `limit`. Returns how many. */
size_t gr_zmq_transport_peers(gr_transport *, gr_zmq_peer *out, size_t limit);
/* Any thread: connections refused because nobody in the map has their key, or because they did not speak as nodes do;
 * and frames that were none. */
void gr_zmq_transport_strangers(gr_transport *, uint64_t *refused, uint64_t *bad_frames);
