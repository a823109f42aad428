/* ctx.c - reads and staged writes of one handler. See ctx.h; messages and timers are in ctx_effects.c. */
#include "bus/ctx.h"

#include <stdlib.h>

size_t gr_actor_prefix(gr_kind kind, gr_str id, char out[GR_PREFIX_MAX])
{
    if (id.size == 0 || id.size > GR_ADDRESS_MAX || gr_str_find(id, 0) >= 0) return 0;
    out[0] = (char)(GR_ACTOR_KEY_FIRST + (int)kind);
    memcpy(out + 1, id.ptr, id.size);
    out[1 + id.size] = 0;
    return id.size + 2;
}

void gr_ctx_begin(gr_ctx *c, gr_str self)
{
    c->self = self;
    c->kind = gr_address_kind(self);
    c->prefix_size = gr_actor_prefix(c->kind, gr_address_id(self), c->prefix);
    gr_assert(c->prefix_size > 0);
    c->loading = c->wants_answer = false;
    c->asker = (gr_str){0};
    c->write_count = c->write_bytes = 0;
    c->first = NULL;
    c->last = &c->first;
    c->position = 0;
    c->gets = c->rows = 0;
    c->turn++;
    memset(c->tallies, 0, sizeof c->tallies);
    c->scan_bytes = 0;
    c->failed = gr_ok();
    c->is_newer = false;
    c->upkeep = NULL;
}

void gr_ctx_tally(gr_ctx *c, unsigned which, uint64_t n)
{
    gr_assert(which < GR_TALLIES);
    c->tallies[which] += n;
}

void gr_ctx_asked(gr_ctx *c, gr_str asker, uint64_t seq)
{
    c->wants_answer = true;
    c->asker = asker;
    c->asker_seq = seq;
}

bool gr_ctx_over_bounds(const gr_ctx *c)
{
    return c->gets > GR_HANDLER_GETS_MAX || c->rows > GR_HANDLER_ROWS_MAX
           || c->scan_bytes > GR_HANDLER_SCAN_BYTES_MAX;
}

static void count_reads(gr_ctx *c, unsigned gets, unsigned rows, size_t bytes)
{
    c->gets += gets;
    c->rows += rows;
    c->scan_bytes += bytes;
#ifdef GR_DEBUG_BOUNDS
    gr_assert(!c->overlay || !gr_ctx_over_bounds(c));
#endif
}

void gr_ctx_free(gr_ctx *c)
{
    free(c->writes);
    gr_buf_free(&c->scratch);
    c->writes = NULL;
    c->write_room = 0;
}

/* --- facts ---------------------------------------------------------------------------------------------- */
uint64_t gr_ctx_now_ms(gr_ctx *c) { return c->now_ms; }
void gr_ctx_random(gr_ctx *c, void *out, size_t size) { c->host->random(c->host_arg, out, size); }
gr_arena *gr_ctx_arena(gr_ctx *c) { return c->arena; }
gr_str gr_ctx_self(gr_ctx *c) { return c->self; }
uint8_t gr_ctx_shard(gr_ctx *c) { return c->shard; }
const void *gr_ctx_env(gr_ctx *c) { return c->env; }
uint64_t gr_ctx_incarnation(gr_ctx *c) { return c->incarnation; }
unsigned gr_ctx_level(gr_ctx *c) { return c->level; }
uint64_t gr_ctx_newest(gr_ctx *c) { return c->host->newest(c->host_arg, c->shard); }

uint64_t gr_ctx_position(gr_ctx *c)
{
    gr_assert(!c->loading);
    if (c->position == 0) c->position = c->host->position(c->host_arg, c->shard);
    return c->position;
}

/* --- the own keyspace ----------------------------------------------------------------------------------- */
typedef struct {
    char bytes[GR_PREFIX_MAX + GR_SUBKEY_MAX];
    size_t size;
} key_buffer;

