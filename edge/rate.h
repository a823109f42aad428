/* rate.h - token buckets per user, device and address: how often somebody may do something.
 *
 * One table per edge thread, bounded: the least recently used bucket goes first, which at worst forgives somebody.
 * Messages, receipts and reads have buckets of their own, so that a busy reader can still send.  Time is an argument.
 */
#pragma once
#include "edge/call.h"

enum { GR_RATE_BUCKETS_MAX = 65536, GR_RATE_DEVICES = 3 };    /* a user's bucket holds as much as those of three devices */

typedef struct gr_rates gr_rates;
gr_rates *gr_rates_new(void);
void gr_rates_free(gr_rates **);

/* As who somebody at this address counts: of IPv6 the first 64 bits, for who has one address there has all of them. */
gr_str gr_rates_network(gr_arena *, gr_str address);
/* Takes one token from the bucket of (what, who).  GR_LIMIT_EXCEEDED with the time to wait when it is empty.
 * who: a user id, "user\0device", or the address of somebody without a token. */
GR_MUST_USE gr_err gr_rates_take(gr_rates *, gr_rate what, gr_str who, uint64_t now_ms);
/* The same from a bucket that is `times` as large. */
GR_MUST_USE gr_err gr_rates_take_share(gr_rates *, gr_rate what, gr_str who, unsigned times, uint64_t now_ms);
