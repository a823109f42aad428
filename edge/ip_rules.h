/* ip_rules.h - which addresses this server may connect to on behalf of strangers.
 *
 * A name that a stranger chose may stand for any address: what is not of the public Internet is denied unless the
 * configuration says otherwise.  Asked for every socket just before it connects, so no later look-up can change it.
 */
#pragma once
#include "proto/err.h"

#include <sys/socket.h>

enum { GR_IP_RANGES_MAX = 256 };

typedef struct {
    unsigned char bytes[16];     /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;               /* of the 128 that matter */
} gr_ip_range;

typedef struct {
    gr_ip_range allow[GR_IP_RANGES_MAX], deny[GR_IP_RANGES_MAX];
    size_t allow_count, deny_count;
    bool private_ok;             /* the built-in list of what is not public counts for nothing */
} gr_ip_rules;

/* "10.0.0.0/8", "fd00::/8", or one address. */
bool gr_ip_range_parse(gr_str text, gr_ip_range *);
/* In this order: an allowed range, a denied one, the built-in list.  Addresses that carry an IPv4 address inside (mapped,
 * 6to4, NAT64) are judged by that one too.  What is neither IPv4 nor IPv6 is denied. */
bool gr_ip_rules_allow(const gr_ip_rules *, const struct sockaddr *);
