/* committer_test.c - gathering, order and completion, with and without a thread. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "persistence/committer.h"

enum { GROUPS = 2000, WORKERS = 3 };

/* What apply saw and done was told. */
typedef struct {
    size_t applies, applied, idles, answers;
    uint64_t newest[GR_SHARDS];       /* number last answered, to see the order */
    bool refuse_odd;
    pthread_mutex_t lock;
    pthread_cond_t answered;
} record;

static void apply(void *arg, const gr_batch *const *batches, size_t count, gr_outcome *outcomes)
{
    record *r = arg;
    r->applies++;
    r->applied += count;
    for (size_t i = 0; i < count; i++)
        outcomes[i] = r->refuse_odd && batches[i]->header.number % 2 ? GR_FENCED : GR_COMMITTED;
}

static void idle(void *arg) { ((record *)arg)->idles++; }

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    record *r = arg;
    pthread_mutex_lock(&r->lock);
    assert_int_equal(number, r->newest[shard] + 1);
    assert_int_equal(token, number);
    assert_int_equal(outcome, r->refuse_odd && number % 2 ? GR_FENCED : GR_COMMITTED);
    r->newest[shard] = number;
    r->answers++;
    pthread_cond_signal(&r->answered);
    pthread_mutex_unlock(&r->lock);
}

static void begin(record *r)
{
    *r = (record){0};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->answered, NULL);
}

static void submit(gr_committer *c, record *r, uint8_t shard, uint64_t number, size_t size)
{
    gr_batch batch = {.header = {.shard = shard, .number = number}, .bytes = {"", size}};
    gr_committer_submit(c, &batch, 1, number, done, r);
}

static void all_that_waits_is_written_at_once(void **state)
{
    (void)state;
    record r;
    begin(&r);
    gr_committer *c = gr_committer_new(apply, idle, &r, false);
    for (uint64_t n = 1; n <= 10; n++) submit(c, &r, 1, n, 100);
    assert_int_equal(gr_committer_waiting(c), 10);
    assert_int_equal(r.answers, 0);
    assert_int_equal(gr_committer_step(c), 10);
    assert_int_equal(r.applies, 1);
    assert_int_equal(r.answers, 10);
    assert_int_equal(gr_committer_step(c), 0);
    assert_int_equal(r.idles, 1);
    gr_committer_free(&c);
}

static void one_write_is_bounded_in_bytes(void **state)
{
    (void)state;
    record r;
    begin(&r);
    gr_committer *c = gr_committer_new(apply, idle, &r, false);
    for (uint64_t n = 1; n <= 20; n++) submit(c, &r, 1, n, GR_BATCH_MAX);
    assert_int_equal(gr_committer_step(c), GR_COMMITTER_BYTES / GR_BATCH_MAX);
    gr_committer_free(&c);
    assert_int_equal(r.answers, 20);
}

static void each_batch_gets_its_own_outcome(void **state)
{
    (void)state;
    record r;
    begin(&r);
    r.refuse_odd = true;
    gr_committer *c = gr_committer_new(apply, idle, &r, false);
    for (uint64_t n = 1; n <= 600; n++) submit(c, &r, 1, n, 1);      /* more than the queue holds */
    gr_committer_free(&c);
    assert_int_equal(r.answers, 600);
}

typedef struct { gr_committer *c; record *r; uint8_t shard; } worker;

static void *work(void *arg)
{
    worker *w = arg;
    for (uint64_t n = 1; n <= GROUPS; n++) submit(w->c, w->r, w->shard, n, 1000);
    return NULL;
}

static void threads_get_their_answers_in_order(void **state)
{
    (void)state;
    record r;
    begin(&r);
    gr_committer *c = gr_committer_new(apply, idle, &r, true);
    pthread_t threads[WORKERS];
    worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){c, &r, (uint8_t)i};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    pthread_mutex_lock(&r.lock);
    while (r.answers < WORKERS * GROUPS) pthread_cond_wait(&r.answered, &r.lock);
    pthread_mutex_unlock(&r.lock);
    assert_int_equal(r.applied, WORKERS * GROUPS);
    gr_committer_free(&c);
}

static void closing_answers_what_still_waits(void **state)
{
    (void)state;
    record r;
    begin(&r);
    gr_committer *c = gr_committer_new(apply, idle, &r, true);
    for (uint64_t n = 1; n <= 100; n++) submit(c, &r, 1, n, 10);
    gr_committer_free(&c);
    assert_int_equal(r.answers, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_waits_is_written_at_once),
        cmocka_unit_test(one_write_is_bounded_in_bytes),
        cmocka_unit_test(each_batch_gets_its_own_outcome),
        cmocka_unit_test(threads_get_their_answers_in_order),
        cmocka_unit_test(closing_answers_what_still_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
