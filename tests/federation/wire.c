/* wire.c - requests between servers and of clients, as bytes, and what may happen to them. See fed.h.
 *
 * A request waits its delay, is fed to an edge of the server it is for, and what that answers waits its delay again.  A cut way
 * makes no connections, and loses the answers of those there are; who made a request learns that at once or by its timeout.
 */
#include "tests/federation/fed.h"

#include "edge/http_conn.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
    WAY_MS = 25,               /* a request, or an answer, takes up to so long */
    LOSE_ONE_IN = 25,          /* requests, and as many answers */
    CLIENT_MS = 60 * 1000,
    PART_MS = 30 * 1000,
    CRASH_ONE_IN = 60,         /* transactions, when servers crash while they send */
    CRASH_CATCHING_ONE_IN = 6
};

/* GOING: not there yet.  SERVED: an edge has it.  COMING: what came of it is on its way.  RESTING: the next part of the answer
 * may be asked for.  DONE: of a client, to be taken by fed_answer. */
typedef enum { GOING, SERVED, COMING, RESTING, DONE } phase;

struct fed_request {
    fed_request *next;
    uint64_t number;           /* of the fetch, or of a client's request */
    int from;                  /* -1: a client */
    unsigned from_node, to;
    phase phase;
    uint64_t due_ms, until_ms; /* until: then whoever asked gives up */
    gr_buf uri, content, bytes, raw, body;
    gr_edge *edge;
    gr_http_conn *conn;
    gr_fetch_failure failure;
    unsigned status;
    uint64_t part_max;
    size_t given;              /* of the body */
};

static bool is_cut(const fed *f, const fed_request *r)
{
    return r->from >= 0 && f->cut_until_ms[r->from][r->to] > f->now_ms;
}

static bool may_be_lost(const fed *f, const fed_request *r)
{
    return f->faults && (r->from < 0 || fed_watch_way(gr_buf_view(&r->uri)));
}

/* --- the beginning ----------------------------------------------------------------------------------------------- */
static fed_request *add(fed *f, int from, unsigned to, uint64_t timeout_ms)
{
    fed_request *r = gr_alloc(sizeof *r), **last = &f->requests;
    *r = (fed_request){.from = from, .to = to, .until_ms = f->now_ms + timeout_ms};
    r->due_ms = f->now_ms + 1 + fed_random(f) % WAY_MS;
    while (*last) last = &(*last)->next;
    *last = r;
    f->n.requests++;
    return r;
}

static void write_request(fed_request *r, gr_str host, gr_str method, gr_str authorization)
{
    gr_buf *b = &r->bytes;
    gr_buf_printf(b, "%" GR_FMT " %" GR_FMT " HTTP/1.1\r\nHost: %" GR_FMT "\r\nConnection: close\r\n", GR_ARG(method),
                  GR_ARG(gr_buf_view(&r->uri)), GR_ARG(host));
    if (authorization.size) gr_buf_printf(b, "Authorization: %" GR_FMT "\r\n", GR_ARG(authorization));
    if (!gr_str_is(method, "GET"))
        gr_buf_printf(b, "Content-Type: application/json\r\nContent-Length: %zu\r\n", r->content.size);
    gr_buf_c(b, "\r\n");
    gr_buf_str(b, gr_buf_view(&r->content));
}

static bool go_on(fed *f, unsigned from, uint64_t number, const gr_fetch *fetch)
{
    fed_request *r = f->requests;
    while (r && !(r->phase == RESTING && r->from == (int)from && r->number == fetch->more)) r = r->next;
    if (!r) return false;
    r->number = number;
    r->phase = COMING;
    r->due_ms = f->now_ms + 1 + fed_random(f) % WAY_MS;
    return true;
}

bool fed_fetch(void *arg, gr_sim *sim, unsigned node, uint64_t number, const gr_fetch *fetch, gr_arena *arena,
               gr_fetched *out)
{
    fed *f = arg;
    unsigned from = 0, to = 0;
    (void)arena;
    while (f->servers[from].sim != sim) from++;
    while (to < FED_SERVERS && !gr_str_is(fetch->server, f->servers[to].name)) to++;
    *out = (gr_fetched){.failure = GR_FETCH_UNREACHABLE, .text = GR_STR("There is no such server")};
    if (fetch->more) {
        out->failure = GR_FETCH_BROKEN;
        return !go_on(f, from, number, fetch);
    }
    if (to == FED_SERVERS) return true;
    fed_request *r = add(f, (int)from, to, fetch->timeout_ms);
    r->from_node = node;
    r->number = number;
    r->part_max = fetch->part_max;
    gr_buf_str(&r->uri, fetch->uri);
    gr_buf_str(&r->content, fetch->content);
    write_request(r, fetch->server, fetch->method, fetch->authorization);
    fed_watch_sent(f, from, to, fetch->uri, fetch->content);
    return false;
}

