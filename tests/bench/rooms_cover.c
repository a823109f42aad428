/* rooms_cover.c - stores whose rooms have no chain cover, for what makes it beside the service.
 *
 *     gr_rooms uncovered DIR SERVER_NAME ROOMS EVENTS     puts so many rooms, of so many state events each, into the store
 *     gr_rooms uncover DIR SERVER_NAME [missed]           takes the cover of all rooms away; missed: the upkeep stays over
 *     gr_rooms covers DIR SERVER_NAME    prints a hash of all covers, and how many events have a place
 *
 * DIR is the store of a stopped server.
 */
#include "tests/bench/rooms.h"
#include "persistence/update.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS_A_BATCH = 4000 };

#define OWNER "@a:example.org"
#define POWERS "{\"users\":{\"@a:example.org\":100}}"

/* --- rooms as a version left them that gave no places ------------------------------------------------------ */
typedef struct { bench_room *b; uint64_t create, powers, rules, root, members[64]; } maker;

static void put(maker *m, const char *sender, const char *type, const char *key, const char *content, uint64_t member,
                uint64_t *number)
{
    bench_event e = {sender, type, key, content, {0}, m->root, true};
    const uint64_t auth[] = {m->create, m->powers, m->rules, member};
    for (size_t i = 0, n = 0; i < sizeof auth / sizeof auth[0]; i++)
        if (auth[i]) e.auth[n++] = auth[i];
    gr_room_record r = bench_store(m->b, &e);
    m->root = r.state_after;
    if (number) *number = r.number;
}

/* Sixty people, who come, change and go. */
static void make_room(bench_room *b, uint64_t events)
{
    maker m = {.b = b};
    char user[64];
    put(&m, OWNER, "m.room.create", "", "{\"room_version\":\"11\"}", 0, &m.create);
    put(&m, OWNER, "m.room.member", OWNER, "{\"membership\":\"join\"}", 0, &m.members[0]);
    put(&m, OWNER, "m.room.power_levels", "", POWERS, m.members[0], &m.powers);
    put(&m, OWNER, "m.room.join_rules", "", "{\"join_rule\":\"public\"}", m.members[0], &m.rules);
    while (b->room->next_number <= events) {
        uint64_t who = 1 + bench_draw(b, 60), dice = bench_draw(b, 100);
        snprintf(user, sizeof user, "@user%llu:example.org", (unsigned long long)who);
        const char *member = dice < 80 ? "{\"membership\":\"join\"}" : "{\"membership\":\"leave\"}";
        if (dice == 0) put(&m, OWNER, "m.room.power_levels", "", POWERS, m.members[0], &m.powers);
        else if (dice < 20) put(&m, OWNER, "m.room.topic", "", "{\"topic\":\"Something else\"}", m.members[0], NULL);
        else put(&m, user, "m.room.member", user, member, m.members[who], &m.members[who]);
    }
    bench_begin(b);
    gr_room_save(b->room, &b->ctx);
    bench_finish(b);
    bench_commit(b);
}

void bench_make_uncovered(const char *dir, const char *server_name, const char *rooms, const char *events)
{
    bench_room *b = NULL;
    char id[300];
    for (int i = 0; i < atoll(rooms); i++) {
        snprintf(id, sizeof id, "!uncovered%d:%s", i, server_name);
        if (b) bench_use(b, id);
        else b = bench_open_in(dir, server_name, id);
        b->uncovered = true;
        make_room(b, (uint64_t)atoll(events));
    }
    bench_close(&b);
}

/* --- all rooms of a store ---------------------------------------------------------------------------------- */
typedef struct { gr_ops ops; uint64_t hash, places; } covers;

/* Rows of the chain cover, and how far it is. */
static bool on_row(void *arg, gr_str key, gr_str value)
{
    covers *c = arg;
    ptrdiff_t end = gr_str_find(key, 0);
    char letter = end > 0 && (size_t)end + 1 < key.size ? key.ptr[end + 1] : 0;
    if (letter != 'c' && letter != 'C' && letter != 'Z') return true;
    gr_ops_delete(&c->ops, key);
    if (letter != 'Z') c->hash = (c->hash * 31 + gr_str_hash(key)) * 31 + gr_str_hash(value);
    c->places += letter == 'c';
    return true;
}

static void on_done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    (void)arg, (void)token, (void)shard, (void)number;
    bench_need(outcome == GR_COMMITTED, "a commit");
}

static void write(gr_store *store, gr_shard *shard, gr_ops *ops, gr_arena *a)
{
    gr_batch batch;
    if (ops->count == 0) return;
    bench_need(!gr_failed(gr_shard_seal(shard, ops, a, &batch)), "sealing a batch");
    gr_store_submit(store, &batch, 1, 1, on_done, NULL);
    while (gr_store_step(store)) continue;
    gr_ops_clear(ops);
}

static void delete_all(gr_store *store, gr_shard *shard, covers *c, gr_arena *a)
{
    gr_str rest = gr_buf_view(&c->ops.bytes);
    gr_ops some = {0};
    for (gr_op op; gr_op_next(&rest, &op);) {
        gr_ops_delete(&some, op.key);
        if (some.count == ROWS_A_BATCH) write(store, shard, &some, a);
    }
    write(store, shard, &some, a);
    gr_ops_free(&some);
}

void bench_covers(const char *dir, const char *server_name, bool removes, bool missed)
{
    static const char from[] = {GR_ACTOR_KEY_FIRST + GR_KIND_ROOM}, to[] = {GR_ACTOR_KEY_FIRST + GR_KIND_ROOM + 1};
    gr_arena *a = gr_arena_new(0);
    gr_store *store;
    covers c = {.hash = 1};
    gr_err err = gr_store_open(&(gr_store_options){.dir = dir, .server_name = gr_str_c(server_name)}, a, &store);
    if (gr_failed(err)) fprintf(stderr, "%s\n", err.text);
    bench_need(!gr_failed(err), "opening the store");
    for (int i = 0; i < GR_SHARDS; i++) {
        gr_shard shard;
        bench_need(!gr_failed(gr_shard_open(store, (uint8_t)i, a, &shard)), "opening a shard");
        gr_range range = {.from = {from, 1}, .to = {to, 1}};
        gr_ops_clear(&c.ops);
        bench_need(!gr_failed(gr_shard_scan(&shard, NULL, &range, on_row, &c)), "reading");
        if (removes && !missed) gr_ops_delete(&c.ops, gr_update_state_key(a, GR_ROOM_UPKEEP_COVER));
        if (removes) delete_all(store, &shard, &c, a);
    }
    printf("%016llx %llu\n", (unsigned long long)c.hash, (unsigned long long)c.places);
    gr_ops_free(&c.ops);
    gr_store_close(&store);
    gr_arena_free(&a);
}
