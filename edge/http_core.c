/* http_core.c - slots, deadlines, peers and counters. See http_core.h. */
#include "edge/http_core.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct gr_http_peer {
    gr_http_peer *next;
    uint8_t key[16];
    uint32_t open;
};

gr_http_limits gr_http_limits_default(void)
{
    return (gr_http_limits){
        .line_max = 20 * 1024, .head_max = 48 * 1024, .header_count_max = 100,
        .body_max = 1024 * 1024, .bodies_max = 256 * 1024 * 1024, .pipeline_max = 16 * 1024,
        .conn_max = 12000, .conn_per_peer_max = 0,
        .head_ms = 10000, .idle_ms = 60000, .body_ms = 15000, .drain_ms = 30000,
        .body_rate = 512, .drain_rate = 512,
        .half_closed_ms = 3000, .linger_ms = 1000, .linger_max = 64 * 1024 * 1024,
    };
}

gr_http *gr_http_new(const gr_http_limits *limits, const gr_http_handler *handler, void *ctx)
{
    gr_assert(handler->on_head && handler->on_request && handler->on_gone);
    gr_assert(limits->conn_max < 1u << GR_HTTP_SLOT_BITS);
    gr_assert(limits->header_count_max <= GR_HTTP_HEADERS_MAX);
    gr_assert(limits->body_rate && limits->drain_rate);
    gr_http *h = gr_alloc(sizeof *h);
    h->limits = *limits;
    if (h->limits.conn_max == 0) h->limits.conn_max = (1u << GR_HTTP_SLOT_BITS) - 1;
    h->handler = *handler;
    h->ctx = ctx;
    return h;
}

void gr_http_free(gr_http **http)
{
    gr_http *h = *http;
    if (!h) return;
    for (uint32_t i = 0; i < h->slot_count; i++)
        if (h->slots[i]) gr_http_drop(h->slots[i], false);
    if (h->loop) gr_http_loop_free(h);
    for (uint32_t i = 0; i < h->slot_count; i++) {
        gr_http_conn *c = h->slots[i];
        if (c) gr_http_conn_free(&c);
    }
    free(h->slots);
    free(h->free_slots);
    free(h->heap);
    free(h);
    *http = NULL;
}

const gr_http_counts *gr_http_count(const gr_http *h) { return &h->counts; }

/* --- peers ---------------------------------------------------------------------------------------------- */
/* IPv4 as it is, IPv6 by its /64: a whole /64 is usually one household. */
static void peer_key(const char *text, uint8_t key[16])
{
    memset(key, 0, 16);
    if (inet_pton(AF_INET, text, key + 12) == 1) {
        key[10] = key[11] = 0xff;
    } else if (inet_pton(AF_INET6, text, key) == 1) {
        memset(key + 8, 0, 8);
    }
}

static gr_http_peer **peer_find(gr_http *h, const uint8_t key[16])
{
    uint64_t hash = gr_str_hash(gr_str_of(key, 16));
    gr_http_peer **p = &h->peers[hash % GR_HTTP_PEER_BUCKETS];
    while (*p && memcmp((*p)->key, key, 16)) p = &(*p)->next;
    return p;
}

static bool peer_take(gr_http *h, gr_http_conn *c)
{
    gr_http_peer **p = peer_find(h, c->peer_key);
    if (!*p) {
        *p = gr_alloc(sizeof **p);
        memcpy((*p)->key, c->peer_key, 16);
    }
    if ((*p)->open >= h->limits.conn_per_peer_max) return false;
    (*p)->open++;
    return true;
}

static void peer_leave(gr_http *h, gr_http_conn *c)
{
    gr_http_peer **p = peer_find(h, c->peer_key);
    gr_assert(*p && (*p)->open > 0);
    if (--(*p)->open) return;
    gr_http_peer *gone = *p;
    *p = gone->next;
    free(gone);
}

/* --- slots and ids -------------------------------------------------------------------------------------- */
bool gr_http_slot_take(gr_http_conn *c)
{
    gr_http *h = c->http;
    if (h->counts.open >= h->limits.conn_max) {
        h->counts.refused_total++;
        return false;
    }
    peer_key(c->peer, c->peer_key);
    if (h->limits.conn_per_peer_max && !peer_take(h, c)) {
        h->counts.refused_peer++;
        return false;
    }
    if (h->free_count) {
        c->slot = h->free_slots[--h->free_count];
    } else {
        if (h->slot_count == h->slot_room) {
            h->slot_room = h->slot_room ? h->slot_room * 2 : 64;
            h->slots = gr_realloc(h->slots, h->slot_room * sizeof *h->slots);
            h->free_slots = gr_realloc(h->free_slots, h->slot_room * sizeof *h->free_slots);
        }
        c->slot = h->slot_count++;
    }
    h->slots[c->slot] = c;
    h->counts.accepted++;
    h->counts.open++;
    return true;
}

gr_http_conn *gr_http_find(const gr_http *h, gr_http_id id)
{
    uint32_t slot = (uint32_t)(id & ((1u << GR_HTTP_SLOT_BITS) - 1));
    if (id == 0 || slot >= h->slot_count || !h->slots[slot] || h->slots[slot]->id != id) return NULL;
    return h->slots[slot];
}

