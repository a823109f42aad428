/* zmq_inside.h - what zmq_transport.c and zmq_link.c share: endpoints, and taking and putting messages. */
#pragma once
#include "bus/zmq_transport.h"

#include <stdatomic.h>
#include <zmq.h>

typedef struct {
    void *socket;     /* PUSH */
    uint32_t opening; /* of the receiver, when this was connected */
} gr_zmq_way;

typedef struct {
    /* Of the endpoint's thread. */
    void *pull;
    int pull_fd, epoll_fd;
    bool is_raised;   /* wake_fd was written by ourselves because frames were left behind */
    bool is_drained;  /* the newest receive found nothing, so pull_fd tells of the next frame */
    gr_zmq_way *ways; /* one per endpoint */
    int wake_fd;      /* as long as the transport, since wakes come from other threads */
    /* Shared. opening: 0 when closed, else the number of times it was opened. */
    _Alignas(64) _Atomic uint32_t opening;
    atomic_bool is_woken, is_sleeping;
    /* Counts frames, and orders what the sender wrote before what the receiver reads in the eyes of the C
     * memory model. */
    _Alignas(64) _Atomic uint64_t sent;
    _Alignas(64) _Atomic uint64_t received;
} gr_zmq_endpoint;

typedef struct gr_zmq_link gr_zmq_link;
typedef struct {
    gr_transport base;
    gr_zmq_options options;
    void *context;
    size_t count;
    _Atomic uint32_t openings;
    gr_zmq_endpoint *endpoints; /* workers first, then ports, then the one that leads to other nodes */
    gr_zmq_link *link;          /* NULL: no other nodes */
} gr_zmq_transport;

/* Sends the message to an endpoint of this node; false: it is full or closed, and the message is closed. */
bool gr_zmq_put(gr_zmq_transport *, gr_zmq_endpoint *from, gr_zmq_endpoint *to, zmq_msg_t *);
/* As zmq_msg_send without waiting, but sure of it when it says that there is no room. */
bool gr_zmq_try(zmq_msg_t *, void *socket);
/* Takes the next message that waits for the endpoint; the caller has initialised it and closes it. */
bool gr_zmq_take(gr_zmq_endpoint *, zmq_msg_t *);
/* After taking: the descriptor goes on telling of what was left behind. */
void gr_zmq_taken(gr_zmq_endpoint *, bool is_limited);

/* zmq_link.c */
GR_MUST_USE gr_err gr_zmq_link_open(gr_zmq_transport *, gr_arena *);
void gr_zmq_link_close(gr_zmq_transport *);
bool gr_zmq_link_send(gr_zmq_transport *, gr_zmq_endpoint *from, uint16_t node, gr_str frame);
uint32_t gr_zmq_link_changes(const gr_zmq_transport *, uint16_t node);
