/* message_log_read.c - listing segments and reading them entry by entry. See message_log.h. */
#include "bus/message_log.h"
#include "bus/message_log_format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- segments --- */
void gr_segment_path(const char *dir, const gr_segment *s, char *out, size_t size)
{
    snprintf(out, size, "%s/%08" PRIu64 "-%013" PRIu64 ".log", dir, s->number, s->made_ms);
}

static int by_number(const void *x, const void *y)
{
    const gr_segment *a = x, *b = y;
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool parse_name(const char *name, gr_segment *out)
{
    gr_str s = gr_str_c(name);
    ptrdiff_t dash = gr_str_find(s, '-');
    if (dash <= 0 || !gr_str_ends(s, GR_STR(".log"))) return false;
    gr_str made = gr_str_from(gr_str_head(s, s.size - 4), (size_t)dash + 1);
    return gr_str_u64(gr_str_head(s, (size_t)dash), &out->number) && gr_str_u64(made, &out->made_ms);
}

bool gr_segment_list(const char *dir, gr_arena *a, gr_segment **out, size_t *count)
{
    DIR *d = opendir(dir);
    gr_buf found = {0};
    *count = 0;
    if (!d) return false;
    for (struct dirent *entry; (entry = readdir(d));) {
        gr_segment s = {0};
        struct stat st;
        if (!parse_name(entry->d_name, &s) || fstatat(dirfd(d), entry->d_name, &st, 0) != 0) continue;
        s.size = (uint64_t)st.st_size;
        gr_buf_add(&found, &s, sizeof s);
        (*count)++;
    }
    closedir(d);
    *out = gr_arena_alloc(a, found.size);
    if (*count) memcpy(*out, found.ptr, found.size);
    gr_buf_free(&found);
    qsort(*out, *count, sizeof **out, by_number);
    return true;
}

/* --- entries --- */
typedef struct {
    gr_str rest, node;
    gr_str *addresses; /* by number - 1; grows */
    size_t address_count;
    uint64_t dropped, sent_us;
    const gr_log_reader *to;
    uint64_t at, from; /* bytes of the segment; messages before `from` are not told */
} reader;

static bool take_u64(gr_str *s, uint64_t *out)
{
    if (s->size < 8) return false;
    *out = gr_u64be(s->ptr);
    *s = gr_str_from(*s, 8);
    return true;
}

static bool take_address(reader *r, gr_str *s, gr_str *out)
{
    uint64_t number;
    if (!gr_str_varint(s, &number) || number == 0 || number > r->address_count) return false;
    *out = r->addresses[number - 1];
    return true;
}

static bool read_address(reader *r, gr_str payload)
{
    uint64_t number;
    /* Numbers are given one by one, and begin anew when the writer forgets. */
    if (!gr_str_varint(&payload, &number) || number == 0 || number > r->address_count + 1) return false;
    if (number > r->address_count) {
        r->addresses = gr_realloc(r->addresses, number * sizeof *r->addresses);
        r->address_count = number;
    }
    r->addresses[number - 1] = payload;
    return true;
}

static bool take_times(gr_str *p, gr_log_record *rec)
{
    uint64_t *const times[GR_SEGMENT_TIMES] = {&rec->started_us, &rec->handled_us, &rec->committed_us,
                                               &rec->released_us};
    if (!gr_str_varint(p, &rec->queued_us)) return false;
    for (int i = 0; i < GR_SEGMENT_TIMES; i++) {
        if (!gr_str_varint(p, times[i])) return false;
        if (*times[i]) *times[i] += rec->queued_us - 1;
    }
    return true;
}

static bool read_message(reader *r, gr_str p, bool *go_on)
{
    gr_logged l = {.node = r->node, .dropped = r->dropped, .record.sent_us = r->sent_us};
    gr_log_record *rec = &l.record;
    uint64_t verb, type, body_size, tag_size;
    bool good = gr_str_varint(&p, &verb) && gr_str_varint(&p, &type) && take_u64(&p, &rec->trace)
                && take_u64(&p, &rec->span) && take_u64(&p, &rec->parent) && take_address(r, &p, &rec->from)
                && take_address(r, &p, &rec->to) && take_times(&p, rec) && gr_str_varint(&p, &body_size)
                && gr_str_varint(&p, &tag_size) && tag_size <= p.size && verb >= GR_TELL && verb <= GR_CONTROL
                && type <= UINT32_MAX && body_size <= UINT32_MAX;
    if (!good) return false;
    rec->verb = (gr_verb)verb;
    rec->type = (unsigned)type;
    rec->body_size = (uint32_t)body_size;
    l.tag = gr_str_head(p, tag_size);
    rec->body = gr_str_from(p, tag_size);
    r->dropped = r->sent_us = 0;
    if (r->at >= r->from) *go_on = r->to->message(r->to->arg, &l);
    return true;
}

static bool read_clock(reader *r, gr_str p)
{
    gr_log_clock c = {0};
    uint64_t distance;
    if (!gr_str_varint(&p, &c.at_us) || p.size == 0) return false;
    bool is_behind = p.ptr[0] != 0;
    p = gr_str_from(p, 1);
    if (!gr_str_varint(&p, &distance) || distance > INT64_MAX || !gr_str_varint(&p, &c.rtt_us)) return false;
    c.offset_us = is_behind ? -(int64_t)distance : (int64_t)distance;
    c.peer = p;
    if (r->to->clock) r->to->clock(r->to->arg, r->node, &c);
    return true;
}

static bool read_entry(reader *r, gr_str payload, bool *go_on)
{
    char kind = payload.ptr[0];
    uint64_t dropped = 0;
    payload = gr_str_from(payload, 1);
    switch (kind) {
    case GR_SEGMENT_ADDRESS: return read_address(r, payload);
    case GR_SEGMENT_MESSAGE: return read_message(r, payload, go_on);
    case GR_SEGMENT_DROPPED:
        if (!gr_str_varint(&payload, &dropped)) return false;
        r->dropped += dropped;
        return true;
    case GR_SEGMENT_SENT: return gr_str_varint(&payload, &r->sent_us);
    case GR_SEGMENT_CLOCK: return read_clock(r, payload);
    default: return true; /* of a later version */
    }
}

/* Up to `to`, the end, or the first entry that is cut or not what was written. */
static bool read_entries(reader *r, uint64_t to)
{
    bool go_on = true;
    while (go_on && r->at < to && r->rest.size >= GR_SEGMENT_ENTRY_HEAD) {
        uint32_t size = gr_u32be(r->rest.ptr), check = gr_u32be(r->rest.ptr + 4);
        gr_str payload = gr_str_head(gr_str_from(r->rest, GR_SEGMENT_ENTRY_HEAD), size);
        if (size == 0 || size > GR_SEGMENT_ENTRY_MAX || payload.size < size
            || (uint32_t)gr_str_hash(payload) != check)
            break;
        if (!read_entry(r, payload, &go_on)) break;
        r->rest = gr_str_from(r->rest, GR_SEGMENT_ENTRY_HEAD + size);
        r->at += GR_SEGMENT_ENTRY_HEAD + size;
    }
    return go_on;
}

/* Tells in *end how far it came. */
static bool read_bytes(gr_str bytes, uint64_t from, uint64_t to, const gr_log_reader *reading, uint64_t *end)
{
    reader r = {.to = reading, .from = from};
    *end = 0;
    if (!gr_str_starts(bytes, gr_str_of(GR_SEGMENT_MAGIC, GR_SEGMENT_MAGIC_SIZE))) return true;
    r.rest = gr_str_from(bytes, GR_SEGMENT_MAGIC_SIZE);
    size_t name_size = r.rest.size ? (unsigned char)r.rest.ptr[0] : 0;
    r.node = gr_str_head(gr_str_from(r.rest, 1), name_size);
    r.rest = gr_str_from(r.rest, 1 + name_size);
    r.at = GR_SEGMENT_MAGIC_SIZE + 1 + name_size;
    bool go_on = read_entries(&r, to);
    *end = r.at;
    free(r.addresses);
    return go_on;
}

void gr_message_log_read_segment(gr_str bytes, const gr_log_reader *reading)
{
    uint64_t end;
    (void)read_bytes(bytes, 0, UINT64_MAX, reading, &end);
}

/* Read into memory rather than mapped: a segment may be removed or cut while it is looked at. It is read whole
 * also when only its end is wanted, since addresses are written once. */
static gr_err read_file(const char *dir, const gr_segment *s, gr_arena *a, gr_buf *bytes)
{
    char path[4096], chunk[16384];
    ssize_t got;
    gr_segment_path(dir, s, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return gr_ok();
    if (fd < 0) return gr_failf(a, GR_UNAVAILABLE, "can't read %s: %s", path, strerror(errno));
    while ((got = read(fd, chunk, sizeof chunk)) > 0) gr_buf_add(bytes, chunk, (size_t)got);
    close(fd);
    return gr_ok();
}

gr_err gr_message_log_read(const char *dir, gr_arena *a, const gr_log_place *from, const gr_log_place *to,
                           const gr_log_reader *reading, gr_log_place *end)
{
    static const gr_log_place start = {0}, all = {UINT64_MAX, UINT64_MAX};
    gr_segment *segments = NULL;
    size_t count = 0;
    bool go_on = true;
    if (!from) from = &start;
    if (!to) to = &all;
    if (end) *end = *from;
    if (!gr_segment_list(dir, a, &segments, &count))
        return gr_failf(a, GR_NOT_FOUND, "can't read the message log in %s: %s", dir, strerror(errno));
    gr_err err = gr_ok();
    for (size_t i = 0; i < count && go_on && !gr_failed(err); i++) {
        const gr_segment *s = &segments[i];
        if (s->number < from->segment || s->number > to->segment) continue;
        gr_buf bytes = {0};
        gr_log_place at = {.segment = s->number};
        err = read_file(dir, s, a, &bytes);
        go_on = read_bytes(gr_buf_view(&bytes), s->number == from->segment ? from->offset : 0,
                           s->number == to->segment ? to->offset : UINT64_MAX, reading, &at.offset);
        gr_buf_free(&bytes);
        if (end) *end = at;
    }
    return err;
}
