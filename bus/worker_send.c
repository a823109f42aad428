/* worker_send.c - routing: local queues, frames per peer, asks that wait for a reply. See runtime.h. */
#include "bus/post.h"
#include "bus/runtime.h"
#include "bus/timer.h"

#include <stdlib.h>

enum { FRAME_BYTES = 128 * 1024 };

/* --- peers ---------------------------------------------------------------------------------------------- */
gr_peer *gr_peer_of(gr_worker *w, gr_endpoint endpoint)
{
    gr_peer *peer = NULL;
    HASH_FIND(hh, w->peers, &endpoint, sizeof endpoint, peer);
    if (peer) return peer;
    peer = gr_alloc(sizeof *peer);
    peer->endpoint = endpoint;
    peer->is_self = memcmp(&endpoint, &w->o.self, sizeof endpoint) == 0;
    HASH_ADD(hh, w->peers, endpoint, sizeof peer->endpoint, peer);
    return peer;
}

/* NULL: nobody has that address. */
static gr_peer *peer_for(gr_worker *w, gr_str address)
{
    if (!gr_address_valid(address)) return NULL;
    if (gr_address_kind(address) != GR_KIND_EDGE) return w->peers_of[gr_address_shard(address)];
    gr_edge_entry *edge = NULL;
    HASH_FIND(hh, w->edges, address.ptr, address.size, edge);
    if (edge) return edge->peer;
    gr_endpoint endpoint;
    memset(&endpoint, 0, sizeof endpoint);
    if (!w->o.find_edge || !w->o.find_edge(w->o.find_edge_arg, address, &endpoint)) return NULL;
    edge = gr_alloc(sizeof *edge + address.size);
    edge->peer = gr_peer_of(w, endpoint);
    edge->size = address.size;
    memcpy(edge->address, address.ptr, address.size);
    HASH_ADD(hh, w->edges, address, address.size, edge);
    return edge->peer;
}

void gr_peer_busy(gr_worker *w, gr_peer *peer)
{
    if (peer->is_busy) return;
    peer->is_busy = true;
    peer->next_busy = w->busy;
    w->busy = peer;
}

static uint32_t link_to(const gr_worker *w, const gr_peer *peer)
{
    if (!w->o.transport->ops->link || peer->endpoint.node == w->o.self.node) return 0;
    return w->o.transport->ops->link(w->o.transport, peer->endpoint.node);
}

/* Of the own node always; also where the transport knows of no links. */
bool gr_peer_is_linked(const gr_worker *w, const gr_peer *peer)
{
    return !w->o.transport->ops->link || peer->endpoint.node == w->o.self.node || link_to(w, peer) % 2 == 1;
}

/* --- frames out ----------------------------------------------------------------------------------------- */
static void resolve(gr_worker *w, const gr_envelope *e);

/* The way was full: tells are dropped, asks fail, posts stay in their outbox, replies are missed by a
 * timeout. */
static void on_unsent(gr_worker *w, gr_str frame)
{
    while (frame.size >= 4) {
        gr_str bytes = gr_str_head(gr_str_from(frame, 4), gr_u32be(frame.ptr));
        frame = gr_str_from(frame, 4 + bytes.size);
        gr_envelope e;
        if (gr_failed(gr_envelope_decode(bytes, &e))) continue;
        if (e.verb == GR_TELL || e.verb == GR_REPLY) w->n.dropped_tells++;
        if (e.verb == GR_POST) gr_post_unsent(w, &e);
        if (e.verb == GR_ASK)
            gr_peer_send_error(w, e.to, e.from, e.seq, e.trace, e.span,
                               gr_fail(GR_UNAVAILABLE, "Part of the server is out of reach"));
    }
}

static void flush_frame(gr_worker *w, gr_peer *peer)
{
    if (peer->frame.size == 0) return;
    gr_buf frame = peer->frame;
    peer->frame = (gr_buf){0}; /* failing asks may send */
    if (!w->o.transport->ops->send(w->o.transport, w->o.self, peer->endpoint, gr_buf_view(&frame)))
        on_unsent(w, gr_buf_view(&frame));
    if (peer->frame.ptr || frame.room > 2 * FRAME_BYTES) {
        gr_buf_free(&frame);
        return;
    }
    gr_buf_clear(&frame);
    peer->frame = frame;
}

