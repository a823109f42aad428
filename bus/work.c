/* work.c - running a job, and what the work may read. See work.h. */
#include "bus/work.h"
#include "bus/ctx.h"

#include <stdlib.h>

struct gr_work_reader {
    gr_shard shard;
    gr_snapshot *snapshot;
    gr_arena *arena;
    gr_str actor;
    const void *env;
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
                      .env = r->env,
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

/* --- rows that a handler is to write ------------------------------------------------------------------------ */
/* Each: kind (1), sizes (4, 4), key, value.  A timer: its name, and when it is due (8) and whether it is durable (1).  A post:
 * to whom, and its type (4) and body. */
enum { WRITTEN_PUT = 1, WRITTEN_DELETE, WRITTEN_TIMER, WRITTEN_TIMER_CLEAR, WRITTEN_POST, WRITTEN_HEAD = 9 };

static void write_entry(gr_buf *out, int kind, gr_str key, gr_str value)
{
    gr_buf_char(out, (char)kind);
    gr_buf_u32be(out, (uint32_t)key.size);
    gr_buf_u32be(out, (uint32_t)value.size);
    gr_buf_str(out, key);
    gr_buf_str(out, value);
}

static void write_timer(gr_buf *out, const gr_effect *e)
{
    char due[9];
    gr_assert(e->kind == GR_FX_TIMER || e->kind == GR_FX_TIMER_CLEAR);
    for (int i = 0; i < 8; i++) due[i] = (char)(e->due_ms >> (56 - 8 * i));
    due[8] = e->durable;
    write_entry(out, e->kind == GR_FX_TIMER ? WRITTEN_TIMER : WRITTEN_TIMER_CLEAR, e->name, gr_str_of(due, sizeof due));
}

static void write_post(gr_buf *out, const gr_effect *e)
{
    gr_buf value = {0};
    gr_assert(e->kind == GR_FX_MESSAGE && e->verb == GR_POST && !e->reply_to.size && !e->attachment_key.size);
    gr_buf_u32be(&value, e->type->id);
    gr_buf_str(&value, e->body);
    write_entry(out, WRITTEN_POST, e->to, gr_buf_view(&value));
    gr_buf_free(&value);
}

static void post_again(gr_ctx *c, gr_str to, gr_str value)
{
    void *body;
    const gr_type *type = gr_type_find(gr_u32be(value.ptr));
    gr_err err = gr_body_decode(c->arena, type, gr_str_from(value, 4), &body);
    gr_assert(!gr_failed(err));
    gr_ctx_post(c, to, type, body);
}

void gr_work_written(gr_work_reader *r, gr_buf *out)
{
    const gr_ctx *c = &r->ctx;
    for (size_t i = 0; i < c->write_count; i++) {
        const gr_write *w = &c->writes[i];
        bool is_last = true;           /* of its key: what it was in between is nobody's business */
        for (size_t k = i + 1; is_last && k < c->write_count; k++)
            is_last = c->writes[k].hash != w->hash || !gr_str_eq(c->writes[k].key, w->key);
        if (!is_last) continue;
        write_entry(out, w->kind == GR_OP_PUT ? WRITTEN_PUT : WRITTEN_DELETE, gr_str_from(w->key, c->prefix_size), w->value);
    }
    for (const gr_effect *e = c->first; e; e = e->next) {
        if (e->kind == GR_FX_MESSAGE) write_post(out, e);
        else write_timer(out, e);
    }
}

size_t gr_work_written_size(const gr_work_reader *r) { return r->ctx.write_bytes; }

void gr_ctx_write_again(gr_ctx *c, gr_str written)
{
    while (written.size >= WRITTEN_HEAD) {
        size_t key_size = gr_u32be(written.ptr + 1), value_size = gr_u32be(written.ptr + 5);
        gr_str key = gr_str_of(written.ptr + WRITTEN_HEAD, key_size), value = gr_str_of(key.ptr + key_size, value_size);
        gr_assert(written.size >= WRITTEN_HEAD + key_size + value_size);
        switch (written.ptr[0]) {
        case WRITTEN_PUT: gr_ctx_put(c, key, value); break;
        case WRITTEN_DELETE: gr_ctx_del(c, key); break;
        case WRITTEN_TIMER: gr_ctx_timer(c, key, gr_u64be(value.ptr), value.ptr[8]); break;
        case WRITTEN_POST: post_again(c, key, value); break;
        default: gr_ctx_timer_clear(c, key);
        }
        written = gr_str_from(written, WRITTEN_HEAD + key_size + value_size);
    }
}

bool gr_work_failed(const gr_work_reader *r) { return gr_failed(r->ctx.failed); }

void gr_job_run(gr_job *job)
{
    gr_arena *arena = gr_arena_new(0);
    gr_work_reader reader = {.shard = {.store = job->store, .shard = job->shard}, .arena = arena,
                             .actor = job->actor, .env = job->env};
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
