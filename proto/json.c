/* json.c - look-ups in a JSON tree, canonical printing, and the writer. See json.h; json_parse.cc parses. */
#include "proto/json.h"

/* --- look-ups ---------------------------------------------------------------------------------------- */
bool gr_json_is(const gr_json *v, gr_json_kind kind) { return v && v->kind == kind; }

const gr_json *gr_json_get_str(const gr_json *object, gr_str key)
{
    if (!gr_json_is(object, GR_JSON_OBJECT)) return NULL;
    size_t low = 0, high = object->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = gr_str_cmp(object->members[middle].key, key);
        if (order == 0) return &object->members[middle].value;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

const gr_json *gr_json_get(const gr_json *object, const char *key)
{
    return gr_json_get_str(object, gr_str_c(key));
}

const gr_json *gr_json_path(const gr_json *object, const char *path)
{
    gr_str rest = gr_str_c(path);
    for (;;) {
        ptrdiff_t slash = gr_str_find(rest, '/');
        if (slash < 0) return gr_json_get_str(object, rest);
        object = gr_json_get_str(object, gr_str_head(rest, (size_t)slash));
        rest = gr_str_from(rest, (size_t)slash + 1);
    }
}

gr_str gr_json_string(const gr_json *v) { return gr_json_is(v, GR_JSON_STRING) ? v->string : (gr_str){0}; }
int64_t gr_json_integer(const gr_json *v, int64_t otherwise)
{
    return gr_json_is(v, GR_JSON_INT) ? v->integer : otherwise;
}
bool gr_json_boolean(const gr_json *v, bool otherwise)
{
    return gr_json_is(v, GR_JSON_BOOL) ? v->boolean : otherwise;
}

gr_str gr_json_text(const gr_json *object, const char *key)
{
    return gr_json_string(gr_json_get(object, key));
}

static bool numbers_equal(const gr_json *a, const gr_json *b)
{
    if (a->kind == GR_JSON_REAL && b->kind == GR_JSON_REAL) return a->real == b->real;
    if (a->kind == GR_JSON_REAL) return numbers_equal(b, a);
    if (b->kind == GR_JSON_INT) return a->integer == b->integer;
    /* Compared as integers: a double can't tell large neighbours apart. */
    return b->real >= -0x1p63 && b->real < 0x1p63 && (double)(int64_t)b->real == b->real
        && (int64_t)b->real == a->integer;
}

static bool is_number(const gr_json *v) { return v->kind == GR_JSON_INT || v->kind == GR_JSON_REAL; }

bool gr_json_equal(const gr_json *a, const gr_json *b)
{
    if (!a || !b) return a == b;
    if (is_number(a) && is_number(b)) return numbers_equal(a, b);
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case GR_JSON_NULL: return true;
    case GR_JSON_BOOL: return a->boolean == b->boolean;
    case GR_JSON_STRING: return gr_str_eq(a->string, b->string);
    case GR_JSON_ARRAY:
        if (a->count != b->count) return false;
        for (uint32_t i = 0; i < a->count; i++)
            if (!gr_json_equal(&a->items[i], &b->items[i])) return false;
        return true;
    case GR_JSON_OBJECT:
        if (a->count != b->count) return false;
        for (uint32_t i = 0; i < a->count; i++)
            if (!gr_str_eq(a->members[i].key, b->members[i].key)
                || !gr_json_equal(&a->members[i].value, &b->members[i].value)) return false;
        return true;
    case GR_JSON_INT:
    case GR_JSON_REAL: break;
    }
    return false;
}

/* --- printing ---------------------------------------------------------------------------------------- */
/* Grows here and not by a call for every piece: printing is done for each event that passes. */
static char *room(gr_buf *out, size_t more)
{
    if (out->room - out->size < more) {
        size_t wanted = out->room ? out->room * 2 : 1024;
        while (wanted - out->size < more) wanted *= 2;
        out->ptr = gr_realloc(out->ptr, wanted);
        out->room = wanted;
    }
    return out->ptr + out->size;
}

