/* post_out.c - the sending side of posts: the outbox, what is in flight, and what the receiver says. See post.c. */
#include "bus/post_inside.h"
#include "bus/timer.h"

#include <stdlib.h>

enum {
    WINDOW_BYTES = 256 * 1024,
    PEER_BYTES = 8 << 20,
    SILENCE_MS = 2000,
    DOUBT_MS = 5000, /* longer than a link lives on in silence: nothing older is under way */
    SWEEP_MS = 1000,
    SWEEP_ROWS = 256,
    SWEEP_MIN = 64, /* acknowledged entries of a pair that are deleted without waiting for the timer */
    PUMP_ROWS = 64
};

gr_str gr_post_entry_key(gr_outbox_key *key, uint8_t to, uint64_t number)
{
    key->bytes[0] = GR_KEY_OUTBOX;
    key->bytes[1] = (char)to;
    gr_post_put_u64(key->bytes + 2, number);
    return gr_str_of(key->bytes, sizeof key->bytes);
}

/* --- pairs --------------------------------------------------------------------------------------------- */
gr_pair_out *gr_post_pair_out(gr_worker *w, gr_home *home, uint8_t to)
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

void gr_post_link_unacked(gr_worker *w, gr_pair_out *p)
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

void gr_post_unlink_unacked(gr_worker *w, gr_pair_out *p)
{
    if (!p->is_unacked) return;
    p->is_unacked = false;
    *(p->prev_unacked ? &p->prev_unacked->next_unacked : &w->unacked) = p->next_unacked;
    if (p->next_unacked) p->next_unacked->prev_unacked = p->prev_unacked;
}

/* --- bytes in flight ----------------------------------------------------------------------------------- */
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

void gr_post_land(gr_pair_out *p, uint64_t from, uint64_t to)
{
    for (uint64_t n = from + 1; n <= to && n <= p->sent; n++) {
        size_t size = p->sizes[n % p->room];
        p->in_flight -= size;
        p->peer->in_flight -= size;
    }
}

static bool has_window(const gr_pair_out *p)
{
    return p->sent - p->acked < GR_POST_WINDOW && p->in_flight < WINDOW_BYTES
           && p->peer->in_flight < PEER_BYTES;
}

/* --- from the handler to the wire ---------------------------------------------------------------------- */
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
    gr_pair_out *p = gr_post_pair_out(w, home, gr_address_shard(e->to));
    gr_outbox_key key;
    e->seq = ++p->last;
    gr_envelope envelope = envelope_of(home, e, from);
    envelope.seq = envelope.incarnation = 0; /* the key and the shard have them */
    gr_str own_key = own_key_of(from, e->attachment_key);
    char key_size[2] = {(char)(own_key.size >> 8), (char)own_key.size};
    gr_buf_clear(&w->scratch);
    gr_buf_add(&w->scratch, key_size, sizeof key_size);
    gr_buf_str(&w->scratch, own_key);
    gr_envelope_encode(&w->scratch, &envelope);
    gr_home_put(w, home, gr_post_entry_key(&key, p->to, e->seq), gr_buf_view(&w->scratch));
    w->n.outbox++;
}

/* --- answers that the receiver owes to somebody -------------------------------------------------------- */
static const gr_err noted = {
    GR_UNAVAILABLE, "Part of the server is out of reach: what was asked is noted and will be done when it is back", 0};

/* Forgets those up to a number; those that have no answer to expect any more are told so. */
void gr_post_end_forwards(gr_worker *w, gr_pair_out *p, uint64_t upto, bool is_answered)
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
    if (p->is_stopped || !gr_peer_is_linked(w, p->peer)) gr_post_end_forwards(w, p, e->seq, false);
    else gr_peer_send_moved(w, e, from);
}

