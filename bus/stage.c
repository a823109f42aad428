/* stage.c - actors in a unit test. See stage.h. */
#include "bus/stage.h"
#include "bus/work.h"
#include "persistence/memory_engine.h"

#include <stdlib.h>

enum { ACTORS_MAX = 16, KINDS_MAX = 16, TIMERS_MAX = 256 };

typedef struct {
    gr_str address;
    const gr_actor_kind *kind;
    void *self;
} actor;
typedef struct {
    size_t actor;
    gr_str name;
    uint64_t due_ms;
    bool durable;
} timer;

struct gr_stage {
    const gr_actor_kind *kinds[GR_KIND_COUNT];
    gr_memory_disk *disk;
    gr_store *store;
    gr_shard shard;
    gr_row_cache *rows;
    gr_overlay *overlay;
    gr_arena *arena;
    gr_ctx ctx;
    actor actors[ACTORS_MAX];
    size_t actor_count, on;
    timer timers[TIMERS_MAX];
    size_t timer_count;
    uint64_t now_ms, random, group, position, seq;
    gr_stage_effect *effects;
    size_t effect_count;
    gr_write *writes;
    size_t write_count;
    bool is_over_bounds, is_newer;
    unsigned level;
};

/* --- what the ctx needs --------------------------------------------------------------------------------- */
static uint64_t new_position(void *arg, uint8_t shard)
{
    (void)shard;
    return ++((gr_stage *)arg)->position;
}

static uint64_t newest_position(void *arg, uint8_t shard)
{
    (void)shard;
    return ((gr_stage *)arg)->position;
}

static void draw(void *arg, void *out, size_t size)
{
    gr_stage *s = arg;
    for (size_t i = 0; i < size; i++) {
        s->random = s->random * 6364136223846793005u + 1442695040888963407u;
        ((unsigned char *)out)[i] = (unsigned char)(s->random >> 56);
    }
}

static void nobody_hears(void *arg, gr_asker *asker)
{
    (void)arg;
    (void)asker;
}

static size_t actor_at(gr_stage *s, gr_str address);
static void load(gr_stage *s, size_t at);

static const void *sibling(void *arg, gr_kind kind, uint8_t shard)
{
    gr_stage *s = arg;
    size_t at = actor_at(s, gr_address_of_shard(s->arena, kind, shard));
    load(s, at);
    return s->actors[at].self;
}

static const gr_ctx_host host = {new_position, newest_position, sibling, draw, nobody_hears};

/* --- actors --------------------------------------------------------------------------------------------- */
static size_t actor_at(gr_stage *s, gr_str address)
{
    for (size_t i = 0; i < s->actor_count; i++)
        if (gr_str_eq(s->actors[i].address, address)) return i;
    gr_assert(s->actor_count < ACTORS_MAX && gr_address_valid(address));
    const gr_actor_kind *kind = s->kinds[gr_address_kind(address)];
    gr_assert(kind);
    s->actors[s->actor_count] = (actor){gr_arena_str(s->arena, address), kind, NULL};
    return s->actor_count++;
}

static void begin(gr_stage *s, gr_ctx *c, size_t at)
{
    c->arena = s->arena;
    c->overlay = s->overlay;
    c->shard = s->shard.shard;
    c->incarnation = s->shard.incarnation;
    c->level = s->level;
    c->now_ms = s->now_ms;
    gr_ctx_begin(c, s->actors[at].address);
}

/* With a ctx of its own, since a handler may be running that looks at its sibling. */
static void load(gr_stage *s, size_t at)
{
    actor *a = &s->actors[at];
    if (a->self) return;
    gr_ctx c = {.host = &host, .host_arg = s, .env = s->ctx.env};
    begin(s, &c, at);
    a->self = gr_alloc(a->kind->size);
    c.loading = true;
    if (a->kind->load) a->kind->load(a->self, gr_address_id(a->address), &c);
    gr_ctx_free(&c);
}

static void drop(actor *a)
{
    if (!a->self) return;
    if (a->kind->drop) a->kind->drop(a->self);
    free(a->self);
    a->self = NULL;
}

