/* rooms.h - one room on a LevelDB store of its own, for the benchmarks of rooms; and how results are told. */
#pragma once
#include "actors/env.h"
#include "actors/room/graph.h"
#include "bus/ctx.h"

typedef struct {
    char dir[256];
    bool is_temporary;
    bool uncovered;            /* events get no place in the chain cover */
    gr_arena *arena, *long_arena;
    gr_store *store;
    gr_shard shard;
    gr_overlay *overlay;
    uint64_t group, position, random;
    gr_ctx ctx;
    gr_env env;
    gr_signer signer;
    gr_str address;
    gr_room *room;
    /* Of all finished handlers: bytes of keys and values, and how many rows. */
    uint64_t bytes, writes, gets;
} bench_room;

/* Made in a directory that bench_close removes.  Failures end the process with a message. */
bench_room *bench_open(const char *room_id);
/* The same in a store that stays. */
bench_room *bench_open_in(const char *dir, const char *server_name, const char *room_id);
void bench_close(bench_room **);
void bench_begin(bench_room *);                /* a handler: forgets the arena */
void bench_finish(bench_room *);               /* what it left goes into the overlay */
void bench_commit(bench_room *);               /* to disk */
/* Closes and opens the store, so that its log is a table; the room is loaded again. */
void bench_reopen(bench_room *);
uint64_t bench_disk_bytes(const bench_room *);
double bench_cpu_us(void);                     /* of this process */
uint64_t bench_draw(bench_room *, uint64_t below);
void bench_need(bool ok, const char *what);
void bench_tell(const char *name, double value, const char *unit);

/* Stores an event as it came, unsigned, whose auth events are these; its state before is `before`.  quiet: it takes no
 * part in the room's present, so nothing is resolved. */
typedef struct {
    const char *sender, *type, *state_key, *content;   /* state_key NULL: no state event */
    uint64_t auth[8];                                  /* numbers, up to the first 0 */
    uint64_t before;
    bool quiet;
} bench_event;
gr_room_record bench_store(bench_room *, const bench_event *);

void bench_tries(void);
void bench_chains(void);
void bench_messages(void);
void bench_forks(void);
void bench_gaps(void);
void bench_use(bench_room *, const char *room_id);      /* another room of the same store */
void bench_make_uncovered(const char *dir, const char *server_name, const char *rooms, const char *events);
void bench_covers(const char *dir, const char *server_name, bool removes, bool missed);
void bench_make_fork(const char *dir, const char *server_name, const char *room_id, const char *user);
