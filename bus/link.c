/* link.c - when a link is up, and what two nodes tell each other about it. See link.h. */
#include "bus/link.h"

#include <stdio.h>

enum { CLOCK_FRESH_US = 10000000, ANSWER_MS = 20 };

static void set_state(gr_link *l, gr_link_state state, uint64_t now_ms)
{
    if (l->state != state) l->since_ms = now_ms;
    l->state = state;
}

static void say(gr_link *l, gr_link_state state, uint64_t now_ms, const char *why)
{
    snprintf(l->why, sizeof l->why, "%s", why);
    set_state(l, state, now_ms);
}

void gr_link_init(gr_link *l, unsigned index, uint64_t now_ms)
{
    *l = (gr_link){.index = index, .since_ms = now_ms, .epoch = 1};
    say(l, GR_LINK_DOWN, now_ms, "not connected yet");
}

static bool hears(const gr_link *l, uint64_t now_ms)
{
    return l->heard_ms && now_ms - l->heard_ms < GR_LINK_SILENCE_MS;
}

static uint64_t map_prefix(const gr_link_self *self) { return gr_u64be((const char *)self->hash) >> 16 << 16; }

/* --- saying --- */
void gr_link_hello(gr_link *l, const gr_link_self *self, uint64_t now_ms, uint64_t now_us, gr_buf *map,
                   gr_node_hello *h)
{
    *h = (gr_node_hello){.generation = self->cluster->generation,
                         .level_low = self->level->low,
                         .level_high = self->level->high,
                         .level = gr_level_now(self->level),
                         .received = l->received,
                         .clock_us = now_us,
                         .heard_clock_us = l->their_clock_us,
                         .held_us = l->their_clock_us ? now_us - l->their_clock_at_us : 0};
    memcpy(h->name, self->cluster->nodes[self->index].name, sizeof h->name);
    memcpy(h->map_hash, self->hash, sizeof h->map_hash);
    if (hears(l, now_ms)) {
        h->heard_start = l->their_start;
        h->heard_epoch = l->their_epoch;
    }
    if (l->maps_differ) {
        gr_cluster_encode(map, self->cluster);
        h->map = gr_buf_view(map);
    }
    l->hello_ms = now_ms;
    l->said_level = h->level;
    l->told = l->received;
}

void gr_link_header(gr_link *l, const gr_link_self *self, gr_node_frame_kind kind, char out[GR_NODE_FRAME_HEADER])
{
    gr_node_frame f = {.kind = kind,
                       .node = (uint16_t)self->index,
                       .epoch = l->epoch,
                       .start = self->start,
                       .map = map_prefix(self),
                       .seq = ++l->seq};
    gr_node_frame_header(out, &f);
}

/* --- hearing --- */
static void look_at_clock(gr_link *l, const gr_node_hello *h, uint64_t now_us)
{
    l->their_clock_us = h->clock_us;
    l->their_clock_at_us = now_us;
    if (!h->heard_clock_us || now_us < h->heard_clock_us + h->held_us) return;
    uint64_t rtt = now_us - h->heard_clock_us - h->held_us;
    if (l->clock_at_us && rtt > l->rtt_us && now_us - l->clock_at_us < CLOCK_FRESH_US) return;
    l->rtt_us = rtt;
    l->clock_at_us = now_us;
    l->clock_offset_us = (int64_t)(h->clock_us + rtt / 2 - now_us);
}

/* Says in l->why what keeps the two apart; false when nothing does. */
static bool is_refused(gr_link *l, const gr_link_self *self, const gr_node_hello *h)
{
    const gr_cluster_node *peer = &self->cluster->nodes[l->index];
    l->maps_differ = memcmp(h->map_hash, self->hash, sizeof self->hash) != 0;
    if (l->maps_differ) {
        gr_cluster there;
        gr_arena *a = gr_arena_new(0);
        gr_str what = GR_STR("its hash");
        if (h->map.size && !gr_failed(gr_cluster_decode(h->map, &there)))
            what = gr_cluster_difference(a, self->cluster, &there);
        snprintf(l->why, sizeof l->why, "node %s has another cluster file; it differs in %" GR_FMT, peer->name,
                 GR_ARG(what));
        gr_arena_free(&a);
        return true;
    }
    uint32_t ours = gr_level_now(self->level);
    bool is_heard = h->level >= self->level->low && h->level <= self->level->high;
    if (is_heard && ours >= h->level_low && ours <= h->level_high) return false;
    snprintf(l->why, sizeof l->why, "node %s is at feature level %u and understands %u to %u, this one is at %u and "
             "understands %u to %u: upgrade the older", peer->name, h->level, h->level_low, h->level_high, ours,
             self->level->low, self->level->high);
    return true;
}

