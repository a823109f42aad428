/* worker_groups.c - groups: batches, completions, and the release of effects when what they rest on is
 * durable.
 *
 * A group takes the messages of one or more steps.  A shard that was written by it gives one batch.  A
 * message's effects wait for the newest group that wrote to its shard, whether by itself or before it; when
 * none is outstanding they leave at the end of the step.  Groups are released in order, so effects of one
 * shard keep theirs.
 */
#include "bus/post.h"
#include "bus/upkeep.h"

#include <stdlib.h>

static void begin(gr_group *group, uint64_t id)
{
    gr_assert(!group->first && group->live == 0 && !group->dirty && group->waiting == 0);
    group->id = id;
    group->last = &group->first;
    group->messages = group->bytes = 0;
    group->is_full = group->is_submitted = false;
    group->started_us = group->submitted_us = group->committed_us = 0;
    gr_arena_reset(group->arena);
}

void gr_group_init(gr_worker *w)
{
    for (int i = 0; i < 4; i++) w->groups[i].arena = gr_arena_new(64 * 1024);
    w->ready_last = &w->ready;
    w->current = 1;
    begin(gr_group_of(w, 1), 1);
}

size_t gr_group_outstanding(const gr_worker *w) { return (size_t)(w->current - w->released - 1); }

void gr_group_add(gr_worker *w, gr_home *home, gr_handled *h)
{
    gr_group *group = gr_group_of(w, w->current);
    h->group = group;
    h->next = NULL;
    group->live++;
    gr_handled ***last = &w->ready_last;
    if (home->written > w->released) last = &gr_group_of(w, home->written)->last;
    **last = h;
    *last = &h->next;
    if (home->written == w->current && gr_overlay_size(home->overlay) > GR_GROUP_BATCH) group->is_full = true;
}

bool gr_group_full(gr_worker *w)
{
    gr_group *group = gr_group_of(w, w->current);
    if (group->messages >= GR_GROUP_MESSAGES || group->bytes >= GR_GROUP_BYTES) group->is_full = true;
    if (group->messages > 0 && group->messages % 16 == 0
        && gr_runtime_us(w) - group->started_us > GR_GROUP_US)
        group->is_full = true;
    return group->is_full;
}

/* --- submitting ----------------------------------------------------------------------------------------- */
/* On the committer's thread. */
static void on_done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    gr_worker *w = arg;
    (void)number;
    pthread_mutex_lock(&w->lock);
    if (w->completion_count == w->completion_room) {
        w->completion_room = w->completion_room ? w->completion_room * 2 : 64;
        w->completions = gr_realloc(w->completions, w->completion_room * sizeof *w->completions);
    }
    bool was_empty = w->completion_count == 0;
    w->completions[w->completion_count++] = (gr_completion){token, shard, outcome};
    /* Under the lock: once the worker has seen this, a node that stops may free it and the transport. */
    if (was_empty) w->o.transport->ops->wake(w->o.transport, w->o.self);
    pthread_mutex_unlock(&w->lock);
}

static size_t seal(gr_worker *w, gr_group *group, gr_batch *batches)
{
    size_t count = 0;
    while (group->dirty) {
        gr_home *home = group->dirty;
        group->dirty = home->next_dirty;
        if (!home->is_open) continue;
        gr_post_seal(w, home);
        gr_err err = gr_overlay_seal(home->overlay, group->id, group->arena, &batches[count]);
        gr_assert(!gr_failed(err)); /* GR_GROUP_BATCH and GR_HANDLER_WRITES_MAX keep it within bounds */
        if (batches[count].bytes.size == 0) continue;
        group->generations[home->shard.shard] = home->generation;
        count++;
    }
    return count;
}

/* A group in which nothing was written needs no commit; its arena is used again once nobody needs it. */
static void close_unwritten(gr_group *group)
{
    if (group->live == 0 && !group->first) begin(group, group->id);
}

void gr_group_close(gr_worker *w)
{
    gr_group *group = gr_group_of(w, w->current);
    if (!group->dirty) {
        close_unwritten(group);
        return;
    }
    if (gr_group_outstanding(w) >= GR_GROUPS_OUTSTANDING) return;
    gr_batch batches[GR_SHARDS];
    size_t count = seal(w, group, batches);
    group->waiting = count;
    group->is_submitted = true;
    group->submitted_us = gr_runtime_us(w);
    w->n.groups++;
    w->n.batches += count;
    if (group->messages > w->n.group_messages_max) w->n.group_messages_max = group->messages;
    w->current++;
    begin(gr_group_of(w, w->current), w->current);
    gr_group_of(w, w->current)->started_us = group->submitted_us;
    if (count > 0) gr_store_submit(w->o.store, batches, count, group->id, on_done, w);
}

/* --- releasing ------------------------------------------------------------------------------------------ */
static void write_log(gr_worker *w, const gr_handled *h, uint64_t committed_us)
{
    if (!w->o.log) return;
    const gr_envelope *e = &h->item->e;
    gr_log_record record = {.trace = e->trace,
                            .span = e->span,
                            .parent = e->parent,
                            .from = e->from,
                            .to = e->to,
                            .type = e->type,
                            .verb = e->verb,
                            .sent_us = e->sent_us,
                            .queued_us = h->item->queued_us,
                            .started_us = h->started_us,
                            .handled_us = h->handled_us,
                            .committed_us = committed_us,
                            .released_us = gr_runtime_us(w),
                            .body_size = (uint32_t)e->body.size};
    if (w->o.log_bodies) record.body = e->body;
    w->o.log(w->o.log_arg, &record);
}

