/* chat.h - people chatting on a simulated cluster: clients that send, sync, log in and out, change nodes and try again.
 *
 * A client behaves as the edge and a real client together do: it repeats what it wants with its transaction id until it is
 * acknowledged, on whichever node it finds.  It moves its sync token only when an answer has come whole; rooms that gave no
 * answer meanwhile are owed to it by that token.  What it has
 * seen and what was acknowledged to it is what check.c compares with the rooms.
 *
 *   chat.c     setting up, asking, one turn of all clients
 *   reads.c    syncing
 *   writes.c   messages, receipts, to-device messages, and the comings and goings in the yard
 *   purges.c   old history and a whole room are taken away, after all was compared
 *   remotes.c  other servers, which take to-device messages
 *   tokens.c   logging in and out, and what edges remember of tokens
 *   people.c   logging in by an identity provider
 *   provider.c that provider, scripted
 */
#pragma once
#include "actors/provider/provider.h"
#include "actors/user/sync_token.h"
#include "bus/sim.h"
#include "proto/token.h"
#include "tests/text.h"

enum {
    CHAT_CLIENTS = 5,
    CHAT_REMOTES = 5,          /* other servers */
    CHAT_TXNS_MAX = 2048,      /* transactions that one of them remembers */
    CHAT_SHARED = 0,           /* the room that they are in, of which history is purged in the end */
    CHAT_ROOMS = 3,
    CHAT_YARD = 2,             /* the room that people join, leave and are kicked from */
    CHAT_NODES_MAX = 8,
    CHAT_EVENTS_MAX = 4096,
    CHAT_SENDS_MAX = 512,
    CHAT_BEHIND_MAX = 80,      /* messages that a device may miss before others wait for it: /sync gives 100 without a gap */
    CHAT_ID_MAX = 64,
    CHAT_PEOPLE = 4,           /* who log in by an identity provider */
    CHAT_TAKEN = 2, CHAT_PICKS = 3,    /* of them: whose name somebody else has, and who is asked for one in any case */
    CHAT_LOGINS_MAX = 128,     /* of each of them */
    CHAT_LOGIN_TOKEN_MS = 5 * 60 * 1000
};

typedef struct { char id[CHAT_ID_MAX]; char room[CHAT_ID_MAX]; bool is_message; } chat_event;

/* Something wanted, asked for again until there is an answer to rely on. */
typedef struct {
    bool open;
    uint64_t ask, again;       /* ask: 0: none is under way; again: tick of the next try */
} chat_errand;

typedef enum { CHAT_WAIT, CHAT_ASK, CHAT_DONE } chat_turn;

typedef enum { CHAT_LOGIN, CHAT_USE, CHAT_LOGOUT, CHAT_AFTER } chat_token_step;

typedef struct {
    chat_token_step step;
    chat_errand errand;
    unsigned number, left;     /* of the device; checks left in this step */
    bool may_be_replaced;      /* the login was asked for twice: the later one ends the token of the earlier */
    unsigned node;             /* of the check under way */
    uint64_t asked_ms;         /* by that node's clock */
    uint8_t shard;
    unsigned char hash[GR_TOKEN_HASH];
    uint64_t lease_until_ms[CHAT_NODES_MAX];   /* what each node's edge remembers, by its clock */
    unsigned lease_start[CHAT_NODES_MAX];      /* in which life of the node */
} chat_token;

