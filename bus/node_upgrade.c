/* node_upgrade.c - finishing an upgrade, once every node of the cluster runs the newer program. See node.h, level.h. */
#include "bus/node_inside.h"
#include "bus/zmq_transport.h"

#include <stdlib.h>

const gr_level *gr_node_level(const gr_node *n) { return &n->level; }

/* Lowers *to to what the peer understands; refuses when that is not known, or not more than the present level. */
static gr_err consult(const gr_node *n, gr_arena *a, const gr_zmq_peer *p, uint32_t *to)
{
    uint32_t now = gr_level_now(&n->level);
    if (p->is_revoked) return gr_ok();
    if (p->state == GR_LINK_DOWN)
        return gr_failf(a, GR_UNAVAILABLE, "node %s is out of reach (%s), so its version is not known: start it first", p->name,
                        p->why);
    if (p->level_high <= now && p->level_high < *to)
        return gr_failf(a, GR_UNAVAILABLE, "node %s runs an older version, which understands feature levels up to %u: upgrade "
                        "it first", p->name, p->level_high);
    if (p->state != GR_LINK_UP)
        return gr_failf(a, GR_UNAVAILABLE, "node %s takes no part in the cluster: %s", p->name, p->why);
    if (p->level_high < *to) *to = p->level_high;
    return gr_ok();
}

gr_err gr_node_upgrade_finish(gr_node *n, gr_arena *a, uint32_t *level)
{
    gr_zmq_peer *peers = gr_alloc(GR_CLUSTER_NODES_MAX * sizeof *peers);
    size_t count = gr_zmq_transport_peers(n->transport, peers, GR_CLUSTER_NODES_MAX);
    uint32_t to = n->level.high;
    gr_err err = gr_ok();
    for (size_t i = 0; i < count && !gr_failed(err); i++) err = consult(n, a, &peers[i], &to);
    free(peers);
    if (!gr_failed(err)) err = gr_level_raise(&n->level, to);
    *level = gr_level_now(&n->level);
    return err;
}
