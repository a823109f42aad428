/* trace_source.h - where `greenroom trace` reads message logs: folders, and over the admin socket other nodes.
 *
 * The own node's log is read from its folder, also when it does not run; what other nodes have is asked for. A node
 * that has no log, or does not answer, keeps the reason.
 */
#pragma once
#include "bus/cluster.h"
#include "bus/trace.h"
#include "edge/admin_client.h"

typedef struct {
    const char *dir;               /* the data directory; NULL: folders only */
    const char *folders[GR_CLI_VALUES_MAX];
    size_t folder_count;
    gr_admin_node_answer *own;     /* whose log the first folder is; NULL: folders only */
    gr_admin_node_answer *nodes;   /* other nodes */
    size_t node_count;
    /* Of the folders, then the nodes: from where on they are read, and where finding ended. */
    gr_log_place from[GR_CLI_VALUES_MAX + GR_CLUSTER_NODES_MAX], to[GR_CLI_VALUES_MAX + GR_CLUSTER_NODES_MAX];
} gr_trace_sources;

/* The log of a data directory, and those of the other nodes of its cluster. False: it has said what is wrong. */
bool gr_trace_sources_of(gr_trace_sources *, gr_arena *, const char *dir);

/* Adds to the set what the query means. Fails when a folder that was named can't be read. */
GR_MUST_USE gr_err gr_trace_sources_find(gr_trace_sources *, const gr_trace_query *, size_t max, gr_arena *, gr_trace_set *);
/* Picks the messages of these traces, up to where finding ended, for gr_trace_draw; all lies in the arena. */
GR_MUST_USE gr_err gr_trace_sources_pick(gr_trace_sources *, const gr_trace_query *, const gr_trace_set *, gr_arena *,
                                         gr_trace_parts *);
/* What follows is read from where finding ended, and nodes that had no answer are asked again. */
void gr_trace_sources_go_on(gr_trace_sources *);
