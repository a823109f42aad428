/* pool.h - the work seam in production: a bounded queue of jobs, and threads that run them.
 *
 * Jobs come from the workers' threads and go back through their own hand_back. A full queue refuses, and the
 * worker tells the actor that its work failed. See work.h for what a job is.  Where there are two threads or more
 * long jobs and costly ones have threads of their own, at a low priority, so that others never wait for one: a storm of
 * logins keeps a third of the threads busy, one less than there are processors at most, and leaves these to whoever wants
 * them.
 */
#pragma once
#include "bus/work.h"

enum { GR_POOL_QUEUE_MAX = 1024, GR_POOL_THREADS_MAX = 64 };

typedef struct gr_pool gr_pool;
/* 0: 1 thread; as many processors as there are; GR_POOL_QUEUE_MAX. */
GR_MUST_USE gr_err gr_pool_open(unsigned threads, unsigned processors, unsigned queue_max, gr_arena *, gr_pool **);
gr_work_seam *gr_pool_seam(gr_pool *);
/* Jobs that wait are handed back as failed, and later ones refused; those that run are finished. */
void gr_pool_stop(gr_pool *);
/* Any thread: true when stopped and no job runs. */
bool gr_pool_idle(gr_pool *);
void gr_pool_close(gr_pool **);          /* stops and joins; waits for the jobs that run */
