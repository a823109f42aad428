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
 */
#include "bus/post.h"
#include "bus/runtime.h"
#include "bus/timer.h"

#include <stdlib.h>

enum {
    WINDOW_POSTS = 256,
    WINDOW_BYTES = 256 * 1024,
    PEER_BYTES = 8 << 20,
    SILENCE_MS = 2000,
    DOUBT_MS = 5000, /* longer than a link lives on in silence: nothing older is under way */
    COMPLAIN_MS = 1000,
    SWEEP_MS = 1000,
    SWEEP_ROWS = 256,
    SWEEP_MIN = 64, /* acknowledged entries of a pair that are deleted without waiting for the timer */
    PUMP_ROWS = 64,
    PAIR_OUT_BYTES = 16,
    PAIR_IN_BYTES = 24
};

static void put_u64(char *at, uint64_t n)
{
    for (int i = 0; i < 8; i++) at[i] = (char)(n >> (56 - 8 * i));
}

typedef struct {
    char bytes[10];
} outbox_key;

static gr_str entry_key(outbox_key *key, uint8_t to, uint64_t number)
{
    key->bytes[0] = GR_KEY_OUTBOX;
    key->bytes[1] = (char)to;
    put_u64(key->bytes + 2, number);
    return gr_str_of(key->bytes, sizeof key->bytes);
}

/* --- the sender: pairs ---------------------------------------------------------------------------------- */
static gr_pair_out *pair_out_of(gr_worker *w, gr_home *home, uint8_t to)
{
    if (home->out[to]) return home->out[to];
    gr_pair_out *p = home->out[to] = gr_alloc(sizeof *p);
    p->from = home;
    p->to = to;
    p->peer = w->peers_of[to];
    p->forwards_last = &p->forwards;
    p->is_synced = true; /* nothing is outstanding, so there is nothing to agree on first */
    return p;
}

static void mark_dirty_out(gr_worker *w, gr_pair_out *p)
{
    gr_home_touch(w, p->from);
    if (p->is_dirty) return;
    p->is_dirty = true;
    p->next_dirty = p->from->dirty_out;
    p->from->dirty_out = p;
}

static void pump_later(gr_worker *w, gr_pair_out *p)
{
    if (p->is_pumping || p->is_stopped) return;
    p->is_pumping = true;
    p->next_pump = NULL;
    *w->pump_last = p;
    w->pump_last = &p->next_pump;
}

static void link_unacked(gr_worker *w, gr_pair_out *p)
{
    if (p->is_unacked) return;
    p->is_unacked = true;
    p->progress_ms = p->acked_ms = w->now_ms;
    p->prev_unacked = NULL;
    p->next_unacked = w->unacked;
    if (w->unacked) w->unacked->prev_unacked = p;
    w->unacked = p;
    if (w->silence.at == 0) gr_due_set(w, &w->silence, w->now_ms + SILENCE_MS);
}

static void unlink_unacked(gr_worker *w, gr_pair_out *p)
{
    if (!p->is_unacked) return;
    p->is_unacked = false;
    *(p->prev_unacked ? &p->prev_unacked->next_unacked : &w->unacked) = p->next_unacked;
    if (p->next_unacked) p->next_unacked->prev_unacked = p->prev_unacked;
}

/* --- the sender: bytes in flight ------------------------------------------------------------------------ */
static void fly(gr_pair_out *p, uint64_t number, size_t size)
{
    if (number - p->acked > p->room) {
        size_t room = p->room ? p->room * 2 : 16;
        while (room < number - p->acked) room *= 2;
        uint32_t *sizes = gr_alloc(room * sizeof *sizes);
        for (uint64_t n = p->acked + 1; n < number; n++)
            sizes[n % room] = p->room ? p->sizes[n % p->room] : 0;
        free(p->sizes);
        p->sizes = sizes;
        p->room = room;
    }
    p->sizes[number % p->room] = (uint32_t)size;
    p->in_flight += size;
    p->peer->in_flight += size;
    p->sent = number;
}

static void land(gr_pair_out *p, uint64_t from, uint64_t to)
{
    for (uint64_t n = from + 1; n <= to && n <= p->sent; n++) {
        size_t size = p->sizes[n % p->room];
        p->in_flight -= size;
        p->peer->in_flight -= size;
    }
}

