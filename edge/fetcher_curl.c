/* fetcher_curl.c - one transfer by libcurl. See fetcher_inside.h. */
#include "edge/fetcher_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { WELL_KNOWN_MS = 10000, RETRY_AFTER_MAX_S = 24 * 3600 };

/* --- what libcurl calls ------------------------------------------------------------------------------------ */
/* The last look at the address, after all look-ups: what connects is what was judged. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *at)
{
    fetcher_transfer *t = arg;
    (void)purpose;
    bool any = t->request && t->request->fetch->any_address;
    if (!any && !gr_ip_rules_allow(&t->fetcher->o.rules, &at->addr)) {
        t->is_denied = true;
        return CURL_SOCKET_BAD;
    }
    gr_fetcher_add(t->fetcher, &t->fetcher->n.connections);
    return socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);
}

/* The part is full, and of an answer that is worth more than one. */
static bool is_part(const fetcher_transfer *t, size_t size)
{
    long status = 0;
    uint64_t part_max = t->request ? t->request->fetch->part_max : 0;
    if (!part_max || t->body.size == 0 || t->body.size + size <= part_max) return false;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
}

static void give_part(fetcher_transfer *t)
{
    fetcher_request *r = t->request;
    gr_fetcher *f = t->fetcher;
    r->number = (f->random & UINT32_MAX) << 32 | ++f->next_number;      /* never that of another run of this program */
    r->rests_until_ms = f->now_ms + GR_FETCHER_PART_MS;
    t->given += t->body.size;
    gr_fetcher_give(f, r, &(gr_fetched){.failure = GR_FETCH_ANSWERED, .status = 200, .body = gr_buf_view(&t->body),
                                        .more = r->number});
    gr_buf_clear(&t->body);
}

bool gr_fetcher_go_on(gr_fetcher *f, gr_job *job, const gr_fetch *fetch)
{
    fetcher_transfer *t = f->transfers;
    while (t && !(t->request && t->request->rests_until_ms && t->request->number == fetch->more)) t = t->next;
    if (!t) return false;
    t->request->job = job;
    t->request->rests_until_ms = 0;
    curl_easy_pause(t->easy, CURLPAUSE_CONT);
    return true;
}

static bool is_slow_now(const gr_fetcher *f, const fetcher_transfer *t)
{
    return f->now_ms >= t->started_ms + GR_FETCHER_SLOW_MS;
}

void gr_fetcher_slow(gr_fetcher *f)
{
    for (fetcher_transfer *t = f->transfers; t && f->slow_count < GR_FETCHER_SLOW; t = t->next) {
        if (!t->request || t->is_slow || !is_slow_now(f, t)) continue;
        t->is_slow = t->server->is_slow = true;
        f->slow_count++;
    }
    gr_fetcher_next(f);
}

void gr_fetcher_rests(gr_fetcher *f)
{
    for (fetcher_transfer *t = f->transfers, *next; t; t = next) {
        next = t->next;
        bool is_over = t->request && t->request->rests_until_ms && t->request->rests_until_ms <= f->now_ms;
        if (is_over) gr_fetcher_finished(f, t, CURLE_OPERATION_TIMEDOUT);
    }
}

static size_t on_body(char *bytes, size_t one, size_t size, void *arg)
{
    fetcher_transfer *t = arg;
    (void)one;
    if (t->given + t->body.size + size > t->body_max) {
        t->is_too_large = true;
        return 0;
    }
    if (is_part(t, size)) {
        give_part(t);
        return CURL_WRITEFUNC_PAUSE;   /* these bytes come again */
    }
    gr_buf_add(&t->body, bytes, size);
    return size;
}

static bool header_is(gr_str line, const char *name, gr_str *value)
{
    size_t size = strlen(name);
    if (line.size <= size || line.ptr[size] != ':' || strncasecmp(line.ptr, name, size) != 0) return false;
    *value = gr_str_from(line, size + 1);
    while (value->size && value->ptr[0] == ' ') *value = gr_str_from(*value, 1);
    while (value->size && strchr("\r\n ", value->ptr[value->size - 1])) value->size--;
    return true;
}

