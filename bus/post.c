/* post.c - posts: durable, in order per (sender shard, receiver shard), applied exactly once.
 *
 * The sender's shard keeps the entries of its outbox, and per pair a record of the last number and up to where
 * the outbox is empty.  The record is written only when entries are deleted: until then the entries tell the
 * last number.  The receiver's shard keeps the number applied last, written with the effects.  An entry is the
 * actor's own key of its attachment (size in two bytes) and the encoded envelope, without what its key or the
 * shard says.  Acknowledged entries are deleted many at a time.  In flight a pair is bounded in number
 * and bytes and a peer in bytes; what does not fit stays in the outbox and is read from there when
 * acknowledgements make room.  After a start, and when nothing was acknowledged for a while, the sender asks
 * where the receiver stands.  Within a worker the answers are plain calls.
 *
 * Here: the records of pairs, what shards tell each other about them, opening and losing a shard.  post_out.c is the
 * sender's side, post_in.c the receiver's.
 */
#include "bus/post_inside.h"
#include "bus/timer.h"

#include <stdlib.h>

enum { PAIR_OUT_BYTES = 16 };

void gr_post_seal(gr_worker *w, gr_home *home)
{
    gr_post_sweep(w, home);
    for (gr_pair_out *p; (p = home->dirty_out);) {
        char key[2] = {GR_KEY_PAIR_OUT, (char)p->to}, value[PAIR_OUT_BYTES];
        gr_post_put_u64(value, p->last);
        gr_post_put_u64(value + 8, p->deleted);
        gr_home_put(w, home, gr_str_of(key, sizeof key), gr_str_of(value, sizeof value));
        home->dirty_out = p->next_dirty;
        p->is_dirty = false;
    }
    for (gr_pair_in *p; (p = home->dirty_in);) {
        char key[2] = {GR_KEY_PAIR_IN, (char)p->from}, value[GR_PAIR_IN_BYTES];
        gr_post_put_u64(value, p->applied);
        gr_post_put_u64(value + 8, p->incarnation);
        gr_post_put_u64(value + 16, p->own_incarnation);
        gr_home_put(w, home, gr_str_of(key, sizeof key), gr_str_of(value, sizeof value));
        home->dirty_in = p->next_dirty;
        p->is_dirty = false;
    }
}

/* --- control -------------------------------------------------------------------------------------------- */
static void on_where(gr_worker *w, uint64_t from, uint64_t to, uint64_t incarnation)
{
    gr_home *home = to < GR_SHARDS ? w->homes[to] : NULL;
    gr_pair_in *p = home && home->is_open && from < GR_SHARDS ? gr_pair_in_of(w, home, (uint8_t)from) : NULL;
    if (!p) return;
    if (p->is_known && p->durable > 0) gr_post_acknowledge(w, p);
    gr_post_tell_at(w, p, incarnation);
}

static void on_pair(gr_worker *w, unsigned type, const uint64_t *pair)
{
    if (type == GR_T_post_where) {
        on_where(w, pair[0], pair[1], pair[3]);
        return;
    }
    gr_pair_out *p = gr_post_known_pair(w, pair[0], pair[1]);
    if (!p || p->is_stopped || pair[3] != p->from->shard.incarnation) return;
    if (type == GR_T_post_ack) gr_post_on_ack(w, p, pair[2]);
    if (type == GR_T_post_at) gr_post_on_at(w, p, pair[2]);
    if (type == GR_T_post_stop) gr_post_stop_pair(w, p);
}

void gr_post_control(gr_worker *w, unsigned type, gr_u64s pairs)
{
    for (size_t i = 0; i + 4 <= pairs.count; i += 4) on_pair(w, type, pairs.at + i);
}

void gr_post_tell_pair(gr_worker *w, gr_peer *peer, unsigned type, uint64_t from, uint64_t to, uint64_t number,
                       uint64_t incarnation)
{
    uint64_t pair[4] = {from, to, number, incarnation};
    if (peer->is_self) {
        on_pair(w, type, pair);
        return;
    }
    if (type) gr_buf_add(&peer->control[type - GR_T_post_ack], pair, sizeof pair);
    gr_peer_busy(w, peer);
}

void gr_post_unsent(gr_worker *w, const gr_envelope *e)
{
    gr_pair_out *p = gr_post_known_pair(w, gr_address_shard(e->from), gr_address_shard(e->to));
    if (!p || e->seq > p->sent || e->seq <= p->acked) return;
    gr_post_land(p, e->seq - 1, p->sent);
    p->sent = e->seq - 1; /* silence makes it try again */
    /* Another node: what it has is asked first, when the link is up again, so that no step pumps in vain. */
    if (p->peer->endpoint.node != w->o.self.node) p->is_synced = false;
}

void gr_post_lost(gr_worker *w, gr_peer *peer)
{
    for (gr_pair_out *p = w->unacked; p; p = p->next_unacked)
        if (p->peer == peer) gr_post_end_forwards(w, p, UINT64_MAX, false);
}

void gr_post_linked(gr_worker *w, gr_peer *peer)
{
    for (gr_pair_out *p = w->unacked; p; p = p->next_unacked)
        if (p->peer == peer) gr_post_ask_where(w, p);
}

/* --- opening and losing a shard ------------------------------------------------------------------------- */
typedef struct {
    gr_worker *w;
    gr_home *home;
} opening;

