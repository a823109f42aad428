/* fetcher_place.c - where servers are, and which requests wait for them. See fetcher_inside.h. */
#include "edge/fetcher_inside.h"

#include <stdlib.h>

/* --- the table of servers ---------------------------------------------------------------------------------- */
static bool is_idle(const fetcher_server *s)
{
    return s->waiting == 0 && s->under_way == 0 && !s->is_resolving && !s->is_ready && !s->is_used;
}

static void forget_oldest(gr_fetcher *f)
{
    fetcher_server *s, *next;
    HASH_ITER(hh, f->servers, s, next)
    {
        if (!is_idle(s)) continue;
        HASH_DEL(f->servers, s);
        free(s);
        return;
    }
}

/* Hosts that are no Matrix servers have other places: their names begin with this, which no server name does. */
static gr_str plain_mark(void) { return GR_STR("https://"); }

static fetcher_server *server_of(gr_fetcher *f, gr_str name)
{
    fetcher_server *s = NULL;
    HASH_FIND(hh, f->servers, name.ptr, name.size, s);
    if (s) {
        HASH_DEL(f->servers, s);
    } else {
        if (HASH_COUNT(f->servers) >= GR_FETCHER_SERVERS) forget_oldest(f);
        s = gr_alloc(sizeof *s + name.size);
        s->fetcher = f;
        s->last = &s->first;
        s->name_size = name.size;
        memcpy(s->name, name.ptr, name.size);
    }
    HASH_ADD_KEYPTR(hh, f->servers, s->name, s->name_size, s);
    return s;
}

static fetcher_request *next_waiting(fetcher_server *s)
{
    fetcher_request *r = s->first;
    if (!r) return NULL;
    s->first = r->next;
    if (!s->first) s->last = &s->first;
    s->waiting--;
    return r;
}

/* --- finding its place ------------------------------------------------------------------------------------- */
static void resolve_on(gr_fetcher *f, fetcher_server *s);

static void srv_found(void *arg, const gr_resolve_record *records, size_t count)
{
    fetcher_server *s = arg;
    gr_fetcher *f = s->fetcher;
    if (atomic_load(&f->stopping)) return;
    f->random = f->random * 6364136223846793005u + 1442695040888963407u;
    gr_resolve_srv(&s->place, records, count, f->random);
    resolve_on(f, s);
}

void gr_fetcher_well_known_read(gr_fetcher *f, fetcher_server *s)
{
    gr_str delegate = {0};
    uint64_t until_ms = 0;
    if (!gr_well_known_find(f->well_known, gr_str_c(s->place.wanted), f->wall_ms, &delegate, &until_ms)) {
        gr_fetcher_look(f, s);
        return;
    }
    gr_resolve_well_known(&s->place, delegate);
    resolve_on(f, s);
}

static void resolve_on(gr_fetcher *f, fetcher_server *s)
{
    switch (s->place.step) {
    case GR_RESOLVE_WELL_KNOWN: gr_fetcher_well_known_read(f, s); return;
    case GR_RESOLVE_SRV:
        gr_fetcher_add(f, &f->n.srv);
        gr_srv_ask(f->srv, s->place.wanted, srv_found, s);
        return;
    case GR_RESOLVE_DONE:
    case GR_RESOLVE_NOWHERE: break;
    }
    s->is_resolving = false;
    s->place_until_ms = f->now_ms + GR_FETCHER_PLACE_MS;
    gr_fetcher_pump(f, s);
}

/* --- taking turns ------------------------------------------------------------------------------------------ */
static void wait_for_turn(gr_fetcher *f, fetcher_server *s)
{
    if (s->is_ready) return;
    s->is_ready = true;
    s->next_ready = NULL;
    *f->ready_last[s->is_slow] = s;
    f->ready_last[s->is_slow] = &s->next_ready;
}

static bool has_place(const gr_fetcher *f, bool is_slow)
{
    return is_slow ? f->slow_count < GR_FETCHER_SLOW : f->transfer_count - f->slow_count < GR_FETCHER_UNDER_WAY;
}