gr_stage *gr_stage_new(const gr_actor_kind *const *kinds, const char *address, const void *env)
{
    gr_stage *s = gr_alloc(sizeof *s);
    s->arena = gr_arena_new(0);
    s->disk = gr_memory_disk_new();
    gr_store_options o = {.server_name = GR_STR("stage"),
                          .create = true,
                          .incarnation = 1,
                          .engine = gr_memory_engine_new(s->disk, &(gr_memory_options){.seed = 1})};
    gr_err err = gr_store_open(&o, s->arena, &s->store);
    gr_assert(!gr_failed(err));
    err = gr_shard_open(s->store, gr_address_shard(gr_str_c(address)), s->arena, &s->shard);
    gr_assert(!gr_failed(err));
    s->rows = gr_row_cache_new();
    s->overlay = gr_overlay_new(&s->shard, s->rows);
    s->now_ms = 1700000000000;
    s->level = GR_LEVEL_ALL;
    s->random = 1;
    s->ctx = (gr_ctx){.host = &host, .host_arg = s, .env = env};
    for (size_t i = 0; kinds[i]; i++) s->kinds[kinds[i]->kind] = kinds[i];
    gr_stage_on(s, address);
    return s;
}

void gr_stage_free(gr_stage **at)
{
    gr_stage *s = *at;
    if (!s) return;
    for (size_t i = 0; i < s->actor_count; i++) drop(&s->actors[i]);
    gr_ctx_free(&s->ctx);
    gr_overlay_free(&s->overlay);
    gr_row_cache_free(&s->rows);
    gr_store_close(&s->store);
    gr_memory_disk_free(&s->disk);
    gr_arena_free(&s->arena);
    free(s);
    *at = NULL;
}

void gr_stage_on(gr_stage *s, const char *address) { s->on = actor_at(s, gr_str_c(address)); }
void gr_stage_clock(gr_stage *s, uint64_t now_ms) { s->now_ms = now_ms; }
void gr_stage_level(gr_stage *s, unsigned level) { s->level = level; }
uint64_t gr_stage_now(const gr_stage *s) { return s->now_ms; }

const void *gr_stage_self(gr_stage *s)
{
    load(s, s->on);
    return s->actors[s->on].self;
}

/* --- after a handler ------------------------------------------------------------------------------------ */
static void on_committed(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    gr_stage *s = arg;
    (void)shard;
    (void)number;
    gr_assert(outcome == GR_COMMITTED);
    gr_overlay_committed(s->overlay, token);
}

static void commit(gr_stage *s)
{
    gr_ctx *c = &s->ctx;
    gr_batch batch;
    s->group++;
    s->write_count = c->write_count;
    s->writes = gr_arena_alloc(s->arena, c->write_count * sizeof *s->writes);
    for (size_t i = 0; i < c->write_count; i++) {
        const gr_write *w = &c->writes[i];
        if (w->kind == GR_OP_PUT) gr_overlay_put(s->overlay, s->group, w->key, w->value);
        else gr_overlay_delete(s->overlay, s->group, w->key);
        s->writes[i] = *w;
        s->writes[i].key = gr_str_from(w->key, c->prefix_size);
    }
    gr_err err = gr_overlay_seal(s->overlay, s->group, s->arena, &batch);
    gr_assert(!gr_failed(err));
    if (batch.bytes.size) gr_store_submit(s->store, &batch, 1, s->group, on_committed, s);
    while (gr_overlay_layers(s->overlay) > 0) gr_store_step(s->store);
}

static void forget_timer(gr_stage *s, size_t of, gr_str name)
{
    for (size_t i = 0; i < s->timer_count; i++) {
        if (s->timers[i].actor != of || !gr_str_eq(s->timers[i].name, name)) continue;
        s->timers[i] = s->timers[--s->timer_count];
        return;
    }
}

static void take_timer(gr_stage *s, const gr_effect *e)
{
    if (e->kind != GR_FX_TIMER && e->kind != GR_FX_TIMER_CLEAR) return;
    forget_timer(s, s->on, e->name);
    if (e->kind == GR_FX_TIMER_CLEAR) return;
    gr_assert(s->timer_count < TIMERS_MAX);
    s->timers[s->timer_count++] = (timer){s->on, e->name, e->due_ms, e->durable};
}

static void take_effects(gr_stage *s)
{
    s->effect_count = 0;
    for (gr_effect *e = s->ctx.first; e; e = e->next) s->effect_count++;
    s->effects = gr_arena_alloc(s->arena, s->effect_count * sizeof *s->effects);
    gr_stage_effect *out = s->effects;
    for (gr_effect *e = s->ctx.first; e; e = e->next, out++) {
        void *body = NULL, *fetch = NULL;
        gr_err err = e->type ? gr_body_decode(s->arena, e->type, e->body, &body) : gr_ok();
        if (e->kind == GR_FX_FETCH) err = gr_body_decode(s->arena, &gr_type_fetch, e->input, &fetch);
        gr_assert(!gr_failed(err));
        *out = (gr_stage_effect){.kind = e->kind,
                                 .verb = e->verb,
                                 .type = e->type,
                                 .body = body,
                                 .to = e->to,
                                 .attachment = e->attachment,
                                 .seq = e->seq,
                                 .is_forwarded = e->reply_to.size > 0,
                                 .timeout_ms = e->timeout_ms,
                                 .resume = e->resume,
                                 .name = e->name,
                                 .due_ms = e->due_ms,
                                 .durable = e->durable,
                                 .work = e->work,
                                 .input = e->input,
                                 .fetch = fetch};
        take_timer(s, e);
    }
}

