/* http_server.c - sockets and the loop around the connection machine. See http.h and http_conn.h.
 *
 * Edge-triggered epoll: a connection is registered once and remembers what the kernel last said of it. Events
 * only mark connections; all work, and every close, happens in one pass over the list of marked ones, so that
 * no event can meet a connection that is gone.
 */
#include "edge/http_core.h"
#include "edge/http_tls.h"

#include "bus/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256,          /* taken from the kernel at once */
    ACCEPTS_MAX = 256,         /* in a row */
    LISTENERS_MAX = 16,
    ROUNDS_MAX = 8,            /* reads of one connection in a row */
    PIECES_MAX = 16,           /* writes of one connection in a row */
    READ_SIZE = 16384,
    READ_BODY_SIZE = 65536,
    UNSENT_MAX = 32768,
    ACCEPT_PAUSE_MS = 100
};

typedef struct { int fd; gr_http_tls *tls; bool paused; uint8_t door; } listener;

struct gr_http_loop {
    int epoll_fd, wake_fd, watch_fd;
    void (*watch_seen)(void *);
    void *watch_ctx;
    listener listeners[LISTENERS_MAX];
    int listener_count;
    uint64_t accept_again_ms;
    char scratch[READ_BODY_SIZE];
};

static void poll_add(gr_http_loop *loop, int fd, uint32_t events, void *tag)
{
    struct epoll_event event = {.events = events, .data.ptr = tag};
    gr_assert(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static gr_http_loop *loop_of(gr_http *h)
{
    if (h->loop) return h->loop;
    gr_http_loop *loop = h->loop = gr_alloc(sizeof *loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->watch_fd = -1;
    gr_assert(loop->epoll_fd >= 0);
    gr_assert(loop->wake_fd >= 0);
    poll_add(loop, loop->wake_fd, EPOLLIN, &loop->wake_fd);
    return loop;
}

/* --- listening and accepting ---------------------------------------------------------------------------- */
static bool parse_address(const gr_http_listener *l, struct sockaddr_storage *out, socklen_t *size)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (l->address[0] == '/') {
        if (strlen(l->address) >= sizeof local.sun_path) return false;
        memcpy(local.sun_path, l->address, strlen(l->address));
        memcpy(out, &local, *size = sizeof local);
        return true;
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(l->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(l->port)};
    if (inet_pton(AF_INET, l->address, &v4.sin_addr) == 1) {
        memcpy(out, &v4, *size = sizeof v4);
        return true;
    }
    if (inet_pton(AF_INET6, l->address, &v6.sin6_addr) != 1) return false;
    memcpy(out, &v6, *size = sizeof v6);
    return true;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage at = {0};
    socklen_t size = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &size)) return 0;
    return ntohs(at.ss_family == AF_INET ? ((struct sockaddr_in *)&at)->sin_port
                                         : ((struct sockaddr_in6 *)&at)->sin6_port);
}

gr_err gr_http_listen(gr_http *h, const gr_http_listener *l, gr_arena *arena, uint16_t *port)
{
    gr_http_loop *loop = loop_of(h);
    struct sockaddr_storage at = {0};
    socklen_t size;
    gr_assert(loop->listener_count < LISTENERS_MAX);
    if (!parse_address(l, &at, &size))
        return gr_failf(arena, GR_INVALID_PARAM, "%s is neither a numeric IP address nor a short path to listen on",
                        l->address);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, off = 0,
        unsent = UNSENT_MAX;
    if (fd < 0) return gr_failf(arena, GR_UNKNOWN, "Cannot open a socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    /* Accepted sockets inherit both.  The second keeps what the kernel takes from us near to what the client
     * really takes, which the drain deadline measures. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    bool local = at.ss_family == AF_UNIX;
    if (local) unlink(l->address);                 /* one that a killed process left behind */
    mode_t before = local ? umask(0177) : 0;
    bool bound = bind(fd, (struct sockaddr *)&at, size) == 0;
    if (local) umask(before);
    if (!bound || listen(fd, l->backlog ? l->backlog : 1024)) {
        gr_err err = gr_failf(arena, GR_UNKNOWN, "Cannot listen on %s port %u: %s", l->address, l->port,
                              strerror(errno));
        close(fd);
        return err;
    }
    listener *slot = &loop->listeners[loop->listener_count++];
    *slot = (listener){.fd = fd, .tls = l->tls, .door = l->door};
    poll_add(loop, fd, EPOLLIN, slot);
    if (port) *port = local ? 0 : port_of(fd);
    return gr_ok();
}

static void peer_text(const struct sockaddr_storage *at, char text[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)at;
    text[0] = 0;
    if (at->ss_family == AF_UNIX) return;
    if (at->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)at)->sin_addr, text, INET6_ADDRSTRLEN);
    else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, INET6_ADDRSTRLEN);
    else inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
}

