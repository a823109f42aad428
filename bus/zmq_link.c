/* zmq_link.c - the thread that carries frames between this node and others: one PULL socket bound, a PUSH
 * socket for each peer, and who may connect. See zmq_transport.h; when a link is up is decided in link.c.
 */
#include "bus/zmq_link_inside.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TICK_MS = 100, BATCH = 256 };

uint64_t gr_zmq_link_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t clock_us(const gr_zmq_link *l) { return l->o.clock_us(l->o.clock_arg); }

/* --- other threads: sending --- */
/* Where the header will be, until the link's thread writes it: for whom, and which state of the link it met. */
typedef struct {
    uint16_t node;
    uint32_t changes;
} slip;

/* Small frames count for more than they are, so that the window bounds their number too. */
static uint64_t weight(size_t size) { return size < GR_ZMQ_FRAME_WEIGHT ? GR_ZMQ_FRAME_WEIGHT : size; }

uint32_t gr_zmq_link_changes(const gr_zmq_transport *t, uint16_t node)
{
    if (!t->link || node >= t->link->o.cluster->node_count) return 0;
    return atomic_load_explicit(&t->link->peers[node].changes, memory_order_acquire);
}

bool gr_zmq_link_send(gr_zmq_transport *t, gr_zmq_endpoint *from, uint16_t node, gr_str frame)
{
    slip at = {node, gr_zmq_link_changes(t, node)};
    if (at.changes % 2 == 0 || frame.size > GR_NODE_FRAME_BODY_MAX) return false;
    gr_zmq_peer_link *p = &t->link->peers[node];
    size_t size = GR_NODE_FRAME_HEADER + frame.size;
    uint64_t queued = atomic_fetch_add(&p->queued, weight(size)) + weight(size);
    zmq_msg_t message;
    bool is_full = queued - atomic_load(&p->done) > t->link->o.window_bytes;
    if (is_full) atomic_fetch_add(&p->full, 1);
    bool sent = !is_full && zmq_msg_init_size(&message, size) == 0;
    if (sent) {
        memcpy(zmq_msg_data(&message), &at, sizeof at);
        memcpy((char *)zmq_msg_data(&message) + GR_NODE_FRAME_HEADER, frame.ptr, frame.size);
        sent = gr_zmq_put(t, from, &t->endpoints[t->count - 1], &message);
    }
    if (!sent) atomic_fetch_sub(&p->queued, weight(size));
    return sent;
}

/* --- the link's thread: what becomes of a link --- */
static void log_line(gr_zmq_link *l, bool is_warning, const char *text)
{
    if (l->o.log) l->o.log(l->o.log_arg, is_warning, text);
}

static const char *name_of(const gr_zmq_link *l, const gr_zmq_peer_link *p)
{
    return l->o.cluster->nodes[p->link.index].name;
}

void gr_zmq_link_show(gr_zmq_link *l, gr_zmq_peer_link *p)
{
    pthread_mutex_lock(&l->lock);
    p->shown = p->link;
    p->shown_n = p->n;
    pthread_mutex_unlock(&l->lock);
}

static void wake_all(gr_zmq_link *l)
{
    gr_transport *base = &l->t->base;
    uint16_t node = l->t->options.node;
    for (uint16_t i = 0; i < l->t->options.workers; i++)
        base->ops->wake(base, (gr_endpoint){node, GR_ENDPOINT_WORKER, i});
    for (uint16_t i = 0; i < l->t->options.ports; i++)
        base->ops->wake(base, (gr_endpoint){node, GR_ENDPOINT_PORT, i});
}

/* Tells the endpoints and the log what is new about a link. is_anew: it was lost, even if it is up again. */
static void settle(gr_zmq_link *l, gr_zmq_peer_link *p, bool is_anew)
{
    char text[GR_LINK_WHY_MAX + 128];
    uint32_t before = atomic_load(&p->changes), now = before;
    bool is_up = p->link.state == GR_LINK_UP;
    if (now % 2 == 1 && (!is_up || is_anew)) now++;
    if (now % 2 == 0 && is_up) now++;
    if (now != before) {
        atomic_store_explicit(&p->changes, now, memory_order_release);
        wake_all(l);
    }
    bool is_news = now / 2 != before / 2 || now != before || strcmp(p->logged, p->link.why) != 0;
    gr_zmq_link_show(l, p);
    if (!is_news) return;
    snprintf(p->logged, sizeof p->logged, "%s", p->link.why);
    if (is_up) snprintf(text, sizeof text, "the link to node %s is up", name_of(l, p));
    else snprintf(text, sizeof text, "the link to node %s is down: %s", name_of(l, p), p->link.why);
    log_line(l, !is_up, text);
}

