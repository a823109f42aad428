/* cli.c - finding commands and reading their options. See cli.h. */
#include "edge/cli.h"

#include <errno.h>
#include <stdio.h>

int gr_cli_failed(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "greenroom: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    return GR_CLI_FAILED;
}

int gr_cli_misused(const gr_cli_command *command, const char *format, ...)
{
    va_list args;
    gr_str usage = gr_str_c(command->usage);
    ptrdiff_t end = gr_str_find(usage, '\n');
    va_start(args, format);
    fprintf(stderr, "greenroom %s: ", command->name);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n%" GR_FMT "\nMore: greenroom %s --help\n", GR_ARG(gr_str_head(usage, (size_t)end)),
            command->name);
    return GR_CLI_USAGE;
}

int gr_cli_print(gr_str text)
{
    if (fwrite(text.ptr ? text.ptr : "", 1, text.size, stdout) == text.size && fflush(stdout) == 0)
        return GR_CLI_DONE;
    return gr_cli_failed("can't write to standard output: %s", strerror(errno));
}

static const gr_cli_option *option_of(const gr_cli_option *options, gr_str name)
{
    for (; options->name; options++)
        if (gr_str_is(name, options->name)) return options;
    return NULL;
}

/* Takes the option at argv[*i] and perhaps the value after it. */
static bool take_option(const gr_cli_command *command, int argc, char **argv, const gr_cli_option *options,
                        int *i)
{
    gr_str name = gr_str_c(argv[*i]);
    ptrdiff_t equals = gr_str_find(name, '=');
    const char *value = equals < 0 ? NULL : argv[*i] + equals + 1;
    if (equals >= 0) name.size = (size_t)equals;
    const gr_cli_option *option = option_of(options, name);
    if (!option) {
        gr_cli_misused(command, "there is no option %" GR_FMT, GR_ARG(name));
        return false;
    }
    if (option->flag) {
        if (value) gr_cli_misused(command, "%s takes no value", option->name);
        *option->flag = !value;
        return !value;
    }
    if (!value && *i + 1 < argc) value = argv[++*i];
    if (!value) {
        gr_cli_misused(command, "%s needs a value", option->name);
        return false;
    }
    if (option->value) *option->value = value;
    if (!option->values) return true;
    if (*option->count == GR_CLI_VALUES_MAX) {
        gr_cli_misused(command, "too many %s: at most %d", option->name, GR_CLI_VALUES_MAX);
        return false;
    }
    option->values[(*option->count)++] = value;
    return true;
}

bool gr_cli_options(const gr_cli_command *command, int argc, char **argv, const gr_cli_option *options,
                    const char **plain, size_t least, size_t most, size_t *plain_count)
{
    bool all_plain = false;
    *plain_count = 0;
    for (int i = 0; i < argc; i++) {
        if (!all_plain && strcmp(argv[i], "--") == 0) {
            all_plain = true;
        } else if (!all_plain && argv[i][0] == '-' && argv[i][1] == '-') {
            if (!take_option(command, argc, argv, options, &i)) return false;
        } else if (*plain_count < most) {
            plain[(*plain_count)++] = argv[i];
        } else {
            gr_cli_misused(command, "there is one argument too many: %s", argv[i]);
            return false;
        }
    }
    if (*plain_count >= least) return true;
    gr_cli_misused(command, "an argument is missing");
    return false;
}

static int help(const gr_cli_command *const *commands)
{
    gr_buf out = {0};
    gr_buf_c(&out,
             "Greenroom " GR_VERSION ", a Matrix homeserver.\n\nusage: greenroom COMMAND [argument]...\n\n");
    for (; *commands; commands++) gr_buf_printf(&out, "  %-14s %s\n", (*commands)->name, (*commands)->line);
    gr_buf_c(&out, "  help           This list, or with a command its usage.\n\n"
                   "A first server: greenroom init data --server-name localhost && greenroom run data\n");
    int code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

/* How many words of argv are the name of this command: 0, 1 or 2. */
static int words_matched(const gr_cli_command *command, int argc, char **argv)
{
    gr_str name = gr_str_c(command->name), first = name;
    ptrdiff_t blank = gr_str_find(name, ' ');
    if (blank >= 0) first.size = (size_t)blank;
    if (argc < 1 || !gr_str_is(first, argv[0])) return 0;
    if (blank < 0) return 1;
    return argc > 1 && gr_str_is(gr_str_from(name, (size_t)blank + 1), argv[1]) ? 2 : 0;
}

static const gr_cli_command *command_of(const gr_cli_command *const *commands, int argc, char **argv,
                                        int *words)
{
    for (; *commands; commands++)
        if ((*words = words_matched(*commands, argc, argv)) > 0) return *commands;
    return NULL;
}

static bool is_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

int gr_cli_main(const gr_cli_command *const *commands, int argc, char **argv)
{
    int words = 0;
    argc--;
    argv++;
    bool wants_help = argc > 0 && (strcmp(argv[0], "help") == 0 || is_help(argv[0]));
    if (wants_help && argc == 1) return help(commands);
    if (argc == 0) {
        fprintf(stderr, "greenroom: which command?  `greenroom help` lists them.\n");
        return GR_CLI_USAGE;
    }
    static char version[] = "version";
    if (strcmp(argv[0], "--version") == 0) argv[0] = version;
    argc -= wants_help;
    argv += wants_help;
    const gr_cli_command *command = command_of(commands, argc, argv, &words);
    if (!command) {
        fprintf(stderr, "greenroom: there is no command \"%s\".  `greenroom help` lists them.\n", argv[0]);
        return GR_CLI_USAGE;
    }
    argc -= words;
    argv += words;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) wants_help = wants_help || is_help(argv[i]);
    return wants_help ? gr_cli_print(gr_str_c(command->usage)) : command->run(argc, argv);
}
