/* dead.h - posts that could not be applied, as the worker keeps them. See dead.c; reading them is in
 * worker.h. */
#pragma once
#include "bus/runtime.h"

void gr_dead_open(gr_worker *, gr_home *, gr_arena *);
void gr_dead_put(gr_worker *, gr_home *, const gr_envelope *, const char *reason);
void gr_dead_delete(gr_worker *, gr_home *, uint64_t number);
