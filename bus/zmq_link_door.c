/* zmq_link_door.c - who connects to this node and never speaks as a node does: bytes of another protocol, half a handshake,
 * or nothing until the time for it is over. ZeroMQ drops them; here they are counted and named in the log. Who has a key that
 * nobody in the map has is told of by ZAP (zmq_link_socket.c). */
#include "bus/zmq_link_inside.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#define DOOR "inproc://door"

gr_err gr_zmq_link_door_open(gr_zmq_link *l)
{
    int events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED
                 | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
                 | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor(l->pull, DOOR, events) == 0) l->door = gr_zmq_link_monitor(l, DOOR);
    return l->door ? gr_ok() : gr_fail(GR_UNAVAILABLE, "can't open a socket of the bus; raise the limit of open files");
}

void gr_zmq_link_door_close(gr_zmq_link *l)
{
    if (l->pull) zmq_socket_monitor(l->pull, NULL, 0);
    if (l->door) zmq_close(l->door);
}

/* Who is at the other end, unless it is gone already and its descriptor is another's by now. */
static void look_out(const gr_zmq_link *l, int fd, char from[GR_ZMQ_FROM_MAX])
{
    struct sockaddr_storage peer, own;
    socklen_t size = sizeof peer, own_size = sizeof own;
    snprintf(from, GR_ZMQ_FROM_MAX, "a stranger");
    if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 || getsockname(fd, (struct sockaddr *)&own, &own_size) != 0)
        return;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer, *own4 = (const struct sockaddr_in *)&own;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer, *own6 = (const struct sockaddr_in6 *)&own;
    if (peer.ss_family == AF_INET && ntohs(own4->sin_port) == l->port)
        inet_ntop(AF_INET, &v4->sin_addr, from, GR_ZMQ_FROM_MAX);
    if (peer.ss_family == AF_INET6 && ntohs(own6->sin6_port) == l->port)
        inet_ntop(AF_INET6, &v6->sin6_addr, from, GR_ZMQ_FROM_MAX);
    if (strncmp(from, "::ffff:", 7) == 0) memmove(from, from + 7, strlen(from + 7) + 1);
}

static gr_zmq_knock *knock_of(gr_zmq_link *l, int fd)
{
    for (size_t i = 0; i < GR_ZMQ_KNOCKS; i++)
        if (l->knocks[i].is_open && l->knocks[i].fd == fd) return &l->knocks[i];
    return NULL;
}

static void on_accepted(gr_zmq_link *l, int fd)
{
    gr_zmq_knock *k = knock_of(l, fd);
    if (!k) k = &l->knocks[l->knock_next++ % GR_ZMQ_KNOCKS];
    *k = (gr_zmq_knock){.is_open = true, .fd = fd, .welcomed = l->welcomed};
    look_out(l, fd, k->from);
}

/* Surely nobody of ours: its handshake failed, or none at all was completed as long as it was there. */
static void on_gone(gr_zmq_link *l, int fd)
{
    gr_zmq_knock *k = knock_of(l, fd);
    bool is_stranger = l->has_failed || (k && k->welcomed == l->welcomed && !l->is_turned_away);
    l->has_failed = l->is_turned_away = false;
    if (is_stranger) {
        atomic_fetch_add(&l->refused, 1);
        gr_zmq_link_complain(l, "dropped a connection from %s: it does not speak as nodes do", k ? k->from : "a stranger");
    }
    if (k) k->is_open = false;
}

/* ZeroMQ tells that a handshake failed right before it tells that the connection is gone. */
void gr_zmq_link_door_watch(gr_zmq_link *l)
{
    uint16_t event = 0;
    int value = 0;
    while (gr_zmq_link_event(l->door, &event, &value)) {
        if (event == ZMQ_EVENT_ACCEPTED) on_accepted(l, value);
        else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) l->welcomed++;
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) l->is_turned_away = true;
        else if (event == ZMQ_EVENT_DISCONNECTED) on_gone(l, value);
        else l->has_failed = true;
    }
}
