/* zmq_transport.c - inproc sockets, and sleeping without missing a frame or a wake. See zmq_transport.h. */
#include "bus/zmq_inside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef gr_zmq_way way;
typedef gr_zmq_endpoint endpoint;
typedef gr_zmq_transport transport;

static endpoint *endpoint_at(const transport *t, gr_endpoint at)
{
    if (at.node != t->options.node) return NULL;
    if (at.kind == GR_ENDPOINT_WORKER && at.index < t->options.workers) return &t->endpoints[at.index];
    if (at.kind == GR_ENDPOINT_PORT && at.index < t->options.ports)
        return &t->endpoints[t->options.workers + at.index];
    if (at.kind == GR_ENDPOINT_NODE && t->options.link) return &t->endpoints[t->count - 1];
    return NULL;
}

static endpoint *own_endpoint(transport *t, gr_endpoint at)
{
    endpoint *e = endpoint_at(t, at);
    gr_assert(e && e->pull);
    return e;
}

static void name_of(const transport *t, const endpoint *e, uint32_t opening, char out[64])
{
    snprintf(out, 64, "inproc://%zu.%u", (size_t)(e - t->endpoints), opening);
}

static void *socket_open(transport *t, int kind)
{
    void *s = zmq_socket(t->context, kind);
    if (!s) return NULL;
    int zero = 0, one = 1, water = t->options.high_water;
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_SNDHWM, &water, sizeof water);
    zmq_setsockopt(s, ZMQ_RCVHWM, &water, sizeof water);
    zmq_setsockopt(s, ZMQ_IMMEDIATE, &one, sizeof one);
    return s;
}

/* --- sending --- */
static void *way_to(transport *t, endpoint *from, endpoint *to)
{
    way *w = &from->ways[to - t->endpoints];
    uint32_t opening = atomic_load_explicit(&to->opening, memory_order_acquire);
    if (w->socket && w->opening == opening) return w->socket;
    if (w->socket) zmq_close(w->socket);
    *w = (way){0};
    if (opening == 0) return NULL;
    char name[64];
    name_of(t, to, opening, name);
    void *s = socket_open(t, ZMQ_PUSH);
    if (!s) return NULL;
    if (zmq_connect(s, name) != 0) {
        zmq_close(s);
        return NULL;
    }
    *w = (way){s, opening};
    return s;
}

/* ZeroMQ looks for news of freed room only now and then while sending; when it says that it is full it is
 * made to look. */
bool gr_zmq_try(zmq_msg_t *message, void *s)
{
    int events = 0;
    size_t size = sizeof events;
    if (zmq_msg_send(message, s, ZMQ_DONTWAIT) >= 0) return true;
    if (zmq_getsockopt(s, ZMQ_EVENTS, &events, &size) != 0 || !(events & ZMQ_POLLOUT)) return false;
    return zmq_msg_send(message, s, ZMQ_DONTWAIT) >= 0;
}

bool gr_zmq_put(transport *t, endpoint *from, endpoint *to, zmq_msg_t *message)
{
    void *s = way_to(t, from, to);
    atomic_fetch_add_explicit(&to->sent, 1, memory_order_acq_rel);
    if (s && gr_zmq_try(message, s)) return true;
    zmq_msg_close(message);
    atomic_fetch_sub_explicit(&to->sent, 1, memory_order_acq_rel);
    return false;
}

static bool transport_send(gr_transport *base, gr_endpoint from, gr_endpoint to, gr_str frame)
{
    transport *t = (transport *)base;
    endpoint *sender = own_endpoint(t, from), *receiver = endpoint_at(t, to);
    zmq_msg_t message;
    if (to.node != t->options.node) return gr_zmq_link_send(t, sender, to.node, frame);
    if (!receiver || zmq_msg_init_size(&message, frame.size) != 0) return false;
    if (frame.size) memcpy(zmq_msg_data(&message), frame.ptr, frame.size);
    return gr_zmq_put(t, sender, receiver, &message);
}

static uint32_t transport_link(gr_transport *base, uint16_t node)
{
    return gr_zmq_link_changes((transport *)base, node);
}

