/* federate.c - five servers that federate, from a seed: `federate --seeds 1-30`, `federate --seed 17 --verbose`.
 *
 * Outages of a second to days: of a server, of a pair, one way only, of two halves; servers crash in all states of their
 * destinations, requests and answers are lost, and people of all servers go on meanwhile; the rooms of one server lose their
 * chain covers, which are made again while it crashes.  Then all is healed: everything must come to rest, everybody says one
 * thing more, all servers must agree, and fsck finds nothing on their disks.  Every tenth seed runs twice: both runs must be
 * the same.
 */
#include "actors/destination/destination.h"
#include "tests/federation/fed.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR,
    EPISODES = 5, SLICES = 8, REST_TRIES = 60, MANY = 20,
    UNCOVERED = 1              /* the server that loses its chain covers, in the middle */
};

static bool is_verbose, is_logging;
static const char *about = "";
static fed_counts total;

static void cut_some(fed *f, uint64_t ms)
{
    unsigned kind = (unsigned)(fed_random(f) % 4), one = (unsigned)(fed_random(f) % FED_SERVERS);
    unsigned other = (one + 1 + (unsigned)(fed_random(f) % (FED_SERVERS - 1))) % FED_SERVERS;
    if (kind == 0) fed_cut(f, one, other, ms);                     /* one can't reach the other, which can reach it */
    if (kind == 1) {
        fed_cut(f, one, other, ms);
        fed_cut(f, other, one, ms);
    }
    for (unsigned i = 0; kind >= 2 && i < FED_SERVERS; i++)
        for (unsigned k = 0; k < FED_SERVERS; k++) {
            bool parted = kind == 2 ? (i == one) != (k == one)     /* one from all others */
                                    : (i == one || i == other) != (k == one || k == other);
            if (parted) fed_cut(f, i, k, ms);
        }
}

static void episode(fed *f)
{
    static const uint64_t lengths[] = {SECOND, 20 * SECOND, 3 * MINUTE, 20 * MINUTE, 61 * MINUTE, 95 * MINUTE, 4 * HOUR,
                                       DAY, 3 * DAY};
    uint64_t ms = lengths[fed_random(f) % (sizeof lengths / sizeof lengths[0])];
    cut_some(f, ms);
    if (fed_chance(f, 2)) cut_some(f, ms / 2);
    fed_people_act(f, ms / 8 > 400 ? ms / 8 : 400);
    for (int i = 0; i < SLICES && !f->problem[0]; i++) {
        fed_run(f, ms / SLICES);
        unsigned server = (unsigned)(fed_random(f) % FED_SERVERS), node = (unsigned)fed_random(f);
        if (fed_chance(f, 8)) fed_crash(f, server, node, fed_random(f) % (ms / 4));
    }
    fed_people_act(f, 2 * SECOND);
    fed_run(f, SECOND + fed_random(f) % (20 * SECOND));
}

/* Until nothing is under way: those that failed for long are tried again after days. */
static void rest(fed *f)
{
    uint64_t ms = 10 * SECOND;
    gr_str behind = {0};
    for (int tries = 0; tries < REST_TRIES && !f->problem[0]; tries++) {
        fed_run(f, ms);
        behind = fed_people_quiet(f) ? fed_behind(f) : GR_STR("people ask in vain");
        if (behind.size == 0) return;
        if (ms < DAY) ms += ms / 2;
    }
    fed_problem(f, "healed, and not at rest: %" GR_FMT, GR_ARG(behind));
}

static void play(fed *f)
{
    fed_people_open(f);
    f->faults = f->crashes = true;
    for (int i = 0; i < EPISODES && !f->problem[0]; i++) {
        if (i == EPISODES / 2 && f->servers[UNCOVERED].nodes == 1) fed_server_uncover(&f->servers[UNCOVERED]);
        episode(f);
    }
    fed_heal(f);
    fed_people_act(f, 0);
    rest(f);
    fed_all_say_something(f);
    rest(f);
    fed_run(f, 2 * MINUTE);
    fed_check(f);
}

