/* cover.c - the chain cover of a room: chain.h over the rows of its keyspace. See graph.h.
 *
 * Every state event has a place from when it is stored, rejected ones and outliers too.  One that cites what
 * is not here has none, nor has what cites that one: then resolution walks the events.  A room without a cover, of
 * a version that made none or by repair, gets it in steps, from the first event to the newest: by upkeep, and when that
 * is over by a timer that a state event sets which finds no place.  Row Z tells how far they are.
 */
#include "actors/room/graph.h"
#include "actors/room/record.h"

enum {
    FORMAT = 1,
    STEP_ROWS = 128, STEP_BYTES = 32 * 1024,   /* looked at in a step */
    STEP_EVENTS = 8,                           /* given a place */
    STEP_DELAY_MS = 20,
    ROWS_KNOWN = 128, IDS_KNOWN = 32           /* in one call: most events cite the same few */
};

static const char timer_name[] = "cover";

/* --- rows, each read once in a call -------------------------------------------------------------------- */
typedef struct { char letter; uint64_t number; gr_str bytes; } known_row;       /* letter 0: free; bytes.ptr NULL: absent */
typedef struct { gr_str id; uint64_t number; } known_id;

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    gr_chain chain;
    known_row rows[ROWS_KNOWN];
    known_id ids[IDS_KNOWN];
} covering;

static known_row *place_for(covering *c, char letter, uint64_t number)
{
    return &c->rows[(number * 2 + (letter == 'C')) % ROWS_KNOWN];
}

static bool get_row(void *arg, char letter, uint64_t number, gr_str *bytes)
{
    return gr_ctx_get(arg, gr_room_key_number(arg, letter, number), bytes);
}

static void put_row(void *arg, char letter, uint64_t number, gr_str bytes)
{
    gr_ctx_put(arg, gr_room_key_number(arg, letter, number), bytes);
}

static bool get_known(void *arg, char letter, uint64_t number, gr_str *bytes)
{
    covering *c = arg;
    known_row *k = place_for(c, letter, number);
    if (k->letter != letter || k->number != number) {
        *k = (known_row){letter, number, {0}};
        if (!get_row(c->ctx, letter, number, &k->bytes)) k->bytes = (gr_str){0};
    }
    *bytes = k->bytes;
    return k->bytes.ptr != NULL;
}

static void put_known(void *arg, char letter, uint64_t number, gr_str bytes)
{
    covering *c = arg;
    *place_for(c, letter, number) = (known_row){letter, number, gr_arena_str(gr_ctx_arena(c->ctx), bytes)};
    put_row(c->ctx, letter, number, bytes);
}

static uint64_t number_of(covering *c, gr_str id)
{
    known_id *k = &c->ids[gr_str_hash(id) % IDS_KNOWN];
    if (gr_str_eq(k->id, id)) return k->number;
    k->id = id;
    if (!gr_room_number_of(c->ctx, id, &k->number)) k->number = 0;
    return k->number;
}

static covering *begin(gr_room *room, gr_ctx *ctx)
{
    covering *c = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *c);
    c->room = room;
    c->ctx = ctx;
    c->chain = (gr_chain){.get = get_known, .put = put_known, .arg = c};
    return c;
}

typedef struct { gr_chain_row_fn *row; void *arg; } scan;

static bool on_row(void *arg, gr_str key, gr_str value)
{
    const scan *s = arg;
    if (key.size == 9) s->row(s->arg, gr_u64be(key.ptr + 1), value);
    return true;
}

static void scan_rows(void *arg, uint64_t first, uint64_t last, gr_chain_row_fn *row, void *row_arg)
{
    scan s = {row, row_arg};
    gr_ctx_scan(arg, gr_room_key_number(arg, 'c', first), gr_room_key_number(arg, 'c', last + 1), false, 0, on_row, &s);
}

gr_chain gr_room_chain(gr_ctx *ctx) { return (gr_chain){get_row, put_row, ctx, scan_rows}; }

static bool get_fact(void *arg, char letter, uint64_t number, gr_str *bytes)
{
    gr_room_nodes *n = arg;
    gr_str key = gr_room_key_number(n->ctx, letter, number);
    return letter == 'c' ? gr_room_fact(n->room, n->ctx, key, bytes) : gr_ctx_get(n->ctx, key, bytes);
}

static void scan_known(void *arg, uint64_t first, uint64_t last, gr_chain_row_fn *row, void *row_arg)
{
    scan_rows(((gr_room_nodes *)arg)->ctx, first, last, row, row_arg);
}

gr_chain gr_room_chain_known(gr_room_nodes *nodes, gr_room *room, gr_ctx *ctx)
{
    *nodes = (gr_room_nodes){room, ctx};
    return (gr_chain){.get = get_fact, .scan = scan_known, .arg = nodes};
}

/* --- a place for one event ------------------------------------------------------------------------------ */
/* A chain goes on only behind the event that this one replaces and cites, so that it stays one user's, or that of
 * power levels.  Just these two cite what they replace. */
static uint64_t replaced(covering *c, const gr_room_record *r, gr_u64s auth)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, c->room, c->ctx);
    uint64_t newest = 0;
    if (!gr_str_is(r->type, "m.room.member") && !gr_str_is(r->type, "m.room.power_levels")) return 0;
    if (!(r->flags & GR_ROOM_OUTLIER)) return gr_trie_get(&trie, r->state_before, r->key);
    for (size_t i = 0; i < auth.count; i++) {
        gr_room_record a;
        if (auth.at[i] > newest && gr_room_record_at(c->ctx, auth.at[i], &a) && a.key == r->key) newest = auth.at[i];
    }
    return newest;
}

