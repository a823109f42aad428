/* rooms_fork.c - a room whose branches disagree about 50,000 members: what resolving it costs the pool and the room.
 *
 *     gr_rooms fork DIR SERVER_NAME ROOM_ID USER
 *
 * puts such a room, with this user in it, into the store of a stopped server: tests/bench/run --only fork measures what
 * other rooms notice of it.
 */
#include "tests/bench/rooms.h"
#include "bus/work.h"

#include <stdio.h>
#include <stdlib.h>

enum { MEMBERS = 1000, JOINS = 24500, BRANCHES = 2, TIPS = 20, TOPIC_EVERY = 1000, SOON_MS = 100 };

typedef struct { uint64_t root, powers; } branch;
typedef struct { bench_room *b; char user[256]; uint64_t create, join, rules; branch trunk; } fork_bench;

/* --- making it ------------------------------------------------------------------------------------------ */
static uint64_t put(fork_bench *f, branch *at, const char *sender, const char *type, const char *key, const char *content)
{
    bench_event e = {sender, type, key, content, {0}, at->root, true};
    const uint64_t auth[] = {f->create, at->powers, f->rules, gr_str_is(gr_str_c(sender), f->user) ? f->join : 0};
    for (size_t i = 0, n = 0; i < sizeof auth / sizeof auth[0]; i++)
        if (auth[i]) e.auth[n++] = auth[i];
    gr_room_record r = bench_store(f->b, &e);
    at->root = r.state_after;
    return r.number;
}

static void put_powers(fork_bench *f, branch *at, int ban)
{
    char content[320];
    snprintf(content, sizeof content, "{\"users\":{\"%s\":100},\"ban\":%d}", f->user, ban);
    at->powers = put(f, at, f->user, "m.room.power_levels", "", content);
}

static void put_joins(fork_bench *f, branch *at, size_t first, size_t count)
{
    char user[64];
    for (size_t i = 0; i < count; i++) {
        snprintf(user, sizeof user, "@user%zu:elsewhere%zu.org", first + i, (first + i) % 900);
        put(f, at, user, "m.room.member", user, "{\"membership\":\"join\",\"displayname\":\"Somebody of many\"}");
        if (i % TOPIC_EVERY == 1) put(f, at, f->user, "m.room.topic", "", i % 2 ? "{\"topic\":\"One\"}" : "{\"topic\":\"Two\"}");
    }
}

/* The last event is one that other servers have heard of, and nobody has answered yet. */
static void add_extremity(fork_bench *f, const branch *at)
{
    gr_room *room = f->b->room;
    char id[64];
    if (!room->extremities) room->extremities = gr_alloc(GR_ROOM_EXTREMITIES_MAX * sizeof *room->extremities);
    snprintf(id, sizeof id, "$event%038llu", (unsigned long long)room->next_number - 1);
    room->extremities[room->extremity_count++] =
        (gr_room_extremity){room->next_number - 1, at->root, room->next_number - 1,
                            gr_str_of(gr_str_dup(gr_str_c(id)), strlen(id))};
}

/* The current state is that before the branches. */
static void make_room(fork_bench *f)
{
    gr_room *room = f->b->room;
    branch *trunk = &f->trunk;
    f->create = put(f, trunk, f->user, "m.room.create", "", "{\"room_version\":\"11\"}");
    f->join = put(f, trunk, f->user, "m.room.member", f->user, "{\"membership\":\"join\"}");
    put_powers(f, trunk, 50);
    f->rules = put(f, trunk, f->user, "m.room.join_rules", "", "{\"join_rule\":\"public\"}");
    put_joins(f, trunk, 0, MEMBERS);
    bench_begin(f->b);
    gr_room_record root = {0};
    bench_need(gr_room_record_at(&f->b->ctx, room->next_number - 1, &root), "the trunk");
    room->unbounded = true;
    bench_need(gr_room_move(room, &f->b->ctx, trunk->root) > 0, "moving to the trunk");
    room->unbounded = false;
    bench_finish(f->b);
    for (size_t i = 0; i < TIPS; i++) {
        branch at = *trunk;
        put(f, &at, f->user, "m.room.message", NULL, "{\"body\":\"Hello\"}");
        add_extremity(f, &at);
    }
    for (size_t i = 0; i < BRANCHES; i++) {
        branch at = *trunk;
        put_powers(f, &at, 60 + (int)i);
        put_joins(f, &at, MEMBERS + i * JOINS, JOINS);
        add_extremity(f, &at);
    }
    room->depth = room->next_number;
    bench_reopen(f->b);
}

