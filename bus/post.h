/* post.h - the sending and receiving side of durable messages, as the worker calls them. See post.c. */
#pragma once
#include "bus/runtime.h"

GR_MUST_USE gr_err gr_post_open(gr_worker *, gr_home *); /* reads the pairs of a shard that was opened */
void gr_post_close(gr_worker *, gr_home *);
void gr_post_stage(gr_worker *, gr_home *, gr_effect *, gr_str from);
void gr_post_release(gr_worker *, gr_home *, const gr_effect *, gr_str from);
void gr_post_seal(gr_worker *, gr_home *); /* the records of its pairs, and deletions, into the open group */
void gr_post_arrived(gr_worker *, const gr_envelope *);
void gr_post_applied(gr_worker *, gr_pair_in *, uint64_t number);
void gr_post_refused(gr_worker *, gr_pair_in *); /* undone: it will be sent again */
void gr_post_durable(gr_worker *, gr_pair_in *, uint64_t number);
void gr_post_control(gr_worker *, unsigned type, gr_u64s pairs);
void gr_post_acks(gr_worker *, gr_peer *);
void gr_post_unsent(gr_worker *, const gr_envelope *);
void gr_post_lost(gr_worker *, gr_peer *);   /* the way broke: who waits for answers from there is told */
void gr_post_linked(gr_worker *, gr_peer *); /* the way is there again: asks where its posts stand */
bool gr_post_pump(gr_worker *); /* sends what waits in outboxes; true: more to do at once */
void gr_post_start(gr_worker *);
