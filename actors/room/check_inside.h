/* check_inside.h - what the parts of a check of a room share; for check*.c only. */
#pragma once
#include "actors/room/check.h"
#include "actors/room/graph.h"

/* Of an event, by number. */
enum {
    CHECK_STREAM = 1,      /* can be an extremity, if nobody names it */
    CHECK_NAMED = 2,       /* by an event of the stream, or by hidden ones between */
    CHECK_BEHIND = 4,      /* it, or by history between */
    CHECK_CONTINUED = 8    /* another goes on its chain */
};

typedef struct {
    gr_ctx *ctx;
    gr_room *room;
    gr_str self;
    gr_room_problem_fn *fn;
    void *arg;
    unsigned char *marks;  /* by number */
    bool is_covered, cover_is_bad;
    uint64_t *tips;        /* by chain: its newest event */
    uint64_t *stack;       /* events whose predecessors are still to be looked at */
    size_t stacked, stack_room;
} room_check;

/* One step: reads begin anew, what the last one left is forgotten. */
void gr_check_step(room_check *);
void gr_check_problem(room_check *, gr_str own_key, const char *what);
void gr_check_event_problem(room_check *, uint64_t number, const char *what);
/* Are two states the same? */
bool gr_check_same(room_check *, uint64_t a, uint64_t b);

/* check_graph.c: notes what an event names, and its backward row; at the end, the forward and the backward extremities. */
void gr_check_graph_note(room_check *, const gr_room_record *, const gr_event *);
void gr_check_graph_end(room_check *);

/* check_current.c: the current state and what hangs on it. */
void gr_check_current(room_check *);