static void print_message(const gr_log_record *r, const fed_server *s)
{
    static const char *const verbs[] = {"", "tell", "ask", "post", "reply", "control"};
    const gr_type *type = gr_type_find(r->type);
    if (*about && !memmem(r->body.ptr, r->body.size, about, strlen(about))) return;
    printf("%llu %s %016llx %s %s %" GR_FMT " -> %" GR_FMT "\n", (unsigned long long)r->started_us / 1000, s->name,
           (unsigned long long)r->trace, verbs[r->verb], type ? type->name : "?", GR_ARG(r->from), GR_ARG(r->to));
}

static void tell(uint64_t seed, const fed_counts *n)
{
    printf("seed %llu: %llu requests (%llu lost, %llu cut off), %llu transactions (%llu again) with %llu events (%llu caught "
           "up), %llu events said, %llu comings and goings, %llu to-device messages, %llu refused, %llu events left to fetch, "
           "%llu crashes: with a destination live %llu, backing off %llu, pending %llu, catching up %llu\n",
           (unsigned long long)seed, (unsigned long long)n->requests, (unsigned long long)n->lost, (unsigned long long)n->cut,
           (unsigned long long)n->transactions, (unsigned long long)n->repeated, (unsigned long long)n->events,
           (unsigned long long)n->caught_up, (unsigned long long)n->said, (unsigned long long)n->moves,
           (unsigned long long)n->directs, (unsigned long long)n->refused, (unsigned long long)n->fetched,
           (unsigned long long)n->crashes, (unsigned long long)n->crashed_in[GR_DESTINATION_LIVE],
           (unsigned long long)n->crashed_in[GR_DESTINATION_BACKING_OFF],
           (unsigned long long)n->crashed_in[GR_DESTINATION_PENDING],
           (unsigned long long)n->crashed_in[GR_DESTINATION_CATCHING_UP]);
}

static uint64_t run(uint64_t seed, char *problem, size_t room)
{
    fed_options o = {.seed = seed, .log = is_logging ? print_message : NULL};
    fed *f = fed_new(&o);
    play(f);
    uint64_t hash = fed_hash(f);
    if (is_verbose) tell(seed, &f->n);
    for (size_t i = 0; i < sizeof total / sizeof(uint64_t); i++) ((uint64_t *)&total)[i] += ((uint64_t *)&f->n)[i];
    snprintf(problem, room, "%s", f->problem);
    fed_free(&f);
    return hash;
}

static bool one(uint64_t seed)
{
    char problem[512], again[512];
    uint64_t hash = run(seed, problem, sizeof problem);
    if (!problem[0] && seed % 10 == 0 && run(seed, again, sizeof again) != hash)
        snprintf(problem, sizeof problem, "two runs of the same seed differ");
    if (problem[0]) printf("FAILED seed %llu: %s\n  again with: build/release/tests/federate --seed %llu --verbose\n",
                           (unsigned long long)seed, problem, (unsigned long long)seed);
    return !problem[0];
}

/* Over many seeds servers crash in each of the states, else this simulation shows less than it says. */
static bool was_in_all_states(void)
{
    for (int i = 0; i < 4; i++)
        if (total.crashed_in[i] == 0)
            printf("FAILED: no server crashed with a destination %s\n", gr_destination_state_text((gr_destination_state)i));
    return total.crashed_in[0] && total.crashed_in[1] && total.crashed_in[2] && total.crashed_in[3];
}

int main(int argc, char **argv)
{
    unsigned long long first = 1, last = 10, passed = 0, failed = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) is_verbose = true;
        else if (strcmp(argv[i], "--log") == 0) is_logging = true;
        else if (strcmp(argv[i], "--about") == 0 && i + 1 < argc) about = argv[++i];
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc && sscanf(argv[++i], "%llu", &first) == 1) last = first;
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc && sscanf(argv[++i], "%llu-%llu", &first, &last) == 2) continue;
        else {
            fprintf(stderr, "usage: federate [--seeds FIRST-LAST | --seed N] [--verbose] [--log [--about TEXT]]\n"
                            "  --log prints every message (that holds TEXT): time in ms, server, trace, verb, type, from, to\n");
            return 2;
        }
    }
    for (unsigned long long seed = first; seed <= last; seed++) {
        if (one(seed)) passed++;
        else failed++;
        fflush(stdout);
    }
    if (last - first >= MANY && !was_in_all_states()) failed++;
    printf("simulation seeds %llu-%llu: %llu passed, %llu failed\n", first, last, passed, failed);
    return failed != 0;
}
