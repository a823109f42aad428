/* resolving.c - states resolved on the pool: what is asked for, how the new nodes come into the store, and the results.
 * See resolving.h. */
#include "actors/room/graph.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

enum {
    RESULTS_KEPT = 8,
    INPUT_HEAD = 8, OUTPUT_HEAD = 16,
    STEP_BYTES = 48 * 1024,            /* of nodes written in one step */
    NODE_BYTES = 48,                   /* of a row beside its node, about */
    TRY_AGAIN_MS = 1000                /* after a work that failed */
};

typedef struct { gr_u64s roots; uint64_t root; bool is_refused; } result;

/* Nodes on their way into the store: bytes are those that the work left, at is the next one. */
typedef struct { gr_str bytes; size_t at; uint64_t first, by, next, root; } staging;

struct gr_room_resolving {
    gr_u64s wanted;                    /* by the handler that runs; count 0: nothing */
    gr_u64s asked;                     /* of the pool; count 0: nothing */
    uint64_t number;                   /* of that work */
    staging staging;                   /* bytes.ptr NULL: nothing */
    result results[RESULTS_KEPT];
    size_t next_result;
};

static gr_u64s keep_roots(gr_u64s roots)
{
    gr_u64s kept = {gr_alloc(roots.count * sizeof(uint64_t)), roots.count};
    memcpy(kept.at, roots.at, roots.count * sizeof(uint64_t));
    return kept;
}

static void free_roots(gr_u64s *roots)
{
    free(roots->at);
    *roots = (gr_u64s){0};
}

static bool same_roots(gr_u64s a, gr_u64s b)
{
    return a.count == b.count && memcmp(a.at, b.at, a.count * sizeof(uint64_t)) == 0;
}

void gr_room_resolving_drop(gr_room *room)
{
    struct gr_room_resolving *r = room->resolving;
    gr_room_waiting_drop(room);
    if (!r) return;
    free_roots(&r->wanted);
    free_roots(&r->asked);
    free((char *)r->staging.bytes.ptr);
    for (size_t i = 0; i < RESULTS_KEPT; i++) free_roots(&r->results[i].roots);
    free(r);
    room->resolving = NULL;
}

/* --- in a handler ------------------------------------------------------------------------------------------ */
gr_err gr_room_too_far_apart(void)
{
    return gr_fail(GR_UNAVAILABLE, "The room's branches disagree about more state than this server resolves at once; "
                                   "try again when they have come closer");
}

bool gr_room_resolved(const gr_room *room, gr_u64s roots, uint64_t *root, gr_err *err)
{
    const struct gr_room_resolving *r = room->resolving;
    for (size_t i = 0; r && i < RESULTS_KEPT; i++) {
        if (!r->results[i].roots.count || !same_roots(r->results[i].roots, roots)) continue;
        *root = r->results[i].root;
        *err = r->results[i].is_refused ? gr_room_too_far_apart() : gr_ok();
        return true;
    }
    return false;
}

gr_err gr_room_want_state(gr_room *room, gr_u64s roots)
{
    if (!room->resolving) room->resolving = gr_alloc(sizeof *room->resolving);
    free_roots(&room->resolving->wanted);
    room->resolving->wanted = keep_roots(roots);
    room->must_wait = true;
    return gr_fail(GR_UNAVAILABLE, "The room's branches are being brought together: try again");
}

bool gr_room_is_resolving(const gr_room *room)
{
    const struct gr_room_resolving *r = room->resolving;
    return r && (r->asked.count || r->staging.bytes.ptr);
}

void gr_room_each_result(const gr_room *room, gr_room_root_fn *fn, void *arg)
{
    for (size_t i = 0; room->resolving && i < RESULTS_KEPT; i++)
        if (room->resolving->results[i].root) fn(arg, room->resolving->results[i].root);
}

uint64_t gr_room_first_staged(const gr_room *room)
{
    const struct gr_room_resolving *r = room->resolving;
    return r && r->staging.bytes.ptr ? r->staging.first + r->staging.by : UINT64_MAX;
}

/* --- on the pool ------------------------------------------------------------------------------------------- */
/* Input: time (8), roots (8 each).  Output: the number that the first new node had there, the root, then each new node: its
 * size (4) and bytes; empty when the limits were passed. */
typedef struct { gr_trie stored; gr_buf *out; } node_writer;

static bool get_node(void *arg, uint64_t node, gr_str *bytes)
{
    node_writer *w = arg;
    return w->stored.get(w->stored.arg, node, bytes);
}

static void put_node(void *arg, uint64_t node, gr_str bytes)
{
    node_writer *w = arg;
    (void)node;                        /* one after the other */
    gr_buf_u32be(w->out, (uint32_t)bytes.size);
    gr_buf_str(w->out, bytes);
}