static gr_str whole_key(key_buffer *out, const char *prefix, size_t prefix_size, gr_str key)
{
    gr_assert(key.size <= GR_SUBKEY_MAX);
    memcpy(out->bytes, prefix, prefix_size);
    if (key.size) memcpy(out->bytes + prefix_size, key.ptr, key.size);
    out->size = prefix_size + key.size;
    return (gr_str){out->bytes, out->size};
}

static bool read_snapshot(gr_ctx *c, gr_str whole, gr_str *value)
{
    count_reads(c, 1, 0, 0);
    gr_err err = gr_shard_get(c->home, c->snapshot, whole, c->arena, value);
    if (gr_failed(err)) c->failed = err;
    if (gr_failed(err)) *value = (gr_str){0};
    return value->ptr != NULL;
}

/* Nobody changes it while the handler runs. */
static bool read_overlay(gr_ctx *c, gr_str whole, gr_str *value)
{
    if (!c->overlay) return read_snapshot(c, whole, value);
    uint64_t hash = gr_str_hash(whole);
    gr_seen_row *seen = &c->seen[hash % GR_CTX_SEEN];
    if (seen->turn == c->turn && seen->hash == hash && gr_str_eq(seen->key, whole)) {
        *value = seen->value;
        return value->ptr != NULL;
    }
    count_reads(c, 1, 0, 0);
    gr_err err = gr_overlay_get(c->overlay, whole, c->arena, value);
    if (gr_failed(err)) c->failed = err;
    if (gr_failed(err)) *value = (gr_str){0};
    else *seen = (gr_seen_row){hash, c->turn, gr_arena_str(c->arena, whole), *value};
    return value->ptr != NULL;
}

static const gr_write *staged(const gr_ctx *c, gr_str whole)
{
    uint64_t hash = c->write_count ? gr_str_hash(whole) : 0;
    for (size_t i = c->write_count; i-- > 0;)
        if (c->writes[i].hash == hash && gr_str_eq(c->writes[i].key, whole)) return &c->writes[i];
    return NULL;
}

bool gr_ctx_get(gr_ctx *c, gr_str key, gr_str *value)
{
    key_buffer buffer;
    gr_str whole = whole_key(&buffer, c->prefix, c->prefix_size, key);
    const gr_write *own = staged(c, whole);
    if (!own) return read_overlay(c, whole, value);
    *value = own->kind == GR_OP_PUT ? own->value : (gr_str){0};
    return own->kind == GR_OP_PUT;
}

static void stage_write(gr_ctx *c, gr_op_kind kind, gr_str key, gr_str value)
{
    gr_assert(!c->loading);
    key_buffer buffer;
    gr_str whole = whole_key(&buffer, c->prefix, c->prefix_size, key);
    if (c->write_count == c->write_room) {
        c->write_room = c->write_room ? c->write_room * 2 : 64;
        c->writes = gr_realloc(c->writes, c->write_room * sizeof *c->writes);
    }
    c->writes[c->write_count++] = (gr_write){gr_str_hash(whole), kind, gr_arena_str(c->arena, whole),
                                             kind == GR_OP_PUT ? gr_arena_str(c->arena, value) : (gr_str){0}};
    c->write_bytes += gr_op_size(whole.size, value.size);
}

bool gr_ctx_has_written(const gr_ctx *c) { return c->write_count > 0; }
void gr_ctx_put(gr_ctx *c, gr_str key, gr_str value) { stage_write(c, GR_OP_PUT, key, value); }
void gr_ctx_del(gr_ctx *c, gr_str key) { stage_write(c, GR_OP_DELETE, key, (gr_str){0}); }

/* Rows may hold secrets, and the scratch buffer lives long. */
void gr_ctx_put_body(gr_ctx *c, gr_str key, const gr_type *type, const void *body)
{
    c->is_newer |= gr_type_since(type) > c->level;
    gr_buf_clear(&c->scratch);
    gr_body_encode_at(&c->scratch, type, body, c->level);
    gr_ctx_put(c, key, gr_buf_view(&c->scratch));
    explicit_bzero(c->scratch.ptr, c->scratch.size);
}

