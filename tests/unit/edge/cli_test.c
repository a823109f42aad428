/* cli_test.c - facts about the command line and its first commands. */
#include "edge/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int calls;
static int last_argc;

static int run_counted(int argc, char **argv)
{
    (void)argv;
    calls++;
    last_argc = argc;
    return GR_CLI_DONE;
}

static const gr_cli_command plain = {"user", "x", "usage: greenroom user\n", run_counted};
static const gr_cli_command two_words = {"user add", "x", "usage: greenroom user add NAME\n", run_counted};
static const gr_cli_command *const commands[] = {
    &gr_cmd_init, &gr_cmd_check_config, &gr_cmd_config_docs, &gr_cmd_version, &two_words, &plain, NULL};

/* Runs "greenroom" with a NULL-ended list of arguments. */
static int greenroom(const char *first, ...)
{
    char *argv[16] = {(char *)"greenroom"};
    int argc = 1;
    va_list args;
    va_start(args, first);
    for (const char *word = first; word; word = va_arg(args, const char *)) argv[argc++] = (char *)word;
    va_end(args);
    return gr_cli_main(commands, argc, argv);
}

static void what_is_not_understood_gives_2(void **state)
{
    (void)state;
    assert_int_equal(greenroom(NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("dance", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("help", "dance", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("init", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("init", "d", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("init", "d", "--server-name", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("init", "d", "--server-name", "a b", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("init", "d", "--server-name=a", "--set", "workers", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("init", "d", "--server-name=a", "--set=wrkers=1", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("init", "d", "e", "--server-name=a", NULL), GR_CLI_USAGE);
    assert_int_equal(greenroom("version", "--loud", NULL), GR_CLI_USAGE);
    assert_int_equal(access("d", F_OK), -1);
}

static void help_is_always_at_hand(void **state)
{
    (void)state;
    calls = 0;
    assert_int_equal(greenroom("help", NULL), GR_CLI_DONE);
    assert_int_equal(greenroom("--help", NULL), GR_CLI_DONE);
    assert_int_equal(greenroom("help", "user", "add", NULL), GR_CLI_DONE);
    assert_int_equal(greenroom("user", "add", "--help", NULL), GR_CLI_DONE);
    assert_int_equal(greenroom("--version", NULL), GR_CLI_DONE);
    assert_int_equal(calls, 0);
}

static void a_command_of_two_words_goes_before_one_of_one(void **state)
{
    (void)state;
    calls = 0;
    assert_int_equal(greenroom("user", "add", "anna", NULL), GR_CLI_DONE);
    assert_int_equal(last_argc, 1);
    assert_int_equal(greenroom("user", "list", "anna", NULL), GR_CLI_DONE);
    assert_int_equal(last_argc, 2);
    assert_int_equal(calls, 2);
}

static void options_come_in_any_order_and_form(void **state)
{
    (void)state;
    char *argv[] = {(char *)"one",   (char *)"--json",  (char *)"--limit=3", (char *)"--set",
                    (char *)"a=b=c", (char *)"--set=d", (char *)"--",        (char *)"--two"};
    bool json = false;
    const char *limit = NULL, *sets[GR_CLI_VALUES_MAX], *words[2];
    size_t set_count = 0, count;
    const gr_cli_option options[] = {{.name = "--json", .flag = &json},
                                     {.name = "--limit", .value = &limit},
                                     {.name = "--set", .values = sets, .count = &set_count},
                                     {0}};
    assert_true(gr_cli_options(&plain, 8, argv, options, words, 1, 2, &count));
    assert_true(json);
    assert_string_equal(limit, "3");
    assert_int_equal(set_count, 2);
    assert_string_equal(sets[0], "a=b=c");
    assert_int_equal(count, 2);
    assert_string_equal(words[1], "--two");
    argv[0] = (char *)"--json=1";
    assert_false(gr_cli_options(&plain, 8, argv, options, words, 0, 2, &count));
}

static void init_makes_a_directory_that_check_config_likes_and_never_overwrites(void **state)
{
    (void)state;
    char dir[] = "/tmp/greenroom-init-XXXXXX", path[64];
    struct stat about;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(greenroom("check-config", dir, NULL), GR_CLI_FAILED);
    assert_int_equal(greenroom("init", dir, "--server-name", "a.b", "--set", "workers=2", NULL), GR_CLI_DONE);
    assert_int_equal(greenroom("check-config", dir, NULL), GR_CLI_DONE);
    assert_int_equal(greenroom("init", dir, "--server-name", "a.b", NULL), GR_CLI_FAILED);
    static const char *const files[] = {"greenroom.yaml", "signing.key", "secrets"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_int_equal(stat(path, &about), 0);
        assert_int_equal(about.st_mode & 0777, 0600);
    }
    unlink(path);
    assert_int_equal(greenroom("check-config", dir, NULL), GR_CLI_FAILED);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_understood_gives_2),
        cmocka_unit_test(help_is_always_at_hand),
        cmocka_unit_test(a_command_of_two_words_goes_before_one_of_one),
        cmocka_unit_test(options_come_in_any_order_and_form),
        cmocka_unit_test(init_makes_a_directory_that_check_config_likes_and_never_overwrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