static bool run(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_ctx *ctx = gr_work_ctx(reader, gr_u64be(input.ptr));
    gr_room *room = gr_arena_alloc(arena, sizeof *room);
    gr_room_load(room, gr_address_id(gr_ctx_self(ctx)), ctx);
    gr_u64s roots = {gr_arena_alloc(arena, input.size), 0};
    for (size_t at = INPUT_HEAD; at + 8 <= input.size; at += 8) roots.at[roots.count++] = gr_u64be(input.ptr + at);
    gr_room_nodes nodes;
    gr_buf made = {0};
    node_writer w = {gr_room_trie(&nodes, room, ctx), &made};
    gr_trie trie = {get_node, put_node, &w, &room->next_node};
    uint64_t first = room->next_node, root;
    gr_err err = room->exists ? gr_room_resolve_with(room, ctx, &trie, roots, true, &root) : gr_room_too_far_apart();
    if (!gr_failed(err)) {
        gr_buf_u64be(output, first);
        gr_buf_u64be(output, root);
        gr_buf_str(output, gr_buf_view(&made));
    }
    gr_buf_free(&made);
    gr_room_drop(room);
    return !gr_work_failed(reader);
}

static const gr_work resolving_work = {.name = "room_resolving", .run = run, .is_long = true};

void gr_room_begin_resolving(gr_room *room, gr_ctx *ctx)
{
    struct gr_room_resolving *r = room->resolving;
    if (!r || !r->wanted.count || gr_room_is_resolving(room)) return;
    r->asked = r->wanted;
    r->wanted = (gr_u64s){0};
    gr_ctx_random(ctx, &r->number, sizeof r->number);      /* never that of one from before the room was loaded */
    gr_buf input = {0};
    gr_buf_u64be(&input, gr_ctx_now_ms(ctx));
    for (size_t i = 0; i < r->asked.count; i++) gr_buf_u64be(&input, r->asked.at[i]);
    gr_ctx_work(ctx, &resolving_work, gr_buf_view(&input),
                &(gr_resume){.step = GR_ROOM_WORK_RESOLVING, .number = r->number});
    gr_buf_free(&input);
}

/* --- the result -------------------------------------------------------------------------------------------- */
static void keep_result(struct gr_room_resolving *r, uint64_t root, bool is_refused)
{
    result *at = &r->results[r->next_result++ % RESULTS_KEPT];
    free_roots(&at->roots);
    *at = (result){r->asked, root, is_refused};
    r->asked = (gr_u64s){0};
}

/* The current state goes first, if it waits: then nothing else can go on. */
static void wake(gr_room *room, gr_ctx *ctx, uint64_t delay_ms)
{
    if (room->moving.phase == GR_MOVING_RESOLVING) gr_room_move_at(ctx, delay_ms);
    else gr_room_go_on_at(ctx, delay_ms);
}

/* Some nodes; after the last one the result is known. */
static void write_nodes(gr_room *room, gr_ctx *ctx)
{
    struct gr_room_resolving *r = room->resolving;
    staging *s = &r->staging;
    gr_buf node = {0};
    for (size_t written = 0; s->at + 4 <= s->bytes.size && written < STEP_BYTES; written += node.size + NODE_BYTES) {
        size_t size = gr_u32be(s->bytes.ptr + s->at);
        gr_buf_clear(&node);
        bool good = gr_trie_renumber(&node, gr_str_of(s->bytes.ptr + s->at + 4, size), s->first, s->by);
        gr_assert(good);
        gr_ctx_put(ctx, gr_room_key_number(ctx, 't', s->next++), gr_buf_view(&node));
        s->at += 4 + size;
    }
    gr_buf_free(&node);
    if (s->at < s->bytes.size) {
        gr_ctx_timer(ctx, GR_STR("staging"), gr_ctx_now_ms(ctx), false);
        return;
    }
    keep_result(r, s->root, false);
    free((char *)s->bytes.ptr);
    *s = (staging){0};
    wake(room, ctx, 0);
}

/* New nodes get the numbers that are next now: the pool could not know which. */
static void stage_nodes(gr_room *room, gr_ctx *ctx, gr_str output)
{
    gr_str nodes = gr_str_from(output, OUTPUT_HEAD);
    uint64_t first = gr_u64be(output.ptr), root = gr_u64be(output.ptr + 8), count = 0;
    for (size_t at = 0; at + 4 <= nodes.size; at += 4 + gr_u32be(nodes.ptr + at)) count++;
    staging s = {.bytes = gr_str_of(gr_str_dup(nodes), nodes.size), .first = first, .next = room->next_node};
    s.by = room->next_node - first;
    s.root = root >= first ? root + s.by : root;
    room->resolving->staging = s;
    room->next_node += count;
    gr_room_save(room, ctx);
    gr_room_loosen(room, ctx, count);
    write_nodes(room, ctx);
}

void gr_room_on_resolved(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    struct gr_room_resolving *r = room->resolving;
    const gr_work_done *done = m->body;
    if (!r || !r->asked.count || r->staging.bytes.ptr || r->number != m->resume->number) return;   /* of an earlier life */
    bool failed = gr_failed(m->err) || done->failed;
    if (!failed && done->output.size >= OUTPUT_HEAD) {
        stage_nodes(room, ctx, done->output);
        return;
    }
    if (failed) free_roots(&r->asked);                     /* who waits asks again, somewhat later */
    else keep_result(r, 0, true);
    wake(room, ctx, failed ? TRY_AGAIN_MS : 0);
}

bool gr_room_write_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    if (!gr_str_is(timer, "staging")) return false;
    if (room->resolving && room->resolving->staging.bytes.ptr) write_nodes(room, ctx);
    return true;
}