static bool is_rival(gr_link *l, const gr_node_frame *f, uint64_t now_ms)
{
    return l->state == GR_LINK_UP && l->their_start && f->start != l->their_start && hears(l, now_ms);
}

static void take_ack(gr_link *l, const gr_node_hello *h, uint64_t *freed)
{
    if (h->received <= l->acked || h->received > l->sent) return;
    *freed = h->received - l->acked;
    l->acked = h->received;
}

bool gr_link_heard(gr_link *l, const gr_link_self *self, const gr_node_frame *f, const gr_node_hello *h,
                   uint64_t now_ms, uint64_t now_us, uint64_t *freed, bool *rival)
{
    *freed = 0;
    *rival = is_rival(l, f, now_ms);
    if (*rival) return false;
    bool was_up = l->state == GR_LINK_UP, was_deaf = !hears(l, now_ms);
    bool is_new = f->start != l->their_start || f->epoch != l->their_epoch;
    bool is_other = l->their_start && f->start != l->their_start;
    if (is_new) {
        l->their_start = f->start;
        l->their_epoch = f->epoch;
        l->received = l->told = 0;
        if (was_up) say(l, GR_LINK_DOWN, now_ms, "the other end began anew");
    }
    l->heard_ms = now_ms;
    l->their_seq = f->seq;
    l->their_generation = h->generation;
    l->their_level_low = h->level_low;
    l->their_level_high = h->level_high;
    l->their_level = h->level;
    look_at_clock(l, h, now_us);
    l->is_compatible = !is_refused(l, self, h);
    bool hears_us = h->heard_start == self->start && h->heard_epoch == l->epoch;
    /* It has lost what we sent, or may have: a new session of ours makes it notice that as well. */
    if (is_other || (was_up && !hears_us)) {
        char why[GR_LINK_WHY_MAX];
        memcpy(why, l->why, sizeof why);
        *freed = gr_link_lost(l, now_ms, why);
        hears_us = false;
    } else if (hears_us) {
        take_ack(l, h, freed);
    }
    if (!l->is_compatible) set_state(l, GR_LINK_REFUSED, now_ms);
    else if (hears_us) say(l, GR_LINK_UP, now_ms, "");
    else say(l, GR_LINK_DOWN, now_ms, "it is heard, but hears nothing from this node yet");
    bool is_news = is_new || was_deaf || was_up != (l->state == GR_LINK_UP);
    return is_news || (l->state != GR_LINK_UP && now_ms - l->hello_ms >= ANSWER_MS);
}

bool gr_link_accepts(gr_link *l, const gr_link_self *self, const gr_node_frame *f)
{
    if (!l->is_compatible || f->start != l->their_start || f->epoch != l->their_epoch || gr_link_is_old(l, f)
        || f->node != l->index || f->map != map_prefix(self))
        return false;
    l->their_seq = f->seq;
    return true;
}

bool gr_link_is_old(const gr_link *l, const gr_node_frame *f)
{
    if (f->start != l->their_start) return false;
    return f->epoch < l->their_epoch || (f->epoch == l->their_epoch && f->seq <= l->their_seq);
}

uint64_t gr_link_lost(gr_link *l, uint64_t now_ms, const char *why)
{
    uint64_t freed = l->sent - l->acked;
    say(l, GR_LINK_DOWN, now_ms, why);
    l->epoch++;
    l->sent = l->acked = 0;
    l->seq = 0;
    return freed;
}

bool gr_link_is_silent(const gr_link *l, uint64_t now_ms)
{
    return l->state != GR_LINK_DOWN && !hears(l, now_ms);
}
