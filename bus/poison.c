/* poison.c - the crash page as a mapped file. See poison.h. */
#include "bus/poison.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct gr_poison {
    gr_crash_slot *slots;
    unsigned workers;
};

gr_err gr_poison_open(const char *dir, unsigned workers, gr_arena *arena, gr_poison **out)
{
    *out = NULL;
    const char *path = gr_arena_printf(arena, "%s/crash.page", dir).ptr;
    size_t size = workers * sizeof(gr_crash_slot);
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return gr_failf(arena, GR_UNKNOWN, "Cannot open %s; is its directory writable?", path);
    bool sized = fstat(fd, &st) == 0 && (st.st_size == (off_t)size || ftruncate(fd, 0) == 0)
                 && ftruncate(fd, (off_t)size) == 0;
    void *page = sized ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    if (page == MAP_FAILED) return gr_failf(arena, GR_UNKNOWN, "Cannot map %s; is the disk full?", path);
    *out = gr_alloc(sizeof **out);
    **out = (gr_poison){page, workers};
    return gr_ok();
}

gr_crash_slot *gr_poison_slot(gr_poison *p, unsigned worker)
{
    gr_assert(worker < p->workers);
    return &p->slots[worker];
}

void gr_poison_close(gr_poison **at)
{
    if (!*at) return;
    munmap((*at)->slots, (*at)->workers * sizeof(gr_crash_slot));
    free(*at);
    *at = NULL;
}
