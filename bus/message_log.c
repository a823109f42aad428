/* message_log.c - rings, the log thread, and the segments it writes. See message_log.h. */
#include "bus/message_log.h"
#include "bus/message_log_format.h"
#include "bus/message_tag.h"
#include "bus/segment_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SEGMENTS = 16, /* the bytes allowed are spread over about so many */
    SEGMENT_MIN = 4096,
    WRITE_MIN = 64 * 1024,
    BODY_MAX = 64 * 1024,
    SKIP = 0,
    BUSY_MS = 10,
    IDLE_MS = 1000,
    RETRY_MS = 10000,
};

/* What lies in a ring: this, then from, to, tag and body; the whole padded to 8 bytes. size SKIP: go on at
 * the start. verb 0: the clock of the node `from`. */
typedef struct {
    uint32_t size;
    uint32_t type, body_size, body_kept;
    uint16_t from_size, to_size;
    uint8_t tag_size, verb;
    uint64_t trace, span, parent;
    uint64_t sent_us, queued_us, started_us, handled_us, committed_us, released_us;
} slot;

/* One producer, one consumer; positions only grow. */
typedef struct {
    char *bytes;
    size_t size;
    _Alignas(64) _Atomic uint64_t head; /* written up to here */
    uint64_t tail_seen;                 /* the producer's copy of tail, refreshed when the ring seems full */
    _Atomic uint64_t dropped;
    _Alignas(64) _Atomic uint64_t tail; /* read up to here */
    uint64_t dropped_told;
} ring;

struct gr_message_log {
    gr_message_log_options options;
    char *dir, *node;
    ring *rings;
    pthread_t thread;
    int wake_fd;
    atomic_bool is_idle, is_stopping;
    _Atomic uint64_t written, failed, bytes, removed;
    /* Of the log thread. */
    int fd;
    gr_segment segment; /* being written; its size is the writer's */
    gr_segment_writer writer;
    bool has_records;   /* since the segment began */
    gr_segment *old;
    size_t old_count;
    uint64_t old_bytes;
    size_t out_records;
    uint64_t retry_ms; /* not before this is a segment begun after a failed write */
};

/* --- the ring --- */
static char *ring_reserve(ring *r, size_t size, uint64_t *head)
{
    *head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t at = *head & (r->size - 1), end = r->size - at;
    size_t needed = size <= end ? size : end + size;
    if (*head + needed - r->tail_seen > r->size) {
        r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (*head + needed - r->tail_seen > r->size) return NULL;
    }
    if (size > end) {
        uint32_t skip = SKIP;
        memcpy(r->bytes + at, &skip, sizeof skip);
        *head += end;
        at = 0;
    }
    return r->bytes + at;
}

static char *put(char *at, gr_str s)
{
    if (s.size) memcpy(at, s.ptr, s.size);
    return at + s.size;
}

static bool ring_put(ring *r, slot *s, gr_str from, gr_str to, gr_str tag, gr_str body)
{
    size_t size = (sizeof *s + from.size + to.size + tag.size + body.size + 7) & ~(size_t)7;
    uint64_t head;
    char *at = size <= r->size / 2 ? ring_reserve(r, size, &head) : NULL;
    if (!at) return false;
    s->size = (uint32_t)size;
    s->from_size = (uint16_t)from.size;
    s->to_size = (uint16_t)to.size;
    s->tag_size = (uint8_t)tag.size;
    s->body_kept = (uint32_t)body.size;
    memcpy(at, s, sizeof *s);
    put(put(put(put(at + sizeof *s, from), to), tag), body);
    atomic_store_explicit(&r->head, head + size, memory_order_release);
    return true;
}

/* A wake that is missed here costs the log a second of delay, and the way of messages nothing. */
static void wake(gr_message_log *log)
{
    uint64_t one = 1;
    if (!atomic_load_explicit(&log->is_idle, memory_order_relaxed) || !atomic_exchange(&log->is_idle, false)) return;
    if (write(log->wake_fd, &one, sizeof one) < 0) return;
}

