/* srv.h - SRV records by c-ares, within somebody else's event loop.
 *
 * The owner polls the descriptors, waits no longer than gr_srv_wait_ms, and calls gr_srv_step. One thread.
 */
#pragma once
#include "edge/resolve.h"

#include <poll.h>

enum { GR_SRV_FDS = 16, GR_SRV_TIMEOUT_MS = 3000, GR_SRV_TRIES = 2 };

typedef struct gr_srv gr_srv;
/* Exactly once per gr_srv_ask, perhaps within it: no records when there are none or the look-up failed. */
typedef void gr_srv_found(void *arg, const gr_resolve_record *, size_t count);

/* servers: "address:port" separated by commas; empty: the system's. */
GR_MUST_USE gr_err gr_srv_open(gr_arena *, const char *servers, gr_srv **);
void gr_srv_close(gr_srv **);        /* what is under way is told that there are no records */
void gr_srv_ask(gr_srv *, const char *name, gr_srv_found *, void *arg);
size_t gr_srv_fds(gr_srv *, struct pollfd fds[GR_SRV_FDS]);
int gr_srv_wait_ms(gr_srv *, int at_most_ms);
void gr_srv_step(gr_srv *, const struct pollfd *, size_t count);
