/* backoff.c - how long a server that fails is left alone. See destination.h. */
#include "actors/destination/destination_private.h"

#define ROW GR_STR("b")

void gr_backoff_load(gr_destination *d, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, ROW, &bytes) || gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_backoff_row, bytes, &body))) return;
    const gr_backoff_row *row = body;
    d->failing_since_ms = row->since_ms;
    d->next_try_ms = row->next_ms;
    d->failures = row->failures;
}

static void put_row(const gr_destination *d, gr_ctx *ctx)
{
    gr_backoff_row row = {.since_ms = d->failing_since_ms, .next_ms = d->next_try_ms, .failures = d->failures};
    gr_ctx_put_body(ctx, ROW, &gr_type_backoff_row, &row);
}

bool gr_backoff_holds(const gr_destination *d, gr_ctx *ctx) { return d->next_try_ms > gr_ctx_now_ms(ctx); }

/* First soon, since most failures pass; then ever longer, each wait drawn a little differently. */
uint64_t gr_backoff_wait_ms(const gr_env *env, uint64_t failures, uint32_t random)
{
    static const uint64_t quick_ms[] = {4000, 16000};
    gr_assert(failures > 0);
    if (failures <= 2) return quick_ms[failures - 1];
    if (failures <= GR_DESTINATION_QUICK_TRIES) return 60000;
    double wait = (double)env->retry.first_ms, max = (double)env->retry.max_ms;
    for (uint64_t n = GR_DESTINATION_QUICK_TRIES + 1; n < failures && wait < max; n++) wait *= env->retry.factor;
    wait *= 1 + env->retry.jitter * (2.0 * random / UINT32_MAX - 1);
    return (uint64_t)(wait < max ? wait : max);
}

/* at_least_ms: the server itself has said when to come again. */
static void failed(gr_destination *d, uint64_t at_least_ms, gr_ctx *ctx)
{
    uint32_t random = 0;
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (gr_backoff_holds(d, ctx)) return;      /* of the requests that were under way together one counts */
    gr_ctx_random(ctx, &random, sizeof random);
    if (d->failures == 0) d->failing_since_ms = now_ms;
    d->failures++;
    uint64_t wait_ms = gr_backoff_wait_ms(gr_env_of(ctx), d->failures, random), max_ms = gr_env_of(ctx)->retry.max_ms;
    if (wait_ms < at_least_ms) wait_ms = at_least_ms < max_ms ? at_least_ms : max_ms;
    d->next_try_ms = now_ms + wait_ms;
    put_row(d, ctx);
}

void gr_backoff_on_fetched(gr_destination *d, const gr_fetched *fetched, bool is_transaction, gr_ctx *ctx)
{
    bool is_answered = fetched->failure == GR_FETCH_ANSWERED;
    if (is_transaction && fetched->failure != GR_FETCH_BUSY && !gr_queue_is_taken(fetched) && !gr_queue_is_refused(fetched)) {
        gr_err err = gr_request_error(gr_ctx_arena(ctx), fetched);
        failed(d, err.code == GR_LIMIT_EXCEEDED ? err.retry_after_ms : 0, ctx);
        return;
    }
    if (fetched->failure == GR_FETCH_UNREACHABLE) failed(d, 0, ctx);
    if (!is_answered || fetched->status >= 500 || fetched->status == 429 || d->failures == 0) return;
    d->failing_since_ms = d->next_try_ms = d->failures = 0;
    gr_ctx_del(ctx, ROW);
}

/* It can reach us, so perhaps we reach it: the next request tries.  How long the wait after that is stays as it was. */
void gr_backoff_on_heard(gr_destination *d, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (!gr_backoff_holds(d, ctx) || now_ms - d->heard_ms < GR_DESTINATION_HEARD_MS) return;
    d->heard_ms = now_ms;
    d->next_try_ms = now_ms;
    put_row(d, ctx);
}