void gr_peer_send(gr_worker *w, gr_peer *peer, const gr_envelope *e)
{
    size_t at = peer->frame.size;
    gr_envelope out = *e;
    if (w->o.log && peer->endpoint.node != w->o.self.node) out.sent_us = gr_runtime_us(w);
    gr_buf_u32be(&peer->frame, 0);
    gr_envelope_encode(&peer->frame, &out);
    uint32_t size = (uint32_t)(peer->frame.size - at - 4);
    for (int i = 0; i < 4; i++) peer->frame.ptr[at + (size_t)i] = (char)(size >> (24 - 8 * i));
    gr_peer_busy(w, peer);
    if (peer->frame.size >= FRAME_BYTES) flush_frame(w, peer);
}

static void send_control(gr_worker *w, gr_peer *peer)
{
    gr_post_acks(w, peer);
    for (unsigned i = 0; i < 4; i++) {
        gr_buf *pairs = &peer->control[i];
        if (pairs->size == 0) continue;
        gr_buf body = {0};
        gr_post_ack same = {.pairs = {(uint64_t *)(void *)pairs->ptr, pairs->size / sizeof(uint64_t)}};
        gr_body_encode(&body, &gr_type_post_ack, &same); /* the four types are alike */
        gr_envelope e = {.verb = GR_CONTROL, .type = GR_T_post_ack + i, .body = gr_buf_view(&body)};
        gr_peer_send(w, peer, &e);
        gr_buf_free(&body);
        gr_buf_clear(pairs);
    }
}

void gr_peer_flush(gr_worker *w)
{
    while (w->busy) {
        gr_peer *peer = w->busy;
        w->busy = peer->next_busy;
        peer->is_busy = false;
        send_control(w, peer);
        flush_frame(w, peer);
    }
}

/* --- messages out --------------------------------------------------------------------------------------- */
/* Between nodes a message has to fit a frame. */
static bool is_too_large(gr_worker *w, const gr_peer *peer, const gr_envelope *e)
{
    if (peer->endpoint.node == w->o.self.node || e->body.size + e->attachment.size <= GR_MESSAGE_MAX) return false;
    const gr_type *type = gr_type_find(e->type);
    gr_arena *arena = gr_group_of(w, w->current)->arena;
    gr_err err = gr_failf(arena, GR_TOO_LARGE, "The %s %s of %zu bytes is too large to pass between nodes",
                          e->verb == GR_REPLY ? "answer" : "request", type ? type->name : "", e->body.size);
    w->n.bad_messages++;
    if (e->verb == GR_REPLY) gr_peer_send_error(w, e->from, e->to, e->seq, e->trace, e->parent, err);
    if (e->verb == GR_ASK) gr_peer_send_error(w, e->to, e->from, e->seq, e->trace, e->span, err);
    return true;
}

static void send(gr_worker *w, const gr_envelope *e)
{
    gr_peer *peer = peer_for(w, e->to);
    if (!peer) {
        w->n.bad_messages++;
    } else if (!peer->is_self) {
        if (!is_too_large(w, peer, e)) gr_peer_send(w, peer, e);
    } else if (e->verb == GR_REPLY) {
        resolve(w, e);
    } else {
        gr_item_deliver(w, gr_item_new(e, w->now_us));
    }
}

static void send_reply(gr_worker *w, gr_str from, gr_str to, uint64_t seq, uint64_t trace, uint64_t parent,
                       const gr_type *type, const void *body)
{
    gr_buf encoded = {0};
    gr_body_encode_at(&encoded, type, body, w->level);
    gr_envelope e = {.trace = trace,
                     .span = ++w->next_span,
                     .parent = parent,
                     .from = from,
                     .to = to,
                     .verb = GR_REPLY,
                     .seq = seq,
                     .type = type->id,
                     .body = gr_buf_view(&encoded),
                     .level = w->level};
    send(w, &e);
    gr_buf_free(&encoded);
}

