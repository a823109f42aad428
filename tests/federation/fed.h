/* fed.h - five whole servers that federate: real edges, actors, runtime and persistence, over a virtual clock.
 *
 * Each server is a simulated cluster of its own (bus/sim.h), and on each of its nodes that is up a real edge is fed bytes
 * instead of sockets.  What an actor asks of another server goes there as an HTTP request, through the routes, signature checks
 * and keys of that server; people use the client-server API the same way.  Time goes from one thing that is to be done to the
 * next, so that days cost what is done in them.
 *
 *   world.c    the clock: who is to be stepped when; crashes
 *   server.c   one server: opening, a step, its edges
 *   wire.c     requests on their way, and what may happen to them: cuts, lost requests and answers
 *   watch.c    what transactions brought, and that nothing acknowledged comes again
 *   people.c   users of all servers: they talk, change rooms, come and go, and send to-device messages
 *   check.c    in the end: do all servers agree, and has or finds each of them every event?
 *   federate.c seeds, and the order of things that go wrong
 */
#pragma once
#include "bus/sim.h"
#include "edge/edge.h"
#include "tests/text.h"

enum {
    FED_SERVERS = 5, FED_NODES_MAX = 2,
    FED_USERS = 2 * FED_SERVERS,       /* user i is of server i % FED_SERVERS; the first of each may change rooms */
    FED_ROOMS = 4,                     /* room i is made by user i */
    FED_SAID_MAX = 8192, FED_ID_MAX = 64
};

typedef struct fed fed;
typedef struct fed_request fed_request;
typedef struct fed_seen fed_seen;

typedef struct {
    fed *fed;
    char name[16];
    gr_sim *sim;
    unsigned index, nodes;
    gr_config config;
    gr_env env;
    gr_signer signer;
    const char *notaries[FED_SERVERS];
    gr_edge *edges[FED_NODES_MAX];     /* NULL: the node is down */
    uint64_t edge_ms[FED_NODES_MAX];   /* when it has something to do again */
    uint64_t up_ms[FED_NODES_MAX];     /* when a node that is down starts again */
} fed_server;

/* A user does one thing at a time, and asks again until there is an answer to rely on. */
typedef enum { FED_SAY, FED_TOPIC, FED_JOIN, FED_LEAVE, FED_DIRECT } fed_act;
typedef struct {
    char id[32], token[128];
    unsigned server;
    bool is_in[FED_ROOMS];
    bool is_busy;
    fed_act act;
    unsigned number, room, to;         /* of the act; to: another user */
    uint64_t request, next_ms;         /* request: 0: none is under way; then the next try, or the next act, is at next_ms */
    unsigned direct_sent[FED_USERS], direct_seen[FED_USERS];
} fed_user;

typedef struct { unsigned room, server; char id[FED_ID_MAX]; } fed_said;

typedef struct {
    uint64_t requests, lost, cut, transactions, repeated, events, caught_up, said, moves, directs, refused, fetched;
    uint64_t crashes, crashed_in[4];   /* by state of a destination (gr_destination_state) */
} fed_counts;

struct fed {
    uint64_t seed, random, now_ms;
    gr_arena *arena, *turn;            /* of the run; of a step */
    fed_server servers[FED_SERVERS];
    fed_user users[FED_USERS];
    char rooms[FED_ROOMS][FED_ID_MAX];
    fed_request *requests;
    uint64_t next_request;
    uint64_t cut_until_ms[FED_SERVERS][FED_SERVERS];   /* connections from the first to the second can't be made */
    bool faults;                       /* requests and answers may be lost */
    uint64_t act_every_ms;             /* fed_people_act */
    bool crashes;                      /* servers crash while they send transactions */
    int crash_next;                    /* which is to, after this step; -1: none */
    fed_seen *seen;                    /* watch.c's */
    fed_said *said;
    size_t said_count;
    fed_counts n;
    void (*log)(const gr_log_record *, const fed_server *);
    char problem[512];                 /* the first thing found wrong; empty: none */
};

