/* pace.h - how much of the time background work may take, by what the foreground feels of it.
 *
 * Work comes in slices: handling, then the commit.  Messages that meet a slice are compared with those that meet none: when
 * they take much longer, work takes half of its share, else a little more than before; without messages half of all time.
 * Pure; all in microseconds of the caller's clock.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
    GR_PACE_LEAST = 1, GR_PACE_FIRST = 10, GR_PACE_MOST = 25, GR_PACE_IDLE = 50,      /* percent */
    GR_PACE_IDLE_US = 2000000,     /* without a message of the foreground */
    GR_PACE_SLACK_US = 3000,       /* what a slice may cost those that meet it, beside twice the usual */
    GR_PACE_PAUSE_MAX_US = 5000000
};

/* {0}: at the beginning. */
typedef struct {
    unsigned percent;
    bool is_running;               /* a slice, from its begin until it is durable */
    uint64_t ended_us, heard_us;   /* the newest slice, the newest message */
    uint64_t usual_us;             /* of messages that met none: a moving average */
    uint64_t met_us, met;          /* those that met the newest: their sum, and how many */
} gr_pace;

void gr_pace_begin(gr_pace *);
/* A message was released that was queued then. */
void gr_pace_felt(gr_pace *, uint64_t queued_us, uint64_t now_us);
/* How long to rest after work that took so long, at the present share. */
uint64_t gr_pace_pause(const gr_pace *, uint64_t took_us);
/* The slice is durable and took so long. Returns the pause before the next one. */
uint64_t gr_pace_end(gr_pace *, uint64_t took_us, uint64_t now_us);
