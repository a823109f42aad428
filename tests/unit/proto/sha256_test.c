/* sha256_test.c - the vectors of FIPS 180, whole and in pieces. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "proto/sha256.h"

static const char *hex(const unsigned char hash[GR_SHA256_SIZE])
{
    static _Thread_local char out[2 * GR_SHA256_SIZE + 1];
    for (int i = 0; i < GR_SHA256_SIZE; i++) snprintf(out + 2 * i, 3, "%02x", hash[i]);
    return out;
}

static const char *const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char *const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
static const char *const two = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";

static void whole_texts_give_the_known_hashes(void **state)
{
    (void)state;
    unsigned char out[GR_SHA256_SIZE];
    for (int round = 0; round < 2; round++) {           /* the second round meets a used context */
        gr_sha256(NULL, 0, out);
        assert_string_equal(hex(out), empty);
        gr_sha256("abc", 3, out);
        assert_string_equal(hex(out), abc);
        gr_sha256(two_blocks, sizeof two_blocks - 1, out);
        assert_string_equal(hex(out), two);
    }
}

static void pieces_give_the_hash_of_the_whole(void **state)
{
    (void)state;
    unsigned char out[GR_SHA256_SIZE];
    gr_sha256_run *run = gr_sha256_new();
    gr_sha256_add(run, "a", 1);
    gr_sha256_add(run, "", 0);
    gr_sha256(two_blocks, sizeof two_blocks - 1, out);  /* a whole hash between the pieces does no harm */
    gr_sha256_add(run, "bc", 2);
    gr_sha256_finish(run, out);
    assert_string_equal(hex(out), abc);
    gr_sha256_finish(run, out);
    assert_string_equal(hex(out), empty);
    gr_sha256_free(&run);
    assert_null(run);
}

static void *hash_abc(void *out)
{
    gr_sha256("abc", 3, out);
    return NULL;
}

static void each_thread_has_its_own_context(void **state)
{
    (void)state;
    unsigned char outs[4][GR_SHA256_SIZE];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, hash_abc, outs[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_string_equal(hex(outs[i]), abc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_texts_give_the_known_hashes),
        cmocka_unit_test(pieces_give_the_hash_of_the_whole),
        cmocka_unit_test(each_thread_has_its_own_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
