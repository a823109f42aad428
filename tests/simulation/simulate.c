/* simulate.c - a whole cluster in one thread, from a seed: `simulate --seeds 1-500`, `simulate --seed 17 --verbose`,
 * `simulate --seed 17 --log`.
 *
 * Real actors, runtime and persistence over a virtual clock, simulated transport and stores that delay, refuse, forget and
 * crash.  One, three and five nodes by turns (or --nodes N).  First faults, to see that nothing acknowledged is lost and no
 * sync stream has a gap or a repeat, whichever node the device is connected to; then no faults, to see that everything comes
 * to rest, and that who says something more is heard.  Every tenth seed runs twice: both runs must be the same, message by
 * message.
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
    REMOTE_WAITS = 60,         /* of LEASE_MS: the first long wait is 10 minutes */
    REMOTE_AWAY = 16,          /* as many: in half of them they still fail */
    REMOTE_TICKS = 100,
    CLOCKS_MS = 125000,        /* timers of a node that started again with its clock set back by two minutes fire, too */
    NODE_FAULT_TICKS = 2500,   /* with several nodes: cuts and silences take longer */
    PROGRESS_TICKS = 1500,     /* healed: so soon everybody has said one thing more */
    LAST_TICKS = 700           /* for syncs to bring that */
};

static unsigned nodes_wanted;  /* 0: by seed */
static bool is_verbose, is_logging;

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
    if (n % 4 == 1) {          /* harsher than the real way: there frames never pass each other */
        o->stray = 50000;
        o->stray_max = 400;
    }
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

static void rest(chat *c, int least)
{
    for (int i = 0; i < CALM_TICKS && !c->problem[0]; i++) {
        if (i >= least && chat_quiet(c) && !posts_wait(c) && !chat_remotes_behind(c)) break;
        chat_tick(c, false);
    }
    if (!chat_quiet(c)) chat_problem(c, "requests or syncs were still open after %d ticks without faults", CALM_TICKS);
}

/* Other servers that failed are tried again when their waits are over. */
static void wait_for_remotes(chat *c)
{
    for (int i = 0; i < REMOTE_WAITS && !c->problem[0] && (i < REMOTE_AWAY || chat_remotes_behind(c)); i++) {
        c->is_calm = i >= REMOTE_AWAY / 2;
        gr_sim_jump(c->sim, LEASE_MS);
        for (int k = 0; k < REMOTE_TICKS; k++) chat_tick(c, false);
    }
    if (chat_remotes_behind(c)) chat_problem(c, "other servers have not got all after %d waits without faults", REMOTE_WAITS);
}

/* Without faults; and time passes in which leases and timers run out. */
static void heal(chat *c)
{
    gr_sim_faults(c->sim, false);
    c->may_kill = false;
    for (int i = 0; i < CALM_TICKS && !c->problem[0] && (i < CALM_LEAST || !chat_quiet(c)); i++) {
        chat_tick(c, false);
        if (i % LEASE_TICKS == LEASE_TICKS - 1) gr_sim_jump(c->sim, LEASE_MS);
    }
    gr_sim_jump(c->sim, CLOCKS_MS);
    wait_for_remotes(c);
    rest(c, CALM_LEAST);
}

/* What was healed is of use again: everybody is answered, and chat_check sees that everybody hears it. */
static void demand_progress(chat *c)
{
    unsigned said[CHAT_CLIENTS], answered = 0;
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) said[i] = c->clients[i].number;
    for (int ticks = 0; answered < CHAT_CLIENTS && !c->problem[0]; ticks++) {
        chat_tick(c, true);
        answered = 0;
        for (unsigned i = 0; i < CHAT_CLIENTS; i++) answered += c->clients[i].acked[said[i] + 1][0] != 0;
        if (ticks == PROGRESS_TICKS)
            chat_problem(c, "%u of %d were answered in %d ticks after all was healed", answered, CHAT_CLIENTS, ticks);
    }
}

static void purge(chat *c)
{
    chat_purge_begin(c);
    gr_sim_faults(c->sim, true);
    while (!c->problem[0] && !chat_purge_turn(c)) chat_tick(c, false);
    gr_sim_faults(c->sim, false);
    rest(c, LAST_TICKS);
    if (!c->problem[0]) chat_check_purged(c);
}

static void play(chat *c)
{
    int fault_ticks = c->nodes > 1 ? NODE_FAULT_TICKS : FAULT_TICKS;
    for (int i = 0; i < fault_ticks && !c->problem[0]; i++) chat_tick(c, true);
    heal(c);
    demand_progress(c);
    rest(c, LAST_TICKS);
    if (!c->problem[0]) chat_check(c);
    if (!c->problem[0]) chat_check_remotes(c);
    if (!c->problem[0]) chat_check_people(c);
    if (!c->problem[0]) purge(c);
}

