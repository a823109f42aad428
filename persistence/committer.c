/* committer.c - the queue of groups and its thread. See committer.h. */
#include "persistence/committer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    gr_batch *batches;
    size_t count, bytes;
    uint64_t token;
    gr_done_fn *done;
    void *arg;
} group;

struct gr_committer {
    gr_apply_fn *apply;
    gr_idle_fn *idle;
    void *arg;
    bool threaded, stop;
    pthread_t thread;
    pthread_mutex_t lock;             /* guards ring, head, waiting, stop */
    pthread_cond_t filled, emptied;
    group ring[GR_COMMITTER_MAX];
    size_t head, waiting;
    /* Of the one who commits: what was taken from the ring, and its batches side by side. */
    group taken[GR_COMMITTER_MAX];
    const gr_batch **batches;
    gr_outcome *outcomes;
    size_t room;
};

/* Moves groups from the ring, oldest first, until it is empty or the bytes are enough for one write. */
static size_t take_waiting(gr_committer *c)
{
    size_t taken = 0, bytes = 0;
    while (c->waiting > 0) {
        const group *next = &c->ring[c->head];
        if (taken > 0 && bytes + next->bytes > GR_COMMITTER_BYTES) break;
        bytes += next->bytes;
        c->taken[taken++] = *next;
        c->head = (c->head + 1) % GR_COMMITTER_MAX;
        c->waiting--;
    }
    return taken;
}

static size_t commit_taken(gr_committer *c, size_t groups)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < groups; i++) count += c->taken[i].count;
    if (count > c->room) {
        c->room = count * 2;
        c->batches = gr_realloc(c->batches, c->room * sizeof *c->batches);
        c->outcomes = gr_realloc(c->outcomes, c->room * sizeof *c->outcomes);
    }
    for (size_t i = 0; i < groups; i++)
        for (size_t k = 0; k < c->taken[i].count; k++) c->batches[at++] = &c->taken[i].batches[k];
    c->apply(c->arg, c->batches, count, c->outcomes);
    at = 0;
    for (size_t i = 0; i < groups; i++) {
        const group *g = &c->taken[i];
        /* The batches' owner may free their bytes in done, so only the copied headers are looked at. */
        for (size_t k = 0; k < g->count; k++, at++)
            g->done(g->arg, g->token, g->batches[k].header.shard, c->outcomes[at],
                    g->batches[k].header.number);
        free(g->batches);
    }
    return count;
}

static void wait_filled(gr_committer *c)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    if (pthread_cond_timedwait(&c->filled, &c->lock, &until) == 0 || c->waiting > 0 || c->stop) return;
    pthread_mutex_unlock(&c->lock);
    c->idle(c->arg);
    pthread_mutex_lock(&c->lock);
}

static void *run(void *arg)
{
    gr_committer *c = arg;
    pthread_mutex_lock(&c->lock);
    while (c->waiting > 0 || !c->stop) {
        size_t taken = take_waiting(c);
        if (taken == 0) {
            wait_filled(c);
            continue;
        }
        pthread_cond_broadcast(&c->emptied);
        pthread_mutex_unlock(&c->lock);
        commit_taken(c, taken);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

gr_committer *gr_committer_new(gr_apply_fn *apply, gr_idle_fn *idle, void *arg, bool threaded)
{
    gr_committer *c = gr_alloc(sizeof *c);
    c->apply = apply;
    c->idle = idle;
    c->arg = arg;
    c->threaded = threaded;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->filled, &monotonic);
    pthread_cond_init(&c->emptied, NULL);
    pthread_condattr_destroy(&monotonic);
    if (threaded) gr_assert(pthread_create(&c->thread, NULL, run, c) == 0);
    return c;
}

void gr_committer_free(gr_committer **at)
{
    gr_committer *c = *at;
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->filled);
    pthread_mutex_unlock(&c->lock);
    if (c->threaded) pthread_join(c->thread, NULL);
    else while (gr_committer_waiting(c) > 0) gr_committer_step(c);
    pthread_cond_destroy(&c->filled);
    pthread_cond_destroy(&c->emptied);
    pthread_mutex_destroy(&c->lock);
    free(c->batches);
    free(c->outcomes);
    free(c);
    *at = NULL;
}

void gr_committer_submit(gr_committer *c, const gr_batch *batches, size_t count, uint64_t token,
                         gr_done_fn *done,
                         void *arg)
{
    gr_assert(count > 0 && count <= GR_SHARDS);
    group g = {.batches = gr_realloc(NULL, count * sizeof *batches), .count = count, .token = token, .done =
               done,
               .arg = arg};
    memcpy(g.batches, batches, count * sizeof *batches);
    for (size_t i = 0; i < count; i++) g.bytes += batches[i].bytes.size;
    if (!c->threaded && gr_committer_waiting(c) == GR_COMMITTER_MAX) gr_committer_step(c);
    pthread_mutex_lock(&c->lock);
    while (c->waiting == GR_COMMITTER_MAX) pthread_cond_wait(&c->emptied, &c->lock);
    gr_assert(!c->stop);
    c->ring[(c->head + c->waiting++) % GR_COMMITTER_MAX] = g;
    pthread_cond_signal(&c->filled);
    pthread_mutex_unlock(&c->lock);
}

size_t gr_committer_step(gr_committer *c)
{
    gr_assert(!c->threaded);
    pthread_mutex_lock(&c->lock);
    size_t taken = take_waiting(c);
    pthread_mutex_unlock(&c->lock);
    if (taken > 0) return commit_taken(c, taken);
    c->idle(c->arg);
    return 0;
}

size_t gr_committer_waiting(gr_committer *c)
{
    pthread_mutex_lock(&c->lock);
    size_t waiting = c->waiting;
    pthread_mutex_unlock(&c->lock);
    return waiting;
}
