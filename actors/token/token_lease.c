/* token_lease.c - leases of edges, and waiting until they have forgotten a token. See token.h. */
#include "actors/token/token_private.h"

#include <stdlib.h>

static gr_str edge_key(gr_ctx *ctx, gr_str address)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("e"), address});
}

static gr_token_edge *add_edge(gr_token_index *t, gr_str address)
{
    t->edges = gr_realloc(t->edges, (t->edge_count + 1) * sizeof *t->edges);
    gr_token_edge *edge = &t->edges[t->edge_count++];
    *edge = (gr_token_edge){.address = {gr_str_dup(address), address.size}};
    return edge;
}

static void set_timer(const gr_token_index *t, gr_ctx *ctx)
{
    uint64_t next_ms = t->going_ms;
    for (const gr_forgetting *f = t->forgetting; f; f = f->next)
        if (f->asker && (!next_ms || f->until_ms < next_ms)) next_ms = f->until_ms;
    if (next_ms) gr_ctx_timer(ctx, GR_STR("lease"), next_ms, false);
}

static bool is_going(void *arg, gr_str key, gr_str value)
{
    gr_token_index *t = arg;
    (void)key, (void)value;
    t->going_ms = t->sure_ms;
    return false;
}

typedef struct { gr_token_index *index; uint64_t until_ms; } loading;

static bool load_edge(void *arg, gr_str key, gr_str value)
{
    loading *l = arg;
    (void)value;
    add_edge(l->index, gr_str_from(key, 1))->lease_until_ms = l->until_ms;
    return true;
}

void gr_token_edges_load(gr_token_index *t, gr_ctx *ctx)
{
    loading l = {t, gr_ctx_now_ms(ctx) + GR_TOKEN_WAIT_MS};
    gr_ctx_scan_prefix(ctx, GR_STR("e"), GR_TOKEN_EDGES_MAX, load_edge, &l);
    t->sure_ms = l.until_ms;
    gr_ctx_scan_prefix(ctx, GR_STR("g"), 1, is_going, t);      /* the next login or logout sets the timer */
}

static void free_forgetting(gr_forgetting *f)
{
    if (f->access) explicit_bzero(f->access, strlen(f->access));
    if (f->refresh) explicit_bzero(f->refresh, strlen(f->refresh));
    free(f->access);
    free(f->refresh);
    free(f->scope);
    free(f->user);
    free(f->device);
    free(f->provider);
    gr_asker_free(&f->asker);
    free(f);
}

void gr_token_edges_drop(gr_token_index *t)
{
    for (size_t i = 0; i < t->edge_count; i++) free((char *)t->edges[i].address.ptr);
    free(t->edges);
    while (t->forgetting) {
        gr_forgetting *f = t->forgetting;
        t->forgetting = f->next;
        free_forgetting(f);
    }
}

bool gr_token_lease(gr_token_index *t, gr_ctx *ctx, gr_str address)
{
    gr_token_edge *edge = NULL;
    if (gr_address_kind(address) != GR_KIND_EDGE) return false;
    for (size_t i = 0; i < t->edge_count && !edge; i++)
        if (gr_str_eq(t->edges[i].address, address)) edge = &t->edges[i];
    if (!edge) {
        if (t->edge_count == GR_TOKEN_EDGES_MAX) return false;
        edge = add_edge(t, address);
        gr_ctx_put(ctx, edge_key(ctx, address), GR_STR(""));
    }
    edge->lease_until_ms = gr_ctx_now_ms(ctx) + GR_TOKEN_WAIT_MS;
    return true;
}

gr_forgetting *gr_forgetting_new(gr_token_index *t)
{
    gr_forgetting *f = gr_alloc(sizeof *f);
    f->number = ++t->next_number;
    f->next = t->forgetting;
    t->forgetting = f;
    return f;
}

uint64_t gr_token_forget_at_edges(gr_token_index *t, gr_ctx *ctx, gr_str hash, gr_forgetting *f)
{
    gr_token_forget body = {.hash = hash};
    uint64_t until_ms = 0;
    for (size_t i = 0; i < t->edge_count; i++) {
        const gr_token_edge *edge = &t->edges[i];
        if (edge->lease_until_ms <= gr_ctx_now_ms(ctx)) continue;
        gr_resume resume = {.number = f ? f->number : 0};
        gr_ctx_ask(ctx, edge->address, &gr_type_token_forget, &body, edge->lease_until_ms - gr_ctx_now_ms(ctx), &resume);
        if (until_ms < edge->lease_until_ms) until_ms = edge->lease_until_ms;
        if (f) f->open++;
    }
    if (f && f->until_ms < until_ms) f->until_ms = until_ms;
    return until_ms;
}

/* --- tokens that were ended ----------------------------------------------------------------------------------- */
static gr_str going_key(gr_ctx *ctx, gr_str user, gr_str device, gr_str hash)
{
    gr_str nul = {"", 1};
    return gr_arena_cat(gr_ctx_arena(ctx), 6, (gr_str[]){GR_STR("g"), user, nul, device, nul, hash});
}

