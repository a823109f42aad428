/* queue.c - see queue.h. */
#include "actors/delivery/queue.h"

/* --- rows -------------------------------------------------------------------------------------------------- */
static gr_str row_name(const gr_queue *q, gr_ctx *ctx) { return gr_arena_printf(gr_ctx_arena(ctx), "s%c", q->letter); }

static gr_str item_name(const gr_queue *q, uint64_t number, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    return gr_arena_cat(a, 2, (gr_str[]){GR_STR("q"), gr_arena_key(a, q->letter, number)});
}

static gr_str fold_name(const gr_queue *q, gr_str fold, gr_ctx *ctx)
{
    char head[] = {'f', q->letter};
    return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){gr_str_of(head, sizeof head), fold});
}

static gr_str fold_prefix(gr_str fold)
{
    const char *end = memchr(fold.ptr, 0, fold.size);
    return end ? (gr_str){fold.ptr, (size_t)(end - fold.ptr)} : fold;
}

void gr_queue_load(gr_queue *q, char letter, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    *q = (gr_queue){.letter = letter, .row = {.first = 1, .next = 1}};
    if (!gr_ctx_get(ctx, row_name(q, ctx), &bytes)) return;
    if (!gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_queue_row, bytes, &body))) q->row = *(gr_queue_row *)body;
}

void gr_queue_drop(gr_queue *q) { gr_buf_free(&q->picked_folds); }

void gr_queue_save(const gr_queue *q, gr_ctx *ctx) { gr_ctx_put_body(ctx, row_name(q, ctx), &gr_type_queue_row, &q->row); }

uint64_t gr_queue_count(const gr_queue *q) { return q->row.next - q->row.first; }

uint64_t gr_queue_digest(const gr_queue *q)
{
    const gr_queue_row *r = &q->row;
    uint64_t parts[] = {r->first, r->next, r->bytes, r->txn, r->end, r->ts, r->hash, r->refusals, r->most, r->set_aside};
    return gr_str_hash(gr_str_of(parts, sizeof parts));
}

static void put_item(const gr_queue *q, uint64_t number, const gr_queue_item_row *item, gr_ctx *ctx)
{
    gr_ctx_put_body(ctx, item_name(q, number, ctx), &gr_type_queue_item_row, item);
}

bool gr_queue_item(const gr_queue *q, uint64_t number, gr_queue_item_row *item, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    *item = (gr_queue_item_row){0};
    if (!gr_ctx_get(ctx, item_name(q, number, ctx), &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_queue_item_row, gr_arena_str(gr_ctx_arena(ctx), bytes), &body)))
        return false;
    *item = *(gr_queue_item_row *)body;
    return true;
}

/* --- folds ------------------------------------------------------------------------------------------------- */
static uint64_t number_of_fold(const gr_queue *q, gr_str fold, gr_ctx *ctx)
{
    gr_str bytes;
    bool found = fold.size && gr_ctx_get(ctx, fold_name(q, fold, ctx), &bytes) && bytes.size == 8;
    return found ? gr_u64be(bytes.ptr) : 0;
}

static void put_fold(const gr_queue *q, gr_str fold, uint64_t number, gr_ctx *ctx)
{
    gr_buf bytes = {0};
    gr_buf_u64be(&bytes, number);
    gr_ctx_put(ctx, fold_name(q, fold, ctx), gr_buf_view(&bytes));
    gr_buf_free(&bytes);
}

/* The fold's item leaves the queue; a newer one with the same fold may wait behind the transaction. */
static void forget_fold(const gr_queue *q, uint64_t number, gr_str fold, gr_ctx *ctx)
{
    if (number_of_fold(q, fold, ctx) == number) gr_ctx_del(ctx, fold_name(q, fold, ctx));
}

/* True: it has taken the place of an older one. */
static bool folded(gr_queue *q, const gr_queue_item_row *item, gr_ctx *ctx)
{
    gr_queue_item_row old;
    uint64_t number = number_of_fold(q, item->fold, ctx);
    if (number < q->row.first || number < q->row.end || !gr_queue_item(q, number, &old, ctx)) return false;
    put_item(q, number, item, ctx);
    q->row.bytes = q->row.bytes - old.size + item->size;
    return true;
}

void gr_queue_add(gr_queue *q, const gr_queue_item_row *item, gr_ctx *ctx)
{
    if (!folded(q, item, ctx)) {
        put_item(q, q->row.next, item, ctx);
        if (item->fold.size) put_fold(q, item->fold, q->row.next, ctx);
        q->row.bytes += item->size;
        q->row.next++;
    }
    gr_queue_save(q, ctx);
}

bool gr_queue_shift(gr_queue *q, gr_queue_item_row *item, gr_ctx *ctx)
{
    gr_assert(gr_queue_count(q) > 0);
    uint64_t number = q->row.first++;
    q->row.end = q->row.most = 0;
    bool good = gr_queue_item(q, number, item, ctx);
    if (good && item->fold.size) forget_fold(q, number, item->fold, ctx);
    gr_ctx_del(ctx, item_name(q, number, ctx));
    q->row.bytes -= item->size < q->row.bytes ? item->size : q->row.bytes;
    return good;
}

