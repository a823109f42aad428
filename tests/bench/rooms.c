/* rooms.c - what rooms cost at size: auth chains, state, messages.  See rooms.h.
 *
 *     gr_rooms [chains] [tries] [messages] [forks]
 *
 * Prints one line per figure: name, value, unit, with tabs between.  tests/bench/run --only rooms runs it.
 */
#include "tests/bench/rooms.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void bench_need(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "gr_rooms: %s failed\n", what);
    exit(1);
}

void bench_tell(const char *name, double value, const char *unit)
{
    printf("%s\t%.6g\t%s\n", name, value, unit);
    fflush(stdout);
}

double bench_cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

uint64_t bench_draw(bench_room *b, uint64_t below)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (b->random >> 33) % below;
}

/* --- what a ctx asks of its worker --------------------------------------------------------------------- */
static uint64_t next_position(void *arg, uint8_t shard)
{
    (void)shard;
    return ++((bench_room *)arg)->position;
}

static uint64_t newest_position(void *arg, uint8_t shard)
{
    (void)shard;
    return ((bench_room *)arg)->position;
}

static const void *no_sibling(void *arg, gr_kind kind, uint8_t shard)
{
    (void)arg, (void)kind, (void)shard;
    return NULL;
}

static void random_bytes(void *arg, void *out, size_t size)
{
    for (size_t i = 0; i < size; i++) ((char *)out)[i] = (char)bench_draw(arg, 256);
}

static void asker_freed(void *arg, gr_asker *asker) { (void)arg, (void)asker; }

static const gr_ctx_host host = {next_position, newest_position, no_sibling, random_bytes, asker_freed};

/* --- opening and closing ------------------------------------------------------------------------------- */
static void open_room(bench_room *b)
{
    bench_need(!gr_failed(gr_shard_open(b->store, gr_address_shard(b->address), b->long_arena, &b->shard)),
               "opening the shard");
    b->overlay = gr_overlay_new(&b->shard, NULL);
    b->ctx = (gr_ctx){.host = &host,
                      .host_arg = b,
                      .arena = b->arena,
                      .overlay = b->overlay,
                      .env = &b->env,
                      .now_ms = 1700000000000,
                      .incarnation = 7,
                      .shard = b->shard.shard};
    b->room = gr_alloc(sizeof *b->room);
    gr_ctx_begin(&b->ctx, b->address);
    gr_room_load(b->room, gr_address_id(b->address), &b->ctx);
}

static void open_store(bench_room *b)
{
    gr_store_options options = {.dir = b->dir, .server_name = b->env.server_name, .create = true};
    bench_need(!gr_failed(gr_store_open(&options, b->long_arena, &b->store)), "opening the store");
    open_room(b);
}

static void close_room(bench_room *b)
{
    gr_room_drop(b->room);
    free(b->room);
    gr_ctx_free(&b->ctx);
    gr_overlay_free(&b->overlay);
}

static void close_store(bench_room *b)
{
    close_room(b);
    gr_store_close(&b->store);
}

static void begin_room(bench_room *b)
{
    b->room->version = gr_room_version_find(GR_STR("11"));
    b->room->exists = true;
}

void bench_use(bench_room *b, const char *room_id)
{
    close_room(b);
    b->address = gr_address(b->long_arena, GR_KIND_ROOM, gr_str_c(room_id));
    open_room(b);
    begin_room(b);
}

bench_room *bench_open_in(const char *dir, const char *server_name, const char *room_id)
{
    static const unsigned char seed[GR_SIGN_SEED] = {1};
    bench_room *b = gr_alloc(sizeof *b);
    b->arena = gr_arena_new(1 << 20);
    b->long_arena = gr_arena_new(0);
    b->random = 1;
    snprintf(b->dir, sizeof b->dir, "%s", dir);
    gr_str name = gr_arena_str(b->long_arena, gr_str_c(server_name));
    bench_need(!gr_failed(gr_signer_from_seed(name, GR_STR("a_1"), seed, &b->signer)), "the key");
    b->env = (gr_env){.server_name = name, .signer = &b->signer, .default_room_version = GR_STR("11")};
    b->address = gr_address(b->long_arena, GR_KIND_ROOM, gr_str_c(room_id));
    open_store(b);
    begin_room(b);
    return b;
}

bench_room *bench_open(const char *room_id)
{
    char dir[] = "/tmp/gr_rooms.XXXXXX";
    bench_need(mkdtemp(dir) != NULL, "making a directory");
    bench_room *b = bench_open_in(dir, "here", room_id);
    b->is_temporary = true;
    return b;
}

/* Calls for each file of the directory: adds its size, or removes it. */
static uint64_t each_file(const char *dir, bool removes)
{
    uint64_t size = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        struct stat s;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (stat(path, &s) != 0 || !S_ISREG(s.st_mode)) continue;
        size += (uint64_t)s.st_size;
        if (removes) unlink(path);
    }
    if (d) closedir(d);
    return size;
}

uint64_t bench_disk_bytes(const bench_room *b) { return each_file(b->dir, false); }

void bench_close(bench_room **at)
{
    bench_room *b = *at;
    close_store(b);
    if (b->is_temporary) {
        each_file(b->dir, true);
        rmdir(b->dir);
    }
    gr_arena_free(&b->arena);
    gr_arena_free(&b->long_arena);
    free(b);
    *at = NULL;
}