void gr_peer_send_error(gr_worker *w, gr_str from, gr_str to, uint64_t seq, uint64_t trace, uint64_t parent,
                        gr_err err)
{
    gr_error body = {.code = err.code, .text = gr_str_c(err.text), .retry_after_ms = err.retry_after_ms};
    send_reply(w, from, to, seq, trace, parent, &gr_type_error, &body);
}

void gr_peer_send_moved(gr_worker *w, const gr_effect *e, gr_str from)
{
    uint8_t shard = gr_address_shard(e->to);
    const gr_peer *asker = peer_for(w, e->reply_to), *owing = w->peers_of[shard];
    uint16_t node = asker ? asker->endpoint.node : w->o.self.node;
    if (node == w->o.self.node || node == owing->endpoint.node) return;
    gr_answer_moved body = {.shard = shard};
    send_reply(w, from, e->reply_to, e->reply_seq, e->trace, e->span, &gr_type_answer_moved, &body);
}

static void on_ask_timeout(gr_worker *w, gr_due *due)
{
    gr_pending *p = (gr_pending *)due;
    gr_peer_send_error(w, (gr_str){p->actor, p->actor_size}, (gr_str){p->actor, p->actor_size}, p->seq,
                       p->trace, p->parent, gr_fail(GR_TIMEOUT, "No answer came in time"));
}

/* Remembers who asked and why. */
static void pend(gr_worker *w, gr_handled *h, const gr_effect *e, gr_str actor)
{
    gr_pending *p = gr_alloc(sizeof *p + actor.size);
    *p = (gr_pending){.due.fire = on_ask_timeout,
                      .seq = e->seq,
                      .generation = h->generation,
                      .trace = e->trace,
                      .parent = e->span,
                      .home = h->home,
                      .peer = peer_for(w, e->to),
                      .resume = e->resume,
                      .actor_size = actor.size};
    if (p->peer) p->link = link_to(w, p->peer);
    p->resume.bytes.ptr = gr_str_dup(e->resume.bytes);
    memcpy(p->actor, actor.ptr, actor.size);
    HASH_ADD(hh, w->pending, seq, sizeof p->seq, p);
    gr_due_set(w, &p->due, w->now_ms + e->timeout_ms);
}

void gr_peer_send_effect(gr_worker *w, gr_handled *h, gr_effect *e)
{
    gr_str from = h->item->e.to;
    if (e->verb == GR_POST) {
        gr_post_release(w, h->home, e, from);
        return;
    }
    if (e->verb == GR_ASK) {
        e->seq = ++w->next_seq;
        pend(w, h, e, from);
    }
    gr_envelope out = {.trace = e->trace,
                       .span = e->span,
                       .parent = e->parent,
                       .from = from,
                       .to = e->to,
                       .verb = e->verb,
                       .seq = e->seq,
                       .wait_ms = e->verb == GR_ASK ? e->timeout_ms : 0,
                       .type = e->type->id,
                       .body = e->body,
                       .level = e->level};
    send(w, &out);
}

/* --- replies to actors of ours -------------------------------------------------------------------------- */
static void pending_drop(gr_worker *w, gr_pending *p)
{
    HASH_DEL(w->pending, p);
    gr_due_clear(w, &p->due);
    free((char *)p->resume.bytes.ptr);
    free(p);
}

static void fail_pending(gr_worker *w, const gr_pending *p)
{
    gr_str actor = {p->actor, p->actor_size};
    gr_peer_send_error(w, actor, actor, p->seq, p->trace, p->parent,
                       gr_fail(GR_UNAVAILABLE, "Part of the server is out of reach"));
}

/* From now on the ask depends on the way to another node. */
static void answer_moved(gr_worker *w, gr_pending *p, const gr_envelope *e)
{
    void *body = NULL;
    gr_err err = gr_body_decode(gr_group_of(w, w->current)->arena, &gr_type_answer_moved, e->body, &body);
    uint64_t shard = gr_failed(err) ? GR_SHARDS : ((gr_answer_moved *)body)->shard;
    if (shard >= GR_SHARDS) return;
    p->peer = w->peers_of[shard];
    p->link = link_to(w, p->peer);
    if (!gr_peer_is_linked(w, p->peer)) fail_pending(w, p);
}

