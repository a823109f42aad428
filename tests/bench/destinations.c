/* destinations.c - 5,000 other servers, of which 4,500 are down: memory, wake-ups, an event for all, a restart.
 *
 * Real actors and runtime on one simulated node: times are virtual, CPU is not.  Ends with 1 when a bound of the issue does
 * not hold.
 */
#include "actors/destination/destination.h"
#include "actors/servers/servers.h"
#include "bus/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SERVERS = 5000, UP = 500, SECOND = 1000, MINUTE = 60 * SECOND, ROUND_TRIP_MS = 20, ITEMS = 2000,
    IDLE_BYTES_MAX = 4096
};

typedef struct {
    uint64_t second, in_second, most_in_second, tries, taken;
} counting;

static const gr_actor_kind *const kinds[] = {&gr_destination_kind, &gr_servers_kind, NULL};
static counting count;
static bool is_failed;

static bool answer(void *arg, gr_sim *sim, unsigned node, uint64_t number, const gr_fetch *f, gr_arena *a, gr_fetched *out)
{
    (void)arg, (void)node, (void)number, (void)a;
    uint64_t second = gr_sim_now(sim) / SECOND;
    count.tries++;
    count.in_second = second == count.second ? count.in_second + 1 : 1;
    count.second = second;
    if (count.in_second > count.most_in_second) count.most_in_second = count.in_second;
    *out = (gr_fetched){.failure = GR_FETCH_UNREACHABLE, .text = GR_STR("down")};
    if (!gr_str_starts(f->server, GR_STR("up"))) return true;
    count.taken++;
    *out = (gr_fetched){.status = 200, .body = GR_STR("{}")};
    return true;
}

static void tell(const char *name, double value, const char *unit) { printf("%s\t%f\t%s\n", name, value, unit); }

static void need(bool holds, const char *what)
{
    if (!holds) fprintf(stderr, "  does not hold: %s\n", what);
    is_failed |= !holds;
}

static double cpu_ms(void) { return (double)clock() * 1000 / CLOCKS_PER_SEC; }

static uint64_t resident(void)
{
    unsigned long long pages = 0, all = 0;
    FILE *in = fopen("/proc/self/statm", "r");
    if (in && fscanf(in, "%llu %llu", &all, &pages) != 2) pages = 0;
    if (in) fclose(in);
    return pages * 4096;
}

static gr_str name_of(gr_arena *a, int number)
{
    return gr_arena_printf(a, "%s%d.example.org", number < UP ? "up" : "down", number);
}

static gr_worker_counters counters(gr_sim *sim)
{
    gr_worker_counters sum;
    gr_sim_count(sim, &sum);
    return sum;
}

/* As a room does it: one message for each shard. */
static void send_to_all(gr_sim *sim, gr_arena *a)
{
    for (int shard = 0; shard < GR_SHARDS; shard++) {
        gr_servers_send m = {.room_id = GR_STR("!r"), .edu = GR_STR("{\"content\":{},\"edu_type\":\"x\"}")};
        gr_sim_tell(sim, 0, gr_address_of_shard(a, GR_KIND_SERVERS, (uint8_t)shard), &gr_type_servers_send, &m);
    }
}

static void one_event_for_all(gr_sim *sim, gr_arena *a)
{
    for (int i = 0; i < SERVERS; i++) {
        gr_servers_member m = {.room_id = GR_STR("!r"), .server = name_of(a, i), .joined = true};
        gr_sim_tell(sim, 0, gr_address_of_shard(a, GR_KIND_SERVERS, gr_id_shard(m.server)), &gr_type_servers_member, &m);
    }
    gr_sim_run(sim, SECOND);
    uint64_t memory = resident();
    double cpu = cpu_ms();
    uint64_t began = gr_sim_now(sim);
    send_to_all(sim, a);
    while (count.taken < UP && gr_sim_now(sim) - began < MINUTE) gr_sim_run(sim, 1);
    tell("an event for 5,000 servers: until the 500 that are up have it", (double)(gr_sim_now(sim) - began), "ms (virtual)");
    tell("  messages from its room", GR_SHARDS, "");
    tell("  CPU, signatures of 5,000 requests among it", cpu_ms() - cpu, "ms");
    gr_sim_run(sim, 2 * SECOND);
    gr_worker_counters c = counters(sim);
    tell("memory of a destination as the runtime counts it", (double)c.actors_memory / (double)c.actors, "bytes");
    tell("growth of the process for each, with what waits for it", (double)(resident() - memory) / SERVERS, "bytes");
    need(c.actors_memory / c.actors <= IDLE_BYTES_MAX, "at most 4 KB for an idle destination");
}