void bench_reopen(bench_room *b)
{
    bench_begin(b);
    gr_room_save(b->room, &b->ctx);
    bench_finish(b);
    bench_commit(b);
    close_store(b);
    open_store(b);
    close_store(b);
    open_store(b);
}

/* --- handlers ------------------------------------------------------------------------------------------ */
void bench_begin(bench_room *b)
{
    gr_arena_reset(b->arena);
    gr_ctx_begin(&b->ctx, b->address);
}

void bench_finish(bench_room *b)
{
    bench_need(!gr_failed(b->ctx.failed), "a read");
    for (size_t i = 0; i < b->ctx.write_count; i++) {
        const gr_write *w = &b->ctx.writes[i];
        if (w->kind == GR_OP_PUT) gr_overlay_put(b->overlay, b->group + 1, w->key, w->value);
        else gr_overlay_delete(b->overlay, b->group + 1, w->key);
        b->bytes += w->key.size + w->value.size;
    }
    b->writes += b->ctx.write_count;
    b->gets += b->ctx.gets;
    if (gr_overlay_size(b->overlay) > GR_BATCH_MAX / 2) bench_commit(b);
}

static void committed(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    (void)arg, (void)token, (void)shard, (void)number;
    bench_need(outcome == GR_COMMITTED, "a commit");
}

void bench_commit(bench_room *b)
{
    gr_arena *arena = gr_arena_new(GR_BATCH_MAX);
    gr_batch batch;
    b->group++;
    bench_need(!gr_failed(gr_overlay_seal(b->overlay, b->group, arena, &batch)), "sealing a batch");
    if (batch.header.count) gr_store_submit(b->store, &batch, 1, b->group, committed, b);
    while (gr_store_step(b->store)) continue;
    gr_overlay_committed(b->overlay, b->group);
    gr_arena_free(&arena);
}

static gr_strs ids_of(bench_room *b, const uint64_t *numbers)
{
    gr_strs ids = {gr_arena_alloc(b->arena, 8 * sizeof(gr_str)), 0};
    for (; ids.count < 8 && numbers[ids.count]; ids.count++)
        ids.at[ids.count] = gr_arena_printf(b->arena, "$event%038llu", (unsigned long long)numbers[ids.count]);
    return ids;
}

gr_room_record bench_store(bench_room *b, const bench_event *x)
{
    gr_event_built built;
    gr_room_made made;
    gr_event e;
    uint64_t own[] = {b->room->next_number, 0}, last[] = {b->room->next_number - 1, 0};
    bench_begin(b);
    /* Where edges need no hashes a template is the event but for its signature. */
    gr_event_fields fields = {.version = b->room->version,
                              .room_id = b->room->id,
                              .sender = gr_str_c(x->sender),
                              .type = gr_str_c(x->type),
                              .has_state_key = x->state_key != NULL,
                              .state_key = gr_str_c(x->state_key),
                              .content = gr_str_c(x->content),
                              .prev_events = ids_of(b, last),
                              .auth_events = ids_of(b, x->auth),
                              .depth = (int64_t)b->room->next_number,
                              .origin_server_ts = 1700000000000 + (int64_t)b->room->next_number};
    gr_err err = gr_event_template(b->arena, &fields, &built.text);
    if (!gr_failed(err))
        err = gr_event_load(b->arena, b->room->version, ids_of(b, own).at[0], b->room->id, built.text, &e);
    uint32_t flags = GR_ROOM_ACCEPTED | (x->quiet ? GR_ROOM_SOFT_FAILED : 0);
    gr_room_place place = {.flags = flags, .before = x->before};
    if (!gr_failed(err)) err = gr_room_store(b->room, &b->ctx, &e, built.text, &place, &made);
    if (gr_failed(err)) fprintf(stderr, "%s\n", err.text);
    bench_need(!gr_failed(err), "storing an event");
    gr_room_record record = made.record;
    for (const char *letter = b->uncovered ? "cC" : ""; *letter; letter++)
        gr_ctx_del(&b->ctx, gr_room_key_number(&b->ctx, *letter, record.number));
    bench_finish(b);
    return record;
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } all[] = {
        {"chains", bench_chains}, {"tries", bench_tries}, {"messages", bench_messages}, {"forks", bench_forks},
        {"gaps", bench_gaps}};
    if (argc == 6 && gr_str_is(gr_str_c(argv[1]), "fork")) {
        bench_make_fork(argv[2], argv[3], argv[4], argv[5]);
        return 0;
    }
    if (argc == 6 && gr_str_is(gr_str_c(argv[1]), "uncovered")) {
        bench_make_uncovered(argv[2], argv[3], argv[4], argv[5]);
        return 0;
    }
    if (argc >= 4 && (gr_str_is(gr_str_c(argv[1]), "uncover") || gr_str_is(gr_str_c(argv[1]), "covers"))) {
        bench_covers(argv[2], argv[3], gr_str_is(gr_str_c(argv[1]), "uncover"), argc == 5);
        return 0;
    }
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        bool wanted = argc < 2;
        for (int k = 1; k < argc; k++) wanted = wanted || gr_str_is(gr_str_c(argv[k]), all[i].name);
        if (wanted) all[i].run();
    }
    return 0;
}