void gr_ctx_undo(gr_ctx *c)
{
    c->is_newer = false;
    c->turn++;                         /* a check of a whole room has emptied the arena, too */
    c->write_count = c->write_bytes = 0;
    c->first = NULL;
    c->last = &c->first;
    c->wants_answer = c->asker.size > 0;
}

/* --- ranges --------------------------------------------------------------------------------------------- */
/* A walk over what the overlay has, merged with the own staged writes of that range, which are sorted. */
typedef struct {
    gr_ctx *ctx;
    gr_ctx_row_fn *fn;
    void *arg;
    const gr_write **own;
    size_t own_count, own_at, prefix_size, left;
    bool descending, stopped;
} walk;

static bool give(walk *w, gr_str key, gr_str value)
{
    count_reads(w->ctx, 0, 1, key.size + value.size);
    bool more = w->fn(w->arg, gr_str_from(key, w->prefix_size), value) && --w->left > 0;
    w->stopped = !more;
    return more;
}

/* Gives the own writes that come before `key` (all of them when it is NULL). False: the callback has had
 * enough. */
static bool give_own(walk *w, const gr_str *key)
{
    for (; w->own_at < w->own_count; w->own_at++) {
        const gr_write *own = w->own[w->own_at];
        int order = key ? gr_str_cmp(own->key, *key) : 0;
        if (key && (w->descending ? order <= 0 : order >= 0)) return true;
        if (own->kind != GR_OP_PUT) continue;
        if (!give(w, own->key, own->value)) return false;
    }
    return true;
}

static bool on_row(void *arg, gr_str key, gr_str value)
{
    walk *w = arg;
    if (!give_own(w, &key)) return false;
    bool hidden = w->own_at < w->own_count && gr_str_eq(w->own[w->own_at]->key, key);
    return hidden || give(w, key, value);
}

static int by_key_then_newest(const void *x, const void *y)
{
    const gr_write *a = *(const gr_write *const *)x, *b = *(const gr_write *const *)y;
    int order = gr_str_cmp(a->key, b->key);
    return order ? order : (a < b) - (a > b);
}

/* The own writes within the range in the walk's order, the newest of each key.  They are copied, since the
 * callback may write more. */
static void collect_own(walk *w, const gr_range *range)
{
    gr_ctx *c = w->ctx;
    if (c->write_count == 0) return;
    gr_write *copies = gr_arena_alloc(c->arena, c->write_count * sizeof *copies);
    w->own = gr_arena_alloc(c->arena, c->write_count * sizeof *w->own);
    memcpy(copies, c->writes, c->write_count * sizeof *copies);
    size_t count = 0;
    for (size_t i = 0; i < c->write_count; i++) {
        bool inside = gr_str_cmp(copies[i].key, range->from) >= 0 && gr_str_cmp(copies[i].key, range->to) < 0;
        if (inside) w->own[count++] = &copies[i];
    }
    qsort(w->own, count, sizeof *w->own, by_key_then_newest);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !gr_str_eq(w->own[i]->key, w->own[i - 1]->key)) w->own[w->own_count++] = w->own[i];
    for (size_t i = 0; w->descending && i < w->own_count / 2; i++) {
        const gr_write *swapped = w->own[i];
        w->own[i] = w->own[w->own_count - 1 - i];
        w->own[w->own_count - 1 - i] = swapped;
    }
}

