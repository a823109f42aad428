/* cmd_init.c - `greenroom init`: a new data directory with its configuration and keys. */
#include "edge/cli.h"
#include "edge/config.h"
#include "edge/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    gr_arena *arena;
    gr_config config; /* only to check what --set gives */
    gr_str names[GR_CLI_VALUES_MAX + 1], values[GR_CLI_VALUES_MAX + 1];
    size_t count;
} request;

static int set(request *r, gr_str name, gr_str value)
{
    gr_err e = gr_config_set(&r->config, name, value);
    if (gr_failed(e)) return gr_cli_misused(&gr_cmd_init, "%s", e.text);
    r->names[r->count] = name;
    r->values[r->count++] = value;
    return GR_CLI_DONE;
}

static int set_all(request *r, const char *server_name, const char *const *sets, size_t count)
{
    int code = server_name ? set(r, GR_STR("server_name"), gr_str_c(server_name)) : GR_CLI_DONE;
    for (size_t i = 0; i < count && code == GR_CLI_DONE; i++) {
        gr_str pair = gr_str_c(sets[i]);
        ptrdiff_t equals = gr_str_find(pair, '=');
        if (equals < 0) return gr_cli_misused(&gr_cmd_init, "--set takes KEY=VALUE, not \"%s\"", sets[i]);
        code = set(r, gr_str_head(pair, (size_t)equals), gr_str_from(pair, (size_t)equals + 1));
    }
    if (code == GR_CLI_DONE && !r->config.server_name[0])
        code = gr_cli_misused(&gr_cmd_init,
                              "--server-name is missing: the part behind the colon of your user ids");
    return code;
}

static int write_config(request *r, const char *path)
{
    gr_buf text = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return gr_cli_failed("can't write %s: %s", path, strerror(errno));
    gr_config_write(&text, r->count, r->names, r->values);
    bool good = write(fd, text.ptr, text.size) == (ssize_t)text.size && fsync(fd) == 0;
    int problem = errno;
    close(fd);
    gr_buf_free(&text);
    if (good) return GR_CLI_DONE;
    unlink(path);
    return gr_cli_failed("can't write %s: %s", path, strerror(problem));
}

static int create(request *r, const char *dir)
{
    const char *path = gr_arena_printf(r->arena, "%s/" GR_CONFIG_FILE, dir).ptr;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return gr_cli_failed("can't make the directory %s: %s", dir, strerror(errno));
    if (access(path, F_OK) == 0)
        return gr_cli_failed("%s exists already: nothing was changed.  Start it with `greenroom run %s`",
                             path, dir);
    gr_err e = gr_keys_create(r->arena, dir);
    if (gr_failed(e)) return gr_cli_failed("%s", e.text);
    int code = write_config(r, path);
    if (code != GR_CLI_DONE) return code;
    printf("Wrote %s and the keys beside it.  Keep a copy of %s/" GR_KEYS_SIGNING_FILE
           ": it can't be replaced.\n"
           "Start the server with: greenroom run %s\n",
           path, dir, dir);
    return GR_CLI_DONE;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL, *server_name = NULL, *sets[GR_CLI_VALUES_MAX];
    size_t dirs, count = 0;
    const gr_cli_option options[] = {{.name = "--server-name", .value = &server_name},
                                     {.name = "--set", .values = sets, .count = &count},
                                     {0}};
    if (!gr_cli_options(&gr_cmd_init, argc, argv, options, &dir, 1, 1, &dirs)) return GR_CLI_USAGE;
    request r = {.arena = gr_arena_new(0)};
    gr_config_init(&r.config, dir);
    int code = set_all(&r, server_name, sets, count);
    if (code == GR_CLI_DONE) code = create(&r, dir);
    gr_config_free(&r.config);
    gr_arena_free(&r.arena);
    return code;
}

const gr_cli_command gr_cmd_init = {
    "init", "Make a data directory with configuration and keys.",
    "usage: greenroom init DIR --server-name NAME [--set KEY=VALUE]...\n\n"
    "Makes the directory DIR with the commented configuration " GR_CONFIG_FILE
    ", the server's signing key and its\n"
    "other secrets.  Nothing that exists is overwritten.\n\n"
    "  --server-name NAME   the part behind the colon of user ids; can't be changed later\n"
    "  --set KEY=VALUE      set a key of the configuration, for example --set registration=open\n",
    run};