/* --- receiving --- */
static void raise_fd(endpoint *e)
{
    uint64_t one = 1;
    while (write(e->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

static void lower_fd(endpoint *e)
{
    uint64_t count;
    while (read(e->wake_fd, &count, sizeof count) < 0 && errno == EINTR) {}
}

/* ZeroMQ's descriptor tells of new frames only after a receive found none. Who stops earlier raises the own
 * descriptor, so that to others it behaves like any level-triggered one. */
static void leave_behind(endpoint *e)
{
    if (e->epoll_fd < 0 || e->is_raised) return;
    e->is_raised = true;
    raise_fd(e);
}

/* Lowers first and forgets the wake after: the other way round a wake in between would be lost for good. */
static void nothing_left(endpoint *e)
{
    if (e->epoll_fd < 0 || (!e->is_raised && !atomic_load(&e->is_woken))) return;
    lower_fd(e);
    atomic_exchange(&e->is_woken, false);
    e->is_raised = false;
}

/* By our own count, which spares the system call that asking ZeroMQ costs. One whose descriptor is watched
 * still has to ask once after the last frame. */
static bool is_empty(const endpoint *e)
{
    return (e->is_drained || e->epoll_fd < 0)
           && atomic_load_explicit(&e->sent, memory_order_acquire)
                  == atomic_load_explicit(&e->received, memory_order_relaxed);
}

bool gr_zmq_take(endpoint *e, zmq_msg_t *message)
{
    if (is_empty(e)) return false;
    if (zmq_msg_recv(message, e->pull, ZMQ_DONTWAIT) < 0) {
        e->is_drained = true;
        return false;
    }
    e->is_drained = false;
    (void)atomic_load_explicit(&e->sent, memory_order_acquire);
    atomic_fetch_add_explicit(&e->received, 1, memory_order_relaxed);
    return true;
}

void gr_zmq_taken(endpoint *e, bool is_limited)
{
    if (is_limited && !is_empty(e)) leave_behind(e);
    else nothing_left(e);
}

static size_t transport_receive(gr_transport *base, gr_endpoint at, size_t limit, gr_frame_fn *deliver,
                                void *arg)
{
    endpoint *e = own_endpoint((transport *)base, at);
    size_t count = 0;
    for (bool is_there = true; is_there && count < limit; count += is_there) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        is_there = gr_zmq_take(e, &message);
        if (is_there) deliver(arg, gr_str_of(zmq_msg_data(&message), zmq_msg_size(&message)));
        zmq_msg_close(&message);
    }
    gr_zmq_taken(e, count == limit);
    return count;
}

/* --- sleeping and waking --- */
/* A busy endpoint is woken by a flag alone; only one that sleeps, or is watched through its descriptor, costs
 * a write. Both sides first write and then read (sequentially consistent), so one of them sees the other. */
static void transport_wake(gr_transport *base, gr_endpoint at)
{
    endpoint *e = endpoint_at((transport *)base, at);
    if (!e || atomic_exchange(&e->is_woken, true)) return;
    if (atomic_load(&e->is_sleeping)) raise_fd(e);
}

static void sleep_until(endpoint *e, uint64_t timeout_ms)
{
    int events = 0;
    size_t size = sizeof events;
    if (!e->is_drained && (zmq_getsockopt(e->pull, ZMQ_EVENTS, &events, &size) != 0 || (events & ZMQ_POLLIN)))
        return;
    e->is_drained = true;
    struct pollfd fds[2] = {{e->pull_fd, POLLIN, 0}, {e->wake_fd, POLLIN, 0}};
    poll(fds, 2, timeout_ms > GR_ZMQ_WAIT_MAX_MS ? GR_ZMQ_WAIT_MAX_MS : (int)timeout_ms);
    if (fds[1].revents) lower_fd(e);
}

static void transport_wait(gr_transport *base, gr_endpoint at, uint64_t timeout_ms)
{
    endpoint *e = own_endpoint((transport *)base, at);
    atomic_store(&e->is_sleeping, true);
    if (!atomic_load(&e->is_woken)) sleep_until(e, timeout_ms);
    atomic_store(&e->is_sleeping, e->epoll_fd >= 0);
    atomic_exchange(&e->is_woken, false);
}

static int transport_fd(gr_transport *base, gr_endpoint at)
{
    transport *t = (transport *)base;
    endpoint *e = own_endpoint(t, at);
    if (e->epoll_fd >= 0) return e->epoll_fd;
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event pull = {.events = EPOLLIN}, wake = {.events = EPOLLIN};
    if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, e->pull_fd, &pull) != 0
        || epoll_ctl(fd, EPOLL_CTL_ADD, e->wake_fd, &wake) != 0) {
        if (fd >= 0) close(fd);
        return -1;
    }
    e->epoll_fd = fd;
    atomic_store(&e->is_sleeping, true);
    leave_behind(e); /* frames may be waiting since before somebody watched */
    return fd;
}