/* The body travels as bytes, as it would on the bus. */
static size_t deliver(gr_stage *s, gr_msg *m, const void *body, bool wants_answer)
{
    gr_buf encoded = {0};
    void *decoded = NULL;
    gr_body_encode(&encoded, m->type, body);
    gr_err err = gr_body_decode(s->arena, m->type, gr_arena_str(s->arena, gr_buf_view(&encoded)), &decoded);
    gr_assert(!gr_failed(err));
    gr_buf_free(&encoded);
    m->body = decoded;
    load(s, s->on);
    begin(s, &s->ctx, s->on);
    s->ctx.trace = s->ctx.span = ++s->seq;
    m->level = s->level;
    if (wants_answer) gr_ctx_asked(&s->ctx, GR_STR("edge/stage/0"), s->seq);
    s->actors[s->on].kind->handle(s->actors[s->on].self, m, &s->ctx);
    s->is_over_bounds = gr_ctx_over_bounds(&s->ctx);
    s->is_newer = s->ctx.is_newer;
    gr_assert(!gr_failed(s->ctx.failed));
    commit(s);
    take_effects(s);
    return s->effect_count;
}

/* --- messages ------------------------------------------------------------------------------------------- */
size_t gr_stage_ask(gr_stage *s, const gr_type *type, const void *body)
{
    return deliver(s, &(gr_msg){.verb = GR_ASK, .type = type, .from = GR_STR("edge/stage/0")}, body, true);
}

uint64_t gr_stage_seq(const gr_stage *s) { return s->seq; }

size_t gr_stage_tell(gr_stage *s, const char *from, const gr_type *type, const void *body)
{
    return deliver(s, &(gr_msg){.verb = GR_TELL, .type = type, .from = gr_str_c(from)}, body, false);
}

size_t gr_stage_post(gr_stage *s, const char *from, const gr_type *type, const void *body, gr_str attachment)
{
    gr_msg m = {.verb = GR_POST, .type = type, .from = gr_str_c(from), .attachment = attachment};
    return deliver(s, &m, body, false);
}

size_t gr_stage_post_forwarded(gr_stage *s, const char *from, const gr_type *type, const void *body)
{
    return deliver(s, &(gr_msg){.verb = GR_POST, .type = type, .from = gr_str_c(from)}, body, true);
}

size_t gr_stage_answer(gr_stage *s, const gr_stage_effect *asked, const gr_type *type, const void *body,
                       gr_err err)
{
    gr_error error = {.code = err.code, .text = gr_str_c(err.text), .retry_after_ms = err.retry_after_ms};
    gr_str from = asked->kind != GR_FX_MESSAGE ? s->actors[s->on].address : asked->to;
    gr_msg m = {.verb = GR_REPLY,
                .type = gr_failed(err) ? &gr_type_error : type,
                .from = from,
                .resume = &asked->resume,
                .err = err};
    return deliver(s, &m, gr_failed(err) ? &error : body, false);
}

static void keep_result(void *arg, gr_job *job)
{
    (void)arg;
    (void)job;
}

size_t gr_stage_run_work(gr_stage *s, const gr_stage_effect *e)
{
    gr_assert(e->kind == GR_FX_WORK);
    gr_str address = s->actors[s->on].address;
    gr_job *job = gr_alloc(sizeof *job);
    *job = (gr_job){.work = e->work,
                    .actor = {gr_str_dup(address), address.size},
                    .store = s->store,
                    .env = s->ctx.env,
                    .shard = s->shard.shard,
                    .hand_back = keep_result};
    gr_buf_str(&job->input, e->input);
    gr_job_run(job);
    gr_work_done done = {.output = gr_arena_str(s->arena, gr_buf_view(&job->output)), .failed = job->failed};
    gr_job_free(&job);
    return gr_stage_answer(s, e, &gr_type_work_done, &done, gr_ok());
}

size_t gr_stage_fetched(gr_stage *s, const gr_stage_effect *e, const gr_fetched *fetched)
{
    gr_assert(e->kind == GR_FX_FETCH);
    return gr_stage_answer(s, e, &gr_type_fetched, fetched, gr_ok());
}

