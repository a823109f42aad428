/* check.c - keys, signatures and the order of what is staged. See join.h. */
#include "actors/join/join_private.h"
#include "actors/keys/keys.h"

#include "proto/ident.h"

#include <stdlib.h>
#include <uthash.h>

enum {
    EVENTS_AT_ONCE = 300, KEY_ROWS = 200, KEYS_MS = 60 * 1000, ID_RANDOM = 16, KEY_ROW = GR_SIGN_PUBLIC + 16,
    LATEST_BYTES = 200 * 1024, KEYS_KNOWN = 16
};

static gr_str letter_and(gr_arena *a, char letter, gr_str rest) { return gr_arena_cat(a, 2, (gr_str[]){{&letter, 1}, rest}); }

static void set_cursor(gr_str *cursor, gr_str text)
{
    free((char *)cursor->ptr);
    *cursor = text.ptr ? gr_str_keep(text) : (gr_str){0};
}

void gr_join_check_forget(gr_join *j)
{
    for (size_t i = 0; i < GR_JOIN_CHAINS; i++) set_cursor(&j->cursors[i], (gr_str){0});
    gr_buf_free(&j->order);
    j->ordered = j->fed = 0;
}

/* --- KEYS ----------------------------------------------------------------------------------------------------- */
typedef struct { gr_arena *arena; gr_keys_wanted *at; size_t count; gr_str last; bool is_full; gr_str own; } wanted_keys;

static bool on_key_row(void *arg, gr_str key, gr_str value)
{
    wanted_keys *w = arg;
    (void)value;
    ptrdiff_t nul = gr_str_find(key, 0);
    gr_str server = gr_arena_str(w->arena, gr_str_of(key.ptr + 1, (size_t)nul - 1));
    bool is_new = w->count == 0 || !gr_str_eq(w->at[w->count - 1].server, server);
    if (is_new && w->count == GR_KEYS_SERVERS_MAX) {
        w->is_full = true;
        return false;
    }
    w->last = gr_arena_str(w->arena, key);
    if (!gr_ident_server_name(server) || gr_str_eq(server, w->own)) return true;
    if (is_new)
        w->at[w->count++] = (gr_keys_wanted){.server = server, .key_ids = {gr_arena_alloc(w->arena, 8 * sizeof(gr_str)), 0}};
    gr_strs *ids = &w->at[w->count - 1].key_ids;
    gr_str id = gr_arena_str(w->arena, gr_str_from(key, (size_t)nul + 1));
    if (ids->count < 8 && gr_ident_key(id)) ids->at[ids->count++] = id;
    return true;
}

static gr_str keys_address(gr_ctx *ctx)
{
    char bytes[ID_RANDOM];
    gr_buf id = {0};
    gr_ctx_random(ctx, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) gr_buf_printf(&id, "%02x", (unsigned char)bytes[i]);
    gr_str address = gr_address(gr_ctx_arena(ctx), GR_KIND_KEYS, gr_buf_view(&id));
    gr_buf_free(&id);
    return address;
}

/* Asks for the keys of the next servers; false: there are no more. */
static bool ask_keys(gr_join *j, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str *cursor = &j->cursors[0], from = GR_STR("k");
    if (!cursor->ptr) return false;
    if (cursor->size) from = gr_arena_cat(a, 2, (gr_str[]){*cursor, {"", 1}});
    wanted_keys w = {.arena = a, .at = gr_arena_alloc(a, GR_KEYS_SERVERS_MAX * sizeof *w.at), .own = gr_env_of(ctx)->server_name};
    gr_ctx_scan(ctx, from, GR_STR("l"), false, KEY_ROWS, on_key_row, &w);
    set_cursor(cursor, w.last);
    if (w.count == 0) return w.last.ptr != NULL && ask_keys(j, ctx);
    gr_keys_find find = {.servers = {w.at, w.count}};
    gr_resume resume = {.step = (uint32_t)j->flow->step, .number = j->epoch << 16};
    gr_ctx_ask(ctx, keys_address(ctx), &gr_type_keys_find, &find, KEYS_MS, &resume);
    j->open++;
    return true;
}