/* Why the event has no place; NULL: it has one. */
static const char *cover(covering *c, const gr_event *e, const gr_room_record *r)
{
    gr_arena *a = gr_ctx_arena(c->ctx);
    gr_u64s auth = {gr_arena_alloc(a, (e->auth_events.count + 1) * sizeof(uint64_t)), e->auth_events.count};
    if (auth.count > GR_CHAIN_AUTH_MAX) return "it cites more auth events than an event may";
    for (size_t i = 0; i < auth.count; i++) auth.at[i] = number_of(c, e->auth_events.at[i]);
    if (gr_chain_assign(&c->chain, a, r->number, auth, replaced(c, r, auth)).chain) return NULL;
    for (size_t i = 0; i < auth.count; i++) {
        if (auth.at[i] == 0) return "it cites an auth event that is not here";
        if (auth.at[i] >= r->number) return "it cites an auth event that came after it";
    }
    return "it cites an auth event that has no place in the chain cover";
}

/* --- row Z ---------------------------------------------------------------------------------------------- */
typedef struct { bool is_begun, is_over; uint64_t next; } progress;

static progress load(gr_ctx *ctx)
{
    gr_str row;
    if (!gr_ctx_get(ctx, GR_STR("Z"), &row) || row.size != 10 || row.ptr[0] != FORMAT) return (progress){.next = 1};
    return (progress){true, row.ptr[1] != 0, gr_u64be(row.ptr + 2)};
}

static void save(gr_ctx *ctx, const progress *p)
{
    gr_buf row = {0};
    gr_buf_char(&row, FORMAT);
    gr_buf_char(&row, p->is_over);
    gr_buf_u64be(&row, p->next);
    gr_ctx_put(ctx, GR_STR("Z"), gr_buf_view(&row));
    gr_buf_free(&row);
}

gr_str gr_room_cover_begin(gr_arena *a) { return gr_arena_str(a, GR_STR("\1\0\0\0\0\0\0\0\0\1")); }

bool gr_room_is_covered(gr_ctx *ctx)
{
    gr_str row;
    progress p = load(ctx);
    if (p.is_begun) return p.is_over;
    return gr_ctx_get(ctx, gr_room_key_number(ctx, 'c', 1), &row);     /* from the first event on, as it grew */
}

static void set_timer(gr_ctx *ctx)
{
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + STEP_DELAY_MS, true);
}

void gr_room_cover(gr_room *room, gr_ctx *ctx, const gr_event *e, const gr_room_record *r)
{
    if (!r->is_state || !cover(begin(room, ctx), e, r) || gr_room_is_covered(ctx)) return;
    set_timer(ctx);
}

/* --- steps ---------------------------------------------------------------------------------------------- */
typedef struct {
    covering *c;
    gr_upkeep_done *done;
    uint64_t next;
    size_t rows, bytes, given;
    gr_str at[STEP_ROWS];              /* records of state events */
    size_t count;
} step;

static bool collect(void *arg, gr_str key, gr_str value)
{
    step *s = arg;
    gr_room_record r;
    if (key.size != 9) return true;
    bool is_state = !gr_room_record_read(value, &r) || r.is_state;
    s->next = gr_u64be(key.ptr + 1) + 1;
    s->bytes += value.size;
    if (is_state) s->at[s->count++] = gr_arena_str(gr_ctx_arena(s->c->ctx), value);
    s->rows++;
    return s->rows < STEP_ROWS && s->bytes < STEP_BYTES && s->count < STEP_EVENTS;
}

static void skip(step *s, gr_str event_id, const char *why)
{
    gr_arena *a = gr_ctx_arena(s->c->ctx);
    gr_strs *list = &s->done->skipped;
    list->at[list->count++] = gr_arena_printf(a, "%" GR_FMT ": %s", GR_ARG(event_id), why);
}

static void cover_record(step *s, gr_str bytes)
{
    gr_room_record r;
    gr_event e;
    if (!gr_room_record_read(bytes, &r) || !gr_room_event_of(s->c->room, gr_ctx_arena(s->c->ctx), &r, &e)) {
        skip(s, r.event_id.size ? r.event_id : GR_STR("a record"), "it can't be read");
        return;
    }
    const char *why = cover(s->c, &e, &r);
    if (why) skip(s, r.event_id, why);
    else s->done->worked++;
}

void gr_room_cover_step(gr_room *room, gr_ctx *ctx, gr_upkeep_done *done)
{
    progress p = load(ctx);
    step s = {.c = begin(room, ctx), .done = done, .next = room->next_number};
    done->skipped.at = gr_arena_alloc(gr_ctx_arena(ctx), (STEP_EVENTS + 1) * sizeof(gr_str));
    done->finished = gr_room_is_covered(ctx);
    if (done->finished) return;
    gr_ctx_scan(ctx, gr_room_key_number(ctx, 'e', p.next), gr_room_key_number(ctx, 'e', room->next_number), false, STEP_ROWS,
                collect, &s);
    bool is_end = s.rows < STEP_ROWS && s.bytes < STEP_BYTES && s.count < STEP_EVENTS;
    for (size_t i = 0; i < s.count; i++) cover_record(&s, s.at[i]);
    p = (progress){true, is_end, is_end ? room->next_number : s.next};
    done->finished = p.is_over;
    save(ctx, &p);
}

bool gr_room_cover_on(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    gr_upkeep_done done = {0};
    if (!gr_str_is(timer, timer_name)) return false;
    gr_room_cover_step(room, ctx, &done);
    if (!done.finished) set_timer(ctx);
    return true;
}
