/* The message log: what goes in comes out, bounded on disk, and nothing secret in the files. */
#include "bus/message_log.h"
#include "bus/message_log_format.h"
#include "proto/catalogue.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static gr_arena *arena;
static char dir[] = "/tmp/gr-log-XXXXXX", folder[64];
static uint64_t clock_ms;
static uint64_t now(void *arg)
{
    (void)arg;
    return clock_ms;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/gr-log-XXXXXX");
    arena = gr_arena_new(0);
    clock_ms = 1000000;
    if (!mkdtemp(dir)) return -1;
    snprintf(folder, sizeof folder, "%s/messages", dir);
    return 0;
}

static gr_segment *segments(size_t *count)
{
    gr_segment *list = NULL;
    assert_true(gr_segment_list(folder, arena, &list, count));
    return list;
}

static int tear_down(void **state)
{
    (void)state;
    size_t count;
    gr_segment *list = segments(&count);
    char path[256];
    for (size_t i = 0; i < count; i++) {
        gr_segment_path(folder, &list[i], path, sizeof path);
        unlink(path);
    }
    rmdir(folder);
    gr_arena_free(&arena);
    return rmdir(dir);
}

static gr_message_log *open_log(gr_message_log_options o)
{
    gr_message_log *log = NULL;
    o.dir = folder;
    o.node = "n1";
    o.clock_ms = now;
    if (!o.writers) o.writers = 1;
    assert_int_equal(gr_message_log_open(&o, arena, &log).code, GR_OK);
    return log;
}

static gr_str encoded(const gr_type *t, const void *body)
{
    gr_buf b = {0};
    gr_body_encode(&b, t, body);
    gr_str copy = gr_arena_str(arena, gr_buf_view(&b));
    gr_buf_free(&b);
    return copy;
}

static gr_log_record record(uint64_t number)
{
    gr_log_record r = {.trace = 7,
                       .span = number,
                       .parent = 1,
                       .from = GR_STR("edge/n1/0"),
                       .verb = GR_ASK,
                       .type = GR_T_echo,
                       .queued_us = 1000 + number,
                       .started_us = 1010 + number,
                       .handled_us = 1020 + number,
                       .released_us = 1050 + number,
                       .body_size = 12};
    r.to = gr_arena_printf(arena, "echo/%llu", (unsigned long long)number % 20000);
    return r;
}

typedef struct {
    uint64_t count, bad, first, last, dropped;
    gr_log_record newest;
    gr_str tag, body;
} seen;

static bool look(void *arg, const gr_logged *l)
{
    seen *s = arg;
    gr_log_record expected = record(l->record.span);
    if (s->count && l->record.span != s->last + 1) s->bad++;
    if (!gr_str_eq(expected.to, l->record.to) || !gr_str_is(l->record.from, "edge/n1/0")
        || l->record.trace != 7)
        s->bad++;
    if (expected.queued_us != l->record.queued_us || expected.handled_us != l->record.handled_us) s->bad++;
    if (l->record.committed_us != 0 || expected.released_us != l->record.released_us
        || !gr_str_is(l->node, "n1"))
        s->bad++;
    if (s->count++ == 0) s->first = l->record.span;
    s->last = l->record.span;
    s->dropped += l->dropped;
    s->newest = l->record;
    s->tag = gr_arena_str(arena, l->tag);
    s->body = gr_arena_str(arena, l->record.body);
    return true;
}

static seen read_all(void)
{
    seen s = {0};
    gr_log_reader reader = {.message = look, .arg = &s};
    assert_int_equal(gr_message_log_read(folder, arena, NULL, NULL, &reader, NULL).code, GR_OK);
    return s;
}

static void write_records(gr_message_log *log, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        gr_log_record r = record(i);
        gr_message_log_add(log, 0, &r);
        if (i % 256 == 0) gr_message_log_step(log);
    }
    gr_message_log_step(log);
}

static void records_are_read_as_they_were_written(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){0});
    write_records(log, 1, 30000);
    seen s = read_all();
    assert_int_equal(s.count, 30000);
    assert_int_equal(s.bad, 0);
    gr_message_log_counters c;
    gr_message_log_count(log, &c);
    assert_int_equal(c.written, 30000);
    assert_in_range(c.bytes / c.written, 40, 120);
    gr_message_log_close(&log);
}

static void files_are_for_the_owner_only(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){0});
    size_t count;
    gr_segment *list = segments(&count);
    char path[256];
    struct stat st;
    gr_segment_path(folder, &list[0], path, sizeof path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    gr_message_log_close(&log);
}

static void the_oldest_segments_go_when_the_bytes_are_used_up(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){.bytes_max = 200000});
    write_records(log, 1, 20000);
    gr_message_log_close(&log);
    size_t count;
    uint64_t size = 0;
    gr_segment *list = segments(&count);
    for (size_t i = 0; i < count; i++) size += list[i].size;
    assert_in_range(count, 8, 20);
    assert_in_range(size, 100000, 200000);
    seen s = read_all();
    assert_int_equal(s.last, 20000);
    assert_int_equal(s.bad, 0);
    assert_true(s.first > 1);
}

