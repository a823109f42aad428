/* port.c - asks by number, credit, timeouts, and frames in both directions. See port.h. */
#include "bus/port.h"
#include "bus/message_log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* An ask's number is its place in the table (low bits) and a count that makes it different from the place's
 * earlier asks. */
enum {
    SLOT_BITS = 20,
    SLOTS_MAX = 1 << SLOT_BITS,
    SLOTS_FIRST = 64,
    NONE = -1,
    FRAME_MAX = 64 * 1024, /* gathered bytes after which a frame leaves although it is held */
    WAYS_MAX = GR_SHARDS + 128, /* to workers, and to edges that are asked */
};

typedef struct {
    uint64_t seq; /* 0: free */
    uint64_t deadline_ms;
    int32_t heap_at; /* place in the heap; of a free slot: the next free one */
    uint16_t way;
    bool patient, unavailable;
    uint32_t link; /* transport->link of the node that was asked */
} ask;

/* To one worker, another node, or another port. */
typedef struct {
    gr_endpoint to;
    uint32_t link; /* as it was seen last */
    unsigned in_flight;
    gr_buf out;
    uint64_t *held; /* asks in out */
    size_t held_count, held_room;
} way;

struct gr_port {
    gr_port_options options;
    char address[GR_ADDRESS_MAX];
    uint64_t random_state, last_count;
    ask *asks;
    int32_t ask_room, first_free;
    int32_t *heap; /* of slots, by deadline */
    int32_t heap_size;
    way *ways;
    unsigned way_count;
    uint8_t way_of[GR_SHARDS];
    unsigned holds;
    gr_buf body;
    unsigned level;       /* at which it was written */
    gr_arena *arena;      /* of one frame */
    uint64_t trace, span; /* of the message in on_message */
    size_t delivered;
    gr_port_counters counters;
};

/* --- numbers --- */
/* A Weyl sequence through a mixing function (splitmix64): distinct and spread, all that ids of traces need.
 */
static uint64_t next_random(gr_port *p)
{
    uint64_t z = p->random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return z ? z : 1;
}

uint64_t gr_port_trace(gr_port *p) { return next_random(p); }
uint64_t gr_port_trace_now(const gr_port *p) { return p->trace; }

/* --- timeouts: a heap of slots by deadline --- */
static bool before(const gr_port *p, int32_t x, int32_t y)
{
    return p->asks[x].deadline_ms < p->asks[y].deadline_ms;
}

static void heap_set(gr_port *p, int32_t at, int32_t slot)
{
    p->heap[at] = slot;
    p->asks[slot].heap_at = at;
}

