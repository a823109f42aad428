/* old_key.c - see old_key.h. */
#include "edge/old_key.h"

#include "proto/ident.h"
#include "proto/sign.h"

/* The text up to the next blank, and what follows it. */
static gr_str word(gr_str *rest)
{
    ptrdiff_t blank = gr_str_find(*rest, ' ');
    gr_str one = blank < 0 ? *rest : gr_str_head(*rest, (size_t)blank);
    *rest = gr_str_from(*rest, one.size + 1);
    return one;
}

gr_err gr_old_key_parse(gr_arena *arena, gr_str entry, gr_old_key *out)
{
    gr_str rest = entry, raw;
    *out = (gr_old_key){.id = word(&rest)};
    out->key = word(&rest);
    bool good = gr_ident_key(out->id) && gr_str_starts(out->id, GR_STR("ed25519:"))
        && gr_sign_decode(arena, out->key, GR_SIGN_PUBLIC, &raw) && gr_str_u64(rest, &out->expired_ms);
    if (good) return gr_ok();
    *out = (gr_old_key){0};
    return gr_failf(arena, GR_INVALID_PARAM,
                    "federation.old_keys: \"%" GR_FMT "\" is not `ed25519:NAME PUBLICKEY TIME`", GR_ARG(gr_str_head(entry, 200)));
}
