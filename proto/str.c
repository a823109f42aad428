/* str.c - views, buffers and arenas. See str.h. */
#include "proto/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void gr_assert_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "greenroom: assertion failed: %s (%s:%d, %s)\n", cond, file, line, func);
    abort();
}

static void *need(void *ptr, size_t size)
{
    if (ptr || size == 0) return ptr;
    fprintf(stderr, "greenroom: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *gr_alloc(size_t size) { return need(calloc(1, size ? size : 1), size); }
void *gr_realloc(void *ptr, size_t size) { return need(realloc(ptr, size ? size : 1), size); }

gr_str gr_str_c(const char *c) { return (gr_str){c, c ? strlen(c) : 0}; }
gr_str gr_str_of(const void *ptr, size_t size) { return (gr_str){ptr, size}; }

bool gr_str_eq(gr_str a, gr_str b) { return a.size == b.size && (a.size == 0 || memcmp(a.ptr, b.ptr, a.size) == 0); }
bool gr_str_is(gr_str a, const char *c) { return gr_str_eq(a, gr_str_c(c)); }

int gr_str_cmp(gr_str a, gr_str b)
{
    size_t both = a.size < b.size ? a.size : b.size;
    int order = both ? memcmp(a.ptr, b.ptr, both) : 0;
    if (order) return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

bool gr_str_starts(gr_str s, gr_str prefix) { return gr_str_eq(gr_str_head(s, prefix.size), prefix); }
bool gr_str_ends(gr_str s, gr_str suffix)
{
    return s.size >= suffix.size && gr_str_eq(gr_str_from(s, s.size - suffix.size), suffix);
}

gr_str gr_str_from(gr_str s, size_t offset)
{
    if (offset >= s.size) return (gr_str){0};
    return (gr_str){s.ptr + offset, s.size - offset};
}

gr_str gr_str_head(gr_str s, size_t size) { return (gr_str){s.ptr, s.size < size ? s.size : size}; }

ptrdiff_t gr_str_find(gr_str s, char c)
{
    const char *hit = s.size ? memchr(s.ptr, c, s.size) : NULL;
    return hit ? hit - s.ptr : -1;
}

/* Length of the UTF-8 sequence at p (at most left bytes), or 0 when it is malformed. RFC 3629. */
static size_t utf8_step(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0;
    if (p[0] == 0xed && p[1] > 0x9f) return 0;
    if (p[0] == 0xf0 && p[1] < 0x90) return 0;
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0;
    return n;
}

bool gr_str_utf8(gr_str s)
{
    for (size_t i = 0; i < s.size;) {
        size_t n = utf8_step((const unsigned char *)s.ptr + i, s.size - i);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

bool gr_str_u64(gr_str s, uint64_t *out)
{
    uint64_t n = 0;
    *out = 0;
    if (s.size == 0) return false;
    for (size_t i = 0; i < s.size; i++) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10) return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

bool gr_str_i64(gr_str s, int64_t *out)
{
    bool minus = s.size && s.ptr[0] == '-';
    uint64_t n = 0;
    *out = 0;
    if (!gr_str_u64(minus ? gr_str_from(s, 1) : s, &n) || n > INT64_MAX) return false;
    *out = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

uint64_t gr_str_hash(gr_str s)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < s.size; i++) h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

char *gr_str_dup(gr_str s)
{
    char *copy = gr_alloc(s.size + 1);
    if (s.size) memcpy(copy, s.ptr, s.size);
    return copy;
}

/* --- arenas ------------------------------------------------------------------------------------------------ */
typedef struct block block;
struct block {
    block *next;
    size_t room, used;
    max_align_t data[];
};

struct gr_arena {
    block *head;          /* the block being filled; older ones follow */
    size_t used;
};

enum { ARENA_BLOCK = 16 * 1024 };

static block *block_new(size_t room, block *next)
{
    block *b = need(malloc(sizeof *b + room), room);
    *b = (block){.next = next, .room = room};
    return b;
}

gr_arena *gr_arena_new(size_t first_block)
{
    gr_arena *a = gr_alloc(sizeof *a);
    a->head = block_new(first_block ? first_block : ARENA_BLOCK, NULL);
    return a;
}

void gr_arena_reset(gr_arena *a)
{
    while (a->head->next) {
        block *old = a->head->next;
        a->head->next = old->next;
        free(old);
    }
    if (a->head->room > 64 * ARENA_BLOCK) {     /* one large message must not keep its memory for ever */
        free(a->head);
        a->head = block_new(ARENA_BLOCK, NULL);
    }
    a->head->used = 0;
    a->used = 0;
}

void gr_arena_free(gr_arena **a)
{
    if (!*a) return;
    for (block *b = (*a)->head; b;) {
        block *next = b->next;
        free(b);
        b = next;
    }
    free(*a);
    *a = NULL;
}

size_t gr_arena_used(const gr_arena *a) { return a->used; }

void *gr_arena_alloc(gr_arena *a, size_t size)
{
    size_t step = (size + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
    gr_assert(step >= size);
    block *b = a->head;
    if (b->room - b->used < step) {
        size_t room = b->room * 2 < 16 * ARENA_BLOCK ? b->room * 2 : 16 * ARENA_BLOCK;
        b = a->head = block_new(room < step ? step : room, b);
    }
    void *p = (char *)b->data + b->used;
    b->used += step;
    a->used += step;
    memset(p, 0, step);
    return p;
}

gr_str gr_arena_str(gr_arena *a, gr_str s)
{
    char *copy = gr_arena_alloc(a, s.size + 1);
    if (s.size) memcpy(copy, s.ptr, s.size);
    return (gr_str){copy, s.size};
}

gr_str gr_arena_vprintf(gr_arena *a, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    gr_assert(size >= 0);
    char *out = gr_arena_alloc(a, (size_t)size + 1);
    vsnprintf(out, (size_t)size + 1, format, args);
    return (gr_str){out, (size_t)size};
}

gr_str gr_arena_printf(gr_arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gr_str out = gr_arena_vprintf(a, format, args);
    va_end(args);
    return out;
}

gr_str gr_arena_cat(gr_arena *a, size_t count, const gr_str *parts)
{
    size_t size = 0, at = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].size;
    char *out = gr_arena_alloc(a, size + 1);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size) memcpy(out + at, parts[i].ptr, parts[i].size);
        at += parts[i].size;
    }
    return (gr_str){out, size};
}

gr_str gr_arena_lower(gr_arena *a, gr_str text)
{
    char *out = gr_arena_alloc(a, text.size + 1);
    for (size_t i = 0; i < text.size; i++)
        out[i] = text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? (char)(text.ptr[i] + ('a' - 'A')) : text.ptr[i];
    return gr_str_of(out, text.size);
}

gr_str gr_arena_key(gr_arena *a, char letter, uint64_t number)
{
    char *key = gr_arena_alloc(a, 9);
    key[0] = letter;
    for (int i = 0; i < 8; i++) key[1 + i] = (char)(number >> (56 - 8 * i));
    return gr_str_of(key, 9);
}

/* --- growable buffers -------------------------------------------------------------------------------------- */
static char *buf_grow(gr_buf *b, size_t more)
{
    if (b->room - b->size < more) {
        size_t room = b->room ? b->room * 2 : 256;
        while (room - b->size < more) room *= 2;
        b->ptr = gr_realloc(b->ptr, room);
        b->room = room;
    }
    return b->ptr + b->size;
}

void gr_buf_add(gr_buf *b, const void *ptr, size_t size)
{
    if (size == 0) return;
    memcpy(buf_grow(b, size), ptr, size);
    b->size += size;
}

void gr_buf_str(gr_buf *b, gr_str s) { gr_buf_add(b, s.ptr, s.size); }
void gr_buf_c(gr_buf *b, const char *c) { gr_buf_add(b, c, strlen(c)); }
void gr_buf_char(gr_buf *b, char c) { gr_buf_add(b, &c, 1); }

void gr_buf_printf(gr_buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    gr_assert(size >= 0);
    vsnprintf(buf_grow(b, (size_t)size + 1), (size_t)size + 1, format, args);
    b->size += (size_t)size;
    va_end(args);
}

void gr_buf_u32be(gr_buf *b, uint32_t n)
{
    char raw[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    gr_buf_add(b, raw, sizeof raw);
}

void gr_buf_u64be(gr_buf *b, uint64_t n)
{
    gr_buf_u32be(b, (uint32_t)(n >> 32));
    gr_buf_u32be(b, (uint32_t)n);
}

void gr_buf_varint(gr_buf *b, uint64_t n)
{
    for (; n >= 0x80; n >>= 7) gr_buf_char(b, (char)(n | 0x80));
    gr_buf_char(b, (char)n);
}

gr_str gr_buf_view(const gr_buf *b) { return (gr_str){b->ptr, b->size}; }
void gr_buf_clear(gr_buf *b) { b->size = 0; }

void gr_buf_free(gr_buf *b)
{
    free(b->ptr);
    *b = (gr_buf){0};
}

uint32_t gr_u32be(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

uint64_t gr_u64be(const char *p) { return (uint64_t)gr_u32be(p) << 32 | gr_u32be(p + 4); }

bool gr_str_varint(gr_str *rest, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; rest->size && shift < 64; shift += 7) {
        unsigned char byte = (unsigned char)*rest->ptr;
        *rest = gr_str_from(*rest, 1);
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}
