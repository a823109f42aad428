/* published.c - the keys that a server publishes. See published.h. */
#include "actors/keys/published.h"

#include "proto/sign.h"

gr_server_key *gr_published_find(gr_published *l, gr_str key_id)
{
    for (size_t i = 0; i < l->count; i++)
        if (gr_str_eq(l->at[i].key_id, key_id)) return &l->at[i];
    return NULL;
}

static bool find_own(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC])
{
    const gr_server_key *key = gr_published_find(arg, key_id);
    (void)server, (void)ts;
    if (!key || key->expired_ms) return false;
    memcpy(public_key, key->public_key.ptr, GR_SIGN_PUBLIC);
    return true;
}

/* Reads verify_keys or old_verify_keys; what is no ed25519 key is left out. */
static void read_some(gr_published *l, const gr_json *all, bool old, uint64_t valid_until_ms)
{
    for (uint32_t i = 0; gr_json_is(all, GR_JSON_OBJECT) && i < all->count && l->count < GR_SERVER_KEYS_MAX; i++) {
        const gr_json_member *m = &all->members[i];
        gr_str raw;
        int64_t expired = gr_json_integer(gr_json_get(&m->value, "expired_ts"), 0);
        bool good = gr_str_starts(m->key, GR_STR("ed25519:")) && m->key.size < GR_SIGN_KEY_ID_MAX
            && !gr_published_find(l, m->key) && gr_sign_decode(l->arena, gr_json_text(&m->value, "key"), GR_SIGN_PUBLIC, &raw);
        if (!good || (old && expired <= 0)) continue;
        l->at[l->count++] = (gr_server_key){.key_id = m->key, .public_key = raw, .valid_until_ms = old ? 0 : valid_until_ms,
                                            .expired_ms = old ? (uint64_t)expired : 0};
    }
}

/* The server's own signature by one of the keys in use proves that they are its keys. */
bool gr_published_read(gr_published *l, gr_arena *arena, gr_str server, gr_str text, uint64_t now_ms, uint64_t *valid_until_ms)
{
    const gr_json *object = NULL;
    gr_key_ring ring = {.find = find_own, .arg = l};
    *l = (gr_published){.arena = arena};
    if (text.size > GR_SERVER_KEYS_OBJECT_MAX || gr_failed(gr_json_parse(arena, text, GR_JSON_LAX, &object))) return false;
    int64_t until = gr_json_integer(gr_json_get(object, "valid_until_ts"), 0);
    if (!gr_str_eq(gr_json_text(object, "server_name"), server) || until <= 0) return false;
    uint64_t most_ms = now_ms + GR_SERVER_KEYS_VALID_MS;
    *valid_until_ms = (uint64_t)until < most_ms ? (uint64_t)until : most_ms;
    read_some(l, gr_json_get(object, "verify_keys"), false, *valid_until_ms);
    gr_err err = gr_sign_check_json(arena, &ring, object, server, 0);
    if (gr_failed(err)) return false;
    read_some(l, gr_json_get(object, "old_verify_keys"), true, 0);
    return true;
}