/* Requests to whole URLs wait by scheme, host and port; no server name looks like that. */
static gr_str origin_of(gr_str url)
{
    size_t slashes = 0, end = 0;
    while (end < url.size && (slashes += url.ptr[end] == '/') < 3 && !strchr("?#", url.ptr[end])) end++;
    return gr_str_head(url, end);
}

static gr_str url_mark(void) { return GR_STR("url "); }

static bool is_url(const fetcher_server *s) { return gr_str_starts(gr_str_of(s->name, s->name_size), url_mark()); }

/* Starts what may start: at most so many to this server, and so many in all. */
void gr_fetcher_pump(gr_fetcher *f, fetcher_server *s)
{
    if (s->is_resolving || !s->first) return;
    if (s->place_until_ms <= f->now_ms && is_url(s)) {
        s->place = (gr_resolve){.step = GR_RESOLVE_DONE, .target_count = 1};
        s->place_until_ms = f->now_ms + GR_FETCHER_PLACE_MS;
    }
    if (s->place_until_ms <= f->now_ms) {
        s->is_resolving = true;
        gr_str name = gr_str_of(s->name, s->name_size);
        if (gr_str_starts(name, plain_mark())) gr_resolve_plain(&s->place, gr_str_from(name, plain_mark().size));
        else gr_resolve_begin(&s->place, name);
        resolve_on(f, s);
        return;
    }
    s->is_used = true;
    while (s->first && s->under_way < GR_FETCHER_UNDER_WAY_SERVER) {
        if (!has_place(f, s->is_slow)) {
            wait_for_turn(f, s);
            break;
        }
        fetcher_request *r = next_waiting(s);
        if (s->place.step == GR_RESOLVE_NOWHERE) gr_fetcher_fail(f, r, GR_FETCH_UNREACHABLE, "There is no such server");
        else gr_fetcher_start(f, r);
    }
    s->is_used = false;
}

void gr_fetcher_wait(gr_fetcher *f, fetcher_request *r)
{
    gr_str name = r->fetch->server;
    if (r->fetch->url.size) name = gr_arena_cat(r->arena, 2, (gr_str[]){url_mark(), origin_of(r->fetch->url)});
    if (r->fetch->is_plain) name = gr_arena_cat(r->arena, 2, (gr_str[]){plain_mark(), name});
    fetcher_server *s = r->server = server_of(f, name);
    if (s->waiting >= GR_FETCHER_PER_SERVER) {
        gr_fetcher_fail(f, r, GR_FETCH_BUSY, "Too many requests wait for this server");
        return;
    }
    *s->last = r;
    s->last = &r->next;
    s->waiting++;
    gr_fetcher_pump(f, s);
}

void gr_fetcher_ended(gr_fetcher *f, fetcher_server *s)
{
    gr_fetcher_pump(f, s);
    gr_fetcher_next(f);
}

void gr_fetcher_next(gr_fetcher *f)
{
    for (int slow = 0; slow < 2; slow++)
        while (f->ready[slow] && has_place(f, slow)) {
            fetcher_server *next = f->ready[slow];
            f->ready[slow] = next->next_ready;
            if (!f->ready[slow]) f->ready_last[slow] = &f->ready[slow];
            next->is_ready = false;
            gr_fetcher_pump(f, next);
        }
}

void gr_fetcher_late(gr_fetcher *f)
{
    fetcher_server *s, *next_server;
    HASH_ITER(hh, f->servers, s, next_server)
    {
        fetcher_request *all = s->first;
        s->first = NULL;
        s->last = &s->first;
        s->waiting = 0;
        for (fetcher_request *r = all, *next; r; r = next) {
            next = r->next;
            r->next = NULL;
            if (r->until_ms <= f->now_ms) {
                gr_fetcher_fail(f, r, GR_FETCH_TIMEOUT, "The server could not be asked in time");
                continue;
            }
            *s->last = r;
            s->last = &r->next;
            s->waiting++;
        }
    }
}

void gr_fetcher_servers_free(gr_fetcher *f)
{
    fetcher_server *s, *next;
    HASH_ITER(hh, f->servers, s, next)
    {
        for (fetcher_request *r; (r = next_waiting(s));) gr_fetcher_fail(f, r, GR_FETCH_BUSY, "This server stops");
        HASH_DEL(f->servers, s);
        free(s);
    }
}