static void scan(gr_ctx *c, const gr_range *range, size_t prefix_size, bool with_own, gr_ctx_row_fn *fn,
                 void *arg)
{
    walk w = {.ctx = c,
              .fn = fn,
              .arg = arg,
              .prefix_size = prefix_size,
              .descending = range->descending,
              .left = range->limit ? range->limit : SIZE_MAX};
    gr_range asked = *range;
    if (with_own) collect_own(&w, range);
    if (w.own_count) asked.limit = 0; /* rows that an own write hides do not count */
    gr_err err = c->overlay ? gr_overlay_scan(c->overlay, &asked, on_row, &w)
                            : gr_shard_scan(c->home, c->snapshot, &asked, on_row, &w);
    if (gr_failed(err)) c->failed = err;
    else if (!w.stopped) give_own(&w, NULL);
}

/* A range of an actor's keys as one of the shard's: an empty `to` ends where the actor's keys end. */
static gr_range range_of(key_buffer *low, key_buffer *high, const char *prefix, size_t prefix_size,
                         gr_str from, gr_str to)
{
    gr_range range = {.from = whole_key(low, prefix, prefix_size, from),
                      .to = whole_key(high, prefix, prefix_size, to)};
    if (to.size == 0) high->bytes[prefix_size - 1] = 1; /* the NUL that ends the id */
    return range;
}

void gr_ctx_scan(gr_ctx *c, gr_str from, gr_str to, bool descending, size_t limit, gr_ctx_row_fn *fn,
                 void *arg)
{
    key_buffer low, high;
    gr_range range = range_of(&low, &high, c->prefix, c->prefix_size, from, to);
    range.descending = descending;
    range.limit = limit;
    scan(c, &range, c->prefix_size, true, fn, arg);
}

void gr_ctx_scan_prefix(gr_ctx *c, gr_str prefix, size_t limit, gr_ctx_row_fn *fn, void *arg)
{
    char end[GR_SUBKEY_MAX];
    gr_assert(prefix.size <= sizeof end);
    size_t size = prefix.size;
    while (size > 0 && (unsigned char)prefix.ptr[size - 1] == 0xff) size--;
    if (size) memcpy(end, prefix.ptr, size);
    if (size) end[size - 1] = (char)(end[size - 1] + 1);
    gr_ctx_scan(c, prefix, gr_str_of(end, size), false, limit, fn, arg);
}

bool gr_ctx_count_row(void *count, gr_str key, gr_str value)
{
    (void)key, (void)value;
    ++*(size_t *)count;
    return true;
}

/* --- siblings ------------------------------------------------------------------------------------------- */
static size_t sibling_prefix(gr_ctx *c, gr_kind kind, char out[GR_PREFIX_MAX])
{
    return gr_actor_prefix(kind, gr_address_id(gr_address_of_shard(c->arena, kind, c->shard)), out);
}

const void *gr_ctx_sibling(gr_ctx *c, gr_kind kind) { return c->host->sibling(c->host_arg, kind, c->shard); }

bool gr_ctx_sibling_get(gr_ctx *c, gr_kind kind, gr_str key, gr_str *value)
{
    char prefix[GR_PREFIX_MAX];
    key_buffer buffer;
    return read_overlay(c, whole_key(&buffer, prefix, sibling_prefix(c, kind, prefix), key), value);
}

bool gr_ctx_neighbour_get(gr_ctx *c, gr_str address, gr_str key, gr_str *value)
{
    char prefix[GR_PREFIX_MAX];
    key_buffer buffer;
    if (gr_address_shard(address) != c->shard) return false;
    size_t size = gr_actor_prefix(gr_address_kind(address), gr_address_id(address), prefix);
    return read_overlay(c, whole_key(&buffer, prefix, size, key), value);
}

void gr_ctx_sibling_scan(gr_ctx *c, gr_kind kind, gr_str from, gr_str to, bool descending, size_t limit,
                         gr_ctx_row_fn *fn, void *arg)
{
    char prefix[GR_PREFIX_MAX];
    key_buffer low, high;
    size_t prefix_size = sibling_prefix(c, kind, prefix);
    gr_range range = range_of(&low, &high, prefix, prefix_size, from, to);
    range.descending = descending;
    range.limit = limit;
    scan(c, &range, prefix_size, false, fn, arg);
}
