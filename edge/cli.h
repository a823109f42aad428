/* cli.h - the command line: a table of commands, their help, and reading their options.
 *
 * Each command lives in a file cmd_<name>.c that defines a gr_cli_command; main.c lists them in the order
 * in which `greenroom help` shows them.  Exit codes: 0 done, 1 failed, 2 not understood.  Results go to
 * standard output, everything else to standard error.
 */
#pragma once
#include "proto/err.h"

enum { GR_CLI_DONE = 0, GR_CLI_FAILED = 1, GR_CLI_USAGE = 2 };
enum { GR_CLI_VALUES_MAX = 64 };

typedef struct {
    const char *name;         /* may be two words: "user add" */
    const char *line;         /* one line for the list of commands */
    const char *usage;        /* the whole text of --help: first line "usage: greenroom NAME ..." */
    int (*run)(int argc, char **argv);     /* arguments after the name; gives the exit code */
} gr_cli_command;

extern const gr_cli_command gr_cmd_init, gr_cmd_run, gr_cmd_check_config, gr_cmd_config_docs, gr_cmd_version;
extern const gr_cli_command gr_cmd_send, gr_cmd_inspect, gr_cmd_actors, gr_cmd_catalogue, gr_cmd_trace;
extern const gr_cli_command gr_cmd_user_add, gr_cmd_user_show, gr_cmd_user_import, gr_cmd_user_valid;
extern const gr_cli_command gr_cmd_registration_token;
extern const gr_cli_command gr_cmd_top, gr_cmd_backup, gr_cmd_restore, gr_cmd_fsck;
extern const gr_cli_command gr_cmd_dead, gr_cmd_destinations, gr_cmd_purge, gr_cmd_schema, gr_cmd_updates;
extern const gr_cli_command gr_cmd_cluster_init, gr_cmd_cluster_key, gr_cmd_cluster_status, gr_cmd_upgrade_finish;

/* An option of a command.  flag: set by its mere presence.  value: the last one given.  values: every one
 * given. */
typedef struct {
    const char *name;         /* "--json" */
    bool *flag;
    const char **value;
    const char **values;      /* room for GR_CLI_VALUES_MAX */
    size_t *count;            /* of values */
} gr_cli_option;

/* Finds the command and runs it.  commands ends with NULL.  Handles help, --help, --version and what is
 * unknown. */
int gr_cli_main(const gr_cli_command *const *commands, int argc, char **argv);

/* Reads "--name value", "--name=value", flags and plain arguments, in any order; after "--" all are
 * plain.  Plain arguments must be from least to most and are put into plain.  On a mistake it says so on
 * standard error with the usage and gives false: the command returns GR_CLI_USAGE. options ends with a
 * {0}. */
GR_MUST_USE bool gr_cli_options(const gr_cli_command *, int argc, char **argv, const gr_cli_option *options,
                                const char **plain, size_t least, size_t most, size_t *plain_count);

/* Says "greenroom: text" on standard error and gives GR_CLI_FAILED. */
int gr_cli_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says what was wrong with the use of a command, and where its help is; gives GR_CLI_USAGE. */
int gr_cli_misused(const gr_cli_command *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes to standard output all at once; a full disk or closed pipe gives GR_CLI_FAILED. */
int gr_cli_print(gr_str);
