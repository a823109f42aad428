/* cmd_run.c - `greenroom run`: serve a data directory in the foreground. */
#include "edge/cli.h"
#include "edge/log.h"
#include "edge/server.h"

#include <stdio.h>
#include <unistd.h>

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    size_t count = 0;
    const gr_cli_option none[] = {{0}};
    if (!gr_cli_options(&gr_cmd_run, argc, argv, none, &dir, 1, 1, &count)) return GR_CLI_USAGE;
    gr_config config;
    gr_config_mistakes mistakes;
    gr_config_mistakes_init(&mistakes);
    int code = GR_CLI_FAILED;
    if (gr_config_load(&config, dir, environ, &mistakes)) {
        gr_log_setup((gr_log_level)config.log_level, (gr_log_format)config.log_format, (gr_log_sink){0});
        code = gr_server_run(&config, dir);
    } else {
        gr_config_mistakes_print(&mistakes, stderr);
    }
    gr_config_mistakes_free(&mistakes);
    gr_config_free(&config);
    return code;
}

const gr_cli_command gr_cmd_run = {
    "run", "serve a data directory in the foreground",
    "usage: greenroom run DIR\n\n"
    "Serves the data directory that `greenroom init DIR` made, until SIGTERM or Ctrl-C; it then stops within\n"
    "10 seconds, and a second signal ends it at once.  SIGHUP reads the TLS certificate again.\n\n"
    "Every key of DIR/greenroom.yaml can be overridden by a variable: GREENROOM_LISTEN_CLIENT=127.0.0.1:8008.\n",
    run};
