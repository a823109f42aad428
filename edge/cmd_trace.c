/* cmd_trace.c - `greenroom trace`: what one request caused, from the message logs. */
#include "edge/admin_client.h"

#include "bus/trace.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    const char *dir, *logs[GR_CLI_VALUES_MAX], *actor, *type, *since;
    size_t log_count;
    bool json, bodies, follow;
} request;

/* Without --log the folder of the data directory. */
static bool folders(gr_arena *a, request *r, const char **out)
{
    size_t count = 0;
    for (; count < r->log_count && count < GR_CLI_VALUES_MAX - 1; count++) out[count] = r->logs[count];
    if (count == 0) {
        const char *dir = gr_admin_client_dir(a, r->dir);
        if (!dir) return false;
        out[count++] = gr_arena_printf(a, "%s/messages", dir).ptr;
    }
    out[count] = NULL;
    return true;
}

static int print_once(gr_arena *a, const gr_trace_query *query, bool quiet)
{
    gr_buf out = {0};
    gr_err err = gr_trace_print(query, a, &out);
    int code = gr_failed(err) ? (quiet ? GR_CLI_DONE : gr_cli_failed("%s", err.text)) : gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

/* Prints traces as they come, looking once a second, until it is interrupted. */
static int follow(gr_arena *a, gr_trace_query *query)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t from = (uint64_t)now.tv_sec * 1000000;
    for (;; sleep(1)) {
        clock_gettime(CLOCK_REALTIME, &now);
        query->from_us = from;
        query->to_us = (uint64_t)now.tv_sec * 1000000 - 1;
        from = query->to_us + 1;
        if (print_once(a, query, true) != GR_CLI_DONE) return GR_CLI_FAILED;
        fflush(stdout);
        gr_arena_reset(a);
    }
}

static int run(int argc, char **argv)
{
    request r = {0};
    const char *id = NULL, *dirs[GR_CLI_VALUES_MAX + 1];
    size_t count = 0;
    const gr_cli_option options[] = {
        {.name = "--dir", .value = &r.dir},   {.name = "--log", .values = r.logs, .count = &r.log_count},
        {.name = "--actor", .value = &r.actor}, {.name = "--type", .value = &r.type},
        {.name = "--json", .flag = &r.json},  {.name = "--bodies", .flag = &r.bodies},
        {.name = "--follow", .flag = &r.follow}, {0}};
    if (!gr_cli_options(&gr_cmd_trace, argc, argv, options, &id, 0, 1, &count)) return GR_CLI_USAGE;
    if (count == 0 && !r.follow && !r.actor && !r.type)
        return gr_cli_misused(&gr_cmd_trace, "say what to trace: a trace id, event id, transaction id or room");
    gr_arena *a = gr_arena_new(0), *names = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if (folders(names, &r, dirs)) {
        gr_trace_query query = {.dirs = dirs, .id = gr_str_c(count ? id : ""), .actor = gr_str_c(r.actor ? r.actor : ""),
                                .type = gr_str_c(r.type ? r.type : ""), .bodies = r.bodies, .json = r.json};
        code = r.follow ? follow(a, &query) : print_once(a, &query, false);
    }
    gr_arena_free(&a);
    gr_arena_free(&names);
    return code;
}

const gr_cli_command gr_cmd_trace = {
    "trace", "draw the tree of messages that one request caused",
    "usage: greenroom trace ID [--json] [--bodies] [--actor PREFIX] [--type TYPE] [--follow] [--dir DIR | --log FOLDER ...]\n\n"
    "ID is a trace id (from `greenroom send`), an event id, a transaction id, a room or an actor's address.  Prints for\n"
    "each message how long it was queued, handled, committing and releasing.\n\n"
    "  --follow       print traces as they come, until interrupted\n"
    "  --actor, --type    only messages of these\n"
    "  --bodies       also bodies, which are kept with message_log: full\n"
    "  --json         for programs\n"
    "  --log FOLDER   read a (copied) folder of message logs; may be given several times\n"
    "  --dir DIR      the data directory whose log to read\n",
    run};