uint64_t fed_client(fed *f, unsigned server, const char *token, const char *method, gr_str uri, gr_str body)
{
    fed_request *r = add(f, -1, server, CLIENT_MS);
    r->number = ++f->next_request;
    gr_buf_str(&r->uri, uri);
    gr_buf_str(&r->content, body);
    gr_str authorization = gr_arena_printf(f->turn, "Bearer %s", token);
    write_request(r, gr_str_c(f->servers[server].name), gr_str_c(method), authorization);
    return r->number;
}

/* --- the end ----------------------------------------------------------------------------------------------------- */
static void hang_up(fed_request *r)
{
    if (!r->conn) return;
    gr_http_conn_lost(r->conn);
    while (gr_http_next_dirty(r->edge->http)) continue;        /* fed_wire_take looks at all */
    gr_assert(gr_http_conn_done(r->conn));
    gr_http_conn_free(&r->conn);
    r->edge = NULL;
}

static void release(fed *f, fed_request *r)
{
    fed_request **at = &f->requests;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    hang_up(r);
    gr_buf_free(&r->uri);
    gr_buf_free(&r->content);
    gr_buf_free(&r->bytes);
    gr_buf_free(&r->raw);
    gr_buf_free(&r->body);
    free(r);
}

void fed_wire_free(fed *f)
{
    while (f->requests) release(f, f->requests);
}

/* It failed: soon, or when whoever asked gives up. */
static void fail(fed *f, fed_request *r, gr_fetch_failure failure, bool soon)
{
    hang_up(r);
    r->failure = soon ? failure : GR_FETCH_TIMEOUT;
    r->phase = COMING;
    r->due_ms = soon ? f->now_ms + 1 + fed_random(f) % WAY_MS : r->until_ms;
}

static void read_body(fed_request *r, gr_str rest, bool is_chunked)
{
    gr_http_chunk chunk = {0};
    gr_str piece;
    if (!is_chunked) gr_buf_str(&r->body, rest);
    while (is_chunked && gr_http_chunk_next(&chunk, &rest, &piece) == GR_HTTP_CHUNK_DATA) gr_buf_str(&r->body, piece);
}

/* An edge has answered, and all of it is here. */
static void read_answer(fed *f, fed_request *r)
{
    gr_buf_char(&r->raw, 0);
    const char *text = r->raw.ptr, *end = strstr(text, "\r\n\r\n"), *coding = strcasestr(text, "\r\ntransfer-encoding:");
    r->raw.size--;
    if (!end || sscanf(text, "HTTP/1.1 %u", &r->status) != 1) {
        fail(f, r, GR_FETCH_BROKEN, true);
        return;
    }
    read_body(r, gr_str_from(gr_buf_view(&r->raw), (size_t)(end + 4 - text)), coding && coding < end);
    hang_up(r);
    r->phase = COMING;
    r->due_ms = f->now_ms + 1 + fed_random(f) % WAY_MS;
    if (is_cut(f, r) || (may_be_lost(f, r) && fed_chance(f, LOSE_ONE_IN))) {
        f->n.lost++;
        fail(f, r, GR_FETCH_BROKEN, fed_chance(f, 2));
    }
}

void fed_wire_take(fed *f, gr_edge *e)
{
    struct iovec iov[2];
    while (gr_http_next_dirty(e->http)) continue;
    for (fed_request *r = f->requests; r; r = r->next) {
        if (r->edge != e) continue;
        while (gr_http_conn_out(r->conn, f->now_ms, iov) > 0) {
            gr_buf_add(&r->raw, iov[0].iov_base, iov[0].iov_len);
            gr_http_conn_wrote(r->conn, f->now_ms, iov[0].iov_len);
        }
        if (gr_http_conn_closing(r->conn) || gr_http_conn_done(r->conn)) read_answer(f, r);
    }
}

void fed_wire_gone(fed *f, gr_edge *e)
{
    for (fed_request *r = f->requests; r; r = r->next)
        if (r->edge == e) fail(f, r, GR_FETCH_BROKEN, fed_chance(f, 2));
}