typedef struct {
    char user[32];
    /* messages: one at a time */
    chat_errand send;
    unsigned number, send_room;                /* of the message being sent, from 1 */
    char acked[CHAT_SENDS_MAX][CHAT_ID_MAX];   /* event id by number; empty: not acknowledged (yet) */
    chat_errand receipt;
    unsigned receipt_room;
    char receipt_id[CHAT_ID_MAX], receipt_acked[CHAT_ROOMS][CHAT_ID_MAX];
    chat_errand direct;                        /* a to-device message */
    unsigned direct_number, direct_to, direct_sent[CHAT_CLIENTS + CHAT_REMOTES];
    chat_errand move;                          /* in the yard */
    unsigned move_number, move_action, move_target;
    chat_token token;
    /* syncing */
    unsigned node;                             /* to which it is connected */
    char since[GR_SYNC_TOKEN_MAX], next[GR_SYNC_TOKEN_MAX];
    gr_shard_set lacking;                      /* rooms of these shards are owed, or it waits without them */
    bool is_without;
    uint64_t sync_ask, part_asks[CHAT_ROOMS];
    uint64_t part_from[CHAT_ROOMS];            /* room position that was known when the part was asked for */
    bool part_is_first[CHAT_ROOMS];
    size_t parts_left;
    chat_event *seen;                          /* in the order of the streams */
    size_t seen_count, staged;                 /* staged: seen in the sync under way */
    uint64_t heard;                            /* messages among them */
    char receipt_seen[CHAT_ROOMS][CHAT_CLIENTS][CHAT_ID_MAX], receipt_staged[CHAT_ROOMS][CHAT_CLIENTS][CHAT_ID_MAX];
    unsigned direct_seen[CHAT_CLIENTS], direct_staged[CHAT_CLIENTS];   /* newest number by sender */
    char section[16], section_staged[16];      /* in which the yard was shown last */
    uint64_t syncs, repeats, owed;
} chat_client;

typedef enum {
    CHAT_SSO_IDLE, CHAT_SSO_BEGIN, CHAT_SSO_BACK, CHAT_SSO_NAME, CHAT_SSO_FINISH,
    CHAT_SSO_SPEND, CHAT_SSO_SPENT         /* the client uses its login token; it does so again */
} chat_sso_step;

enum { CHAT_SSO_UNSURE = 255 };        /* the token ran out, after a try whose answer was lost maybe */

typedef struct {
    chat_sso_step step;
    chat_errand errand;
    unsigned flows, picks;                 /* begun; names picked */
    char flow[32], nonce[64], challenge[64], sid[16];
    bool has_code;                         /* of this flow, not exchanged yet */
    char token[GR_TOKEN_TEXT_MAX];
    uint64_t token_ms;
    unsigned tokens, tries;                /* login tokens so far; tries with the newest */
    uint8_t devices[CHAT_LOGINS_MAX];      /* by token: how many it has made, or CHAT_SSO_UNSURE */
    uint8_t sessions[CHAT_LOGINS_MAX];     /* by token: the provider's session it came of */
    unsigned logins, registrations;        /* as an edge counts them */
    char user[CHAT_ID_MAX];
} chat_person;

/* What the operator takes away in the end. */
typedef struct {
    char attic[CHAT_ID_MAX], cut[CHAT_ID_MAX];  /* a room that goes; the oldest event that stays in the first room */
    chat_errand history, room;
    bool history_gone, room_gone;
    unsigned ticks;
} chat_purge;

typedef struct {
    unsigned seen[CHAT_CLIENTS];                       /* newest number by sender */
    uint64_t ids[CHAT_TXNS_MAX], bodies[CHAT_TXNS_MAX];        /* of transactions: hashes */
    size_t count;
    char events[CHAT_EVENTS_MAX][CHAT_ID_MAX];         /* of the room that it is in */
    char acknowledged[CHAT_EVENTS_MAX];                /* by which way it came that we have told of; 0: none */
    uint64_t taken_by[CHAT_EVENTS_MAX];                /* the transaction with which it was acknowledged */
    uint64_t newest[2];                                /* acknowledged: from the queue, when catching up */
    size_t event_count;
    uint64_t away_until_ms;
} chat_remote;