static void lose(gr_zmq_link *l, gr_zmq_peer_link *p, const char *why)
{
    atomic_fetch_add(&p->done, gr_link_lost(&p->link, gr_zmq_link_now_ms(), why));
    settle(l, p, true);
}

/* ZeroMQ connects again by itself, and has dropped what waited. */
void gr_zmq_link_broken(gr_zmq_link *l, gr_zmq_peer_link *p, const char *why)
{
    bool was_connected = p->is_connected;
    p->is_connected = false;
    if (was_connected) lose(l, p, why); /* otherwise it was said before why there is none */
}

/* It could not even be connected to. */
void gr_zmq_link_unconnected(gr_zmq_link *l, gr_zmq_peer_link *p, const char *why)
{
    if (p->link.state != GR_LINK_DOWN) return;
    snprintf(p->link.why, sizeof p->link.why, "%s", why);
    settle(l, p, false);
}

void gr_zmq_link_hello(gr_zmq_link *l, gr_zmq_peer_link *p)
{
    gr_node_hello hello;
    gr_buf map = {0}, out = {0};
    zmq_msg_t message;
    char header[GR_NODE_FRAME_HEADER];
    if (!p->is_connected) return;
    gr_link_hello(&p->link, &l->self, gr_zmq_link_now_ms(), clock_us(l), &map, &hello);
    gr_link_header(&p->link, &l->self, GR_NODE_FRAME_HELLO, header);
    gr_buf_add(&out, header, sizeof header);
    gr_node_hello_encode(&out, &hello);
    if (zmq_msg_init_size(&message, out.size) == 0) {
        memcpy(zmq_msg_data(&message), out.ptr, out.size);
        if (!gr_zmq_try(&message, p->push)) zmq_msg_close(&message); /* not connected; the next one will do */
    }
    gr_buf_free(&map);
    gr_buf_free(&out);
}

/* --- frames out --- */
static void forward(gr_zmq_link *l, zmq_msg_t *message)
{
    slip at;
    size_t size = zmq_msg_size(message);
    memcpy(&at, zmq_msg_data(message), sizeof at);
    gr_zmq_peer_link *p = &l->peers[at.node];
    /* Who sent it while the link was up knows by now that it was lost. */
    bool is_void = at.changes != atomic_load(&p->changes) || !p->push;
    if (!is_void) {
        gr_link_header(&p->link, &l->self, GR_NODE_FRAME_ENVELOPES, zmq_msg_data(message));
        if (gr_zmq_try(message, p->push)) {
            p->link.sent += weight(size);
            p->n.frames_out++;
            p->n.bytes_out += size;
            return;
        }
        lose(l, p, "the connection takes nothing any more");
        gr_zmq_link_reconnect(l, p);
    }
    p->n.lost++;
    atomic_fetch_add(&p->done, weight(size));
}

static void send_out(gr_zmq_link *l)
{
    size_t count = 0;
    for (bool is_there = true; is_there && count < BATCH; count += is_there) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        is_there = gr_zmq_take(l->own, &message);
        if (is_there) forward(l, &message);
        zmq_msg_close(&message);
    }
    gr_zmq_taken(l->own, count == BATCH);
}

/* --- frames in --- */
/* The upgrade was finished on a node that knew all others to understand that level. Its row is written here: once in the
 * life of a level, this thread waits for the disk. */
static void follow_level(gr_zmq_link *l, const gr_zmq_peer_link *p)
{
    char text[128];
    uint32_t to = p->link.their_level;
    if (p->link.state != GR_LINK_UP || to <= gr_level_now(l->o.level)) return;
    gr_err err = gr_level_raise(l->o.level, to);
    if (gr_failed(err)) snprintf(text, sizeof text, "feature level %u could not be stored: %s", to, err.text);
    else snprintf(text, sizeof text, "the upgrade is finished: the feature level is %u now", to);
    log_line(l, gr_failed(err), text);
}

