/* route.c - the tree of routes, and queries. See route.h. */
#include "edge/route.h"

#include <stdlib.h>

typedef struct node node;
typedef struct { gr_str name; node *to; } branch;

struct node {
    branch *branches;                      /* sorted by name */
    size_t count;
    node *any;                             /* a "{name}" segment */
    const gr_route *routes[GR_HTTP_METHOD_COUNT];
};

struct gr_route_tree { node *root; };

static const char *const method_names[GR_HTTP_METHOD_COUNT] = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "",
};

/* --- building ------------------------------------------------------------------------------------------- */
/* Index of the branch of that name, or of where it belongs. */
static size_t branch_place(const node *n, gr_str name, bool *found)
{
    size_t low = 0, high = n->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = gr_str_cmp(n->branches[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    *found = false;
    return low;
}

static node *branch_make(node *n, gr_str name)
{
    bool found;
    size_t at = branch_place(n, name, &found);
    if (found) return n->branches[at].to;
    n->branches = gr_realloc(n->branches, (n->count + 1) * sizeof *n->branches);
    memmove(n->branches + at + 1, n->branches + at, (n->count - at) * sizeof *n->branches);
    n->branches[at] = (branch){name, gr_alloc(sizeof(node))};
    n->count++;
    return n->branches[at].to;
}

/* The part before mark, which it leaves in *rest without the mark. */
static gr_str cut(gr_str *rest, char mark)
{
    ptrdiff_t at = gr_str_find(*rest, mark);
    gr_str part = at < 0 ? *rest : gr_str_head(*rest, (size_t)at);
    *rest = at < 0 ? (gr_str){0} : gr_str_of(rest->ptr + at + 1, rest->size - (size_t)at - 1);
    return part;
}

static void add_route(node *n, gr_str pattern, const gr_route *route)
{
    if (pattern.ptr == NULL) {
        gr_assert(route->method < GR_HTTP_OTHER);
        gr_assert(n->routes[route->method] == NULL);
        n->routes[route->method] = route;
        return;
    }
    gr_str segment = cut(&pattern, '/');
    if (segment.size > 2 && segment.ptr[0] == '{') {
        gr_assert(segment.ptr[segment.size - 1] == '}');
        if (!n->any) n->any = gr_alloc(sizeof *n->any);
        add_route(n->any, pattern, route);
    } else if (segment.size > 2 && segment.ptr[0] == '(') {
        gr_assert(segment.ptr[segment.size - 1] == ')');
        gr_str choices = gr_str_of(segment.ptr + 1, segment.size - 2);
        while (choices.ptr) add_route(branch_make(n, cut(&choices, '|')), pattern, route);
    } else {
        add_route(branch_make(n, segment), pattern, route);
    }
}

gr_route_tree *gr_route_tree_new(const gr_route *routes, size_t count)
{
    gr_route_tree *t = gr_alloc(sizeof *t);
    t->root = gr_alloc(sizeof *t->root);
    for (size_t i = 0; i < count; i++) {
        gr_str pattern = gr_str_c(routes[i].pattern);
        gr_assert(pattern.size && pattern.ptr[0] == '/');
        add_route(t->root, gr_str_of(pattern.ptr + 1, pattern.size - 1), &routes[i]);
    }
    return t;
}

static void free_node(node *n)
{
    if (!n) return;
    for (size_t i = 0; i < n->count; i++) free_node(n->branches[i].to);
    free_node(n->any);
    free(n->branches);
    free(n);
}

void gr_route_tree_free(gr_route_tree **tree)
{
    if (!*tree) return;
    free_node((*tree)->root);
    free(*tree);
    *tree = NULL;
}

/* --- decoding ------------------------------------------------------------------------------------------- */
static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool gr_route_decode(gr_arena *arena, gr_str raw, bool plus, gr_str *out)
{
    *out = raw;
    if (gr_str_find(raw, '%') >= 0 || (plus && gr_str_find(raw, '+') >= 0)) {
        char *to = gr_arena_alloc(arena, raw.size);
        size_t size = 0;
        for (size_t i = 0; i < raw.size; i++) {
            char c = raw.ptr[i];
            if (c == '%') {
                int high = i + 2 < raw.size ? hex(raw.ptr[i + 1]) : -1,
                    low = i + 2 < raw.size ? hex(raw.ptr[i + 2]) : -1;
                if (high < 0 || low < 0) return false;
                c = (char)(high << 4 | low);
                i += 2;
            } else if (c == '+' && plus) {
                c = ' ';
            }
            to[size++] = c;
        }
        *out = gr_str_of(to, size);
    }
    return gr_str_find(*out, 0) < 0 && gr_str_utf8(*out);
}

/* --- finding -------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str segments[GR_ROUTE_SEGMENTS_MAX];
    size_t count;
    gr_http_method method;
    unsigned allowed;
    const gr_route *route;
} search;

static bool leaf(search *s, const node *n)
{
    for (int m = 0; m < GR_HTTP_OTHER; m++)
        if (n->routes[m]) s->allowed |= 1u << m;
    s->route = n->routes[s->method];
    if (!s->route && s->method == GR_HTTP_HEAD) s->route = n->routes[GR_HTTP_GET];
    return s->route != NULL;
}

/* Depth is bounded by the segments of the longest pattern. */
static bool walk(search *s, const node *n, size_t depth)
{
    if (depth == s->count) return leaf(s, n);
    gr_str segment = s->segments[depth];
    bool found;
    size_t at = branch_place(n, segment, &found);
    if (found && walk(s, n->branches[at].to, depth + 1)) return true;
    bool may_be_any = segment.size || depth + 1 == s->count;
    return n->any && may_be_any && walk(s, n->any, depth + 1);
}

/* Names of the parameters, and their values, by going through the pattern beside the path. */
static void name_params(const search *s, gr_route_match *match)
{
    gr_str pattern = gr_str_c(s->route->pattern);
    cut(&pattern, '/');
    for (size_t i = 0; i < s->count; i++) {
        gr_str segment = cut(&pattern, '/');
        if (segment.size <= 2 || segment.ptr[0] != '{') continue;
        gr_assert(match->count < GR_ROUTE_PARAMS_MAX);
        match->names[match->count] = gr_str_of(segment.ptr + 1, segment.size - 2);
        match->values[match->count++] = s->segments[i];
    }
}

gr_route_answer gr_route_find(const gr_route_tree *t, gr_arena *arena, gr_http_method method, gr_str path,
                              gr_route_match *match)
{
    search s = {.method = method};
    match->route = NULL;
    match->count = 0;
    match->allowed = 0;
    if (path.size == 0 || path.ptr[0] != '/') return GR_ROUTE_NO_PATH;
    cut(&path, '/');
    while (path.ptr) {
        if (s.count == GR_ROUTE_SEGMENTS_MAX) return GR_ROUTE_NO_PATH;
        if (!gr_route_decode(arena, cut(&path, '/'), false, &s.segments[s.count++])) return GR_ROUTE_BAD_PATH;
    }
    bool found = walk(&s, t->root, 0);
    match->allowed = s.allowed;
    if (!found) return s.allowed ? GR_ROUTE_NO_METHOD : GR_ROUTE_NO_PATH;
    match->route = s.route;
    name_params(&s, match);
    return GR_ROUTE_FOUND;
}

gr_str gr_route_param(const gr_route_match *match, const char *name)
{
    size_t i = 0;
    while (i < match->count && !gr_str_is(match->names[i], name)) i++;
    gr_assert(i < match->count);
    return match->values[i];
}

gr_str gr_route_allow(gr_arena *arena, unsigned allowed)
{
    gr_str text = {0};
    for (int m = 0; m < GR_HTTP_OTHER; m++) {
        if (!(allowed & 1u << m)) continue;
        const char *comma = text.size ? ", " : "";
        text = gr_arena_printf(arena, "%" GR_FMT "%s%s", GR_ARG(text), comma, method_names[m]);
    }
    return text;
}

/* --- queries -------------------------------------------------------------------------------------------- */
gr_err gr_route_query_parse(gr_arena *arena, gr_str query, gr_route_query *out)
{
    size_t room = 1;
    *out = (gr_route_query){0};
    for (size_t i = 0; i < query.size; i++) room += query.ptr[i] == '&';
    if (room > GR_ROUTE_QUERY_MAX) return gr_fail(GR_INVALID_PARAM, "The query has too many parameters");
    gr_http_header *at = gr_arena_alloc(arena, room * sizeof *at);
    size_t count = 0;
    while (query.ptr) {
        gr_str value = cut(&query, '&');
        if (value.size == 0) continue;
        gr_str key = cut(&value, '=');
        if (!gr_route_decode(arena, key, true, &at[count].name) ||
            !gr_route_decode(arena, value, true, &at[count].value))
            return gr_fail(GR_INVALID_PARAM, "A query parameter is not properly percent-encoded UTF-8");
        /* "a" and "a=" are present and empty; absent is a NULL pointer. */
        if (at[count].value.ptr == NULL) at[count].value = GR_STR("");
        count++;
    }
    *out = (gr_route_query){at, count};
    return gr_ok();
}

gr_str gr_route_query_nth(const gr_route_query *q, const char *key, size_t nth)
{
    for (size_t i = 0; i < q->count; i++)
        if (gr_str_is(q->at[i].name, key) && nth-- == 0) return q->at[i].value;
    return (gr_str){0};
}

gr_str gr_route_query_get(const gr_route_query *q, const char *key) { return gr_route_query_nth(q, key, 0); }
