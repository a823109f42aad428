/* token_private.h - what the files of the token index share. See token.h. */
#pragma once
#include "actors/token/token.h"
#include "proto/token.h"

typedef struct { gr_str address; uint64_t lease_until_ms; } gr_token_edge;       /* address: owned */

/* Somebody who waits until edges have forgotten tokens. */
typedef struct gr_forgetting gr_forgetting;
struct gr_forgetting {
    gr_forgetting *next;
    uint64_t number, until_ms;
    unsigned open;                 /* edges that have not answered */
    gr_asker *asker;
    bool is_pair;                  /* the answer is a token_pair, else done */
    char *access, *refresh;        /* owned, wiped when freed */
    char *scope;                   /* owned */
    char *user, *device, *provider;        /* owned */
    uint64_t expires_in_ms;
};

typedef struct {
    gr_token_edge *edges;
    size_t edge_count;
    gr_forgetting *forgetting;
    uint64_t next_number;
    uint64_t going_ms;             /* when to look which rows g are over; 0: there are none */
    uint64_t sure_ms;              /* before this, rows g are not over: the clock may have been set between two starts */
} gr_token_index;

/* --- token.c: rows, for browser.c --- */
typedef struct { unsigned char bytes[GR_TOKEN_HASH]; } gr_token_digest;

static inline gr_str gr_token_view(const gr_token_digest *d) { return gr_str_of(d->bytes, sizeof d->bytes); }
gr_token_row *gr_token_read_row(gr_ctx *, gr_str hash);            /* NULL when there is none.  In the arena. */
void gr_token_put_row(gr_ctx *, gr_str hash, const gr_token_row *);
/* f counts edges that have to forget an access token; NULL: nobody waits. */
void gr_token_drop_row(gr_token_index *, gr_ctx *, gr_str hash, gr_forgetting *f);
gr_str gr_token_draw(gr_ctx *, gr_token_kind, gr_token_digest *);  /* the text of a new token */
/* The row goes, if it is still there, at its time. */
void gr_token_expires(gr_ctx *, gr_str hash, uint64_t at_ms);

/* --- browser.c: who is signed in to the server's pages --- */
void gr_token_on_browser_begin(const gr_browser_begin *, gr_ctx *);
void gr_token_on_browser_look(const gr_browser_look *, gr_ctx *);
void gr_token_on_browser_end(gr_token_index *, const gr_browser_end *, gr_ctx *);

/* --- token_lease.c: which edges may answer from memory --- */
void gr_token_edges_load(gr_token_index *, gr_ctx *);
void gr_token_edges_drop(gr_token_index *);
/* Gives the edge a lease from now on; false: it gets none. */
bool gr_token_lease(gr_token_index *, gr_ctx *, gr_str edge);
/* Tells edges with a lease to forget an access token. f counts their answers; NULL: nobody waits.  Answers when the last
 * lease will have run out; 0: no edge has one. */
uint64_t gr_token_forget_at_edges(gr_token_index *, gr_ctx *, gr_str hash, gr_forgetting *f);
/* The token was ended, and some edge may take it until then: whoever ends it again waits as well. */
void gr_token_going(gr_token_index *, gr_ctx *, const gr_token_row *, gr_str hash, uint64_t until_ms);
/* f waits for the tokens of the device (of the user, if that is empty) that were ended already. */
void gr_token_forget_going(gr_token_index *, gr_ctx *, gr_str user, gr_str device, gr_forgetting *f);
gr_forgetting *gr_forgetting_new(gr_token_index *);
/* Answers at once when no edge has to be waited for; else keeps the asker.  pair may be NULL: done. */
void gr_forgetting_finish(gr_token_index *, gr_ctx *, gr_forgetting *, const gr_token_pair *pair);
void gr_token_forgotten(gr_token_index *, gr_ctx *, uint64_t number, gr_err);    /* an edge's answer */
void gr_token_leases_over(gr_token_index *, gr_ctx *);                           /* the timer "lease" */
