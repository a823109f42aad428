/* sim_inside.h - what sim.c and sim_transport.c share. */
#pragma once
#include "bus/sim.h"

enum { GR_SIM_PORTS = 2 };     /* of a node: that of its simulated clients, and that of a real edge */

typedef struct {
    uint64_t due, order;
    gr_endpoint from, to;
    uint64_t session; /* 0: it is taken in any */
    gr_buf bytes;
} gr_sim_frame;
typedef struct {
    gr_sim_frame *at;
    size_t count, room;
} gr_sim_inbox;

typedef struct gr_sim_transport gr_sim_transport;

/* The transport as one node has it. */
typedef struct {
    gr_transport transport; /* first */
    gr_sim_transport *all;
    uint16_t node;
} gr_sim_way;

/* Of one node to another: a link that was cut for a while is lost, and comes up again. */
typedef struct {
    uint32_t changes; /* odd: up */
    uint64_t broken, whole; /* ticks */
    uint64_t heard;   /* the newest session of the other that a frame came from */
} gr_sim_link;

/* Frames under way, per receiving endpoint: a node's workers, then its ports. */
struct gr_sim_transport {
    gr_sim_way *ways; /* by node */
    gr_sim_link *links; /* per (node, other) */
    gr_sim *sim;
    const gr_sim_options *options;
    size_t endpoints;
    gr_sim_inbox *inboxes;
    uint64_t *cuts;   /* per (from, to) node: the tick until which the way is cut */
    uint64_t *newest; /* due of the newest frame per (from, to), so that none overtakes */
    uint64_t order;
};

void gr_sim_transport_open(gr_sim_transport *, gr_sim *, const gr_sim_options *);
/* A tick: which links are lost or up by now. */
void gr_sim_transport_step(gr_sim_transport *, void (*lost)(gr_sim *, unsigned node, unsigned other));
void gr_sim_transport_close(gr_sim_transport *);
void gr_sim_transport_forget(gr_sim_transport *,
                             unsigned node); /* it crashed: what was on its way to it is lost */
bool gr_sim_transport_idle(const gr_sim_transport *);
bool gr_sim_chance(gr_sim *, uint32_t per_million); /* false while faults are off */
uint64_t gr_sim_ticks(const gr_sim *);
