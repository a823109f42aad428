/* base64.c - unpadded base64 on libsodium's table-free codec. See base64.h. */
#include "proto/base64.h"

#include <sodium.h>

static gr_str encode(gr_arena *a, gr_str raw, int variant)
{
    gr_assert(raw.size <= GR_BASE64_MAX);
    size_t room = sodium_base64_encoded_len(raw.size, variant);      /* counts the NUL */
    char *out = gr_arena_alloc(a, room);
    sodium_bin2base64(out, room, (const unsigned char *)raw.ptr, raw.size, variant);
    return (gr_str){out, room - 1};
}

gr_str gr_base64(gr_arena *a, gr_str raw)
{
    return encode(a, raw, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

gr_str gr_base64_url(gr_arena *a, gr_str raw)
{
    return encode(a, raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* The text without its padding.  Padding must fill up to a multiple of four; otherwise *ok is false. */
static gr_str without_padding(gr_str text, bool *ok)
{
    size_t size = text.size;
    while (size && text.size - size < 2 && text.ptr[size - 1] == '=') size--;
    *ok = size == text.size || text.size % 4 == 0;
    return gr_str_head(text, size);
}

bool gr_base64_decode(gr_arena *a, gr_str text, gr_str *raw)
{
    bool padded_well;
    gr_str body = without_padding(text, &padded_well);
    *raw = (gr_str){0};
    if (text.size > GR_BASE64_MAX || !padded_well) return false;

    /* A text in which both alphabets are mixed fails in either variant. */
    bool url = gr_str_find(body, '-') >= 0 || gr_str_find(body, '_') >= 0;
    int variant = url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
    size_t room = body.size / 4 * 3 + 3, size = 0;
    unsigned char *out = gr_arena_alloc(a, room);
    const char *end = NULL;
    if (sodium_base642bin(out, room, body.ptr, body.size, NULL, &size, &end, variant) != 0) return false;
    if (end != body.ptr + body.size) return false;
    *raw = (gr_str){(const char *)out, size};
    return true;
}
