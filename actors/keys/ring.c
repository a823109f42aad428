/* ring.c - see ring.h. */
#include "actors/keys/ring.h"

static bool is_valid(const gr_server_key *key, int64_t ts)
{
    uint64_t until = key->expired_ms ? key->expired_ms : key->valid_until_ms;
    return key->public_key.size == GR_SIGN_PUBLIC && (ts == 0 || (uint64_t)ts <= until);
}

static bool find_own(const gr_ring *r, gr_str key_id, unsigned char public_key[GR_SIGN_PUBLIC])
{
    if (!gr_str_eq(key_id, gr_str_c(r->own->key_id))) return false;
    memcpy(public_key, r->own->public_key, GR_SIGN_PUBLIC);
    return true;
}

bool gr_ring_find(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC])
{
    const gr_ring *r = arg;
    if (r->own && gr_str_eq(server, r->own->server_name)) return find_own(r, key_id, public_key);
    for (size_t i = 0; i < r->count; i++) {
        const gr_keys_known *known = &r->servers[i];
        for (size_t k = 0; gr_str_eq(known->server, server) && k < known->keys.count; k++) {
            if (!gr_str_eq(known->keys.at[k].key_id, key_id) || !is_valid(&known->keys.at[k], ts)) continue;
            memcpy(public_key, known->keys.at[k].public_key.ptr, GR_SIGN_PUBLIC);
            return true;
        }
    }
    return false;
}
