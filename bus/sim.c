/* sim.c - the simulated cluster. See sim.h. */
#include "bus/sim_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum { WORKERS_MAX = 8, DOWN_TICKS = 3, CALL_MS = 60000, CUT_MIN = 20 };

typedef struct {
    gr_job *job;
    uint64_t due;              /* UINT64_MAX: gr_sim_fetched answers it */
    uint64_t number;
} delayed_job;

typedef struct {
    gr_work_seam seam; /* first */
    gr_sim *sim;
    unsigned index;
    bool is_up;
    uint64_t up_at; /* tick, when it is down */
    unsigned starts;
    int64_t wall_off_ms;
    gr_clock clock;
    uint64_t now_ms; /* by its clock */
    uint64_t next_ms; /* when its workers have something to do again */
    gr_memory_disk *disk;
    gr_engine *engine;
    gr_store *store;
    gr_worker *workers[WORKERS_MAX];
    gr_crash_slot slots[WORKERS_MAX];
    delayed_job *jobs;
    size_t job_count, job_room;
} node;

typedef struct {
    UT_hash_handle hh;
    uint64_t seq, deadline_ms;
    unsigned node, asked; /* whose edge asks, which node */
    bool has_reply;
    unsigned type;
    gr_err err;
    gr_buf body;
} client_ask;

struct gr_sim {
    gr_sim_options o;
    uint64_t random, ticks, now_ms, hash, mismatches, next_seq, next_fetch;
    bool faults;
    gr_sim_transport transport;
    gr_endpoint shards[GR_SHARDS];
    node *nodes;
    client_ask *asks;
};

