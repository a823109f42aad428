/* rooms_trie.c - the state of a room of 50,000 members with 2,000 changes after them: what it costs on disk and
 * in time, beside the usual scheme of state groups. */
#include "tests/bench/rooms.h"

#include <stdio.h>
#include <stdlib.h>

enum { MEMBERS = 50000, CHANGES = 2000, ALL = MEMBERS + CHANGES, FULL_EVERY = 100, LOOKS = 20000, DIFFS = 500 };

typedef struct {
    bench_room *b;
    uint64_t *roots;          /* after each change */
    uint64_t *keys;           /* that it changed */
    double change_us, change_bytes, change_rows;
} trie_bench;

static gr_trie trie_of(gr_room_nodes *nodes, bench_room *b) { return gr_room_trie(nodes, b->room, &b->ctx); }

static void change(trie_bench *t, size_t i)
{
    bench_room *b = t->b;
    gr_room_nodes nodes;
    uint64_t key = i < MEMBERS ? i + 1 : 1 + bench_draw(b, MEMBERS);
    bench_begin(b);
    double begun = bench_cpu_us();
    gr_trie trie = trie_of(&nodes, b);
    t->roots[i] = gr_trie_set(&trie, i ? t->roots[i - 1] : 0, key, i + 100);
    t->change_us += bench_cpu_us() - begun;
    t->keys[i] = key;
    bench_finish(b);
}

static void make_all(trie_bench *t)
{
    for (size_t i = 0; i < MEMBERS; i++) change(t, i);
    uint64_t bytes = t->b->bytes, writes = t->b->writes;
    t->change_us = 0;
    for (size_t i = MEMBERS; i < ALL; i++) change(t, i);
    t->change_us /= CHANGES;
    t->change_bytes = (double)(t->b->bytes - bytes) / CHANGES;
    t->change_rows = (double)(t->b->writes - writes) / CHANGES;
    bench_reopen(t->b);
}

static double look_up_us(trie_bench *t)
{
    gr_room_nodes nodes;
    double begun = bench_cpu_us();
    for (size_t i = 0; i < LOOKS; i++) {
        bench_begin(t->b);
        gr_trie trie = trie_of(&nodes, t->b);
        uint64_t key = 1 + bench_draw(t->b, MEMBERS), root = t->roots[ALL - 1 - bench_draw(t->b, CHANGES)];
        bench_need(gr_trie_get(&trie, root, key) != 0, "a look-up");
    }
    return (bench_cpu_us() - begun) / LOOKS;
}

static bool count_key(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    (void)key, (void)before, (void)after;
    ++*(size_t *)arg;
    return true;
}

/* States so many changes apart. */
static double diff_us(trie_bench *t, size_t apart)
{
    gr_room_nodes nodes;
    size_t keys = 0;
    double begun = bench_cpu_us();
    for (size_t i = 0; i < DIFFS; i++) {
        bench_begin(t->b);
        gr_trie trie = trie_of(&nodes, t->b);
        size_t at = MEMBERS + bench_draw(t->b, CHANGES - apart);
        gr_trie_diff(&trie, t->roots[at], t->roots[at + apart], count_key, &keys);
    }
    bench_need(keys >= DIFFS, "a difference");
    return (bench_cpu_us() - begun) / DIFFS;
}

/* --- state groups -------------------------------------------------------------------------------------- */
/* A group per change: the whole state every hundredth, else what changed.  Rows as usual: group, type and state key ->
 * event id. */
static uint64_t group_rows(const trie_bench *t)
{
    uint64_t rows = 0, members = 0;
    bool *is_member = gr_alloc(MEMBERS + 1);
    for (size_t i = 0; i < ALL; i++) {
        members += !is_member[t->keys[i]];
        is_member[t->keys[i]] = true;
        rows += i % FULL_EVERY == 0 ? members : 1;
    }
    free(is_member);
    return rows;
}

static void put_group_row(bench_room *b, uint64_t group, uint64_t key)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char name[64], id[44] = "$";
    gr_buf row = {0};
    for (size_t i = 1; i < sizeof id; i++) id[i] = digits[bench_draw(b, 64)];
    snprintf(name, sizeof name, "m.room.member %c@user%llu:example%llu.org", 0, (unsigned long long)key,
             (unsigned long long)key % 900);
    size_t type = sizeof "m.room.member";
    gr_buf_char(&row, 'S');
    gr_buf_u64be(&row, group);
    gr_buf_add(&row, name, type);
    gr_buf_c(&row, name + type + 1);
    gr_ctx_put(&b->ctx, gr_buf_view(&row), gr_str_of(id, sizeof id));
    gr_buf_free(&row);
}

/* Bytes on disk of one row, from one whole state and the groups up to the next. */
static double group_row_bytes(void)
{
    bench_room *b = bench_open("!abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG");
    uint64_t empty = bench_disk_bytes(b);
    for (uint64_t key = 1; key <= MEMBERS; key++) {
        bench_begin(b);
        put_group_row(b, 1, key);
        bench_finish(b);
    }
    for (uint64_t group = 2; group <= FULL_EVERY; group++) {
        bench_begin(b);
        put_group_row(b, group, 1 + bench_draw(b, MEMBERS));
        bench_finish(b);
    }
    bench_reopen(b);
    double bytes = (double)(bench_disk_bytes(b) - empty) / (MEMBERS + FULL_EVERY - 1);
    bench_close(&b);
    return bytes;
}

void bench_tries(void)
{
    trie_bench t = {.b = bench_open("!abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")};
    uint64_t empty = bench_disk_bytes(t.b);
    t.roots = gr_alloc(ALL * sizeof *t.roots);
    t.keys = gr_alloc(ALL * sizeof *t.keys);
    make_all(&t);
    double disk = (double)(bench_disk_bytes(t.b) - empty), groups = (double)group_rows(&t) * group_row_bytes();
    bench_tell("state of 50,000 members: written per change, keys included", t.change_bytes, "bytes");
    bench_tell("  rows per change", t.change_rows, "");
    bench_tell("  a change", t.change_us, "us");
    bench_tell("  a key of the state at an event", look_up_us(&t), "us");
    bench_tell("  difference of two states, 1 change apart", diff_us(&t, 1), "us");
    bench_tell("  difference of two states, 100 changes apart", diff_us(&t, 100), "us");
    bench_tell("  on disk, all states of 50,000 joins and 2,000 changes", disk / 1e6, "MB");
    bench_tell("  the same as state groups, a whole map every 100", groups / 1e6, "MB");
    bench_tell("  state groups need more disk by a factor of", groups / disk, "");
    free(t.roots);
    free(t.keys);
    bench_close(&t.b);
}
