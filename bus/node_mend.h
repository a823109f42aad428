/* node_mend.h - mending a running node by hand: its dead letters and its suspended actors.
 *
 * Each function hands a small task to the worker's thread that owns the shard and waits for it at most two
 * seconds.  Called by the admin thread, never by a worker.
 */
#pragma once
#include "bus/node.h"
#include "proto/err.h"

/* Dead letters of all shards as a JSON array (shard, number, from, to, type, size, reason), at most `limit`;
 * bodies are not shown. */
gr_str gr_node_dead(gr_node *, gr_arena *, size_t limit);

typedef enum { GR_NODE_DEAD_RETRY, GR_NODE_DEAD_DROP } gr_node_dead_act;
/* GR_NOT_FOUND when there is no such letter, or its actor is suspended and can't retry; GR_UNAVAILABLE when
 * the worker does not answer. */
GR_MUST_USE gr_err gr_node_dead_act_on(gr_node *, gr_node_dead_act, uint8_t shard, uint64_t number);

/* Lets a suspended actor run again. GR_NOT_FOUND when no actor of that address is suspended. */
GR_MUST_USE gr_err gr_node_resume(gr_node *, gr_str address);