static void segments_go_when_they_are_too_old_also_those_of_earlier_runs(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){0});
    write_records(log, 1, 10);
    gr_message_log_close(&log);
    clock_ms += GR_MESSAGE_LOG_AGE_MS - 1000;
    log = open_log((gr_message_log_options){0});
    write_records(log, 11, 10);
    assert_int_equal(read_all().first, 1);
    clock_ms += GR_MESSAGE_LOG_AGE_MS + 1;
    gr_message_log_step(log);
    seen s = read_all();
    assert_int_equal(s.first, 11);
    assert_int_equal(s.last, 20);
    gr_message_log_close(&log);
}

static void a_segment_that_is_being_written_ends_when_it_has_its_share_of_the_age(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){0});
    size_t count;
    write_records(log, 1, 10);
    clock_ms += GR_MESSAGE_LOG_AGE_MS / 16 + 1;
    write_records(log, 11, 10);
    segments(&count);
    assert_int_equal(count, 2);
    /* And when nothing comes any more, no record stays beyond its age, nor are empty segments made for ever. */
    for (int i = 0; i < 40; i++) {
        clock_ms += GR_MESSAGE_LOG_AGE_MS / 16;
        gr_message_log_step(log);
    }
    assert_int_equal(read_all().count, 0);
    segments(&count);
    assert_int_equal(count, 1);
    gr_message_log_close(&log);
}

static void note_clock(void *arg, gr_str node, const gr_log_clock *c)
{
    gr_log_clock *out = arg;
    assert_true(gr_str_is(node, "n1"));
    *out = *c;
    out->peer = gr_arena_str(arena, c->peer);
}

static bool note_message(void *arg, const gr_logged *l)
{
    (void)arg;
    assert_int_equal(l->record.sent_us, l->record.span == 2 ? 77 : 0);
    return true;
}

static void clocks_of_other_nodes_and_times_of_sending_are_kept(void **state)
{
    (void)state;
    static const int64_t offsets[] = {-60000000, 0, 5};
    for (int i = 0; i < 3; i++) {
        gr_message_log *log = open_log((gr_message_log_options){0});
        gr_log_clock clock = {GR_STR("n2"), 1234567, 80, offsets[i]}, got = {0};
        gr_message_log_clock(log, 0, &clock);
        for (uint64_t span = 1; span <= 3; span++) {
            gr_log_record r = record(span);
            r.sent_us = span == 2 ? 77 : 0;
            gr_message_log_add(log, 0, &r);
        }
        gr_message_log_close(&log);
        gr_log_reader reader = {.message = note_message, .clock = note_clock, .arg = &got};
        assert_int_equal(gr_message_log_read(folder, arena, NULL, NULL, &reader, NULL).code, GR_OK);
        assert_true(gr_str_is(got.peer, "n2"));
        assert_true(got.at_us == 1234567 && got.rtt_us == 80 && got.offset_us == offsets[i]);
    }
}

static void reading_goes_on_where_it_ended(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){.bytes_max = 200000});
    gr_log_place place = {0}, before;
    uint64_t next = 1;
    for (int i = 0; i < 40; i++) {
        write_records(log, next, 200);
        seen s = {0};
        gr_log_reader reader = {.message = look, .arg = &s};
        before = place;
        assert_int_equal(gr_message_log_read(folder, arena, &before, NULL, &reader, &place).code, GR_OK);
        assert_true(s.count == 200 && s.first == next && s.last == next + 199 && s.bad == 0);
        s = (seen){0};
        assert_int_equal(gr_message_log_read(folder, arena, NULL, &before, &reader, NULL).code, GR_OK);
        assert_true(i == 0 ? s.count == 0 : s.last == next - 1);
        next += 200;
    }
    gr_message_log_close(&log);
}

static void a_torn_tail_hides_nothing_before_it(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){0});
    write_records(log, 1, 50);
    gr_message_log_close(&log);
    size_t count;
    gr_segment *list = segments(&count);
    char path[256];
    gr_segment_path(folder, &list[0], path, sizeof path);
    uint64_t last = 50;
    for (off_t cut = (off_t)list[0].size - 1; cut >= 0; cut--) {
        assert_int_equal(truncate(path, cut), 0);
        seen s = read_all();
        assert_int_equal(s.bad, 0);
        assert_true(s.last <= last);
        last = s.last;
    }
    assert_int_equal(last, 0);
}

static void a_flipped_bit_ends_the_segment_there(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){0});
    write_records(log, 1, 50);
    gr_message_log_close(&log);
    size_t count;
    gr_segment *list = segments(&count);
    char path[256], byte;
    gr_segment_path(folder, &list[0], path, sizeof path);
    int fd = open(path, O_RDWR);
    for (off_t at = 20; at < (off_t)list[0].size; at += 13) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        seen s = read_all();
        assert_int_equal(s.bad, 0);
        assert_true(s.count < 50);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    assert_int_equal(read_all().count, 50);
}

