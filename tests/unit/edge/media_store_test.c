/* The media store: a file has its name only when it is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <ftw.h>
#include <unistd.h>

#include "edge/media_store.h"

static char dir[64];
static gr_arena *arena;

static int open_store(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/greenroom-media-XXXXXX");
    arena = gr_arena_new(0);
    return mkdtemp(dir) && !gr_failed(gr_media_store_open(arena, dir, "n1")) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static int remove_store(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static gr_errcode put(const char *id, const char *text)
{
    gr_media_upload *u = NULL;
    gr_err err = gr_media_upload_new(gr_str_c(id), &u);
    if (!gr_failed(err)) err = gr_media_upload_add(u, gr_str_c(text));
    if (!gr_failed(err)) err = gr_media_upload_keep(u);
    gr_media_upload_free(&u);
    return err.code;
}

static void kept_bytes_come_back(void **state)
{
    char bytes[32] = {0};
    uint64_t size = 0;
    gr_media_file *file = NULL;
    (void)state;
    assert_int_equal(put("abcdefgh", "some bytes"), GR_OK);
    assert_false(gr_failed(gr_media_file_open(GR_STR("abcdefgh"), &file, &size)));
    assert_int_equal(size, 10);
    assert_int_equal(gr_media_file_pull(file, bytes, sizeof bytes), 10);
    assert_string_equal(bytes, "some bytes");
    assert_int_equal(gr_media_file_pull(file, bytes, sizeof bytes), -1);
    gr_media_file_done(file, true);
}

static void what_is_there_is_not_written_over(void **state)
{
    (void)state;
    assert_int_equal(put("zyxwvuts", "first"), GR_OK);
    assert_int_equal(put("zyxwvuts", "second"), GR_CANNOT_OVERWRITE_MEDIA);
}

static void an_upload_that_was_not_kept_leaves_nothing(void **state)
{
    gr_media_upload *u = NULL;
    gr_media_file *file = NULL;
    uint64_t size = 0;
    char path[128];
    (void)state;
    assert_false(gr_failed(gr_media_upload_new(GR_STR("unfinished"), &u)));
    assert_false(gr_failed(gr_media_upload_add(u, GR_STR("half"))));
    gr_media_upload_free(&u);
    assert_int_equal(gr_media_file_open(GR_STR("unfinished"), &file, &size).code, GR_NOT_FOUND);
    snprintf(path, sizeof path, "%s/media/tmp-n1", dir);
    assert_int_equal(rmdir(path), 0);
    assert_false(gr_failed(gr_media_store_open(arena, dir, "n1")));
}

static void only_plain_ids_name_files(void **state)
{
    (void)state;
    assert_true(gr_media_id_valid(GR_STR("AZaz09-_")));
    assert_false(gr_media_id_valid(GR_STR("short")));
    assert_false(gr_media_id_valid(GR_STR("../../etc/passwd")));
    assert_false(gr_media_id_valid(GR_STR("abcdefgh.png")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_bytes_come_back, open_store, remove_store),
        cmocka_unit_test_setup_teardown(what_is_there_is_not_written_over, open_store, remove_store),
        cmocka_unit_test_setup_teardown(an_upload_that_was_not_kept_leaves_nothing, open_store, remove_store),
        cmocka_unit_test_setup_teardown(only_plain_ids_name_files, open_store, remove_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
