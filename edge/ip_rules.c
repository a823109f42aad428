/* ip_rules.c - ranges of addresses. See ip_rules.h. */
#include "edge/ip_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { V4_AT = 12, V4_BITS = 96 };

/* What IANA's registries of special addresses do not give as globally reachable, and multicast. */
static const char *const not_public[] = {
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "::/127", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7",
    "fe80::/10", "fec0::/10", "ff00::/8"};

static void map_v4(const void *v4, unsigned char out[16])
{
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + V4_AT, v4, 4);
}

bool gr_ip_range_parse(gr_str text, gr_ip_range *out)
{
    char address[64];
    ptrdiff_t slash = gr_str_find(text, '/');
    gr_str host = slash < 0 ? text : gr_str_head(text, (size_t)slash);
    *out = (gr_ip_range){0};
    if (host.size >= sizeof address) return false;
    memcpy(address, host.ptr, host.size);
    address[host.size] = 0;
    unsigned char v4[4];
    bool is_v4 = inet_pton(AF_INET, address, v4) == 1;
    if (is_v4) map_v4(v4, out->bytes);
    else if (inet_pton(AF_INET6, address, out->bytes) != 1) return false;
    uint64_t bits = is_v4 ? 32 : 128;
    if (slash >= 0 && (!gr_str_u64(gr_str_from(text, (size_t)slash + 1), &bits) || bits > (is_v4 ? 32 : 128))) return false;
    out->bits = (unsigned)bits + (is_v4 ? V4_BITS : 0);
    return true;
}

static bool is_in(const gr_ip_range *range, const unsigned char bytes[16])
{
    unsigned whole = range->bits / 8, rest = range->bits % 8;
    if (memcmp(range->bytes, bytes, whole) != 0) return false;
    return rest == 0 || (range->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

static bool is_in_any(const gr_ip_range *ranges, size_t count, const unsigned char bytes[16])
{
    for (size_t i = 0; i < count; i++)
        if (is_in(&ranges[i], bytes)) return true;
    return false;
}

static bool is_public(const unsigned char bytes[16])
{
    for (size_t i = 0; i < sizeof not_public / sizeof not_public[0]; i++) {
        gr_ip_range range;
        bool good = gr_ip_range_parse(gr_str_c(not_public[i]), &range);
        gr_assert(good);
        if (is_in(&range, bytes)) return false;
    }
    return true;
}

/* The IPv4 address that a translator would take out of this one. */
static bool inner_v4(const unsigned char bytes[16], unsigned char mapped[16])
{
    static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b}, compatible[12] = {0};
    if (bytes[0] == 0x20 && bytes[1] == 0x02) map_v4(bytes + 2, mapped);
    else if (memcmp(bytes, nat64, sizeof nat64) == 0 || memcmp(bytes, compatible, sizeof compatible) == 0)
        map_v4(bytes + V4_AT, mapped);
    else return false;
    return true;
}

static bool allows(const gr_ip_rules *rules, const unsigned char bytes[16])
{
    if (is_in_any(rules->allow, rules->allow_count, bytes)) return true;
    if (is_in_any(rules->deny, rules->deny_count, bytes)) return false;
    return rules->private_ok || is_public(bytes);
}

bool gr_ip_rules_allow(const gr_ip_rules *rules, const struct sockaddr *at)
{
    unsigned char bytes[16], mapped[16];
    if (at->sa_family == AF_INET) map_v4(&((const struct sockaddr_in *)at)->sin_addr, bytes);
    else if (at->sa_family == AF_INET6) memcpy(bytes, &((const struct sockaddr_in6 *)at)->sin6_addr, sizeof bytes);
    else return false;
    bool inside = inner_v4(bytes, mapped);
    return allows(rules, bytes) && (!inside || allows(rules, mapped) || is_in_any(rules->allow, rules->allow_count, bytes));
}