static void resolve(gr_worker *w, const gr_envelope *e)
{
    gr_pending *p = NULL;
    HASH_FIND(hh, w->pending, &e->seq, sizeof e->seq, p);
    if (!p || !gr_str_eq(e->to, (gr_str){p->actor, p->actor_size})) return; /* late, or twice: nobody waits */
    if (e->type == GR_T_answer_moved) {
        answer_moved(w, p, e);
        return;
    }
    gr_live *live = gr_live_find(w, e->to);
    gr_item *item = gr_item_new(e, w->now_us);
    item->has_resume = true;
    item->resume = p->resume;
    p->resume.bytes.ptr = NULL;
    pending_drop(w, p);
    gr_assert(live && live->open > 0); /* an actor with open asks is not dropped */
    live->open--;
    gr_mailbox_add(w, &live->box, item);
}

/* Asks that were on a way that is lost fail at once. */
static void fail_pending_over(gr_worker *w, const gr_peer *peer)
{
    gr_pending *p, *next;
    HASH_ITER(hh, w->pending, p, next) if (p->peer == peer && p->link != peer->link) fail_pending(w, p);
}

void gr_peer_links(gr_worker *w)
{
    if (!w->o.transport->ops->link) return;
    for (gr_peer *peer = w->peers; peer; peer = peer->hh.next) {
        uint32_t was = peer->link, now = link_to(w, peer);
        if (now == was) continue;
        peer->link = now;
        if (was % 2 == 1 || now - was > 1) {
            fail_pending_over(w, peer);
            gr_post_lost(w, peer);
        }
        if (now % 2 == 1) gr_post_linked(w, peer);
    }
}

void gr_worker_lags(gr_worker *w, gr_lag *by_node)
{
    for (const gr_pair_out *p = w->unacked; p; p = p->next_unacked) {
        gr_lag *lag = &by_node[p->peer->endpoint.node];
        uint64_t still_ms = w->now_ms > p->acked_ms ? w->now_ms - p->acked_ms : 0;
        lag->posts += p->durable - p->acked;
        if (still_ms > lag->still_ms) lag->still_ms = still_ms;
    }
}

void gr_pending_lose(gr_worker *w, gr_home *home)
{
    gr_pending *p, *next;
    HASH_ITER(hh, w->pending, p, next) if (!home || p->home == home) pending_drop(w, p);
}

void gr_peer_free_all(gr_worker *w)
{
    gr_edge_entry *edge, *next_edge;
    HASH_ITER(hh, w->edges, edge, next_edge)
    {
        HASH_DEL(w->edges, edge);
        free(edge);
    }
    gr_peer *peer, *next;
    HASH_ITER(hh, w->peers, peer, next)
    {
        HASH_DEL(w->peers, peer);
        gr_buf_free(&peer->frame);
        for (int i = 0; i < 4; i++) gr_buf_free(&peer->control[i]);
        free(peer);
    }
}

static void encode_result(gr_buf *out, const gr_job *job)
{
    gr_work_done done = {.output = gr_buf_view(&job->output), .failed = job->failed};
    gr_fetched refused = {.failure = GR_FETCH_BUSY, .text = GR_STR("This server makes too many requests, or stops")};
    if (job->work) gr_body_encode(out, &gr_type_work_done, &done);
    else if (job->refused) gr_body_encode(out, &gr_type_fetched, &refused);
    else gr_buf_str(out, gr_buf_view(&job->output));
}