void gr_token_going(gr_token_index *t, gr_ctx *ctx, const gr_token_row *row, gr_str hash, uint64_t until_ms)
{
    gr_buf value = {0};
    gr_buf_u64be(&value, until_ms);
    gr_ctx_put(ctx, going_key(ctx, row->user, row->device, hash), gr_buf_view(&value));
    gr_buf_free(&value);
    if (t->going_ms < until_ms) t->going_ms = until_ms;
    set_timer(t, ctx);
}

typedef struct { gr_token_index *index; gr_ctx *ctx; gr_forgetting *f; size_t looked_at; } going;

static bool is_over(const going *g, gr_str value)
{
    uint64_t now_ms = gr_ctx_now_ms(g->ctx);
    return now_ms >= g->index->sure_ms && value.size == 8 && gr_u64be(value.ptr) <= now_ms;
}

static bool forget_going(void *arg, gr_str key, gr_str value)
{
    const going *g = arg;
    gr_str hash = gr_arena_str(gr_ctx_arena(g->ctx), gr_str_from(key, key.size - GR_TOKEN_HASH));
    if (!is_over(g, value)) gr_token_forget_at_edges(g->index, g->ctx, hash, g->f);
    return true;
}

void gr_token_forget_going(gr_token_index *t, gr_ctx *ctx, gr_str user, gr_str device, gr_forgetting *f)
{
    going g = {t, ctx, f, 0};
    gr_str prefix = device.size ? going_key(ctx, user, device, (gr_str){0})
                                : gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("g"), user, {"", 1}});
    gr_ctx_scan_prefix(ctx, prefix, GR_TOKEN_DROP_STEP, forget_going, &g);
}

static bool end_going(void *arg, gr_str key, gr_str value)
{
    going *g = arg;
    bool over = is_over(g, value);
    if (over) gr_ctx_del(g->ctx, key);
    if (!over || ++g->looked_at == GR_TOKEN_DROP_STEP) g->index->going_ms = gr_ctx_now_ms(g->ctx) + GR_TOKEN_WAIT_MS;
    return true;
}

static void end_goings(gr_token_index *t, gr_ctx *ctx)
{
    going g = {t, ctx, NULL, 0};
    if (!t->going_ms || t->going_ms > gr_ctx_now_ms(ctx)) return;
    t->going_ms = 0;
    gr_ctx_scan_prefix(ctx, GR_STR("g"), GR_TOKEN_DROP_STEP, end_going, &g);
}

static void unlink_forgetting(gr_token_index *t, gr_forgetting *f)
{
    gr_forgetting **at = &t->forgetting;
    while (*at != f) at = &(*at)->next;
    *at = f->next;
}

static void answer(gr_token_index *t, gr_ctx *ctx, gr_forgetting *f)
{
    if (f->is_pair) {
        gr_token_pair pair = {.access = gr_str_c(f->access), .refresh = gr_str_c(f->refresh), .expires_in_ms = f->expires_in_ms,
                              .scope = gr_str_c(f->scope),
                              .user = gr_str_c(f->user), .device = gr_str_c(f->device), .provider = gr_str_c(f->provider)};
        gr_ctx_answer(ctx, &f->asker, &gr_type_token_pair, &pair);
    } else {
        gr_ctx_answer(ctx, &f->asker, &gr_type_done, &(gr_done){0});
    }
    unlink_forgetting(t, f);
    free_forgetting(f);
}

void gr_forgetting_finish(gr_token_index *t, gr_ctx *ctx, gr_forgetting *f, const gr_token_pair *pair)
{
    f->asker = gr_ctx_keep_asker(ctx);
    if (pair) {
        f->is_pair = true;
        f->access = gr_str_dup(pair->access);
        f->refresh = gr_str_dup(pair->refresh);
        f->scope = gr_str_dup(pair->scope);
        f->user = gr_str_dup(pair->user);
        f->device = gr_str_dup(pair->device);
        f->provider = gr_str_dup(pair->provider);
        f->expires_in_ms = pair->expires_in_ms;
    }
    if (f->open == 0) answer(t, ctx, f);
    set_timer(t, ctx);
}

/* An edge that could not be asked may still hold its lease: then the timer answers. */
void gr_token_forgotten(gr_token_index *t, gr_ctx *ctx, uint64_t number, gr_err err)
{
    gr_forgetting *f = t->forgetting;
    while (f && f->number != number) f = f->next;
    if (!f || gr_failed(err)) return;
    if (--f->open == 0) answer(t, ctx, f);
}

void gr_token_leases_over(gr_token_index *t, gr_ctx *ctx)
{
    for (gr_forgetting *f = t->forgetting, *next; f; f = next) {
        next = f->next;
        if (f->until_ms <= gr_ctx_now_ms(ctx)) answer(t, ctx, f);
    }
    end_goings(t, ctx);
    set_timer(t, ctx);
}
