/* zmq_link_socket.c - the sockets between nodes, what happens to their connections, and who may connect: ZAP
 * (ZeroMQ RFC 27) against the keys of the cluster map. See zmq_link_inside.h. */
#include "bus/zmq_link_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    HEARTBEAT_MS = 1000,
    HEARTBEAT_TIMEOUT_MS = 3000,
    HANDSHAKE_MS = 5000,
    CONNECT_MS = 3000,
    RECONNECT_MS = 100,
    RECONNECT_MAX_MS = 2000,
    IN_HIGH_WATER = 256,     /* frames; TCP holds back the sender then */
    PROBE_MS = 1500,
    COMPLAIN_MS = 1000,
    ZAP_FRAMES = 7
};

#define ZAP_DOMAIN "cluster"

static void set_int(void *s, int option, int value) { zmq_setsockopt(s, option, &value, sizeof value); }

void gr_zmq_link_complain(gr_zmq_link *l, const char *format, ...)
{
    char text[512];
    uint64_t now = gr_zmq_link_now_ms();
    if (l->complained_ms && now - l->complained_ms < COMPLAIN_MS) {
        l->held_back++;
        return;
    }
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (l->held_back && size > 0 && (size_t)size < sizeof text)
        snprintf(text + size, sizeof text - (size_t)size, " (and %llu more like this)",
                 (unsigned long long)l->held_back);
    l->complained_ms = now;
    l->held_back = 0;
    if (l->o.log) l->o.log(l->o.log_arg, true, text);
}

/* --- sockets --- */
static void *tcp_socket(const gr_zmq_link *l, int kind)
{
    void *s = zmq_socket(l->t->context, kind);
    if (!s) return NULL;
    int out = (int)(l->o.window_bytes / GR_ZMQ_FRAME_WEIGHT) + 1024;
    set_int(s, ZMQ_LINGER, 0);
    set_int(s, ZMQ_IMMEDIATE, 1);
    set_int(s, ZMQ_SNDHWM, out); /* never reached: the window is full before */
    set_int(s, ZMQ_RCVHWM, IN_HIGH_WATER);
    set_int(s, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    set_int(s, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS);
    set_int(s, ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS);
    set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set_int(s, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    set_int(s, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    set_int(s, ZMQ_IPV6, 1);
    int64_t largest = GR_NODE_FRAME_HEADER + GR_NODE_FRAME_BODY_MAX;
    zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    return s;
}

static void *push_socket(const gr_zmq_link *l, const gr_cluster_node *to, const char *monitor)
{
    void *s = tcp_socket(l, ZMQ_PUSH);
    const uint8_t *public_key = l->o.cluster->nodes[l->self.index].public_key;
    char name[GR_CLUSTER_ADDRESS_MAX + 8];
    if (!s) return NULL;
    snprintf(name, sizeof name, "tcp://%s", to->address);
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
                 | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_DISCONNECTED
                 | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_CLOSED;
    bool good = zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, to->public_key, GR_CLUSTER_KEY_SIZE) == 0
                && zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, public_key, GR_CLUSTER_KEY_SIZE) == 0
                && zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, l->secret, GR_CLUSTER_KEY_SIZE) == 0
                && zmq_socket_monitor(s, monitor, events) == 0 && zmq_connect(s, name) == 0;
    if (good) return s;
    zmq_close(s);
    return NULL;
}

void *gr_zmq_link_monitor(const gr_zmq_link *l, const char *name)
{
    void *s = zmq_socket(l->t->context, ZMQ_PAIR);
    if (!s) return NULL;
    set_int(s, ZMQ_LINGER, 0);
    if (zmq_connect(s, name) == 0) return s;
    zmq_close(s);
    return NULL;
}

void gr_zmq_link_disconnect(gr_zmq_peer_link *p)
{
    if (p->push) {
        zmq_socket_monitor(p->push, NULL, 0);
        zmq_close(p->push);
    }
    if (p->monitor) zmq_close(p->monitor);
    p->push = p->monitor = NULL;
    p->is_connected = false;
}

void gr_zmq_link_reconnect(gr_zmq_link *l, gr_zmq_peer_link *p)
{
    char name[64];
    gr_zmq_link_disconnect(p);
    snprintf(name, sizeof name, "inproc://watch.%u.%llu", p->link.index, (unsigned long long)++p->openings);
    p->push = push_socket(l, &l->o.cluster->nodes[p->link.index], name);
    if (p->push) p->monitor = gr_zmq_link_monitor(l, name);
}

