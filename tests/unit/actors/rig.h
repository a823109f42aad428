/* rig.h - one actor under test: hand it a message, look at what it left.  No threads, no disk, no other
 * actor.
 *
 * The actor reads and writes through a real ctx over an overlay on a store in memory.  Everything a step
 * left stays valid until the next one.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/env.h"
#include "bus/ctx.h"
#include "bus/work.h"
#include "persistence/memory_engine.h"

typedef struct {
    const gr_actor_kind *kind;
    gr_memory_disk *disk;
    gr_store *store;
    gr_shard shard;
    gr_overlay *overlay;
    gr_arena *arena, *long_arena;
    gr_ctx ctx;
    gr_env env;
    gr_signer signer;
    gr_str address;
    void *self;
    uint64_t position, random, group;
    bool is_over_bounds; /* of any handler since it was last set to false */
    /* What the last step left. */
    const gr_type *reply_type; /* NULL: no answer, or a forwarded one */
    const void *reply;
    gr_err err;
    size_t write_bytes, write_count, gets;
} rig;

static uint64_t rig_position(void *arg, uint8_t shard)
{
    (void)shard;
    return ++((rig *)arg)->position;
}

static uint64_t rig_newest(void *arg, uint8_t shard)
{
    (void)shard;
    return ((rig *)arg)->position;
}

static const void *rig_sibling(void *arg, gr_kind kind, uint8_t shard)
{
    (void)arg;
    (void)kind;
    (void)shard;
    return NULL;
}

static void rig_random(void *arg, void *out, size_t size)
{
    rig *r = arg;
    for (size_t i = 0; i < size; i++) {
        r->random = r->random * 6364136223846793005u + 1442695040888963407u;
        ((char *)out)[i] = (char)(r->random >> 33);
    }
}

static void rig_freed(void *arg, gr_asker *a)
{
    (void)arg;
    (void)a;
}

static const gr_ctx_host rig_host = {rig_position, rig_newest, rig_sibling, rig_random, rig_freed};

static inline void rig_load(rig *r)
{
    r->self = gr_alloc(r->kind->size);
    gr_ctx_begin(&r->ctx, r->address);
    r->ctx.loading = true;
    r->kind->load(r->self, gr_address_id(r->address), &r->ctx);
    r->ctx.loading = false;
}

static inline void rig_unload(rig *r)
{
    r->kind->drop(r->self);
    free(r->self);
    r->self = NULL;
}

static inline rig *rig_new(const gr_actor_kind *kind, const char *address)
{
    static const unsigned char seed[GR_SIGN_SEED] = {1};
    rig *r = gr_alloc(sizeof *r);
    r->kind = kind;
    r->arena = gr_arena_new(0);
    r->long_arena = gr_arena_new(0);
    r->disk = gr_memory_disk_new();
    gr_store_options options = {.server_name = GR_STR("here"),
                                .create = true,
                                .incarnation = 7,
                                .engine = gr_memory_engine_new(r->disk, &(gr_memory_options){.seed = 1})};
    assert_false(gr_failed(gr_store_open(&options, r->long_arena, &r->store)));
    r->address = gr_arena_str(r->long_arena, gr_str_c(address));
    assert_false(gr_failed(gr_shard_open(r->store, gr_address_shard(r->address), r->long_arena, &r->shard)));
    r->overlay = gr_overlay_new(&r->shard, NULL);
    r->group = 1;
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("a_1"), seed, &r->signer)));
    r->env =
        (gr_env){.server_name = GR_STR("here"), .signer = &r->signer, .default_room_version = GR_STR("12")};
    r->ctx = (gr_ctx){.host = &rig_host,
                      .level = GR_LEVEL_ALL,
                      .host_arg = r,
                      .arena = r->arena,
                      .overlay = r->overlay,
                      .env = &r->env,
                      .now_ms = 1700000000000,
                      .incarnation = 7,
                      .shard = r->shard.shard};
    rig_load(r);
    return r;
}

static inline void rig_free(rig **at)
{
    rig *r = *at;
    rig_unload(r);
    gr_ctx_free(&r->ctx);
    gr_overlay_free(&r->overlay);
    gr_store_close(&r->store);
    gr_memory_disk_free(&r->disk);
    gr_arena_free(&r->arena);
    gr_arena_free(&r->long_arena);
    free(r);
    *at = NULL;
}

/* The effect number `index` of these, or NULL. */
static inline const gr_effect *rig_effect(const rig *r, gr_verb verb, const gr_type *type, size_t index)
{
    for (const gr_effect *e = r->ctx.first; e; e = e->next)
        if (e->kind == GR_FX_MESSAGE && e->verb == verb && (!type || e->type == type) && index-- == 0)
            return e;
    return NULL;
}

static inline size_t rig_count(const rig *r, gr_verb verb, const gr_type *type)
{
    size_t count = 0;
    while (rig_effect(r, verb, type, count)) count++;
    return count;
}

