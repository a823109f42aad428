/* token_cache.c - leases on access tokens. See token_cache.h. */
#include "edge/token_cache.h"

#include <stdlib.h>
#include <uthash.h>

typedef struct {
    UT_hash_handle hh;
    unsigned char hash[GR_TOKEN_HASH];
    uint64_t until_ms;
    bool guest, admin;
    size_t user_size, device_size, client_size;
    char text[];                   /* user, device, client */
} entry;

struct gr_token_cache { entry *all; };

gr_token_cache *gr_token_cache_new(void) { return gr_alloc(sizeof(gr_token_cache)); }

static void drop(gr_token_cache *c, entry *e)
{
    HASH_DEL(c->all, e);
    free(e);
}

void gr_token_cache_free(gr_token_cache **c)
{
    if (!*c) return;
    entry *e, *next;
    HASH_ITER(hh, (*c)->all, e, next) drop(*c, e);
    free(*c);
    *c = NULL;
}

static entry *find(gr_token_cache *c, gr_str hash)
{
    entry *e = NULL;
    gr_assert(hash.size == GR_TOKEN_HASH);
    HASH_FIND(hh, c->all, hash.ptr, GR_TOKEN_HASH, e);
    return e;
}

bool gr_token_cache_find(gr_token_cache *c, gr_str hash, uint64_t now_ms, gr_token_owned *out)
{
    entry *e = find(c, hash);
    *out = (gr_token_owned){0};
    if (!e) return false;
    if (e->until_ms <= now_ms) {
        drop(c, e);
        return false;
    }
    const char *device = e->text + e->user_size;
    *out = (gr_token_owned){{e->text, e->user_size}, {device, e->device_size}, {device + e->device_size, e->client_size},
                            e->guest, e->admin};
    return true;
}

void gr_token_cache_put(gr_token_cache *c, gr_str hash, const gr_token_owner *owner, uint64_t until_ms)
{
    gr_token_cache_forget(c, hash);
    if (HASH_COUNT(c->all) >= GR_TOKEN_CACHE_MAX) drop(c, c->all);     /* uthash keeps the order of adding */
    entry *e = gr_alloc(sizeof *e + owner->user.size + owner->device.size + owner->client.size);
    memcpy(e->hash, hash.ptr, GR_TOKEN_HASH);
    e->until_ms = until_ms;
    e->guest = owner->guest;
    e->admin = owner->admin;
    e->user_size = owner->user.size;
    e->device_size = owner->device.size;
    e->client_size = owner->client.size;
    memcpy(e->text, owner->user.ptr, owner->user.size);
    if (owner->device.size) memcpy(e->text + owner->user.size, owner->device.ptr, owner->device.size);
    if (owner->client.size) memcpy(e->text + owner->user.size + owner->device.size, owner->client.ptr, owner->client.size);
    HASH_ADD(hh, c->all, hash, GR_TOKEN_HASH, e);
}

void gr_token_cache_forget(gr_token_cache *c, gr_str hash)
{
    entry *e = find(c, hash);
    if (e) drop(c, e);
}
