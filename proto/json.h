/* json.h - JSON as a tree in an arena, strict parsing, canonical printing, and a writer.
 *
 * Parsing is simdjson's; what the specification adds is checked here: no duplicate keys, a depth limit, and
 * with GR_JSON_CANONICAL integers within +-(2^53-1), no fractions and no exponents (appendices, "Canonical
 * JSON").  Strings keep \u0000.  Trees are read-only values; the writer builds new text.
 */
#pragma once
#include "proto/err.h"

enum {
    GR_JSON_DEPTH_MAX = 64,               /* arrays and objects inside each other */
    GR_JSON_SIZE_MAX = 128 * 1024 * 1024, /* bytes of one text; what carries it has lower limits of its own */
    GR_JSON_REAL_ROOM = 32,
    GR_JW_DEPTH_MAX = 32
};
#define GR_JSON_INT_MAX 9007199254740991LL

typedef enum {
    GR_JSON_NULL, GR_JSON_BOOL, GR_JSON_INT, GR_JSON_REAL, GR_JSON_STRING, GR_JSON_ARRAY, GR_JSON_OBJECT
} gr_json_kind;

typedef struct gr_json gr_json;
typedef struct gr_json_member gr_json_member;
struct gr_json {
    gr_json_kind kind;
    uint32_t count;                       /* items of an array, members of an object */
    union {
        bool boolean;
        int64_t integer;
        double real;
        gr_str string;
        const gr_json *items;
        const gr_json_member *members;    /* sorted by key (bytes, which is code point order) */
    };
};
struct gr_json_member { gr_str key; gr_json value; };

typedef enum {
    GR_JSON_LAX = 0,          /* reals and any int64 allowed: request bodies, account data */
    GR_JSON_CANONICAL = 1     /* what room versions 6 and later and signed objects allow */
} gr_json_mode;

/* Parses text into the arena.  *out points into the arena, never into text; strings have a NUL after them.
 * GR_NOT_JSON: not JSON, not UTF-8, half a surrogate pair, or a number no mode takes (past uint64 or double).
 * GR_BAD_JSON: duplicate key, too deep, or forbidden by the mode.  GR_TOO_LARGE: over GR_JSON_SIZE_MAX.
 * -0 is the integer 0; with GR_JSON_LAX an integer past int64 is a real. */
GR_MUST_USE gr_err gr_json_parse(gr_arena *, gr_str text, gr_json_mode, const gr_json **out);

/* Look-ups.  All accept NULL and a wrong kind, and then answer NULL / the default: chains need no checks. */
const gr_json *gr_json_get(const gr_json *object, const char *key);
const gr_json *gr_json_get_str(const gr_json *object, gr_str key);
const gr_json *gr_json_path(const gr_json *object, const char *path); /* as "content/m.x" */
bool gr_json_is(const gr_json *, gr_json_kind);
gr_str gr_json_string(const gr_json *);                     /* empty when it is none */
int64_t gr_json_integer(const gr_json *, int64_t otherwise);
bool gr_json_boolean(const gr_json *, bool otherwise);
gr_str gr_json_text(const gr_json *object, const char *key);               /* get + string */

/* Prints canonically: keys sorted, shortest escapes, no blanks.  Reals are printed shortest round-trip. */
void gr_json_print(gr_buf *, const gr_json *);
gr_str gr_json_printed(gr_arena *, const gr_json *);
/* As gr_json_print, leaving out the top-level members named in the NULL-ended list. */
void gr_json_print_without(gr_buf *, const gr_json *object, const char *const *left_out);
bool gr_json_equal(const gr_json *, const gr_json *);        /* 1 and 1.0 are equal; NULL equals only NULL */
/* The shortest decimal text that reads back as the same number, no NUL; answers its size.  Must be finite. */
size_t gr_json_real_text(double, char out[GR_JSON_REAL_ROOM]);

/* --- writer -----------------------------------------------------------------------------------------------
 * Appends JSON text to a buffer, commas by itself.  Depth at most GR_JW_DEPTH_MAX.  Asserts that keys, values
 * and brackets come in an order that gives JSON.  At depth 0 nothing comes between values. */
typedef struct {
    gr_buf *out;
    uint32_t depth;
    uint32_t first;                       /* bit per depth: nothing written there yet */
    uint32_t objects;                     /* bit per depth: an object, not an array */
    bool keyed;                           /* a key waits for its value */
} gr_jw;
gr_jw gr_jw_begin(gr_buf *out);
void gr_jw_object(gr_jw *);               /* { */
void gr_jw_array(gr_jw *);                /* [ */
void gr_jw_end_object(gr_jw *);
void gr_jw_end_array(gr_jw *);
void gr_jw_key(gr_jw *, const char *key);
void gr_jw_key_str(gr_jw *, gr_str key);
void gr_jw_str(gr_jw *, gr_str value);    /* must be UTF-8 */
void gr_jw_int(gr_jw *, int64_t value);
void gr_jw_bool(gr_jw *, bool value);
void gr_jw_null(gr_jw *);
void gr_jw_json(gr_jw *, const gr_json *);
void gr_jw_raw(gr_jw *, gr_str json_text);        /* already JSON: spliced unread */
/* key and value in one call */
void gr_jw_kstr(gr_jw *, const char *key, gr_str value);
void gr_jw_kc(gr_jw *, const char *key, const char *value);
void gr_jw_kint(gr_jw *, const char *key, int64_t value);
void gr_jw_kbool(gr_jw *, const char *key, bool value);
void gr_jw_kraw(gr_jw *, const char *key, gr_str json_text);
void gr_jw_kjson(gr_jw *, const char *key, const gr_json *value);
