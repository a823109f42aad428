/* keys.c - the keys flow. See keys.h. */
#include "actors/keys/keys.h"
#include "actors/keys/published.h"

#include "proto/ident.h"
#include "proto/json.h"

#include <stdlib.h>

enum { NOTARY_ANSWER_MAX = 900 * 1024 };

typedef enum { CACHED, NOTARY, ORIGIN, VIA } source;
enum { STEP_CACHED = 1, STEP_NOTARY_KEYS, STEP_NOTARY, STEP_LEARNT, STEP_ORIGIN };

typedef struct {
    gr_keys_wanted wanted;         /* in the flow's arena, as all that is kept of it */
    gr_keys_known known;
} asked_server;

struct gr_keys_flow {
    gr_arena *arena;               /* NULL: no question is being answered */
    gr_asker *asker;
    asked_server *servers;
    size_t count, open;            /* open: answers to come in this step */
    bool with_object, fresh;
    source turn[4];
    size_t next_turn, notary;
    gr_str via;                    /* the last notary of all; empty: there is none */
    bool asks_via;
    gr_server_keys notary_keys;
};

static void end(gr_keys_flow *f)
{
    gr_asker_free(&f->asker);
    gr_arena_free(&f->arena);
    *f = (gr_keys_flow){0};
}

/* --- what is known ----------------------------------------------------------------------------------------- */
static gr_str keep(gr_keys_flow *f, gr_str text) { return text.size ? gr_arena_str(f->arena, text) : (gr_str){0}; }

static void keep_keys(gr_keys_flow *f, gr_server_keys *out, const gr_server_keys *keys)
{
    out->keys.at = gr_arena_alloc(f->arena, keys->keys.count * sizeof *out->keys.at);
    out->keys.count = keys->keys.count;
    for (size_t i = 0; i < keys->keys.count; i++) {
        out->keys.at[i] = keys->keys.at[i];
        out->keys.at[i].key_id = keep(f, keys->keys.at[i].key_id);
        out->keys.at[i].public_key = keep(f, keys->keys.at[i].public_key);
    }
    out->object = keep(f, keys->object);
}

static const gr_server_key *find(const gr_server_key *keys, size_t count, gr_str key_id)
{
    for (size_t i = 0; i < count; i++)
        if (gr_str_eq(keys[i].key_id, key_id)) return &keys[i];
    return NULL;
}

static bool is_found(const asked_server *s)
{
    const gr_server_key *keys = s->known.keys.at;
    size_t count = s->known.keys.count;
    for (size_t i = 0; i < s->wanted.key_ids.count; i++) {
        const gr_server_key *key = find(keys, count, s->wanted.key_ids.at[i]);
        if (!key || (!key->expired_ms && key->valid_until_ms < s->wanted.min_valid_ms)) return false;
    }
    for (size_t i = 0; i < count && s->wanted.key_ids.count == 0; i++)
        if (!keys[i].expired_ms && keys[i].valid_until_ms >= s->wanted.min_valid_ms) return true;
    return s->wanted.key_ids.count > 0;
}

/* --- the turns --------------------------------------------------------------------------------------------- */
static void take_turn(gr_keys_flow *f, gr_ctx *ctx);

static void answer(gr_keys_flow *f, gr_ctx *ctx)
{
    gr_keys_known *known = gr_arena_alloc(gr_ctx_arena(ctx), f->count * sizeof *known);
    for (size_t i = 0; i < f->count; i++) known[i] = f->servers[i].known;
    gr_keys_found found = {.servers = {known, f->count}};
    gr_ctx_answer(ctx, &f->asker, &gr_type_keys_found, &found);
    end(f);
}