static void transmit(gr_worker *w, gr_pair_out *p, const gr_envelope *e)
{
    fly(p, e->seq, e->body.size + e->attachment.size + e->from.size + e->to.size + 64);
    gr_post_link_unacked(w, p);
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
    gr_outbox_key low, high;
    pumping run = {w, p, gr_arena_new(0)};
    gr_range range = {.from = gr_post_entry_key(&low, p->to, p->sent + 1),
                      .to = gr_post_entry_key(&high, p->to, p->durable + 1),
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
        gr_post_link_unacked(w, p);
        if (p->sent < p->durable && has_window(p) && p->sent > before) {
            pump_later(w, p);
            has_more = true;
        } else if (p->sent < p->durable && p->peer->in_flight >= PEER_BYTES) {
            pump_later(w, p); /* others filled the way; an acknowledgement for them makes the worker step */
        }
    }
    return has_more;
}

/* --- what the receiver says ---------------------------------------------------------------------------- */
gr_pair_out *gr_post_known_pair(gr_worker *w, uint64_t from, uint64_t to)
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

void gr_post_stop_pair(gr_worker *w, gr_pair_out *p)
{
    if (p->is_stopped) return;
    p->is_stopped = true;
    w->n.pairs_stopped++;
    gr_post_end_forwards(w, p, UINT64_MAX, false);
    gr_post_unlink_unacked(w, p);
}

void gr_post_on_ack(gr_worker *w, gr_pair_out *p, uint64_t number)
{
    if (number > p->durable) { /* it has applied what we never stored: our side was restored */
        gr_post_stop_pair(w, p);
        return;
    }
    if (number <= p->acked) return;
    gr_post_land(p, p->acked, number);
    w->n.outbox -= number - p->acked;
    p->acked = number;
    gr_post_end_forwards(w, p, number, true);
    if (p->sent < number) p->sent = number;
    p->progress_ms = p->acked_ms = w->now_ms;
    if (p->acked == p->durable) {
        gr_post_unlink_unacked(w, p);
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
    if (w->now_ms - p->doubted_ms >= DOUBT_MS) gr_post_stop_pair(w, p);
    else gr_post_link_unacked(w, p);
}

/* The receiver has `number` and wants what follows. */
void gr_post_on_at(gr_worker *w, gr_pair_out *p, uint64_t number)
{
    if (number < p->deleted) {
        doubt(w, p);
        return;
    }
    if (number > p->durable) { /* our side was restored */
        gr_post_stop_pair(w, p);
        return;
    }
    p->is_synced = true;
    p->doubted_ms = 0;
    p->progress_ms = w->now_ms;
    if (p->acked == p->durable) gr_post_unlink_unacked(w, p); /* it was asked out of doubt alone */
    if (number < p->acked) number = p->acked;
    if (number < p->sent) {
        gr_post_land(p, number, p->sent);
        p->sent = number;
    } else if (number > p->sent) {
        return; /* it has more than we know to be sent: acknowledgements will tell */
    }
    if (p->sent < p->durable) pump_later(w, p);
}

void gr_post_ask_where(gr_worker *w, gr_pair_out *p)
{
    p->progress_ms = w->now_ms;
    gr_post_tell_pair(w, p->peer, GR_T_post_where, p->from->shard.shard, p->to, p->durable,
              p->from->shard.incarnation);
}

void gr_post_on_silence(gr_worker *w, gr_due *due)
{
    gr_pair_out *next = NULL;
    for (gr_pair_out *p = w->unacked; p; p = next) {
        next = p->next_unacked;
        if (w->now_ms - p->progress_ms >= SILENCE_MS) gr_post_ask_where(w, p);
    }
    if (w->unacked) gr_due_set(w, due, w->now_ms + SILENCE_MS);
}

/* --- records ------------------------------------------------------------------------------------------- */
static void sweep_pair(gr_worker *w, gr_pair_out *p, size_t *rows)
{
    gr_outbox_key key;
    while (p->deleted < p->acked && *rows > 0) {
        gr_home_delete(w, p->from, gr_post_entry_key(&key, p->to, ++p->deleted));
        --*rows;
    }
    if (!p->is_dirty) mark_dirty_out(w, p);
}

/* Pairs with many acknowledged entries; all of them when the timer has fired. */
void gr_post_sweep(gr_worker *w, gr_home *home)
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

/* Shards in which nothing is written any more are swept by a group of their own. */
void gr_post_on_sweep(gr_worker *w, gr_due *due)
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