static inline const void *rig_body(rig *r, const gr_effect *e)
{
    void *body = NULL;
    assert_non_null(e);
    assert_false(gr_failed(gr_body_decode(r->arena, e->type, e->body, &body)));
    return body;
}

static inline void rig_finish(rig *r)
{
    assert_false(gr_failed(r->ctx.failed));
    for (size_t i = 0; i < r->ctx.write_count; i++) {
        const gr_write *w = &r->ctx.writes[i];
        if (w->kind == GR_OP_PUT) gr_overlay_put(r->overlay, r->group, w->key, w->value);
        else gr_overlay_delete(r->overlay, r->group, w->key);
    }
    r->write_bytes = r->ctx.write_bytes;
    r->write_count = r->ctx.write_count;
    r->gets = r->ctx.gets;
    r->is_over_bounds |= gr_ctx_over_bounds(&r->ctx);
    const gr_effect *reply = rig_effect(r, GR_REPLY, NULL, 0);
    r->reply_type = reply ? reply->type : NULL;
    r->reply = reply ? rig_body(r, reply) : NULL;
    r->err = gr_ok();
    if (reply && reply->type == &gr_type_error) {
        const gr_error *e = r->reply;
        r->err = (gr_err){(gr_errcode)e->code, gr_arena_str(r->arena, e->text).ptr, 0};
    }
}

static inline void rig_handle(rig *r, const gr_msg *msg)
{
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    if (msg->verb == GR_ASK) gr_ctx_asked(&r->ctx, GR_STR("edge/n0/0"), 1);
    r->kind->handle(r->self, msg, &r->ctx);
    rig_finish(r);
}

static inline void rig_committed(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    (void)shard;
    (void)number;
    assert_int_equal(outcome, GR_COMMITTED);
    gr_overlay_committed(((rig *)arg)->overlay, token);
}

/* Makes durable what was written: work sees no more than that. */
static inline void rig_commit(rig *r)
{
    gr_batch batch;
    assert_false(gr_failed(gr_overlay_seal(r->overlay, r->group, r->long_arena, &batch)));
    if (batch.bytes.size) gr_store_submit(r->store, &batch, 1, r->group, rig_committed, r);
    while (gr_overlay_layers(r->overlay) > 0) gr_store_step(r->store);
    r->group++;
}

static inline void rig_handed_back(void *arg, gr_job *job)
{
    (void)arg;
    (void)job;
}

/* Runs the work that the last step left, and hands its result to the actor; false when there is none. */
static inline bool rig_run_work(rig *r)
{
    const gr_effect *e = r->ctx.first;
    while (e && e->kind != GR_FX_WORK) e = e->next;
    if (!e) return false;
    rig_commit(r);
    gr_job *job = gr_alloc(sizeof *job);
    *job = (gr_job){.work = e->work, .actor = {gr_str_dup(r->address), r->address.size}, .store = r->store, .env = &r->env,
                    .shard = r->shard.shard, .hand_back = rig_handed_back};
    gr_buf_str(&job->input, e->input);
    gr_resume resume = e->resume;
    gr_job_run(job);
    gr_work_done done = {.output = gr_buf_view(&job->output), .failed = job->failed};
    gr_msg msg = {.verb = GR_REPLY, .type = &gr_type_work_done, .body = &done, .from = r->address, .resume = &resume};
    rig_handle(r, &msg);
    gr_job_free(&job);
    return true;
}

/* Fires the first timer that the last step set, if it is due soon: the clock moves there.  False when there is none. */
static inline bool rig_fire(rig *r)
{
    enum { SOON_MS = 100 };
    const gr_effect *e = r->ctx.first;
    while (e && !(e->kind == GR_FX_TIMER && e->due_ms <= r->ctx.now_ms + SOON_MS)) e = e->next;
    if (!e) return false;
    if (e->due_ms > r->ctx.now_ms) r->ctx.now_ms = e->due_ms;
    gr_arena *a = gr_arena_new(0);
    gr_timer timer = {.name = gr_arena_str(a, e->name), .due_ms = e->due_ms};
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = r->address});
    gr_arena_free(&a);
    return true;
}

/* What comes of the last step through the pool and by timers, until there is an answer or nothing more to do at once. */
static inline void rig_work(rig *r)
{
    while (!r->reply && (rig_run_work(r) || rig_fire(r))) continue;
}

/* Answers of the pool are waited for. */
static inline void rig_ask(rig *r, const gr_type *type, const void *body)
{
    rig_handle(r, &(gr_msg){.verb = GR_ASK, .type = type, .body = body, .from = GR_STR("edge/n0/0")});
    rig_work(r);
}

static inline void rig_reply(rig *r, const gr_type *type, const void *body, const gr_resume *resume,
                             gr_err err)
{
    rig_handle(r, &(gr_msg){.verb = GR_REPLY, .type = type, .body = body, .resume = resume, .err = err});
}

/* Drops the actor and loads it again; it must be the same. */
static inline void rig_reload(rig *r)
{
    uint64_t before = r->kind->digest(r->self);
    rig_unload(r);
    rig_load(r);
    assert_int_equal(before, r->kind->digest(r->self));
}
