/* push_match.c - conditions of push rules: reading them, and whether they hold for an event. See push.h;
 * "Conditions". */
#include "proto/push_rule.h"

/* --- globs
 * --------------------------------------------------------------------------------------------------- */
/* The character at text[at], folded; *size is its bytes.  Bytes that are no UTF-8 count as characters by
 * themselves. */
static uint32_t character(gr_str text, size_t at, size_t *size)
{
    const unsigned char *p = (const unsigned char *)text.ptr + at;
    size_t left = text.size - at;
    *size = 1;
    if (p[0] < 0x80) return p[0] >= 'A' && p[0] <= 'Z' ? p[0] + 32u : p[0];
    size_t want = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (want > left) return p[0];
    uint32_t c = p[0] & (0xffu >> (want + 1));
    for (size_t i = 1; i < want; i++) c = c << 6 | (p[i] & 0x3fu);
    *size = want;
    if (c >= 0xc0 && c <= 0xde && c != 0xd7) return c + 32; /* Latin */
    if (c >= 0x100 && c <= 0x137) return c | 1;
    if (c >= 0x391 && c <= 0x3a9) return c + 32; /* Greek */
    if (c >= 0x410 && c <= 0x42f) return c + 32; /* Cyrillic */
    return c >= 0x400 && c <= 0x40f ? c + 80 : c;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool ends_well(gr_str text, size_t at, bool words)
{
    return at == text.size || (words && !is_word(text.ptr[at]));
}

typedef enum { FAILED_EARLY, FAILED, MATCHED } glob_end;

/* Matches from text[at] on.  FAILED_EARLY: the part before the first star does not stand here; after that
 * only the last star
 * has to be moved, because an earlier one could only give it less text. */
static glob_end glob_at(gr_str pattern, gr_str text, size_t at, bool words, bool literal)
{
    size_t p = 0, star = SIZE_MAX, star_at = 0, pattern_size, text_size;
    for (;;) {
        if (p == pattern.size && ends_well(text, at, words)) return MATCHED;
        if (p < pattern.size && pattern.ptr[p] == '*' && !literal) {
            star = ++p;
            star_at = at;
            continue;
        }
        if (p < pattern.size && at < text.size) {
            uint32_t wanted = character(pattern, p, &pattern_size), got = character(text, at, &text_size);
            if (wanted == got || (wanted == '?' && !literal)) {
                p += pattern_size;
                at += text_size;
                continue;
            }
        }
        if (star == SIZE_MAX) return FAILED_EARLY;
        if (star_at >= text.size) return FAILED;
        character(text, star_at, &text_size);
        star_at += text_size;
        p = star;
        at = star_at;
    }
}

bool gr_push_glob(gr_str pattern, gr_str text, bool words, bool literal)
{
    size_t size;
    glob_end end = glob_at(pattern, text, 0, words, literal);
    if (!words) return end == MATCHED;
    /* Once the part before the first star stood somewhere and the rest did not follow, it follows from
     * nowhere later. */
    for (size_t at = 0; end == FAILED_EARLY && at < text.size;) {
        bool boundary = !is_word(text.ptr[at]);
        character(text, at, &size);
        at += size;
        if (boundary) end = glob_at(pattern, text, at, true, literal);
    }
    return end == MATCHED;
}

/* --- holding
 * ------------------------------------------------------------------------------------------------- */
static const gr_json *property(const gr_push_condition *c, const gr_json *event)
{
    for (size_t i = 0; event && i < c->path_count; i++) event = gr_json_get_str(event, c->path[i]);
    return event;
}

static bool is_body(const gr_push_condition *c)
{
    return c->path_count == 2 && gr_str_is(c->path[1], "body") && gr_str_is(c->path[0], "content");
}

static bool same(const gr_push_condition *c, gr_str user, const gr_json *value)
{
    if (c->value) return value->kind == c->value->kind && gr_json_equal(value, c->value);
    gr_str wanted = c->of_reader ? user : c->pattern;
    return wanted.size && gr_json_is(value, GR_JSON_STRING) && gr_str_eq(value->string, wanted);
}

static bool match_holds(const gr_push_condition *c, gr_str user, const gr_json *value)
{
    if (!gr_json_is(value, GR_JSON_STRING)) return false;
    if (c->of_reader) return user.size && gr_str_eq(value->string, user);
    return gr_push_glob(c->pattern, value->string, is_body(c), false);
}

static bool contains_holds(const gr_push_condition *c, gr_str user, const gr_json *value)
{
    if (!gr_json_is(value, GR_JSON_ARRAY)) return false;
    for (uint32_t i = 0; i < value->count; i++)
        if (same(c, user, &value->items[i])) return true;
    return false;
}

static bool count_holds(const gr_push_condition *c, uint64_t members)
{
    switch (c->compare) {
    case GR_PUSH_LT: return members < c->number;
    case GR_PUSH_GT: return members > c->number;
    case GR_PUSH_LE: return members <= c->number;
    case GR_PUSH_GE: return members >= c->number;
    default: return members == c->number;
    }
}

bool gr_push_holds(const gr_push_condition *c, const gr_push_rules *rules, const gr_json *event,
                   const gr_push_who *who)
{
    const gr_json *value;
    switch (c->test) {
    case GR_PUSH_MATCH: return match_holds(c, rules->user, property(c, event));
    case GR_PUSH_IS: return (value = property(c, event)) && same(c, rules->user, value);
    case GR_PUSH_CONTAINS: return contains_holds(c, rules->user, property(c, event));
    case GR_PUSH_DISPLAY_NAME:
        value = gr_json_get(gr_json_get(event, "content"), "body");
        return who->displayname.size && gr_json_is(value, GR_JSON_STRING)
               && gr_push_glob(who->displayname, value->string, true, true);
    case GR_PUSH_MEMBER_COUNT: return count_holds(c, who->members);
    case GR_PUSH_SENDER_POWER: return who->sender_power >= who->room_notify_power;
    default: return false;
    }
}

/* --- reading
 * ------------------------------------------------------------------------------------------------- */
/* "Dot-separated property paths": a backslash before a dot or a backslash takes its meaning away. False:
 * too many parts. */
static bool split_path(gr_arena *a, gr_str key, gr_push_condition *c)
{
    gr_str *parts = gr_arena_alloc(a, GR_PUSH_PATH_MAX * sizeof *parts);
    char *text = gr_arena_alloc(a, key.size + 1);
    size_t count = 0, begin = 0, size = 0;
    for (size_t i = 0; i < key.size; i++) {
        char ch = key.ptr[i];
        if (ch == '\\' && i + 1 < key.size && (key.ptr[i + 1] == '.' || key.ptr[i + 1] == '\\')) {
            text[size++] = key.ptr[++i];
        } else if (ch == '.') {
            if (count + 1 == GR_PUSH_PATH_MAX) return false;
            parts[count++] = gr_str_of(text + begin, size - begin);
            begin = size;
        } else {
            text[size++] = ch;
        }
    }
    parts[count++] = gr_str_of(text + begin, size - begin);
    c->key = key;
    c->path = parts;
    c->path_count = count;
    return true;
}

/* event_property_* know only strings, integers of canonical JSON, booleans and null. */
static bool is_simple(const gr_json *v)
{
    if (!v) return false;
    if (v->kind == GR_JSON_INT) return v->integer <= GR_JSON_INT_MAX && v->integer >= -GR_JSON_INT_MAX;
    return v->kind == GR_JSON_STRING || v->kind == GR_JSON_BOOL || v->kind == GR_JSON_NULL;
}

static bool read_count(gr_str is, gr_push_condition *c)
{
    static const struct {
        const char *sign;
        gr_push_compare compare;
    } signs[] = {{"==", GR_PUSH_EQ}, {"<=", GR_PUSH_LE}, {">=", GR_PUSH_GE},
                 {"<", GR_PUSH_LT},  {">", GR_PUSH_GT},  {"", GR_PUSH_EQ}};
    size_t i = 0;
    while (!gr_str_starts(is, gr_str_c(signs[i].sign))) i++;
    c->compare = signs[i].compare;
    return gr_str_u64(gr_str_from(is, strlen(signs[i].sign)), &c->number);
}

static gr_push_condition never(void) { return (gr_push_condition){.test = GR_PUSH_NEVER}; }

gr_push_condition gr_push_condition_read(gr_arena *a, const gr_json *json)
{
    gr_push_condition c = {0};
    gr_str kind = gr_json_text(json, "kind"), key = gr_json_text(json, "key");
    if (gr_str_is(kind, "event_match")) {
        const gr_json *pattern = gr_json_get(json, "pattern");
        c.test = GR_PUSH_MATCH;
        c.pattern = gr_json_string(pattern);
        return gr_json_is(pattern, GR_JSON_STRING) && key.size && split_path(a, key, &c) ? c : never();
    }
    if (gr_str_is(kind, "event_property_is") || gr_str_is(kind, "event_property_contains")) {
        c.test = gr_str_is(kind, "event_property_is") ? GR_PUSH_IS : GR_PUSH_CONTAINS;
        c.value = gr_json_get(json, "value");
        return is_simple(c.value) && key.size && split_path(a, key, &c) ? c : never();
    }
    if (gr_str_is(kind, "contains_display_name")) return (gr_push_condition){.test = GR_PUSH_DISPLAY_NAME};
    if (gr_str_is(kind, "room_member_count")) {
        c.test = GR_PUSH_MEMBER_COUNT;
        return read_count(gr_json_text(json, "is"), &c) ? c : never();
    }
    /* Of the levels in "notifications" only the one for the room is known here. */
    if (gr_str_is(kind, "sender_notification_permission") && gr_str_is(key, "room"))
        return (gr_push_condition){.test = GR_PUSH_SENDER_POWER, .key = key};
    return never();
}

gr_push_condition gr_push_condition_of(gr_push_kind kind, gr_str rule_id, gr_str pattern)
{
    static const gr_str body[] = {{"content", 7}, {"body", 4}}, room[] = {{"room_id", 7}},
                        sender[] = {{"sender", 6}};
    if (kind == GR_PUSH_CONTENT)
        return (gr_push_condition){.test = GR_PUSH_MATCH, .path = body, .path_count = 2, .pattern = pattern};
    return (gr_push_condition){.test = GR_PUSH_IS,
                               .path = kind == GR_PUSH_ROOM ? room : sender,
                               .path_count = 1,
                               .pattern = rule_id};
}
