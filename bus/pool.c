/* pool.c - the queue of jobs and its threads. See pool.h. */
#include "bus/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LONG_NICE = 10 };              /* above that of the process */

struct gr_pool {
    gr_work_seam seam;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t filled;
    gr_job *first, **last;
    unsigned waiting, queue_max, running;
    bool is_stopped;
    unsigned thread_count, planned;        /* planned: when all have started */
    pthread_t threads[GR_POOL_THREADS_MAX];
};

static bool submit(gr_work_seam *seam, gr_job *job)
{
    gr_pool *pool = (gr_pool *)seam;
    pthread_mutex_lock(&pool->lock);
    bool taken = !pool->is_stopped && pool->waiting < pool->queue_max;
    if (taken) {
        job->next = NULL;
        *pool->last = job;
        pool->last = &job->next;
        pool->waiting++;
        pthread_cond_broadcast(&pool->filled);         /* not every thread takes every job */
    }
    pthread_mutex_unlock(&pool->lock);
    return taken;
}

/* The first that this thread may run. */
static gr_job *take(gr_pool *pool, bool is_first)
{
    gr_job **at = &pool->first;
    while (pool->planned > 1 && *at && (*at)->work->is_long != is_first) at = &(*at)->next;
    gr_job *job = *at;
    if (!job) return NULL;
    *at = job->next;
    if (!job->next) pool->last = at;
    job->next = NULL;
    pool->waiting--;
    return job;
}

static void work(gr_pool *pool, bool is_first)
{
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        gr_job *job = take(pool, is_first);
        if (!job && pool->is_stopped) break;
        if (!job) {
            pthread_cond_wait(&pool->filled, &pool->lock);
            continue;
        }
        pool->running++;
        pthread_mutex_unlock(&pool->lock);
        gr_job_run(job);
        pthread_mutex_lock(&pool->lock);
        pool->running--;
    }
    pthread_mutex_unlock(&pool->lock);
}

static void *run(void *arg)
{
    work(arg, false);
    return NULL;
}

/* Where there are others the first thread gives way to everything else. */
static void *run_first(void *arg)
{
    gr_pool *pool = arg;
    id_t self = (id_t)gettid();
    if (pool->planned > 1) setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + LONG_NICE);
    work(pool, true);
    return NULL;
}

gr_err gr_pool_open(unsigned threads, unsigned queue_max, gr_arena *a, gr_pool **out)
{
    gr_assert(threads <= GR_POOL_THREADS_MAX);
    gr_pool *pool = gr_alloc(sizeof *pool);
    pool->seam.submit = submit;
    pool->queue_max = queue_max ? queue_max : GR_POOL_QUEUE_MAX;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->filled, NULL);
    *out = pool;
    pool->planned = threads ? threads : 1;
    for (unsigned i = 0; i < pool->planned; i++) {
        int failed = pthread_create(&pool->threads[i], NULL, i == 0 ? run_first : run, pool);
        if (failed) {
            gr_pool_close(out);
            return gr_failf(a, GR_UNAVAILABLE, "can't start a thread for work: %s", strerror(failed));
        }
        pool->thread_count++;
    }
    return gr_ok();
}

gr_work_seam *gr_pool_seam(gr_pool *pool) { return &pool->seam; }

void gr_pool_stop(gr_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    gr_job *left = pool->first;
    pool->first = NULL;
    pool->last = &pool->first;
    pool->waiting = 0;
    pool->is_stopped = true;
    pthread_cond_broadcast(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
    for (gr_job *next; left; left = next) {
        next = left->next;
        gr_job_drop(left);
    }
}

bool gr_pool_idle(gr_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool idle = pool->is_stopped && pool->running == 0;
    pthread_mutex_unlock(&pool->lock);
    return idle;
}

void gr_pool_close(gr_pool **at)
{
    gr_pool *pool = *at;
    if (!pool) return;
    gr_pool_stop(pool);
    for (unsigned i = 0; i < pool->thread_count; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->filled);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    *at = NULL;
}
