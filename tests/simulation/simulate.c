/* simulate.c - a whole cluster in one thread, from a seed: `simulate --seeds 1-500`, `simulate --seed 17 --verbose`.
 *
 * Real actors, runtime and persistence over a virtual clock, simulated transport and stores that delay, refuse, forget and
 * crash.  One, three and five nodes by turns (or --nodes N).  First faults, to see that nothing acknowledged is lost and no
 * sync stream has a gap or a repeat, whichever node the device is connected to; then no faults, to see that everything comes
 * to rest.  Every tenth seed runs twice: both runs must be the same, message by message.
 */
#include "actors/kinds.h"
#include "tests/simulation/chat.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FAULT_TICKS = 1500,
    CALM_TICKS = 8000,
    CALM_LEAST = 1500,         /* for syncs to bring what is left */
    LEASE_TICKS = 800,         /* into the calm; then time passes in which leases of lost edges run out */
    LEASE_MS = 31000,
    CLOCKS_MS = 125000,        /* timers of a node that started again with its clock set back by two minutes fire, too */
    NODE_FAULT_TICKS = 2500    /* with several nodes: cuts and silences take longer */
};

static unsigned nodes_wanted;  /* 0: by seed */

static unsigned nodes_of(uint64_t seed)
{
    static const unsigned mix[] = {3, 1, 5};
    return nodes_wanted ? nodes_wanted : mix[seed % 3];
}

/* What can go wrong between nodes. */
static void add_cluster_faults(gr_sim_options *o, uint64_t seed)
{
    uint64_t n = seed / 3;
    o->delay_max = (uint32_t)(n % 4 == 0 ? 40 : n % 5);
    if (n % 2) o->lose = 10000;
    if (n % 3 == 0) o->repeat = 20000;
    if (n % 2 == 0) o->cut = 3000;
    o->cut_max = 700;
    o->skew_max_ms = n % 3 ? 60000 : 0;
    if (n % 5 == 0) o->set_clock = 1000;
    o->crash = n % 4 ? 1000 : 0;
    o->down_max = 400;
    if (n % 6 == 0) {          /* leases run out in some runs */
        o->jump = 1500;
        o->jump_max_ms = 40000;
    }
}

static gr_sim_options options_of(uint64_t seed)
{
    gr_sim_options o = {.seed = seed, .nodes = nodes_of(seed), .workers = 1 + (unsigned)(seed % 3), .kinds = gr_kinds,
                        .env = chat_env(), .delay_max = (uint32_t)(seed % 5), .work_delay_max = 5};
    o.store.delay_max = (uint32_t)(seed % 7);
    if (seed % 2) o.crash = 8000;                  /* eight times in a thousand ticks */
    if (seed % 4 == 0) o.store.unknown_per_million = 10000;
    if (seed / 3 % 3 == 0) o.store.fenced_per_million = 10000;
    if (seed % 5 == 0) {
        o.jump = 1000;
        o.jump_max_ms = 120000;
    }
    if (seed % 7 == 0) o.full = 5000;
    o.unload = 20000;
    if (o.nodes > 1) add_cluster_faults(&o, seed);
    return o;
}

static bool posts_wait(const chat *c)
{
    gr_worker_counters sum;
    gr_sim_count(c->sim, &sum);
    return sum.outbox > 0;
}

static void play(chat *c)
{
    int fault_ticks = c->nodes > 1 ? NODE_FAULT_TICKS : FAULT_TICKS;
    for (int i = 0; i < fault_ticks && !c->problem[0]; i++) chat_tick(c, true);
    gr_sim_faults(c->sim, false);
    for (int i = 0; i < CALM_TICKS && !c->problem[0] && (i < CALM_LEAST || !chat_quiet(c)); i++) {
        chat_tick(c, false);
        if (i % LEASE_TICKS == LEASE_TICKS - 1) gr_sim_jump(c->sim, LEASE_MS);
    }
    gr_sim_jump(c->sim, CLOCKS_MS);
    for (int i = 0; i < CALM_TICKS && !c->problem[0] && (i < CALM_LEAST || posts_wait(c)); i++) chat_tick(c, false);
    if (!chat_quiet(c)) chat_problem(c, "requests or syncs were still open after %d ticks without faults", CALM_TICKS);
    if (!c->problem[0]) chat_check(c);
}