static void refuse(gr_zmq_link *l, gr_zmq_peer_link *p, uint64_t count, const char *why)
{
    p->n.bad += count;
    gr_zmq_link_complain(l, "node %s sent what is refused: %s", name_of(l, p), why);
}

/* By the same map it is who its key says. A node with another map may have another name there. */
static bool is_named(const gr_zmq_link *l, const gr_zmq_peer_link *p, const gr_node_frame *f, const gr_node_hello *h)
{
    if (memcmp(h->map_hash, l->self.hash, sizeof l->self.hash) != 0) return true;
    return f->node == p->link.index && strcmp(h->name, name_of(l, p)) == 0;
}

static void on_hello(gr_zmq_link *l, gr_zmq_peer_link *p, const gr_node_frame *f, gr_str body)
{
    gr_node_hello hello;
    uint64_t freed, was_start = p->link.their_start, was_epoch = p->link.their_epoch, measured = p->link.clock_at_us;
    bool rival;
    if (gr_failed(gr_node_hello_decode(body, &hello))) {
        refuse(l, p, 1, "a HELLO that can't be read");
        return;
    }
    if (!is_named(l, p, f, &hello)) {
        refuse(l, p, 1, "a HELLO in the name of another node");
        return;
    }
    bool answer = gr_link_heard(&p->link, &l->self, f, &hello, gr_zmq_link_now_ms(), clock_us(l), &freed, &rival);
    if (rival && p->link.rival_start != f->start) {
        char text[256];
        p->link.rival_start = f->start;
        snprintf(text, sizeof text, "a second process runs as node %s; it is refused as long as the first one lives",
                 name_of(l, p));
        log_line(l, true, text);
    }
    if (rival) return;
    atomic_fetch_add(&p->done, freed);
    if (l->o.clock_seen && p->link.clock_at_us != measured)
        l->o.clock_seen(l->o.clock_seen_arg, p->link.index, p->link.clock_offset_us, p->link.rtt_us);
    settle(l, p, was_start != p->link.their_start || was_epoch != p->link.their_epoch);
    follow_level(l, p);
    if (answer) gr_zmq_link_hello(l, p);
}

static void gather(void *arg, const gr_node_envelope *e)
{
    gr_zmq_link *l = arg;
    unsigned workers = l->t->options.workers, ports = l->t->options.ports;
    unsigned at = e->is_edge ? workers + e->edge : l->o.worker[e->shard];
    if (e->is_edge && e->edge >= ports) return;
    gr_buf_str(&l->in[at], e->bytes);
}

static void deliver(gr_zmq_link *l, gr_zmq_peer_link *p)
{
    for (size_t i = 0; i + 1 < l->t->count; i++) {
        gr_buf *in = &l->in[i];
        zmq_msg_t message;
        if (in->size == 0) continue;
        bool is_made = zmq_msg_init_size(&message, in->size) == 0;
        if (is_made) memcpy(zmq_msg_data(&message), in->ptr, in->size);
        if (!is_made || !gr_zmq_put(l->t, l->own, &l->t->endpoints[i], &message)) p->n.bad++;
        if (in->room > GR_NODE_FRAME_BODY_MAX / 2) gr_buf_free(in);
        gr_buf_clear(in);
    }
}

static void on_envelopes(gr_zmq_link *l, gr_zmq_peer_link *p, const gr_node_frame *f, gr_str body)
{
    const char *why = NULL;
    if (!gr_link_accepts(&p->link, &l->self, f)) {
        p->n.bad++;
        return;
    }
    size_t bad = gr_node_frame_each(body, l->o.cluster, p->link.index, l->self.index, l->o.worker, l->arena, gather,
                                    l, &why);
    gr_arena_reset(l->arena);
    deliver(l, p);
    if (bad) refuse(l, p, bad, why);
    p->n.frames_in++;
    p->n.bytes_in += body.size;
    p->link.received += weight(GR_NODE_FRAME_HEADER + body.size);
    if (p->link.received - p->link.told >= GR_ZMQ_WINDOW_BYTES / 16) gr_zmq_link_hello(l, p);
}

/* What is left of an old connection is no news. */
static void on_old(gr_zmq_link *l, gr_zmq_peer_link *p, const gr_node_frame *f)
{
    if (f->epoch == p->link.their_epoch) refuse(l, p, 1, "a frame that came before");
    else p->n.bad++;
}

