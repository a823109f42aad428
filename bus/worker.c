/* worker.c - options, the step, and calls from other threads. See worker.h. */
#include "bus/post.h"
#include "bus/runtime.h"
#include "bus/timer.h"
#include "bus/upkeep.h"

#include <stdlib.h>

enum { FRAMES_A_STEP = 64, DUE_A_STEP = 64, ROUNDS_A_STEP = 8, MEMORY_DEFAULT = 64 << 20 };

uint64_t gr_runtime_us(gr_worker *w)
{
    w->now_us = w->o.clock_us ? w->o.clock_us(w->o.clock_arg) : w->now_ms * 1000;
    return w->now_us;
}

static uint64_t draw(gr_worker *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void gr_runtime_random(void *arg, void *out, size_t size)
{
    gr_worker *w = arg;
    if (w->o.random) {
        w->o.random(w->o.random_arg, out, size);
        return;
    }
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = draw(w);
        memcpy((char *)out + at, &word, size - at < 8 ? size - at : 8);
    }
}

/* An asker freed because its shard was lost hears of it; one that an actor gave up on does not. */
static void on_asker_freed(void *arg, gr_asker *a)
{
    gr_worker *w = arg;
    if (!w->is_losing) return;
    gr_str to = {a->to, a->to_size};
    gr_peer_send_error(w, to, to, a->seq, a->trace, a->span,
                       gr_fail(GR_UNAVAILABLE, "The server could not store this; try again"));
}

static const gr_ctx_host host = {gr_home_position, gr_home_newest, gr_live_sibling, gr_runtime_random,
                                 on_asker_freed};

/* The counters as other threads see them. */
static void show_counters(gr_worker *w)
{
    gr_row_cache_count rows = gr_row_cache_counted(w->rows);
    w->n.actors_memory = w->lives_memory;
    w->n.cached_rows = rows.hits;
    w->n.read_rows = rows.misses;
    pthread_mutex_lock(&w->lock);
    w->shown = w->n;
    pthread_mutex_unlock(&w->lock);
}

/* --- opening and closing -------------------------------------------------------------------------------- */
/* A message that was being handled when the process died is suspected; crashes counts how often it has been
 * found. */
static void look_at_crash(gr_worker *w)
{
    gr_crash_slot *slot = w->o.crash;
    if (!slot || !slot->busy) return;
    if (slot->to_size > GR_ADDRESS_MAX || slot->from_size > GR_ADDRESS_MAX) {
        memset(slot, 0, sizeof *slot);
        return;
    }
    slot->crashes++;
    w->suspect = *slot;
    slot->busy = 0;
}

static void init(gr_worker *w, const gr_worker_options *o)
{
    w->o = *o;
    if (w->o.memory_max == 0) w->o.memory_max = MEMORY_DEFAULT;
    w->random = o->seed;
    w->next_span = draw(w) >> 16 << 16;
    w->next_seq = draw(w) >> 16 << 16;
    w->run_last = &w->run_first;
    w->jobs_last = &w->jobs;
    w->calls_last = &w->calls;
    w->pump_last = &w->pump;
    w->ctx = (gr_ctx){.host = &host, .host_arg = w, .env = o->env};
    pthread_mutex_init(&w->lock, NULL);
    for (size_t i = 0; o->kinds[i]; i++) w->kinds[o->kinds[i]->kind] = o->kinds[i];
    for (int i = 0; i < GR_SHARDS; i++) w->peers_of[i] = gr_peer_of(w, o->shards[i]);
    w->upkeep = gr_upkeep_new(o->kinds);
    w->rows = gr_row_cache_new();
    look_at_crash(w);
    gr_group_init(w);
}

gr_err gr_worker_new(const gr_worker_options *o, gr_arena *arena, gr_worker **out)
{
    gr_worker *w = gr_alloc(sizeof *w);
    *out = NULL;
    init(w, o);
    for (int i = 0; i < GR_SHARDS; i++) {
        gr_err err = w->peers_of[i]->is_self ? gr_home_open(w, (uint8_t)i, arena) : gr_ok();
        if (!gr_failed(err)) continue;
        gr_worker_free(&w);
        return err;
    }
    gr_post_start(w);
    gr_worker_updates_paused(w);
    show_counters(w);
    *out = w;
    return gr_ok();
}

void gr_worker_free(gr_worker **at)
{
    gr_worker *w = *at;
    if (!w) return;
    w->run_first = NULL;       /* its mailboxes are freed below, in no order */
    w->run_last = &w->run_first;
    gr_live *live, *next;
    HASH_ITER(hh, w->lives, live, next)
    {
        gr_mailbox_clear(w, &live->box);
        gr_live_drop(w, live);
        HASH_DEL(w->lives, live);
        free(live);
    }
    gr_pending_lose(w, NULL);
    for (int i = 0; i < GR_SHARDS; i++) gr_home_free(w, &w->homes[i]);
    gr_row_cache_free(&w->rows);
    gr_timer_free(w);
    gr_group_free(w);
    gr_peer_free_all(w);
    while (w->jobs) {
        gr_job *job = w->jobs;
        w->jobs = job->next;
        gr_job_free(&job);
    }
    while (w->calls) {
        gr_call *call = w->calls;
        w->calls = call->next;
        free(call);
    }
    gr_upkeep_free(&w->upkeep);
    gr_ctx_free(&w->ctx);
    gr_buf_free(&w->scratch);
    pthread_mutex_destroy(&w->lock);
    free(w);
    *at = NULL;
}