static void nobody_wakes_for_nothing(gr_sim *sim)
{
    gr_sim_run(sim, 12 * MINUTE);              /* the quick tries are over */
    uint64_t messages = counters(sim).messages;
    double cpu = cpu_ms();
    count = (counting){0};
    gr_sim_run(sim, 10 * MINUTE);
    tell("4,500 that are down: tries in 10 minutes", (double)count.tries, "");
    tell("  most in one second", (double)count.most_in_second, "");
    tell("  messages handled for each try", (double)(counters(sim).messages - messages) / (double)count.tries, "");
    tell("  CPU of these 10 minutes, the simulator's among it", cpu_ms() - cpu, "ms");
    need(count.tries <= 2 * (SERVERS - UP), "each is tried no more than its waits allow");
}

static void a_restart_is_no_stampede(gr_sim *sim)
{
    gr_sim_crash(sim, 0, 15 * MINUTE);
    gr_sim_run(sim, 15 * MINUTE + 10);
    count = (counting){0};
    gr_sim_run(sim, 3 * MINUTE);
    tell("after an outage of 15 minutes: tries in 3 minutes", (double)count.tries, "");
    tell("  most in one second", (double)count.most_in_second, "");
    need(count.tries > 0 && count.most_in_second <= (SERVERS - UP) / 20, "tries are spread");
}

static void one_that_is_up_is_bounded_by_its_round_trip(gr_sim *sim, gr_arena *a)
{
    gr_str to = gr_address(a, GR_KIND_DESTINATION, GR_STR("up.alone.example.org"));
    gr_destination_queue m = {.edu = GR_STR("{\"content\":{},\"edu_type\":\"x\"}")};
    for (int i = 0; i < ITEMS; i++) gr_sim_tell(sim, 0, to, &gr_type_destination_queue, &m);
    count = (counting){0};
    uint64_t began = gr_sim_now(sim);
    while (count.taken < ITEMS / GR_QUEUE_ITEMS && gr_sim_now(sim) - began < MINUTE) gr_sim_run(sim, 1);
    double took_ms = (double)(gr_sim_now(sim) - began);
    tell("one server, answers within 20 ms: items a second", ITEMS * 1000.0 / took_ms, "(virtual)");
    need(took_ms <= 2.0 * ROUND_TRIP_MS * (ITEMS / GR_QUEUE_ITEMS + 2), "50 items a round trip");
}

int main(void)
{
    static const unsigned char seed[GR_SIGN_SEED] = {1};
    gr_signer signer;
    gr_arena *a = gr_arena_new(0);
    if (gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("h"), seed, &signer))) return 1;
    gr_env env = {.server_name = GR_STR("here"), .signer = &signer,
                  .retry = {10 * MINUTE, 7 * 24 * 60 * (uint64_t)MINUTE, 2, 0.2},
                  .queue = {1000, 8 << 20, 60 * MINUTE, 50}};
    gr_sim_options o = {.seed = 1, .nodes = 1, .workers = 1, .kinds = kinds, .env = &env, .remote = answer,
                        .remote_delay_max = ROUND_TRIP_MS};
    gr_sim *sim = gr_sim_new(&o);
    one_event_for_all(sim, a);
    nobody_wakes_for_nothing(sim);
    a_restart_is_no_stampede(sim);
    one_that_is_up_is_bounded_by_its_round_trip(sim, a);
    gr_sim_free(&sim);
    gr_arena_free(&a);
    return is_failed;
}
