/* The pool: jobs run over a snapshot of their actor's keyspace, and each is handed back exactly once. */
#include "bus/ctx.h"
#include "bus/pool.h"
#include "persistence/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { JOBS = 200 };

static gr_arena *arena;
static char dir[32];
static gr_store *store;

/* What was handed back, and a gate that work can be made to wait at. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static gr_job *back[JOBS];
static unsigned back_count, entered;
static bool gate_is_open;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    snprintf(dir, sizeof dir, "/tmp/gr-pool-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    gr_store_options o = {.dir = dir, .server_name = GR_STR("x"), .create = true};
    back_count = entered = 0;
    gate_is_open = false;
    return gr_failed(gr_store_open(&o, arena, &store)) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < back_count; i++) gr_job_free(&back[i]);
    gr_store_close(&store);
    gr_arena_free(&arena);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
    if (d) closedir(d);
    return rmdir(dir);
}

static void hand_back(void *arg, gr_job *job)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    back[back_count++] = job;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_back(unsigned count)
{
    pthread_mutex_lock(&lock);
    while (back_count < count) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static gr_job *job_of(const gr_work *work, const char *actor, const char *input)
{
    gr_job *job = gr_alloc(sizeof *job);
    job->work = work;
    job->actor = (gr_str){gr_str_dup(gr_str_c(actor)), strlen(actor)};
    gr_buf_c(&job->input, input);
    job->store = store;
    job->shard = gr_address_shard(job->actor);
    job->hand_back = hand_back;
    return job;
}

static bool upper(gr_arena *a, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    (void)a;
    (void)reader;
    for (size_t i = 0; i < input.size; i++) gr_buf_char(output, (char)(input.ptr[i] - 32));
    return input.size > 0;
}

static bool wait_at_gate(gr_arena *a, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    pthread_mutex_lock(&lock);
    entered++;
    pthread_cond_broadcast(&changed);
    while (!gate_is_open) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return upper(a, input, reader, output);
}

static bool add_row(void *arg, gr_str key, gr_str value)
{
    gr_buf *output = arg;
    gr_buf_printf(output, "%" GR_FMT "=%" GR_FMT ";", GR_ARG(key), GR_ARG(value));
    return true;
}

static bool list_rows(gr_arena *a, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_str value = {0};
    (void)input;
    gr_work_scan(reader, (gr_str){0}, (gr_str){0}, false, 0, add_row, output);
    if (gr_work_get(reader, a, GR_STR("k2"), &value)) gr_buf_str(output, value);
    return true;
}

static const gr_work upper_work = {"upper", upper}, gate_work = {"gate", wait_at_gate},
                     rows_work = {"rows", list_rows};

static void open_gate(void)
{
    pthread_mutex_lock(&lock);
    gate_is_open = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void each_job_is_run_once_and_handed_back(void **state)
{
    (void)state;
    gr_pool *pool = NULL;
    assert_int_equal(gr_pool_open(3, 0, 0, arena, &pool).code, GR_OK);
    gr_work_seam *seam = gr_pool_seam(pool);
    for (int i = 0; i < JOBS; i++)
        assert_true(seam->submit(seam, job_of(&upper_work, "echo/x", i ? "abc" : "")));
    wait_back(JOBS);
    unsigned failed = 0;
    for (int i = 0; i < JOBS; i++) {
        failed += back[i]->failed;
        assert_true(back[i]->failed || gr_str_is(gr_buf_view(&back[i]->output), "ABC"));
    }
    assert_int_equal(failed, 1);
    gr_pool_close(&pool);
}

static void others_are_run_while_long_jobs_are(void **state)
{
    (void)state;
    static const gr_work long_work = {"long", wait_at_gate, true};
    gr_pool *pool = NULL;
    assert_int_equal(gr_pool_open(2, 0, 0, arena, &pool).code, GR_OK);
    gr_work_seam *seam = gr_pool_seam(pool);
    for (int i = 0; i < 3; i++) assert_true(seam->submit(seam, job_of(&long_work, "echo/x", "abc")));
    for (int i = 0; i < 10; i++) assert_true(seam->submit(seam, job_of(&upper_work, "echo/x", "abc")));
    wait_back(10);
    open_gate();
    wait_back(13);
    gr_pool_close(&pool);
}

static void run_beside_costly_jobs(unsigned processors, unsigned at_once)
{
    static const gr_work costly_work = {.name = "costly", .run = wait_at_gate, .is_costly = true};
    gr_pool *pool = NULL;
    assert_int_equal(gr_pool_open(6, processors, 0, arena, &pool).code, GR_OK);
    gr_work_seam *seam = gr_pool_seam(pool);
    for (int i = 0; i < 20; i++) assert_true(seam->submit(seam, job_of(&costly_work, "echo/x", "abc")));
    for (int i = 0; i < 10; i++) assert_true(seam->submit(seam, job_of(&upper_work, "echo/x", "abc")));
    wait_back(10);
    pthread_mutex_lock(&lock);
    while (entered < at_once) pthread_cond_wait(&changed, &lock);
    assert_int_equal(entered, at_once);
    pthread_mutex_unlock(&lock);
    open_gate();
    wait_back(30);
    gr_pool_close(&pool);
}

static void others_are_run_while_costly_jobs_are_and_few_of_those_at_once(void **state)
{
    (void)state;
    run_beside_costly_jobs(8, 2);
}

static void a_processor_is_left_to_others_while_costly_jobs_are_run(void **state)
{
    (void)state;
    run_beside_costly_jobs(2, 1);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    gr_pool *pool = NULL;
    assert_int_equal(gr_pool_open(1, 0, 2, arena, &pool).code, GR_OK);
    gr_work_seam *seam = gr_pool_seam(pool);
    assert_true(seam->submit(seam, job_of(&gate_work, "echo/x", "a")));
    pthread_mutex_lock(&lock);
    while (entered == 0) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    assert_true(seam->submit(seam, job_of(&upper_work, "echo/x", "b")));
    assert_true(seam->submit(seam, job_of(&upper_work, "echo/x", "c")));
    gr_job *refused = job_of(&upper_work, "echo/x", "d");
    assert_false(seam->submit(seam, refused));
    gr_job_free(&refused);
    open_gate();
    wait_back(3);
    gr_pool_close(&pool);
}

static void a_stop_hands_back_what_waits_as_failed_and_finishes_what_runs(void **state)
{
    (void)state;
    gr_pool *pool = NULL;
    assert_int_equal(gr_pool_open(1, 0, 0, arena, &pool).code, GR_OK);
    gr_work_seam *seam = gr_pool_seam(pool);
    assert_true(seam->submit(seam, job_of(&gate_work, "echo/x", "a")));
    pthread_mutex_lock(&lock);
    while (entered == 0) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    assert_true(seam->submit(seam, job_of(&upper_work, "echo/x", "b")));
    gr_pool_stop(pool);
    assert_int_equal(back_count, 1);
    assert_true(back[0]->failed);
    assert_false(gr_pool_idle(pool));
    gr_job *late = job_of(&upper_work, "echo/x", "c");
    assert_false(seam->submit(seam, late));
    gr_job_free(&late);
    open_gate();
    gr_pool_close(&pool);
    assert_int_equal(back_count, 2);
    assert_true(gr_str_is(gr_buf_view(&back[1]->output), "A"));
}

static void put(gr_ops *ops, const char *actor, const char *key, const char *value)
{
    char prefix[GR_PREFIX_MAX];
    gr_str address = gr_str_c(actor);
    size_t size = gr_actor_prefix(gr_address_kind(address), gr_address_id(address), prefix);
    gr_ops_put(ops, gr_arena_cat(arena, 2, (gr_str[]){{prefix, size}, gr_str_c(key)}), gr_str_c(value));
}

static void committed(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    (void)token;
    (void)shard;
    (void)number;
    *(gr_outcome *)arg = outcome;
}

static void work_reads_only_the_keys_of_its_actor(void **state)
{
    (void)state;
    gr_shard shard;
    gr_ops ops = {0};
    gr_batch batch;
    gr_outcome outcome = GR_FENCED;
    gr_pool *pool = NULL;
    assert_int_equal(gr_shard_open(store, gr_id_shard(GR_STR("x")), arena, &shard).code, GR_OK);
    put(&ops, "user/x", "k1", "other kind");
    put(&ops, "echo/x", "k1", "one");
    put(&ops, "echo/x", "k2", "two");
    assert_int_equal(gr_shard_seal(&shard, &ops, arena, &batch).code, GR_OK);
    gr_store_submit(store, &batch, 1, 0, committed, &outcome);
    while (outcome == GR_FENCED) gr_store_step(store);
    assert_int_equal(gr_pool_open(1, 0, 0, arena, &pool).code, GR_OK);
    assert_true(gr_pool_seam(pool)->submit(gr_pool_seam(pool), job_of(&rows_work, "echo/x", "")));
    wait_back(1);
    gr_pool_close(&pool);
    assert_true(gr_str_is(gr_buf_view(&back[0]->output), "k1=one;k2=two;two"));
    gr_ops_free(&ops);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_job_is_run_once_and_handed_back),
        TEST(others_are_run_while_long_jobs_are),
        TEST(others_are_run_while_costly_jobs_are_and_few_of_those_at_once),
        TEST(a_processor_is_left_to_others_while_costly_jobs_are_run),
        TEST(a_full_queue_refuses),
        TEST(a_stop_hands_back_what_waits_as_failed_and_finishes_what_runs),
        TEST(work_reads_only_the_keys_of_its_actor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
