/* timer.h - the worker's heap of what is due, and the timers of actors. See timer.c. */
#pragma once
#include "bus/runtime.h"

void gr_timer_open(gr_worker *, gr_home *);
void gr_timer_close(gr_worker *, gr_home *); /* forgets the durable ones of a shard */
void gr_timer_set(gr_worker *, gr_home *, gr_str actor, gr_str name, uint64_t due_ms, bool durable);
void gr_timer_clear(gr_worker *, gr_home *, gr_str actor, gr_str name);
bool gr_timer_take(gr_worker *, gr_home *, const gr_item *); /* false: it was moved or cleared meanwhile */
void gr_timer_done(gr_worker *, gr_home *,
                   const gr_item *);               /* its message was handled: gone with this batch */
void gr_timer_again(gr_worker *, const gr_item *); /* its message was undone */
void gr_timer_free(gr_worker *);
