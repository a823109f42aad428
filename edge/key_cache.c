/* key_cache.c - keys seen lately. See key_cache.h. */
#include "edge/key_cache.h"

#include "proto/ident.h"

#include <stdlib.h>
#include <uthash.h>

typedef struct {
    UT_hash_handle hh;             /* in order of use: the oldest is first */
    uint64_t until_ms, heard_ms;
    unsigned char public_key[GR_SIGN_PUBLIC];
    size_t size;
    char name[];                   /* server, NUL, key id */
} entry;

struct gr_key_cache { entry *all; };

enum { NAME_MAX_SIZE = GR_SERVER_NAME_MAX + 1 + GR_IDENT_MAX };

gr_key_cache *gr_key_cache_new(void) { return gr_alloc(sizeof(gr_key_cache)); }

static void forget(gr_key_cache *c, entry *e)
{
    HASH_DEL(c->all, e);
    free(e);
}

void gr_key_cache_free(gr_key_cache **at)
{
    entry *e, *next;
    if (!*at) return;
    HASH_ITER(hh, (*at)->all, e, next) forget(*at, e);
    free(*at);
    *at = NULL;
}

static size_t name_of(gr_str server, gr_str key_id, char name[NAME_MAX_SIZE])
{
    gr_assert(server.size + 1 + key_id.size <= NAME_MAX_SIZE);
    memcpy(name, server.ptr, server.size);
    name[server.size] = 0;
    memcpy(name + server.size + 1, key_id.ptr, key_id.size);
    return server.size + 1 + key_id.size;
}

static entry *find(gr_key_cache *c, const char *name, size_t size)
{
    entry *e = NULL;
    HASH_FIND(hh, c->all, name, size, e);
    if (!e) return NULL;
    HASH_DEL(c->all, e);
    HASH_ADD_KEYPTR(hh, c->all, e->name, e->size, e);
    return e;
}

bool gr_key_cache_find(gr_key_cache *c, gr_str server, gr_str key_id, uint64_t now_ms, unsigned char out[GR_SIGN_PUBLIC])
{
    char name[NAME_MAX_SIZE];
    entry *e = find(c, name, name_of(server, key_id, name));
    if (!e || e->until_ms <= now_ms) return false;
    memcpy(out, e->public_key, GR_SIGN_PUBLIC);
    return true;
}

bool gr_key_cache_heard(gr_key_cache *c, gr_str server, gr_str key_id, uint64_t now_ms)
{
    char name[NAME_MAX_SIZE];
    entry *e = find(c, name, name_of(server, key_id, name));
    if (!e || (e->heard_ms && now_ms - e->heard_ms < GR_KEY_CACHE_HEARD_MS)) return false;
    e->heard_ms = now_ms;
    return true;
}

void gr_key_cache_put(gr_key_cache *c, gr_str server, gr_str key_id, uint64_t now_ms, uint64_t valid_until_ms,
                      const unsigned char public_key[GR_SIGN_PUBLIC])
{
    char name[NAME_MAX_SIZE];
    size_t size = name_of(server, key_id, name);
    entry *e = find(c, name, size);
    if (!e) {
        if (HASH_COUNT(c->all) >= GR_KEY_CACHE_MAX) forget(c, c->all);
        e = gr_alloc(sizeof *e + size);
        memcpy(e->name, name, size);
        e->size = size;
        HASH_ADD_KEYPTR(hh, c->all, e->name, e->size, e);
    }
    memcpy(e->public_key, public_key, GR_SIGN_PUBLIC);
    e->until_ms = valid_until_ms < now_ms + GR_KEY_CACHE_MS ? valid_until_ms : now_ms + GR_KEY_CACHE_MS;
}