static void tell(const chat *c, uint64_t hash)
{
    uint64_t syncs = 0, repeats = 0;
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        syncs += c->clients[i].syncs;
        repeats += c->clients[i].repeats;
    }
    printf("seed %llu, %u nodes: %llu messages, %llu receipts, %llu to-device messages, %llu moves, %llu logouts, %llu token "
           "checks (remembered %llu times), %llu syncs (%llu again), nodes changed %llu times, %llu tries repeated, hash "
           "%016llx\n", (unsigned long long)c->seed, c->nodes, (unsigned long long)c->acknowledged,
           (unsigned long long)c->receipts, (unsigned long long)c->directs, (unsigned long long)c->moves,
           (unsigned long long)c->logouts, (unsigned long long)c->checks, (unsigned long long)c->remembered,
           (unsigned long long)syncs, (unsigned long long)repeats, (unsigned long long)c->nodes_changed,
           (unsigned long long)c->retried, (unsigned long long)hash);
}

static uint64_t run(uint64_t seed, bool verbose, char *problem, size_t room)
{
    gr_sim_options options = options_of(seed);
    chat *c = gr_alloc(sizeof *c);
    c->seed = seed;
    c->nodes = options.nodes;
    c->may_double = options.repeat > 0;
    c->arena = gr_arena_new(1 << 16);
    options.on_edge_ask = chat_edge_ask;
    options.on_edge_ask_arg = c;
    c->sim = gr_sim_new(&options);
    chat_setup(c);
    play(c);
    uint64_t hash = gr_sim_hash(c->sim);
    if (verbose) tell(c, hash);
    snprintf(problem, room, "%s", c->problem);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) free(c->clients[i].seen);
    gr_sim_free(&c->sim);
    gr_arena_free(&c->turn);
    gr_arena_free(&c->arena);
    free(c);
    return hash;
}

static bool one(uint64_t seed, bool verbose)
{
    char problem[512], again[512];
    uint64_t hash = run(seed, verbose, problem, sizeof problem);
    if (!problem[0] && seed % 10 == 0 && run(seed, false, again, sizeof again) != hash)
        snprintf(problem, sizeof problem, "two runs of the same seed differ");
    if (!problem[0]) return true;
    printf("seed %llu, %u nodes: %s\n  replay: simulate --nodes %u --seed %llu --verbose\n", (unsigned long long)seed,
           nodes_of(seed), problem, nodes_of(seed), (unsigned long long)seed);
    return false;
}

int main(int argc, char **argv)
{
    unsigned long long first = 1, last = 20;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) verbose = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc && sscanf(argv[++i], "%llu", &first) == 1) last = first;
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc && sscanf(argv[++i], "%llu-%llu", &first, &last) == 2) continue;
        else if (strcmp(argv[i], "--nodes") == 0 && i + 1 < argc && sscanf(argv[++i], "%u", &nodes_wanted) == 1
                 && nodes_wanted > 0 && nodes_wanted <= CHAT_NODES_MAX) continue;
        else {
            fprintf(stderr, "usage: simulate [--nodes 1-%d] [--seeds FIRST-LAST | --seed N] [--verbose]\n", CHAT_NODES_MAX);
            return 2;
        }
    }
    unsigned long long passed = 0, failed = 0;
    for (unsigned long long seed = first; seed <= last; seed++) {
        if (one(seed, verbose)) passed++;
        else failed++;
        fflush(stdout);
    }
    printf("simulation seeds %llu-%llu: %llu passed, %llu failed\n", first, last, passed, failed);
    return failed != 0;
}
