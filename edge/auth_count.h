/* auth_count.h - logins and registrations by who vouched, counted on the node that got the request.
 *
 * Each configured provider has its series from the start, and so have the ways in that need none: password, token (a login
 * token of an existing session) and guest.
 */
#pragma once
#include "edge/edge.h"

#define GR_AUTH_COUNT_PASSWORD GR_STR("password")
#define GR_AUTH_COUNT_TOKEN GR_STR("token")
#define GR_AUTH_COUNT_GUEST GR_STR("guest")

void gr_auth_count_login(gr_edge *, gr_str provider);
void gr_auth_count_registration(gr_edge *, gr_str provider);
void gr_auth_count_print(gr_buf *, const gr_config *, const gr_edge_counters *);
