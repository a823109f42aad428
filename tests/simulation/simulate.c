/* simulate.c - the whole server in one thread, from a seed: `simulate --seeds 1-300`, `simulate --seed 17 --verbose`.
 *
 * Real actors, runtime and persistence over a virtual clock, simulated transport and a store that delays, refuses, forgets and
 * crashes.  First faults, to see that nothing acknowledged is lost and no sync stream has a gap or a repeat; then no faults,
 * to see that everything comes to rest.  Every tenth seed runs twice: both runs must be the same, message by message.
 */
#include "actors/kinds.h"
#include "tests/simulation/chat.h"

#include <stdio.h>
#include <stdlib.h>

enum { FAULT_TICKS = 1500, CALM_TICKS = 4000 };

static gr_sim_options options_of(uint64_t seed)
{
    gr_sim_options o = {.seed = seed, .nodes = 1, .workers = 1 + (unsigned)(seed % 3), .kinds = gr_kinds, .env = chat_env(),
                        .delay_max = (uint32_t)(seed % 5), .work_delay_max = 5};
    o.store.delay_max = (uint32_t)(seed % 7);
    if (seed % 2) o.crash = 8000;                  /* eight times in a thousand ticks */
    if (seed % 3 == 0) o.store.fenced_per_million = 10000;
    if (seed % 4 == 0) o.store.unknown_per_million = 10000;
    if (seed % 5 == 0) {
        o.jump = 1000;
        o.jump_max_ms = 120000;
    }
    if (seed % 7 == 0) o.full = 5000;
    o.unload = 20000;
    return o;
}

static uint64_t run(uint64_t seed, bool verbose, char *problem, size_t room)
{
    gr_sim_options options = options_of(seed);
    chat *c = gr_alloc(sizeof *c);
    c->seed = seed;
    c->arena = gr_arena_new(1 << 16);
    c->sim = gr_sim_new(&options);
    chat_setup(c);
    for (int i = 0; i < FAULT_TICKS && !c->problem[0]; i++) chat_tick(c, true);
    gr_sim_faults(c->sim, false);
    for (int i = 0; i < CALM_TICKS && !c->problem[0] && (i < 1500 || !chat_quiet(c)); i++) chat_tick(c, false);
    if (!chat_quiet(c)) chat_problem(c, "sends or syncs were still open after %d ticks without faults", CALM_TICKS);
    if (!c->problem[0]) chat_check(c);
    uint64_t hash = gr_sim_hash(c->sim);
    if (verbose)
        printf("seed %llu: %llu messages acknowledged, %llu tries repeated, hash %016llx\n", (unsigned long long)seed,
               (unsigned long long)c->acknowledged, (unsigned long long)c->retried, (unsigned long long)hash);
    snprintf(problem, room, "%s", c->problem);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) free(c->clients[i].seen);
    gr_sim_free(&c->sim);
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
    printf("seed %llu: %s\n  replay: simulate --seed %llu --verbose\n", (unsigned long long)seed, problem,
           (unsigned long long)seed);
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
        else {
            fprintf(stderr, "usage: simulate [--seeds FIRST-LAST | --seed N] [--verbose]\n");
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
