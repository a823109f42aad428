/* work.c - running a job, and what the work may read. See work.h. */
#include "bus/work.h"
#include "bus/ctx.h"

#include <stdlib.h>

struct gr_work_reader {
    gr_shard shard;
    gr_snapshot *snapshot;
    gr_arena *arena;
    gr_str actor;
    gr_ctx ctx; /* made by gr_work_ctx; else zeroed */
    size_t prefix_size;
    char prefix[GR_PREFIX_MAX];
};

static gr_str own_key(const gr_work_reader *r, gr_str key)
{
    return gr_arena_cat(r->arena, 2, (gr_str[]){{r->prefix, r->prefix_size}, key});
}

bool gr_work_get(gr_work_reader *r, gr_arena *arena, gr_str key, gr_str *value)
{
    gr_err err = gr_shard_get(&r->shard, r->snapshot, own_key(r, key), arena, value);
    return !gr_failed(err) && value->ptr;
}

typedef struct {
    gr_ctx_row_fn *fn;
    void *arg;
    size_t prefix_size;
} row_call;

static bool on_row(void *arg, gr_str key, gr_str value)
{
    row_call *call = arg;
    return call->fn(call->arg, gr_str_from(key, call->prefix_size), value);
}

void gr_work_scan(gr_work_reader *r, gr_str from, gr_str to, bool descending, size_t limit, gr_ctx_row_fn *fn,
                  void *arg)
{
    row_call call = {fn, arg, r->prefix_size};
    gr_range range = {
        .from = own_key(r, from), .to = own_key(r, to), .descending = descending, .limit = limit};
    if (to.size == 0) ((char *)range.to.ptr)[r->prefix_size - 1] = 1; /* past the own keys */
    gr_err err = gr_shard_scan(&r->shard, r->snapshot, &range, on_row, &call);
    (void)err; /* a work that finds too little is checked by the actor against the present state */
}

/* --- code that handlers share --------------------------------------------------------------------------- */
gr_ctx *gr_work_ctx(gr_work_reader *r, uint64_t now_ms)
{
    gr_ctx_free(&r->ctx);
    r->ctx = (gr_ctx){.arena = r->arena,
                      .home = &r->shard,
                      .snapshot = r->snapshot,
                      .now_ms = now_ms,
                      .level = GR_LEVEL_ALL,
                      .shard = r->shard.shard};
    gr_ctx_begin(&r->ctx, r->actor);
    gr_ctx_asked(&r->ctx, r->actor, 1);
    return &r->ctx;
}

bool gr_work_answered(gr_work_reader *r, const gr_type **type, gr_str *body)
{
    const gr_effect *e = r->ctx.first;
    if (!e || gr_failed(r->ctx.failed)) return false;
    gr_assert(e->kind == GR_FX_MESSAGE && e->verb == GR_REPLY && !e->next && r->ctx.write_count == 0);
    *type = e->type;
    *body = e->body;
    return true;
}

bool gr_work_failed(const gr_work_reader *r) { return gr_failed(r->ctx.failed); }

void gr_job_run(gr_job *job)
{
    gr_arena *arena = gr_arena_new(0);
    gr_work_reader reader = {.shard = {.store = job->store, .shard = job->shard}, .arena = arena, .actor = job->actor};
    reader.prefix_size =
        gr_actor_prefix(gr_address_kind(job->actor), gr_address_id(job->actor), reader.prefix);
    job->failed = gr_failed(gr_store_snapshot(job->store, &reader.snapshot))
                  || !job->work->run(arena, gr_buf_view(&job->input), &reader, &job->output);
    if (reader.snapshot) gr_store_release(job->store, &reader.snapshot);
    gr_ctx_free(&reader.ctx);
    gr_arena_free(&arena);
    job->hand_back(job->hand_back_arg, job);
}

void gr_job_fetched(gr_job *job, const gr_fetched *fetched)
{
    gr_assert(!job->work);
    gr_body_encode(&job->output, &gr_type_fetched, fetched);
    job->hand_back(job->hand_back_arg, job);
}

void gr_job_drop(gr_job *job)
{
    job->failed = job->refused = true;
    job->hand_back(job->hand_back_arg, job);
}

static void wipe(gr_buf *b)
{
    if (b->ptr) explicit_bzero(b->ptr, b->room);
    gr_buf_free(b);
}

void gr_job_free(gr_job **at)
{
    gr_job *job = *at;
    if (!job) return;
    wipe(&job->input);
    wipe(&job->output);
    free((char *)job->actor.ptr);
    free((char *)job->resume.bytes.ptr);
    free(job);
    *at = NULL;
}
