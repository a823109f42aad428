/* check.c - the signatures and hashes of what is staged. See join.h. */
#include "actors/join/join_private.h"

#include <stdlib.h>

enum { EVENTS_AT_ONCE = 300, LATEST_BYTES = 200 * 1024, LACKED_MAX = 8 };

void gr_join_set_cursor(gr_str *cursor, gr_str text)
{
    free((char *)cursor->ptr);
    *cursor = text.ptr ? gr_str_keep(text) : (gr_str){0};
}

void gr_join_check_forget(gr_join *j)
{
    for (size_t i = 0; i < GR_JOIN_CHAINS; i++) gr_join_set_cursor(&j->cursors[i], (gr_str){0});
    gr_buf_free(&j->order);
    j->ordered = j->fed = 0;
}

/* --- CHECK, on the pool --------------------------------------------------------------------------------------- */
static gr_str letter_and(gr_arena *a, char letter, gr_str rest) { return gr_arena_cat(a, 2, (gr_str[]){{&letter, 1}, rest}); }

typedef struct { gr_strs keys, texts; } some_rows;

static bool take_row(void *arg, gr_str key, gr_str value)
{
    some_rows *rows = arg;
    rows->keys.at[rows->keys.count++] = gr_str_keep(key);
    rows->texts.at[rows->texts.count++] = gr_str_keep(value);
    return true;
}

static void drop_rows(some_rows *rows)
{
    for (size_t i = 0; i < rows->keys.count; i++) {
        free((char *)rows->keys.at[i].ptr);
        free((char *)rows->texts.at[i].ptr);
    }
}

/* The keys that were looked for in vain, and may be had later. */
typedef struct {
    gr_ctx *ctx;
    struct { gr_str server, key_id; int64_t ts; } at[LACKED_MAX];
    size_t count;
} lacked;

static bool find_noting(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC])
{
    lacked *l = arg;
    gr_join_key key = gr_join_key_of(l->ctx, server, key_id, ts, public_key);
    if (key == GR_JOIN_KEY_LACKING && l->count < LACKED_MAX) {
        l->at[l->count].server = server;
        l->at[l->count].key_id = key_id;
        l->at[l->count++].ts = ts;
    }
    return key == GR_JOIN_KEY_GOOD;
}

static void want(gr_ctx *ctx, const lacked *l)
{
    for (size_t i = 0; i < l->count; i++) {
        gr_buf ts = {0};
        gr_buf_u64be(&ts, (uint64_t)l->at[i].ts);
        gr_str row[] = {GR_STR("u"), l->at[i].server, {"", 1}, l->at[i].key_id};
        gr_ctx_put(ctx, gr_arena_cat(gr_ctx_arena(ctx), 4, row), gr_buf_view(&ts));
        gr_buf_free(&ts);
    }
}

typedef enum { GOOD, BAD, UNCHECKED } verdict;

static verdict check_one(gr_ctx *ctx, const gr_room_version *version, gr_str text, gr_str *checked)
{
    gr_arena *a = gr_ctx_arena(ctx);
    lacked l = {.ctx = ctx};
    gr_key_ring ring = {.find = find_noting, .arg = &l};
    const gr_json *json = NULL;
    gr_event e;
    gr_event_shape shape;
    if (gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &json))) return BAD;
    if (!gr_failed(gr_event_check(a, version, json, &ring, &e, checked, &shape))) return GOOD;
    want(ctx, &l);
    return l.count ? UNCHECKED : BAD;
}

/* Events that cannot be checked yet are put apart, where nothing but the next check finds them. */
static verdict check_row(gr_ctx *ctx, const gr_room_version *version, gr_str key, gr_str text)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str checked, id = gr_str_from(key, 1);
    bool was_apart = key.ptr[0] == 'l';
    verdict v = check_one(ctx, version, text, &checked);
    if (v == GOOD && (was_apart || !gr_str_eq(checked, text))) gr_ctx_put(ctx, letter_and(a, 'e', id), checked);
    if (v == UNCHECKED && !was_apart) gr_ctx_put(ctx, letter_and(a, 'l', id), text);
    if (v == BAD) gr_ctx_del(ctx, letter_and(a, 's', id));
    if (v == BAD || (v == GOOD) == was_apart) gr_ctx_del(ctx, key);
    return v;
}

/* Input: time (8), size of the version (1), it, size of where to begin (2), it, where to end.  Output: bad (8), size of where
 * to go on (2; 0: nowhere), it, what is to be written. */