static void make_job(gr_worker *w, gr_handled *h, gr_effect *e);

/* The effects are void: those who wait for an answer hear that there is none. */
static void fail_effects(gr_worker *w, gr_handled *h)
{
    gr_err err = gr_fail(GR_UNAVAILABLE, "The server could not store this; try again");
    for (gr_effect *e = h->effects; e; e = e->next) {
        if (e->kind != GR_FX_MESSAGE) continue;
        if (e->verb == GR_REPLY)
            gr_peer_send_error(w, h->item->e.to, e->to, e->seq, e->trace, e->parent, err);
        if (e->verb == GR_POST && e->reply_to.size)
            gr_peer_send_error(w, h->item->e.to, e->reply_to, e->reply_seq, e->trace, e->parent, err);
    }
}

static void release(gr_worker *w, gr_handled *h, uint64_t committed_us)
{
    if (h->generation == h->home->generation) {
        for (gr_effect *e = h->effects; e; e = e->next) {
            if (e->kind == GR_FX_MESSAGE) gr_peer_send_effect(w, h, e);
            if (e->kind == GR_FX_WORK || e->kind == GR_FX_FETCH) make_job(w, h, e);
        }
        if (h->pair) gr_post_durable(w, h->pair, h->item->e.seq);
    } else {
        fail_effects(w, h);
    }
    if (h->item->e.type != GR_T_upkeep_step) {
        gr_upkeep_felt(w, h->item->queued_us);
        write_log(w, h, committed_us);
    }
    gr_item_free(h->item);
    h->group->live--;
}

/* The list is taken off first: releasing may answer errors, never add handled messages. */
static void release_list(gr_worker *w, gr_handled *first, uint64_t committed_us)
{
    if (first) gr_runtime_us(w);
    for (gr_handled *h = first, *next; h; h = next) {
        next = h->next;
        release(w, h, committed_us);
    }
}

void gr_group_release_ready(gr_worker *w)
{
    gr_handled *first = w->ready;
    w->ready = NULL;
    w->ready_last = &w->ready;
    release_list(w, first, 0);
}

static void complete(gr_worker *w, const gr_completion *done)
{
    gr_group *group = gr_group_of(w, done->group);
    gr_home *home = w->homes[done->shard];
    gr_assert(group->id == done->group && group->waiting > 0);
    group->waiting--;
    if (group->generations[done->shard] != home->generation) return; /* of before the shard was lost */
    if (done->outcome == GR_COMMITTED) gr_overlay_committed(home->overlay, group->id);
    else gr_home_lose(w, home);
}

void gr_group_complete(gr_worker *w)
{
    pthread_mutex_lock(&w->lock);
    gr_completion *done = w->completions;
    size_t count = w->completion_count;
    w->completions = NULL;
    w->completion_count = w->completion_room = 0;
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < count; i++) complete(w, &done[i]);
    free(done);
    while (gr_group_outstanding(w) > 0) {
        gr_group *group = gr_group_of(w, w->released + 1);
        if (group->waiting > 0) break;
        group->committed_us = gr_runtime_us(w);
        w->n.commit_us_sum += group->committed_us - group->submitted_us;
        w->released++;
        gr_handled *first = group->first;
        group->first = NULL;
        group->last = &group->first;
        release_list(w, first, group->committed_us);
    }
}

void gr_group_free(gr_worker *w)
{
    gr_handled *lists[5] = {w->ready};
    for (int i = 0; i < 4; i++) lists[i + 1] = w->groups[i].first;
    for (int i = 0; i < 5; i++)
        for (gr_handled *h = lists[i]; h; h = h->next) gr_item_free(h->item);
    for (int i = 0; i < 4; i++) gr_arena_free(&w->groups[i].arena);
    free(w->completions);
}

/* --- work ----------------------------------------------------------------------------------------------- */
static void hand_back(void *arg, gr_job *job)
{
    gr_worker *w = arg;
    pthread_mutex_lock(&w->lock);
    job->next = NULL;
    *w->jobs_last = job;
    w->jobs_last = &job->next;
    w->o.transport->ops->wake(w->o.transport, w->o.self);
    pthread_mutex_unlock(&w->lock);
}

static void make_job(gr_worker *w, gr_handled *h, gr_effect *e)
{
    gr_job *job = gr_alloc(sizeof *job);
    gr_str actor = h->item->e.to;
    *job = (gr_job){.work = e->work,
                    .actor = {gr_str_dup(actor), actor.size},
                    .resume = e->resume,
                    .trace = e->trace,
                    .span = e->span,
                    .generation = h->generation,
                    .store = w->o.store,
                    .env = w->ctx.env,
                    .shard = h->home->shard.shard,
                    .hand_back = hand_back,
                    .hand_back_arg = w};
    job->resume.bytes.ptr = gr_str_dup(e->resume.bytes);
    gr_buf_str(&job->input, e->input);
    explicit_bzero((char *)e->input.ptr, e->input.size);
    w->n.work++;
    gr_work_seam *seam = e->kind == GR_FX_FETCH ? w->o.http : w->o.work;
    if (seam && !w->is_stopping && seam->submit(seam, job)) return;
    job->failed = job->refused = true;
    hand_back(w, job);
}