static inline void put_char(gr_buf *out, char c)
{
    *room(out, 1) = c;
    out->size++;
}

static inline void put(gr_buf *out, const char *ptr, size_t size)
{
    if (size == 0) return;
    memcpy(room(out, size), ptr, size);
    out->size += size;
}

#define EACH_BYTE(n) (0x0101010101010101u * (n))

/* Is one of eight bytes a control character, a quote or a backslash? */
static inline bool eight_need_escape(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    uint64_t quote = x ^ EACH_BYTE('"'), slash = x ^ EACH_BYTE('\\');
    uint64_t control = (x - EACH_BYTE(0x20)) & ~x;
    uint64_t quoting = ((quote - EACH_BYTE(1)) & ~quote) | ((slash - EACH_BYTE(1)) & ~slash);
    return ((control | quoting) & EACH_BYTE(0x80)) != 0;
}

static inline bool needs_escape(char c) { return (unsigned char)c < 0x20 || c == '"' || c == '\\'; }

static void put_escape(gr_buf *out, char c)
{
    static const char shorts[0x20] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char pair = c == '"' || c == '\\' ? c : shorts[(unsigned char)c];
    if (pair) {
        put(out, (char[2]){'\\', pair}, 2);
    } else {
        unsigned char low = (unsigned char)c;
        put(out, (char[6]){'\\', 'u', '0', '0', (char)('0' + (low >> 4)), "0123456789abcdef"[low & 15]}, 6);
    }
}

static void put_string(gr_buf *out, gr_str s)
{
    room(out, s.size + 2);
    put_char(out, '"');
    size_t done = 0, i = 0;
    while (i < s.size) {
        if (s.size - i >= 8 && !eight_need_escape(s.ptr + i)) {
            i += 8;
            continue;
        }
        size_t end = s.size - i >= 8 ? i + 8 : s.size;
        for (; i < end; i++) {
            if (!needs_escape(s.ptr[i])) continue;
            put(out, s.ptr + done, i - done);
            put_escape(out, s.ptr[i]);
            done = i + 1;
        }
    }
    if (done < s.size) put(out, s.ptr + done, s.size - done);      /* an empty view may have no bytes to point at */
    put_char(out, '"');
}

static void put_integer(gr_buf *out, int64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0) digits[--at] = '-';
    put(out, digits + at, sizeof digits - at);
}

static void put_real(gr_buf *out, double n)
{
    char *at = room(out, GR_JSON_REAL_ROOM);
    out->size += gr_json_real_text(n, at);
}

static bool listed(gr_str key, const char *const *list)
{
    for (; list && *list; list++)
        if (gr_str_is(key, *list)) return true;
    return false;
}

void gr_json_print_without(gr_buf *out, const gr_json *object, const char *const *left_out)
{
    if (object->kind != GR_JSON_OBJECT) {
        gr_json_print(out, object);
        return;
    }
    char before = '{';
    for (uint32_t i = 0; i < object->count; i++) {
        const gr_json_member *m = &object->members[i];
        if (left_out && listed(m->key, left_out)) continue;
        put_char(out, before);
        put_string(out, m->key);
        put_char(out, ':');
        gr_json_print(out, &m->value);
        before = ',';
    }
    if (before == '{') put_char(out, '{');
    put_char(out, '}');
}

void gr_json_print(gr_buf *out, const gr_json *v)
{
    switch (v->kind) {
    case GR_JSON_NULL: put(out, "null", 4); return;
    case GR_JSON_BOOL: v->boolean ? put(out, "true", 4) : put(out, "false", 5); return;
    case GR_JSON_INT: put_integer(out, v->integer); return;
    case GR_JSON_REAL: put_real(out, v->real); return;
    case GR_JSON_STRING: put_string(out, v->string); return;
    case GR_JSON_ARRAY:
        put_char(out, '[');
        for (uint32_t i = 0; i < v->count; i++) {
            if (i) put_char(out, ',');
            gr_json_print(out, &v->items[i]);
        }
        put_char(out, ']');
        return;
    case GR_JSON_OBJECT: gr_json_print_without(out, v, NULL); return;
    }
}

