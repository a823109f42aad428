/* uri.c - writing paths and queries. See uri.h. */
#include "proto/uri.h"

gr_str gr_uri_encode(gr_arena *arena, gr_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = gr_arena_alloc(arena, text.size * 3 + 1);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
        if (plain) {
            out[size++] = (char)c;
            continue;
        }
        out[size++] = '%';
        out[size++] = digits[c >> 4];
        out[size++] = digits[c & 15];
    }
    return gr_str_of(out, size);
}
