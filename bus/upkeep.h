/* upkeep.h - background updates as a worker runs them: which shard is next, when, and how much at a time.
 *
 * Kinds of actors name their upkeep (bus/actor.h).  In each shard it goes from actor to actor: the one whose turn it is gets
 * the message `upkeep_step` and does a bounded step; its writes and how far the upkeep is (persistence/update.h) are in one
 * batch.  Slices of steps take a share of the time that follows what the foreground feels (pace.h): how long its messages take
 * from mailbox to release.  While they wait, or two groups are on their way to the disk, a slice is put off, but not for ever.
 * Single steps go along with groups that are committed anyway and wait behind another commit: they are as good as free,
 * and take the same share of the time once more.
 * Called by the worker's thread in its step (worker.c), by the files of the worker only.
 */
#pragma once
#include "bus/runtime.h"

enum {
    GR_UPKEEP_SLICE_US = 2000,    /* of handling; a slice is one group */
    GR_UPKEEP_STEPS_MAX = 32,     /* in a slice: what bounds it where the clock stands still, as in the simulator */
    GR_UPKEEP_ALONE = 4,          /* so many times as much while nobody else is there, since each slice waits for the disk */
    GR_UPKEEP_PATIENCE_MS = 500   /* a slice that is due waits so long for foreground work */
};

gr_upkeep *gr_upkeep_new(const gr_actor_kind *const *kinds);       /* NULL-ended */
void gr_upkeep_free(gr_upkeep **);
/* A shard was opened, again perhaps: its updates go on from what is durable. */
void gr_upkeep_open(gr_worker *, gr_home *);
void gr_upkeep_close(gr_home *);

/* Runs a slice when it is time.  Returns when to be called again: now, when it waits for foreground work. */
uint64_t gr_upkeep_run(gr_worker *);
/* A message was released that was queued then. */
void gr_upkeep_felt(gr_worker *, uint64_t queued_us);
/* An actor of the shard did some that is by_timer: counted in the batch of that. */
void gr_upkeep_note(gr_worker *, gr_home *, const char *name, uint64_t worked);
bool gr_upkeep_paused(const gr_worker *);                          /* all of it */
