/* cmd_user_valid.c - `greenroom user valid`: until when an account can be used. */
#include "edge/admin_client.h"
#include "edge/cli.h"

#include "proto/json.h"

#include <stdio.h>
#include <time.h>

/* A day (UTC), or `forever`. */
static bool read_until(const char *text, int64_t *until_ms)
{
    struct tm day = {0};
    if (strcmp(text, "forever") == 0) {
        *until_ms = 0;
        return true;
    }
    const char *rest = strptime(text, "%Y-%m-%d", &day);
    time_t seconds = rest && !*rest ? timegm(&day) : -1;
    *until_ms = (int64_t)seconds * 1000;
    return seconds > 0;
}

static int set(gr_arena *a, const char *dir, const char *user, int64_t until_ms)
{
    gr_buf request = {0};
    gr_str answer;
    gr_jw w = gr_jw_begin(&request);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "to", gr_arena_cat(a, 2, (gr_str[]){GR_STR("user/"), gr_str_c(user)}));
    gr_jw_kc(&w, "type", "user_valid");
    gr_jw_key(&w, "body");
    gr_jw_object(&w);
    gr_jw_kint(&w, "until_ms", until_ms);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    bool good = gr_admin_client_ask(a, dir, "/send", gr_buf_view(&request), &answer);
    gr_buf_free(&request);
    return good ? GR_CLI_DONE : GR_CLI_FAILED;
}

static int run(int argc, char **argv)
{
    const char *user = NULL, *until = NULL, *dir = NULL;
    int64_t until_ms = 0;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--until", .value = &until}, {.name = "--dir", .value = &dir}, {0}};
    if (!gr_cli_options(&gr_cmd_user_valid, argc, argv, options, &user, 1, 1, &count)) return GR_CLI_USAGE;
    if (!until || !read_until(until, &until_ms))
        return gr_cli_misused(&gr_cmd_user_valid, "--until is a day like 2030-01-31, or forever");
    if (user[0] != '@' || !gr_str_utf8(gr_str_c(user)))
        return gr_cli_misused(&gr_cmd_user_valid, "give a whole user id, like @name:example.org");
    gr_arena *a = gr_arena_new(0);
    int code = (dir = gr_admin_client_dir(a, dir)) ? set(a, dir, user, until_ms) : GR_CLI_FAILED;
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_user_valid = {
    "user valid", "say until when an account can be used",
    "usage: greenroom user valid USER_ID --until DAY|forever [--dir DIR]\n\n"
    "After that day (UTC) the user can't use the account; nothing of it is lost, and a later day makes it good again.\n\n"
    "  --until DAY    like 2030-01-31, or forever\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
