/* printable.c - see printable.h. */
#include "proto/printable.h"

size_t gr_printable_at(gr_str s, size_t i)
{
    unsigned char b = (unsigned char)s.ptr[i];
    if (b >= ' ' && b < 127) return 1;
    for (size_t size = 2; b >= 0xc2 && size <= 4 && i + size <= s.size; size++)
        if (gr_str_utf8(gr_str_of(s.ptr + i, size))) {
            unsigned char second = (unsigned char)s.ptr[i + 1],
                          third = size > 2 ? (unsigned char)s.ptr[i + 2] : 0;
            bool control = b == 0xc2 && second < 0xa0;
            bool turns =
                b == 0xe2
                && ((second == 0x80 && third >= 0xaa && third <= 0xae) || (second == 0x81 && third >= 0xa6));
            return control || turns ? 0 : size;
        }
    return 0;
}

void gr_printable_add(gr_buf *b, gr_str s)
{
    for (size_t i = 0, size; i < s.size; i += size) {
        size = gr_printable_at(s, i);
        if (size) gr_buf_add(b, s.ptr + i, size);
        else gr_buf_printf(b, "\\x%02x", (unsigned char)s.ptr[i]);
        size += !size;
    }
}
