/* init.c - making a data directory. See init.h. */
#include "edge/init.h"

#include "bus/cluster.h"
#include "edge/config.h"
#include "edge/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_config(const gr_init *o, const char *path)
{
    gr_buf text = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return gr_cli_failed("can't write %s: %s", path, strerror(errno));
    gr_config_write(&text, o->count, o->names, o->values);
    bool good = write(fd, text.ptr, text.size) == (ssize_t)text.size && fsync(fd) == 0;
    int problem = errno;
    close(fd);
    gr_buf_free(&text);
    if (good) return GR_CLI_DONE;
    unlink(path);
    return gr_cli_failed("can't write %s: %s", path, strerror(problem));
}

int gr_init_make(gr_arena *a, const gr_init *o)
{
    const char *path = gr_arena_printf(a, "%s/" GR_CONFIG_FILE, o->dir).ptr;
    if (mkdir(o->dir, 0700) < 0 && errno != EEXIST)
        return gr_cli_failed("can't make the directory %s: %s", o->dir, strerror(errno));
    if (access(path, F_OK) == 0)
        return gr_cli_failed("%s exists already: nothing was changed.  Start it with `greenroom run %s`", path, o->dir);
    gr_err e = o->keys_of ? gr_keys_create_like(a, o->dir, o->keys_of) : gr_keys_create(a, o->dir);
    if (gr_failed(e)) return gr_cli_failed("%s", e.text);
    return write_config(o, path);
}

bool gr_init_public_key(gr_arena *a, const char *dir, uint8_t out[32])
{
    gr_keys keys;
    gr_err e = gr_keys_load(a, dir, &keys);
    if (gr_failed(e)) {
        gr_cli_failed("%s", e.text);
        return false;
    }
    gr_cluster_public_key(keys.bus_secret, out);
    gr_keys_wipe(&keys);
    return true;
}
