/* stateres_inside.h - what the parts of state resolution share; for stateres*.c only. */
#pragma once
#include "proto/auth.h"
#include "proto/stateres.h"

typedef struct res_node res_node;
typedef struct res_link { res_node *from; struct res_link *next; } res_link;
typedef struct { res_node **at; size_t count, room; } res_nodes;

/* An event that was met.  What is read of it is read once, on first need. */
struct res_node {
    uint64_t number;
    bool loaded, known, rejected;
    const gr_event *event;
    res_nodes auth;                /* each once */
    bool conflicted, full;         /* of the conflicted state set; of the full conflicted set */
    /* auth difference */
    uint64_t mask;                 /* states whose auth chain holds it */
    bool queued;
    /* paths */
    unsigned seen, reaches;        /* round in which it was found below the sources; above a target */
    res_link *cited_by;            /* among what was seen in that round */
    /* orders */
    size_t waits;                  /* auth events that come first */
    bool picked, powered;
    int64_t power;                 /* of its sender, by its auth events */
    size_t mainline;               /* index + 1; 0: not of the mainline */
    size_t position;               /* in mainline order + 1; 0: not known yet */
};

/* State that is being built: (type, state_key) -> event. */
typedef struct { uint64_t hash; res_node *node; } res_slot;
typedef struct { res_slot *slots; size_t count, room; } res_state;

typedef struct {
    gr_arena *arena, *scratch;     /* scratch: of one authorisation */
    const gr_stateres_input *in;
    const gr_stateres_source *source;
    res_node **table;              /* by number: open addressing */
    size_t table_room, table_count;
    res_node *create;
    res_nodes conflicted, full;
    res_state state;
    bool ordered;                  /* links go to lower numbers, as far as is known */
    bool over;                     /* reads_max was met: unwinds */
    unsigned round;
    size_t reads;
} res_run;

/* --- stateres.c --- */
res_node *gr_res_node(res_run *, uint64_t number);
bool gr_res_load(res_run *, res_node *);               /* false: there is no such event */
void gr_res_push(res_run *, res_nodes *, res_node *);
/* The first auth event of this type with an empty state key, or NULL. */
res_node *gr_res_auth_of(res_run *, res_node *, const char *type);
res_node *gr_res_state_get(const res_state *, gr_str type, gr_str state_key);
void gr_res_state_set(res_run *, res_node *);

/* A heap: the least node, as the comparison tells, comes out first. */
typedef int res_compare(const res_node *, const res_node *);
void gr_res_heap_push(res_run *, res_nodes *, res_node *, res_compare *);
res_node *gr_res_heap_pop(res_nodes *, res_compare *);

/* --- stateres_graph.c --- */
/* Marks as full, and collects, all of the full conflicted set. */
void gr_res_find_full(res_run *);
/* All on a path along auth links from a source to a full (or, if conflicted, a conflicted) event, ends
 * included. Sets reaches to the round and links cited_by. */
res_nodes gr_res_between(res_run *, const res_nodes *sources, bool conflicted);

/* --- stateres_order.c --- */
/* Step 1: power events and what of the full conflicted set is in their auth chains, in reverse topological
 * power ordering; marks them as picked. */
res_nodes gr_res_power_order(res_run *);
/* Step 3: all others, in mainline ordering by these power levels (NULL: there are none). */
res_nodes gr_res_mainline_order(res_run *, res_node *levels);

/* --- stateres_v1.c --- */
void gr_res_resolve_v1(res_run *);