/* Counts all heads, those of a redirection and of interim answers too. */
static size_t on_header(char *bytes, size_t one, size_t size, void *arg)
{
    fetcher_transfer *t = arg;
    gr_str line = gr_str_of(bytes, size), value;
    uint64_t seconds = 0;
    (void)one;
    t->head_size += size;
    if (t->head_size > GR_FETCHER_HEAD_MAX) {
        t->is_too_large = true;
        return 0;
    }
    if (gr_str_starts(line, GR_STR("HTTP/"))) t->cache_control = t->expires = (gr_str){0};
    if (header_is(line, "cache-control", &value)) t->cache_control = gr_arena_str(t->arena, value);
    if (header_is(line, "expires", &value)) t->expires = gr_arena_str(t->arena, value);
    if (header_is(line, "retry-after", &value) && gr_str_u64(value, &seconds))
        t->retry_after_ms = 1000 * (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S);
    return size;
}

/* --- making one -------------------------------------------------------------------------------------------- */
static fetcher_transfer *make(gr_fetcher *f, fetcher_server *s, fetcher_request *r, const char *url, uint64_t timeout_ms)
{
    fetcher_transfer *t = gr_alloc(sizeof *t);
    t->fetcher = f;
    t->server = s;
    t->request = r;
    t->arena = gr_arena_new(512);
    t->easy = curl_easy_init();
    gr_assert(t->easy);
    CURL *e = t->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "Greenroom/" GR_VERSION);
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)GR_FETCHER_CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    if (f->o.trusted_ca[0]) {
        curl_easy_setopt(e, CURLOPT_CAINFO, f->o.trusted_ca);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    return t;
}

static void start(gr_fetcher *f, fetcher_transfer *t)
{
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->connect_to);
    t->next = f->transfers;
    if (t->next) t->next->prev = t;
    f->transfers = t;
    t->started_ms = f->now_ms;
    t->is_slow = t->request && t->server->is_slow;
    f->slow_count += t->is_slow;
    pthread_mutex_lock(&f->lock);
    if (t->request) f->transfer_count++;
    pthread_mutex_unlock(&f->lock);
    curl_multi_add_handle(f->multi, t->easy);
}

void gr_fetcher_transfer_free(gr_fetcher *f, fetcher_transfer *t)
{
    if (t->prev) t->prev->next = t->next;
    else f->transfers = t->next;
    if (t->next) t->next->prev = t->prev;
    f->slow_count -= t->is_slow;
    pthread_mutex_lock(&f->lock);
    if (t->request) f->transfer_count--;
    pthread_mutex_unlock(&f->lock);
    curl_multi_remove_handle(f->multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->connect_to);
    gr_arena_free(&t->arena);
    gr_buf_free(&t->body);
    free(t);
}

static const char *bracketed(gr_arena *arena, const char *host)
{
    return gr_arena_printf(arena, strchr(host, ':') ? "[%s]" : "%s", host).ptr;
}

static void set_method(fetcher_transfer *t, const gr_fetch *fetch)
{
    bool is_get = gr_str_is(fetch->method, "GET");
    if (!is_get) curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, gr_arena_str(t->arena, fetch->method).ptr);
    if (is_get) return;
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->content.size);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, fetch->content.size ? fetch->content.ptr : "");
}

static const char *content_type(gr_arena *a, const gr_fetch *fetch)
{
    if (fetch->content.size == 0) return "Content-Type:";
    if (fetch->content_type.size == 0) return "Content-Type: application/json";
    return gr_arena_printf(a, "Content-Type: %" GR_FMT, GR_ARG(fetch->content_type)).ptr;
}

/* The name in the URL is that of the certificate, also sent as SNI; where it really goes says CONNECT_TO. */
void gr_fetcher_start(gr_fetcher *f, fetcher_request *r)
{
    fetcher_server *s = r->server;
    const gr_fetch *fetch = r->fetch;
    const gr_resolve_target *to = &s->place.targets[r->target];
    gr_arena *a = r->arena;
    if (r->until_ms <= f->now_ms) {
        gr_fetcher_fail(f, r, GR_FETCH_TIMEOUT, "The server could not be asked in time");
        return;
    }
    const char *name = bracketed(a, s->place.name), *host = bracketed(a, to->host);
    gr_str url = gr_arena_printf(a, "https://%s:%u%" GR_FMT, name, to->port, GR_ARG(fetch->uri));
    fetcher_transfer *t = make(f, s, r, fetch->url.size ? gr_arena_str(a, fetch->url).ptr : url.ptr, r->until_ms - f->now_ms);
    t->body_max = fetch->answer_max;
    set_method(t, fetch);
    if (fetch->url.size) curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "https,http");
    else t->headers = curl_slist_append(t->headers, gr_arena_printf(a, "Host: %s", s->place.header).ptr);
    if (!fetch->url.size && strcmp(s->place.name, to->host) != 0)
        t->connect_to = curl_slist_append(NULL, gr_arena_printf(a, "%s:%u:%s:%u", name, to->port, host, to->port).ptr);
    t->headers = curl_slist_append(t->headers, "Expect:");
    t->headers = curl_slist_append(t->headers, content_type(a, fetch));
    if (fetch->authorization.size)
        t->headers = curl_slist_append(t->headers,
                                       gr_arena_printf(a, "Authorization: %" GR_FMT, GR_ARG(fetch->authorization)).ptr);
    s->under_way++;
    start(f, t);
}

