/* copy_test.c - folders copied for backups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "edge/copy.h"

typedef struct {
    gr_arena *arena;
    char dir[64];
} fixture;

static const char *path(fixture *f, const char *name)
{
    return gr_arena_printf(f->arena, "%s/%s", f->dir, name).ptr;
}

static void put(fixture *f, const char *name, const char *text, mode_t mode)
{
    FILE *out = fopen(path(f, name), "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    assert_int_equal(chmod(path(f, name), mode), 0);
}

static void assert_holds(fixture *f, const char *name, const char *text)
{
    char found[64] = {0};
    FILE *in = fopen(path(f, name), "r");
    assert_non_null(in);
    assert_int_equal(fread(found, 1, sizeof found - 1, in), strlen(text));
    fclose(in);
    assert_string_equal(found, text);
}

static void make_folders(fixture *f)
{
    assert_int_equal(mkdir(path(f, "from"), 0700), 0);
    assert_int_equal(mkdir(path(f, "from/deep"), 0700), 0);
    put(f, "from/a", "one", 0644);
    put(f, "from/deep/b", "three", 0600);
    assert_int_equal(symlink("/etc/passwd", path(f, "from/link")), 0);
}

static void a_folder_is_copied_with_all_below_it_but_links(void **state)
{
    fixture *f = *state;
    gr_copy c = {0};
    struct stat about;
    make_folders(f);
    assert_false(gr_failed(gr_copy_folder(&c, f->arena, path(f, "from"), path(f, "to"))));
    assert_holds(f, "to/a", "one");
    assert_holds(f, "to/deep/b", "three");
    assert_int_equal(stat(path(f, "to/deep/b"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(access(path(f, "to/link"), F_OK), -1);
    assert_int_equal(c.files, 2);
    assert_int_equal(c.bytes, 8);
    assert_true(gr_copy_size(path(f, "to")) == 8);
}

static void linked_files_share_their_bytes(void **state)
{
    fixture *f = *state;
    gr_copy c = {.link = true};
    struct stat one, other;
    make_folders(f);
    assert_false(gr_failed(gr_copy_folder(&c, f->arena, path(f, "from"), path(f, "to"))));
    assert_int_equal(stat(path(f, "from/a"), &one), 0);
    assert_int_equal(stat(path(f, "to/a"), &other), 0);
    assert_true(one.st_ino == other.st_ino);
}

static void nothing_that_exists_is_overwritten(void **state)
{
    fixture *f = *state;
    gr_copy c = {.mode = 0600};
    make_folders(f);
    put(f, "other", "mine", 0600);
    assert_true(gr_failed(gr_copy_file(&c, f->arena, path(f, "from/a"), path(f, "other"))));
    assert_holds(f, "other", "mine");
    assert_int_equal(gr_copy_folder(&c, f->arena, path(f, "from"), path(f, "from/deep")).code, GR_BAD_STATE);
    assert_int_equal(gr_copy_file(&c, f->arena, path(f, "none"), path(f, "new")).code, GR_NOT_FOUND);
    assert_int_equal(gr_copy_folder(&c, f->arena, path(f, "none"), path(f, "new")).code, GR_NOT_FOUND);
}

static bool give_up(void *arg, uint64_t bytes)
{
    (void)arg;
    return bytes == 0;
}

static void who_is_told_of_progress_can_give_up(void **state)
{
    fixture *f = *state;
    gr_copy c = {.progress = give_up};
    make_folders(f);
    assert_int_equal(gr_copy_folder(&c, f->arena, path(f, "from"), path(f, "to")).code, GR_TIMEOUT);
    assert_int_equal(c.files, 1);
}

static int begin(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    f->arena = gr_arena_new(0);
    memcpy(f->dir, "/tmp/greenroom-copy-XXXXXX", sizeof "/tmp/greenroom-copy-XXXXXX");
    *state = f;
    return mkdtemp(f->dir) ? 0 : -1;
}

static int end(void **state)
{
    fixture *f = *state;
    static const char *const files[] = {"from/a", "from/deep/b", "from/link", "to/a", "to/deep/b", "other"};
    static const char *const folders[] = {"from/deep", "from", "to/deep", "to", "new"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) unlink(path(f, files[i]));
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) rmdir(path(f, folders[i]));
    int failed = rmdir(f->dir);
    gr_arena_free(&f->arena);
    free(f);
    return failed;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_folder_is_copied_with_all_below_it_but_links), TEST(linked_files_share_their_bytes),
        TEST(nothing_that_exists_is_overwritten), TEST(who_is_told_of_progress_can_give_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