/* --- resolving it --------------------------------------------------------------------------------------- */
typedef struct { size_t works, steps; double work_ms, longest_us, steps_ms; unsigned gets_max; } cost;

static void hand_back(void *arg, gr_job *job) { (void)arg, (void)job; }

static void handle(bench_room *b, const gr_msg *m, cost *c)
{
    double begun = bench_cpu_us();
    bench_begin(b);
    if (m->verb == GR_ASK) gr_ctx_asked(&b->ctx, m->from, 1);
    gr_room_kind.handle(b->room, m, &b->ctx);
    double took = bench_cpu_us() - begun;
    c->steps++;
    c->steps_ms += took / 1000;
    if (took > c->longest_us) c->longest_us = took;
    if (b->ctx.gets > c->gets_max) c->gets_max = b->ctx.gets;
    bench_finish(b);
}

static void run_work(bench_room *b, const gr_effect *e, cost *c)
{
    gr_job *job = gr_alloc(sizeof *job);
    *job = (gr_job){.work = e->work, .actor = {gr_str_dup(b->address), b->address.size}, .store = b->store,
                    .shard = b->shard.shard, .hand_back = hand_back};
    gr_buf_str(&job->input, e->input);
    gr_resume resume = e->resume;
    bench_commit(b);
    double begun = bench_cpu_us();
    gr_job_run(job);
    c->works++;
    c->work_ms += (bench_cpu_us() - begun) / 1000;
    gr_work_done done = {.output = gr_buf_view(&job->output), .failed = job->failed};
    bench_need(!done.failed && done.output.size > 0, "resolving");
    handle(b, &(gr_msg){.verb = GR_REPLY, .type = &gr_type_work_done, .body = &done, .from = b->address, .resume = &resume},
           c);
    gr_job_free(&job);
}

/* What the last handler left to be done soon. */
static bool go_on(bench_room *b, cost *c)
{
    gr_timer timer = {0};
    for (const gr_effect *e = b->ctx.first; e; e = e->next) {
        if (e->kind == GR_FX_WORK) {
            run_work(b, e, c);
            return true;
        }
        if (e->kind == GR_FX_TIMER && e->due_ms <= b->ctx.now_ms + SOON_MS) timer.name = gr_arena_str(b->long_arena, e->name);
    }
    if (timer.name.size) handle(b, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = b->address}, c);
    return timer.name.size > 0;
}

static bool is_sent(const bench_room *b)
{
    for (const gr_effect *e = b->ctx.first; e; e = e->next)
        if (e->type == &gr_type_room_sent) return true;
    return false;
}

void bench_forks(void)
{
    fork_bench f = {.b = bench_open("!fork:here"), .user = "@user:here"};
    cost c = {0};
    make_room(&f);
    gr_room_send m = {.user = GR_STR("@user:here"), .type = GR_STR("m.room.message"),
                      .content = GR_STR("{\"body\":\"All together\"}")};
    handle(f.b, &(gr_msg){.verb = GR_ASK, .type = &gr_type_room_send, .body = &m, .from = GR_STR("edge/n0/0")}, &c);
    bool sent = is_sent(f.b);
    while (go_on(f.b, &c)) sent = sent || is_sent(f.b);
    bench_need(sent, "the message that brings the branches together");
    bench_need(f.b->room->joined == 1 + MEMBERS + BRANCHES * JOINS, "everybody's join");
    bench_tell("a fork of 50,000 members: works on the pool", (double)c.works, "");
    bench_tell("  their CPU", c.work_ms, "ms");
    bench_tell("  steps of the room", (double)c.steps, "");
    bench_tell("  their CPU", c.steps_ms, "ms");
    bench_tell("  the longest", c.longest_us / 1000, "ms");
    bench_tell("  most look-ups of one", c.gets_max, "");
    bench_close(&f.b);
}

void bench_make_fork(const char *dir, const char *server_name, const char *room_id, const char *user)
{
    fork_bench f = {.b = bench_open_in(dir, server_name, room_id)};
    snprintf(f.user, sizeof f.user, "%s", user);
    make_room(&f);
    bench_close(&f.b);
}