static void heap_settle(gr_port *p, int32_t at)
{
    int32_t slot = p->heap[at];
    while (at > 0 && before(p, slot, p->heap[(at - 1) / 2])) {
        heap_set(p, at, p->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (int32_t child; (child = 2 * at + 1) < p->heap_size; at = child) {
        if (child + 1 < p->heap_size && before(p, p->heap[child + 1], p->heap[child])) child++;
        if (!before(p, p->heap[child], slot)) break;
        heap_set(p, at, p->heap[child]);
    }
    heap_set(p, at, slot);
}

static void heap_remove(gr_port *p, int32_t at)
{
    int32_t last = p->heap[--p->heap_size];
    if (at == p->heap_size) return;
    heap_set(p, at, last);
    heap_settle(p, at);
}

/* --- asks --- */
static uint32_t link_to(const gr_port *p, const way *w)
{
    gr_transport *t = p->options.transport;
    return t->ops->link && w->to.node != p->options.self.node ? t->ops->link(t, w->to.node) : 0;
}

/* Also where the transport knows of no links. */
static bool is_reached(const gr_port *p, const way *w)
{
    return !p->options.transport->ops->link || w->to.node == p->options.self.node || link_to(p, w) % 2 == 1;
}

static void grow(gr_port *p)
{
    int32_t room = p->ask_room ? p->ask_room * 2 : SLOTS_FIRST;
    gr_assert(room <= SLOTS_MAX);
    p->asks = gr_realloc(p->asks, (size_t)room * sizeof *p->asks);
    p->heap = gr_realloc(p->heap, (size_t)room * sizeof *p->heap);
    for (int32_t i = room - 1; i >= p->ask_room; i--) {
        p->asks[i] = (ask){.heap_at = p->first_free};
        p->first_free = i;
    }
    p->ask_room = room;
}

static ask *ask_add(gr_port *p, uint16_t to, uint64_t deadline_ms, bool patient)
{
    if (p->first_free == NONE) grow(p);
    int32_t slot = p->first_free;
    ask *a = &p->asks[slot];
    p->first_free = a->heap_at;
    *a = (ask){.seq = ++p->last_count << SLOT_BITS | (uint64_t)slot,
               .deadline_ms = deadline_ms,
               .way = to,
               .patient = patient,
               .link = link_to(p, &p->ways[to])};
    p->heap[p->heap_size] = slot;
    heap_settle(p, p->heap_size++);
    if (patient) {
        p->counters.patient++;
    } else {
        p->counters.in_flight++;
        p->ways[to].in_flight++;
    }
    return a;
}

static ask *ask_find(gr_port *p, uint64_t seq)
{
    int32_t slot = (int32_t)(seq & (SLOTS_MAX - 1));
    return seq && slot < p->ask_room && p->asks[slot].seq == seq ? &p->asks[slot] : NULL;
}

static void ask_remove(gr_port *p, ask *a)
{
    heap_remove(p, a->heap_at);
    if (a->patient) {
        p->counters.patient--;
    } else {
        p->counters.in_flight--;
        p->ways[a->way].in_flight--;
    }
    *a = (ask){.heap_at = p->first_free};
    p->first_free = (int32_t)(a - p->asks);
}

static bool admitted(const gr_port *p, const way *w, bool patient)
{
    if (patient) return p->counters.patient < p->options.patient_max;
    return p->counters.in_flight < p->options.in_flight_max
           && w->in_flight < p->options.in_flight_max_per_worker;
}

static bool is_actor(gr_str to) { return gr_address_valid(to) && gr_address_kind(to) != GR_KIND_EDGE; }

/* Found or made; NULL: there are too many. */
static way *way_of_endpoint(gr_port *p, const gr_endpoint *to)
{
    unsigned i = 0;
    while (i < p->way_count && memcmp(&p->ways[i].to, to, sizeof *to) != 0) i++;
    if (i == WAYS_MAX) return NULL;
    if (i == p->way_count) p->ways[p->way_count++].to = *to;
    return &p->ways[i];
}

static way *way_to(gr_port *p, gr_str to)
{
    gr_endpoint edge;
    if (is_actor(to)) return &p->ways[p->way_of[gr_address_shard(to)]];
    memset(&edge, 0, sizeof edge);
    bool is_known = gr_address_valid(to) && p->options.find_edge && p->options.find_edge(p->options.find_edge_arg, to, &edge);
    return is_known ? way_of_endpoint(p, &edge) : NULL;
}

bool gr_port_has_credit(const gr_port *p, gr_str to)
{
    return is_actor(to) && admitted(p, &p->ways[p->way_of[gr_address_shard(to)]], false);
}

gr_port_place gr_port_place_of_shard(const gr_port *p, uint8_t shard)
{
    const way *w = &p->ways[p->way_of[shard]];
    if (w->to.node == p->options.self.node) return GR_PORT_HERE;
    return is_reached(p, w) ? GR_PORT_REACHED : GR_PORT_OUT_OF_REACH;
}

static void make_unavailable(gr_port *p, ask *a)
{
    a->unavailable = true;
    a->deadline_ms = 0;
    heap_settle(p, a->heap_at);
}

/* Asks that were on a way that is lost fail in this step. */
static void look_at_links(gr_port *p)
{
    bool is_lost = false;
    for (unsigned i = 0; i < p->way_count; i++) {
        uint32_t was = p->ways[i].link, now = link_to(p, &p->ways[i]);
        p->ways[i].link = now;
        is_lost = is_lost || (now != was && (was % 2 == 1 || now - was > 1));
    }
    for (int32_t i = 0; i < p->ask_room && is_lost; i++) {
        ask *a = &p->asks[i];
        if (a->seq && !a->unavailable && a->link != p->ways[a->way].link) make_unavailable(p, a);
    }
}

/* --- sending --- */
static const char out_of_reach[] = "Part of the server is out of reach or overloaded: try again in a moment";

static uint64_t clock_us(const gr_port *p)
{
    return p->options.log ? p->options.clock_us(p->options.clock_arg) : 0;
}

static bool way_flush(gr_port *p, way *w)
{
    if (w->out.size == 0) return true;
    bool sent =
        p->options.transport->ops->send(p->options.transport, p->options.self, w->to, gr_buf_view(&w->out));
    for (size_t i = 0; !sent && i < w->held_count; i++) {
        ask *a = ask_find(p, w->held[i]);
        if (a) make_unavailable(p, a);
    }
    w->held_count = 0;
    gr_buf_clear(&w->out);
    return sent;
}

static void hold_ask(way *w, uint64_t seq)
{
    if (w->held_count == w->held_room) {
        w->held_room = w->held_room ? w->held_room * 2 : 64;
        w->held = gr_realloc(w->held, w->held_room * sizeof *w->held);
    }
    w->held[w->held_count++] = seq;
}

/* Adds one envelope to what goes to the worker. The body is in p->body. */
static void put(gr_port *p, way *w, gr_envelope *e)
{
    e->span = next_random(p);
    e->from = gr_port_address(p);
    e->body = gr_buf_view(&p->body);
    e->level = p->level;
    e->sent_us = w->to.node == p->options.self.node ? 0 : clock_us(p);
    size_t at = w->out.size;
    gr_buf_u32be(&w->out, 0);
    gr_envelope_encode(&w->out, e);
    uint32_t size = (uint32_t)(w->out.size - at - 4);
    for (int i = 0; i < 4; i++) w->out.ptr[at + (size_t)i] = (char)(size >> (24 - 8 * i));
}

/* False: refused by the transport. While held, that shows later. */
static bool leave(gr_port *p, way *w)
{
    if (p->holds > 0 && w->out.size < FRAME_MAX) return true;
    return way_flush(p, w);
}

static bool is_newer(const gr_port *p, const gr_type *type)
{
    return gr_type_since(type) > gr_level_now(p->options.level);
}

static bool encode(gr_port *p, const gr_type *type, const void *body)
{
    p->level = gr_level_now(p->options.level);
    gr_buf_clear(&p->body);
    gr_body_encode_at(&p->body, type, body, p->level);
    return p->body.size <= GR_MESSAGE_MAX - 2 * GR_ADDRESS_MAX;
}

gr_err gr_port_ask(gr_port *p, gr_str to, const gr_type *type, const void *body, uint64_t now_ms,
                   uint64_t timeout_ms, bool patient, uint64_t trace, uint64_t *seq)
{
    *seq = 0;
    way *w = way_to(p, to);
    if (!w) return gr_fail(GR_INVALID_PARAM, "there is no such actor: an address is kind/id");
    if (!admitted(p, w, patient)) {
        p->counters.refused++;
        return (gr_err){GR_LIMIT_EXCEEDED, "the server is busy; try again in a moment", 1000};
    }
    if (is_newer(p, type)) return gr_fail(GR_UNAVAILABLE, "the server is being upgraded and can't do this yet");
    if (!encode(p, type, body)) return gr_fail(GR_TOO_LARGE, "the request is too large");
    ask *a = ask_add(p, (uint16_t)(w - p->ways), now_ms + timeout_ms, patient);
    gr_envelope e = {.trace = trace ? trace : next_random(p),
                     .parent = trace && trace == p->trace ? p->span : 0,
                     .to = to,
                     .verb = GR_ASK,
                     .seq = a->seq,
                     .wait_ms = timeout_ms,
                     .type = type->id};
    put(p, w, &e);
    hold_ask(w, a->seq);
    *seq = a->seq;
    p->counters.asks++;
    if (leave(p, w) || p->holds > 0) return gr_ok();
    ask_remove(p, a);
    *seq = 0;
    p->counters.unavailable++;
    return gr_fail(GR_UNAVAILABLE, out_of_reach);
}

void gr_port_tell(gr_port *p, gr_str to, const gr_type *type, const void *body, uint64_t trace)
{
    way *w = way_to(p, to);
    gr_envelope e = {.trace = trace ? trace : next_random(p), .to = to, .verb = GR_TELL, .type = type->id};
    bool sent = false;
    if (w && !is_newer(p, type) && encode(p, type, body)) {
        put(p, w, &e);
        sent = leave(p, w);
    }
    if (!sent) p->counters.dropped_tells++;
}

void gr_port_answer(gr_port *p, gr_str to, uint64_t seq, const gr_type *type, const void *body)
{
    way *w = way_to(p, to);
    gr_envelope e = {
        .trace = p->trace, .parent = p->span, .to = to, .verb = GR_REPLY, .seq = seq, .type = type->id};
    if (!w || is_newer(p, type) || !encode(p, type, body)) return;
    put(p, w, &e);
    leave(p, w);
}

void gr_port_forget(gr_port *p, uint64_t seq)
{
    ask *a = ask_find(p, seq);
    if (a) ask_remove(p, a);
}

void gr_port_hold(gr_port *p) { p->holds++; }

void gr_port_flush(gr_port *p)
{
    gr_assert(p->holds > 0);
    if (--p->holds > 0) return;
    for (unsigned i = 0; i < p->way_count; i++) way_flush(p, &p->ways[i]);
}

/* --- receiving --- */
static gr_err error_of(gr_arena *a, const gr_error *body)
{
    gr_errcode code =
        body->code > GR_OK && body->code < GR_ERRCODE_COUNT ? (gr_errcode)body->code : GR_UNKNOWN;
    return (gr_err){code, gr_arena_str(a, body->text).ptr, body->retry_after_ms};
}

/* From now on the ask depends on the way to another node. */
static void answer_moved(gr_port *p, ask *a, uint64_t shard)
{
    way *w = &p->ways[p->way_of[shard % GR_SHARDS]];
    if (!a->patient) {
        p->ways[a->way].in_flight--;
        w->in_flight++;
    }
    a->way = (uint16_t)(w - p->ways);
    a->link = link_to(p, w);
    if (!is_reached(p, w)) make_unavailable(p, a);
}

static void deliver_reply(gr_port *p, const gr_envelope *e, const gr_type *type, const void *body)
{
    ask *a = ask_find(p, e->seq);
    if (!a) {
        p->counters.late++;
        return;
    }
    if (type == &gr_type_answer_moved) {
        answer_moved(p, a, ((const gr_answer_moved *)body)->shard);
        return;
    }
    ask_remove(p, a);
    gr_err err = type == &gr_type_error ? error_of(p->arena, body) : gr_ok();
    p->counters.replies++;
    p->delivered++;
    p->trace = e->trace;
    p->span = e->span;
    p->options.handler.on_reply(p->options.handler.arg, e->seq, type, body, err);
    p->trace = p->span = 0;
}

static void deliver_message(gr_port *p, const gr_envelope *e, const gr_type *type, const void *body)
{
    p->trace = e->trace;
    p->span = e->span;
    p->counters.messages++;
    p->delivered++;
    if (p->options.handler.on_message)
        p->options.handler.on_message(p->options.handler.arg, e->from, e->verb == GR_ASK ? e->seq : 0, type,
                                      body);
    p->trace = p->span = 0;
}

static void log_envelope(gr_port *p, const gr_envelope *e, uint64_t arrived_us)
{
    if (!p->options.log) return;
    gr_log_record r = {.trace = e->trace,
                       .span = e->span,
                       .parent = e->parent,
                       .from = e->from,
                       .to = gr_port_address(p),
                       .type = e->type,
                       .verb = e->verb,
                       .sent_us = e->sent_us,
                       .queued_us = arrived_us,
                       .started_us = arrived_us,
                       .handled_us = clock_us(p),
                       .body_size = (uint32_t)e->body.size,
                       .body = e->body};
    if (r.from.size <= GR_ADDRESS_MAX) gr_message_log_add(p->options.log, p->options.log_writer, &r);
}

/* A reply that can't be read still ends its ask. */
static void deliver_unreadable(gr_port *p, const gr_envelope *e)
{
    gr_error body = {.code = GR_UNKNOWN, .text = GR_STR("the answer of the actor could not be read")};
    p->counters.bad++;
    if (e->verb == GR_REPLY) deliver_reply(p, e, &gr_type_error, &body);
}

static void on_envelope(gr_port *p, gr_str bytes)
{
    gr_envelope e;
    void *body = NULL;
    uint64_t arrived_us = clock_us(p);
    if (gr_failed(gr_envelope_decode(bytes, &e))) {
        p->counters.bad++;
        return;
    }
    const gr_type *type = gr_type_find(e.type);
    if (!type || gr_failed(gr_body_decode(p->arena, type, e.body, &body))) deliver_unreadable(p, &e);
    else if (e.verb == GR_REPLY) deliver_reply(p, &e, type, body);
    else if (e.verb == GR_ASK || e.verb == GR_TELL) deliver_message(p, &e, type, body);
    else p->counters.bad++;
    log_envelope(p, &e, arrived_us);
}

static void on_frame(void *arg, gr_str frame)
{
    gr_port *p = arg;
    while (frame.size >= 4) {
        size_t size = gr_u32be(frame.ptr);
        gr_str envelope = gr_str_head(gr_str_from(frame, 4), size);
        if (envelope.size < size) {
            p->counters.bad++;
            break;
        }
        on_envelope(p, envelope);
        frame = gr_str_from(frame, 4 + size);
    }
    gr_arena_reset(p->arena);
}

static void expire(gr_port *p, ask *a)
{
    uint64_t seq = a->seq;
    bool unavailable = a->unavailable;
    gr_err err = unavailable
                     ? gr_fail(GR_UNAVAILABLE, out_of_reach)
                     : gr_fail(GR_TIMEOUT, "no answer in time; try again");
    gr_error body = {.code = err.code, .text = gr_str_c(err.text)};
    ask_remove(p, a);
    *(unavailable ? &p->counters.unavailable : &p->counters.timeouts) += 1;
    p->delivered++;
    p->options.handler.on_reply(p->options.handler.arg, seq, &gr_type_error, &body, err);
}

size_t gr_port_step(gr_port *p, uint64_t now_ms, size_t limit, uint64_t *next_ms)
{
    p->delivered = 0;
    gr_port_hold(p);
    size_t frames =
        p->options.transport->ops->receive(p->options.transport, p->options.self, limit, on_frame, p);
    look_at_links(p);
    size_t expired = 0;
    for (; expired < limit && p->heap_size > 0 && p->asks[p->heap[0]].deadline_ms <= now_ms; expired++)
        expire(p, &p->asks[p->heap[0]]);
    gr_port_flush(p);
    *next_ms = frames == limit || expired == limit ? now_ms
               : p->heap_size > 0                  ? p->asks[p->heap[0]].deadline_ms
                                                   : UINT64_MAX;
    return p->delivered;
}

/* --- opening and closing --- */
static void map_shards(gr_port *p)
{
    p->ways = gr_alloc(WAYS_MAX * sizeof *p->ways);
    for (int shard = 0; shard < GR_SHARDS; shard++)
        p->way_of[shard] = (uint8_t)(way_of_endpoint(p, &p->options.shards[shard]) - p->ways);
}

gr_port *gr_port_new(const gr_port_options *options)
{
    gr_assert(options->self.kind == GR_ENDPOINT_PORT && options->handler.on_reply);
    gr_port *p = gr_alloc(sizeof *p);
    gr_port_options *o = &p->options;
    *o = *options;
    if (o->in_flight_max == 0) o->in_flight_max = 4096;
    if (o->in_flight_max_per_worker == 0) o->in_flight_max_per_worker = o->in_flight_max;
    if (o->patient_max == 0) o->patient_max = 65536;
    gr_assert((uint64_t)o->in_flight_max + o->patient_max <= SLOTS_MAX);
    p->random_state = o->seed;
    if (o->seed == 0) randombytes_buf(&p->random_state, sizeof p->random_state);
    /* A port opened again does not take answers to its predecessor's asks for its own. */
    p->last_count = next_random(p) >> (SLOT_BITS + 4);
    p->first_free = NONE;
    p->arena = gr_arena_new(0);
    snprintf(p->address, sizeof p->address, "edge/%s/%u", o->node, o->self.index);
    map_shards(p);
    return p;
}

void gr_port_close(gr_port **at)
{
    gr_port *p = *at;
    if (!p) return;
    if (p->options.closed) p->options.closed(p->options.closed_arg, p->options.self);
    for (unsigned i = 0; i < p->way_count; i++) {
        gr_buf_free(&p->ways[i].out);
        free(p->ways[i].held);
    }
    gr_buf_free(&p->body);
    gr_arena_free(&p->arena);
    free(p->ways);
    free(p->asks);
    free(p->heap);
    free(p);
    *at = NULL;
}

gr_str gr_port_address(const gr_port *p) { return gr_str_c(p->address); }
int gr_port_fd(const gr_port *p)
{
    return p->options.transport->ops->fd(p->options.transport, p->options.self);
}
void gr_port_count(const gr_port *p, gr_port_counters *out) { *out = p->counters; }
