/* http_chunk.c - the chunked transfer coding. See http_chunk.h. */
#include "edge/http_chunk.h"

enum {
    SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF,       /* chunks */
    LINE_START, NAME, VALUE, LINE_LF, LAST_LF,              /* trailers */
    DONE, BAD
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool is_text(char c) { return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f); }

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int size_byte(gr_http_chunk *k, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        /* 15 digits are more than any body; one more could wrap the counter of a reader less careful. */
        if (++k->digits > 15) return BAD;
        k->left = k->left << 4 | (uint64_t)digit;
        return SIZE;
    }
    if (k->digits == 0) return BAD;
    return c == ';' ? EXTENSION : c == '\r' ? SIZE_LF : BAD;
}

/* The step after byte c, outside chunk data. */
static int step(gr_http_chunk *k, char c)
{
    switch (k->step) {
    case SIZE: return ++k->line > GR_HTTP_CHUNK_LINE_MAX ? BAD : size_byte(k, c);
    case EXTENSION:
        if (++k->line > GR_HTTP_CHUNK_LINE_MAX) return BAD;
        return c == '\r' ? SIZE_LF : is_text(c) ? EXTENSION : BAD;
    case SIZE_LF:
        k->line = 0;
        k->digits = 0;
        return c != '\n' ? BAD : k->left ? DATA : LINE_START;
    case DATA_CR: return c == '\r' ? DATA_LF : BAD;
    case DATA_LF: return c == '\n' ? SIZE : BAD;
    default: break;
    }
    if (++k->line > GR_HTTP_TRAILERS_MAX) return BAD;
    switch (k->step) {
    case LINE_START: return c == '\r' ? LAST_LF : is_name(c) ? NAME : BAD;
    case NAME: return c == ':' ? VALUE : is_name(c) ? NAME : BAD;
    case VALUE: return c == '\r' ? LINE_LF : is_text(c) ? VALUE : BAD;
    case LINE_LF: return c == '\n' ? LINE_START : BAD;
    case LAST_LF: return c == '\n' ? DONE : BAD;
    default: return BAD;
    }
}

gr_http_chunk_got gr_http_chunk_next(gr_http_chunk *k, gr_str *bytes, gr_str *piece)
{
    *piece = (gr_str){0};
    while (bytes->size) {
        if (k->step == DATA) {
            *piece = gr_str_head(*bytes, k->left < bytes->size ? (size_t)k->left : bytes->size);
            *bytes = gr_str_from(*bytes, piece->size);
            k->left -= piece->size;
            if (k->left == 0) k->step = DATA_CR;
            return GR_HTTP_CHUNK_DATA;
        }
        k->step = (uint8_t)step(k, bytes->ptr[0]);
        if (k->step == BAD) return GR_HTTP_CHUNK_BAD;
        *bytes = gr_str_from(*bytes, 1);
        if (k->step == DONE) return GR_HTTP_CHUNK_END;
    }
    return GR_HTTP_CHUNK_MORE;
}