void gr_message_log_add(gr_message_log *log, unsigned writer, const gr_log_record *rec)
{
    gr_assert(writer < log->options.writers);
    gr_assert(rec->from.size <= GR_ADDRESS_MAX && rec->to.size <= GR_ADDRESS_MAX);
    ring *r = &log->rings[writer];
    gr_str tag = gr_str_head(gr_message_tag(rec->type, rec->body), GR_MESSAGE_LOG_TAG_MAX);
    gr_str body = log->options.full && rec->body.size <= BODY_MAX ? rec->body : (gr_str){0};
    slot s = {.verb = (uint8_t)rec->verb,
              .type = rec->type,
              .body_size = rec->body_size,
              .trace = rec->trace,
              .span = rec->span,
              .parent = rec->parent,
              .sent_us = rec->sent_us,
              .queued_us = rec->queued_us,
              .started_us = rec->started_us,
              .handled_us = rec->handled_us,
              .committed_us = rec->committed_us,
              .released_us = rec->released_us};
    if (ring_put(r, &s, rec->from, rec->to, tag, body)) wake(log);
    else atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
}

/* One that finds no room is not missed: the next comes soon. */
void gr_message_log_clock(gr_message_log *log, unsigned writer, const gr_log_clock *clock)
{
    gr_assert(writer < log->options.writers && clock->peer.size <= GR_MESSAGE_LOG_NODE_MAX);
    slot s = {.queued_us = clock->at_us, .sent_us = (uint64_t)clock->offset_us, .handled_us = clock->rtt_us};
    if (ring_put(&log->rings[writer], &s, clock->peer, (gr_str){0}, (gr_str){0}, (gr_str){0})) wake(log);
}