uint64_t gr_queue_fold(gr_queue *q, uint64_t from, size_t most, gr_ctx *ctx)
{
    uint64_t number = from > q->row.first ? from : q->row.first;
    for (; number < q->row.next && most > 0; number++, most--) {
        gr_queue_item_row item, older;
        if (number < q->row.end || !gr_queue_item(q, number, &item, ctx) || !item.fold.size) continue;
        gr_str before = item.fold;
        item.fold = fold_prefix(item.fold);
        uint64_t place = number_of_fold(q, item.fold, ctx);
        if (place == number) continue;
        gr_ctx_del(ctx, fold_name(q, before, ctx));
        bool is_second = place >= q->row.first && place >= q->row.end && gr_queue_item(q, place, &older, ctx);
        if (is_second) {
            q->row.bytes -= older.size;
            gr_ctx_del(ctx, item_name(q, number, ctx));
        } else {
            put_fold(q, item.fold, number, ctx);
        }
        put_item(q, is_second ? place : number, &item, ctx);
    }
    gr_queue_save(q, ctx);
    return number;
}

/* --- transactions ------------------------------------------------------------------------------------------ */
uint64_t gr_queue_pick(gr_queue *q, gr_queue_item_row items[GR_QUEUE_ITEMS], gr_ctx *ctx)
{
    const gr_queue_row *r = &q->row;
    uint64_t most = r->end ? r->end - r->first : r->most ? r->most : GR_QUEUE_ITEMS, number = r->first;
    gr_assert(most <= GR_QUEUE_ITEMS);
    q->picked_bytes = 0;
    gr_buf_clear(&q->picked_folds);
    for (; number < r->next && number < r->first + most; number++) {
        gr_queue_item_row *item = &items[number - r->first];
        gr_queue_item(q, number, item, ctx);
        if (!r->end && number > r->first && q->picked_bytes + item->size > GR_QUEUE_BYTES) break;
        q->picked_bytes += item->size;
        if (item->fold.size == 0) continue;
        gr_buf_u64be(&q->picked_folds, item->fold.size);
        gr_buf_str(&q->picked_folds, item->fold);
    }
    return number;
}

void gr_queue_begin(gr_queue *q, uint64_t end, uint64_t hash, gr_ctx *ctx)
{
    gr_queue_row *r = &q->row;
    if (r->end == end && r->hash == hash) return;
    if (r->end != end) r->refusals = 0;
    r->txn++;
    r->end = end;
    r->hash = hash;
    r->ts = gr_ctx_now_ms(ctx);
    gr_queue_save(q, ctx);
}

/* Should a newer one with that fold wait behind the transaction, the next will not take its place: no harm. */
static void forget_picked_folds(gr_queue *q, gr_ctx *ctx)
{
    gr_str left = gr_buf_view(&q->picked_folds);
    while (left.size) {
        gr_str fold = {left.ptr + 8, (size_t)gr_u64be(left.ptr)};
        gr_ctx_del(ctx, fold_name(q, fold, ctx));
        left = gr_str_from(left, 8 + fold.size);
    }
    gr_buf_free(&q->picked_folds);
}

void gr_queue_taken(gr_queue *q, gr_ctx *ctx)
{
    gr_queue_row *r = &q->row;
    forget_picked_folds(q, ctx);
    for (uint64_t number = r->first; number < r->end; number++) gr_ctx_del(ctx, item_name(q, number, ctx));
    r->bytes -= q->picked_bytes < r->bytes ? q->picked_bytes : r->bytes;
    r->first = r->end;
    r->end = 0;
    r->most = r->most < GR_QUEUE_ITEMS / 2 ? 2 * r->most : 0;
    gr_queue_save(q, ctx);
}

static gr_str set_aside_name(const gr_queue *q, uint64_t number, gr_ctx *ctx)
{
    char key[] = {'x', q->letter, (char)('0' + number % GR_QUEUE_SET_ASIDE)};
    return gr_arena_str(gr_ctx_arena(ctx), gr_str_of(key, sizeof key));
}

size_t gr_queue_set_aside(const gr_queue *q, gr_queue_item_row items[GR_QUEUE_SET_ASIDE], gr_ctx *ctx)
{
    size_t count = 0;
    for (uint64_t i = 0; i < GR_QUEUE_SET_ASIDE && i < q->row.set_aside; i++) {
        gr_str bytes;
        void *body = NULL;
        bool good = gr_ctx_get(ctx, set_aside_name(q, i, ctx), &bytes)
            && !gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_queue_item_row, bytes, &body));
        if (good) items[count++] = *(gr_queue_item_row *)body;
    }
    return count;
}

/* Refused again: the next transaction has half of it, at once while there is one that is looked for; a single item is given
 * up. */
void gr_queue_refused(gr_queue *q, gr_ctx *ctx)
{
    gr_queue_row *r = &q->row;
    uint64_t count = r->end - r->first;
    bool is_search = r->most && count > 1;
    if (++r->refusals < GR_QUEUE_REFUSALS && !is_search) {
        gr_queue_save(q, ctx);
    } else if (count > 1) {
        r->most = count / 2;
        r->end = 0;
        gr_queue_save(q, ctx);
    } else {
        gr_queue_item_row item;
        if (gr_queue_item(q, r->first, &item, ctx))
            gr_ctx_put_body(ctx, set_aside_name(q, r->set_aside, ctx), &gr_type_queue_item_row, &item);
        r->set_aside++;
        gr_queue_taken(q, ctx);
    }
}
