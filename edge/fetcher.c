/* fetcher.c - the thread of outgoing HTTP. See fetcher.h. */
#include "edge/fetcher_inside.h"
#include "bus/clock.h"

#include <sodium.h>
#include <stdlib.h>

enum { IDLE_MS = 60000, LATE_LOOK_MS = 200 };

void gr_fetcher_add(gr_fetcher *f, uint64_t *counter)
{
    pthread_mutex_lock(&f->lock);
    ++*counter;
    pthread_mutex_unlock(&f->lock);
}

/* --- taking and handing back ------------------------------------------------------------------------------- */
static bool submit(gr_work_seam *seam, gr_job *job)
{
    gr_fetcher *f = (gr_fetcher *)seam;
    pthread_mutex_lock(&f->lock);
    bool taken = !atomic_load(&f->stopping) && f->taken < GR_FETCHER_REQUESTS;
    if (taken) {
        job->next = NULL;
        *f->jobs_last = job;
        f->jobs_last = &job->next;
        f->taken++;
        f->n.requests++;
    } else {
        f->n.refused++;
    }
    pthread_mutex_unlock(&f->lock);
    if (taken) curl_multi_wakeup(f->multi);
    return taken;
}

static gr_job *take(gr_fetcher *f)
{
    pthread_mutex_lock(&f->lock);
    gr_job *first = f->jobs;
    f->jobs = NULL;
    f->jobs_last = &f->jobs;
    pthread_mutex_unlock(&f->lock);
    return first;
}

static void count_end(gr_fetcher *f, uint64_t failure)
{
    uint64_t *of[] = {&f->n.answered, &f->n.denied, &f->n.unreachable, &f->n.timeouts, &f->n.broken, &f->n.too_large,
                      &f->n.refused, &f->n.offline};
    pthread_mutex_lock(&f->lock);
    f->taken--;
    ++*of[failure];
    pthread_mutex_unlock(&f->lock);
}

/* What came of it, as far as it shows whether our own network works. */
static void note_outage(gr_fetcher *f, const fetcher_request *r, uint64_t failure)
{
    if (!r->server || r->fetch->url.size) return;      /* it may be next door, which tells nothing */
    if (failure == GR_FETCH_ANSWERED) gr_outage_answered(&f->outage, &r->server->outage, f->now_ms);
    if (failure == GR_FETCH_UNREACHABLE || failure == GR_FETCH_TIMEOUT)
        gr_outage_lost(&f->outage, &r->server->outage, f->now_ms);
}

void gr_fetcher_give(gr_fetcher *f, fetcher_request *r, const gr_fetched *fetched)
{
    if (!r->job) return;               /* nobody asked for the part that failed */
    note_outage(f, r, fetched->failure);
    count_end(f, fetched->failure);
    gr_job_fetched(r->job, fetched);
    r->job = NULL;
}

void gr_fetcher_end(gr_fetcher *f, fetcher_request *r, const gr_fetched *fetched)
{
    gr_arena *arena = r->arena;
    gr_fetcher_give(f, r, fetched);
    gr_arena_free(&arena);
}

void gr_fetcher_fail(gr_fetcher *f, fetcher_request *r, gr_fetch_failure failure, const char *why)
{
    gr_fetcher_end(f, r, &(gr_fetched){.failure = failure, .text = gr_str_c(why)});
}

static void begin(gr_fetcher *f, gr_job *job)
{
    gr_arena *arena = gr_arena_new(0);
    void *body = NULL;
    fetcher_request *r = gr_arena_alloc(arena, sizeof *r);
    gr_err err = gr_body_decode(arena, &gr_type_fetch, gr_buf_view(&job->input), &body);
    gr_assert(!gr_failed(err));
    *r = (fetcher_request){.job = job, .arena = arena, .fetch = body};
    if (r->fetch->more) {
        if (gr_fetcher_go_on(f, job, r->fetch)) gr_arena_free(&arena);
        else gr_fetcher_fail(f, r, GR_FETCH_BROKEN, "The rest of the answer was not asked for in time");
        return;
    }
    uint64_t timeout_ms = r->fetch->timeout_ms;
    r->until_ms = f->now_ms + (timeout_ms && timeout_ms < GR_FETCHER_TIMEOUT_MAX_MS ? timeout_ms : GR_FETCHER_TIMEOUT_MAX_MS);
    if (gr_str_is(r->fetch->method, "MAIL")) gr_fetcher_mail(f, r);
    else if (r->fetch->url.size) gr_fetcher_wait(f, r);
    else if (f->o.allows && !f->o.allows(f->o.allows_arg, r->fetch->server))
        gr_fetcher_fail(f, r, GR_FETCH_DENIED, "This server must not be talked to");
    else if (!gr_outage_may_try(&f->outage, f->now_ms))
        gr_fetcher_fail(f, r, GR_FETCH_OFFLINE, "No other server can be reached from here just now");
    else gr_fetcher_wait(f, r);
}

