/* backoff.c - see backoff.h. */
#include "actors/delivery/backoff.h"

#define ROW GR_STR("b")

void gr_backoff_load(gr_backoff *b, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    *b = (gr_backoff){0};
    if (!gr_ctx_get(ctx, ROW, &bytes) || gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_backoff_row, bytes, &body))) return;
    const gr_backoff_row *row = body;
    *b = (gr_backoff){.since_ms = row->since_ms, .next_ms = row->next_ms, .failures = row->failures};
}

static void save(const gr_backoff *b, gr_ctx *ctx)
{
    gr_backoff_row row = {.since_ms = b->since_ms, .next_ms = b->next_ms, .failures = b->failures};
    gr_ctx_put_body(ctx, ROW, &gr_type_backoff_row, &row);
}

bool gr_backoff_holds(const gr_backoff *b, gr_ctx *ctx) { return b->next_ms > gr_ctx_now_ms(ctx); }

uint64_t gr_backoff_interval_ms(const gr_backoff_policy *policy, uint64_t failures)
{
    static const uint64_t quick_ms[] = {4000, 16000};
    gr_assert(failures > 0);
    if (failures <= 2) return quick_ms[failures - 1];
    if (failures <= GR_BACKOFF_QUICK_TRIES) return 60000;
    double wait = (double)policy->first_ms, max = (double)policy->max_ms;
    for (uint64_t n = GR_BACKOFF_QUICK_TRIES + 1; n < failures && wait < max; n++) wait *= policy->factor;
    return (uint64_t)(wait < max ? wait : max);
}

static uint64_t drawn(const gr_backoff_policy *policy, uint64_t failures, gr_ctx *ctx)
{
    uint32_t random = 0;
    gr_ctx_random(ctx, &random, sizeof random);
    double wait = (double)gr_backoff_interval_ms(policy, failures), max = (double)policy->max_ms;
    if (failures > GR_BACKOFF_QUICK_TRIES) wait *= 1 + policy->jitter * (2.0 * random / UINT32_MAX - 1);
    return (uint64_t)(wait < max || failures <= GR_BACKOFF_QUICK_TRIES ? wait : max);
}

bool gr_backoff_fail(gr_backoff *b, const gr_backoff_policy *policy, uint64_t at_least_ms, gr_ctx *ctx)
{
    if (gr_backoff_holds(b, ctx)) return false;
    if (b->failures == 0) b->since_ms = gr_ctx_now_ms(ctx);
    b->failures++;
    uint64_t wait_ms = drawn(policy, b->failures, ctx);
    b->next_ms = gr_ctx_now_ms(ctx) + (wait_ms > at_least_ms ? wait_ms : at_least_ms);
    save(b, ctx);
    return true;
}

bool gr_backoff_end(gr_backoff *b, gr_ctx *ctx)
{
    if (b->failures == 0) return false;
    b->since_ms = b->next_ms = b->failures = 0;
    gr_ctx_del(ctx, ROW);
    return true;
}

bool gr_backoff_heard(gr_backoff *b, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (b->failures == 0 || !gr_backoff_holds(b, ctx)) return b->failures > 0;
    if (now_ms - b->heard_ms < GR_BACKOFF_HEARD_MS) return false;
    b->heard_ms = b->next_ms = now_ms;
    save(b, ctx);
    return true;
}