static void add_conn(gr_http *h, const listener *l, int fd, const struct sockaddr_storage *at)
{
    char peer[INET6_ADDRSTRLEN];
    peer_text(at, peer);
    void *ssl = l->tls ? gr_http_tls_open(l->tls, fd) : NULL;
    gr_http_conn *c = l->tls && !ssl ? NULL : gr_http_conn_open(h, h->now_ms, peer, l->tls != NULL);
    if (!c) {
        if (ssl) gr_http_tls_close(ssl);
        close(fd);
        return;
    }
    c->fd = fd;
    c->ssl = ssl;
    c->door = l->door;
    c->writable = true;
    poll_add(h->loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c);
}

static void accept_some(gr_http *h, listener *l)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage at = {0};
        socklen_t size = sizeof at;
        int fd = accept4(l->fd, (struct sockaddr *)&at, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            add_conn(h, l, fd, &at);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR) continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The waiting connection would report itself for ever: look away for a moment. */
            h->counts.refused_descriptors++;
            epoll_ctl(h->loop->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
            l->paused = true;
            h->loop->accept_again_ms = h->now_ms + ACCEPT_PAUSE_MS;
        }
        return;
    }
}

static void accept_again(gr_http *h)
{
    gr_http_loop *loop = h->loop;
    if (loop->accept_again_ms == 0 || h->now_ms < loop->accept_again_ms) return;
    loop->accept_again_ms = 0;
    for (int i = 0; i < loop->listener_count; i++) {
        listener *l = &loop->listeners[i];
        if (l->paused) poll_add(loop, l->fd, EPOLLIN, l);
        l->paused = false;
    }
}

/* --- one connection ------------------------------------------------------------------------------------- */
static void close_conn(gr_http_conn *c)
{
    if (c->ssl) {
        if (!c->shut) gr_http_tls_say_end(c->ssl);
        gr_http_tls_close(c->ssl);
    }
    if (c->fd >= 0) close(c->fd);
    gr_http_conn_free(&c);
}

static void read_tls(gr_http_conn *c, char *dst, size_t room)
{
    gr_http *h = c->http;
    int got = gr_http_tls_read(c->ssl, dst, room);
    if (got > 0) {
        gr_http_conn_bytes(c, h->now_ms, gr_str_of(dst, (size_t)got));
        return;
    }
    c->readable = false;
    if (got == GR_HTTP_TLS_AGAIN_WRITE) c->writable = false;
    if (got == 0) gr_http_conn_eof(c, h->now_ms);
    if (got != GR_HTTP_TLS_FAILED) return;
    if (!gr_http_tls_ready(c->ssl)) h->counts.tls_failed++;
    gr_http_conn_lost(c);
}

static void read_some(gr_http_conn *c)
{
    gr_http *h = c->http;
    char *dst = h->loop->scratch;
    size_t room = c->phase == GR_HTTP_BODY_PHASE ? READ_BODY_SIZE : READ_SIZE;
    if (c->ssl) {
        read_tls(c, dst, room);
        return;
    }
    ssize_t got = recv(c->fd, dst, room, 0);
    if (got < 0 && errno == EINTR) return;
    /* Less than asked for: the kernel has no more, and will say so when it has, except for an end it already
     * told. */
    if (got < (ssize_t)room && !(got > 0 && c->hung_up)) c->readable = false;
    if (got > 0) gr_http_conn_bytes(c, h->now_ms, gr_str_of(dst, (size_t)got));
    else if (got == 0) gr_http_conn_eof(c, h->now_ms);
    else if (errno != EAGAIN) gr_http_conn_lost(c);
}

/* Bytes taken by the socket, 0 when it takes no more now, -1 when it is broken. */
static ssize_t send_pieces(gr_http_conn *c, struct iovec *iov, int count)
{
    if (c->ssl) {
        int sent = gr_http_tls_write(c->ssl, iov[0].iov_base, iov[0].iov_len);
        if (sent > 0) return sent;
        if (sent == GR_HTTP_TLS_AGAIN || sent == GR_HTTP_TLS_AGAIN_WRITE) c->writable = false;
        return c->writable ? -1 : 0;
    }
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EINTR) return 0;
    if (errno == EAGAIN) c->writable = false;
    return c->writable ? -1 : 0;
}

/* Writes what there is. True when it stopped for fairness with more to do. */
static bool flush(gr_http_conn *c)
{
    gr_http *h = c->http;
    struct iovec iov[2];
    for (int i = 0; c->writable; i++) {
        if (i == PIECES_MAX) return true;
        int count = gr_http_conn_out(c, h->now_ms, iov);
        if (count == 0) break;
        ssize_t sent = send_pieces(c, iov, count);
        if (sent < 0) gr_http_conn_lost(c);
        else if (sent > 0) gr_http_conn_wrote(c, h->now_ms, (size_t)sent);
    }
    if (gr_http_conn_closing(c) && !c->shut) {
        if (c->ssl) gr_http_tls_say_end(c->ssl);
        shutdown(c->fd, SHUT_WR);
        c->shut = true;
    }
    return false;
}

