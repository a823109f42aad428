/* outage.h - tells an outage of our own network from servers that fail.
 *
 * Servers fail all the time, some for good; but when several that worked within the hour fail one after the other and
 * nobody answers in between, it is our network that is out.  Then nobody is asked but one server now and then, to see whether
 * that is over, and nobody is blamed.  Without sockets or a clock of its own.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
    GR_OUTAGE_SERVERS = 4,             /* that worked, and fail now */
    GR_OUTAGE_WORKED_MS = 3600 * 1000, /* so long ago at most */
    GR_OUTAGE_PROBE_MS = 5000          /* one try in this time */
};

typedef struct { uint64_t lost, round, next_probe_ms; } gr_outage;             /* {0}: none */
/* Of one server; zeroed at first. */
typedef struct { uint64_t worked_ms, lost_round; } gr_outage_server;

void gr_outage_answered(gr_outage *, gr_outage_server *, uint64_t now_ms);
void gr_outage_lost(gr_outage *, gr_outage_server *, uint64_t now_ms);         /* no connection, or no answer in time */
bool gr_outage_is(const gr_outage *);
bool gr_outage_may_try(gr_outage *, uint64_t now_ms);                          /* true during an outage: this is the try */
