/* sweep.c - takes away trie nodes that no state needs any more. See graph.h.
 *
 * Resolving branches makes nodes on the way that belong to no state in the end.  Once enough were made, the room
 * marks, in small steps of a durable timer, what is below the roots that its rows name, and then deletes what is not
 * marked of the nodes that were there at the beginning.  All progress is in rows, so a restart goes on where the last
 * step ended.  Events that come meanwhile are safe: their states are made of nodes of states that are marked, and of
 * nodes that are newer; and marking ends only in a step that has seen all events.
 */
#include "actors/room/graph.h"
#include "actors/room/resolving.h"

enum {
    FORMAT = 1,
    STEP = 60,                  /* rows looked at */
    STEP_DELAY_MS = 20,
    LOOSE_MIN = 1024,           /* nodes; and an eighth of all, so that sweeping stays a part of the work */
    LOOSE_SHARE = 8,
    CHUNK = 1024,               /* marks in a row */
    STACK_MAX = 1024,
    HEAD = 2 + 5 * 8
};

typedef enum { IDLE, MARK, SWEEP, CLEAN } phase;

/* Row G. */
typedef struct {
    phase phase;
    uint64_t loose;             /* nodes made that may be of no use, at most */
    uint64_t horizon;           /* nodes below are looked at */
    uint64_t event, pos;        /* next ones whose roots are to be marked */
    uint64_t node;              /* next one to be deleted or kept */
    uint64_t stack[STACK_MAX];  /* marked, with branches still to be */
    size_t stacked;
} progress;

typedef struct chunk chunk;
struct chunk { chunk *next; uint64_t number; bool changed; unsigned char bits[CHUNK / 8]; };

typedef struct { gr_room *room; gr_ctx *ctx; progress *p; chunk *chunks; unsigned budget, deleted; } sweep;

static const char timer_name[] = "nodes";

/* --- progress ------------------------------------------------------------------------------------------ */
static progress *load_progress(gr_ctx *ctx)
{
    progress *p = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *p);
    gr_str bytes;
    if (!gr_ctx_get(ctx, GR_STR("G"), &bytes) || bytes.size < HEAD || bytes.ptr[0] != FORMAT
        || bytes.ptr[1] > CLEAN)
        return p;
    uint64_t *const numbers[] = {&p->loose, &p->horizon, &p->event, &p->pos, &p->node};
    p->phase = (phase)bytes.ptr[1];
    for (int i = 0; i < 5; i++) *numbers[i] = gr_u64be(bytes.ptr + 2 + 8 * i);
    for (size_t at = HEAD; at + 8 <= bytes.size && p->stacked < STACK_MAX; at += 8)
        p->stack[p->stacked++] = gr_u64be(bytes.ptr + at);
    return p;
}

static void save_progress(gr_ctx *ctx, const progress *p)
{
    const uint64_t numbers[] = {p->loose, p->horizon, p->event, p->pos, p->node};
    gr_buf out = {0};
    gr_buf_char(&out, FORMAT);
    gr_buf_char(&out, (char)p->phase);
    for (int i = 0; i < 5; i++) gr_buf_u64be(&out, numbers[i]);
    for (size_t i = 0; i < p->stacked; i++) gr_buf_u64be(&out, p->stack[i]);
    gr_ctx_put(ctx, GR_STR("G"), gr_buf_view(&out));
    gr_buf_free(&out);
}

static void set_timer(gr_ctx *ctx)
{
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + STEP_DELAY_MS, true);
}

static bool on_first(void *arg, gr_str key, gr_str value)
{
    (void)value;
    if (key.size == 9) *(uint64_t *)arg = gr_u64be(key.ptr + 1);
    return false;
}

/* The next one that has a row p: some are left to history, which has none. */
static uint64_t pos_from(gr_ctx *ctx, uint64_t pos)
{
    uint64_t found = UINT64_MAX;
    gr_ctx_scan(ctx, gr_room_key_number(ctx, 'p', pos), GR_STR("q"), false, 1, on_first, &found);
    return found;
}

void gr_room_loosen(gr_room *room, gr_ctx *ctx, uint64_t nodes)
{
    if (nodes == 0) return;
    progress *p = load_progress(ctx);
    p->loose += nodes;
    if (p->phase == IDLE && p->loose >= LOOSE_MIN + room->next_node / LOOSE_SHARE) {
        uint64_t staged = gr_room_first_staged(room);
        *p = (progress){.phase = MARK, .horizon = staged < room->next_node ? staged : room->next_node, .event = 1,
                        .pos = pos_from(ctx, 1), .node = 1};
        set_timer(ctx);
    }
    save_progress(ctx, p);
}

/* --- marks --------------------------------------------------------------------------------------------- */
static chunk *chunk_of(sweep *s, uint64_t number)
{
    gr_str bytes;
    for (chunk *c = s->chunks; c; c = c->next)
        if (c->number == number) return c;
    chunk *c = gr_arena_alloc(gr_ctx_arena(s->ctx), sizeof *c);
    *c = (chunk){.next = s->chunks, .number = number};
    s->chunks = c;
    if (gr_ctx_get(s->ctx, gr_room_key_number(s->ctx, 'g', number), &bytes) && bytes.size == sizeof c->bits)
        memcpy(c->bits, bytes.ptr, sizeof c->bits);
    return c;
}

