/* sim_transport.c - the simulated way of frames: delayed, lost, doubled, refused, out of order. See sim.h. */
#include "bus/sim_inside.h"

#include <stdlib.h>

enum { SILENCE_TICKS = 100, HELLO_TICKS = 5 };

static size_t index_of(const gr_sim_transport *t, gr_endpoint e)
{
    size_t per_node = t->options->workers + GR_SIM_PORTS;
    return e.node * per_node + (e.kind == GR_ENDPOINT_PORT ? t->options->workers : 0) + e.index;
}

static bool is_broken_way(const gr_sim_transport *t, unsigned from, unsigned to)
{
    return t->cuts[from * t->options->nodes + to] > gr_sim_ticks(t->sim) || !gr_sim_is_up(t->sim, to);
}

static gr_sim_link *link_of(const gr_sim_transport *t, unsigned node, unsigned other)
{
    return &t->links[node * t->options->nodes + other];
}

/* Which life of the sender's process, and which link of it, a frame belongs to.  As with the real transport those of a
 * session that is over are dropped once something of the next has come. */
static uint64_t session_of(const gr_sim_transport *t, unsigned from, unsigned to)
{
    return (uint64_t)gr_sim_starts(t->sim, from) << 32 | link_of(t, from, to)->changes;
}

static uint64_t delay(const gr_sim_transport *t, uint32_t max) { return max ? gr_sim_random(t->sim) % (max + 1) : 0; }

static void put(gr_sim_transport *t, gr_endpoint from, gr_endpoint to, gr_str bytes, bool is_stray)
{
    size_t at = index_of(t, to);
    gr_sim_inbox *inbox = &t->inboxes[at];
    uint64_t *newest = &t->newest[index_of(t, from) * t->endpoints + at];
    uint64_t due = gr_sim_ticks(t->sim) + delay(t, t->options->delay_max);
    if (due < *newest) due = *newest;
    if (is_stray) due += delay(t, t->options->stray_max);
    else *newest = due;
    if (inbox->count == inbox->room) {
        inbox->room = inbox->room ? inbox->room * 2 : 16;
        inbox->at = gr_realloc(inbox->at, inbox->room * sizeof *inbox->at);
    }
    gr_sim_frame *frame = &inbox->at[inbox->count++];
    *frame = (gr_sim_frame){.due = due, .order = t->order++, .from = from, .to = to};
    if (from.node != to.node && !is_stray) frame->session = session_of(t, from.node, to.node);
    gr_buf_str(&frame->bytes, bytes);
}

static bool send_frame(gr_transport *transport, gr_endpoint from, gr_endpoint to, gr_str frame)
{
    gr_sim_transport *t = ((gr_sim_way *)transport)->all;
    if (gr_sim_chance(t->sim, t->options->full)) return false;
    if (from.node == to.node) {
        put(t, from, to, frame, false);
        return true;
    }
    if (link_of(t, from.node, to.node)->changes % 2 == 0) return false;
    if (is_broken_way(t, from.node, to.node) || gr_sim_chance(t->sim, t->options->lose)) return true;
    put(t, from, to, frame, gr_sim_chance(t->sim, t->options->stray));
    if (gr_sim_chance(t->sim, t->options->repeat)) put(t, from, to, frame, t->options->stray > 0);
    return true;
}

/* The one that has been due longest. */
static gr_sim_frame *next_due(gr_sim_transport *t, gr_sim_inbox *inbox)
{
    gr_sim_frame *best = NULL;
    for (size_t i = 0; i < inbox->count; i++) {
        gr_sim_frame *f = &inbox->at[i];
        if (f->due > gr_sim_ticks(t->sim)) continue;
        if (!best || f->due < best->due || (f->due == best->due && f->order < best->order)) best = f;
    }
    return best;
}

/* Is the frame of the session that its sender has now, as far as the receiver knows? */
static bool is_taken(gr_sim_transport *t, const gr_sim_frame *f)
{
    gr_sim_link *l = link_of(t, f->to.node, f->from.node);
    if (f->session == 0) return true;
    if (f->session < l->heard) return false;
    l->heard = f->session;
    return true;
}

