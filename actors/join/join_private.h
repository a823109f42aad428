/* join_private.h - what the files of the joining flow share. */
#pragma once
#include "actors/destination/destination.h"
#include "actors/join/join.h"

enum { GR_JOIN_CHAINS = 4 };

typedef struct gr_join gr_join;
struct gr_join {
    gr_arena *arena;                       /* holds what flow points to */
    gr_join_flow *flow;                    /* NULL: nothing asked yet, or over */
    struct { gr_asker *asker; gr_str user; } askers[GR_JOIN_ASKERS_MAX];       /* user: owned */
    size_t asker_count;
    unsigned open;                         /* answers to come in this step; 0 after a restart */
    unsigned room_waits;                   /* in this step: that the room had no time */
    uint64_t epoch;                        /* of this try: what an earlier one asked for does not count */
    /* reply.c */
    gr_buf rest;                           /* of the answer: what is no whole value yet */
    struct { uint64_t mode, members_omitted; } reading;
    uint64_t more, staged, bad;            /* more: of the part that is being read */
    bool has_event;                        /* the server gave the join back, signed by it too */
    /* keys.c, check.c, order.c */
    gr_str cursors[GR_JOIN_CHAINS];        /* owned: where each chain goes on; ptr NULL: it is over */
    gr_buf order;                          /* event ids, oldest first: of the state (1), size (2), id */
    size_t ordered, fed;                   /* bytes of it that the room has taken */
    uint64_t refused;
    bool is_first;                         /* nothing was given to the room by this try */
};

/* join.c */
gr_str gr_join_room_id(gr_ctx *);             /* id of the room */
void gr_join_go(gr_join *, gr_ctx *, gr_join_step);        /* saves the step and begins it */
void gr_join_next_server(gr_join *, gr_ctx *, gr_err);     /* this one has failed */
void gr_join_work(gr_join *, gr_ctx *, const gr_work *, gr_str input, uint64_t number);
void gr_join_ask_room(gr_join *, gr_ctx *, const gr_type *, const void *body);

/* reply.c: what the pool is given to read, and what it has made of it; mode and members_omitted go on from part to part. */
typedef struct { uint64_t mode, members_omitted; bool is_here; gr_str version, event_id, text; } gr_join_part;
typedef struct {
    uint64_t mode, members_omitted, staged, bad, read;         /* read: bytes of the text; the rest comes before the next part */
    bool is_full;                                              /* there is more to be read in the rest */
    gr_str signatures, written;
} gr_join_read;
extern const gr_work gr_join_reply_work;
void gr_join_reply_input(gr_buf *, uint64_t now_ms, const gr_join_part *);
void gr_join_reply_output(gr_str, gr_join_read *);             /* views in it */
void gr_join_reply_begin(gr_join *);
void gr_join_reply_forget(gr_join *);
void gr_join_on_part(gr_join *, const gr_msg *, gr_ctx *);         /* fetched */
void gr_join_on_read(gr_join *, gr_str output, gr_ctx *);

/* keys.c */
/* LACKING: it may be had yet.  BAD: it does not count, whoever is asked. */
typedef enum { GR_JOIN_KEY_GOOD, GR_JOIN_KEY_LACKING, GR_JOIN_KEY_BAD } gr_join_key;
gr_join_key gr_join_key_of(gr_ctx *, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC]);
/* Of a key ring; arg is a ctx. */
bool gr_join_find_key(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC]);
/* Those of a server that are known now, in the arena. */
gr_keys_known gr_join_keys_of(gr_ctx *, gr_str server);
void gr_join_keys_begin(gr_join *, gr_ctx *);
void gr_join_keys_ask(gr_join *, gr_ctx *);                    /* the wait before it is over */
void gr_join_on_keys(gr_join *, const gr_msg *, gr_ctx *);
/* Goes back to KEYS; false: it was tried often enough. */
bool gr_join_keys_again(gr_join *, gr_ctx *);

/* check.c */
void gr_join_set_cursor(gr_str *cursor, gr_str text);
void gr_join_check_begin(gr_join *, gr_ctx *);
void gr_join_on_checked(gr_join *, uint64_t chain, gr_str output, gr_ctx *);
void gr_join_check_forget(gr_join *);

/* order.c */
void gr_join_order_begin(gr_join *, gr_ctx *);
void gr_join_on_ordered(gr_join *, gr_str output, gr_ctx *);

/* here.c: the room has not taken the join.  False: that has another reason than missing events. */
bool gr_join_here_waits(gr_join *, gr_ctx *, gr_err);
void gr_join_on_here_staged(gr_join *, gr_ctx *);          /* room_incoming_are */

/* feed.c */
void gr_join_feed_begin(gr_join *, gr_ctx *);
void gr_join_feed_again(gr_join *, gr_ctx *);              /* what the room had no time for */
void gr_join_on_gathered(gr_join *, gr_str output, gr_ctx *);
void gr_join_on_filled(gr_join *, const gr_room_filled *, gr_ctx *);
