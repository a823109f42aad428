/* post_inside.h - what the files of posts (post*.c) know of each other. */
#pragma once
#include "bus/post.h"

/* Posts of a pair that are sent and not yet acknowledged, at most. */
enum { GR_POST_WINDOW = 256, GR_PAIR_IN_BYTES = 24 };

static inline void gr_post_put_u64(char *at, uint64_t n)
{
    for (int i = 0; i < 8; i++) at[i] = (char)(n >> (56 - 8 * i));
}

/* post.c: tells the other side of a pair something, at once when it is this worker.  Type 0 tells nothing yet: it makes
 * sure that the peer is visited at the end of the step. */
void gr_post_tell_pair(gr_worker *, gr_peer *, unsigned type, uint64_t from, uint64_t to, uint64_t number,
                       uint64_t incarnation);

/* post_out.c */
typedef struct {
    char bytes[10];
} gr_outbox_key;
gr_str gr_post_entry_key(gr_outbox_key *, uint8_t to, uint64_t number); /* a view into the first */
gr_pair_out *gr_post_pair_out(gr_worker *, gr_home *, uint8_t to); /* made when it is not there */
gr_pair_out *gr_post_known_pair(gr_worker *, uint64_t from, uint64_t to); /* NULL: there is none */
void gr_post_link_unacked(gr_worker *, gr_pair_out *);
void gr_post_unlink_unacked(gr_worker *, gr_pair_out *);
void gr_post_land(gr_pair_out *, uint64_t from, uint64_t to); /* no longer in flight: those in (from, to] */
void gr_post_end_forwards(gr_worker *, gr_pair_out *, uint64_t upto, bool is_answered);
void gr_post_stop_pair(gr_worker *, gr_pair_out *);
void gr_post_on_ack(gr_worker *, gr_pair_out *, uint64_t number);
void gr_post_on_at(gr_worker *, gr_pair_out *, uint64_t number); /* the receiver wants what follows */
void gr_post_ask_where(gr_worker *, gr_pair_out *);
void gr_post_on_silence(gr_worker *, gr_due *);
void gr_post_on_sweep(gr_worker *, gr_due *);
void gr_post_sweep(gr_worker *, gr_home *); /* acknowledged entries are deleted */

/* post_in.c */
void gr_post_acknowledge(gr_worker *, gr_pair_in *);
void gr_post_tell_at(gr_worker *, gr_pair_in *, uint64_t incarnation);
