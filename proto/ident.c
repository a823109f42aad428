/* ident.c - identifier grammar. See ident.h. */
#include "proto/ident.h"

#include <arpa/inet.h>

enum { HASH_TEXT = 43 };      /* unpadded base64 of 32 bytes */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_alnum(char c) { return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z'); }
static bool is_one_of(char c, const char *set) { return c && strchr(set, c); }

bool gr_ident_split(gr_str id, gr_ident *out)
{
    *out = (gr_ident){0};
    if (id.size == 0 || !is_one_of(id.ptr[0], "@!$#")) return false;
    out->sigil = id.ptr[0];
    gr_str rest = gr_str_from(id, 1);
    ptrdiff_t colon = gr_str_find(rest, ':');
    out->localpart = colon < 0 ? rest : gr_str_head(rest, (size_t)colon);
    if (colon >= 0) out->domain = gr_str_from(rest, (size_t)colon + 1);
    return true;
}

gr_str gr_ident_localpart(gr_str id)
{
    gr_ident parts;
    gr_ident_split(id, &parts);
    return parts.localpart;
}

gr_str gr_ident_domain(gr_str id)
{
    gr_ident parts;
    gr_ident_split(id, &parts);
    return parts.domain;
}

bool gr_ident_is_local(gr_str id, gr_str server_name)
{
    return server_name.size > 0 && gr_str_eq(gr_ident_domain(id), server_name);
}

static bool inet_is(int family, gr_str host)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned char raw[sizeof(struct in6_addr)];
    if (host.size == 0 || host.size >= sizeof text) return false;
    memcpy(text, host.ptr, host.size);
    text[host.size] = 0;
    return strlen(text) == host.size && inet_pton(family, text, raw) == 1;
}

/* Four groups of digits: meant as an IPv4 address, so it has to be one. */
static bool looks_ipv4(gr_str host)
{
    size_t dots = 0;
    for (size_t i = 0; i < host.size; i++) {
        if (host.ptr[i] == '.') dots++;
        else if (!is_digit(host.ptr[i])) return false;
    }
    return dots == 3;
}

static bool port_read(gr_str text, uint16_t *port)
{
    uint64_t number;
    if (text.size == 0 || text.size > 5 || !gr_str_u64(text, &number) || number > UINT16_MAX) return false;
    *port = (uint16_t)number;
    return true;
}

static bool is_dns_name(gr_str host)
{
    if (host.size == 0 || host.size > 255) return false;
    for (size_t i = 0; i < host.size; i++)
        if (!is_alnum(host.ptr[i]) && !is_one_of(host.ptr[i], "-.")) return false;
    return true;
}

bool gr_ident_server_split(gr_str name, gr_str *host, uint16_t *port, bool *literal)
{
    *host = (gr_str){0};
    *port = 0;
    *literal = false;
    if (name.size == 0 || name.size > GR_IDENT_MAX) return false;
    gr_str bare, tail;
    if (name.ptr[0] == '[') {
        ptrdiff_t close = gr_str_find(name, ']');
        if (close < 0) return false;
        bare = gr_str_from(gr_str_head(name, (size_t)close), 1);
        tail = gr_str_from(name, (size_t)close + 1);
        if (!inet_is(AF_INET6, bare)) return false;
        *literal = true;
    } else {
        ptrdiff_t colon = gr_str_find(name, ':');
        bare = colon < 0 ? name : gr_str_head(name, (size_t)colon);
        tail = colon < 0 ? (gr_str){0} : gr_str_from(name, (size_t)colon);
        *literal = looks_ipv4(bare);
        if (*literal ? !inet_is(AF_INET, bare) : !is_dns_name(bare)) return false;
    }
    if (tail.size && (tail.ptr[0] != ':' || !port_read(gr_str_from(tail, 1), port))) return false;
    *host = bare;
    return true;
}

bool gr_ident_server_name(gr_str name)
{
    gr_str host;
    uint16_t port;
    bool literal;
    return gr_ident_server_split(name, &host, &port, &literal);
}

/* "&localpart:domain" with any code points but ':' and NUL before the colon. */
static bool is_domained(gr_str id, char sigil)
{
    gr_ident parts;
    return id.size <= GR_IDENT_MAX && gr_ident_split(id, &parts) && parts.sigil == sigil &&
           gr_str_find(parts.localpart, 0) < 0 && gr_str_utf8(parts.localpart) &&
           gr_ident_server_name(parts.domain);
}

static bool is_hashed(gr_str id, char sigil, const char *also)
{
    if (id.size != 1 + HASH_TEXT || id.ptr[0] != sigil) return false;
    for (size_t i = 1; i < id.size; i++)
        if (!is_alnum(id.ptr[i]) && !is_one_of(id.ptr[i], also)) return false;
    return true;
}

bool gr_ident_user(gr_str id) { return is_domained(id, '@'); }

bool gr_ident_user_strict(gr_str id)
{
    gr_str localpart = gr_ident_localpart(id);
    for (size_t i = 0; i < localpart.size; i++)
        if (localpart.ptr[i] < 0x21 || localpart.ptr[i] > 0x7e) return false;
    return localpart.size > 0 && gr_ident_user(id);
}

bool gr_ident_room(gr_str id) { return is_hashed(id, '!', "-_") || is_domained(id, '!'); }
bool gr_ident_event(gr_str id) { return is_hashed(id, '$', "-_+/") || is_domained(id, '$'); }
bool gr_ident_alias(gr_str id) { return is_domained(id, '#'); }

bool gr_ident_localpart_new(gr_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!is_lower(s.ptr[i]) && !is_digit(s.ptr[i]) && !is_one_of(s.ptr[i], "._=-/+")) return false;
    return s.size >= 1 && s.size <= GR_LOCALPART_MAX;
}

bool gr_ident_opaque(gr_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!is_alnum(s.ptr[i]) && !is_one_of(s.ptr[i], "-._~")) return false;
    return s.size >= 1 && s.size <= GR_IDENT_MAX;
}

bool gr_ident_device(gr_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) return false;
    return s.size >= 1 && s.size <= GR_IDENT_MAX && gr_str_utf8(s);
}

bool gr_ident_txn(gr_str s) { return gr_ident_device(s); }

bool gr_ident_key(gr_str s)
{
    ptrdiff_t colon = gr_str_find(s, ':');
    return colon > 0 && (size_t)colon + 1 < s.size && gr_ident_device(s);
}

bool gr_ident_namespaced(gr_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!is_lower(s.ptr[i]) && !is_digit(s.ptr[i]) && !is_one_of(s.ptr[i], "-_.")) return false;
    return s.size >= 1 && s.size <= GR_IDENT_MAX && is_lower(s.ptr[0]);
}

bool gr_ident_email(gr_str address)
{
    ptrdiff_t at = gr_str_find(address, '@');
    gr_str host;
    uint16_t port = 0;
    bool literal = false;
    if (address.size > 254 || at < 1 || at > 64) return false;
    for (ptrdiff_t i = 0; i < at; i++) {
        char c = address.ptr[i];
        bool is_edge = i == 0 || i == at - 1 || address.ptr[i - 1] == '.';
        if (!is_alnum(c) && !is_one_of(c, "!#$%&'*+/=?^_`{|}~-.")) return false;
        if (c == '.' && is_edge) return false;
    }
    gr_str domain = gr_str_from(address, (size_t)at + 1);
    return gr_ident_server_split(domain, &host, &port, &literal) && !literal && port == 0 && gr_str_find(domain, ':') < 0;
}
