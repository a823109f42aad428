/* backoff.h - how long something that fails is left alone.  For all that is delivered elsewhere: to other servers, to
 * application services, to push gateways.
 *
 * First a few quick tries, since most failures pass; then waits that grow by a factor from the first to the longest, each
 * drawn a little differently (jitter).  Kept in the row b of the actor, while there is a failure; so a restart keeps the time
 * of the next try.  A part of the actor that has it.
 */
#pragma once
#include "bus/actor.h"

enum {
    GR_BACKOFF_QUICK_TRIES = 10,           /* before the first long wait */
    GR_BACKOFF_HEARD_MS = 60 * 1000        /* being heard of makes it tried at once no more often than that */
};

typedef struct { uint64_t first_ms, max_ms; double factor, jitter; } gr_backoff_policy;

typedef struct {
    uint64_t since_ms, next_ms, failures;      /* 0: it does not fail */
    uint64_t heard_ms;                         /* memory only */
} gr_backoff;

void gr_backoff_load(gr_backoff *, gr_ctx *);
bool gr_backoff_holds(const gr_backoff *, gr_ctx *);       /* it is to be left alone now */
/* The wait after so many failures in a row, without jitter; failures > 0. */
uint64_t gr_backoff_interval_ms(const gr_backoff_policy *, uint64_t failures);
/* It failed.  at_least_ms: it has said itself when to come again.  Of tries that were under way together one counts: false
 * for the others. */
bool gr_backoff_fail(gr_backoff *, const gr_backoff_policy *, uint64_t at_least_ms, gr_ctx *);
bool gr_backoff_end(gr_backoff *, gr_ctx *);               /* it works; true: it did not before */
/* It can reach us, so perhaps we reach it: the next try is due, and the wait after that stays as it was.  True: it
 * fails, and the next try is due. */
bool gr_backoff_heard(gr_backoff *, gr_ctx *);