static void on_frame(gr_zmq_link *l, zmq_msg_t *message)
{
    gr_node_frame f;
    gr_str body, bytes = gr_str_of(zmq_msg_data(message), zmq_msg_size(message));
    const char *user = zmq_msg_gets(message, "User-Id"), *from = zmq_msg_gets(message, "Peer-Address");
    int node = user ? gr_cluster_find(l->o.cluster, gr_str_c(user)) : -1;
    gr_err err = gr_node_frame_decode(bytes, &f, &body);
    if (node < 0 || (unsigned)node == l->self.index || zmq_msg_more(message) || gr_failed(err)) {
        atomic_fetch_add(&l->bad_frames, 1);
        gr_zmq_link_complain(l, "dropped from %s: %s", from ? from : "a stranger",
                             gr_failed(err) ? err.text : "no frame of another node");
        return;
    }
    gr_zmq_peer_link *p = &l->peers[node];
    if (gr_link_is_old(&p->link, &f)) on_old(l, p, &f);
    else if (f.kind == GR_NODE_FRAME_HELLO) on_hello(l, p, &f, body);
    else on_envelopes(l, p, &f, body);
}

/* True: there may be more. */
static bool take_in(gr_zmq_link *l)
{
    bool is_there = true;
    for (int i = 0; i < BATCH && is_there; i++) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        is_there = zmq_msg_recv(&message, l->pull, ZMQ_DONTWAIT) >= 0;
        if (is_there) on_frame(l, &message);
        zmq_msg_close(&message);
    }
    return is_there;
}

/* --- the thread --- */
static void tick(gr_zmq_link *l)
{
    uint64_t now = gr_zmq_link_now_ms();
    if (now - l->tick_ms < TICK_MS) return;
    l->tick_ms = now;
    for (unsigned i = 0; i < l->o.cluster->node_count; i++) {
        gr_zmq_peer_link *p = &l->peers[i];
        if (!p->push) continue;
        if (gr_link_is_silent(&p->link, now)) {
            lose(l, p, "nothing was heard for 3 seconds");
            gr_zmq_link_reconnect(l, p);
        }
        uint64_t every = p->link.state == GR_LINK_UP ? GR_LINK_HELLO_MS : GR_LINK_TRY_MS;
        bool is_raised = p->link.said_level != gr_level_now(l->o.level);
        if (is_raised || now - p->link.hello_ms >= every) gr_zmq_link_hello(l, p);
        gr_zmq_link_show(l, p);
    }
}

static int fd_of(void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    if (socket && zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) return -1;
    return fd;
}

/* Looks only at sockets whose descriptor tells of something, as each look costs a system call; zmq_poll looks at all of them,
 * twice.  All are read until they are empty, which is what their descriptors ask for.  In each tick all are looked at however
 * busy the others are: the descriptor of a new monitor tells of nothing before the monitor was read once. */
static void *run(void *arg)
{
    enum { OWN, PULL, ZAP, DOOR, MONITORS };
    gr_zmq_link *l = arg;
    unsigned nodes = l->o.cluster->node_count;
    struct pollfd fds[MONITORS + GR_CLUSTER_NODES_MAX];
    bool has_more = false;
    while (!atomic_load(&l->is_stopping)) {
        fds[OWN] = (struct pollfd){l->own_fd, POLLIN, 0};
        fds[PULL] = (struct pollfd){fd_of(l->pull), POLLIN, 0};
        fds[ZAP] = (struct pollfd){fd_of(l->zap), POLLIN, 0};
        fds[DOOR] = (struct pollfd){fd_of(l->door), POLLIN, 0};
        for (unsigned i = 0; i < nodes; i++) fds[MONITORS + i] = (struct pollfd){fd_of(l->peers[i].monitor), POLLIN, 0};
        poll(fds, MONITORS + nodes, has_more ? 0 : TICK_MS);
        bool is_late = gr_zmq_link_now_ms() - l->tick_ms >= TICK_MS;
        if (is_late || fds[ZAP].revents) gr_zmq_link_admit(l);
        if (is_late || fds[DOOR].revents) gr_zmq_link_door_watch(l);
        for (unsigned i = 0; i < nodes; i++)
            if (is_late || fds[MONITORS + i].revents) gr_zmq_link_watch(l, &l->peers[i]);
        if (is_late || has_more || fds[PULL].revents) has_more = take_in(l);
        send_out(l);
        tick(l);
    }
    return NULL;
}

