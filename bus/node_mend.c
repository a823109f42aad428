/* node_mend.c - tasks handed to workers by hand. See node_mend.h. */
#include "bus/node_mend.h"

#include "bus/node_inside.h"
#include "proto/address.h"
#include "proto/json.h"
#include "proto/message.h"

#include <stdlib.h>
#include <time.h>

enum { ANSWER_WITHIN_S = 2 };

/* Shared by who asked and the workers; whoever lets go last frees it. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned holders, expected, answers;
    bool worked;
    gr_node_dead_act act;
    uint8_t shard;
    uint64_t number;
    char *address;
    size_t limit, count;
    bool is_over; /* who asked has gone: nothing more is written */
    gr_buf out;
    gr_jw writer;
} task;

static task *task_new(unsigned workers)
{
    task *t = gr_alloc(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->holders = workers + 1;
    t->expected = workers;
    return t;
}

/* With the lock held. */
static void let_go(task *t)
{
    bool is_last = --t->holders == 0;
    pthread_mutex_unlock(&t->lock);
    if (!is_last) return;
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t->address);
    gr_buf_free(&t->out);
    free(t);
}

/* With the lock held. */
static void answered(task *t)
{
    t->answers++;
    pthread_cond_broadcast(&t->changed);
    let_go(t);
}

/* Leaves the lock held. */
static bool wait_for(task *t)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_WITHIN_S;
    pthread_mutex_lock(&t->lock);
    while (t->answers < t->expected && pthread_cond_timedwait(&t->changed, &t->lock, &until) == 0) {}
    t->is_over = true;
    return t->answers == t->expected;
}

static bool serves(gr_node *n) { return atomic_load(&n->phase) == NODE_SERVING; }

/* --- the list of dead letters ------------------------------------------------------------------------- */
static bool list_letter(void *arg, const gr_dead_letter *letter)
{
    task *t = arg;
    const gr_envelope *e = letter->envelope;
    const gr_type *type = gr_type_find(e->type);
    if (t->is_over || t->count == t->limit) return false;
    t->count++;
    gr_jw *w = &t->writer;
    gr_jw_object(w);
    gr_jw_kint(w, "shard", letter->shard);
    gr_jw_kint(w, "number", (int64_t)letter->number);
    gr_jw_kstr(w, "from", e->from);
    gr_jw_kstr(w, "to", e->to);
    gr_jw_kc(w, "type", type ? type->name : "unknown");
    gr_jw_kint(w, "size", (int64_t)(e->body.size + e->attachment.size));
    gr_jw_kstr(w, "reason", letter->reason);
    gr_jw_end_object(w);
    return true;
}

static void list_worker(void *arg, gr_worker *worker)
{
    task *t = arg;
    pthread_mutex_lock(&t->lock);
    gr_worker_dead(worker, list_letter, t);
    answered(t);
}

gr_str gr_node_dead(gr_node *n, gr_arena *a, size_t limit)
{
    if (!serves(n)) return GR_STR("[]");
    task *t = task_new(n->worker_count);
    t->limit = limit;
    t->writer = gr_jw_begin(&t->out);
    gr_jw_array(&t->writer);
    for (unsigned i = 0; i < n->worker_count; i++) gr_worker_call(n->workers[i].worker, list_worker, t);
    wait_for(t);
    gr_jw_end_array(&t->writer);
    gr_str json = gr_arena_str(a, gr_buf_view(&t->out));
    let_go(t);
    return json;
}

/* --- one letter, one actor ---------------------------------------------------------------------------- */
static gr_err run_on(gr_node *n, uint8_t shard, task *t, void (*fn)(void *, gr_worker *), const char *missing)
{
    if (n->shards[shard].node != n->self) {
        t->holders = 1; /* no worker will let go of it */
        pthread_mutex_lock(&t->lock);
        let_go(t);
        return gr_fail(GR_NOT_FOUND, "Another node runs that shard");
    }
    node_worker *w = &n->workers[n->shards[shard].index];
    gr_worker_call(w->worker, fn, t);
    bool in_time = wait_for(t), worked = t->worked;
    let_go(t);
    if (!in_time) return gr_fail(GR_UNAVAILABLE, "The worker of that shard does not answer: try again");
    return worked ? gr_ok() : gr_fail(GR_NOT_FOUND, missing);
}

static void act_on_letter(void *arg, gr_worker *worker)
{
    task *t = arg;
    pthread_mutex_lock(&t->lock);
    t->worked = t->act == GR_NODE_DEAD_RETRY ? gr_worker_dead_retry(worker, t->shard, t->number)
                                             : gr_worker_dead_drop(worker, t->shard, t->number);
    answered(t);
}

gr_err gr_node_dead_act_on(gr_node *n, gr_node_dead_act act, uint8_t shard, uint64_t number)
{
    if (!serves(n)) return gr_fail(GR_UNAVAILABLE, "The node is not serving");
    task *t = task_new(1);
    t->act = act;
    t->shard = shard;
    t->number = number;
    return run_on(n, shard, t, act_on_letter,
                  act == GR_NODE_DEAD_RETRY ? "There is no such dead letter, or its actor is suspended: see "
                                              "`greenroom dead list` and `greenroom actors`"
                                            : "There is no such dead letter: see `greenroom dead list`");
}

static void resume_actor(void *arg, gr_worker *worker)
{
    task *t = arg;
    pthread_mutex_lock(&t->lock);
    t->worked = gr_worker_unsuspend(worker, gr_str_c(t->address));
    answered(t);
}

gr_err gr_node_resume(gr_node *n, gr_str address)
{
    if (!serves(n)) return gr_fail(GR_UNAVAILABLE, "The node is not serving");
    if (!gr_address_valid(address) || gr_address_kind(address) == GR_KIND_EDGE)
        return gr_fail(GR_INVALID_PARAM, "Give the address of an actor, like room/!id:server");
    task *t = task_new(1);
    t->address = gr_str_dup(address);
    return run_on(n, gr_address_shard(address), t, resume_actor,
                  "No actor with this address is suspended: see `greenroom actors`");
}
