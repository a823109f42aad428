/* cmd_backup.c - `greenroom backup` of a running node, and `greenroom restore` of such a backup. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"
#include "edge/copy.h"
#include "edge/keys.h"

#include "persistence/backup.h"
#include "proto/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 200 };

/* --- backup ------------------------------------------------------------------------------------------- */
/* The path as the node, which has another present directory, has to be told. */
static const char *whole_path(gr_arena *a, const char *path)
{
    char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    if (path[0] != '/' && !here) return NULL;
    const char *whole = path[0] == '/' ? path : gr_arena_printf(a, "%s/%s", here, path).ptr;
    free(here);
    return gr_str_utf8(gr_str_c(whole)) ? whole : NULL;
}

static int64_t number_of(const gr_json *state, const char *name)
{
    return gr_json_integer(gr_json_get(state, name), 0);
}

/* Follows the backup to its end; NULL after it has said what went wrong. */
static const gr_json *follow(gr_arena *a, const char *dir, gr_str *answer)
{
    gr_cli_table_progress bar = {.what = "backup", .last_percent = -1};
    for (const gr_json *state;;) {
        if (!gr_admin_client_ask(a, dir, "/backup", (gr_str){0}, answer)) return NULL;
        if (gr_failed(gr_json_parse(a, *answer, GR_JSON_LAX, &state))) {
            gr_cli_failed("the node's answer can't be read");
            return NULL;
        }
        uint64_t done = (uint64_t)number_of(state, "bytes"), total = (uint64_t)number_of(state, "total");
        if (!gr_json_boolean(gr_json_get(state, "running"), false)) {
            if (gr_json_get(state, "error")) {
                gr_cli_failed("the backup is not complete: %" GR_FMT, GR_ARG(gr_json_text(state, "error")));
                return NULL;
            }
            gr_cli_table_progress_show(&bar, 1, 1);
            return state;
        }
        /* The total is of compressed files and only about right: the bar ends when the node says so. */
        gr_cli_table_progress_show(&bar, done * 100 >= total * 99 ? 99 : done * 100 / (total ? total : 1),
                                   100);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
}

static int backup(gr_arena *a, const char *dir, const char *to, bool json)
{
    gr_buf request = {0}, size = {0};
    gr_str answer;
    const char *whole = whole_path(a, to);
    if (!whole) return gr_cli_failed("%s is no path that can be used: it has to be UTF-8", to);
    gr_jw w = gr_jw_begin(&request);
    gr_jw_object(&w);
    gr_jw_kc(&w, "to", whole);
    gr_jw_end_object(&w);
    bool began = gr_admin_client_ask(a, dir, "/backup", gr_buf_view(&request), &answer);
    gr_buf_free(&request);
    const gr_json *state = began ? follow(a, dir, &answer) : NULL;
    if (!state) return GR_CLI_FAILED;
    if (json) return gr_cli_print(gr_arena_cat(a, 2, (gr_str[]){answer, GR_STR("\n")}));
    gr_cli_table_amount(&size, GR_CLI_TABLE_BYTES,
                        number_of(state, "store_bytes") + number_of(state, "media_bytes"));
    gr_str text = gr_arena_printf(
        a,
        "Wrote %s: %lld records, %lld media files, %" GR_FMT ".  It holds the server's keys: keep it as "
        "safe as the server.\nTLS certificates and log files are not in it.  To use it: greenroom restore "
        "%s NEW_DIR\n",
        to, (long long)number_of(state, "keys"), (long long)number_of(state, "media_files"),
        GR_ARG(gr_buf_view(&size)), to);
    gr_buf_free(&size);
    return gr_cli_print(text);
}

static int run_backup(int argc, char **argv)
{
    const char *dir = NULL, *to = NULL;
    bool json = false;
    size_t count = 0;
    const gr_cli_option options[] = {
        {.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json}, {0}};
    if (!gr_cli_options(&gr_cmd_backup, argc, argv, options, &to, 1, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir))) code = backup(a, dir, to, json);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_backup = {
    "backup", "copy everything of a running node into a new folder",
    "usage: greenroom backup TO_DIR [--json] [--dir DIR]\n\n"
    "Copies the store (one consistent moment of it, while the node goes on), the media, the configuration "
    "and the keys.\n"
    "Media files are hard-linked where the file system allows.  TO_DIR must not exist or be empty.\n\n"
    "  --json         print what was copied as JSON\n"
    "  --dir DIR      the data directory of the running node (else GREENROOM_DIR, ./data or the present "
    "directory)\n",
    run_backup};

/* --- restore ------------------------------------------------------------------------------------------ */
typedef struct {
    gr_cli_table_progress bar;
    uint64_t total;
} copying;

static bool on_bytes(void *arg, uint64_t bytes)
{
    copying *c = arg;
    if (bytes < c->total) gr_cli_table_progress_show(&c->bar, bytes, c->total);
    return true;
}

static gr_err copy_all(gr_arena *a, const char *from, const char *to)
{
    static const char *const secret[] = {GR_CONFIG_FILE, GR_KEYS_SIGNING_FILE, GR_KEYS_SECRETS_FILE};
    static const char *const folders[] = {"store", "media"};
    copying progress = {{.what = "restore", .last_percent = -1}, gr_copy_size(from)};
    gr_copy files = {.progress = on_bytes, .arg = &progress};
    gr_err err = gr_copy_make_folder(a, to);
    for (int i = 0; i < 2 && !gr_failed(err); i++) {
        err = gr_copy_folder(&files, a, gr_arena_printf(a, "%s/%s", from, folders[i]).ptr,
                             gr_arena_printf(a, "%s/%s", to, folders[i]).ptr);
        if (i == 1 && gr_failed(err) && err.code == GR_NOT_FOUND) err = gr_ok();
    }
    files.mode = 0600;
    for (int i = 0; i < 3 && !gr_failed(err); i++)
        err = gr_copy_file(&files, a, gr_arena_printf(a, "%s/%s", from, secret[i]).ptr,
                           gr_arena_printf(a, "%s/%s", to, secret[i]).ptr);
    if (!gr_failed(err)) gr_cli_table_progress_show(&progress.bar, 1, 1);
    return err;
}

static int restore(gr_arena *a, const char *from, const char *to, bool json)
{
    gr_config config;
    gr_backup_count count = {0};
    if (access(gr_arena_printf(a, "%s/store", from).ptr, R_OK) != 0)
        return gr_cli_failed("%s is no backup of `greenroom backup`: there is no folder store in it", from);
    gr_err err = copy_all(a, from, to);
    if (gr_failed(err)) return gr_cli_failed("%s", err.text);
    bool good = gr_admin_client_config(&config, to);
    gr_store_options options = {.dir = gr_arena_printf(a, "%s/store", to).ptr,
                                .server_name = gr_arena_str(a, gr_str_c(config.server_name))};
    gr_config_free(&config);
    if (!good)
        return gr_cli_failed(
            "the backup's configuration has mistakes; mend %s/" GR_CONFIG_FILE " in the backup", from);
    err = gr_backup_restore(&options, a, &count);
    if (gr_failed(err)) return gr_cli_failed("%s (remove %s before trying again)", err.text, to);
    if (json)
        return gr_cli_print(gr_arena_printf(a, "{\"keys\":%llu,\"bytes\":%llu}\n",
                                            (unsigned long long)count.keys, (unsigned long long)count.bytes));
    return gr_cli_print(gr_arena_printf(
        a,
        "Restored %llu records into %s.  Stop the old server for good before this one runs: two "
        "with the same name do harm.\nStart it with: greenroom run %s\n",
        (unsigned long long)count.keys, to, to));
}

static int run_restore(int argc, char **argv)
{
    const char *plain[2] = {0};
    bool json = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--json", .flag = &json}, {0}};
    if (!gr_cli_options(&gr_cmd_restore, argc, argv, options, plain, 2, 2, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = restore(a, plain[0], plain[1], json);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_restore = {"restore", "make a data directory of a backup",
                                       "usage: greenroom restore BACKUP_DIR NEW_DIR [--json]\n\n"
                                       "Copies the backup, checks that it is whole, and makes it a data "
                                       "directory for `greenroom run NEW_DIR`.  The backup\n"
                                       "itself is not changed and can be restored again.\n\n"
                                       "  --json         print what was restored as JSON\n",
                                       run_restore};