/* --- events of connections --- */
bool gr_zmq_link_event(void *monitor, uint16_t *event, int *value)
{
    zmq_msg_t message;
    zmq_msg_init(&message);
    bool is_there = monitor && zmq_msg_recv(&message, monitor, ZMQ_DONTWAIT) >= 0;
    if (is_there && zmq_msg_size(&message) >= 6) {
        int32_t number;
        memcpy(event, zmq_msg_data(&message), sizeof *event);
        memcpy(&number, (char *)zmq_msg_data(&message) + sizeof *event, sizeof number);
        *value = number;
    }
    while (is_there && zmq_msg_more(&message)) {
        zmq_msg_close(&message);
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, monitor, ZMQ_DONTWAIT) < 0) break;
    }
    zmq_msg_close(&message);
    return is_there;
}

void gr_zmq_link_watch(gr_zmq_link *l, gr_zmq_peer_link *p)
{
    uint16_t event = 0;
    int value = 0;
    while (gr_zmq_link_event(p->monitor, &event, &value)) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            p->is_connected = true;
            gr_zmq_link_hello(l, p);
        }
        if (event == ZMQ_EVENT_DISCONNECTED) gr_zmq_link_broken(l, p, "the connection was lost");
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
            gr_zmq_link_unconnected(l, p, "it refuses this node's key: its cluster file has another one, or has it revoked");
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL || event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
            gr_zmq_link_unconnected(l, p, "the handshake failed: who answers there has not the key of the cluster file");
        if (event == ZMQ_EVENT_CONNECT_RETRIED)
            gr_zmq_link_unconnected(l, p, "nobody answers at its address");
    }
}

/* --- the own address --- */
/* Does somebody answer there who has our key? */
static bool is_taken(gr_zmq_link *l)
{
    bool is_ours = false, is_decided = false;
    void *push = push_socket(l, &l->o.cluster->nodes[l->self.index], "inproc://probe");
    void *monitor = push ? gr_zmq_link_monitor(l, "inproc://probe") : NULL;
    uint64_t until = gr_zmq_link_now_ms() + PROBE_MS;
    while (monitor && !is_decided && gr_zmq_link_now_ms() < until) {
        uint16_t event = 0;
        int value = 0;
        zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 50);
        while (!is_decided && gr_zmq_link_event(monitor, &event, &value)) {
            is_ours = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
            is_decided = is_ours || event == ZMQ_EVENT_CONNECT_RETRIED || event == ZMQ_EVENT_CLOSED
                         || event == ZMQ_EVENT_DISCONNECTED;
        }
    }
    if (push) {
        zmq_socket_monitor(push, NULL, 0);
        zmq_close(push);
    }
    if (monitor) zmq_close(monitor);
    return is_ours;
}

gr_err gr_zmq_link_bind(gr_zmq_link *l, gr_arena *a)
{
    const gr_cluster_node *own = &l->o.cluster->nodes[l->self.index];
    const char *bind = l->o.bind ? l->o.bind : own->address;
    if (!zmq_has("curve")) return gr_fail(GR_UNAVAILABLE, "this libzmq was built without CURVE; install one with it");
    if (is_taken(l))
        return gr_failf(a, GR_UNAVAILABLE, "node %s runs already: a process with its key answers at %s", own->name,
                        own->address);
    l->zap = zmq_socket(l->t->context, ZMQ_REP);
    if (l->zap) set_int(l->zap, ZMQ_LINGER, 0);
    l->pull = tcp_socket(l, ZMQ_PULL);
    gr_str name = gr_arena_printf(a, "tcp://%s", bind);
    if (!l->zap || !l->pull || zmq_bind(l->zap, "inproc://zeromq.zap.01") != 0)
        return gr_fail(GR_UNAVAILABLE, "can't open a socket of the bus; raise the limit of open files");
    set_int(l->pull, ZMQ_CURVE_SERVER, 1);
    zmq_setsockopt(l->pull, ZMQ_CURVE_SECRETKEY, l->secret, GR_CLUSTER_KEY_SIZE);
    zmq_setsockopt(l->pull, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN));
    gr_err err = gr_zmq_link_door_open(l);
    if (gr_failed(err)) return err;
    uint64_t port = 0;
    if (gr_str_u64(gr_str_c(strrchr(bind, ':') + 1), &port)) l->port = (unsigned)port;
    if (zmq_bind(l->pull, name.ptr) == 0) return gr_ok();
    return gr_failf(a, GR_UNAVAILABLE, "node %s can't listen at %s: %s", own->name, bind, zmq_strerror(zmq_errno()));
}

/* --- who may connect --- */
typedef struct {
    char text[160];
    size_t size;
} zap_part;