static void a_full_ring_drops_counts_and_tells_the_reader(void **state)
{
    (void)state;
    gr_message_log *log = open_log((gr_message_log_options){.ring_size = 4096});
    gr_message_log_counters c;
    for (uint64_t i = 1; i <= 100; i++) {
        gr_log_record r = record(i);
        gr_message_log_add(log, 0, &r);
    }
    gr_message_log_count(log, &c);
    assert_in_range(c.dropped, 50, 90);
    gr_message_log_step(log);
    gr_log_record r = record(101 - c.dropped);
    gr_message_log_add(log, 0, &r);
    gr_message_log_close(&log);
    seen s = read_all();
    assert_int_equal(s.count, 101 - c.dropped);
    assert_int_equal(s.dropped, c.dropped);
    assert_int_equal(s.bad, 0);
}

static size_t files_with(gr_str needle)
{
    size_t count, found = 0;
    gr_segment *list = segments(&count);
    for (size_t i = 0; i < count; i++) {
        char path[256], *bytes = gr_arena_alloc(arena, list[i].size + 1);
        gr_segment_path(folder, &list[i], path, sizeof path);
        int fd = open(path, O_RDONLY);
        assert_int_equal(read(fd, bytes, list[i].size), (ssize_t)list[i].size);
        close(fd);
        if (list[i].size && memmem(bytes, list[i].size, needle.ptr, needle.size)) found++;
    }
    return found;
}

static void log_secret(bool full)
{
    gr_message_log *log = open_log((gr_message_log_options){.full = full});
    gr_work_done done = {.output = GR_STR("hunter2-the-secret"), .failed = true};
    gr_room_send send = {
        .user = GR_STR("@a:b"), .txn = GR_STR("send/txn-17"), .content = GR_STR("{\"body\":\"a-letter\"}")};
    gr_log_record r = record(1);
    r.type = GR_T_work_done;
    r.body = encoded(&gr_type_work_done, &done);
    gr_message_log_add(log, 0, &r);
    r = record(2);
    r.type = GR_T_room_send;
    r.body = encoded(&gr_type_room_send, &send);
    gr_message_log_add(log, 0, &r);
    gr_message_log_close(&log);
    assert_int_equal(files_with(GR_STR("hunter2")), 0);
}

static void bodies_are_not_kept_but_ids_are(void **state)
{
    (void)state;
    log_secret(false);
    seen s = read_all();
    assert_int_equal(s.count, 2);
    assert_int_equal(s.body.size, 0);
    assert_true(gr_str_is(s.tag, "send/txn-17"));
    assert_int_equal(files_with(GR_STR("a-letter")), 0);
}

static void full_keeps_bodies_without_their_secrets(void **state)
{
    (void)state;
    log_secret(true);
    seen s = read_all();
    void *body = NULL;
    assert_int_equal(gr_body_decode(arena, &gr_type_room_send, s.body, &body).code, GR_OK);
    assert_true(gr_str_is(((gr_room_send *)body)->content, "{\"body\":\"a-letter\"}"));
}

typedef struct {
    gr_message_log *log;
    unsigned writer;
} adder;

static void *add_many(void *arg)
{
    const adder *a = arg;
    gr_log_record r = {
        .trace = a->writer, .from = GR_STR("edge/n1/0"), .to = GR_STR("echo/x"), .verb = GR_ASK};
    for (r.span = 1; r.span <= 1000; r.span++) gr_message_log_add(a->log, a->writer, &r);
    return NULL;
}

static bool count_in_order(void *arg, const gr_logged *l)
{
    uint64_t *last = arg;
    assert_int_equal(l->record.span, ++last[l->record.trace]);
    return true;
}

static void the_log_thread_writes_what_other_threads_add_meanwhile(void **state)
{
    (void)state;
    gr_message_log *log = NULL;
    gr_message_log_options o = {.dir = folder, .node = "n1", .threaded = true, .writers = 2};
    assert_int_equal(gr_message_log_open(&o, arena, &log).code, GR_OK);
    adder adders[2] = {{log, 0}, {log, 1}};
    pthread_t threads[2];
    uint64_t last[2] = {0};
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, add_many, &adders[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    gr_message_log_close(&log);
    gr_log_reader reader = {.message = count_in_order, .arg = last};
    assert_int_equal(gr_message_log_read(folder, arena, NULL, NULL, &reader, NULL).code, GR_OK);
    assert_int_equal(last[0] + last[1], 2000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(records_are_read_as_they_were_written),
        TEST(files_are_for_the_owner_only),
        TEST(the_oldest_segments_go_when_the_bytes_are_used_up),
        TEST(segments_go_when_they_are_too_old_also_those_of_earlier_runs),
        TEST(a_segment_that_is_being_written_ends_when_it_has_its_share_of_the_age),
        TEST(clocks_of_other_nodes_and_times_of_sending_are_kept),
        TEST(reading_goes_on_where_it_ended),
        TEST(a_torn_tail_hides_nothing_before_it),
        TEST(a_flipped_bit_ends_the_segment_there),
        TEST(a_full_ring_drops_counts_and_tells_the_reader),
        TEST(bodies_are_not_kept_but_ids_are),
        TEST(full_keeps_bodies_without_their_secrets),
        TEST(the_log_thread_writes_what_other_threads_add_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
