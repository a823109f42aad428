/* cmd_config.c - the commands `check-config`, `config-docs` and `version`. */
#include "edge/cli.h"
#include "edge/config.h"
#include "edge/keys.h"

#include <stdio.h>
#include <unistd.h>

static int run_check(int argc, char **argv)
{
    static const gr_cli_option options[] = {{0}};
    const char *dir = NULL;
    size_t dirs;
    if (!gr_cli_options(&gr_cmd_check_config, argc, argv, options, &dir, 1, 1, &dirs)) return GR_CLI_USAGE;
    gr_config config;
    gr_config_mistakes mistakes;
    gr_keys keys;
    gr_config_mistakes_init(&mistakes);
    if (gr_config_load(&config, dir, environ, &mistakes)) {
        gr_err e = gr_keys_load(mistakes.memory, dir, &keys);
        gr_keys_wipe(&keys);
        if (gr_failed(e)) gr_config_mistakes_add(&mistakes, dir, 0, 0, e.text);
    }
    int code = mistakes.count ? GR_CLI_FAILED : GR_CLI_DONE;
    gr_config_mistakes_print(&mistakes, stdout);
    if (code == GR_CLI_DONE)
        printf("%s/" GR_CONFIG_FILE " is good (server name %s).\n", dir, config.server_name);
    gr_config_free(&config);
    gr_config_mistakes_free(&mistakes);
    return code;
}

static int run_docs(int argc, char **argv)
{
    static const gr_cli_option options[] = {{0}};
    gr_buf out = {0};
    size_t none;
    if (!gr_cli_options(&gr_cmd_config_docs, argc, argv, options, NULL, 0, 0, &none)) return GR_CLI_USAGE;
    gr_config_docs(&out);
    int code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

static int run_version(int argc, char **argv)
{
    static const gr_cli_option options[] = {{0}};
    size_t none;
    if (!gr_cli_options(&gr_cmd_version, argc, argv, options, NULL, 0, 0, &none)) return GR_CLI_USAGE;
    return gr_cli_print(GR_STR("greenroom " GR_VERSION "\n"));
}

const gr_cli_command gr_cmd_check_config = {
    "check-config", "Find the mistakes in a configuration.",
    "usage: greenroom check-config DIR\n\n"
    "Reads DIR/" GR_CONFIG_FILE
    ", the environment and the keys as `greenroom run` does, and prints every mistake as\n"
    "FILE:LINE:COLUMN: TEXT.  Exit code 0 when there is none, else 1.\n",
    run_check};

const gr_cli_command gr_cmd_config_docs = {"config-docs", "Print docs/configuration.md: every key explained.",
                                           "usage: greenroom config-docs\n\nPrints the page that explains "
                                           "every key of the configuration, in Markdown.\n",
                                           run_docs};

const gr_cli_command gr_cmd_version = {"version", "Print the version.",
                                       "usage: greenroom version\n\nPrints the version of this program.\n",
                                       run_version};
