/* chat.h - people chatting on a simulated server: clients that send, sync, lose their connection and try again.
 *
 * A client behaves as the edge and a real client together do: it repeats a send with its transaction id until it is
 * acknowledged, and moves its sync token only when all parts of a sync have come.  What it has seen and what was acknowledged
 * to it is what check.c compares with the rooms.
 */
#pragma once
#include "bus/sim.h"

enum { CHAT_CLIENTS = 4, CHAT_ROOMS = 2, CHAT_EVENTS_MAX = 4096, CHAT_SENDS_MAX = 512 };

typedef struct { char id[64]; char room[64]; bool is_message; } chat_event;

typedef struct {
    char user[32];
    /* sending: one at a time */
    unsigned number;                   /* of the message being sent, from 1 */
    uint64_t send_ask;                 /* 0: none is under way */
    unsigned send_room;
    uint64_t send_again;               /* tick at which it is tried again */
    bool sending;
    char acked[CHAT_SENDS_MAX][64];    /* event id by number; empty: not acknowledged (yet) */
    /* syncing */
    char since[64], next[64];
    uint64_t sync_ask, part_asks[CHAT_ROOMS];
    uint64_t part_from[CHAT_ROOMS];    /* room position that was known when the part was asked for */
    bool parts_failed;
    size_t parts_left;
    chat_event *seen;                  /* in the order of the streams */
    size_t seen_count, staged;         /* staged: seen in the sync under way */
    uint64_t syncs, repeats;
} chat_client;

typedef struct {
    uint64_t seed;
    gr_sim *sim;
    gr_arena *arena;
    char rooms[CHAT_ROOMS][64];
    chat_client clients[CHAT_CLIENTS];
    uint64_t ticks, acknowledged, retried;
    char problem[512];                 /* the first thing found wrong; empty: none */
} chat;

/* Everything a simulated node is opened with: server name "sim", a cheap signature. */
const void *chat_env(void);
void chat_setup(chat *);               /* makes users and rooms, joins everybody; without faults */
void chat_tick(chat *, bool may_send);
bool chat_quiet(const chat *);         /* nothing is being sent, and the last syncs brought nothing */
void chat_problem(chat *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* check.c: reads the rooms' histories and compares. */
void chat_check(chat *);
