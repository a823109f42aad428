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
    loading l = {t, gr_ctx_now_ms(ctx) + GR_TOKEN_LEASE_MS};
    gr_ctx_scan_prefix(ctx, GR_STR("e"), GR_TOKEN_EDGES_MAX, load_edge, &l);
}

static void free_forgetting(gr_forgetting *f)
{
    if (f->access) explicit_bzero(f->access, strlen(f->access));
    if (f->refresh) explicit_bzero(f->refresh, strlen(f->refresh));
    free(f->access);
    free(f->refresh);
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

uint64_t gr_token_lease(gr_token_index *t, gr_ctx *ctx, gr_str address)
{
    gr_token_edge *edge = NULL;
    if (gr_address_kind(address) != GR_KIND_EDGE) return 0;
    for (size_t i = 0; i < t->edge_count && !edge; i++)
        if (gr_str_eq(t->edges[i].address, address)) edge = &t->edges[i];
    if (!edge) {
        if (t->edge_count == GR_TOKEN_EDGES_MAX) return 0;
        edge = add_edge(t, address);
        gr_ctx_put(ctx, edge_key(ctx, address), GR_STR(""));
    }
    edge->lease_until_ms = gr_ctx_now_ms(ctx) + GR_TOKEN_LEASE_MS;
    return edge->lease_until_ms;
}

gr_forgetting *gr_forgetting_new(gr_token_index *t)
{
    gr_forgetting *f = gr_alloc(sizeof *f);
    f->number = ++t->next_number;
    f->next = t->forgetting;
    t->forgetting = f;
    return f;
}

void gr_token_forget_at_edges(gr_token_index *t, gr_ctx *ctx, gr_str hash, gr_forgetting *f)
{
    gr_token_forget body = {.hash = hash};
    for (size_t i = 0; i < t->edge_count; i++) {
        const gr_token_edge *edge = &t->edges[i];
        if (edge->lease_until_ms <= gr_ctx_now_ms(ctx)) continue;
        gr_resume resume = {.number = f ? f->number : 0};
        gr_ctx_ask(ctx, edge->address, &gr_type_token_forget, &body, edge->lease_until_ms - gr_ctx_now_ms(ctx), &resume);
        if (!f) continue;
        f->open++;
        if (f->until_ms < edge->lease_until_ms) f->until_ms = edge->lease_until_ms;
    }
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
        gr_token_pair pair = {gr_str_c(f->access), gr_str_c(f->refresh), f->expires_in_ms, 0};
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
        f->expires_in_ms = pair->expires_in_ms;
    }
    if (f->open == 0) answer(t, ctx, f);
    else gr_ctx_timer(ctx, GR_STR("lease"), f->until_ms, false);
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
    uint64_t next_ms = 0;
    for (gr_forgetting *f = t->forgetting, *next; f; f = next) {
        next = f->next;
        if (f->until_ms <= gr_ctx_now_ms(ctx)) answer(t, ctx, f);
        else if (!next_ms || f->until_ms < next_ms) next_ms = f->until_ms;
    }
    if (next_ms) gr_ctx_timer(ctx, GR_STR("lease"), next_ms, false);
}