gr_str gr_json_printed(gr_arena *a, const gr_json *v)
{
    gr_buf out = {0};
    gr_json_print(&out, v);
    gr_str kept = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return kept;
}

/* --- writer ------------------------------------------------------------------------------------------ */
static uint32_t level(const gr_jw *w) { return 1u << (w->depth - 1); }
static bool in_object(const gr_jw *w) { return w->depth && w->objects & level(w); }

static void comma(gr_jw *w)
{
    if (w->first & level(w)) w->first &= ~level(w);
    else put_char(w->out, ',');
}

/* What goes before any value: nothing after a key, a comma between items. */
static void value(gr_jw *w)
{
    gr_assert(w->keyed == in_object(w));
    if (w->depth && !w->keyed) comma(w);
    w->keyed = false;
}

static void open_scope(gr_jw *w, char bracket, bool object)
{
    value(w);
    gr_assert(w->depth < GR_JW_DEPTH_MAX);
    put_char(w->out, bracket);
    w->depth++;
    w->first |= level(w);
    if (object) w->objects |= level(w);
    else w->objects &= ~level(w);
}

static void close_scope(gr_jw *w, char bracket)
{
    gr_assert(w->depth > 0 && !w->keyed && in_object(w) == (bracket == '}'));
    put_char(w->out, bracket);
    w->depth--;
}

gr_jw gr_jw_begin(gr_buf *out) { return (gr_jw){.out = out}; }
void gr_jw_object(gr_jw *w) { open_scope(w, '{', true); }
void gr_jw_array(gr_jw *w) { open_scope(w, '[', false); }
void gr_jw_end_object(gr_jw *w) { close_scope(w, '}'); }
void gr_jw_end_array(gr_jw *w) { close_scope(w, ']'); }

void gr_jw_key_str(gr_jw *w, gr_str key)
{
    gr_assert(in_object(w) && !w->keyed);
    comma(w);
    put_string(w->out, key);
    put_char(w->out, ':');
    w->keyed = true;
}

void gr_jw_key(gr_jw *w, const char *key) { gr_jw_key_str(w, gr_str_c(key)); }

void gr_jw_str(gr_jw *w, gr_str v) { value(w); put_string(w->out, v); }
void gr_jw_int(gr_jw *w, int64_t v) { value(w); put_integer(w->out, v); }
void gr_jw_bool(gr_jw *w, bool v) { value(w); v ? put(w->out, "true", 4) : put(w->out, "false", 5); }
void gr_jw_null(gr_jw *w) { value(w); put(w->out, "null", 4); }
void gr_jw_json(gr_jw *w, const gr_json *v) { value(w); gr_json_print(w->out, v); }

void gr_jw_raw(gr_jw *w, gr_str json_text)
{
    gr_assert(json_text.size);            /* no text is no value */
    value(w);
    put(w->out, json_text.ptr, json_text.size);
}

void gr_jw_kstr(gr_jw *w, const char *key, gr_str v) { gr_jw_key(w, key); gr_jw_str(w, v); }
void gr_jw_kc(gr_jw *w, const char *key, const char *v) { gr_jw_key(w, key); gr_jw_str(w, gr_str_c(v)); }
void gr_jw_kint(gr_jw *w, const char *key, int64_t v) { gr_jw_key(w, key); gr_jw_int(w, v); }
void gr_jw_kbool(gr_jw *w, const char *key, bool v) { gr_jw_key(w, key); gr_jw_bool(w, v); }
void gr_jw_kraw(gr_jw *w, const char *key, gr_str json_text) { gr_jw_key(w, key); gr_jw_raw(w, json_text); }
void gr_jw_kjson(gr_jw *w, const char *key, const gr_json *v) { gr_jw_key(w, key); gr_jw_json(w, v); }
