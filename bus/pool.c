/* pool.c - the queue of jobs and its threads. See pool.h. */
#include "bus/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Of threads that give way, above that of the process.  Somebody waits for a costly job, so it gives way less. */
enum { LONG_NICE = 10, COSTLY_NICE = 5 };

/* Threads for costly jobs.  One processor is left to the others however low the priority is: with as many hashes at work as
 * there are processors a message took 160 ms in place of 30 (at most of 99 in 100, two processors, 200 logins at once). */
static unsigned costly_of(unsigned threads, unsigned processors)
{
    unsigned most = processors > 2 ? processors - 1 : 1;
    return threads / 3 < most ? threads / 3 : most;
}

/* What a thread takes. */
typedef enum { TAKES_ALL, TAKES_LONG, TAKES_COSTLY, TAKES_LONG_AND_COSTLY, TAKES_SHORT } pool_role;

typedef struct { gr_pool *pool; pool_role role; } pool_thread;

struct gr_pool {
    gr_work_seam seam;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t filled;
    gr_job *first, **last;
    unsigned waiting, queue_max, running;
    bool is_stopped;
    unsigned thread_count, planned;        /* planned: when all have started */
    unsigned costly;                       /* threads for costly jobs, where these have threads of their own */
    pthread_t threads[GR_POOL_THREADS_MAX];
    pool_thread selves[GR_POOL_THREADS_MAX];
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

static pool_role role_of(const gr_pool *pool, unsigned thread)
{
    if (pool->planned == 1) return TAKES_ALL;
    if (pool->planned == 2) return thread == 0 ? TAKES_LONG_AND_COSTLY : TAKES_SHORT;
    if (thread == 0) return TAKES_LONG;
    return thread <= pool->costly ? TAKES_COSTLY : TAKES_SHORT;
}

static bool takes(pool_role role, const gr_work *work)
{
    switch (role) {
    case TAKES_ALL: return true;
    case TAKES_LONG: return work->is_long;
    case TAKES_COSTLY: return work->is_costly;
    case TAKES_LONG_AND_COSTLY: return work->is_long || work->is_costly;
    case TAKES_SHORT: return !work->is_long && !work->is_costly;
    }
    return false;
}

/* The first that this thread may run. */
static gr_job *take(gr_pool *pool, pool_role role)
{
    gr_job **at = &pool->first;
    while (*at && !takes(role, (*at)->work)) at = &(*at)->next;
    gr_job *job = *at;
    if (!job) return NULL;
    *at = job->next;
    if (!job->next) pool->last = at;
    job->next = NULL;
    pool->waiting--;
    return job;
}

static void work(gr_pool *pool, pool_role role)
{
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        gr_job *job = take(pool, role);
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
    const pool_thread *self = arg;
    id_t id = (id_t)gettid();
    bool gives_way = self->role != TAKES_ALL && self->role != TAKES_SHORT;
    int nice = self->role == TAKES_LONG ? LONG_NICE : COSTLY_NICE;
    if (gives_way) setpriority(PRIO_PROCESS, id, getpriority(PRIO_PROCESS, id) + nice);
    work(self->pool, self->role);
    return NULL;
}

gr_err gr_pool_open(unsigned threads, unsigned processors, unsigned queue_max, gr_arena *a, gr_pool **out)
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
    pool->costly = costly_of(pool->planned, processors ? processors : (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
    for (unsigned i = 0; i < pool->planned; i++) {
        pool->selves[i] = (pool_thread){pool, role_of(pool, i)};
        int failed = pthread_create(&pool->threads[i], NULL, run, &pool->selves[i]);
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
