/* json_parse.cc - simdjson behind gr_json_parse: from its document to a tree in the arena. See json.h.
 *
 * The only C++ file of this floor.  simdjson is called through its error codes; nothing here throws.
 */
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <simdjson.h>

extern "C" {
#include "proto/json.h"
}

namespace {

namespace dom = simdjson::dom;

/* A thread keeps the memory for texts up to this size; what a larger one needed is given back after it. */
constexpr size_t kept_capacity = 1024 * 1024;
/* simdjson counts the members of a scope no further than this. */
constexpr size_t scope_count_max = 0xffffff;
constexpr char too_deep[] = "Arrays and objects are nested too deeply.";

/* What a thread reuses: simdjson's tape, and the copy of the text with the padding its wide loads need. */
struct reader {
    dom::parser parser{GR_JSON_SIZE_MAX};
    char *padded = nullptr;
    size_t room = 0;

    void forget()
    {
        free(padded);
        padded = nullptr;
        room = 0;
    }

    const char *pad(gr_str text)
    {
        size_t wanted = std::max<size_t>(text.size, 4096) + simdjson::SIMDJSON_PADDING;
        if (room < wanted) {
            forget();
            padded = static_cast<char *>(gr_realloc(nullptr, wanted));
            room = wanted;
        }
        memcpy(padded, text.ptr, text.size);
        memset(padded + text.size, ' ', simdjson::SIMDJSON_PADDING);
        return padded;
    }

    /* One level more than we allow: the exact limit is checked on the tree, where empty containers count. */
    simdjson::error_code prepare(size_t size)
    {
        if (size <= parser.capacity()) return simdjson::SUCCESS;
        return parser.allocate(std::max<size_t>(size, 4096), GR_JSON_DEPTH_MAX + 1);
    }

    void trim()
    {
        if (parser.capacity() <= kept_capacity) return;
        parser = dom::parser{GR_JSON_SIZE_MAX};
        forget();
    }

    ~reader() { forget(); }
};

/* One conversion.  All strings go to one piece of the arena: decoded and with a NUL they never exceed the
 * text, because the two quotes around each leave room for it. */
struct tree {
    gr_arena *arena;
    gr_json_mode mode;
    char *strings;
    gr_err error;

    bool refuse(gr_errcode code, const char *text)
    {
        error = gr_fail(code, text);
        return false;
    }

    gr_str keep(std::string_view view)
    {
        gr_str kept = {strings, view.size()};
        memcpy(strings, view.data(), view.size());
        strings += view.size() + 1;                     /* the arena's memory is zeroed */
        return kept;
    }

    bool integer(gr_json *out, int64_t n)
    {
        if (mode == GR_JSON_CANONICAL && (n > GR_JSON_INT_MAX || n < -GR_JSON_INT_MAX))
            return refuse(GR_BAD_JSON, "An integer is outside the range -(2^53)+1 to (2^53)-1.");
        out->kind = GR_JSON_INT;
        out->integer = n;
        return true;
    }

    bool real(gr_json *out, double n)
    {
        if (mode == GR_JSON_CANONICAL)
            return refuse(GR_BAD_JSON, "A number is not a plainly written integer of at most 53 bits.");
        out->kind = GR_JSON_REAL;
        out->real = n;
        return true;
    }

    template <typename T> static size_t count(const T &scope)
    {
        size_t n = scope.size();
        if (n < scope_count_max) return n;
        n = 0;
        for (auto each : scope) {
            (void)each;
            n++;
        }
        return n;
    }

    bool array(gr_json *out, dom::array from, unsigned depth)
    {
        size_t n = count(from);
        auto *items = static_cast<gr_json *>(gr_arena_alloc(arena, n * sizeof(gr_json)));
        out->kind = GR_JSON_ARRAY;
        out->count = static_cast<uint32_t>(n);
        out->items = items;
        for (dom::element each : from)
            if (!value(items++, each, depth)) return false;
        return true;
    }

    static bool before(const gr_json_member &a, const gr_json_member &b)
    {
        int order = memcmp(a.key.ptr, b.key.ptr, std::min(a.key.size, b.key.size));
        return order ? order < 0 : a.key.size < b.key.size;
    }

    bool twice(gr_str key)
    {
        if (key.size > 100 || memchr(key.ptr, 0, key.size))
            return refuse(GR_BAD_JSON, "A key occurs twice in one object.");
        error = gr_failf(arena, GR_BAD_JSON, "The key \"%" GR_FMT "\" occurs twice in one object.",
                         GR_ARG(key));
        return false;
    }

