/* work.h - the seam to what is done elsewhere, its result handed back to the worker: a pure function with its input,
 * run by a pool; and a request to another server, made by the loop that does HTTP.
 *
 * The worker makes a job when the effects of the message that asked for it are released, and submits it.
 * Whoever runs it (threads of pool.h, the simulator at a later step) calls gr_job_run once, or gr_job_drop;
 * either hands it back, after which it may not be touched.  Input and output are zeroed when freed.
 */
#pragma once
#include "bus/actor.h"
#include "persistence/store.h"

typedef struct gr_job gr_job;
struct gr_job {
    gr_job *next; /* for whoever holds it: a queue of the pool, the worker's queue of results */
    const gr_work *work; /* NULL: input is an encoded fetch, output an encoded fetched */
    gr_str actor; /* whole address */
    gr_buf input, output;
    bool failed, refused; /* refused: it was not even run */
    gr_resume resume;
    uint64_t trace, span; /* of the message that asked for it */
    uint64_t generation;  /* of the shard: the result of a shard that was dropped meanwhile is ignored */
    gr_store *store;
    const void *env;
    uint8_t shard;
    void (*hand_back)(void *arg, gr_job *); /* thread-safe */
    void *hand_back_arg;
};

typedef struct gr_work_seam gr_work_seam;
struct gr_work_seam {
    /* False: no room; the worker answers the actor that the work failed. Does not run it within the call. */
    bool (*submit)(gr_work_seam *, gr_job *);
};

void gr_job_run(gr_job *);   /* any thread: a snapshot of the store, the function, the hand back */
/* Any thread: what came of a fetch, and the hand back. */
void gr_job_fetched(gr_job *, const gr_fetched *);
void gr_job_drop(gr_job *);  /* not run (the pool stops): handed back as failed */
void gr_job_free(gr_job **); /* by the worker; or by a pool that is closed after its workers */