/* --- opening and closing --- */
static gr_err prepare(gr_zmq_link *l, gr_arena *a)
{
    uint8_t key[GR_CLUSTER_KEY_SIZE];
    const gr_cluster_node *own = &l->o.cluster->nodes[l->self.index];
    gr_cluster_public_key(l->secret, key);
    if (own->is_revoked) return gr_failf(a, GR_FORBIDDEN, "node %s is revoked in the cluster file", own->name);
    if (memcmp(key, own->public_key, sizeof key) != 0) {
        char text[GR_CLUSTER_KEY_TEXT];
        gr_cluster_key_print(key, text);
        return gr_failf(a, GR_FORBIDDEN, "the key of node %s in the cluster file is not this node's, which is %s",
                        own->name, text);
    }
    gr_cluster_hash(l->o.cluster, l->self.hash);
    while (l->self.start == 0) randombytes_buf(&l->self.start, sizeof l->self.start);
    return gr_zmq_link_bind(l, a);
}

gr_err gr_zmq_link_open(gr_zmq_transport *t, gr_arena *a)
{
    const gr_zmq_link_options *o = t->options.link;
    gr_zmq_link *l = t->link = gr_alloc(sizeof *l);
    gr_assert(t->options.node < o->cluster->node_count && o->clock_us && o->secret_key && o->worker && o->level);
    l->o = *o;
    if (l->o.window_bytes == 0) l->o.window_bytes = GR_ZMQ_WINDOW_BYTES;
    memcpy(l->secret, o->secret_key, sizeof l->secret);
    l->t = t;
    l->self = (gr_link_self){.cluster = o->cluster, .index = t->options.node, .level = o->level};
    l->arena = gr_arena_new(0);
    l->in = gr_alloc(t->count * sizeof *l->in);
    l->own = &t->endpoints[t->count - 1];
    pthread_mutex_init(&l->lock, NULL);
    uint64_t now = gr_zmq_link_now_ms();
    for (unsigned i = 0; i < o->cluster->node_count; i++) gr_link_init(&l->peers[i].link, i, now);
    gr_endpoint self = {t->options.node, GR_ENDPOINT_NODE, 0};
    gr_err err = gr_zmq_endpoint_open(&t->base, self, a);
    if (gr_failed(err)) return err;
    l->own_fd = t->base.ops->fd(&t->base, self);
    err = prepare(l, a);
    for (unsigned i = 0; i < o->cluster->node_count && !gr_failed(err); i++) {
        if (i != l->self.index && !o->cluster->nodes[i].is_revoked) gr_zmq_link_reconnect(l, &l->peers[i]);
        gr_zmq_link_show(l, &l->peers[i]);
    }
    return err;
}

gr_err gr_zmq_transport_start(gr_transport *base)
{
    gr_zmq_link *l = ((gr_zmq_transport *)base)->link;
    if (!l) return gr_ok();
    l->is_running = pthread_create(&l->thread, NULL, run, l) == 0;
    return l->is_running ? gr_ok()
                         : gr_fail(GR_UNAVAILABLE, "can't start a thread of the bus; raise the limit of threads");
}

void gr_zmq_link_close(gr_zmq_transport *t)
{
    gr_zmq_link *l = t->link;
    if (!l) return;
    atomic_store(&l->is_stopping, true);
    t->base.ops->wake(&t->base, (gr_endpoint){t->options.node, GR_ENDPOINT_NODE, 0});
    if (l->is_running) pthread_join(l->thread, NULL);
    for (unsigned i = 0; i < l->o.cluster->node_count; i++) gr_zmq_link_disconnect(&l->peers[i]);
    gr_zmq_link_door_close(l);
    if (l->pull) zmq_close(l->pull);
    if (l->zap) zmq_close(l->zap);
    for (size_t i = 0; i < t->count; i++) gr_buf_free(&l->in[i]);
    pthread_mutex_destroy(&l->lock);
    gr_arena_free(&l->arena);
    explicit_bzero(l->secret, sizeof l->secret);
    free(l->in);
    free(l);
    t->link = NULL;
}