/* Asks the destinations of all servers whose keys are not found yet (when only what is kept counts: of all). */
static void ask_servers(gr_keys_flow *f, bool cached_only, gr_ctx *ctx)
{
    for (size_t i = 0; i < f->count; i++) {
        const asked_server *s = &f->servers[i];
        if (!cached_only && is_found(s) && !f->fresh) continue;
        gr_destination_keys m = {.key_ids = s->wanted.key_ids, .min_valid_ms = s->wanted.min_valid_ms,
                                 .cached_only = cached_only, .fresh = f->fresh, .with_object = f->with_object};
        gr_resume resume = {.step = cached_only ? STEP_CACHED : STEP_ORIGIN, .number = i};
        gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_DESTINATION, s->wanted.server), &gr_type_destination_keys, &m,
                   GR_KEYS_ASK_MS, &resume);
        f->open++;
    }
}

/* Who is asked now, or next; empty: nobody is left. */
static gr_str notary_of(const gr_keys_flow *f, gr_ctx *ctx)
{
    const char *const *notaries = gr_env_of(ctx)->notaries;
    if (f->asks_via) return f->via;
    return notaries && notaries[f->notary] ? gr_str_c(notaries[f->notary]) : (gr_str){0};
}

static void ask_notary_keys(gr_keys_flow *f, gr_ctx *ctx)
{
    gr_str name = notary_of(f, ctx);
    size_t missing = 0;
    for (size_t i = 0; i < f->count; i++) missing += !is_found(&f->servers[i]);
    if (f->fresh || !missing || !name.size) return;
    gr_destination_keys m = {.min_valid_ms = gr_ctx_now_ms(ctx)};
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_DESTINATION, name), &gr_type_destination_keys, &m, GR_KEYS_ASK_MS,
               &(gr_resume){.step = STEP_NOTARY_KEYS});
    f->open++;
}

static void ask_via(gr_keys_flow *f, gr_ctx *ctx)
{
    f->asks_via = true;
    f->notary_keys = (gr_server_keys){0};
    ask_notary_keys(f, ctx);
}

/* Steps with nothing to do are passed over; the last answer of a step leads to the next. */
static void take_turn(gr_keys_flow *f, gr_ctx *ctx)
{
    while (f->open == 0) {
        if (f->next_turn == sizeof f->turn / sizeof f->turn[0]) {
            answer(f, ctx);
            return;
        }
        switch (f->turn[f->next_turn++]) {
        case CACHED: ask_servers(f, true, ctx); break;
        case NOTARY: ask_notary_keys(f, ctx); break;
        case ORIGIN: ask_servers(f, false, ctx); break;
        case VIA: ask_via(f, ctx); break;
        }
    }
}

/* --- the notary -------------------------------------------------------------------------------------------- */
static void write_server(gr_jw *w, const asked_server *s)
{
    gr_jw_key_str(w, s->wanted.server);
    gr_jw_object(w);
    for (size_t i = 0; i < s->wanted.key_ids.count; i++) {
        gr_jw_key_str(w, s->wanted.key_ids.at[i]);
        gr_jw_object(w);
        gr_jw_kint(w, "minimum_valid_until_ts", (int64_t)s->wanted.min_valid_ms);      /* some notaries insist on it */
        gr_jw_end_object(w);
    }
    gr_jw_end_object(w);
}

static void ask_notary(gr_keys_flow *f, gr_ctx *ctx)
{
    gr_buf body = {0};
    gr_jw w = gr_jw_begin(&body);
    gr_jw_object(&w);
    gr_jw_key(&w, "server_keys");
    gr_jw_object(&w);
    for (size_t i = 0; i < f->count; i++)
        if (!is_found(&f->servers[i])) write_server(&w, &f->servers[i]);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_fetch fetch = {.server = notary_of(f, ctx), .method = GR_STR("POST"),
                      .uri = GR_STR("/_matrix/key/v2/query"), .content = gr_buf_view(&body), .timeout_ms = GR_KEYS_NOTARY_MS,
                      .answer_max = NOTARY_ANSWER_MAX};
    gr_ctx_fetch(ctx, &fetch, &(gr_resume){.step = STEP_NOTARY});
    f->open++;
    gr_buf_free(&body);
}

static bool find_notary_key(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC])
{
    const gr_keys_flow *f = arg;
    const gr_server_key *key = find(f->notary_keys.keys.at, f->notary_keys.keys.count, key_id);
    (void)server;
    if (!key || key->expired_ms || key->valid_until_ms < (uint64_t)ts) return false;
    memcpy(public_key, key->public_key.ptr, GR_SIGN_PUBLIC);
    return true;
}