/* --- chance --------------------------------------------------------------------------------------------- */
uint64_t gr_sim_random(gr_sim *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool gr_sim_chance(gr_sim *s, uint32_t per_million)
{
    return s->faults && per_million > 0 && gr_sim_random(s) % 1000000 < per_million;
}

uint64_t gr_sim_ticks(const gr_sim *s) { return s->ticks; }
uint64_t gr_sim_now(const gr_sim *s) { return s->now_ms; }
uint64_t gr_sim_node_now(const gr_sim *s, unsigned index) { return s->nodes[index].now_ms; }
unsigned gr_sim_starts(const gr_sim *s, unsigned index) { return s->nodes[index].starts; }
bool gr_sim_is_up(const gr_sim *s, unsigned index) { return s->nodes[index].is_up; }
uint64_t gr_sim_hash(const gr_sim *s) { return s->hash; }
uint64_t gr_sim_mismatches(const gr_sim *s) { return s->mismatches; }

static void mix(gr_sim *s, uint64_t n) { s->hash = (s->hash ^ n) * 0x100000001b3u + (s->hash >> 29); }

static void on_log(void *arg, const gr_log_record *r)
{
    gr_sim *s = arg;
    mix(s, gr_str_hash(r->from));
    mix(s, gr_str_hash(r->to));
    mix(s, r->type * 8 + (unsigned)r->verb);
    mix(s, r->span);
    mix(s, r->started_us);
    mix(s, r->released_us);
    if (s->o.log) s->o.log(s->o.log_arg, r);
}

/* --- nodes ---------------------------------------------------------------------------------------------- */
static bool submit(gr_work_seam *seam, gr_job *job)
{
    node *n = (node *)seam;
    if (n->job_count == n->job_room) {
        n->job_room = n->job_room ? n->job_room * 2 : 16;
        n->jobs = gr_realloc(n->jobs, n->job_room * sizeof *n->jobs);
    }
    uint32_t delay_max = job->work ? n->sim->o.work_delay_max : n->sim->o.remote_delay_max;
    uint64_t delay = delay_max ? gr_sim_random(n->sim) % (delay_max + 1) : 0;
    n->jobs[n->job_count++] = (delayed_job){job, n->sim->ticks + delay, ++n->sim->next_fetch};
    return true;
}

static bool answer_fetch(node *n, const delayed_job *j)
{
    gr_sim *s = n->sim;
    gr_arena *arena = gr_arena_new(0);
    void *fetch = NULL;
    gr_err err = gr_body_decode(arena, &gr_type_fetch, gr_buf_view(&j->job->input), &fetch);
    gr_assert(!gr_failed(err));
    gr_fetched fetched = {.failure = GR_FETCH_UNREACHABLE, .text = GR_STR("There are no other servers")};
    bool is_answered = !s->o.remote || s->o.remote(s->o.remote_arg, s, n->index, j->number, fetch, arena, &fetched);
    if (is_answered) gr_job_fetched(j->job, &fetched);
    gr_arena_free(&arena);
    return is_answered;
}

bool gr_sim_fetched(gr_sim *s, unsigned index, uint64_t number, const gr_fetched *fetched)
{
    node *n = &s->nodes[index];
    for (size_t i = 0; i < n->job_count; i++) {
        if (n->jobs[i].number != number) continue;
        gr_job_fetched(n->jobs[i].job, fetched);
        memmove(&n->jobs[i], &n->jobs[i + 1], (--n->job_count - i) * sizeof *n->jobs);
        n->next_ms = 0;
        return true;
    }
    return false;
}

static void run_jobs(node *n)
{
    size_t left = 0, count = n->job_count;
    for (size_t i = 0; i < count; i++) {
        delayed_job j = n->jobs[i];
        if (j.due > n->sim->ticks) {
            n->jobs[left++] = j;
            continue;
        }
        n->next_ms = 0;
        if (j.job->work) {
            gr_job_run(j.job);
        } else if (!answer_fetch(n, &j)) {
            j.due = UINT64_MAX;
            n->jobs[left++] = j;
        }
    }
    n->job_count = left;
}

static bool find_edge(void *arg, gr_str address, gr_endpoint *out)
{
    gr_sim *s = arg;
    for (unsigned i = 0; i < s->o.nodes * GR_SIM_PORTS; i++) {
        char name[32];
        int size = snprintf(name, sizeof name, "edge/n%u/%u", i / GR_SIM_PORTS, i % GR_SIM_PORTS);
        if (!gr_str_eq(address, gr_str_of(name, (size_t)size))) continue;
        *out = (gr_endpoint){(uint16_t)(i / GR_SIM_PORTS), GR_ENDPOINT_PORT, (uint16_t)(i % GR_SIM_PORTS)};
        return true;
    }
    return false;
}

gr_port *gr_sim_port_open(gr_sim *s, unsigned index, const gr_port_handler *handler)
{
    char name[16];
    snprintf(name, sizeof name, "n%u", index);
    gr_port_options o = {.transport = &s->transport.ways[index].transport, .self = {(uint16_t)index, GR_ENDPOINT_PORT, 1},
                         .node = name, .shards = s->shards, .find_edge = find_edge, .find_edge_arg = s,
                         .seed = gr_sim_random(s), .handler = *handler};
    return gr_port_new(&o);
}

static void start(node *n)
{
    gr_sim *s = n->sim;
    gr_arena *arena = gr_arena_new(0);
    gr_memory_options memory = s->o.store;
    memory.seed = gr_sim_random(s);
    n->engine = gr_memory_engine_new(n->disk, &memory);
    gr_store_options options = {
        .server_name = s->o.server_name, .create = true, .engine = n->engine, .incarnation = n->index + 1};
    gr_err err = gr_store_open(&options, arena, &n->store);
    gr_assert(!gr_failed(err));
    for (unsigned i = 0; i < s->o.workers; i++) {
        gr_worker_options o = {.self = {(uint16_t)n->index, GR_ENDPOINT_WORKER, (uint16_t)i},
                               .shards = s->shards,
                               .find_edge = find_edge,
                               .find_edge_arg = s,
                               .store = n->store,
                               .kinds = s->o.kinds,
                               .env = s->o.env,
                               .level = s->o.levels ? &s->o.levels[n->index] : NULL,
                               .transport = &s->transport.ways[n->index].transport,
                               .work = &n->seam,
                               .http = &n->seam,
                               .log = on_log,
                               .log_bodies = s->o.log != NULL,
                               .log_arg = s,
                               .seed = gr_sim_random(s),
                               .memory_max = s->o.memory_max,
                               .crash = &n->slots[i]};
        err = gr_worker_new(&o, arena, &n->workers[i]);
        gr_assert(!gr_failed(err));
    }
    gr_arena_free(&arena);
    n->is_up = true;
    n->next_ms = 0;
    n->starts++;
}

/* --- clocks and cuts ------------------------------------------------------------------------------------ */
/* As the threads of a node read it: see bus/clock.h.  A process that starts takes the wall clock as it is. */
static void read_clock(gr_sim *s, node *n)
{
    uint64_t wall_ms = s->now_ms + (uint64_t)n->wall_off_ms;
    n->now_ms = gr_clock_read(&n->clock, s->now_ms * 1000, wall_ms * 1000) / 1000;
}

void gr_sim_set_clock(gr_sim *s, unsigned index, int64_t off_ms) { s->nodes[index].wall_off_ms = off_ms; }

static void set_some_clock(gr_sim *s, unsigned index)
{
    uint64_t width = 2 * s->o.skew_max_ms + 1;
    gr_sim_set_clock(s, index, (int64_t)(gr_sim_random(s) % width) - (int64_t)s->o.skew_max_ms);
}

void gr_sim_cut(gr_sim *s, unsigned from, unsigned to, uint64_t ticks)
{
    s->transport.cuts[from * s->o.nodes + to] = s->ticks + ticks;
}

void gr_sim_heal(gr_sim *s)
{
    memset(s->transport.cuts, 0, s->o.nodes * s->o.nodes * sizeof *s->transport.cuts);
}

/* One node from all others, or from one other; both ways, or only what it sends, or only what it is sent. */
static void cut_some(gr_sim *s)
{
    unsigned node_cut = (unsigned)(gr_sim_random(s) % s->o.nodes), way = (unsigned)(gr_sim_random(s) % 4);
    unsigned other = (unsigned)(gr_sim_random(s) % s->o.nodes);
    bool all = gr_sim_random(s) % 2;
    uint64_t ticks = CUT_MIN + gr_sim_random(s) % (s->o.cut_max + 1);
    for (unsigned i = 0; i < s->o.nodes; i++) {
        if (i == node_cut || (!all && i != other)) continue;
        if (way != 0) gr_sim_cut(s, node_cut, i, ticks);
        if (way != 1) gr_sim_cut(s, i, node_cut, ticks);
    }
}

static void stop(node *n)
{
    for (unsigned i = 0; i < n->sim->o.workers; i++) gr_worker_free(&n->workers[i]);
    for (size_t i = 0; i < n->job_count; i++) gr_job_free(&n->jobs[i].job);
    n->job_count = 0;
    gr_store_close(&n->store);
    n->is_up = false;
}

static void fail_ask(client_ask *a, const char *why)
{
    a->has_reply = true;
    a->type = GR_T_error;
    a->err = gr_fail(GR_UNAVAILABLE, why);
}

static void fail_asks(gr_sim *s, unsigned index)
{
    for (client_ask *a = s->asks; a; a = a->hh.next)
        if (a->node == index && !a->has_reply) fail_ask(a, "the node crashed");
}

/* As the edge's port does it: what was asked over that link has no answer. */
static void on_link_lost(gr_sim *s, unsigned index, unsigned other)
{
    for (client_ask *a = s->asks; a; a = a->hh.next)
        if (a->node == index && a->asked == other && !a->has_reply) fail_ask(a, "the link was lost");
}

void gr_sim_crash(gr_sim *s, unsigned index, uint64_t ticks)
{
    node *n = &s->nodes[index];
    if (!n->is_up) return;
    gr_memory_engine_crash(n->engine);
    stop(n);
    gr_sim_transport_forget(&s->transport, index);
    fail_asks(s, index);
    n->up_at = s->ticks + (ticks > DOWN_TICKS ? ticks : DOWN_TICKS);
    n->clock = (gr_clock){0};
    mix(s, index);
}

void gr_sim_start(gr_sim *s, unsigned index) { s->nodes[index].up_at = 0; }

void gr_sim_offline(gr_sim *s, unsigned index, void (*fn)(void *arg, gr_store *), void *arg)
{
    node *n = &s->nodes[index];
    gr_assert(!n->is_up);
    gr_arena *arena = gr_arena_new(0);
    gr_store *store = NULL;
    gr_store_options o = {.server_name = s->o.server_name, .incarnation = index + 1,
                          .engine = gr_memory_engine_new(n->disk, &(gr_memory_options){.seed = 1})};
    gr_err err = gr_store_open(&o, arena, &store);
    gr_assert(!gr_failed(err));
    fn(arg, store);
    gr_store_close(&store);
    gr_arena_free(&arena);
}

void gr_sim_wipe(gr_sim *s, unsigned index)
{
    node *n = &s->nodes[index];
    gr_sim_crash(s, index, 0);
    gr_memory_disk_free(&n->disk);
    n->disk = gr_memory_disk_new();
}

void gr_sim_jump(gr_sim *s, uint64_t ms) { s->now_ms += ms; }

/* --- opening -------------------------------------------------------------------------------------------- */
gr_sim *gr_sim_new(const gr_sim_options *o)
{
    gr_sim *s = gr_alloc(sizeof *s);
    s->o = *o;
    if (s->o.server_name.size == 0) s->o.server_name = GR_STR("sim");
    if (s->o.nodes == 0) s->o.nodes = 1;
    if (s->o.workers == 0) s->o.workers = 1;
    gr_assert(s->o.workers <= WORKERS_MAX);
    s->random = o->seed;
    s->now_ms = 1700000000000;
    s->faults = true;
    for (unsigned i = 0; i < GR_SHARDS; i++) {
        unsigned at = i % (s->o.nodes * s->o.workers);
        s->shards[i] =
            (gr_endpoint){(uint16_t)(at / s->o.workers), GR_ENDPOINT_WORKER, (uint16_t)(at % s->o.workers)};
    }
    gr_sim_transport_open(&s->transport, s, &s->o);
    s->nodes = gr_alloc(s->o.nodes * sizeof *s->nodes);
    for (unsigned i = 0; i < s->o.nodes; i++) {
        s->nodes[i] = (node){.seam = {submit}, .sim = s, .index = i, .disk = gr_memory_disk_new()};
        if (s->o.skew_max_ms) set_some_clock(s, i);
        read_clock(s, &s->nodes[i]);
        start(&s->nodes[i]);
    }
    return s;
}

void gr_sim_free(gr_sim **at)
{
    gr_sim *s = *at;
    if (!s) return;
    for (unsigned i = 0; i < s->o.nodes; i++) {
        node *n = &s->nodes[i];
        if (n->is_up) {
            gr_memory_engine_crash(n->engine);
            stop(n);
        }
        gr_memory_disk_free(&n->disk);
        free(n->jobs);
    }
    client_ask *a, *next;
    HASH_ITER(hh, s->asks, a, next)
    {
        HASH_DEL(s->asks, a);
        gr_buf_free(&a->body);
        free(a);
    }
    gr_sim_transport_close(&s->transport);
    free(s->nodes);
    free(s);
    *at = NULL;
}

/* --- running -------------------------------------------------------------------------------------------- */
typedef struct {
    gr_sim *sim;
    gr_worker *worker;
    uint64_t skip;
    gr_buf address;
} choosing;

static bool choose(void *arg, const gr_actor_info *info)
{
    choosing *c = arg;
    if (info->busy || info->suspended || c->skip-- > 0) return true;
    gr_buf_str(&c->address, info->address);
    return false;
}

/* Drops an idle actor and loads it again: it must be what it was. */
static void unload_one(gr_sim *s, gr_worker *w)
{
    choosing c = {.sim = s, .worker = w, .skip = gr_sim_random(s) % 8};
    gr_worker_actors(w, choose, &c);
    gr_str address = gr_buf_view(&c.address);
    if (address.size) {
        uint64_t before = gr_worker_digest(w, address);
        gr_worker_unload(w, address);
        gr_worker_load(w, address);
        uint64_t after = gr_worker_digest(w, address);
        if (after && before && after != before) s->mismatches++;
    }
    gr_buf_free(&c.address);
}

static void step_node(gr_sim *s, node *n)
{
    unsigned first = (unsigned)(gr_sim_random(s) % s->o.workers);
    n->next_ms = UINT64_MAX;
    for (unsigned i = 0; i < s->o.workers; i++) {
        gr_worker *w = n->workers[(first + i) % s->o.workers];
        gr_step step = gr_worker_step(w, n->now_ms);
        if (step.next_ms < n->next_ms) n->next_ms = step.next_ms;
        if (gr_sim_chance(s, s->o.unload)) unload_one(s, w);
    }
    if (gr_sim_chance(s, s->o.crash)) { /* between commit and release, among other moments */
        gr_sim_crash(s, n->index, s->o.down_max ? gr_sim_random(s) % (s->o.down_max + 1) : 0);
        return;
    }
    if (gr_memory_engine_waiting(n->engine)) n->next_ms = 0;
    gr_store_step(n->store);
    run_jobs(n);
}

static bool send_from_edge(gr_sim *s, unsigned index, gr_envelope *e, const gr_type *type, const void *body)
{
    char name[32];
    int size = snprintf(name, sizeof name, "edge/n%u/0", index);
    gr_buf encoded = {0}, envelope = {0}, frame = {0};
    gr_body_encode(&encoded, type, body);
    e->from = gr_str_of(name, (size_t)size);
    e->trace = e->span = gr_sim_random(s);
    e->type = type->id;
    e->body = gr_buf_view(&encoded);
    gr_envelope_encode(&envelope, e);
    gr_buf_u32be(&frame, (uint32_t)envelope.size);
    gr_buf_str(&frame, gr_buf_view(&envelope));
    gr_transport *t = &s->transport.ways[index].transport;
    bool sent = t->ops->send(t, (gr_endpoint){(uint16_t)index, GR_ENDPOINT_PORT, 0},
                             s->shards[gr_address_shard(e->to)], gr_buf_view(&frame));
    gr_buf_free(&encoded);
    gr_buf_free(&envelope);
    gr_buf_free(&frame);
    return sent;
}

/* An actor asks the edge (to forget a token): it answers at once. */
static void answer_at_edge(gr_sim *s, unsigned index, const gr_envelope *e)
{
    const gr_type *type = gr_type_find(e->type);
    gr_arena *arena = gr_arena_new(0);
    void *body = NULL;
    if (s->o.on_edge_ask && type && !gr_failed(gr_body_decode(arena, type, e->body, &body))
        && s->o.on_edge_ask(s->o.on_edge_ask_arg, index, type, body)) {
        gr_envelope reply = {.to = e->from, .verb = GR_REPLY, .seq = e->seq, .parent = e->span};
        send_from_edge(s, index, &reply, &gr_type_done, &(gr_done){0});
    }
    gr_arena_free(&arena);
}

typedef struct {
    gr_sim *sim;
    unsigned node;
} receiving;

static void answer_moved(gr_sim *s, client_ask *a, gr_str bytes)
{
    gr_arena *arena = gr_arena_new(0);
    void *body = NULL;
    gr_err err = gr_body_decode(arena, &gr_type_answer_moved, bytes, &body);
    gr_assert(!gr_failed(err));
    a->asked = s->shards[((gr_answer_moved *)body)->shard].node;
    gr_transport *t = &s->transport.ways[a->node].transport;
    if (a->asked != a->node && t->ops->link(t, (uint16_t)a->asked) % 2 == 0) fail_ask(a, "the link is lost");
    gr_arena_free(&arena);
}

static void on_client_frame(void *arg, gr_str frame)
{
    const receiving *r = arg;
    gr_sim *s = r->sim;
    while (frame.size >= 4) {
        gr_str bytes = gr_str_head(gr_str_from(frame, 4), gr_u32be(frame.ptr));
        frame = gr_str_from(frame, 4 + bytes.size);
        gr_envelope e;
        gr_err err = gr_envelope_decode(bytes, &e);
        gr_assert(!gr_failed(err));
        client_ask *a = NULL;
        if (e.verb == GR_ASK) answer_at_edge(s, r->node, &e);
        HASH_FIND(hh, s->asks, &e.seq, sizeof e.seq, a);
        if (e.verb != GR_REPLY || !a || a->has_reply) continue;
        if (e.type == GR_T_answer_moved) {
            answer_moved(s, a, e.body);
            continue;
        }
        a->has_reply = true;
        a->type = e.type;
        gr_buf_str(&a->body, e.body);
    }
}

static void step_clients(gr_sim *s)
{
    for (unsigned i = 0; i < s->o.nodes; i++) {
        gr_transport *t = &s->transport.ways[i].transport;
        receiving r = {s, i};
        if (!s->nodes[i].is_up) continue;
        t->ops->receive(t, (gr_endpoint){(uint16_t)i, GR_ENDPOINT_PORT, 0}, SIZE_MAX, on_client_frame, &r);
    }
    for (client_ask *a = s->asks; a; a = a->hh.next) {
        if (a->has_reply || a->deadline_ms > s->now_ms) continue;
        a->has_reply = true;
        a->type = GR_T_error;
        a->err = gr_fail(GR_TIMEOUT, "no answer");
    }
}

static void tick(gr_sim *s)
{
    s->ticks++;
    s->now_ms++;
    if (gr_sim_chance(s, s->o.jump)) gr_sim_jump(s, gr_sim_random(s) % (s->o.jump_max_ms + 1));
    if (s->o.nodes > 1 && gr_sim_chance(s, s->o.cut)) cut_some(s);
    gr_sim_transport_step(&s->transport, on_link_lost);
    unsigned first = (unsigned)(gr_sim_random(s) % s->o.nodes);
    for (unsigned i = 0; i < s->o.nodes; i++) {
        node *n = &s->nodes[(first + i) % s->o.nodes];
        if (gr_sim_chance(s, s->o.set_clock)) set_some_clock(s, n->index);
        read_clock(s, n);
        if (!n->is_up && n->up_at <= s->ticks) start(n);
        if (n->is_up) step_node(s, n);
    }
    step_clients(s);
}

void gr_sim_run(gr_sim *s, uint64_t ticks)
{
    while (ticks-- > 0) tick(s);
}

static bool is_idle(gr_sim *s)
{
    if (!gr_sim_transport_idle(&s->transport)) return false;
    for (unsigned i = 0; i < s->o.nodes; i++) {
        node *n = &s->nodes[i];
        if (!n->is_up || n->job_count || gr_memory_engine_waiting(n->engine)) return false;
    }
    gr_worker_counters sum;
    gr_sim_count(s, &sum);
    return sum.outbox == 0 && sum.mailbox_depth == 0;
}

static uint64_t node_next_ms(const gr_sim *s, const node *n)
{
    if (!n->is_up) return s->now_ms + (n->up_at > s->ticks ? n->up_at - s->ticks : 0);
    if (gr_memory_engine_waiting(n->engine)) return s->now_ms;
    for (size_t i = 0; i < n->job_count; i++)
        if (n->jobs[i].due != UINT64_MAX) return s->now_ms;
    if (n->next_ms == UINT64_MAX) return UINT64_MAX;
    return n->next_ms > n->now_ms ? s->now_ms + (n->next_ms - n->now_ms) : s->now_ms;
}

uint64_t gr_sim_next_ms(gr_sim *s)
{
    uint64_t next_ms = UINT64_MAX;
    if (!gr_sim_transport_idle(&s->transport)) return s->now_ms;
    for (unsigned i = 0; i < s->o.nodes; i++) {
        uint64_t node_ms = node_next_ms(s, &s->nodes[i]);
        if (node_ms < next_ms) next_ms = node_ms;
    }
    return next_ms;
}

void gr_sim_faults(gr_sim *s, bool on)
{
    s->faults = on;
    if (!on) gr_sim_heal(s);
}

bool gr_sim_settle(gr_sim *s, uint64_t ticks_max)
{
    unsigned quiet = 0;
    gr_sim_faults(s, false);
    for (uint64_t i = 0; i < ticks_max && quiet < 20; i++) {
        tick(s);
        quiet = is_idle(s) ? quiet + 1 : 0;
    }
    return quiet >= 20;
}

gr_worker *gr_sim_worker(gr_sim *s, unsigned index, unsigned worker)
{
    return s->nodes[index].is_up ? s->nodes[index].workers[worker] : NULL;
}

gr_store *gr_sim_store(gr_sim *s, unsigned index) { return s->nodes[index].is_up ? s->nodes[index].store : NULL; }

gr_worker *gr_sim_worker_of(gr_sim *s, gr_str address)
{
    gr_endpoint e = s->shards[gr_address_shard(address)];
    return gr_sim_worker(s, e.node, e.index);
}

unsigned gr_sim_node_of(const gr_sim *s, gr_str address) { return s->shards[gr_address_shard(address)].node; }

gr_crash_slot *gr_sim_slot(gr_sim *s, unsigned index, unsigned worker)
{
    return &s->nodes[index].slots[worker];
}

void gr_sim_count(gr_sim *s, gr_worker_counters *sum)
{
    *sum = (gr_worker_counters){0};
    for (unsigned i = 0; i < s->o.nodes; i++) {
        for (unsigned k = 0; k < s->o.workers && s->nodes[i].is_up; k++) {
            gr_worker_counters one;
            gr_worker_count(s->nodes[i].workers[k], &one);
            for (size_t at = 0; at < sizeof one / sizeof(uint64_t); at++)
                ((uint64_t *)sum)[at] += ((uint64_t *)&one)[at];
        }
    }
}

/* --- clients -------------------------------------------------------------------------------------------- */
uint64_t gr_sim_ask(gr_sim *s, unsigned index, gr_str to, const gr_type *type, const void *body,
                    uint64_t timeout_ms)
{
    client_ask *a = gr_alloc(sizeof *a);
    *a = (client_ask){.seq = ++s->next_seq, .deadline_ms = s->now_ms + timeout_ms, .node = index,
                      .asked = s->shards[gr_address_shard(to)].node};
    HASH_ADD(hh, s->asks, seq, sizeof a->seq, a);
    gr_envelope e = {.to = to, .verb = GR_ASK, .seq = a->seq, .wait_ms = timeout_ms};
    if (!s->nodes[index].is_up || !send_from_edge(s, index, &e, type, body))
        fail_ask(a, "the node is out of reach");
    return a->seq;
}

void gr_sim_tell(gr_sim *s, unsigned index, gr_str to, const gr_type *type, const void *body)
{
    if (!s->nodes[index].is_up) return;
    gr_envelope e = {.to = to, .verb = GR_TELL};
    send_from_edge(s, index, &e, type, body);
}

bool gr_sim_reply(gr_sim *s, uint64_t seq, gr_arena *arena, const gr_type **type, void **body, gr_err *err)
{
    client_ask *a = NULL;
    HASH_FIND(hh, s->asks, &seq, sizeof seq, a);
    gr_assert(a);
    *body = NULL;
    *type = NULL;
    if (!a->has_reply) return false;
    *type = gr_type_find(a->type);
    *err = a->err;
    if (!gr_failed(a->err)) {
        gr_err bad = gr_body_decode(arena, *type, gr_arena_str(arena, gr_buf_view(&a->body)), body);
        gr_assert(!gr_failed(bad));
        const gr_error *e = *body;
        if (*type == &gr_type_error) *err = gr_fail((gr_errcode)e->code, gr_arena_str(arena, e->text).ptr);
    }
    HASH_DEL(s->asks, a);
    gr_buf_free(&a->body);
    free(a);
    return true;
}

const void *gr_sim_call(gr_sim *s, gr_str to, const gr_type *type, const void *body, gr_arena *arena,
                        const gr_type **reply, gr_err *err)
{
    void *out = NULL;
    uint64_t seq = gr_sim_ask(s, s->shards[gr_address_shard(to)].node, to, type, body, CALL_MS);
    while (!gr_sim_reply(s, seq, arena, reply, &out, err)) tick(s);
    return out;
}
