/* clock.h - the time of day as a node takes it: never back, and never in a jump that a cluster would notice.
 *
 * Leases and timeouts are durations that two nodes count, each by its own clock.  So a node's time runs with the
 * steady clock of the machine, and where the wall clock was set it follows at an eighth of the pace: within
 * GR_CLOCK_FOLLOW_MS a change of the wall clock changes timestamps only.  A wall clock that is further ahead
 * than that is taken at once.  One of these per thread.
 */
#pragma once
#include <stdint.h>
#include <time.h>

enum { GR_CLOCK_FOLLOW_MS = 120 * 1000 };

typedef struct {
    uint64_t now_us, steady_us;
    uint64_t debt_us; /* eighths not given yet */
} gr_clock; /* zeroed: begins with the wall clock */

/* Both in microseconds, wall since 1970; the answer too. */
uint64_t gr_clock_read(gr_clock *, uint64_t steady_us, uint64_t wall_us);
/* The same by the clocks of this machine (time asleep counts as passed). */
uint64_t gr_clock_now_ms(gr_clock *);

/* A clock of this machine as it stands, in milliseconds: for what no other node counts with. */
uint64_t gr_clock_ms(clockid_t);