static bool has_window(const gr_pair_out *p)
{
    return p->sent - p->acked < WINDOW_POSTS && p->in_flight < WINDOW_BYTES
           && p->peer->in_flight < PEER_BYTES;
}

/* --- the sender: from the handler to the wire ----------------------------------------------------------- */
static gr_envelope envelope_of(const gr_home *home, const gr_effect *e, gr_str from)
{
    return (gr_envelope){.trace = e->trace,
                         .span = e->span,
                         .parent = e->parent,
                         .from = from,
                         .to = e->to,
                         .verb = GR_POST,
                         .seq = e->seq,
                         .incarnation = home->shard.incarnation,
                         .type = e->type->id,
                         .body = e->body,
                         .reply_to = e->reply_to,
                         .reply_seq = e->reply_seq,
                         .level = e->level};
}

/* An attachment is a row of the sender's, so its key begins with what the sender's address says. */
static gr_str own_key_of(gr_str from, gr_str key)
{
    char prefix[GR_PREFIX_MAX];
    return key.size ? gr_str_from(key, gr_actor_prefix(gr_address_kind(from), gr_address_id(from), prefix)) : key;
}

void gr_post_stage(gr_worker *w, gr_home *home, gr_effect *e, gr_str from)
{
    gr_pair_out *p = pair_out_of(w, home, gr_address_shard(e->to));
    outbox_key key;
    e->seq = ++p->last;
    gr_envelope envelope = envelope_of(home, e, from);
    envelope.seq = envelope.incarnation = 0; /* the key and the shard have them */
    gr_str own_key = own_key_of(from, e->attachment_key);
    char key_size[2] = {(char)(own_key.size >> 8), (char)own_key.size};
    gr_buf_clear(&w->scratch);
    gr_buf_add(&w->scratch, key_size, sizeof key_size);
    gr_buf_str(&w->scratch, own_key);
    gr_envelope_encode(&w->scratch, &envelope);
    gr_home_put(w, home, entry_key(&key, p->to, e->seq), gr_buf_view(&w->scratch));
    w->n.outbox++;
}

/* --- the sender: answers that the receiver owes to somebody --------------------------------------------- */
static const gr_err noted = {
    GR_UNAVAILABLE, "Part of the server is out of reach: what was asked is noted and will be done when it is back", 0};

/* Forgets those up to a number; those that have no answer to expect any more are told so. */
static void end_forwards(gr_worker *w, gr_pair_out *p, uint64_t upto, bool is_answered)
{
    while (p->forwards && p->forwards->number <= upto) {
        gr_forward *f = p->forwards;
        gr_str to = {f->reply_to, f->size};
        p->forwards = f->next;
        if (!p->forwards) p->forwards_last = &p->forwards;
        if (!is_answered) gr_peer_send_error(w, to, to, f->reply_seq, f->trace, f->span, noted);
        free(f);
    }
}

static void expect_answer(gr_worker *w, gr_pair_out *p, const gr_effect *e, gr_str from)
{
    if (e->reply_to.size == 0 || p->peer->endpoint.node == w->o.self.node) return;
    gr_forward *f = gr_alloc(sizeof *f + e->reply_to.size);
    *f = (gr_forward){NULL, e->seq, e->reply_seq, e->trace, e->span, e->reply_to.size};
    memcpy(f->reply_to, e->reply_to.ptr, f->size);
    *p->forwards_last = f;
    p->forwards_last = &f->next;
    if (p->is_stopped || !gr_peer_is_linked(w, p->peer)) end_forwards(w, p, e->seq, false);
    else gr_peer_send_moved(w, e, from);
}

static void transmit(gr_worker *w, gr_pair_out *p, const gr_envelope *e)
{
    fly(p, e->seq, e->body.size + e->attachment.size + e->from.size + e->to.size + 64);
    link_unacked(w, p);
    w->n.posts_sent++;
    if (p->peer->is_self) gr_post_arrived(w, e);
    else gr_peer_send(w, p->peer, e);
}

