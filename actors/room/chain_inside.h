/* chain_inside.h - rows of the chain cover as one call reads them; for chain*.c only. */
#pragma once
#include "actors/room/chain.h"

typedef struct {
    uint64_t event, chain, seq;
    uint64_t before;               /* the one before it in its chain, 0: it is the first */
    uint64_t since;                /* events of the chain since one that has all links */
    bool full;                     /* links are all those of the chain so far */
    gr_u64s links;                 /* events of other chains */
    bool marked;                   /* by the call */
} chain_row;

/* Each row is read once in a call. */
typedef struct {
    const gr_chain *c;
    gr_arena *arena;
    chain_row **table;             /* by event: open addressing */
    size_t room, count;
} chain_reader;

typedef struct { uint64_t *at; size_t count, room; } chain_list;

/* NULL: the event has no cover. */
chain_row *gr_chain_row(chain_reader *, uint64_t event);
/* Reads all rows from first to last at once, where the rows can be scanned. */
void gr_chain_prefetch(chain_reader *, uint64_t first, uint64_t last);
void gr_chain_push(gr_arena *, chain_list *, uint64_t);
void gr_chain_sort(chain_list *);  /* ascending */