/* --- on the way -------------------------------------------------------------------------------------------------- */
static gr_edge *some_edge(fed *f, unsigned server)
{
    fed_server *s = &f->servers[server];
    unsigned first = (unsigned)(fed_random(f) % s->nodes);
    for (unsigned i = 0; i < s->nodes; i++) {
        unsigned node = (first + i) % s->nodes;
        if (!s->edges[node]) continue;
        s->edge_ms[node] = 0;
        return s->edges[node];
    }
    return NULL;
}

static void arrive(fed *f, fed_request *r)
{
    char peer[32];
    bool is_lost = may_be_lost(f, r) && fed_chance(f, LOSE_ONE_IN);
    gr_edge *e = is_cut(f, r) || is_lost ? NULL : some_edge(f, r->to);
    if (is_cut(f, r)) f->n.cut++;
    if (is_lost) f->n.lost++;
    if (!e) {
        fail(f, r, GR_FETCH_UNREACHABLE, fed_chance(f, 2));
        return;
    }
    snprintf(peer, sizeof peer, "192.0.2.%d", r->from + 2);
    r->conn = gr_http_conn_open(e->http, f->now_ms, peer, true);
    gr_assert(r->conn);
    r->conn->door = r->from >= 0 ? GR_EDGE_FEDERATION : GR_EDGE_CLIENT;
    r->edge = e;
    r->phase = SERVED;
    e->now_ms = f->now_ms;             /* it has no clock that it could look at when something comes */
    gr_http_conn_bytes(r->conn, f->now_ms, gr_buf_view(&r->bytes));
}

/* A part of the answer, or the rest of it. */
static void give(fed *f, fed_request *r)
{
    gr_str body = gr_str_from(gr_buf_view(&r->body), r->given);
    gr_fetched fetched = {.failure = r->failure, .status = r->failure ? 0 : r->status, .body = r->failure ? (gr_str){0} : body};
    bool is_part = r->part_max && r->status == 200 && !r->failure && body.size > r->part_max;
    if (is_part) {
        fetched.body = gr_str_head(body, r->part_max);
        fetched.more = r->number;
        r->given += r->part_max;
    }
    bool is_heard = gr_sim_fetched(f->servers[r->from].sim, r->from_node, r->number, &fetched);
    if (is_heard && !r->failure && r->status == 200)
        fed_watch_acknowledged(f, (unsigned)r->from, r->to, gr_buf_view(&r->uri), gr_buf_view(&r->content));
    if (!is_part || !is_heard) {
        release(f, r);
        return;
    }
    r->phase = RESTING;
    r->due_ms = f->now_ms + PART_MS;
}

/* While a transaction is under way, or has just been acknowledged. */
static void may_crash(fed *f, const fed_request *r)
{
    char way = r->from >= 0 ? fed_watch_way(gr_buf_view(&r->uri)) : 0;
    if (!f->crashes || !way) return;
    if (fed_chance(f, way == 'u' ? CRASH_CATCHING_ONE_IN : CRASH_ONE_IN)) f->crash_next = r->from;
}

static void step(fed *f, fed_request *r)
{
    if (r->phase == SERVED) {
        fail(f, r, GR_FETCH_TIMEOUT, true);
        return;
    }
    may_crash(f, r);
    if (r->phase == GOING) arrive(f, r);
    else if (r->phase == RESTING) release(f, r);
    else if (r->phase == COMING && r->from >= 0) give(f, r);
    else r->phase = DONE;
}

static uint64_t due_of(const fed_request *r)
{
    return r->phase == SERVED ? r->until_ms : r->phase == DONE ? UINT64_MAX : r->due_ms;
}

uint64_t fed_wire_next_ms(const fed *f)
{
    uint64_t next_ms = UINT64_MAX;
    for (const fed_request *r = f->requests; r; r = r->next)
        if (due_of(r) < next_ms) next_ms = due_of(r);
    return next_ms;
}

void fed_wire_step(fed *f)
{
    for (fed_request *r = f->requests, *next; r; r = next) {
        next = r->next;
        if (due_of(r) <= f->now_ms) step(f, r);
    }
}

bool fed_answer(fed *f, uint64_t number, unsigned *status, const gr_json **body)
{
    fed_request *r = f->requests;
    while (r && !(r->from < 0 && r->number == number)) r = r->next;
    gr_assert(r);
    if (r->phase != DONE) return false;
    *status = r->failure ? 0 : r->status;
    *body = NULL;
    if (*status && gr_failed(gr_json_parse(f->turn, gr_buf_view(&r->body), GR_JSON_LAX, body))) *status = 0;
    release(f, r);
    return true;
}