size_t gr_stage_fire(gr_stage *s, bool *fired)
{
    *fired = s->timer_count > 0;
    if (!*fired) return s->effect_count = s->write_count = 0;
    size_t first = 0;
    for (size_t i = 1; i < s->timer_count; i++)
        if (s->timers[i].due_ms < s->timers[first].due_ms) first = i;
    timer t = s->timers[first];
    s->timers[first] = s->timers[--s->timer_count];
    if (s->now_ms < t.due_ms) s->now_ms = t.due_ms;
    s->on = t.actor;
    gr_msg m = {.verb = GR_TELL, .type = &gr_type_timer, .from = s->actors[t.actor].address};
    return deliver(s, &m, &(gr_timer){.name = t.name, .due_ms = t.due_ms}, false);
}

void gr_stage_reload(gr_stage *s)
{
    actor *a = &s->actors[s->on];
    load(s, s->on);
    uint64_t before = a->kind->digest ? a->kind->digest(a->self) : 0;
    drop(a);
    load(s, s->on);
    uint64_t after = a->kind->digest ? a->kind->digest(a->self) : 0;
    gr_assert(before == after);
}

/* --- what the last message left ------------------------------------------------------------------------- */
size_t gr_stage_count(const gr_stage *s) { return s->effect_count; }

const gr_stage_effect *gr_stage_at(const gr_stage *s, size_t at)
{
    gr_assert(at < s->effect_count);
    return &s->effects[at];
}

static bool matches(const gr_stage_effect *e, gr_verb verb, const gr_type *type)
{
    return e->kind == GR_FX_MESSAGE && e->verb == verb && (!type || e->type == type);
}

const gr_stage_effect *gr_stage_find(const gr_stage *s, gr_verb verb, const gr_type *type, size_t n)
{
    for (size_t i = 0; i < s->effect_count; i++)
        if (matches(&s->effects[i], verb, type) && n-- == 0) return &s->effects[i];
    return NULL;
}

size_t gr_stage_sent(const gr_stage *s, gr_verb verb, const gr_type *type)
{
    size_t count = 0;
    for (size_t i = 0; i < s->effect_count; i++) count += matches(&s->effects[i], verb, type);
    return count;
}

const void *gr_stage_replied(const gr_stage *s, const gr_type *type)
{
    const gr_stage_effect *e = gr_stage_find(s, GR_REPLY, type, 0);
    return e ? e->body : NULL;
}

gr_err gr_stage_error(const gr_stage *s)
{
    const gr_error *e = gr_stage_replied(s, &gr_type_error);
    if (!e) return gr_ok();
    return (gr_err){(gr_errcode)e->code, gr_arena_str(s->arena, e->text).ptr, e->retry_after_ms};
}

const gr_stage_effect *gr_stage_timer(const gr_stage *s, const char *name)
{
    for (size_t i = 0; i < s->effect_count; i++)
        if (s->effects[i].kind == GR_FX_TIMER && gr_str_is(s->effects[i].name, name)) return &s->effects[i];
    return NULL;
}

bool gr_stage_timer_set(const gr_stage *s, const char *name, uint64_t *due_ms)
{
    for (size_t i = 0; i < s->timer_count; i++) {
        if (s->timers[i].actor != s->on || !gr_str_is(s->timers[i].name, name)) continue;
        *due_ms = s->timers[i].due_ms;
        return true;
    }
    return false;
}

const gr_stage_effect *gr_stage_worked(const gr_stage *s, size_t n)
{
    for (size_t i = 0; i < s->effect_count; i++)
        if (s->effects[i].kind == GR_FX_WORK && n-- == 0) return &s->effects[i];
    return NULL;
}

const gr_stage_effect *gr_stage_fetching(const gr_stage *s, size_t n)
{
    for (size_t i = 0; i < s->effect_count; i++)
        if (s->effects[i].kind == GR_FX_FETCH && n-- == 0) return &s->effects[i];
    return NULL;
}

size_t gr_stage_writes(const gr_stage *s) { return s->write_count; }

const gr_write *gr_stage_write(const gr_stage *s, size_t at)
{
    gr_assert(at < s->write_count);
    return &s->writes[at];
}

bool gr_stage_over_bounds(const gr_stage *s) { return s->is_over_bounds; }
bool gr_stage_newer(const gr_stage *s) { return s->is_newer; }

bool gr_stage_get(gr_stage *s, gr_str key, gr_str *value)
{
    begin(s, &s->ctx, s->on);
    return gr_ctx_get(&s->ctx, key, value);
}

size_t gr_stage_keys(gr_stage *s)
{
    size_t count = 0;
    begin(s, &s->ctx, s->on);
    gr_ctx_scan(&s->ctx, GR_STR(""), GR_STR(""), false, 0, gr_ctx_count_row, &count);
    return count;
}
