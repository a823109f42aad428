/* token.c - tokens that route themselves. See token.h. */
#include "proto/token.h"

#include "proto/base64.h"
#include "proto/sha256.h"

enum { CHECK = 6 };                /* characters of base64: one mistyped token in 2^36 gets past */

static gr_str check_of(gr_arena *a, gr_str head)
{
    unsigned char hash[32];
    gr_sha256(head.ptr, head.size, hash);
    return gr_str_head(gr_base64_url(a, gr_str_of(hash, sizeof hash)), CHECK);
}

gr_str gr_token_make(gr_arena *a, gr_token_kind kind, uint8_t shard, const unsigned char random[GR_TOKEN_RANDOM])
{
    gr_str secret = gr_base64_url(a, gr_str_of(random, GR_TOKEN_RANDOM));
    gr_str head = gr_arena_printf(a, "gr%c_%u_%" GR_FMT, kind, shard, GR_ARG(secret));
    gr_str check = check_of(a, head);
    return gr_arena_cat(a, 3, (gr_str[]){head, GR_STR("_"), check});
}

bool gr_token_read(gr_str token, gr_token_kind kind, uint8_t *shard)
{
    *shard = 0;
    if (token.size < 8 + CHECK || token.size > GR_TOKEN_TEXT_MAX) return false;
    if (token.ptr[0] != 'g' || token.ptr[1] != 'r' || token.ptr[2] != (char)kind || token.ptr[3] != '_') return false;
    gr_str rest = gr_str_from(token, 4);
    ptrdiff_t end = gr_str_find(rest, '_');
    uint64_t number = 0;
    if (end <= 0 || !gr_str_u64(gr_str_head(rest, (size_t)end), &number) || number > 255) return false;
    gr_str head = gr_str_head(token, token.size - CHECK - 1);
    if (token.ptr[head.size] != '_') return false;
    gr_arena *scratch = gr_arena_new(256);
    bool good = gr_str_eq(check_of(scratch, head), gr_str_from(token, head.size + 1));
    gr_arena_free(&scratch);
    if (good) *shard = (uint8_t)number;
    return good;
}

void gr_token_hash(gr_str token, unsigned char hash[GR_TOKEN_HASH]) { gr_sha256(token.ptr, token.size, hash); }

gr_str gr_token_name(gr_arena *a, gr_str registration_token)
{
    unsigned char hash[GR_TOKEN_HASH];
    gr_token_hash(registration_token, hash);
    return gr_arena_cat(a, 2, (gr_str[]){GR_STR("name/regtoken/"), gr_base64_url(a, gr_str_of(hash, sizeof hash))});
}
