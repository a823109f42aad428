/* post_in.c - the receiving side of posts: each is taken once, in order, and acknowledged when durable. See post.c. */
#include "bus/post_inside.h"

#include <stdlib.h>

enum { COMPLAIN_MS = 1000 };

static bool load_pair_in(gr_worker *w, gr_pair_in *p)
{
    char key[2] = {GR_KEY_PAIR_IN, (char)p->from};
    gr_str value;
    gr_arena *arena = gr_group_of(w, w->current)->arena;
    if (gr_failed(gr_overlay_get(p->to->overlay, gr_str_of(key, sizeof key), arena, &value))) return false;
    p->is_known = value.size == GR_PAIR_IN_BYTES;
    if (!p->is_known) return true;
    p->queued = p->applied = p->durable = gr_u64be(value.ptr);
    p->incarnation = gr_u64be(value.ptr + 8);
    p->own_incarnation = gr_u64be(value.ptr + 16);
    return true;
}

gr_pair_in *gr_pair_in_of(gr_worker *w, gr_home *home, uint8_t from)
{
    if (home->in[from]) return home->in[from];
    gr_pair_in *p = gr_alloc(sizeof *p);
    p->box.is_pair = true;
    p->to = home;
    p->from = from;
    if (!load_pair_in(w, p)) {
        free(p);
        return NULL;
    }
    return home->in[from] = p;
}

void gr_post_tell_at(gr_worker *w, gr_pair_in *p, uint64_t incarnation)
{
    gr_post_tell_pair(w, w->peers_of[p->from], GR_T_post_at, p->from, p->to->shard.shard, p->queued, incarnation);
}

void gr_post_acknowledge(gr_worker *w, gr_pair_in *p)
{
    gr_peer *peer = w->peers_of[p->from];
    if (peer->is_self) {
        gr_pair_out *out = gr_post_known_pair(w, p->from, p->to->shard.shard);
        if (out) gr_post_on_ack(w, out, p->durable);
        return;
    }
    if (p->is_acking) return;
    p->is_acking = true;
    p->next_ack = peer->acks;
    peer->acks = p;
    gr_post_tell_pair(w, peer, 0, 0, 0, 0, 0);
}

void gr_post_acks(gr_worker *w, gr_peer *peer)
{
    while (peer->acks) {
        gr_pair_in *p = peer->acks;
        peer->acks = p->next_ack;
        p->is_acking = false;
        gr_post_tell_pair(w, peer, GR_T_post_ack, p->from, p->to->shard.shard, p->durable, p->incarnation);
    }
}

/* The number fits the history that this pair has.  Both sides changed at once when they lie in one store and
 * it was restored from a backup, which is one consistent cut. */
static bool fits(gr_worker *w, gr_pair_in *p, uint64_t incarnation)
{
    uint64_t own = p->to->shard.incarnation;
    if (p->is_known && p->incarnation != incarnation) {
        bool is_same_store = w->peers_of[p->from]->endpoint.node == w->o.self.node;
        if (!is_same_store || p->own_incarnation == own) return false;
    }
    p->incarnation = incarnation;
    p->own_incarnation = own;
    p->is_known = true;
    return true;
}

/* A sender has no more than a window on its way, so this number it cannot have reached: it lies, or this store was set
 * back. It costs an answer like any gap, and is told of. */
static void on_far_ahead(gr_worker *w, const gr_pair_in *p, const gr_envelope *e)
{
    w->n.bad_messages++;
    if (!w->o.complain || (w->complained_ms && w->now_ms - w->complained_ms < COMPLAIN_MS)) return;
    w->complained_ms = w->now_ms;
    gr_arena *arena = gr_group_of(w, w->current)->arena;
    gr_str text = gr_arena_printf(arena, "post %llu of shard %u to shard %u is refused: %llu is the next",
                                  (unsigned long long)e->seq, p->from, p->to->shard.shard,
                                  (unsigned long long)p->queued + 1);
    w->o.complain(w->o.complain_arg, text.ptr);
}

void gr_post_arrived(gr_worker *w, const gr_envelope *e)
{
    gr_kind kind = gr_address_kind(e->from);
    if (!gr_address_valid(e->from) || kind == GR_KIND_EDGE) {
        w->n.bad_messages++;
        return;
    }
    gr_home *home = w->homes[gr_address_shard(e->to)];
    gr_pair_in *p = home->is_open ? gr_pair_in_of(w, home, gr_address_shard(e->from)) : NULL;
    if (!p) return; /* the sender asks again */
    if (!fits(w, p, e->incarnation)) {
        gr_post_tell_pair(w, w->peers_of[p->from], GR_T_post_stop, p->from, home->shard.shard, p->queued,
                  e->incarnation);
        return;
    }
    if (e->seq == p->queued + 1) {
        p->queued++;
        gr_mailbox_add(w, &p->box, gr_item_new(e, w->now_us));
    } else if (e->seq <= p->queued) {
        w->n.posts_repeated++;
        if (e->seq <= p->durable) gr_post_acknowledge(w, p);
    } else {
        if (e->seq - p->queued > GR_POST_WINDOW) on_far_ahead(w, p, e);
        if (p->gap_told_ms == w->now_ms) return;
        p->gap_told_ms = w->now_ms;
        gr_post_tell_at(w, p, e->incarnation);
    }
}

void gr_post_applied(gr_worker *w, gr_pair_in *p, uint64_t number)
{
    p->applied = number;
    gr_home_touch(w, p->to);
    if (p->is_dirty) return;
    p->is_dirty = true;
    p->next_dirty = p->to->dirty_in;
    p->to->dirty_in = p;
}

void gr_post_refused(gr_worker *w, gr_pair_in *p)
{
    gr_mailbox_clear(w, &p->box);
    p->queued = p->applied;
}

void gr_post_durable(gr_worker *w, gr_pair_in *p, uint64_t number)
{
    p->durable = number;
    gr_post_acknowledge(w, p);
}
