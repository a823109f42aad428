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
    uint64_t dropped;
    gr_logged_fn *fn;
    void *arg;
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
    gr_logged l = {.node = r->node, .dropped = r->dropped};
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
    r->dropped = 0;
    *go_on = r->fn(r->arg, &l);
    return true;
}

static bool read_entry(reader *r, gr_str payload, bool *go_on)
{
    char kind = payload.ptr[0];
    uint64_t dropped;
    payload = gr_str_from(payload, 1);
    switch (kind) {
    case GR_SEGMENT_ADDRESS: return read_address(r, payload);
    case GR_SEGMENT_MESSAGE: return read_message(r, payload, go_on);
    case GR_SEGMENT_DROPPED:
        if (!gr_str_varint(&payload, &dropped)) return false;
        r->dropped += dropped;
        return true;
    default: return true; /* of a later version */
    }
}

/* Up to the end, or to the first entry that is cut or not what was written. */
static bool read_entries(reader *r)
{
    bool go_on = true;
    while (go_on && r->rest.size >= GR_SEGMENT_ENTRY_HEAD) {
        uint32_t size = gr_u32be(r->rest.ptr), check = gr_u32be(r->rest.ptr + 4);
        gr_str payload = gr_str_head(gr_str_from(r->rest, GR_SEGMENT_ENTRY_HEAD), size);
        if (size == 0 || size > GR_SEGMENT_ENTRY_MAX || payload.size < size
            || (uint32_t)gr_str_hash(payload) != check)
            break;
        if (!read_entry(r, payload, &go_on)) break;
        r->rest = gr_str_from(r->rest, GR_SEGMENT_ENTRY_HEAD + size);
    }
    return go_on;
}

static bool read_bytes(gr_str bytes, gr_logged_fn *fn, void *arg)
{
    reader r = {.fn = fn, .arg = arg};
    if (!gr_str_starts(bytes, gr_str_of(GR_SEGMENT_MAGIC, GR_SEGMENT_MAGIC_SIZE))) return true;
    bytes = gr_str_from(bytes, GR_SEGMENT_MAGIC_SIZE);
    size_t name_size = bytes.size ? (unsigned char)bytes.ptr[0] : 0;
    r.node = gr_str_head(gr_str_from(bytes, 1), name_size);
    r.rest = gr_str_from(bytes, 1 + name_size);
    bool go_on = read_entries(&r);
    free(r.addresses);
    return go_on;
}

/* Read into memory rather than mapped: a segment may be removed or cut while it is looked at. */
static gr_err read_segment(const char *dir, const gr_segment *s, gr_arena *a, gr_logged_fn *fn, void *arg,
                           bool *go_on)
{
    char path[4096], chunk[16384];
    gr_buf bytes = {0};
    ssize_t got;
    gr_segment_path(dir, s, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return gr_ok();
    if (fd < 0) return gr_failf(a, GR_UNAVAILABLE, "can't read %s: %s", path, strerror(errno));
    while ((got = read(fd, chunk, sizeof chunk)) > 0) gr_buf_add(&bytes, chunk, (size_t)got);
    close(fd);
    *go_on = read_bytes(gr_buf_view(&bytes), fn, arg);
    gr_buf_free(&bytes);
    return gr_ok();
}

gr_err gr_message_log_read(const char *dir, gr_arena *a, gr_logged_fn *fn, void *arg)
{
    gr_segment *segments = NULL;
    size_t count = 0;
    bool go_on = true;
    if (!gr_segment_list(dir, a, &segments, &count))
        return gr_failf(a, GR_NOT_FOUND, "can't read the message log in %s: %s", dir, strerror(errno));
    gr_err err = gr_ok();
    for (size_t i = 0; i < count && go_on && !gr_failed(err); i++)
        err = read_segment(dir, &segments[i], a, fn, arg, &go_on);
    return err;
}