static void go_on_with_keys(gr_join *j, gr_ctx *ctx)
{
    while (j->open < GR_JOIN_KEYS_OPEN && ask_keys(j, ctx)) continue;
    if (j->open == 0) gr_join_go(j, ctx, j->flow->is_here ? GR_JOIN_ENTER : GR_JOIN_CHECK);
}

void gr_join_keys_begin(gr_join *j, gr_ctx *ctx)
{
    set_cursor(&j->cursors[0], GR_STR(""));
    go_on_with_keys(j, ctx);
}

static void put_keys(gr_ctx *ctx, const gr_keys_known *known)
{
    gr_arena *a = gr_ctx_arena(ctx);
    for (size_t i = 0; i < known->keys.count && i < KEYS_KNOWN; i++) {
        const gr_server_key *key = &known->keys.at[i];
        gr_buf value = {0};
        if (key->public_key.size != GR_SIGN_PUBLIC) continue;
        gr_buf_str(&value, key->public_key);
        gr_buf_u64be(&value, key->valid_until_ms);
        gr_buf_u64be(&value, key->expired_ms);
        gr_ctx_put(ctx, gr_arena_cat(a, 4, (gr_str[]){GR_STR("K"), known->server, {"", 1}, key->key_id}), gr_buf_view(&value));
        gr_buf_free(&value);
    }
}

/* Servers whose keys cannot be found take away their events, not the join. */
void gr_join_on_keys(gr_join *j, const gr_msg *m, gr_ctx *ctx)
{
    const gr_keys_found *found = m->body;
    for (size_t i = 0; !gr_failed(m->err) && i < found->servers.count; i++) put_keys(ctx, &found->servers.at[i]);
    go_on_with_keys(j, ctx);
}

/* --- CHECK, on the pool --------------------------------------------------------------------------------------- */
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

bool gr_join_find_key(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC])
{
    gr_ctx *ctx = arg;
    gr_str value;
    const gr_signer *own = gr_env_of(ctx)->signer;
    if (gr_str_eq(server, gr_env_of(ctx)->server_name)) {
        memcpy(public_key, own->public_key, GR_SIGN_PUBLIC);
        return gr_str_eq(key_id, gr_str_c(own->key_id));
    }
    gr_str key = gr_arena_cat(gr_ctx_arena(ctx), 4, (gr_str[]){GR_STR("K"), server, {"", 1}, key_id});
    if (key.size > GR_SUBKEY_MAX || !gr_ctx_get(ctx, key, &value) || value.size != KEY_ROW) return false;
    uint64_t valid_until = gr_u64be(value.ptr + GR_SIGN_PUBLIC), expired = gr_u64be(value.ptr + GR_SIGN_PUBLIC + 8);
    memcpy(public_key, value.ptr, GR_SIGN_PUBLIC);
    return ts == 0 || (uint64_t)ts <= (expired ? expired : valid_until);
}

typedef struct { gr_arena *arena; gr_keys_known known; } some_keys;

static bool add_key(void *arg, gr_str key, gr_str value)
{
    some_keys *k = arg;
    ptrdiff_t nul = gr_str_find(key, 0);
    if (value.size != KEY_ROW || nul < 0) return true;
    k->known.keys.at[k->known.keys.count++] = (gr_server_key){
        .key_id = gr_arena_str(k->arena, gr_str_from(key, (size_t)nul + 1)),
        .public_key = gr_arena_str(k->arena, gr_str_head(value, GR_SIGN_PUBLIC)),
        .valid_until_ms = gr_u64be(value.ptr + GR_SIGN_PUBLIC), .expired_ms = gr_u64be(value.ptr + GR_SIGN_PUBLIC + 8)};
    return true;
}