void gr_post_release(gr_worker *w, gr_home *home, const gr_effect *e, gr_str from)
{
    gr_pair_out *p = home->out[gr_address_shard(e->to)];
    gr_assert(p && p->durable < e->seq);
    p->durable = e->seq;
    expect_answer(w, p, e, from);
    if (!p->is_synced || p->is_stopped || p->is_pumping || p->sent + 1 != e->seq || !has_window(p)) {
        if (p->is_synced) pump_later(w, p);
        return;
    }
    gr_envelope envelope = envelope_of(home, e, from);
    envelope.attachment = e->attachment;
    transmit(w, p, &envelope);
}

typedef struct {
    gr_worker *w;
    gr_pair_out *pair;
    gr_arena *arena;
} pumping;

static bool on_entry(void *arg, gr_str key, gr_str value)
{
    pumping *run = arg;
    gr_pair_out *p = run->pair;
    gr_envelope e;
    if (key.size != 10 || value.size < 2) return false;
    uint64_t number = gr_u64be(key.ptr + 2);
    if (number != p->sent + 1 || number > p->durable || !has_window(p)) return false;
    size_t key_size = (size_t)(unsigned char)value.ptr[0] << 8 | (unsigned char)value.ptr[1];
    gr_str own_key = gr_str_head(gr_str_from(value, 2), key_size);
    if (gr_failed(gr_envelope_decode(gr_arena_str(run->arena, gr_str_from(value, 2 + key_size)), &e)))
        return false;
    if (key_size) {
        char prefix[GR_PREFIX_MAX];
        size_t size = gr_actor_prefix(gr_address_kind(e.from), gr_address_id(e.from), prefix);
        gr_str whole = gr_arena_cat(run->arena, 2, (gr_str[]){{prefix, size}, own_key});
        if (gr_failed(gr_overlay_get(p->from->overlay, whole, run->arena, &e.attachment))) return false;
    }
    e.incarnation = p->from->shard.incarnation;
    e.seq = number;
    run->w->n.posts_resent++;
    transmit(run->w, p, &e);
    return true;
}

static void pump(gr_worker *w, gr_pair_out *p)
{
    outbox_key low, high;
    pumping run = {w, p, gr_arena_new(0)};
    gr_range range = {.from = entry_key(&low, p->to, p->sent + 1),
                      .to = entry_key(&high, p->to, p->durable + 1),
                      .limit = PUMP_ROWS};
    gr_err err = gr_overlay_scan(p->from->overlay, &range, on_entry, &run);
    (void)err; /* silence makes it try again */
    gr_arena_free(&run.arena);
}

/* One turn for each pair that waits; those that could not send all stay, for when there is room. */
bool gr_post_pump(gr_worker *w)
{
    gr_pair_out *first = w->pump;
    bool has_more = false;
    w->pump = NULL;
    w->pump_last = &w->pump;
    for (gr_pair_out *p = first, *next; p; p = next) {
        next = p->next_pump;
        p->is_pumping = false;
        uint64_t before = p->sent;
        if (!p->is_synced || p->is_stopped || p->sent >= p->durable) continue;
        if (has_window(p)) pump(w, p);
        link_unacked(w, p);
        if (p->sent < p->durable && has_window(p) && p->sent > before) {
            pump_later(w, p);
            has_more = true;
        } else if (p->sent < p->durable && p->peer->in_flight >= PEER_BYTES) {
            pump_later(w, p); /* others filled the way; an acknowledgement for them makes the worker step */
        }
    }
    return has_more;
}

/* --- the sender: what the receiver says ----------------------------------------------------------------- */
static gr_pair_out *known_pair(gr_worker *w, uint64_t from, uint64_t to)
{
    gr_home *home = from < GR_SHARDS ? w->homes[from] : NULL;
    return home && home->is_open && to < GR_SHARDS ? home->out[to] : NULL;
}

static void sweep_later(gr_worker *w, gr_pair_out *p)
{
    if (p->is_sweeping) return;
    p->is_sweeping = true;
    p->next_sweep = p->from->sweep;
    p->from->sweep = p;
    if (w->sweep.at == 0) gr_due_set(w, &w->sweep, w->now_ms + SWEEP_MS);
}