void gr_fetcher_look(gr_fetcher *f, fetcher_server *s)
{
    char url[GR_RESOLVE_HOST + 96];
    unsigned port = f->o.well_known_port ? f->o.well_known_port : 443;
    snprintf(url, sizeof url, "https://%s:%u/.well-known/matrix/server", s->place.wanted, port);
    fetcher_transfer *t = make(f, s, NULL, url, WELL_KNOWN_MS);
    t->body_max = GR_WELL_KNOWN_SIZE_MAX;
    curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(t->easy, CURLOPT_MAXREDIRS, (long)GR_FETCHER_REDIRECTS);
    gr_fetcher_add(f, &f->n.well_known);
    start(f, t);
}

/* --- the end of one ---------------------------------------------------------------------------------------- */
static void looked(gr_fetcher *f, fetcher_transfer *t, CURLcode code)
{
    fetcher_server *s = t->server;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    gr_well_known_told(f->well_known, gr_str_c(s->place.wanted), f->wall_ms, code == CURLE_OK ? (int)status : 0,
                       gr_buf_view(&t->body), t->cache_control, t->expires);
    gr_fetcher_transfer_free(f, t);
    gr_fetcher_well_known_read(f, s);
}

static gr_fetch_failure failure_of(const fetcher_transfer *t, CURLcode code)
{
    if (code == CURLE_OK) return GR_FETCH_ANSWERED;
    if (t->is_too_large) return GR_FETCH_TOO_LARGE;
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return GR_FETCH_TIMEOUT;
    case CURLE_COULDNT_CONNECT: return t->is_denied ? GR_FETCH_DENIED : GR_FETCH_UNREACHABLE;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_URL_MALFORMAT: return GR_FETCH_UNREACHABLE;
    default: return GR_FETCH_BROKEN;
    }
}

/* Nothing of the request has left when there was no connection: the server's next place may be tried. */
static bool try_next(gr_fetcher *f, fetcher_request *r, gr_fetch_failure failure)
{
    bool unsent = r->job && (failure == GR_FETCH_UNREACHABLE || failure == GR_FETCH_DENIED);
    size_t count = r->server->place.target_count;
    if (!unsent || r->target + 1 >= (count < GR_FETCHER_TRIES ? count : GR_FETCHER_TRIES)) return false;
    r->target++;
    gr_fetcher_start(f, r);
    return true;
}

void gr_fetcher_finished(gr_fetcher *f, fetcher_transfer *t, CURLcode code)
{
    fetcher_request *r = t->request;
    fetcher_server *s = t->server;
    long status = 0;
    if (!r) {
        looked(f, t, code);
        return;
    }
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    gr_fetch_failure failure = failure_of(t, code);
    gr_str body = gr_arena_str(r->arena, gr_buf_view(&t->body));
    gr_fetched fetched = {.failure = failure, .status = (uint64_t)status, .retry_after_ms = t->retry_after_ms};
    if (failure == GR_FETCH_ANSWERED) fetched.body = body;
    else if (failure == GR_FETCH_DENIED) fetched.text = GR_STR("The server is at an address that must not be connected to");
    else if (failure == GR_FETCH_TOO_LARGE) fetched.text = GR_STR("The answer is too large");
    else fetched.text = gr_str_c(curl_easy_strerror(code));
    s->is_slow = is_slow_now(f, t);
    gr_fetcher_transfer_free(f, t);
    s->under_way--;
    s->is_used = true;
    bool is_lost = failure == GR_FETCH_UNREACHABLE || failure == GR_FETCH_DENIED;
    if (is_lost && s->under_way == 0) s->place_until_ms = 0;      /* it may have moved */
    if (!try_next(f, r, failure)) gr_fetcher_end(f, r, &fetched);
    s->is_used = false;
    gr_fetcher_ended(f, s);
}