static size_t receive(gr_transport *transport, gr_endpoint self, size_t limit, gr_frame_fn *fn, void *arg)
{
    gr_sim_transport *t = ((gr_sim_way *)transport)->all;
    gr_sim_inbox *inbox = &t->inboxes[index_of(t, self)];
    size_t count = 0;
    for (gr_sim_frame *f; count < limit && (f = next_due(t, inbox)); count++) {
        gr_buf bytes = f->bytes;
        bool taken = is_taken(t, f);
        *f = inbox->at[--inbox->count];
        if (taken) fn(arg, gr_buf_view(&bytes));
        gr_buf_free(&bytes);
    }
    return count;
}

static void no_wait(gr_transport *t, gr_endpoint e, uint64_t timeout_ms)
{
    (void)t;
    (void)e;
    (void)timeout_ms;
}

static void no_wake(gr_transport *t, gr_endpoint e)
{
    (void)t;
    (void)e;
}

static int no_fd(gr_transport *t, gr_endpoint e)
{
    (void)t;
    (void)e;
    return -1;
}

static void no_close(gr_transport *t) { (void)t; }

static uint32_t link_changes(gr_transport *transport, uint16_t other)
{
    const gr_sim_way *way = (gr_sim_way *)transport;
    return link_of(way->all, way->node, other)->changes;
}

static const gr_transport_ops ops = {.send = send_frame, .receive = receive, .wait = no_wait, .wake = no_wake,
                                     .fd = no_fd, .close = no_close, .link = link_changes};

void gr_sim_transport_open(gr_sim_transport *t, gr_sim *sim, const gr_sim_options *options)
{
    *t = (gr_sim_transport){.sim = sim, .options = options};
    t->ways = gr_alloc(options->nodes * sizeof *t->ways);
    t->links = gr_alloc(options->nodes * options->nodes * sizeof *t->links);
    for (unsigned i = 0; i < options->nodes; i++) t->ways[i] = (gr_sim_way){{&ops}, t, (uint16_t)i};
    for (unsigned i = 0; i < options->nodes * options->nodes; i++) t->links[i].changes = 1;
    t->endpoints = options->nodes * (options->workers + GR_SIM_PORTS);
    t->inboxes = gr_alloc(t->endpoints * sizeof *t->inboxes);
    t->cuts = gr_alloc(options->nodes * options->nodes * sizeof *t->cuts);
    t->newest = gr_alloc(t->endpoints * t->endpoints * sizeof *t->newest);
}

/* A silence is noticed after a while, the end of a process at once. */
static bool step_link(gr_sim_transport *t, unsigned node, unsigned other)
{
    gr_sim_link *l = link_of(t, node, other);
    bool is_broken = is_broken_way(t, node, other) || is_broken_way(t, other, node);
    bool was_up = l->changes % 2 == 1;
    l->broken = is_broken ? l->broken + 1 : 0;
    l->whole = is_broken ? 0 : l->whole + 1;
    if (was_up ? l->broken > SILENCE_TICKS || !gr_sim_is_up(t->sim, other) : l->whole > HELLO_TICKS) l->changes++;
    return was_up && l->changes % 2 == 0;
}

void gr_sim_transport_step(gr_sim_transport *t, void (*lost)(gr_sim *, unsigned node, unsigned other))
{
    for (unsigned i = 0; i < t->options->nodes; i++)
        for (unsigned k = 0; k < t->options->nodes; k++)
            if (i != k && step_link(t, i, k)) lost(t->sim, i, k);
}

static void empty(gr_sim_inbox *inbox)
{
    for (size_t i = 0; i < inbox->count; i++) gr_buf_free(&inbox->at[i].bytes);
    inbox->count = 0;
}

void gr_sim_transport_forget(gr_sim_transport *t, unsigned node)
{
    size_t per_node = t->options->workers + GR_SIM_PORTS;
    for (size_t i = 0; i < per_node; i++) empty(&t->inboxes[node * per_node + i]);
}

bool gr_sim_transport_idle(const gr_sim_transport *t)
{
    for (size_t i = 0; i < t->endpoints; i++)
        if (t->inboxes[i].count) return false;
    return true;
}

void gr_sim_transport_close(gr_sim_transport *t)
{
    for (size_t i = 0; i < t->endpoints; i++) {
        empty(&t->inboxes[i]);
        free(t->inboxes[i].at);
    }
    free(t->inboxes);
    free(t->cuts);
    free(t->newest);
    free(t->ways);
    free(t->links);
}