/* --- the step ------------------------------------------------------------------------------------------- */
void gr_worker_call(gr_worker *w, void (*fn)(void *arg, gr_worker *), void *arg)
{
    gr_call *call = gr_alloc(sizeof *call);
    *call = (gr_call){.fn = fn, .arg = arg};
    pthread_mutex_lock(&w->lock);
    *w->calls_last = call;
    w->calls_last = &call->next;
    pthread_mutex_unlock(&w->lock);
    w->o.transport->ops->wake(w->o.transport, w->o.self);
}

/* What other threads handed in. */
static void take_in(gr_worker *w)
{
    pthread_mutex_lock(&w->lock);
    gr_job *job = w->jobs;
    gr_call *call = w->calls;
    w->jobs = NULL;
    w->jobs_last = &w->jobs;
    w->calls = NULL;
    w->calls_last = &w->calls;
    pthread_mutex_unlock(&w->lock);
    for (gr_job *next; job; job = next) {
        next = job->next;
        gr_live_work_done(w, job);
    }
    for (gr_call *next; call; call = next) {
        next = call->next;
        call->fn(call->arg, w);
        free(call);
    }
}

/* One mailbox's turn. */
static size_t run_mailbox(gr_worker *w, gr_mailbox *box)
{
    size_t handled = 0;
    gr_item *item;
    while (handled < GR_TURN_MESSAGES && !gr_group_full(w) && (item = gr_mailbox_take(w, box))) {
        if (box->is_pair) gr_pair_in_handle(w, (gr_pair_in *)box, item);
        else gr_live_handle(w, (gr_live *)box, item);
        handled++;
    }
    if (box->first) {
        gr_mailbox_queue(w, box);
    } else if (!box->is_pair) {
        gr_live *live = (gr_live *)box;
        if (!live->self && live->open == 0 && !live->suspended) gr_live_free(w, live);
    }
    return handled;
}

static size_t run_mailboxes(gr_worker *w)
{
    size_t handled = 0;
    while (w->run_first && !gr_group_full(w)) {
        gr_mailbox *box = w->run_first;
        w->run_first = box->next;
        if (!w->run_first) w->run_last = &w->run_first;
        box->is_queued = false;
        handled += run_mailbox(w, box);
    }
    return handled;
}

gr_step gr_worker_step(gr_worker *w, uint64_t now_ms)
{
    gr_step step = {0};
    w->level = gr_level_now(w->o.level);
    if (now_ms > w->now_ms) w->now_ms = now_ms; /* a clock set back stands still until it has caught up */
    gr_runtime_us(w);
    gr_group_complete(w);
    take_in(w);
    gr_peer_links(w);
    gr_peer_receive(w, FRAMES_A_STEP);
    bool has_more = gr_due_fire(w, DUE_A_STEP);
    gr_group *group = gr_group_of(w, w->current);
    if (group->messages == 0) group->started_us = w->now_us;
    for (int round = 0; round < ROUNDS_A_STEP; round++) {
        size_t handled = run_mailboxes(w);
        step.handled += handled;
        gr_group_release_ready(w);
        if (handled == 0) break;
    }
    uint64_t upkeep_ms = gr_upkeep_run(w);
    gr_group_close(w);
    has_more |= gr_post_pump(w);
    if (w->lives_memory > w->o.memory_max) gr_live_evict(w);
    gr_peer_flush(w);
    show_counters(w);
    has_more |= w->run_first && !gr_group_full(w);
    has_more |= gr_group_outstanding(w) > 0
                && gr_group_of(w, w->released + 1)->waiting == 0; /* nothing will wake it */
    step.next_ms = has_more ? w->now_ms : gr_due_next(w);
    if (upkeep_ms < step.next_ms) step.next_ms = upkeep_ms;
    return step;
}

void gr_worker_stop(gr_worker *w) { w->is_stopping = true; }

bool gr_worker_drained(const gr_worker *w)
{
    return w->is_stopping && !w->run_first && !w->ready && gr_group_outstanding(w) == 0
           && !w->groups[w->current % 4].dirty;
}

void gr_worker_count(const gr_worker *worker, gr_worker_counters *out)
{
    gr_worker *w = (gr_worker *)worker; /* only its lock is changed */
    pthread_mutex_lock(&w->lock);
    *out = w->shown;
    pthread_mutex_unlock(&w->lock);
}
