/* edge.h - one edge thread: its HTTP server, its port to the bus, and what it remembers between requests.
 *
 * Requests become calls (call.h), calls ask actors, answers go back.  Driven by gr_edge_step from one thread; several edge
 * threads listen on the same addresses and share nothing but what is read-only.
 */
#pragma once
#include "edge/appservice.h"
#include "edge/call.h"
#include "edge/config.h"
#include "edge/key_cache.h"
#include "edge/recent_rooms.h"
#include "edge/rate.h"
#include "edge/told_rooms.h"
#include "edge/token_cache.h"

#include "actors/env.h"
#include "bus/clock.h"
#include "bus/node.h"

enum {
    GR_EDGE_LATENCY_BUCKETS = 12, GR_EDGE_BODY_MAX = 1 << 20,
    GR_EDGE_OWN_WAYS = 3, GR_EDGE_WAYS = GR_EDGE_OWN_WAYS + GR_CONFIG_PROVIDERS_MAX, GR_EDGE_REFUSALS = 3
};
/* Upper bounds of the latency histogram, in milliseconds; the last is open. */
extern const unsigned gr_edge_latency_ms[GR_EDGE_LATENCY_BUCKETS - 1];

typedef struct {
    uint64_t requests, by_status[6], refused_rate, refused_credit, refused_disk;
    uint64_t latency[GR_EDGE_LATENCY_BUCKETS], latency_sum_ms;
    /* Of users, by who vouched for them, and login tokens by why they let nobody in: auth_count.h. */
    uint64_t logins[GR_EDGE_WAYS], registrations[GR_EDGE_WAYS], login_tokens_refused[GR_EDGE_REFUSALS];
} gr_edge_counters;

/* When somebody's presence heard last that they did something: by a hash, of whoever came last of those that have it. */
enum { GR_EDGE_ACTED = 1024 };
typedef struct { uint64_t user, told_ms; } gr_edge_acted;

/* Which listener a request came in by (gr_http_listener.door). */
typedef enum { GR_EDGE_CLIENT, GR_EDGE_FEDERATION, GR_EDGE_DOORS } gr_edge_door;
typedef struct {
    const gr_call_route *const *routes;
    gr_route *table;                   /* what the tree was made of */
    gr_route_tree *tree;
} gr_edge_entrance;

typedef struct {
    const gr_config *config;
    const gr_env *env;
    gr_node *node;                     /* NULL: a simulation, which gives the port, and drives it by gr_edge_turn */
    gr_port *(*open_port)(void *arg, const gr_port_handler *);
    void *open_port_arg;
    gr_clock *clock;                   /* of the thread that will step it; outlives */
    unsigned index;                    /* of this edge thread */
    const unsigned char *openid_key;   /* 32 bytes that prove an OpenID token to be ours; the same on all nodes */
    const gr_appservices *appservices; /* may be NULL */
} gr_edge_options;

struct gr_edge {
    const gr_config *config;
    const gr_env *env;
    const unsigned char *openid_key;
    const gr_appservices *appservices;
    gr_http *http;
    gr_port *port;
    gr_edge_entrance entrances[GR_EDGE_DOORS];
    gr_token_cache *tokens;
    gr_lru *keys;
    gr_lru *recent_rooms;              /* of other servers: recent_rooms.h */
    gr_lru *told_rooms;                /* what other servers told of rooms: told_rooms.h */
    gr_rates *rates;
    gr_call *calls;                    /* by HTTP id */
    struct gr_call_pending *asks;          /* by number of the ask */
    struct gr_call_pending *refused;       /* asks that the bus did not take: told in the next step */
    gr_call *finished;                 /* to be freed at the end of the step */
    gr_clock *clock;                   /* of the thread; NULL: now_ms stands (tests) */
    uint64_t now_ms;                   /* by it */
    bool disk_low, stopping;
    gr_edge_counters counters;
    gr_edge_acted acted[GR_EDGE_ACTED];
};

GR_MUST_USE gr_err gr_edge_new(gr_arena *, const gr_edge_options *, gr_edge **);
void gr_edge_free(gr_edge **);
/* One turn: HTTP and bus, at most wait_ms long. mono_ms: monotonic, for deadlines. */
void gr_edge_step(gr_edge *, uint64_t mono_ms, int wait_ms);
/* The same without sockets and waiting, for who feeds its connections with bytes (http_conn.h); *next_ms: when it has something
 * to do again, unless something comes. */
void gr_edge_turn(gr_edge *, uint64_t now_ms, uint64_t *next_ms);
/* A request came after a wait, however long that was: the process may have been stopped meanwhile, and leases run out. */
void gr_edge_look_at_clock(gr_edge *);
/* Answers parked polls, takes no new connections. */
void gr_edge_stop(gr_edge *);
bool gr_edge_idle(const gr_edge *);    /* no call is being served */