static bool on_pair_out(void *arg, gr_str key, gr_str value)
{
    opening *o = arg;
    if (key.size != 2 || value.size != PAIR_OUT_BYTES) return true;
    gr_pair_out *p = gr_post_pair_out(o->w, o->home, (uint8_t)key.ptr[1]);
    p->last = p->durable = gr_u64be(value.ptr);
    p->deleted = p->acked = p->sent = gr_u64be(value.ptr + 8);
    return true;
}

typedef struct {
    bool found;
    uint8_t to;
    uint64_t number;
} newest_entry;

static bool on_newest_entry(void *arg, gr_str key, gr_str value)
{
    newest_entry *newest = arg;
    (void)value;
    newest->found = key.size == sizeof(gr_outbox_key);
    if (newest->found) newest->to = (uint8_t)key.ptr[1];
    if (newest->found) newest->number = gr_u64be(key.ptr + 2);
    return false;
}

static void has_entries(gr_worker *w, gr_pair_out *p, uint64_t newest)
{
    if (newest > p->last) p->last = p->durable = newest;
    if (p->deleted == p->last) return;
    w->n.outbox += p->last - p->acked;
    p->is_synced = false;
    gr_post_link_unacked(w, p);
}

/* Only the newest entry of each pair is looked at, the last receiver's first: outboxes may be long. */
static gr_err load_outbox(gr_worker *w, gr_home *home)
{
    static const char end[] = {GR_KEY_OUTBOX + 1};
    gr_outbox_key low, high;
    gr_range range = {.from = gr_post_entry_key(&low, 0, 0), .to = {end, 1}, .limit = 1, .descending = true};
    for (newest_entry newest = {.found = true}; newest.found;) {
        newest.found = false;
        gr_err err = gr_overlay_scan(home->overlay, &range, on_newest_entry, &newest);
        if (gr_failed(err)) return err;
        if (!newest.found) break;
        has_entries(w, gr_post_pair_out(w, home, newest.to), newest.number);
        range.to = gr_post_entry_key(&high, newest.to, 0);
    }
    return gr_ok();
}

/* What was on its way to a shard that was lost is asked for again. */
static void ask_senders(gr_worker *w, gr_home *home)
{
    for (int i = 0; i < GR_SHARDS; i++) {
        if (!home->was_heard[i]) continue;
        home->was_heard[i] = false;
        gr_pair_in *p = gr_pair_in_of(w, home, (uint8_t)i);
        uint64_t incarnation = w->homes[i] ? w->homes[i]->shard.incarnation : p ? p->incarnation : 0;
        if (p && p->is_known && p->durable > 0) gr_post_acknowledge(w, p); /* the sender may have missed it */
        if (p && incarnation) gr_post_tell_at(w, p, incarnation);
    }
}

/* Pairs with posts that were not acknowledged are asked about at once. */
gr_err gr_post_open(gr_worker *w, gr_home *home)
{
    static const char from[] = {GR_KEY_PAIR_OUT}, to[] = {GR_KEY_PAIR_OUT + 1};
    gr_range range = {.from = {from, 1}, .to = {to, 1}};
    opening o = {w, home};
    gr_err err = gr_overlay_scan(home->overlay, &range, on_pair_out, &o);
    if (!gr_failed(err)) err = load_outbox(w, home);
    if (gr_failed(err)) return err;
    for (int i = 0; i < GR_SHARDS && w->has_started; i++)
        if (home->out[i] && !home->out[i]->is_synced) gr_post_ask_where(w, home->out[i]);
    ask_senders(w, home);
    return gr_ok();
}

void gr_post_start(gr_worker *w)
{
    w->silence.fire = gr_post_on_silence;
    w->sweep.fire = gr_post_on_sweep;
    w->pump_last = &w->pump;
    w->has_started = true;
    for (gr_pair_out *p = w->unacked; p; p = p->next_unacked) gr_post_ask_where(w, p);
}

static void free_pair_out(gr_worker *w, gr_pair_out *p)
{
    gr_post_land(p, p->acked, p->sent);
    gr_post_end_forwards(w, p, UINT64_MAX, true); /* nobody is told: the asker's timeout speaks */
    w->n.outbox -= p->last - p->acked;
    gr_post_unlink_unacked(w, p);
    gr_pair_out **at = &w->pump;
    while (*at && *at != p) at = &(*at)->next_pump;
    if (*at) *at = p->next_pump;
    if (w->pump_last == &p->next_pump) w->pump_last = at;
    free(p->sizes);
    free(p);
}

static void free_pair_in(gr_worker *w, gr_pair_in *p)
{
    gr_mailbox_clear(w, &p->box);
    gr_mailbox **box = &w->run_first;
    while (*box && *box != &p->box) box = &(*box)->next;
    if (*box) *box = p->box.next;
    if (w->run_last == &p->box.next) w->run_last = box;
    gr_pair_in **ack = &w->peers_of[p->from]->acks;
    while (*ack && *ack != p) ack = &(*ack)->next_ack;
    if (*ack) *ack = p->next_ack;
    free(p);
}

void gr_post_close(gr_worker *w, gr_home *home)
{
    for (int i = 0; i < GR_SHARDS; i++) {
        if (home->out[i]) free_pair_out(w, home->out[i]);
        if (home->in[i]) free_pair_in(w, home->in[i]);
        home->was_heard[i] |= home->in[i] != NULL;
        home->out[i] = NULL;
        home->in[i] = NULL;
    }
    home->dirty_out = home->sweep = NULL;
    home->is_sweep_due = false;
    home->dirty_in = NULL;
}