/* --- segments --- */
static uint64_t now_ms(const gr_message_log *log)
{
    if (log->options.clock_ms) return log->options.clock_ms(log->options.clock_arg);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void flush(gr_message_log *log)
{
    size_t at = 0;
    gr_buf *out = &log->writer.out;
    while (log->fd >= 0 && at < out->size) {
        ssize_t wrote = write(log->fd, out->ptr + at, out->size - at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            /* A record may be cut: what follows would not be found behind it, so this segment ends here. */
            close(log->fd);
            log->fd = -1;
            log->retry_ms = now_ms(log) + RETRY_MS;
            break;
        }
        at += (size_t)wrote;
    }
    bool whole = at == out->size;
    atomic_fetch_add_explicit(whole ? &log->written : &log->failed, log->out_records, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->bytes, at, memory_order_relaxed);
    log->out_records = 0;
    if (out->size) memset(out->ptr, 0, out->size);
    gr_buf_clear(out);
}

/* A segment ends when it has its share of the bytes allowed, or of the age. */
static uint64_t segment_max(const gr_message_log *log)
{
    uint64_t size = log->options.bytes_max / SEGMENTS;
    return size < SEGMENT_MIN ? SEGMENT_MIN : size;
}

/* A segment's records are all older than the segment after it was made. */
static void remove_old(gr_message_log *log)
{
    uint64_t now = now_ms(log);
    size_t gone = 0;
    while (gone < log->old_count) {
        uint64_t newest = gone + 1 < log->old_count ? log->old[gone + 1].made_ms : log->segment.made_ms;
        bool too_old = newest + log->options.age_max_ms < now;
        if (!too_old && log->old_bytes + segment_max(log) <= log->options.bytes_max) break;
        char path[4096];
        gr_segment_path(log->dir, &log->old[gone], path, sizeof path);
        unlink(path);
        atomic_fetch_add(&log->removed, 1);
        log->old_bytes -= log->old[gone++].size;
    }
    log->old_count -= gone;
    if (gone) memmove(log->old, log->old + gone, log->old_count * sizeof *log->old);
}

static void segment_end(gr_message_log *log)
{
    flush(log);
    if (log->fd >= 0) close(log->fd);
    log->fd = -1;
    log->segment.size = log->writer.size;
    log->writer.size = 0;
    log->has_records = false;
    if (log->segment.size == 0) return;
    log->old = gr_realloc(log->old, (log->old_count + 1) * sizeof *log->old);
    log->old[log->old_count++] = log->segment;
    log->old_bytes += log->segment.size;
}

static bool segment_begin(gr_message_log *log)
{
    char path[4096];
    segment_end(log);
    log->segment = (gr_segment){log->segment.number + 1, now_ms(log), 0};
    gr_segment_path(log->dir, &log->segment, path, sizeof path);
    log->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    remove_old(log);
    if (log->fd < 0) {
        log->retry_ms = now_ms(log) + RETRY_MS;
        return false;
    }
    gr_segment_begin(&log->writer, gr_str_c(log->node));
    return true;
}

static bool is_segment_old(const gr_message_log *log)
{
    return log->has_records && log->segment.made_ms + log->options.age_max_ms / SEGMENTS < now_ms(log);
}

/* Also when nothing comes any more: what the present segment holds goes once it is too old. */
static void age(gr_message_log *log)
{
    if (log->fd >= 0 && is_segment_old(log)) (void)segment_begin(log);
    remove_old(log);
}

/* --- entries --- */
static void add_record(gr_message_log *log, const slot *s, const char *strings)
{
    gr_str from = gr_str_of(strings, s->from_size), to = gr_str_of(strings + s->from_size, s->to_size);
    gr_str tag = gr_str_of(to.ptr + to.size, s->tag_size), body = gr_str_of(tag.ptr + tag.size, s->body_kept);
    if (s->verb == 0) {
        gr_log_clock clock = {from, s->queued_us, s->handled_us, (int64_t)s->sent_us};
        gr_segment_put_clock(&log->writer, &clock);
        return;
    }
    gr_log_record record = {.trace = s->trace,
                            .span = s->span,
                            .parent = s->parent,
                            .from = from,
                            .to = to,
                            .type = s->type,
                            .verb = (gr_verb)s->verb,
                            .sent_us = s->sent_us,
                            .queued_us = s->queued_us,
                            .started_us = s->started_us,
                            .handled_us = s->handled_us,
                            .committed_us = s->committed_us,
                            .released_us = s->released_us,
                            .body_size = s->body_size,
                            .body = body};
    gr_segment_put_message(&log->writer, &record, tag);
    log->has_records = true;
    log->out_records++;
}

static bool segment_ready(gr_message_log *log)
{
    if (log->fd < 0 && now_ms(log) < log->retry_ms) return false;
    bool is_good = log->fd >= 0 && log->writer.size < segment_max(log) && !is_segment_old(log);
    return is_good || segment_begin(log);
}

static size_t drain(gr_message_log *log, ring *r)
{
    size_t count = 0;
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint64_t dropped = atomic_load_explicit(&r->dropped, memory_order_relaxed);
    while (tail != head) {
        slot s;
        char *at = r->bytes + (tail & (r->size - 1));
        memcpy(&s.size, at, sizeof s.size);
        if (s.size == SKIP) {
            tail += r->size - (tail & (r->size - 1));
            continue;
        }
        memcpy(&s, at, sizeof s);
        if (!segment_ready(log)) {
            atomic_fetch_add_explicit(&log->failed, 1, memory_order_relaxed);
        } else {
            if (dropped != r->dropped_told) gr_segment_put_dropped(&log->writer, dropped - r->dropped_told);
            r->dropped_told = dropped;
            add_record(log, &s, at + sizeof s);
        }
        /* Bodies may hold secrets. */
        memset(at, 0, s.size);
        tail += s.size;
        atomic_store_explicit(&r->tail, tail, memory_order_release);
        count++;
        if (log->writer.out.size >= WRITE_MIN) flush(log);
    }
    return count;
}

static size_t drain_all(gr_message_log *log)
{
    size_t count = 0;
    for (unsigned i = 0; i < log->options.writers; i++) count += drain(log, &log->rings[i]);
    if (log->writer.out.size) flush(log);
    return count;
}

size_t gr_message_log_step(gr_message_log *log)
{
    gr_assert(!log->options.threaded);
    size_t count = drain_all(log);
    age(log);
    return count;
}

/* --- the thread --- */
static void nap(gr_message_log *log, int timeout_ms)
{
    struct pollfd p = {log->wake_fd, POLLIN, 0};
    uint64_t count;
    if (poll(&p, 1, timeout_ms) > 0 && read(log->wake_fd, &count, sizeof count) < 0) return;
}

static void *run(void *arg)
{
    gr_message_log *log = arg;
    while (!atomic_load(&log->is_stopping)) {
        bool busy = drain_all(log) > 0;
        if (!busy) {
            age(log);
            atomic_store(&log->is_idle, true);
        }
        nap(log, busy ? BUSY_MS : IDLE_MS);
        atomic_store(&log->is_idle, false);
    }
    return NULL;
}

static void list_old(gr_message_log *log)
{
    gr_segment *found = NULL;
    size_t count = 0;
    gr_arena *a = gr_arena_new(0);
    if (gr_segment_list(log->dir, a, &found, &count) && count > 0) {
        log->old = gr_realloc(NULL, count * sizeof *found);
        memcpy(log->old, found, count * sizeof *found);
        log->old_count = count;
        for (size_t i = 0; i < count; i++) log->old_bytes += found[i].size;
        log->segment.number = found[count - 1].number;
    }
    gr_arena_free(&a);
}

gr_err gr_message_log_open(const gr_message_log_options *options, gr_arena *a, gr_message_log **out)
{
    size_t ring_size = options->ring_size ? options->ring_size : GR_MESSAGE_LOG_RING;
    gr_assert(options->writers > 0 && (ring_size & (ring_size - 1)) == 0);
    gr_assert(strlen(options->node) <= GR_MESSAGE_LOG_NODE_MAX);
    *out = NULL;
    if (mkdir(options->dir, 0700) != 0 && errno != EEXIST)
        return gr_failf(a, GR_UNAVAILABLE, "can't make the folder %s of the message log: %s", options->dir,
                        strerror(errno));
    gr_message_log *log = gr_alloc(sizeof *log);
    log->options = *options;
    if (!log->options.bytes_max) log->options.bytes_max = GR_MESSAGE_LOG_BYTES;
    if (!log->options.age_max_ms) log->options.age_max_ms = GR_MESSAGE_LOG_AGE_MS;
    log->dir = gr_str_dup(gr_str_c(options->dir));
    log->node = gr_str_dup(gr_str_c(options->node));
    log->rings = aligned_alloc(64, options->writers * sizeof *log->rings);
    gr_assert(log->rings);
    memset(log->rings, 0, options->writers * sizeof *log->rings);
    for (unsigned i = 0; i < options->writers; i++)
        log->rings[i] = (ring){.bytes = gr_alloc(ring_size), .size = ring_size};
    log->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    gr_segment_writer_init(&log->writer);
    log->fd = -1;
    list_old(log);
    if (!segment_begin(log) || log->wake_fd < 0) {
        gr_err err = gr_failf(a, GR_UNAVAILABLE, "can't write the message log in %s: %s", options->dir,
                              strerror(errno));
        log->options.threaded = false;
        gr_message_log_close(&log);
        return err;
    }
    if (options->threaded) gr_assert(pthread_create(&log->thread, NULL, run, log) == 0);
    *out = log;
    return gr_ok();
}

void gr_message_log_close(gr_message_log **at)
{
    gr_message_log *log = *at;
    if (!log) return;
    if (log->options.threaded) {
        uint64_t one = 1;
        atomic_store(&log->is_stopping, true);
        while (write(log->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {}
        pthread_join(log->thread, NULL);
    }
    drain_all(log);
    segment_end(log);
    if (log->wake_fd >= 0) close(log->wake_fd);
    for (unsigned i = 0; i < log->options.writers; i++) free(log->rings[i].bytes);
    gr_segment_writer_free(&log->writer);
    free(log->rings);
    free(log->old);
    free(log->dir);
    free(log->node);
    free(log);
    *at = NULL;
}

void gr_message_log_count(const gr_message_log *log, gr_message_log_counters *out)
{
    *out = (gr_message_log_counters){atomic_load(&log->written), 0, atomic_load(&log->failed),
                                     atomic_load(&log->bytes), atomic_load(&log->removed)};
    for (unsigned i = 0; i < log->options.writers; i++) out->dropped += atomic_load(&log->rings[i].dropped);
}