static void serve(gr_http_conn *c)
{
    bool more = flush(c);
    for (int i = 0; c->readable && gr_http_conn_wants_bytes(c); i++) {
        if (i == ROUNDS_MAX) {
            more = true;
            break;
        }
        read_some(c);
        more |= flush(c);
    }
    if (gr_http_conn_done(c)) close_conn(c);
    else if (more) gr_http_touch(c);
}

/* Those marked when it begins; what gets marked meanwhile waits for the next turn of the loop. */
static void serve_dirty(gr_http *h)
{
    const gr_http_conn *last = h->dirty_last;
    for (gr_http_conn *c; (c = gr_http_next_dirty(h));) {
        bool end = c == last;
        serve(c);
        if (end) return;
    }
}

/* --- the loop ------------------------------------------------------------------------------------------- */
static void conn_event(gr_http_conn *c, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP)) c->readable = true;
    if (events & EPOLLRDHUP) c->hung_up = true;
    if (events & EPOLLOUT) {
        c->writable = true;
        if (c->ssl) c->readable = true;                        /* a handshake may have waited for this */
    }
    if (events & (EPOLLERR | EPOLLHUP)) gr_http_conn_lost(c);
    gr_http_touch(c);
}

static void loop_event(gr_http *h, const struct epoll_event *event)
{
    gr_http_loop *loop = h->loop;
    void *tag = event->data.ptr;
    if (tag == &loop->wake_fd) {
        uint64_t times;
        if (read(loop->wake_fd, &times, sizeof times) < 0) return;
    } else if (tag == &loop->watch_fd) {
        loop->watch_seen(loop->watch_ctx);
    } else if (tag >= (void *)loop->listeners && tag < (void *)(loop->listeners + LISTENERS_MAX)) {
        if (((listener *)tag)->fd >= 0) accept_some(h, tag);
    } else {
        conn_event(tag, event->events);
    }
}

static int wait_time(const gr_http *h, int wait_ms)
{
    uint64_t due = gr_http_next_due(h);
    if (h->loop->accept_again_ms && h->loop->accept_again_ms < due) due = h->loop->accept_again_ms;
    if (gr_http_any_dirty(h) || due <= h->now_ms) return 0;
    return due - h->now_ms < (uint64_t)wait_ms ? (int)(due - h->now_ms) : wait_ms;
}

int gr_http_step(gr_http *h, uint64_t now_ms, int wait_ms)
{
    gr_http_loop *loop = loop_of(h);
    struct epoll_event events[EVENTS_MAX];
    gr_http_run(h, now_ms);
    gr_http_set_date(h, (int64_t)(gr_clock_ms(CLOCK_REALTIME_COARSE) / 1000));
    accept_again(h);
    serve_dirty(h);
    uint64_t before = gr_clock_ms(CLOCK_MONOTONIC);
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, wait_time(h, wait_ms));
    /* What came is of the time after the wait, which the caller could not know. */
    gr_http_run(h, now_ms + (gr_clock_ms(CLOCK_MONOTONIC) - before));
    for (int i = 0; i < count; i++) loop_event(h, &events[i]);
    serve_dirty(h);
    return count > 0 ? count : 0;
}

void gr_http_watch(gr_http *h, int fd, void (*seen)(void *), void *watch_ctx)
{
    gr_http_loop *loop = loop_of(h);
    gr_assert(loop->watch_fd < 0);
    loop->watch_fd = fd;
    loop->watch_seen = seen;
    loop->watch_ctx = watch_ctx;
    poll_add(loop, fd, EPOLLIN, &loop->watch_fd);
}

/* The loop must exist: whoever wakes from another thread has it made by gr_http_listen, gr_http_watch or a
 * step. */
void gr_http_wake(gr_http *h)
{
    gr_assert(h->loop);
    uint64_t one = 1;
    if (write(h->loop->wake_fd, &one, sizeof one) < 0) return;      /* full: a wake is already due */
}

void gr_http_stop(gr_http *h)
{
    for (int i = 0; h->loop && i < h->loop->listener_count; i++) {
        listener *l = &h->loop->listeners[i];
        if (l->fd >= 0) close(l->fd);
        l->fd = -1;
        l->paused = false;
    }
    gr_http_stop_conns(h);
}

void gr_http_loop_free(gr_http *h)
{
    gr_http_loop *loop = h->loop;
    gr_http_stop(h);
    for (uint32_t i = 0; i < h->slot_count; i++)
        if (h->slots[i]) close_conn(h->slots[i]);
    close(loop->epoll_fd);
    close(loop->wake_fd);
    free(loop);
    h->loop = NULL;
}