static void stop_pair(gr_worker *w, gr_pair_out *p)
{
    if (p->is_stopped) return;
    p->is_stopped = true;
    w->n.pairs_stopped++;
    end_forwards(w, p, UINT64_MAX, false);
    unlink_unacked(w, p);
}

static void on_ack(gr_worker *w, gr_pair_out *p, uint64_t number)
{
    if (number > p->durable) { /* it has applied what we never stored: our side was restored */
        stop_pair(w, p);
        return;
    }
    if (number <= p->acked) return;
    land(p, p->acked, number);
    w->n.outbox -= number - p->acked;
    p->acked = number;
    end_forwards(w, p, number, true);
    if (p->sent < number) p->sent = number;
    p->progress_ms = p->acked_ms = w->now_ms;
    if (p->acked == p->durable) {
        unlink_unacked(w, p);
        p->is_synced = true; /* also when the answer to `where` was lost: there is nothing to agree on any more */
    }
    if (p->sent < p->durable && p->is_synced) pump_later(w, p);
    sweep_later(w, p);
}

/* The receiver misses what is no longer here: it was restored, or it said so long ago and what it said since has come
 * first.  Silence asks again; only if it says the same after all that is gone, the pair stops. */
static void doubt(gr_worker *w, gr_pair_out *p)
{
    if (p->doubted_ms == 0) p->doubted_ms = w->now_ms;
    if (w->now_ms - p->doubted_ms >= DOUBT_MS) stop_pair(w, p);
    else link_unacked(w, p);
}

/* The receiver has `number` and wants what follows. */
static void on_at(gr_worker *w, gr_pair_out *p, uint64_t number)
{
    if (number < p->deleted) {
        doubt(w, p);
        return;
    }
    if (number > p->durable) { /* our side was restored */
        stop_pair(w, p);
        return;
    }
    p->is_synced = true;
    p->doubted_ms = 0;
    p->progress_ms = w->now_ms;
    if (p->acked == p->durable) unlink_unacked(w, p); /* it was asked out of doubt alone */
    if (number < p->acked) number = p->acked;
    if (number < p->sent) {
        land(p, number, p->sent);
        p->sent = number;
    } else if (number > p->sent) {
        return; /* it has more than we know to be sent: acknowledgements will tell */
    }
    if (p->sent < p->durable) pump_later(w, p);
}

static void tell_pair(gr_worker *w, gr_peer *peer, unsigned type, uint64_t from, uint64_t to, uint64_t number,
                      uint64_t incarnation);

static void ask_where(gr_worker *w, gr_pair_out *p)
{
    p->progress_ms = w->now_ms;
    tell_pair(w, p->peer, GR_T_post_where, p->from->shard.shard, p->to, p->durable,
              p->from->shard.incarnation);
}

static void on_silence(gr_worker *w, gr_due *due)
{
    gr_pair_out *next = NULL;
    for (gr_pair_out *p = w->unacked; p; p = next) {
        next = p->next_unacked;
        if (w->now_ms - p->progress_ms >= SILENCE_MS) ask_where(w, p);
    }
    if (w->unacked) gr_due_set(w, due, w->now_ms + SILENCE_MS);
}

/* --- the sender: records -------------------------------------------------------------------------------- */
static void sweep_pair(gr_worker *w, gr_pair_out *p, size_t *rows)
{
    outbox_key key;
    while (p->deleted < p->acked && *rows > 0) {
        gr_home_delete(w, p->from, entry_key(&key, p->to, ++p->deleted));
        --*rows;
    }
    if (!p->is_dirty) mark_dirty_out(w, p);
}

/* Pairs with many acknowledged entries; all of them when the timer has fired. */
static void sweep(gr_worker *w, gr_home *home)
{
    size_t rows = SWEEP_ROWS;
    gr_pair_out **at = &home->sweep;
    while (*at) {
        gr_pair_out *p = *at;
        if (home->is_sweep_due || p->acked - p->deleted >= SWEEP_MIN) {
            sweep_pair(w, p, &rows);
            if (p->deleted < p->acked) return;
            *at = p->next_sweep;
            p->is_sweeping = false;
        } else {
            at = &p->next_sweep;
        }
    }
    home->is_sweep_due = false;
}