/* --- opening and closing --- */
gr_err gr_zmq_endpoint_open(gr_transport *base, gr_endpoint at, gr_arena *a)
{
    transport *t = (transport *)base;
    endpoint *e = endpoint_at(t, at);
    gr_assert(e && !e->pull);
    uint32_t opening = atomic_fetch_add(&t->openings, 1) + 1;
    char name[64];
    name_of(t, e, opening, name);
    size_t size = sizeof e->pull_fd;
    e->epoll_fd = -1;
    e->is_raised = e->is_drained = false;
    e->pull = socket_open(t, ZMQ_PULL);
    if (!e->pull || zmq_bind(e->pull, name) != 0
        || zmq_getsockopt(e->pull, ZMQ_FD, &e->pull_fd, &size) != 0) {
        gr_err err =
            gr_failf(a, GR_UNAVAILABLE, "can't open a socket of the bus (%s); raise the limit of open files",
                     zmq_strerror(zmq_errno()));
        gr_zmq_endpoint_close(base, at);
        return err;
    }
    e->ways = gr_alloc(t->count * sizeof *e->ways);
    atomic_store(&e->is_woken, false);
    atomic_store(&e->is_sleeping, false);
    atomic_store(&e->received, atomic_load(&e->sent));
    atomic_store_explicit(&e->opening, opening, memory_order_release);
    return gr_ok();
}

static void close_endpoint(transport *t, endpoint *e)
{
    atomic_store(&e->opening, 0);
    for (size_t i = 0; e->ways && i < t->count; i++)
        if (e->ways[i].socket) zmq_close(e->ways[i].socket);
    free(e->ways);
    e->ways = NULL;
    if (e->pull) zmq_close(e->pull);
    e->pull = NULL;
    if (e->epoll_fd >= 0) close(e->epoll_fd);
    e->epoll_fd = -1;
}

void gr_zmq_endpoint_close(gr_transport *base, gr_endpoint at)
{
    endpoint *e = endpoint_at((transport *)base, at);
    gr_assert(e);
    close_endpoint((transport *)base, e);
}

uint64_t gr_zmq_endpoint_depth(const gr_transport *base, gr_endpoint at)
{
    const endpoint *e = endpoint_at((const transport *)base, at);
    uint64_t received = e ? atomic_load_explicit(&e->received, memory_order_relaxed) : 0;
    uint64_t sent = e ? atomic_load_explicit(&e->sent, memory_order_relaxed) : 0;
    return sent > received ? sent - received : 0;
}

static void transport_close(gr_transport *base)
{
    transport *t = (transport *)base;
    gr_zmq_link_close(t);
    for (size_t i = 0; i < t->count; i++) {
        close_endpoint(t, &t->endpoints[i]);
        if (t->endpoints[i].wake_fd >= 0) close(t->endpoints[i].wake_fd);
    }
    zmq_ctx_term(t->context);
    free(t->endpoints);
    free(t);
}

static const gr_transport_ops ops = {transport_send, transport_receive, transport_wait,
                                     transport_wake, transport_fd,      transport_close,
                                     transport_link};

gr_err gr_zmq_transport_open(const gr_zmq_options *options, gr_arena *a, gr_transport **out)
{
    gr_assert(options->workers > 0);
    *out = NULL;
    void *context = zmq_ctx_new();
    if (!context) return gr_failf(a, GR_UNAVAILABLE, "can't start the bus: %s", zmq_strerror(zmq_errno()));
    transport *t = gr_alloc(sizeof *t);
    t->base.ops = &ops;
    t->options = *options;
    if (t->options.high_water <= 0) t->options.high_water = GR_ZMQ_HIGH_WATER;
    t->context = context;
    t->count = (size_t)options->workers + options->ports + (options->link ? 1 : 0);
    t->endpoints = aligned_alloc(64, t->count * sizeof *t->endpoints);
    gr_assert(t->endpoints);
    memset(t->endpoints, 0, t->count * sizeof *t->endpoints);
    /* Inproc needs no thread of ZeroMQ's own for input and output. */
    zmq_ctx_set(context, ZMQ_IO_THREADS, options->link ? 1 : 0);
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, (int)(t->count * t->count + t->count + 16 + 4 * GR_CLUSTER_NODES_MAX));
    bool opened = true;
    for (size_t i = 0; i < t->count; i++) {
        t->endpoints[i].epoll_fd = -1;
        t->endpoints[i].wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        opened = opened && t->endpoints[i].wake_fd >= 0;
    }
    if (!opened) {
        transport_close(&t->base);
        return gr_fail(GR_UNAVAILABLE, "can't open the bus: raise the limit of open files");
    }
    gr_err err = options->link ? gr_zmq_link_open(t, a) : gr_ok();
    if (gr_failed(err)) transport_close(&t->base);
    else *out = &t->base;
    return err;
}