static size_t server_of(const gr_keys_flow *f, gr_str name)
{
    for (size_t i = 0; i < f->count; i++)
        if (gr_str_eq(f->servers[i].wanted.server, name)) return i;
    return f->count;
}

/* What the server itself, or a notary, said of a key is not changed, but for its time. */
static void add_told(gr_keys_flow *f, asked_server *s, gr_published *told)
{
    size_t count = s->known.keys.count;
    gr_server_keys all = {.keys = {gr_arena_alloc(f->arena, (count + told->count) * sizeof *all.keys.at), count}};
    for (size_t i = 0; i < count; i++) {
        all.keys.at[i] = s->known.keys.at[i];
        const gr_server_key *same = gr_published_find(told, all.keys.at[i].key_id);
        bool is_longer = same && !all.keys.at[i].expired_ms && gr_str_eq(same->public_key, all.keys.at[i].public_key)
            && same->valid_until_ms > all.keys.at[i].valid_until_ms;
        if (is_longer) all.keys.at[i].valid_until_ms = same->valid_until_ms;
    }
    for (size_t i = 0; i < told->count; i++)
        if (!find(all.keys.at, count, told->at[i].key_id)) all.keys.at[all.keys.count++] = told->at[i];
    gr_server_keys kept;
    keep_keys(f, &kept, &all);
    s->known.keys.at = kept.keys.at;
    s->known.keys.count = kept.keys.count;
}

/* It goes to that server's destination to be judged and kept; what is not to be kept is judged here. */
static void take_object(gr_keys_flow *f, gr_ctx *ctx, size_t at, gr_str object)
{
    gr_arena *arena = gr_ctx_arena(ctx);
    asked_server *s = &f->servers[at];
    gr_published told;
    uint64_t until_ms;
    if (f->asks_via) {
        bool is_good = !is_found(s)
            && gr_published_read(&told, arena, s->wanted.server, object, gr_ctx_now_ms(ctx), &until_ms);
        if (is_good) add_told(f, s, &told);
        return;
    }
    gr_ctx_ask(ctx, gr_address(arena, GR_KIND_DESTINATION, s->wanted.server), &gr_type_destination_learn,
               &(gr_destination_learn){.object = object}, GR_KEYS_ASK_MS, &(gr_resume){.step = STEP_LEARNT, .number = at});
    f->open++;
}

/* Of servers that were asked for, each object that the notary has signed is taken. */
static void on_notary(gr_keys_flow *f, const gr_fetched *fetched, gr_ctx *ctx)
{
    gr_arena *arena = gr_ctx_arena(ctx);
    const gr_json *body = NULL;
    gr_key_ring ring = {.find = find_notary_key, .arg = f};
    gr_str notary = notary_of(f, ctx);
    bool good = fetched->failure == GR_FETCH_ANSWERED && fetched->status == 200
        && !gr_failed(gr_json_parse(arena, fetched->body, GR_JSON_LAX, &body));
    const gr_json *list = good ? gr_json_get(body, "server_keys") : NULL;
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count && i < 2 * GR_KEYS_SERVERS_MAX; i++) {
        const gr_json *object = &list->items[i];
        size_t at = server_of(f, gr_json_text(object, "server_name"));
        if (at == f->count) continue;
        if (gr_failed(gr_sign_check_json(arena, &ring, object, notary, (int64_t)gr_ctx_now_ms(ctx)))) continue;
        take_object(f, ctx, at, gr_json_printed(arena, object));
    }
    if (f->asks_via) return;
    f->notary++;                   /* what this one did not know, the next one may */
    if (f->open == 0) ask_notary_keys(f, ctx);
}

