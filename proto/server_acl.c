/* server_acl.c - server access control lists. See server_acl.h. */
#include "proto/server_acl.h"

#include "proto/ident.h"

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* Where the text fails behind a star, the star takes one character more; stars before it need never move again. */
bool gr_server_acl_matches(gr_str pattern, gr_str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, taken = 0;
    while (t < text.size) {
        if (p < pattern.size && pattern.ptr[p] == '*') {
            star = p++;
            taken = t;
        } else if (p < pattern.size && (pattern.ptr[p] == '?' || lower(pattern.ptr[p]) == lower(text.ptr[t]))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.ptr[p] == '*') p++;
    return p == pattern.size;
}

static bool listed(const gr_json *list, gr_str name)
{
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++)
        if (gr_json_is(&list->items[i], GR_JSON_STRING) && gr_server_acl_matches(list->items[i].string, name))
            return true;
    return false;
}

/* An IPv6 literal keeps its brackets: so it is written in lists too. */
static gr_str without_port(gr_str server_name)
{
    ptrdiff_t end = gr_str_find(server_name, server_name.ptr[0] == '[' ? ']' : ':');
    if (end < 0) return server_name;
    return gr_str_head(server_name, (size_t)end + (server_name.ptr[0] == '['));
}

bool gr_server_acl_allows(const gr_json *content, gr_str server_name)
{
    gr_str host;
    uint16_t port;
    bool literal;
    if (!content) return true;
    if (!gr_ident_server_split(server_name, &host, &port, &literal)) return false;
    if (literal && !gr_json_boolean(gr_json_get(content, "allow_ip_literals"), true)) return false;
    gr_str name = without_port(server_name);
    return !listed(gr_json_get(content, "deny"), name) && listed(gr_json_get(content, "allow"), name);
}
