/* zmq_link_inside.h - what zmq_link.c (the thread and its frames), zmq_link_socket.c (sockets and who may
 * connect) and zmq_link_door.c (who connects in vain) share. All of it belongs to the link thread, but for what is atomic or
 * under the lock. */
#pragma once
#include "bus/zmq_inside.h"

#include <pthread.h>

/* A frame counts for at least so many bytes of the window. */
enum { GR_ZMQ_FRAME_WEIGHT = 256, GR_ZMQ_KNOCKS = 64, GR_ZMQ_FROM_MAX = 64 };

/* A connection to our socket. */
typedef struct {
    bool is_open;
    int fd;
    uint64_t welcomed;               /* handshakes that had been completed when it came */
    char from[GR_ZMQ_FROM_MAX];
} gr_zmq_knock;

typedef struct {
    uint64_t frames_out, frames_in, bytes_out, bytes_in, lost, bad;
} gr_zmq_link_counts;

typedef struct {
    gr_link link;
    void *push, *monitor;            /* NULL: the own node, or a revoked one */
    uint64_t openings;
    bool is_connected;               /* the handshake of the PUSH socket was done */
    char logged[GR_LINK_WHY_MAX];    /* the newest `why` in the log */
    gr_zmq_link_counts n;
    _Alignas(64) _Atomic uint32_t changes;
    _Atomic uint64_t queued, done, full; /* bytes taken, bytes confirmed or lost */
    gr_link shown;                   /* under the lock */
    gr_zmq_link_counts shown_n;
} gr_zmq_peer_link;

struct gr_zmq_link {
    gr_zmq_link_options o;
    uint8_t secret[GR_CLUSTER_KEY_SIZE];
    gr_zmq_transport *t;
    gr_zmq_endpoint *own;
    int own_fd;
    gr_link_self self;
    void *pull, *zap, *door;         /* door: the monitor of pull */
    unsigned port;                   /* that pull is bound to */
    gr_zmq_knock knocks[GR_ZMQ_KNOCKS];
    uint64_t knock_next, welcomed;
    bool has_failed, is_turned_away; /* the handshake of the connection that ends next */
    gr_arena *arena;                 /* of one frame */
    gr_buf *in;                      /* for each local endpoint */
    uint64_t tick_ms, complained_ms, held_back;
    gr_zmq_peer_link peers[GR_CLUSTER_NODES_MAX];
    _Atomic uint64_t refused, bad_frames;
    atomic_bool is_stopping;
    bool is_running;
    pthread_t thread;
    pthread_mutex_t lock;
};

uint64_t gr_zmq_link_now_ms(void);
void gr_zmq_link_show(gr_zmq_link *, gr_zmq_peer_link *);
void gr_zmq_link_hello(gr_zmq_link *, gr_zmq_peer_link *);
void gr_zmq_link_broken(gr_zmq_link *, gr_zmq_peer_link *, const char *why);
void gr_zmq_link_unconnected(gr_zmq_link *, gr_zmq_peer_link *, const char *why);

/* zmq_link_socket.c */
GR_MUST_USE gr_err gr_zmq_link_bind(gr_zmq_link *, gr_arena *);
void gr_zmq_link_reconnect(gr_zmq_link *, gr_zmq_peer_link *);  /* a new socket; what waited in the old one is gone */
void gr_zmq_link_disconnect(gr_zmq_peer_link *);
void gr_zmq_link_watch(gr_zmq_link *, gr_zmq_peer_link *);      /* what happened to the connection */
void gr_zmq_link_admit(gr_zmq_link *);                          /* answers who wants to connect */
void *gr_zmq_link_monitor(const gr_zmq_link *, const char *name);
bool gr_zmq_link_event(void *monitor, uint16_t *event, int *value); /* the next that waits */
/* A line about what strangers did: at most one in a second, the others are counted. */
void gr_zmq_link_complain(gr_zmq_link *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* zmq_link_door.c */
GR_MUST_USE gr_err gr_zmq_link_door_open(gr_zmq_link *);
void gr_zmq_link_door_close(gr_zmq_link *);
void gr_zmq_link_door_watch(gr_zmq_link *);
