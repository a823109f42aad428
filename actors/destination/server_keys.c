/* server_keys.c - the keys of the server: kept, asked for, learnt. See destination.h.
 *
 * Server-server API, "Publishing Keys"; room versions 5 and later say until when a key must be valid for an event.
 */
#include "actors/destination/destination_private.h"
#include "actors/keys/published.h"

#include <stdlib.h>

#define OBJECT_ROW GR_STR("o")

/* --- rows -------------------------------------------------------------------------------------------------- */
static bool take_key(void *arg, gr_str row, gr_str bytes)
{
    gr_published *l = arg;
    void *body = NULL;
    if (gr_failed(gr_body_decode(l->arena, &gr_type_server_key_row, gr_arena_str(l->arena, bytes), &body))) return true;
    const gr_server_key_row *key = body;
    l->at[l->count++] = (gr_server_key){.key_id = gr_arena_str(l->arena, gr_str_from(row, 1)), .public_key = key->public_key,
                                        .valid_until_ms = key->valid_until_ms, .expired_ms = key->expired_ms};
    return l->count < GR_SERVER_KEYS_MAX;
}

static void read_keys(gr_ctx *ctx, gr_published *l)
{
    *l = (gr_published){.arena = gr_ctx_arena(ctx)};
    gr_ctx_scan_prefix(ctx, GR_STR("k"), GR_SERVER_KEYS_MAX, take_key, l);
}

static gr_str key_row(gr_ctx *ctx, gr_str key_id) { return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("k"), key_id}); }

static void put_key(gr_ctx *ctx, const gr_server_key *key)
{
    gr_server_key_row row = {.public_key = key->public_key, .valid_until_ms = key->valid_until_ms, .expired_ms = key->expired_ms};
    gr_ctx_put_body(ctx, key_row(ctx, key->key_id), &gr_type_server_key_row, &row);
}

static gr_server_object_row read_object(gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, OBJECT_ROW, &bytes)) return (gr_server_object_row){0};
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_server_object_row, bytes, &body))) return (gr_server_object_row){0};
    return *(gr_server_object_row *)body;
}

/* --- answering --------------------------------------------------------------------------------------------- */
static bool is_enough(const gr_server_key *key, uint64_t min_valid_ms)
{
    return key && (key->expired_ms || key->valid_until_ms >= min_valid_ms);
}

/* Does what is kept answer the question, so that the server need not be asked? */
static bool is_answered(gr_published *l, const gr_destination_keys *m, gr_ctx *ctx)
{
    bool any = m->key_ids.count > 0;
    for (size_t i = 0; i < m->key_ids.count; i++)
        if (!is_enough(gr_published_find(l, m->key_ids.at[i]), m->min_valid_ms)) return false;
    for (size_t i = 0; i < l->count && !any; i++) any = !l->at[i].expired_ms && is_enough(&l->at[i], m->min_valid_ms);
    if (!any || !m->fresh) return any;
    gr_server_object_row object = read_object(ctx);
    return object.object.size && gr_ctx_now_ms(ctx) < object.learnt_ms + (object.valid_until_ms - object.learnt_ms) / 2;
}

static gr_server_keys what_is_known(gr_published *l, bool with_object, gr_ctx *ctx)
{
    gr_server_keys keys = {.keys = {l->at, l->count}};
    if (with_object) keys.object = read_object(ctx).object;
    return keys;
}

static void answer_waiters(gr_destination *d, gr_ctx *ctx)
{
    gr_published l;
    read_keys(ctx, &l);
    while (d->key_waiters) {
        gr_destination_asked *waiter = d->key_waiters;
        d->key_waiters = waiter->next;
        gr_server_keys keys = what_is_known(&l, waiter->with_object, ctx);
        gr_ctx_answer(ctx, &waiter->asker, &gr_type_server_keys, &keys);
        free(waiter);
        d->request_count--;
    }
}

static void ask_server(gr_destination *d, gr_ctx *ctx)
{
    gr_fetch fetch = {.server = d->name, .method = GR_STR("GET"), .uri = GR_STR("/_matrix/key/v2/server"),
                      .timeout_ms = GR_SERVER_KEYS_TIMEOUT_MS, .answer_max = GR_SERVER_KEYS_OBJECT_MAX};
    d->keys_under_way = true;
    d->keys_asked_ms = gr_ctx_now_ms(ctx);
    gr_ctx_fetch(ctx, &fetch, &(gr_resume){.step = GR_DESTINATION_STEP_KEYS});
}