void gr_post_seal(gr_worker *w, gr_home *home)
{
    sweep(w, home);
    for (gr_pair_out *p; (p = home->dirty_out);) {
        char key[2] = {GR_KEY_PAIR_OUT, (char)p->to}, value[PAIR_OUT_BYTES];
        put_u64(value, p->last);
        put_u64(value + 8, p->deleted);
        gr_home_put(w, home, gr_str_of(key, sizeof key), gr_str_of(value, sizeof value));
        home->dirty_out = p->next_dirty;
        p->is_dirty = false;
    }
    for (gr_pair_in *p; (p = home->dirty_in);) {
        char key[2] = {GR_KEY_PAIR_IN, (char)p->from}, value[PAIR_IN_BYTES];
        put_u64(value, p->applied);
        put_u64(value + 8, p->incarnation);
        put_u64(value + 16, p->own_incarnation);
        gr_home_put(w, home, gr_str_of(key, sizeof key), gr_str_of(value, sizeof value));
        home->dirty_in = p->next_dirty;
        p->is_dirty = false;
    }
}

/* Shards in which nothing is written any more are swept by a group of their own. */
static void on_sweep(gr_worker *w, gr_due *due)
{
    bool has_more = false;
    for (int i = 0; i < GR_SHARDS; i++) {
        gr_home *home = w->homes[i];
        if (!home || !home->is_open || !home->sweep) continue;
        home->is_sweep_due = true;
        if (gr_overlay_layers(home->overlay) == 0) gr_home_touch(w, home);
        has_more = true;
    }
    if (has_more) gr_due_set(w, due, w->now_ms + SWEEP_MS);
}