static void reply(gr_zmq_link *l, const zap_part *id, const char *code, const char *text, const char *user)
{
    zmq_send(l->zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(l->zap, id->text, id->size, ZMQ_SNDMORE);
    zmq_send(l->zap, code, 3, ZMQ_SNDMORE);
    zmq_send(l->zap, text, strlen(text), ZMQ_SNDMORE);
    zmq_send(l->zap, user, strlen(user), ZMQ_SNDMORE);
    zmq_send(l->zap, "", 0, 0);
}

/* version, request id, domain, address, identity, mechanism, credentials */
static void decide(gr_zmq_link *l, const zap_part part[ZAP_FRAMES], int parts)
{
    bool is_curve = parts == ZAP_FRAMES && strcmp(part[5].text, "CURVE") == 0 && part[6].size == GR_CLUSTER_KEY_SIZE
                    && strcmp(part[2].text, ZAP_DOMAIN) == 0;
    int node = is_curve ? gr_cluster_find_key(l->o.cluster, (const uint8_t *)part[6].text) : -1;
    const char *name = node >= 0 ? l->o.cluster->nodes[node].name : "";
    bool is_revoked = node >= 0 && l->o.cluster->nodes[node].is_revoked;
    /* An IPv4 address as people write it. */
    const char *from = part[3].text + (strncmp(part[3].text, "::ffff:", 7) == 0 ? 7 : 0);
    if (node >= 0 && !is_revoked) {
        if ((unsigned)node == l->self.index)
            gr_zmq_link_complain(l, "a second process with the key of this node connected from %s", from);
        reply(l, &part[1], "200", "OK", name);
        return;
    }
    atomic_fetch_add(&l->refused, 1);
    if (is_revoked) {
        gr_zmq_link_complain(l, "refused a connection from %s: the key of node %s is revoked", from, name);
    } else if (is_curve) {
        char key[GR_CLUSTER_KEY_TEXT];
        gr_cluster_key_print((const uint8_t *)part[6].text, key);
        gr_zmq_link_complain(l, "refused a connection from %s: its key %s is in no entry of the cluster file", from,
                             key);
    } else {
        gr_zmq_link_complain(l, "refused a connection from %s: it has no key", from);
    }
    reply(l, &part[1], "400", "unknown key", "");
}

void gr_zmq_link_admit(gr_zmq_link *l)
{
    for (;;) {
        zap_part part[ZAP_FRAMES] = {0};
        int count = 0;
        bool has_more = true;
        while (has_more) {
            zmq_msg_t message;
            zmq_msg_init(&message);
            if (zmq_msg_recv(&message, l->zap, ZMQ_DONTWAIT) < 0) {
                zmq_msg_close(&message);
                return;
            }
            has_more = zmq_msg_more(&message);
            if (count < ZAP_FRAMES && zmq_msg_size(&message) < sizeof part->text) {
                memcpy(part[count].text, zmq_msg_data(&message), zmq_msg_size(&message));
                part[count].size = zmq_msg_size(&message);
            }
            count++;
            zmq_msg_close(&message);
        }
        decide(l, part, count);
    }
}

/* --- for people --- */
static void fill(const gr_zmq_link *l, const gr_zmq_peer_link *p, uint64_t now, gr_zmq_peer *out)
{
    const gr_cluster_node *node = &l->o.cluster->nodes[p->link.index];
    const gr_link *s = &p->shown;
    *out = (gr_zmq_peer){.state = s->state,
                         .is_revoked = node->is_revoked,
                         .since_ms = now - s->since_ms,
                         .heard_ms = s->heard_ms ? now - s->heard_ms : UINT64_MAX,
                         .queue_bytes = atomic_load(&p->queued) - atomic_load(&p->done),
                         .frames_out = p->shown_n.frames_out,
                         .frames_in = p->shown_n.frames_in,
                         .bytes_out = p->shown_n.bytes_out,
                         .bytes_in = p->shown_n.bytes_in,
                         .full = atomic_load(&p->full),
                         .lost = p->shown_n.lost,
                         .bad = p->shown_n.bad,
                         .rtt_us = s->rtt_us,
                         .clock_offset_us = s->clock_offset_us,
                         .generation = s->their_generation,
                         .level_low = s->their_level_low,
                         .level_high = s->their_level_high,
                         .level = s->their_level};
    memcpy(out->name, node->name, sizeof out->name);
    memcpy(out->address, node->address, sizeof out->address);
    snprintf(out->why, sizeof out->why, "%s", node->is_revoked ? "it is revoked" : s->why);
}

size_t gr_zmq_transport_peers(gr_transport *base, gr_zmq_peer *out, size_t limit)
{
    gr_zmq_link *l = ((gr_zmq_transport *)base)->link;
    uint64_t now = gr_zmq_link_now_ms();
    size_t count = 0;
    if (!l) return 0;
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->o.cluster->node_count && count < limit; i++)
        if (i != l->self.index) fill(l, &l->peers[i], now, &out[count++]);
    pthread_mutex_unlock(&l->lock);
    return count;
}

void gr_zmq_transport_strangers(gr_transport *base, uint64_t *refused, uint64_t *bad_frames)
{
    gr_zmq_link *l = ((gr_zmq_transport *)base)->link;
    *refused = l ? atomic_load(&l->refused) : 0;
    *bad_frames = l ? atomic_load(&l->bad_frames) : 0;
}