    bool object(gr_json *out, dom::object from, unsigned depth)
    {
        size_t n = count(from);
        auto *members = static_cast<gr_json_member *>(gr_arena_alloc(arena, n * sizeof(gr_json_member)));
        out->kind = GR_JSON_OBJECT;
        out->count = static_cast<uint32_t>(n);
        out->members = members;
        gr_json_member *end = members;
        for (dom::key_value_pair each : from) {
            end->key = keep(each.key);
            if (!value(&end->value, each.value, depth)) return false;
            end++;
        }
        if (!std::is_sorted(members, end, before)) std::sort(members, end, before);
        for (gr_json_member *m = members; n > 1 && m < end - 1; m++)
            if (!before(m[0], m[1])) return twice(m->key);
        return true;
    }

    bool value(gr_json *out, dom::element from, unsigned depth)
    {
        switch (from.type()) {
        case dom::element_type::NULL_VALUE: out->kind = GR_JSON_NULL; return true;
        case dom::element_type::BOOL:
            out->kind = GR_JSON_BOOL;
            out->boolean = from.get_bool().value_unsafe();
            return true;
        case dom::element_type::INT64: return integer(out, from.get_int64().value_unsafe());
        case dom::element_type::UINT64:
            return real(out, static_cast<double>(from.get_uint64().value_unsafe()));
        case dom::element_type::DOUBLE: return real(out, from.get_double().value_unsafe());
        case dom::element_type::STRING:
            out->kind = GR_JSON_STRING;
            out->string = keep(from.get_string().value_unsafe());
            return true;
        default: break;
        }
        if (depth >= GR_JSON_DEPTH_MAX) return refuse(GR_BAD_JSON, too_deep);
        if (from.type() == dom::element_type::ARRAY)
            return array(out, from.get_array().value_unsafe(), depth + 1);
        return object(out, from.get_object().value_unsafe(), depth + 1);
    }
};

gr_err explain(simdjson::error_code code)
{
    switch (code) {
    case simdjson::DEPTH_ERROR: return gr_fail(GR_BAD_JSON, too_deep);
    case simdjson::EMPTY: return gr_fail(GR_NOT_JSON, "There is no JSON, only an empty text.");
    case simdjson::UTF8_ERROR: return gr_fail(GR_NOT_JSON, "The JSON is not valid UTF-8.");
    case simdjson::NUMBER_ERROR:
        return gr_fail(GR_NOT_JSON, "The JSON has a number that is malformed or too large.");
    case simdjson::STRING_ERROR:
        return gr_fail(GR_NOT_JSON, "The JSON has a malformed escape or half a surrogate pair in a string.");
    case simdjson::UNESCAPED_CHARS:
        return gr_fail(GR_NOT_JSON, "The JSON has a control character in a string that must be escaped.");
    case simdjson::UNCLOSED_STRING: return gr_fail(GR_NOT_JSON, "The JSON ends inside a string.");
    default: return gr_fail(GR_NOT_JSON, "The text is not JSON.");
    }
}

gr_err convert(gr_arena *arena, size_t size, gr_json_mode mode, dom::element root, const gr_json **out)
{
    tree t{arena, mode, static_cast<char *>(gr_arena_alloc(arena, size)), gr_ok()};
    auto *top = static_cast<gr_json *>(gr_arena_alloc(arena, sizeof(gr_json)));
    if (!t.value(top, root, 0)) return t.error;
    *out = top;
    return gr_ok();
}

} // namespace

extern "C" gr_err gr_json_parse(gr_arena *arena, gr_str text, gr_json_mode mode, const gr_json **out)
{
    thread_local reader local;
    *out = nullptr;
    if (text.size == 0) return explain(simdjson::EMPTY);
    if (text.size > GR_JSON_SIZE_MAX) return gr_fail(GR_TOO_LARGE, "The JSON is too large.");
    gr_assert(local.prepare(text.size) == simdjson::SUCCESS);      /* it fails only when memory is out */
    dom::element root;
    simdjson::error_code code = local.parser.parse(local.pad(text), text.size, false).get(root);
    gr_err error = code ? explain(code) : convert(arena, text.size, mode, root, out);
    local.trim();
    return error;
}

extern "C" size_t gr_json_real_text(double n, char out[GR_JSON_REAL_ROOM])
{
    gr_assert(std::isfinite(n));
    double size = std::fabs(n);
    if (size == 0) n = 0;                                          /* canonical JSON has no -0 */
    /* Plain digits only where they read back as an int64 or are few; past that integers would not parse. */
    bool plain = size == 0 || (size >= 1e-7 && size < 9.2e18);
    auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
    auto end = std::to_chars(out, out + GR_JSON_REAL_ROOM, n, format);
    gr_assert(end.ec == std::errc());
    return static_cast<size_t>(end.ptr - out);
}