static bool is_marked(sweep *s, uint64_t node)
{
    return chunk_of(s, node / CHUNK)->bits[node % CHUNK / 8] >> (node % 8) & 1;
}

static void mark(sweep *s, uint64_t node)
{
    if (node == 0 || is_marked(s, node)) return;
    chunk *c = chunk_of(s, node / CHUNK);
    c->bits[node % CHUNK / 8] |= (unsigned char)(1 << (node % 8));
    c->changed = true;
    gr_assert(s->p->stacked < STACK_MAX);
    s->p->stack[s->p->stacked++] = node;
}

static void save_marks(sweep *s)
{
    for (chunk *c = s->chunks; c; c = c->next)
        if (c->changed)
            gr_ctx_put(s->ctx, gr_room_key_number(s->ctx, 'g', c->number), gr_str_of(c->bits, sizeof c->bits));
}

static void mark_branches(sweep *s)
{
    uint64_t branches[GR_TRIE_BRANCHES];
    gr_str bytes;
    uint64_t node = s->p->stack[--s->p->stacked];
    if (!gr_ctx_get(s->ctx, gr_room_key_number(s->ctx, 't', node), &bytes)) return;
    size_t count = gr_trie_branches(bytes, branches);
    for (size_t i = 0; i < count; i++) mark(s, branches[i]);
}

static bool on_kept(void *arg, gr_str key, gr_str value)
{
    (void)key;
    if (value.size == 8) mark(arg, gr_u64be(value.ptr));
    return true;
}

static void mark_result(void *arg, uint64_t root) { mark(arg, root); }

/* The roots that no event and no position names, and those that are to be named soon. */
static bool mark_present(sweep *s)
{
    mark(s, s->room->root);
    mark(s, s->room->moving.from);
    mark(s, s->room->moving.target);
    gr_room_each_result(s->room, mark_result, s);
    gr_ctx_scan_prefix(s->ctx, GR_STR("Q"), STEP, on_kept, s);
    for (size_t i = 0; i < s->room->extremity_count; i++) mark(s, s->room->extremities[i].root);
    return s->p->stacked > 0;
}

static void step_mark(sweep *s)
{
    progress *p = s->p;
    for (; s->budget > 0; s->budget--) {
        gr_room_record r;
        gr_pos_kind kind;
        uint64_t number, root;
        if (p->stacked) {
            mark_branches(s);
        } else if (p->event < s->room->next_number) {
            if (gr_room_record_at(s->ctx, p->event++, &r)) {
                mark(s, r.state_before);
                mark(s, r.state_after);
            }
        } else if (p->pos < s->room->next_pos) {
            if (gr_room_pos_at(s->ctx, p->pos, &kind, &number, &root)) mark(s, root);
            p->pos = pos_from(s->ctx, p->pos + 1);
        } else if (!mark_present(s)) {
            p->phase = SWEEP;
            return;
        }
    }
}

/* --- deleting ------------------------------------------------------------------------------------------ */
typedef struct { uint64_t at[STEP]; size_t count; } rows;

static bool collect(void *arg, gr_str key, gr_str value)
{
    rows *r = arg;
    (void)value;
    if (key.size == 9) r->at[r->count++] = gr_u64be(key.ptr + 1);
    return r->count < STEP;
}

static void step_sweep(sweep *s)
{
    progress *p = s->p;
    rows r = {.count = 0};
    gr_ctx_scan(s->ctx, gr_room_key_number(s->ctx, 't', p->node), gr_room_key_number(s->ctx, 't', p->horizon), false,
                STEP, collect, &r);
    for (size_t i = 0; i < r.count; i++)
        if (!is_marked(s, r.at[i])) {
            gr_ctx_del(s->ctx, gr_room_key_number(s->ctx, 't', r.at[i]));
            s->deleted++;
        }
    if (r.count) p->node = r.at[r.count - 1] + 1;
    if (r.count < STEP) p->phase = CLEAN;
}

static void step_clean(sweep *s)
{
    rows r = {.count = 0};
    gr_ctx_scan_prefix(s->ctx, GR_STR("g"), STEP, collect, &r);
    for (size_t i = 0; i < r.count; i++) gr_ctx_del(s->ctx, gr_room_key_number(s->ctx, 'g', r.at[i]));
    if (r.count < STEP) s->p->phase = IDLE;
}

bool gr_room_sweep(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    if (!gr_str_is(timer, timer_name)) return false;
    if (gr_ctx_upkeep_paused(ctx, GR_ROOM_UPKEEP_STATES)) {
        gr_ctx_timer(ctx, timer, gr_ctx_now_ms(ctx) + GR_UPKEEP_PAUSED_MS, true);
        return true;
    }
    sweep s = {.room = room, .ctx = ctx, .p = load_progress(ctx), .budget = STEP};
    switch (s.p->phase) {
    case IDLE: return true; /* a timer that fired twice */
    case MARK: step_mark(&s); break;
    case SWEEP: step_sweep(&s); break;
    case CLEAN: step_clean(&s); break;
    }
    gr_ctx_upkeep(ctx, GR_ROOM_UPKEEP_STATES, s.deleted);
    save_marks(&s);
    save_progress(ctx, s.p);
    if (s.p->phase != IDLE) set_timer(ctx);
    return true;
}