void fed_problem(fed *, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t fed_random(fed *);
bool fed_chance(fed *, unsigned one_in);

/* --- world.c --- */
typedef struct { uint64_t seed; void (*log)(const gr_log_record *, const fed_server *); } fed_options;
fed *fed_new(const fed_options *);
void fed_free(fed **);
void fed_step(fed *, uint64_t until_ms);       /* to the next thing that is to be done, but not past that */
void fed_run(fed *, uint64_t ms);
/* It is down for so long; counted by the states of its destinations. */
void fed_crash(fed *, unsigned server, unsigned node, uint64_t ms);
void fed_cut(fed *, unsigned from, unsigned to, uint64_t ms);
void fed_heal(fed *);                          /* no cuts, no faults, all are up */
uint64_t fed_hash(const fed *);                /* of every message handled by any server */

/* --- server.c --- */
void fed_server_open(fed *, unsigned index);
void fed_server_close(fed_server *);
uint64_t fed_server_next_ms(fed_server *);
void fed_server_step(fed_server *);            /* to the time of the fed */
void fed_server_crash(fed_server *, unsigned node, uint64_t ms);
/* Crashes it, and takes the chain covers of its rooms away, as an older version left them that made none. */
void fed_server_uncover(fed_server *);
/* Asks an actor, and waits; NULL: another answer than the wanted one, or none, with the reason in err. */
const void *fed_ask(fed *, unsigned server, gr_str to, const gr_type *, const void *body, uint64_t timeout_ms,
                    const gr_type *want, gr_err *);
/* A destination's line for `greenroom destinations`, or NULL when it could not be asked. */
const gr_json *fed_destination(fed *, unsigned server, unsigned other);

/* --- wire.c --- */
gr_sim_remote_fn fed_fetch;                    /* arg: the fed */
/* A request of a client, to any node that is up: its number.  fed_answer: true when it is over; status 0: no answer came. */
uint64_t fed_client(fed *, unsigned server, const char *token, const char *method, gr_str uri, gr_str body);
bool fed_answer(fed *, uint64_t number, unsigned *status, const gr_json **body);
uint64_t fed_wire_next_ms(const fed *);
void fed_wire_step(fed *);
void fed_wire_take(fed *, gr_edge *);          /* what it has to say to its connections */
void fed_wire_gone(fed *, gr_edge *);                          /* it ends: so do its connections */
void fed_wire_free(fed *);

/* --- watch.c --- */
char fed_watch_way(gr_str uri);                /* of a transaction: 'e' the queue, 'u' catching up, 'd' EDUs; else 0 */
void fed_watch_sent(fed *, unsigned from, unsigned to, gr_str uri, gr_str content);
void fed_watch_acknowledged(fed *, unsigned from, unsigned to, gr_str uri, gr_str content);
void fed_watch_free(fed *);

/* --- people.c --- */
void fed_people_open(fed *);                   /* without faults: accounts, rooms, and who is in them from the beginning */
uint64_t fed_people_next_ms(const fed *);
void fed_people_step(fed *);
void fed_people_act(fed *, uint64_t every_ms); /* each does something so often from now on; 0: not at all */
bool fed_people_quiet(const fed *);
/* Asks until there is an answer that is not about being busy; the body lies in the arena of the run. */
const gr_json *fed_call(fed *, const fed_user *, const char *method, gr_str uri, gr_str body, unsigned *status);
/* A user of that server who is in the room; NULL: there is none. */
const fed_user *fed_member_of(const fed *, unsigned server, unsigned room);
gr_str fed_room_uri(fed *, unsigned room, const char *rest);
/* Every user who is in a room says one thing there, and that is answered. */
void fed_all_say_something(fed *);

/* --- check.c: fed_check ends with the servers down --- */
gr_str fed_behind(fed *);                      /* a destination for which something waits; empty: there is none */
void fed_check(fed *);
