/* zmq_transport.h - the real transport between the endpoints of one process: ZeroMQ inproc sockets in one
 * context.
 *
 * Every endpoint receives on one PULL socket and sends on one PUSH socket per endpoint it has ever sent to,
 * made when first needed. Sockets belong to their endpoint's thread: it alone calls receive, wait, fd and
 * send (as `from`). High-water marks are finite and nothing waits for room. Frames to an endpoint that is not
 * open are refused. Endpoints of other nodes are addressed in the same way and are refused here: links
 * between nodes are not inproc.
 */
#pragma once
#include "bus/transport.h"

enum { GR_ZMQ_HIGH_WATER = 4096, GR_ZMQ_WAIT_MAX_MS = 60000 };

typedef struct {
    uint16_t node;                  /* the own index in the cluster's list */
    uint16_t workers, ports;        /* how many endpoints of each kind there are */
    int high_water;                 /* frames waiting per sender and receiver, about; 0: GR_ZMQ_HIGH_WATER */
} gr_zmq_options;

GR_MUST_USE gr_err gr_zmq_transport_open(const gr_zmq_options *, gr_arena *, gr_transport **);

/* Opens an endpoint on the calling thread, which is its thread from now on; frames sent before this were
 * refused. */
GR_MUST_USE gr_err gr_zmq_endpoint_open(gr_transport *, gr_endpoint, gr_arena *);
/* Frames that wait are lost. May be opened again. Also by another thread once the endpoint's own was joined.
 */
void gr_zmq_endpoint_close(gr_transport *, gr_endpoint);
/* Any thread: frames sent to the endpoint and not received yet, about. */
uint64_t gr_zmq_endpoint_depth(const gr_transport *, gr_endpoint);