gr_http_id gr_http_next_id(gr_http_conn *c)
{
    return ++c->http->requests << GR_HTTP_SLOT_BITS | c->slot;
}

/* --- deadlines ------------------------------------------------------------------------------------------ */
static void heap_put(gr_http *h, uint32_t at, gr_http_conn *c)
{
    h->heap[at] = c;
    c->heap_at = at + 1;
}

static void heap_up(gr_http *h, uint32_t at)
{
    gr_http_conn *c = h->heap[at];
    for (; at && h->heap[(at - 1) / 2]->heap_ms > c->heap_ms; at = (at - 1) / 2)
        heap_put(h, at, h->heap[(at - 1) / 2]);
    heap_put(h, at, c);
}

static void heap_down(gr_http *h, uint32_t at)
{
    gr_http_conn *c = h->heap[at];
    for (uint32_t child; (child = at * 2 + 1) < h->heap_count; at = child) {
        if (child + 1 < h->heap_count && h->heap[child + 1]->heap_ms < h->heap[child]->heap_ms) child++;
        if (h->heap[child]->heap_ms >= c->heap_ms) break;
        heap_put(h, at, h->heap[child]);
    }
    heap_put(h, at, c);
}

static void heap_remove(gr_http *h, gr_http_conn *c)
{
    uint32_t at = c->heap_at - 1;
    gr_http_conn *last = h->heap[--h->heap_count];
    c->heap_at = 0;
    if (last == c) return;
    heap_put(h, at, last);
    heap_up(h, at);
    heap_down(h, last->heap_at - 1);
}

static uint64_t due_of(const gr_http_conn *c)
{
    if (c->phase == GR_HTTP_DONE_PHASE) return 0;
    if (c->in_due_ms == 0 || (c->out_due_ms && c->out_due_ms < c->in_due_ms)) return c->out_due_ms;
    return c->in_due_ms;
}

void gr_http_arm(gr_http_conn *c)
{
    gr_http *h = c->http;
    uint64_t due = due_of(c);
    if (due == 0 || (c->heap_at && c->heap_ms <= due)) return;
    c->heap_ms = due;
    if (c->heap_at == 0) {
        if (h->heap_count == h->heap_room) {
            h->heap_room = h->heap_room ? h->heap_room * 2 : 64;
            h->heap = gr_realloc(h->heap, h->heap_room * sizeof *h->heap);
        }
        heap_put(h, h->heap_count++, c);
    }
    heap_up(h, c->heap_at - 1);
}

uint64_t gr_http_next_due(const gr_http *h) { return h->heap_count ? h->heap[0]->heap_ms : UINT64_MAX; }

void gr_http_run(gr_http *h, uint64_t now_ms)
{
    h->now_ms = now_ms;
    while (h->heap_count && h->heap[0]->heap_ms <= now_ms) {
        gr_http_conn *c = h->heap[0];
        uint64_t due = due_of(c);
        if (due > now_ms) {
            c->heap_ms = due;
            heap_down(h, 0);
            continue;
        }
        heap_remove(h, c);
        if (due == 0) continue;
        gr_http_expire(c);
        gr_http_touch(c);
    }
}

void gr_http_slot_leave(gr_http_conn *c)
{
    gr_http *h = c->http;
    gr_assert(h->slots[c->slot] == c);
    h->slots[c->slot] = NULL;
    h->free_slots[h->free_count++] = c->slot;
    if (c->heap_at) heap_remove(h, c);
    if (h->limits.conn_per_peer_max) peer_leave(h, c);
    h->counts.open--;
    h->counts.closed++;
}

/* --- the list of connections with something to do ------------------------------------------------------- */
void gr_http_touch(gr_http_conn *c)
{
    gr_http *h = c->http;
    if (c->dirty || c->busy) return;
    c->dirty = true;
    c->next_dirty = NULL;
    if (h->dirty) h->dirty_last->next_dirty = c;
    else h->dirty = c;
    h->dirty_last = c;
}

bool gr_http_any_dirty(const gr_http *h) { return h->dirty != NULL; }

gr_http_conn *gr_http_next_dirty(gr_http *h)
{
    gr_http_conn *c = h->dirty;
    if (!c) return NULL;
    h->dirty = c->next_dirty;
    gr_http_turn(c);
    c->dirty = false;
    return c;
}

void gr_http_stop_conns(gr_http *h)
{
    h->stopping = true;
    for (uint32_t i = 0; i < h->slot_count; i++) {
        gr_http_conn *c = h->slots[i];
        if (!c || c->phase != GR_HTTP_HEAD_PHASE || c->started || gr_http_has_output(c)) continue;
        gr_http_drop(c, false);
        gr_http_touch(c);
    }
}

/* RFC 9110 5.6.7. */
void gr_http_set_date(gr_http *h, int64_t unix_s)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (h->date_s == unix_s) return;
    time_t t = (time_t)unix_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    h->date_s = unix_s;
    snprintf(h->date, sizeof h->date, "%.3s, %02d %.3s %04u %02d:%02d:%02d GMT", days + 3 * tm.tm_wday,
             tm.tm_mday, months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
}
