/* fan.h - many asks for one call, a bounded number of them at a time.
 *
 * The owner gives how many there are, how number i is asked (its `then` must end in gr_fan_answered), and what follows when
 * all have been answered.  A `then` that has failed the call need not go on.
 */
#pragma once
#include "edge/call.h"

enum { GR_FAN_WIDTH = 32 };

typedef struct {
    size_t count;
    void (*ask)(gr_call *, size_t number);
    void (*finish)(gr_call *);
    size_t asked, answered;
} gr_fan;

/* Begins, or finishes at once when there is nothing to ask. */
static inline void gr_fan_go(gr_fan *f, gr_call *call)
{
    while (f->asked < f->count && f->asked - f->answered < GR_FAN_WIDTH) f->ask(call, f->asked++);
    if (f->answered == f->count) f->finish(call);
}

static inline void gr_fan_answered(gr_fan *f, gr_call *call)
{
    f->answered++;
    gr_fan_go(f, call);
}