typedef struct {
    uint64_t seed;
    gr_sim *sim;
    gr_arena *arena;           /* of the whole run */
    gr_arena *turn;            /* of one tick */
    unsigned nodes;
    bool may_double;           /* frames, and so asks */
    bool may_forget;           /* what a handler did may be lost before it is durable */
    char rooms[CHAT_ROOMS][CHAT_ID_MAX];
    chat_client clients[CHAT_CLIENTS];
    chat_remote remotes[CHAT_REMOTES];
    chat_person people[CHAT_PEOPLE];
    bool may_kill;             /* nodes */
    bool is_calm;              /* other servers do not fail */
    uint64_t remote_transactions, remote_repeats, remote_events;
    chat_purge purge;
    uint64_t ticks, acknowledged, retried, receipts, directs, moves, logouts, checks, remembered, nodes_changed, kills;
    char problem[512];         /* the first thing found wrong; empty: none */
} chat;

/* Everything a simulated node is opened with: server name "sim", a cheap signature. */
const void *chat_env(void);
void chat_setup(chat *);               /* makes users and rooms, joins everybody; without faults */
void chat_tick(chat *, bool may_send);
bool chat_quiet(const chat *);         /* nothing is being sent, and the last syncs brought nothing */
/* Without faults: a room that is left by all, and time in which what was said becomes old.  Then, in each tick: asks until both
 * are gone; true when they are. */
void chat_purge_begin(chat *);
bool chat_purge_turn(chat *);
void chat_problem(chat *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- for the files of the clients --- */
gr_str chat_address(chat *, gr_kind, const char *id);
bool chat_chance(chat *, unsigned one_in);
unsigned chat_node(chat *);            /* any of them, up or not */
/* CHAT_ASK: time to ask (chat_ask).  CHAT_DONE: an answer to rely on, or a refusal in err; the errand is over. */
chat_turn chat_turn_of(chat *, chat_errand *, const gr_type **, const void **body, gr_err *);
void chat_ask(chat *, chat_errand *, unsigned node, gr_str to, const gr_type *, const void *body);
bool chat_may_pass(gr_errcode);        /* nobody knows whether it was done: try again */
/* Without faults: a public room of the first client; is_empty: the others do not join.  id: a name for the
 * flow, and then that of the room. */
void chat_make_room(chat *, char id[CHAT_ID_MAX], bool is_empty);
/* Without faults and waiting for it; NULL: refused. */
const void *chat_call(chat *, gr_str to, const gr_type *, const void *body, const gr_type *want);

void chat_read(chat *, chat_client *);
void chat_write(chat *, chat_client *, bool may_begin);
bool chat_writes_open(const chat_client *);
void chat_token_turn(chat *, chat_client *, bool may_begin);
bool chat_token_open(const chat_client *);
gr_sim_edge_fn chat_edge_ask;          /* for gr_sim_options; arg: the chat */

/* remotes.c */
const char *chat_remote_user(chat *, unsigned remote);
gr_sim_remote_fn chat_remote_answers;  /* for gr_sim_options; arg: the chat */
void chat_remotes_join(chat *);        /* their users, the room that they share; without faults */
bool chat_remotes_behind(const chat *);        /* a to-device message is still on its way to one of them */
void chat_check_remotes(chat *);       /* each has all events of the room, or finds back to them from what it has */

/* people.c */
void chat_person_turn(chat *, chat_person *, bool may_begin);
/* One account each, one device for each login token that was spent; a session that the provider ends takes its devices. */
void chat_check_people(chat *);

/* provider.c */
gr_providers chat_providers(void);
gr_str chat_provider_of(unsigned person);
bool chat_provider_answers(chat *, const gr_fetch *, gr_arena *, gr_fetched *);        /* false: it is for somebody else */
gr_str chat_logout_token(chat *, unsigned person, const char *sid);
gr_str chat_parameter(gr_str pairs, const char *name);         /* its value in "a=1&b=2" */

/* check.c: reads the rooms' histories and compares. */
void chat_check(chat *);
void chat_check_purged(chat *);