void gr_live_work_done(gr_worker *w, gr_job *job)
{
    gr_live *live = gr_live_find(w, job->actor);
    gr_home *home = w->homes[job->shard];
    if (live && home->generation == job->generation) {
        gr_assert(live->open > 0);
        live->open--;
        gr_buf encoded = {0};
        encode_result(&encoded, job);
        gr_envelope e = {.trace = job->trace,
                         .span = ++w->next_span,
                         .parent = job->span,
                         .from = job->actor,
                         .to = job->actor,
                         .verb = GR_REPLY,
                         .type = job->work ? GR_T_work_done : GR_T_fetched,
                         .body = gr_buf_view(&encoded)};
        gr_item *item = gr_item_new(&e, w->now_us);
        item->has_resume = true;
        item->is_work_failure = job->work && job->refused;
        item->resume = job->resume;
        job->resume.bytes.ptr = NULL;
        gr_mailbox_add(w, &live->box, item);
        explicit_bzero(encoded.ptr, encoded.size);
        gr_buf_free(&encoded);
    }
    gr_job_free(&job);
}

/* --- messages in ---------------------------------------------------------------------------------------- */
static bool has_room(const gr_worker *w, const gr_live *live)
{
    return w->n.mailbox_bytes < GR_MAILBOX_BYTES && live->box.count < GR_MAILBOX_ACTOR;
}

void gr_item_deliver(gr_worker *w, gr_item *item)
{
    gr_live *live = gr_live_of(w, item->e.to);
    gr_err err = gr_ok();
    if (!live) err = gr_fail(GR_UNRECOGNIZED, "No actor has this address");
    else if (item->e.verb == GR_ASK && !has_room(w, live))
        err = (gr_err){GR_LIMIT_EXCEEDED, "The server is busy; try again", 1000};
    if (!gr_failed(err)) {
        gr_mailbox_add(w, &live->box, item);
        return;
    }
    if (live) w->n.refused_asks++;
    else w->n.bad_messages++;
    if (item->e.verb == GR_ASK)
        gr_peer_send_error(w, item->e.to, item->e.from, item->e.seq, item->e.trace, item->e.span, err);
    gr_item_free(item);
}

static bool is_ours(const gr_worker *w, gr_str address)
{
    return gr_address_valid(address) && gr_address_kind(address) != GR_KIND_EDGE
           && w->homes[gr_address_shard(address)];
}

static void on_control(gr_worker *w, const gr_envelope *e)
{
    if (e->type < GR_T_post_ack || e->type > GR_T_post_stop) return;
    gr_arena *arena = gr_group_of(w, w->current)->arena;
    void *body = NULL;
    if (gr_failed(gr_body_decode(arena, &gr_type_post_ack, e->body, &body))) return;
    gr_u64s pairs = ((gr_post_ack *)body)->pairs;
    if (pairs.count % 4 == 0) gr_post_control(w, e->type, pairs);
}

static void on_envelope(gr_worker *w, const gr_envelope *e)
{
    if (e->verb == GR_CONTROL) {
        on_control(w, e);
    } else if (!is_ours(w, e->to) || gr_str_find(e->to, 0) >= 0) {
        w->n.bad_messages++;
        if (e->verb == GR_ASK)
            gr_peer_send_error(w, e->to, e->from, e->seq, e->trace, e->span,
                               gr_fail(GR_UNRECOGNIZED, "No actor has this address"));
    } else if (e->verb == GR_POST) {
        gr_post_arrived(w, e);
    } else if (e->verb == GR_REPLY) {
        resolve(w, e);
    } else if (e->verb == GR_TELL && w->n.mailbox_bytes >= GR_MAILBOX_BYTES) {
        w->n.dropped_tells++;
    } else {
        gr_item_deliver(w, gr_item_new(e, w->now_us));
    }
}

static void on_frame(void *arg, gr_str frame)
{
    gr_worker *w = arg;
    while (frame.size >= 4) {
        uint32_t size = gr_u32be(frame.ptr);
        gr_str bytes = gr_str_head(gr_str_from(frame, 4), size);
        gr_envelope e;
        if (bytes.size < size || gr_failed(gr_envelope_decode(bytes, &e))) {
            w->n.bad_messages++;
            return;
        }
        on_envelope(w, &e);
        frame = gr_str_from(frame, 4 + size);
    }
}

void gr_peer_receive(gr_worker *w, size_t limit)
{
    w->o.transport->ops->receive(w->o.transport, w->o.self, limit, on_frame, w);
}
