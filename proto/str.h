/* str.h - views of bytes, growable buffers, and arenas.
 *
 * A gr_str is a view {ptr, size} of bytes owned by somebody else; it never promises a NUL.
 * A gr_buf grows on the heap.  A gr_arena hands out memory that is freed in one step.
 * Allocation that fails aborts with a message: limits on input are what keeps us from it.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A condition that only a bug of ours can break.  Stays on in release builds; prints where and stops. */
#define gr_assert(cond) ((cond) ? (void)0 : gr_assert_failed(#cond, __FILE__, __LINE__, __func__))
void gr_assert_failed(const char *cond, const char *file, int line, const char *func) __attribute__((noreturn));

/* malloc, realloc and strdup that abort when memory is out.  The caller frees with free(). */
void *gr_alloc(size_t size);                 /* zeroed */
void *gr_realloc(void *ptr, size_t size);

typedef struct { const char *ptr; size_t size; } gr_str;
typedef struct { gr_str *at; size_t count; } gr_strs;
typedef struct { uint64_t *at; size_t count; } gr_u64s;

#define GR_STR(literal) ((gr_str){"" literal "", sizeof(literal) - 1})
/* For printf: printf("%" GR_FMT, GR_ARG(s)). */
#define GR_FMT ".*s"
#define GR_ARG(s) (int)(s).size, (s).ptr ? (s).ptr : ""

gr_str gr_str_c(const char *c_string);                        /* a view of a C string; NULL gives the empty view */
gr_str gr_str_of(const void *ptr, size_t size);
static inline bool gr_str_empty(gr_str s) { return s.size == 0; }
bool gr_str_eq(gr_str a, gr_str b);
bool gr_str_is(gr_str a, const char *c_string);
int gr_str_cmp(gr_str a, gr_str b);                           /* by unsigned bytes, the order of LevelDB keys */
bool gr_str_starts(gr_str s, gr_str prefix);
bool gr_str_ends(gr_str s, gr_str suffix);
gr_str gr_str_from(gr_str s, size_t offset);                  /* the rest from offset; empty past the end */
gr_str gr_str_head(gr_str s, size_t size);                    /* at most the first size bytes */
ptrdiff_t gr_str_find(gr_str s, char c);                      /* index of the first c, or -1 */
bool gr_str_utf8(gr_str s);                                   /* is it well-formed UTF-8 (no surrogates, no overlongs) */
bool gr_str_u64(gr_str s, uint64_t *out);                     /* decimal digits only, no sign; false on overflow */
bool gr_str_i64(gr_str s, int64_t *out);
uint64_t gr_str_hash(gr_str s);                               /* fixed for ever: FNV-1a 64 with a final mix; not for secrets */
char *gr_str_dup(gr_str s);                                   /* NUL-terminated heap copy; the caller frees */
static inline gr_str gr_str_keep(gr_str s) { return (gr_str){gr_str_dup(s), s.size}; }    /* the same as a view */

/* --- arenas ------------------------------------------------------------------------------------------------ */
typedef struct gr_arena gr_arena;
gr_arena *gr_arena_new(size_t first_block);                   /* 0: a default of 16 KiB */
void gr_arena_reset(gr_arena *);                              /* forget everything, keep one block */
void gr_arena_free(gr_arena **);
size_t gr_arena_used(const gr_arena *);
void *gr_arena_alloc(gr_arena *, size_t size);                /* zeroed, aligned for any type */
gr_str gr_arena_str(gr_arena *, gr_str);                      /* a copy with a NUL after it */
gr_str gr_arena_printf(gr_arena *, const char *format, ...) __attribute__((format(printf, 2, 3)));
gr_str gr_arena_vprintf(gr_arena *, const char *format, va_list);
gr_str gr_arena_cat(gr_arena *, size_t count, const gr_str *parts);
gr_str gr_arena_lower(gr_arena *, gr_str);                    /* a copy; ASCII letters only */
gr_str gr_arena_key(gr_arena *, char letter, uint64_t number);        /* the letter, then 8 bytes big-endian: keys of rows */

/* --- growable buffers -------------------------------------------------------------------------------------- */
typedef struct { char *ptr; size_t size, room; } gr_buf;      /* {0} is an empty buffer */
void gr_buf_add(gr_buf *, const void *ptr, size_t size);
void gr_buf_str(gr_buf *, gr_str);
void gr_buf_c(gr_buf *, const char *c_string);
void gr_buf_char(gr_buf *, char);
void gr_buf_printf(gr_buf *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gr_buf_u32be(gr_buf *, uint32_t);                        /* big-endian, so that keys sort as numbers do */
void gr_buf_u64be(gr_buf *, uint64_t);
void gr_buf_varint(gr_buf *, uint64_t);                       /* 7 bits a byte, low first, high bit: more follows */
gr_str gr_buf_view(const gr_buf *);                           /* valid until the next change */
void gr_buf_clear(gr_buf *);                                  /* size 0, keeps the memory */
void gr_buf_free(gr_buf *);                                   /* frees and zeroes */
uint32_t gr_u32be(const char *p);
uint64_t gr_u64be(const char *p);
bool gr_str_varint(gr_str *rest, uint64_t *out);              /* takes one off the front; false: cut or too long */
