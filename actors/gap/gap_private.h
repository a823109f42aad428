/* gap_private.h - what the files of the gap flow share. See gap.h.
 *
 * Files: gap.c (load, messages, how it ends), ask.c (asking the room and other servers), give.c (events for the room, with
 * the keys of their signers), steps.c (what is missing, and the state before it), back.c (history).
 */
#pragma once
#include "actors/gap/gap.h"
#include "actors/room/incoming.h"
#include "actors/tally.h"

#include "proto/ident.h"

typedef enum {
    IDLE, MISSING, KEYS, GIVE, LOOK, EVENT, STATE_IDS, HAVE, FETCH, FETCH_STATE, PUT_IDS, MAKE, BACK, BACKFILL, MOMENT
} gap_step;

typedef struct gap_waiter { struct gap_waiter *next; gr_asker *asker; bool asks_other; } gap_waiter;   /* asks_other: time */

typedef struct gap_flow gap_flow;
struct gap_flow {
    gr_arena *arena;                   /* of all below; NULL: nothing is asked */
    gr_gap_flow_row *row;
    gap_step now;
    uint64_t turn;                     /* answers to older asks are late */
    size_t rounds, open;
    gr_strs servers;                   /* who may help */
    size_t server, refusals;           /* who is asked; how many in a row could not help */
    gr_str event_id, event;            /* the missing predecessor, its PDU */
    gr_strs state, ids, lacking;       /* ids of its state; these and their auth chain; those that are not here */
    size_t next;                       /* of ids, or of lacking */
    bool *got;                         /* of lacking: it came */
    bool is_lossy;                     /* a server could not be asked for some of it: it may have that */
    gr_strs given;                     /* PDUs for the room */
    size_t given_next;
    gr_incoming_mode mode;
    gr_str base;
    gr_keys_found keys;
    void (*then)(gap_flow *, gr_ctx *);    /* when all were given */
    /* of history; not in the arena */
    gap_waiter *waiters;               /* who wants to know that it has ended */
    size_t waiter_count;
    uint64_t vain_depth, vain_until_ms;    /* nobody had what is missing here: it is not looked for again until then */
};

/* --- gap.c --- */
bool gap_is_moment(const gap_flow *);
bool gap_is_history(const gap_flow *);      /* or moment: what comes is history */
bool gap_is_left_out(const gap_flow *);
void gap_end(gap_flow *, gr_ctx *);
/* It could not be had of anybody. */
void gap_give_up(gap_flow *, gr_ctx *);
gr_str gap_keep(gap_flow *, gr_str);
void gap_keep_more(gap_flow *, gr_strs *, gr_str);

/* --- ask.c: each belongs to the present step, and counts in `open` until it is answered --- */
void gap_begin_step(gap_flow *, gap_step);
void gap_ask_room(gap_flow *, gr_ctx *, const gr_type *, const void *body);
/* number: comes back with the answer, below 2^32. */
void gap_ask_server(gap_flow *, gr_ctx *, const char *method, gr_str uri, gr_str content, size_t number);
/* What is larger than a message comes straight to the flow. */
void gap_fetch(gap_flow *, gr_ctx *, gr_str uri, uint64_t answer_max);
gr_str gap_uri(const gap_flow *, gr_ctx *, const char *what, gr_str event_id);
size_t gap_number_of(const gr_resume *);
/* The one that was asked could not help: true when there is another one to ask, who has the next turn. */
bool gap_next_server(gap_flow *);
/* It could. */
void gap_helped(gap_flow *);
/* The body of an answer; NULL: there is none that helps. */
const gr_json *gap_answered(gr_ctx *, const gr_msg *);
const gr_json *gap_fetched(gr_ctx *, const gr_msg *);

/* --- give.c --- */
void gap_begin_giving(gap_flow *, gr_incoming_mode, gr_str base, void (*then)(gap_flow *, gr_ctx *));
/* Those of a list of PDUs, at most so many. */
void gap_take_pdus(gap_flow *, gr_ctx *, const gr_json *pdus, size_t most);
/* Gives them, with the keys of their signers, and goes on with `then`. */
void gap_give(gap_flow *, gr_ctx *);
void gap_give_more(gap_flow *, gr_ctx *);
void gap_on_keys(gap_flow *, gr_ctx *, const gr_msg *);

/* --- steps.c --- */
void gap_ask_missing(gap_flow *, gr_ctx *);
void gap_look(gap_flow *, gr_ctx *);
void gap_on_missing(gap_flow *, gr_ctx *, const gr_msg *);
void gap_on_look(gap_flow *, gr_ctx *, const gr_room_gap_is *);
void gap_on_event(gap_flow *, gr_ctx *, const gr_msg *);
void gap_on_state_ids(gap_flow *, gr_ctx *, const gr_msg *);
void gap_on_have(gap_flow *, gr_ctx *, const gr_room_have_not *);
void gap_on_fetched_event(gap_flow *, gr_ctx *, const gr_msg *);
void gap_on_state(gap_flow *, gr_ctx *, const gr_msg *);
void gap_put_ids(gap_flow *, gr_ctx *);
void gap_put_ids_more(gap_flow *, gr_ctx *);
void gap_on_made(gap_flow *, gr_ctx *);

/* --- back.c --- */
void gap_ask_back(gap_flow *, gr_ctx *);
void gap_on_back(gap_flow *, gr_ctx *, const gr_room_back_is *);
void gap_on_backfill(gap_flow *, gr_ctx *, const gr_msg *);
void gap_on_moment(gap_flow *, gr_ctx *, const gr_msg *);