static bool run_check(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_ctx *ctx = gr_work_ctx(reader, gr_u64be(input.ptr));
    size_t size = (unsigned char)input.ptr[8];
    const gr_room_version *version = gr_room_version_find(gr_str_of(input.ptr + 9, size));
    gr_str rest = gr_str_from(input, 9 + size);
    size_t from_size = (size_t)((unsigned char)rest.ptr[0] << 8 | (unsigned char)rest.ptr[1]);
    gr_str from = gr_str_of(rest.ptr + 2, from_size), to = gr_str_from(rest, 2 + from_size), last = {0};
    some_rows rows = {{gr_arena_alloc(arena, EVENTS_AT_ONCE * sizeof(gr_str)), 0},
                      {gr_arena_alloc(arena, EVENTS_AT_ONCE * sizeof(gr_str)), 0}};
    uint64_t bad = 0;
    gr_ctx_scan(ctx, from, to, false, EVENTS_AT_ONCE, take_row, &rows);
    size_t i;
    for (i = 0; i < rows.keys.count && gr_work_written_size(reader) < LATEST_BYTES / 2; i++) {
        last = rows.keys.at[i];
        bad += check_row(ctx, version, last, rows.texts.at[i]) == BAD;
    }
    if (rows.keys.count < EVENTS_AT_ONCE && i == rows.keys.count) last = (gr_str){0};
    gr_buf_u64be(output, bad);
    gr_buf_char(output, (char)(last.size >> 8));
    gr_buf_char(output, (char)last.size);
    gr_buf_str(output, last);
    gr_work_written(reader, output);
    drop_rows(&rows);
    return !gr_work_failed(reader);
}

/* Half of the chains go where the long works are, so that two threads of the pool are busy. */
static const gr_work check_works[] = {{.name = "join_check", .run = run_check},
                                      {.name = "join_check", .run = run_check, .is_long = true}};

/* --- CHECK, in the flow --------------------------------------------------------------------------------------- */
/* First all events, then those that are apart.  Event ids are hashes, so these are parts of about one size. */
static gr_str chain_end(const gr_join *j, size_t chain)
{
    static const char *const ends[2][GR_JOIN_CHAINS] = {{"e$G", "e$W", "e$m", "f"}, {"l$G", "l$W", "l$m", "m"}};
    return gr_str_c(ends[j->flow->key_round > 0][chain]);
}

static void check_more(gr_join *j, gr_ctx *ctx, size_t chain)
{
    gr_buf input = {0};
    gr_str from = j->cursors[chain], version = j->flow->version;
    gr_buf_u64be(&input, gr_ctx_now_ms(ctx));
    gr_buf_char(&input, (char)version.size);
    gr_buf_str(&input, version);
    gr_buf_char(&input, (char)(from.size >> 8));
    gr_buf_char(&input, (char)from.size);
    gr_buf_str(&input, from);
    gr_buf_str(&input, chain_end(j, chain));
    gr_join_work(j, ctx, &check_works[chain % 2], gr_buf_view(&input), chain);
    gr_buf_free(&input);
}

void gr_join_check_begin(gr_join *j, gr_ctx *ctx)
{
    for (size_t i = 0; i < GR_JOIN_CHAINS; i++) {
        gr_join_set_cursor(&j->cursors[i], i ? chain_end(j, i - 1) : gr_str_head(chain_end(j, 0), 1));
        check_more(j, ctx, i);
    }
}

static bool note_any(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

static void end_check(gr_join *j, gr_ctx *ctx)
{
    bool some_lack = false;
    gr_ctx_scan_prefix(ctx, GR_STR("l"), 1, note_any, &some_lack);
    if (!some_lack || !gr_join_keys_again(j, ctx)) gr_join_go(j, ctx, GR_JOIN_ORDER);
}

void gr_join_on_checked(gr_join *j, uint64_t chain, gr_str output, gr_ctx *ctx)
{
    gr_assert(chain < GR_JOIN_CHAINS && output.size >= 10);
    size_t size = (size_t)((unsigned char)output.ptr[8] << 8 | (unsigned char)output.ptr[9]);
    gr_str last = gr_str_of(output.ptr + 10, size);
    j->bad += gr_u64be(output.ptr);
    gr_ctx_write_again(ctx, gr_str_from(output, 10 + size));
    gr_join_set_cursor(&j->cursors[chain], size ? gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){last, {"", 1}}) : (gr_str){0});
    if (size) check_more(j, ctx, (size_t)chain);
    else if (j->open == 0) end_check(j, ctx);
}