/* --- the receiver --------------------------------------------------------------------------------------- */
static bool load_pair_in(gr_worker *w, gr_pair_in *p)
{
    char key[2] = {GR_KEY_PAIR_IN, (char)p->from};
    gr_str value;
    gr_arena *arena = gr_group_of(w, w->current)->arena;
    if (gr_failed(gr_overlay_get(p->to->overlay, gr_str_of(key, sizeof key), arena, &value))) return false;
    p->is_known = value.size == PAIR_IN_BYTES;
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

static void tell_at(gr_worker *w, gr_pair_in *p, uint64_t incarnation)
{
    tell_pair(w, w->peers_of[p->from], GR_T_post_at, p->from, p->to->shard.shard, p->queued, incarnation);
}

static void acknowledge(gr_worker *w, gr_pair_in *p)
{
    gr_peer *peer = w->peers_of[p->from];
    if (peer->is_self) {
        gr_pair_out *out = known_pair(w, p->from, p->to->shard.shard);
        if (out) on_ack(w, out, p->durable);
        return;
    }
    if (p->is_acking) return;
    p->is_acking = true;
    p->next_ack = peer->acks;
    peer->acks = p;
    tell_pair(w, peer, 0, 0, 0, 0, 0);
}

void gr_post_acks(gr_worker *w, gr_peer *peer)
{
    while (peer->acks) {
        gr_pair_in *p = peer->acks;
        peer->acks = p->next_ack;
        p->is_acking = false;
        tell_pair(w, peer, GR_T_post_ack, p->from, p->to->shard.shard, p->durable, p->incarnation);
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
        tell_pair(w, w->peers_of[p->from], GR_T_post_stop, p->from, home->shard.shard, p->queued,
                  e->incarnation);
        return;
    }
    if (e->seq == p->queued + 1) {
        p->queued++;
        gr_mailbox_add(w, &p->box, gr_item_new(e, w->now_us));
    } else if (e->seq <= p->queued) {
        w->n.posts_repeated++;
        if (e->seq <= p->durable) acknowledge(w, p);
    } else {
        if (e->seq - p->queued > WINDOW_POSTS) on_far_ahead(w, p, e);
        if (p->gap_told_ms == w->now_ms) return;
        p->gap_told_ms = w->now_ms;
        tell_at(w, p, e->incarnation);
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
    acknowledge(w, p);
}

/* --- control -------------------------------------------------------------------------------------------- */
static void on_where(gr_worker *w, uint64_t from, uint64_t to, uint64_t incarnation)
{
    gr_home *home = to < GR_SHARDS ? w->homes[to] : NULL;
    gr_pair_in *p = home && home->is_open && from < GR_SHARDS ? gr_pair_in_of(w, home, (uint8_t)from) : NULL;
    if (!p) return;
    if (p->is_known && p->durable > 0) acknowledge(w, p);
    tell_at(w, p, incarnation);
}

static void on_pair(gr_worker *w, unsigned type, const uint64_t *pair)
{
    if (type == GR_T_post_where) {
        on_where(w, pair[0], pair[1], pair[3]);
        return;
    }
    gr_pair_out *p = known_pair(w, pair[0], pair[1]);
    if (!p || p->is_stopped || pair[3] != p->from->shard.incarnation) return;
    if (type == GR_T_post_ack) on_ack(w, p, pair[2]);
    if (type == GR_T_post_at) on_at(w, p, pair[2]);
    if (type == GR_T_post_stop) stop_pair(w, p);
}

void gr_post_control(gr_worker *w, unsigned type, gr_u64s pairs)
{
    for (size_t i = 0; i + 4 <= pairs.count; i += 4) on_pair(w, type, pairs.at + i);
}

/* Type 0 tells nothing yet: it makes sure that the peer is visited at the end of the step. */
static void tell_pair(gr_worker *w, gr_peer *peer, unsigned type, uint64_t from, uint64_t to, uint64_t number,
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
    gr_pair_out *p = known_pair(w, gr_address_shard(e->from), gr_address_shard(e->to));
    if (!p || e->seq > p->sent || e->seq <= p->acked) return;
    land(p, e->seq - 1, p->sent);
    p->sent = e->seq - 1; /* silence makes it try again */
    /* Another node: what it has is asked first, when the link is up again, so that no step pumps in vain. */
    if (p->peer->endpoint.node != w->o.self.node) p->is_synced = false;
}

void gr_post_lost(gr_worker *w, gr_peer *peer)
{
    for (gr_pair_out *p = w->unacked; p; p = p->next_unacked)
        if (p->peer == peer) end_forwards(w, p, UINT64_MAX, false);
}

void gr_post_linked(gr_worker *w, gr_peer *peer)
{
    for (gr_pair_out *p = w->unacked; p; p = p->next_unacked)
        if (p->peer == peer) ask_where(w, p);
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
    gr_pair_out *p = pair_out_of(o->w, o->home, (uint8_t)key.ptr[1]);
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
    newest->found = key.size == sizeof(outbox_key);
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
    link_unacked(w, p);
}

/* Only the newest entry of each pair is looked at, the last receiver's first: outboxes may be long. */
static gr_err load_outbox(gr_worker *w, gr_home *home)
{
    static const char end[] = {GR_KEY_OUTBOX + 1};
    outbox_key low, high;
    gr_range range = {.from = entry_key(&low, 0, 0), .to = {end, 1}, .limit = 1, .descending = true};
    for (newest_entry newest = {.found = true}; newest.found;) {
        newest.found = false;
        gr_err err = gr_overlay_scan(home->overlay, &range, on_newest_entry, &newest);
        if (gr_failed(err)) return err;
        if (!newest.found) break;
        has_entries(w, pair_out_of(w, home, newest.to), newest.number);
        range.to = entry_key(&high, newest.to, 0);
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
        if (p && p->is_known && p->durable > 0) acknowledge(w, p); /* the sender may have missed it */
        if (p && incarnation) tell_at(w, p, incarnation);
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
        if (home->out[i] && !home->out[i]->is_synced) ask_where(w, home->out[i]);
    ask_senders(w, home);
    return gr_ok();
}

void gr_post_start(gr_worker *w)
{
    w->silence.fire = on_silence;
    w->sweep.fire = on_sweep;
    w->pump_last = &w->pump;
    w->has_started = true;
    for (gr_pair_out *p = w->unacked; p; p = p->next_unacked) ask_where(w, p);
}

static void free_pair_out(gr_worker *w, gr_pair_out *p)
{
    land(p, p->acked, p->sent);
    end_forwards(w, p, UINT64_MAX, true); /* nobody is told: the asker's timeout speaks */
    w->n.outbox -= p->last - p->acked;
    unlink_unacked(w, p);
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