/* --- messages ---------------------------------------------------------------------------------------------- */
static gr_err check(const gr_keys_find *m, gr_ctx *ctx)
{
    if (m->servers.count == 0 || m->servers.count > GR_KEYS_SERVERS_MAX)
        return gr_fail(GR_INVALID_PARAM, "Keys of 1 to 100 servers can be asked for at once");
    for (size_t i = 0; i < m->servers.count; i++) {
        gr_str name = m->servers.at[i].server;
        if (!gr_ident_server_name(name) || gr_str_eq(name, gr_env_of(ctx)->server_name))
            return gr_fail(GR_INVALID_PARAM, "Keys can be asked for of other servers only");
    }
    return gr_ok();
}

static void on_find(gr_keys_flow *f, const gr_keys_find *m, gr_ctx *ctx)
{
    gr_err err = f->arena ? gr_fail(GR_LIMIT_EXCEEDED, "A keys flow answers one question at a time") : check(m, ctx);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    *f = (gr_keys_flow){.arena = gr_arena_new(0), .count = m->servers.count, .with_object = m->with_object, .fresh = m->fresh,
                        .turn = {CACHED, m->servers.count == 1 ? ORIGIN : NOTARY, m->servers.count == 1 ? NOTARY : ORIGIN, VIA}};
    f->via = keep(f, m->via);
    f->servers = gr_arena_alloc(f->arena, f->count * sizeof *f->servers);
    for (size_t i = 0; i < f->count; i++) {
        const gr_keys_wanted *wanted = &m->servers.at[i];
        gr_strs ids = {gr_arena_alloc(f->arena, wanted->key_ids.count * sizeof(gr_str)), wanted->key_ids.count};
        for (size_t k = 0; k < ids.count; k++) ids.at[k] = keep(f, wanted->key_ids.at[k]);
        f->servers[i].wanted = (gr_keys_wanted){keep(f, wanted->server), ids, wanted->min_valid_ms};
        f->servers[i].known.server = f->servers[i].wanted.server;
    }
    f->asker = gr_ctx_keep_asker(ctx);
    take_turn(f, ctx);
}

static void on_keys(gr_keys_flow *f, const gr_msg *m)
{
    gr_server_keys kept;
    if (gr_failed(m->err) || m->resume->number >= f->count) return;
    keep_keys(f, &kept, m->body);
    gr_keys_known *known = &f->servers[m->resume->number].known;
    known->keys.at = kept.keys.at;
    known->keys.count = kept.keys.count;
    if (kept.object.size) known->object = kept.object;
}

static void on_answer(gr_keys_flow *f, const gr_msg *m, gr_ctx *ctx)
{
    if (!f->arena || f->open == 0) return;         /* of before it was loaded again */
    f->open--;
    switch (m->resume->step) {
    case STEP_CACHED:
    case STEP_ORIGIN:
    case STEP_LEARNT: on_keys(f, m); break;
    case STEP_NOTARY_KEYS:
        if (!gr_failed(m->err)) keep_keys(f, &f->notary_keys, m->body);
        ask_notary(f, ctx);
        break;
    case STEP_NOTARY: on_notary(f, m->body, ctx); break;
    default: gr_assert(!"an answer to a keys flow has a step");
    }
    bool more = m->resume->step == STEP_LEARNT && f->open == 0;
    if (more) ask_notary_keys(f, ctx);
    take_turn(f, ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    if (m->type == &gr_type_keys_find) on_find(self, m->body, ctx);
    else if (m->verb == GR_REPLY) on_answer(self, m, ctx);
    else gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A keys flow does not take this message"));
}

static void drop(void *self) { end(self); }
static bool busy(const void *self) { return ((const gr_keys_flow *)self)->arena != NULL; }

static size_t memory(const void *self)
{
    const gr_keys_flow *f = self;
    return f->arena ? gr_arena_used(f->arena) : 0;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_keys_flow *f = self;
    (void)ctx;
    gr_buf_printf(out, "\"servers\":%zu,\"open\":%zu", f->count, f->open);
}

const gr_actor_kind gr_keys_kind = {.kind = GR_KIND_KEYS, .size = sizeof(gr_keys_flow), .handle = handle, .drop = drop,
                                    .busy = busy, .memory = memory, .inspect = inspect};
