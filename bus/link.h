/* link.h - the state of the link to one other node: sessions, HELLOs, the window of bytes, clocks.
 *
 * Each side numbers its way to the other (epoch; anew whenever the way broke) and names its process (start):
 * together its session. A link is up when the peer's newest HELLO names our present session, its map is ours
 * and each understands the feature level at which the other speaks (level.h); it is down as soon as the way
 * breaks, 3 seconds bring nothing, or the peer's session changes. Bytes sent and not yet confirmed by a HELLO
 * are bounded by a window. No sockets, no threads, no clock: zmq_link.c feeds this, on its thread.
 */
#pragma once
#include "bus/level.h"
#include "bus/node_frame.h"

enum {
    GR_LINK_HELLO_MS = 1000,
    GR_LINK_TRY_MS = 250,        /* between HELLOs while it is not up */
    GR_LINK_SILENCE_MS = 3000,   /* then a peer counts as gone */
    GR_LINK_WHY_MAX = 256
};

/* REFUSED: the other end speaks, but is not let take part; DOWN: nothing is heard. */
typedef enum { GR_LINK_DOWN, GR_LINK_UP, GR_LINK_REFUSED } gr_link_state;

/* Of the own node. */
typedef struct {
    const gr_cluster *cluster;
    unsigned index;
    uint64_t start;              /* drawn by the process */
    uint8_t hash[GR_CLUSTER_HASH_SIZE];
    const gr_level *level;
} gr_link_self;

typedef struct {
    unsigned index;              /* of the peer */
    gr_link_state state;
    char why[GR_LINK_WHY_MAX];   /* of DOWN and REFUSED */
    uint64_t since_ms, heard_ms, hello_ms;   /* monotonic; heard, sent the newest HELLO; 0: never */
    uint32_t epoch;
    uint64_t seq;
    uint64_t their_start, rival_start;
    uint32_t their_epoch;
    uint64_t their_seq;          /* of the newest frame taken of their session */
    bool is_compatible, maps_differ;
    uint64_t their_generation;
    uint32_t their_level_low, their_level_high, their_level, said_level;
    uint64_t sent, acked;        /* bytes of the own session */
    uint64_t received, told;     /* bytes of theirs; told: in the newest HELLO */
    uint64_t their_clock_us, their_clock_at_us;   /* of the newest HELLO, and when it came */
    uint64_t rtt_us, clock_at_us;
    int64_t clock_offset_us;     /* their clock minus ours, from the quickest round trip of late */
} gr_link;

void gr_link_init(gr_link *, unsigned index, uint64_t now_ms);
/* What to say next; the map points into `map`, which the caller frees. Counts as said. */
void gr_link_hello(gr_link *, const gr_link_self *, uint64_t now_ms, uint64_t now_us, gr_buf *map, gr_node_hello *);
void gr_link_header(gr_link *, const gr_link_self *, gr_node_frame_kind, char out[GR_NODE_FRAME_HEADER]);

/* A HELLO came. True: answer it at once. *freed: bytes of the window that it confirms. state and why say
 * what became of the link; *rival: it came from a second process of that name, and changed nothing else. */
bool gr_link_heard(gr_link *, const gr_link_self *, const gr_node_frame *, const gr_node_hello *,
                   uint64_t now_ms, uint64_t now_us, uint64_t *freed, bool *rival);
/* May a group of envelopes with this header be taken? Then it counts as taken. */
bool gr_link_accepts(gr_link *, const gr_link_self *, const gr_node_frame *);
/* It was taken already, or is older than one that was: connections keep order, so somebody sends it again, or an old
 * connection is read behind a new one. */
bool gr_link_is_old(const gr_link *, const gr_node_frame *);
/* The way broke: what was on it is lost. Returns the bytes of the window that are free again. */
uint64_t gr_link_lost(gr_link *, uint64_t now_ms, const char *why);
bool gr_link_is_silent(const gr_link *, uint64_t now_ms);    /* up, but nothing was heard for too long */