gr_keys_known gr_join_keys_of(gr_ctx *ctx, gr_str server)
{
    gr_arena *a = gr_ctx_arena(ctx);
    some_keys k = {a, {.server = server}};
    k.known.keys.at = gr_arena_alloc(a, KEYS_KNOWN * sizeof *k.known.keys.at);
    gr_ctx_scan_prefix(ctx, gr_arena_cat(a, 3, (gr_str[]){GR_STR("K"), server, {"", 1}}), KEYS_KNOWN, add_key, &k);
    return k.known;
}

/* True: the event is good, as it is or without what was not signed. */
static bool check_one(gr_ctx *ctx, const gr_room_version *version, gr_str key, gr_str text)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_key_ring ring = {.find = gr_join_find_key, .arg = ctx};
    const gr_json *json = NULL;
    gr_event e;
    gr_str checked;
    gr_event_shape shape;
    if (gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &json))) return false;
    if (gr_failed(gr_event_check(a, version, json, &ring, &e, &checked, &shape))) return false;
    if (shape == GR_EVENT_REDACTED) gr_ctx_put(ctx, key, checked);
    return true;
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
        if (check_one(ctx, version, last, rows.texts.at[i])) continue;
        bad++;
        gr_ctx_del(ctx, last);
        gr_ctx_del(ctx, letter_and(arena, 's', gr_str_from(last, 1)));
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
/* Event ids are hashes, so these are parts of about one size. */
static gr_str chain_end(size_t chain)
{
    static const char *const ends[GR_JOIN_CHAINS] = {"e$G", "e$W", "e$m", "f"};
    return gr_str_c(ends[chain]);
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
    gr_buf_str(&input, chain_end(chain));
    gr_join_work(j, ctx, &check_works[chain % 2], gr_buf_view(&input), chain);
    gr_buf_free(&input);
}

void gr_join_check_begin(gr_join *j, gr_ctx *ctx)
{
    for (size_t i = 0; i < GR_JOIN_CHAINS; i++) {
        set_cursor(&j->cursors[i], i ? chain_end(i - 1) : GR_STR("e"));
        check_more(j, ctx, i);
    }
}

void gr_join_on_checked(gr_join *j, uint64_t chain, gr_str output, gr_ctx *ctx)
{
    gr_assert(chain < GR_JOIN_CHAINS && output.size >= 10);
    size_t size = (size_t)((unsigned char)output.ptr[8] << 8 | (unsigned char)output.ptr[9]);
    gr_str last = gr_str_of(output.ptr + 10, size);
    j->bad += gr_u64be(output.ptr);
    gr_ctx_write_again(ctx, gr_str_from(output, 10 + size));
    set_cursor(&j->cursors[chain], size ? gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){last, {"", 1}}) : (gr_str){0});
    if (size) check_more(j, ctx, (size_t)chain);
    else if (j->open == 0) gr_join_go(j, ctx, GR_JOIN_ORDER);
}

/* --- ORDER ---------------------------------------------------------------------------------------------------- */
typedef struct node node;
struct node {
    UT_hash_handle hh;
    gr_str id;
    gr_strs auth;
    bool is_state, is_create;
    enum { NODE_NEW, NODE_OPEN, NODE_DONE } mark;
    size_t next;                           /* of auth, while it is open */
};
typedef struct {
    gr_arena *arena, *passing;
    const gr_room_version *version;
    node *table, *all;
    size_t count, room;
    gr_buf *out;
} graph;

static bool count_row(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    ++*(size_t *)arg;
    return true;
}

static bool add_node(void *arg, gr_str key, gr_str value)
{
    graph *g = arg;
    gr_event e;
    gr_arena_reset(g->passing);
    if (gr_failed(gr_event_parse(g->passing, g->version, value, &e))) return true;
    node *n = &g->all[g->count++];
    n->id = gr_arena_str(g->arena, gr_str_from(key, 1));
    n->is_create = gr_event_is(&e, "m.room.create", "");
    n->auth = (gr_strs){gr_arena_alloc(g->arena, (e.auth_events.count + 1) * sizeof(gr_str)), e.auth_events.count};
    for (size_t i = 0; i < e.auth_events.count; i++) n->auth.at[i] = gr_arena_str(g->arena, e.auth_events.at[i]);
    HASH_ADD_KEYPTR(hh, g->table, n->id.ptr, n->id.size, n);
    return g->count < g->room;
}

