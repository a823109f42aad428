/* outage.c - see outage.h. */
#include "edge/outage.h"

void gr_outage_answered(gr_outage *o, gr_outage_server *s, uint64_t now_ms)
{
    s->worked_ms = now_ms + 1;         /* 0: never */
    o->lost = 0;
    o->round++;
}

void gr_outage_lost(gr_outage *o, gr_outage_server *s, uint64_t now_ms)
{
    bool has_worked = s->worked_ms && now_ms + 1 - s->worked_ms <= GR_OUTAGE_WORKED_MS;
    if (!has_worked || s->lost_round == o->round + 1) return;      /* it says nothing, or has said it */
    s->lost_round = o->round + 1;
    o->lost++;
    if (o->lost == GR_OUTAGE_SERVERS) o->next_probe_ms = now_ms + GR_OUTAGE_PROBE_MS;
}

bool gr_outage_is(const gr_outage *o) { return o->lost >= GR_OUTAGE_SERVERS; }

bool gr_outage_may_try(gr_outage *o, uint64_t now_ms)
{
    if (!gr_outage_is(o)) return true;
    if (now_ms < o->next_probe_ms) return false;
    o->next_probe_ms = now_ms + GR_OUTAGE_PROBE_MS;
    return true;
}
