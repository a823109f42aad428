/* committer.h - gathers the groups of all workers and writes all that wait as one synced write.
 *
 * A bounded queue and, when threaded, one thread: it takes everything that waits, hands it to `apply` once,
 * and answers each batch in the order of submission.  Without a thread the same is done by
 * gr_committer_step.  The LevelDB engine owns one.
 */
#pragma once
#include "persistence/engine.h"

enum {
    /* Groups waiting; more make submit wait (not threaded: commit at once). */
    GR_COMMITTER_MAX = 256,
    GR_COMMITTER_BYTES = 4 << 20,     /* of batches in one write, so that one sync never takes long */
};

typedef struct gr_committer gr_committer;

/* Makes batches durable together and sets an outcome for each.  Called by one thread at a time. */
typedef void gr_apply_fn(void *arg, const gr_batch *const *batches, size_t count, gr_outcome *outcomes);

/* Called when nothing waits: each second when threaded, otherwise in each step that found nothing. */
typedef void gr_idle_fn(void *arg);

gr_committer *gr_committer_new(gr_apply_fn *, gr_idle_fn *, void *arg, bool threaded);
/* Commits what waits, answers it, ends the thread. */
void gr_committer_free(gr_committer **);

/* The array is copied; what the batches point to stays the caller's until each is answered. */
void gr_committer_submit(gr_committer *, const gr_batch *, size_t count, uint64_t token, gr_done_fn *,
                         void *arg);
/* Not threaded only; how many batches were answered. */
size_t gr_committer_step(gr_committer *);
size_t gr_committer_waiting(gr_committer *);               /* groups */
