/* key_cache.c - keys seen lately. See key_cache.h. */
#include "edge/key_cache.h"

#include "proto/ident.h"

typedef struct {
    uint64_t until_ms, heard_ms;
    unsigned char public_key[GR_SIGN_PUBLIC];
} entry;

enum { NAME_MAX_SIZE = GR_SERVER_NAME_MAX + 1 + GR_IDENT_MAX };

gr_lru *gr_key_cache_new(void) { return gr_lru_new(sizeof(entry), GR_KEY_CACHE_MAX, 0, NULL); }

/* server, NUL, key id */
static gr_str name_of(gr_str server, gr_str key_id, char name[NAME_MAX_SIZE])
{
    gr_assert(server.size + 1 + key_id.size <= NAME_MAX_SIZE);
    memcpy(name, server.ptr, server.size);
    name[server.size] = 0;
    memcpy(name + server.size + 1, key_id.ptr, key_id.size);
    return gr_str_of(name, server.size + 1 + key_id.size);
}

bool gr_key_cache_find(gr_lru *c, gr_str server, gr_str key_id, uint64_t now_ms, unsigned char out[GR_SIGN_PUBLIC])
{
    char name[NAME_MAX_SIZE];
    const entry *e = gr_lru_find(c, name_of(server, key_id, name));
    if (!e || e->until_ms <= now_ms) return false;
    memcpy(out, e->public_key, GR_SIGN_PUBLIC);
    return true;
}

bool gr_key_cache_heard(gr_lru *c, gr_str server, gr_str key_id, uint64_t now_ms)
{
    char name[NAME_MAX_SIZE];
    entry *e = gr_lru_find(c, name_of(server, key_id, name));
    if (!e || (e->heard_ms && now_ms - e->heard_ms < GR_KEY_CACHE_HEARD_MS)) return false;
    e->heard_ms = now_ms;
    return true;
}

void gr_key_cache_put(gr_lru *c, gr_str server, gr_str key_id, uint64_t now_ms, uint64_t valid_until_ms,
                      const unsigned char public_key[GR_SIGN_PUBLIC])
{
    char name[NAME_MAX_SIZE];
    gr_str key = name_of(server, key_id, name);
    entry *e = gr_lru_find(c, key);
    if (!e) e = gr_lru_add(c, key, 0);
    memcpy(e->public_key, public_key, GR_SIGN_PUBLIC);
    e->until_ms = valid_until_ms < now_ms + GR_KEY_CACHE_MS ? valid_until_ms : now_ms + GR_KEY_CACHE_MS;
}
