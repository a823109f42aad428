/* admin.h - the owner's doors: the admin socket (HTTP over a Unix socket, mode 0600) and the metrics listener.
 *
 * One thread of its own with a port to the bus.  The command line (cmd_*.c) talks to the socket; Prometheus reads
 * /metrics.  Answers of the admin routes are JSON; errors are as on client routes.
 */
#pragma once
#include "edge/edge.h"
#include "edge/fetcher.h"

typedef struct gr_admin gr_admin;

/* Indexes of the ports of a node, the same on all: the admin threads of nodes ask each other. */
enum { GR_ADMIN_PORT_EDGE = 0, GR_ADMIN_PORT = 1, GR_ADMIN_PORTS = 2 };

/* Opens both listeners and starts the thread. */
GR_MUST_USE gr_err gr_admin_open(gr_arena *, const gr_config *, const char *dir, gr_node *, gr_store *,
                                 const gr_edge_counters *, gr_fetcher *, gr_admin **);
void gr_admin_close(gr_admin **);      /* stops and joins; NULL is fine */

/* metrics.c: the Prometheus text of this node. */
void gr_metrics_print(gr_buf *, gr_node *, gr_store *, const gr_config *, const gr_edge_counters *, gr_fetcher *,
                      uint64_t now_ms);
void gr_metrics_destinations(gr_buf *, gr_store *);    /* admin_destinations.c: the part about other servers */
uint64_t gr_metrics_resident(void);            /* bytes of memory of this process */