/* One that is left alone is asked too, less often: keys are needed to believe that it is back, and when both sides leave each
 * other alone for longer than keys are valid, neither would believe the other again. */
void gr_server_keys_on_ask(gr_destination *d, const gr_destination_keys *m, gr_ctx *ctx)
{
    gr_published l;
    read_keys(ctx, &l);
    uint64_t apart_ms = gr_backoff_holds(&d->backoff, ctx) ? GR_BACKOFF_HEARD_MS : GR_SERVER_KEYS_ASK_MS;
    bool is_recent = d->keys_asked_ms && gr_ctx_now_ms(ctx) - d->keys_asked_ms < apart_ms;
    bool may_wait = d->request_count < GR_DESTINATION_REQUESTS_MAX;
    bool may_ask = !m->cached_only && may_wait && (d->keys_under_way || !is_recent);
    if (!may_ask || is_answered(&l, m, ctx)) {
        gr_server_keys keys = what_is_known(&l, m->with_object, ctx);
        gr_ctx_reply(ctx, &gr_type_server_keys, &keys);
        return;
    }
    if (!d->keys_under_way) ask_server(d, ctx);
    gr_destination_asked *waiter = gr_alloc(sizeof *waiter);
    *waiter = (gr_destination_asked){.next = d->key_waiters, .asker = gr_ctx_keep_asker(ctx), .with_object = m->with_object};
    d->key_waiters = waiter;
    d->request_count++;
}

/* --- learning ---------------------------------------------------------------------------------------------- */
static uint64_t end_of(const gr_server_key *key) { return key->expired_ms ? key->expired_ms : key->valid_until_ms; }

/* Makes room for one more by forgetting the one that ended first. */
static void forget_oldest(gr_published *l, gr_ctx *ctx)
{
    size_t oldest = 0;
    for (size_t i = 1; i < l->count; i++)
        if (end_of(&l->at[i]) < end_of(&l->at[oldest])) oldest = i;
    gr_ctx_del(ctx, key_row(ctx, l->at[oldest].key_id));
    l->at[oldest] = l->at[--l->count];
}

/* Keys no longer published stay as they were: events signed with them are still about.  A key is never valid for less than
 * was known before, unless it is old now. */
static bool learn(gr_destination *d, gr_str text, gr_ctx *ctx)
{
    gr_published published, kept;
    gr_server_object_row row = {.object = text, .learnt_ms = gr_ctx_now_ms(ctx)};
    if (!gr_published_read(&published, gr_ctx_arena(ctx), d->name, text, row.learnt_ms, &row.valid_until_ms))
        return false;
    read_keys(ctx, &kept);
    for (size_t i = 0; i < published.count; i++) {
        gr_server_key *key = &published.at[i], *before = gr_published_find(&kept, key->key_id);
        bool same = before && gr_str_eq(before->public_key, key->public_key);
        if (same && !key->expired_ms && before->valid_until_ms > key->valid_until_ms)
            key->valid_until_ms = before->valid_until_ms;
        if (!before && kept.count == GR_SERVER_KEYS_MAX) forget_oldest(&kept, ctx);
        if (!before) kept.at[kept.count++] = *key;
        else *before = *key;
        put_key(ctx, key);
    }
    if (read_object(ctx).valid_until_ms <= row.valid_until_ms) gr_ctx_put_body(ctx, OBJECT_ROW, &gr_type_server_object_row, &row);
    return true;
}

void gr_server_keys_on_learn(gr_destination *d, const gr_destination_learn *m, gr_ctx *ctx)
{
    gr_published l;
    if (!learn(d, m->object, ctx)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_SIGNATURE, "These are not the keys of that server"));
        return;
    }
    read_keys(ctx, &l);
    gr_server_keys keys = what_is_known(&l, true, ctx);
    gr_ctx_reply(ctx, &gr_type_server_keys, &keys);
}

void gr_server_keys_on_fetched(gr_destination *d, const gr_fetched *fetched, gr_ctx *ctx)
{
    d->keys_under_way = false;
    if (fetched->failure == GR_FETCH_ANSWERED && fetched->status == 200) learn(d, fetched->body, ctx);
    answer_waiters(d, ctx);
}

void gr_server_keys_drop(gr_destination *d)
{
    for (gr_destination_asked *waiter = d->key_waiters, *next; waiter; waiter = next) {
        next = waiter->next;
        gr_asker_free(&waiter->asker);
        free(waiter);
    }
    d->key_waiters = NULL;
}