static void tell(const chat *c, uint64_t hash)
{
    uint64_t syncs = 0, repeats = 0, owed = 0, flows = 0, logins = 0;
    for (unsigned i = 0; i < CHAT_PEOPLE; i++) {
        flows += c->people[i].flows;
        logins += c->people[i].logins;
    }
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        syncs += c->clients[i].syncs;
        repeats += c->clients[i].repeats;
        owed += c->clients[i].owed;
    }
    printf("seed %llu, %u nodes: %llu messages, %llu receipts, %llu to-device messages, %llu moves, %llu logouts, %llu token "
           "checks (remembered %llu times), %llu syncs (%llu again, %llu without some rooms), nodes changed %llu times, "
           "%llu logins by a provider (%llu begun, %llu nodes killed meanwhile), %llu tries repeated, "
           "%llu transactions for other servers (%llu again) with %llu events, hash %016llx\n",
           (unsigned long long)c->seed, c->nodes, (unsigned long long)c->acknowledged,
           (unsigned long long)c->receipts, (unsigned long long)c->directs, (unsigned long long)c->moves,
           (unsigned long long)c->logouts, (unsigned long long)c->checks, (unsigned long long)c->remembered,
           (unsigned long long)syncs, (unsigned long long)repeats, (unsigned long long)owed,
           (unsigned long long)c->nodes_changed, (unsigned long long)logins, (unsigned long long)flows,
           (unsigned long long)c->kills, (unsigned long long)c->retried,
           (unsigned long long)c->remote_transactions, (unsigned long long)c->remote_repeats,
           (unsigned long long)c->remote_events, (unsigned long long)hash);
}

static void print_message(void *arg, const gr_log_record *r)
{
    static const char *const verbs[] = {"", "tell", "ask", "post", "reply", "control"};
    const gr_type *type = gr_type_find(r->type);
    (void)arg;
    printf("%llu %016llx %016llx %s %s %" GR_FMT " -> %" GR_FMT "\n", (unsigned long long)r->started_us / 1000,
           (unsigned long long)r->trace, (unsigned long long)r->span, verbs[r->verb], type ? type->name : "?",
           GR_ARG(r->from), GR_ARG(r->to));
}

static uint64_t run(uint64_t seed, char *problem, size_t room)
{
    gr_sim_options options = options_of(seed);
    if (is_logging) options.log = print_message;
    chat *c = gr_alloc(sizeof *c);
    c->seed = seed;
    c->nodes = options.nodes;
    c->may_double = options.repeat > 0;
    c->arena = gr_arena_new(1 << 16);
    options.on_edge_ask = chat_edge_ask;
    options.on_edge_ask_arg = c;
    options.remote = chat_remote_answers;
    options.remote_arg = c;
    options.remote_delay_max = 30;
    c->may_forget = options.crash || options.full || options.store.unknown_per_million || options.store.fenced_per_million;
    c->may_kill = options.crash > 0;
    c->sim = gr_sim_new(&options);
    chat_setup(c);
    chat_remotes_join(c);
    play(c);
    uint64_t hash = gr_sim_hash(c->sim);
    if (is_verbose) tell(c, hash);
    snprintf(problem, room, "%s", c->problem);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) free(c->clients[i].seen);
    gr_sim_free(&c->sim);
    gr_arena_free(&c->turn);
    gr_arena_free(&c->arena);
    free(c);
    return hash;
}

static bool one(uint64_t seed)
{
    char problem[512], again[512];
    uint64_t hash = run(seed, problem, sizeof problem);
    if (!problem[0] && seed % 10 == 0 && !is_logging && run(seed, again, sizeof again) != hash)
        snprintf(problem, sizeof problem, "two runs of the same seed differ");
    if (!problem[0]) return true;
    printf("seed %llu, %u nodes: %s\n  replay: simulate --nodes %u --seed %llu --verbose\n", (unsigned long long)seed,
           nodes_of(seed), problem, nodes_of(seed), (unsigned long long)seed);
    return false;
}

int main(int argc, char **argv)
{
    unsigned long long first = 1, last = 20;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) is_verbose = true;
        else if (strcmp(argv[i], "--log") == 0) is_logging = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc && sscanf(argv[++i], "%llu", &first) == 1) last = first;
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc && sscanf(argv[++i], "%llu-%llu", &first, &last) == 2) continue;
        else if (strcmp(argv[i], "--nodes") == 0 && i + 1 < argc && sscanf(argv[++i], "%u", &nodes_wanted) == 1
                 && nodes_wanted > 0 && nodes_wanted <= CHAT_NODES_MAX) continue;
        else {
            fprintf(stderr,
                    "usage: simulate [--nodes 1-%d] [--seeds FIRST-LAST | --seed N] [--verbose] [--log]\n"
                    "  --log prints every message: time in ms, trace, span, verb, type, from and to\n", CHAT_NODES_MAX);
            return 2;
        }
    }
    unsigned long long passed = 0, failed = 0;
    for (unsigned long long seed = first; seed <= last; seed++) {
        if (one(seed)) passed++;
        else failed++;
        fflush(stdout);
    }
    printf("simulation seeds %llu-%llu: %llu passed, %llu failed\n", first, last, passed, failed);
    return failed != 0;
}
