/* transport.h - the seam that carries frames between endpoints: workers and ports, of this node and of
 * others.
 *
 * A frame is one or more envelopes for one endpoint, coalesced per group: each as 4 bytes of size
 * (big-endian) and the envelope. Sending never waits: false means the way is full or gone, and the frame was
 * not taken (the worker then drops tells, fails asks, keeps posts in their outbox). Order is kept per pair of
 * endpoints, but frames may be lost between nodes, and a simulation may lose, double, delay and reorder: what
 * must not be lost is a post. Real: zmq_transport.h (inproc within a process, TCP with CURVE between nodes).
 * Simulated: sim.h.
 */
#pragma once
#include "proto/message.h"

/* NODE: another node as a whole, where the address of each envelope decides which worker or port it is for. */
typedef enum { GR_ENDPOINT_WORKER, GR_ENDPOINT_PORT, GR_ENDPOINT_NODE } gr_endpoint_kind;
/* node: index in the list of the cluster. */
typedef struct { uint16_t node; uint16_t kind; uint16_t index; } gr_endpoint;

typedef void gr_frame_fn(void *arg, gr_str frame);        /* the view lives during the call */

typedef struct gr_transport gr_transport;
typedef struct {
    bool (*send)(gr_transport *, gr_endpoint from, gr_endpoint to, gr_str frame);
    /* Delivers at most `limit` frames that have arrived for this endpoint. Called by the endpoint's thread
     * only. */
    size_t (*receive)(gr_transport *, gr_endpoint, size_t limit, gr_frame_fn *, void *arg);
    /* Waits until something has arrived, somebody woke the endpoint, or the time is over. Simulated: returns
     * at once. */
    void (*wait)(gr_transport *, gr_endpoint, uint64_t timeout_ms);
    void (*wake)(gr_transport *, gr_endpoint);   /* any thread: a commit was completed, work is done, stop */
    int (*fd)(gr_transport *, gr_endpoint);                /* to poll with others, or -1 */
    void (*close)(gr_transport *);
    /* Rises by one when the link to another node comes up (then it is odd) and when it is lost (even): what was
     * asked of it before is lost then. Any thread; endpoints are woken. NULL: links never change. */
    uint32_t (*link)(gr_transport *, uint16_t node);
} gr_transport_ops;
struct gr_transport { const gr_transport_ops *ops; };
