/* cmd_fsck.c - `greenroom fsck`: a walk over everything in the store of a stopped server. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"
#include "edge/copy.h"

#include "actors/fsck.h"
#include "proto/json.h"

typedef struct {
    gr_cli_table_progress bar;
    uint64_t total;
} progress;

/* The total is of compressed files and only about right: the bar ends when the walk does. */
static bool on_progress(void *arg, const gr_fsck_report *so_far)
{
    progress *p = arg;
    if (so_far->bytes * 100 < p->total * 99) gr_cli_table_progress_show(&p->bar, so_far->bytes, p->total);
    return true;
}

static void print_json(gr_buf *out, const gr_fsck_report *report)
{
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_kint(&w, "records", (int64_t)report->keys);
    gr_jw_kint(&w, "bytes", (int64_t)report->bytes);
    gr_jw_kint(&w, "problems", (int64_t)report->problems);
    gr_jw_kint(&w, "unknown", (int64_t)report->unknown);
    gr_jw_key(&w, "listed");
    gr_jw_array(&w);
    for (size_t i = 0; i < report->listed.count; i++) gr_jw_str(&w, report->listed.at[i]);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_buf_char(out, '\n');
}

static void print_text(gr_buf *out, const gr_fsck_report *report, const char *dir)
{
    for (size_t i = 0; i < report->listed.count; i++)
        gr_buf_printf(out, "%" GR_FMT "\n", GR_ARG(report->listed.at[i]));
    gr_buf_c(out, "Looked at ");
    gr_cli_table_amount(out, GR_CLI_TABLE_COUNT, (int64_t)report->keys);
    gr_buf_c(out, " records of ");
    gr_cli_table_amount(out, GR_CLI_TABLE_BYTES, (int64_t)report->bytes);
    gr_buf_printf(out, ": %llu problems", (unsigned long long)report->problems);
    if (report->unknown)
        gr_buf_printf(out, ", %llu records of unknown kinds", (unsigned long long)report->unknown);
    gr_buf_c(out, ".\n");
    if (report->problems)
        gr_buf_printf(out,
                      "Keep a copy of %s as it is, then restore the newest good backup: greenroom restore "
                      "BACKUP_DIR NEW_DIR\n",
                      dir);
}

/* After the report; standard error, since it is none of the result. */
static int repair(gr_store *store, const gr_fsck_rooms *rooms)
{
    size_t repaired = 0;
    gr_err err = gr_fsck_repair(store, rooms, &repaired);
    if (gr_failed(err)) return gr_cli_failed("the repair was cut short, try again: %s", err.text);
    fprintf(stderr, "Chain covers of %zu rooms are to be made anew: the server does that while it runs, see `greenroom "
            "updates`.\n", repaired);
    return GR_CLI_DONE;
}

static int check(gr_store *store, const gr_env *env, const char *dir, const char *path, bool json, bool repairs)
{
    gr_fsck_rooms rooms = {.env = env};
    gr_fsck_report report;
    progress p = {{.what = "fsck", .last_percent = -1}, gr_copy_size(path)};
    gr_buf out = {0};
    gr_fsck *fsck = gr_fsck_new();
    gr_fsck_actors(fsck, &rooms);
    gr_err err = gr_fsck_run(fsck, store, on_progress, &p, &report);
    int code = GR_CLI_FAILED;
    if (gr_failed(err)) {
        gr_cli_failed("the store can't be read to its end: %s", err.text);
    } else {
        gr_cli_table_progress_show(&p.bar, 1, 1);
        if (json) print_json(&out, &report);
        else print_text(&out, &report, dir);
        code = gr_cli_print(gr_buf_view(&out));
        if (report.problems) code = GR_CLI_FAILED;
        if (repairs && repair(store, &rooms) != GR_CLI_DONE) code = GR_CLI_FAILED;
    }
    gr_buf_free(&rooms.uncovered);
    gr_buf_free(&out);
    gr_fsck_free(&fsck);
    return code;
}

static int open_and_check(gr_arena *a, const char *dir, bool json, bool repairs)
{
    gr_env env = {0};
    gr_store *store = gr_admin_client_store(a, dir, &env.server_name);
    if (!store) return GR_CLI_FAILED;
    int code = check(store, &env, dir, gr_arena_printf(a, "%s/store", dir).ptr, json, repairs);
    gr_store_close(&store);
    return code;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false, repairs = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--json", .flag = &json}, {.name = "--repair", .flag = &repairs}, {0}};
    if (!gr_cli_options(&gr_cmd_fsck, argc, argv, options, &dir, 1, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if (gr_admin_client_dir(a, dir)) code = open_and_check(a, dir, json, repairs);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_fsck = {
    "fsck", "check everything in the store of a stopped server",
    "usage: greenroom fsck DIR [--repair] [--json]\n\n"
    "Reads every record and checks that records, indexes and room states fit each other; changes nothing but with\n"
    "--repair.  The server has to be stopped.  Exit code 0 when there is no problem, else 1; the\n"
    "first 1,000 problems are listed.\n\n"
    "  --repair       forget chain covers of rooms that are missing or wrong: they follow from the events, and the\n"
    "                 server makes them again while it runs\n"
    "  --json         an object in place of the text\n",
    run};