static bool mark_state(void *arg, gr_str key, gr_str value)
{
    graph *g = arg;
    node *n = NULL;
    (void)value;
    HASH_FIND(hh, g->table, key.ptr + 1, key.size - 1, n);
    if (n) n->is_state = true;
    return true;
}

static void write_node(graph *g, node *n)
{
    n->mark = NODE_DONE;
    gr_buf_char(g->out, n->is_state);
    gr_buf_char(g->out, (char)(n->id.size >> 8));
    gr_buf_char(g->out, (char)n->id.size);
    gr_buf_str(g->out, n->id);
}

/* Depth first, without recursion.  An event that is open is cited by itself on some way: a cycle, which no server can have
 * made but one that chooses its event ids; whoever is left over is not held by the room. */
static void write_below(graph *g, node *first, node **stack)
{
    size_t depth = 0;
    if (first->mark != NODE_NEW) return;
    first->mark = NODE_OPEN;
    stack[depth++] = first;
    while (depth) {
        node *n = stack[depth - 1], *cited = NULL;
        if (n->next == n->auth.count) {
            write_node(g, n);
            depth--;
            continue;
        }
        gr_str id = n->auth.at[n->next++];
        HASH_FIND(hh, g->table, id.ptr, id.size, cited);
        if (!cited || cited->mark != NODE_NEW) continue;
        cited->mark = NODE_OPEN;
        stack[depth++] = cited;
    }
}

static bool run_order(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_ctx *ctx = gr_work_ctx(reader, gr_u64be(input.ptr));
    graph g = {.arena = arena, .passing = gr_arena_new(0), .version = gr_room_version_find(gr_str_from(input, 8)), .out = output};
    gr_work_scan(reader, GR_STR("e"), GR_STR("f"), false, 0, count_row, &g.room);
    g.all = gr_arena_alloc(arena, (g.room + 1) * sizeof *g.all);
    node **stack = gr_arena_alloc(arena, (g.room + 1) * sizeof *stack);
    (void)ctx;
    if (g.room) gr_work_scan(reader, GR_STR("e"), GR_STR("f"), false, 0, add_node, &g);
    gr_work_scan(reader, GR_STR("s"), GR_STR("t"), false, 0, mark_state, &g);
    for (size_t i = 0; i < g.count; i++)
        if (g.all[i].is_create && g.all[i].auth.count == 0) write_below(&g, &g.all[i], stack);
    for (size_t i = 0; i < g.count; i++) write_below(&g, &g.all[i], stack);
    HASH_CLEAR(hh, g.table);
    gr_arena_free(&g.passing);
    return true;
}

static const gr_work order_work = {.name = "join_order", .run = run_order, .is_long = true};

void gr_join_order_begin(gr_join *j, gr_ctx *ctx)
{
    gr_buf input = {0};
    gr_buf_u64be(&input, gr_ctx_now_ms(ctx));
    gr_buf_str(&input, j->flow->version);
    gr_join_work(j, ctx, &order_work, gr_buf_view(&input), 0);
    gr_buf_free(&input);
}

void gr_join_on_ordered(gr_join *j, gr_str output, gr_ctx *ctx)
{
    gr_buf_clear(&j->order);
    gr_buf_str(&j->order, output);
    j->ordered = output.size;
    if (output.size) gr_join_go(j, ctx, GR_JOIN_FEED);
    else gr_join_next_server(j, ctx, gr_fail(GR_BAD_GATEWAY, "The other server gave no state of the room that can be believed"));
}
