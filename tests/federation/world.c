/* world.c - the clock of all servers: who is to be stepped when; crashes and cuts. See fed.h. */
#include "tests/federation/fed.h"

#include "actors/destination/destination.h"
#include "proto/json.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { DOWN_MS = 5000 };
static const uint64_t BEGIN_MS = 1700000000000;    /* as simulated clusters begin */

/* --- chance ------------------------------------------------------------------------------------------------------ */
static uint64_t next_of(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t fed_random(fed *f) { return next_of(&f->random); }
bool fed_chance(fed *f, unsigned one_in) { return fed_random(f) % one_in == 0; }

/* Edges draw their ids from libsodium: here from the seed, too. */
static uint64_t edge_random;
static const char *random_name(void) { return "seed"; }
static uint32_t random_word(void) { return (uint32_t)next_of(&edge_random); }
static void random_bytes(void *out, size_t size)
{
    for (size_t i = 0; i < size; i++) ((unsigned char *)out)[i] = (unsigned char)next_of(&edge_random);
}

static void seed_edges(uint64_t seed)
{
    static randombytes_implementation seeded = {.implementation_name = random_name, .random = random_word, .buf = random_bytes};
    randombytes_set_implementation(&seeded);
    if (sodium_init() < 0) abort();        /* draws something itself, the first time */
    edge_random = seed;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */
void fed_problem(fed *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_once(f->problem, sizeof f->problem, format, args);
    va_end(args);
}

fed *fed_new(const fed_options *o)
{
    fed *f = gr_alloc(sizeof *f);
    *f = (fed){.seed = o->seed, .random = o->seed, .now_ms = BEGIN_MS, .log = o->log, .crash_next = -1};
    seed_edges(o->seed);
    f->arena = gr_arena_new(1 << 16);
    f->turn = gr_arena_new(1 << 16);
    f->said = gr_alloc(FED_SAID_MAX * sizeof *f->said);
    for (unsigned i = 0; i < FED_SERVERS; i++) fed_server_open(f, i);
    return f;
}

void fed_free(fed **at)
{
    fed *f = *at;
    for (unsigned i = 0; i < FED_SERVERS; i++) fed_server_close(&f->servers[i]);
    fed_wire_free(f);
    fed_watch_free(f);
    free(f->said);
    gr_arena_free(&f->arena);
    gr_arena_free(&f->turn);
    free(f);
    *at = NULL;
}

/* --- time -------------------------------------------------------------------------------------------------------- */
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

void fed_step(fed *f, uint64_t until_ms)
{
    uint64_t next_ms = least(least(until_ms, fed_wire_next_ms(f)), fed_people_next_ms(f));
    for (unsigned i = 0; i < FED_SERVERS; i++) next_ms = least(next_ms, fed_server_next_ms(&f->servers[i]));
    f->now_ms = next_ms > f->now_ms ? next_ms : f->now_ms + 1;
    fed_people_step(f);
    fed_wire_step(f);
    for (unsigned i = 0; i < FED_SERVERS; i++)
        if (fed_server_next_ms(&f->servers[i]) <= f->now_ms) fed_server_step(&f->servers[i]);
}

void fed_run(fed *f, uint64_t ms)
{
    gr_arena_reset(f->turn);
    for (uint64_t until_ms = f->now_ms + ms; f->now_ms < until_ms && !f->problem[0];) {
        fed_step(f, until_ms);
        if (f->crash_next < 0) continue;
        unsigned server = (unsigned)f->crash_next;
        fed_crash(f, server, (unsigned)fed_random(f), fed_random(f) % DOWN_MS);
        f->crash_next = -1;
    }
}

uint64_t fed_hash(const fed *f)
{
    uint64_t hash = f->random ^ f->now_ms;
    for (unsigned i = 0; i < FED_SERVERS; i++) hash = (hash ^ gr_sim_hash(f->servers[i].sim)) * 0x100000001b3u;
    return hash;
}

/* --- what goes wrong --------------------------------------------------------------------------------------------- */
static int state_of(const gr_json *destination)
{
    gr_str text = gr_json_text(destination, "state");
    for (int i = 0; i < 4; i++)
        if (gr_str_is(text, gr_destination_state_text((gr_destination_state)i))) return i;
    return -1;
}

void fed_crash(fed *f, unsigned server, unsigned node, uint64_t ms)
{
    bool is_in[4] = {false};
    for (unsigned i = 0; i < FED_SERVERS; i++) {
        int state = i == server ? -1 : state_of(fed_destination(f, server, i));
        if (state >= 0) is_in[state] = true;
    }
    for (int i = 0; i < 4; i++) f->n.crashed_in[i] += is_in[i];
    f->n.crashes++;
    fed_server_crash(&f->servers[server], node % f->servers[server].nodes, ms);
}

void fed_cut(fed *f, unsigned from, unsigned to, uint64_t ms)
{
    uint64_t until_ms = f->now_ms + ms;
    if (from != to && until_ms > f->cut_until_ms[from][to]) f->cut_until_ms[from][to] = until_ms;
}

void fed_heal(fed *f)
{
    memset(f->cut_until_ms, 0, sizeof f->cut_until_ms);
    f->faults = f->crashes = false;
    for (unsigned i = 0; i < FED_SERVERS; i++) {
        gr_sim_faults(f->servers[i].sim, false);
        for (unsigned node = 0; node < FED_NODES_MAX; node++) f->servers[i].up_ms[node] = 0;
    }
}
