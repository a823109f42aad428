/* pace.c - the share of background work. See pace.h. */
#include "bus/pace.h"

enum { SMOOTH = 16 };

void gr_pace_begin(gr_pace *p) { p->is_running = true; }

void gr_pace_felt(gr_pace *p, uint64_t queued_us, uint64_t now_us)
{
    uint64_t us = now_us > queued_us ? now_us - queued_us : 0;
    p->heard_us = now_us;
    if (p->is_running || queued_us < p->ended_us) {
        p->met_us += us;
        p->met++;
    } else {
        p->usual_us += us > p->usual_us ? (us - p->usual_us) / SMOOTH : 0;
        p->usual_us -= us < p->usual_us ? (p->usual_us - us) / SMOOTH : 0;
    }
}

static unsigned share(const gr_pace *p, uint64_t now_us)
{
    if (now_us - p->heard_us > GR_PACE_IDLE_US) return GR_PACE_IDLE;
    if (p->percent == 0 || p->percent > GR_PACE_MOST) return GR_PACE_FIRST;
    if (p->met && p->met_us / p->met > 2 * p->usual_us + GR_PACE_SLACK_US)
        return p->percent / 2 > GR_PACE_LEAST ? p->percent / 2 : GR_PACE_LEAST;
    return p->percent < GR_PACE_MOST ? p->percent + 1 : GR_PACE_MOST;
}

uint64_t gr_pace_pause(const gr_pace *p, uint64_t took_us)
{
    unsigned percent = p->percent ? p->percent : GR_PACE_FIRST;
    uint64_t pause_us = took_us * (100 - percent) / percent;
    return pause_us < GR_PACE_PAUSE_MAX_US ? pause_us : GR_PACE_PAUSE_MAX_US;
}

uint64_t gr_pace_end(gr_pace *p, uint64_t took_us, uint64_t now_us)
{
    p->percent = share(p, now_us);
    p->is_running = false;
    p->ended_us = now_us;
    p->met = p->met_us = 0;
    return gr_pace_pause(p, took_us);
}