/* --- the loop ---------------------------------------------------------------------------------------------- */
static void poll_all(gr_fetcher *f)
{
    struct pollfd fds[GR_SRV_FDS];
    struct curl_waitfd extra[GR_SRV_FDS];
    size_t count = gr_srv_fds(f->srv, fds);
    for (size_t i = 0; i < count; i++)
        extra[i] = (struct curl_waitfd){.fd = fds[i].fd,
                                        .events = (short)((fds[i].events & POLLIN ? CURL_WAIT_POLLIN : 0)
                                                          | (fds[i].events & POLLOUT ? CURL_WAIT_POLLOUT : 0))};
    pthread_mutex_lock(&f->lock);
    int wait_ms = f->taken || f->transfer_count ? LATE_LOOK_MS : IDLE_MS;
    pthread_mutex_unlock(&f->lock);
    curl_multi_poll(f->multi, extra, (unsigned)count, gr_srv_wait_ms(f->srv, wait_ms), NULL);
    for (size_t i = 0; i < count; i++)
        fds[i].revents = (short)((extra[i].revents & CURL_WAIT_POLLIN ? POLLIN : 0)
                                 | (extra[i].revents & CURL_WAIT_POLLOUT ? POLLOUT : 0));
    f->now_ms = gr_clock_ms(CLOCK_MONOTONIC);
    f->wall_ms = gr_clock_ms(CLOCK_REALTIME);
    gr_srv_step(f->srv, fds, count);
}

static void step(gr_fetcher *f)
{
    int running = 0, left = 0;
    poll_all(f);
    for (gr_job *job = take(f), *next; job; job = next) {
        next = job->next;
        begin(f, job);
    }
    if (f->now_ms >= f->next_look_ms) {
        f->next_look_ms = f->now_ms + LATE_LOOK_MS;
        gr_fetcher_late(f);
        gr_fetcher_rests(f);
        gr_fetcher_slow(f);
    }
    curl_multi_perform(f->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(f->multi, &left));) {
        fetcher_transfer *t = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE || gr_fetcher_mailed(f, m->easy_handle, code)) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        gr_fetcher_finished(f, t, code);
    }
}

static void *run(void *arg)
{
    gr_fetcher *f = arg;
    while (!atomic_load(&f->stopping)) step(f);
    return NULL;
}

gr_err gr_fetcher_open(const gr_fetcher_options *o, gr_arena *arena, gr_fetcher **out)
{
    gr_fetcher *f = gr_alloc(sizeof *f);
    f->o = *o;
    f->seam.submit = submit;
    f->jobs_last = &f->jobs;
    for (int i = 0; i < 2; i++) f->ready_last[i] = &f->ready[i];
    pthread_mutex_init(&f->lock, NULL);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    f->multi = curl_multi_init();
    f->well_known = gr_well_known_new();
    f->now_ms = gr_clock_ms(CLOCK_MONOTONIC);
    f->wall_ms = gr_clock_ms(CLOCK_REALTIME);
    randombytes_buf(&f->random, sizeof f->random);
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)GR_FETCHER_UNDER_WAY);
    *out = f;
    gr_err err = gr_srv_open(arena, o->dns_servers, &f->srv);
    int failed = gr_failed(err) ? 0 : pthread_create(&f->thread, NULL, run, f);
    if (failed) err = gr_failf(arena, GR_UNAVAILABLE, "can't start a thread for requests: %s", strerror(failed));
    f->has_thread = !gr_failed(err);
    if (gr_failed(err)) gr_fetcher_close(out);
    return err;
}

gr_work_seam *gr_fetcher_seam(gr_fetcher *f) { return &f->seam; }

void gr_fetcher_stop(gr_fetcher *f)
{
    pthread_mutex_lock(&f->lock);
    atomic_store(&f->stopping, true);
    pthread_mutex_unlock(&f->lock);
    if (!f->has_thread) return;
    f->has_thread = false;
    curl_multi_wakeup(f->multi);
    pthread_join(f->thread, NULL);
    for (fetcher_transfer *t = f->transfers, *next; t; t = next) {
        next = t->next;
        fetcher_request *r = t->request;
        gr_fetcher_transfer_free(f, t);
        if (r) gr_fetcher_fail(f, r, GR_FETCH_BUSY, "This server stops");
    }
    gr_fetcher_mails_stop(f);
    gr_srv_close(&f->srv);             /* look-ups end here, and the requests waiting for them are found below */
    gr_fetcher_servers_free(f);
    for (gr_job *job = take(f), *next; job; job = next) {
        next = job->next;
        gr_job_drop(job);
    }
}

void gr_fetcher_close(gr_fetcher **at)
{
    gr_fetcher *f = *at;
    if (!f) return;
    gr_fetcher_stop(f);
    gr_srv_close(&f->srv);
    curl_multi_cleanup(f->multi);
    gr_lru_free(&f->well_known);
    pthread_mutex_destroy(&f->lock);
    curl_global_cleanup();
    free(f);
    *at = NULL;
}

void gr_fetcher_count(gr_fetcher *f, gr_fetcher_counters *out)
{
    pthread_mutex_lock(&f->lock);
    *out = f->n;
    out->taken = f->taken;
    out->under_way = f->transfer_count;
    pthread_mutex_unlock(&f->lock);
}
