/* rate.c - token buckets. See rate.h. */
#include "edge/rate.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <uthash.h>

/* Sustained per second, and how many at once. Logins and registrations are slow by nature and costly (Argon2id). Mails go by
 * the address that they are sent to. */
static const struct { double per_second, burst; } limits[GR_RATE_COUNT] = {
    [GR_RATE_READ] = {50, 200},    [GR_RATE_MESSAGE] = {10, 50},   [GR_RATE_RECEIPT] = {20, 100},
    [GR_RATE_LOGIN] = {0.17, 10},  [GR_RATE_REGISTER] = {0.17, 5}, [GR_RATE_ROOM] = {0.5, 20},
    [GR_RATE_JOIN] = {1, 20},      [GR_RATE_INVITE] = {1, 20},     [GR_RATE_MEDIA] = {10, 50},
    [GR_RATE_KEYS] = {20, 100},    [GR_RATE_SERVER] = {50, 200},
    [GR_RATE_OAUTH] = {2, 30},             /* many behind one address refresh their tokens, or poll with a device code */
    [GR_RATE_EMAIL] = {0.002, 5},
};

typedef struct bucket {
    UT_hash_handle hh;             /* in order of use: the oldest is first */
    double tokens;
    uint64_t filled_ms;
    size_t key_size;
    char key[];                    /* what, then who */
} bucket;

struct gr_rates { bucket *all; };

gr_rates *gr_rates_new(void) { return gr_alloc(sizeof(gr_rates)); }

void gr_rates_free(gr_rates **r)
{
    if (!*r) return;
    bucket *b, *next;
    HASH_ITER(hh, (*r)->all, b, next) {
        HASH_DEL((*r)->all, b);
        free(b);
    }
    free(*r);
    *r = NULL;
}

/* The bucket of this key, moved to the end of the order of use. */
static bucket *find(gr_rates *r, gr_rate what, gr_str who, unsigned times, uint64_t now_ms)
{
    char key[1024];
    size_t size = 1 + (who.size < sizeof key - 1 ? who.size : sizeof key - 1);
    bucket *b = NULL;
    key[0] = (char)what;
    if (size > 1) memcpy(key + 1, who.ptr, size - 1);
    HASH_FIND(hh, r->all, key, size, b);
    if (b) {
        HASH_DEL(r->all, b);
    } else {
        if (HASH_COUNT(r->all) >= GR_RATE_BUCKETS_MAX) {
            bucket *oldest = r->all;
            HASH_DEL(r->all, oldest);
            free(oldest);
        }
        b = gr_alloc(sizeof *b + size);
        memcpy(b->key, key, size);
        b->key_size = size;
        b->tokens = limits[what].burst * times;
        b->filled_ms = now_ms;
    }
    HASH_ADD_KEYPTR(hh, r->all, b->key, b->key_size, b);
    return b;
}

gr_err gr_rates_take_share(gr_rates *r, gr_rate what, gr_str who, unsigned times, uint64_t now_ms)
{
    gr_assert(what < GR_RATE_COUNT);
    gr_assert(times > 0);
    bucket *b = find(r, what, who, times, now_ms);
    double per_second = limits[what].per_second * times, burst = limits[what].burst * times;
    if (now_ms > b->filled_ms) {
        b->tokens += (double)(now_ms - b->filled_ms) / 1000 * per_second;
        if (b->tokens > burst) b->tokens = burst;
    }
    b->filled_ms = now_ms;
    if (b->tokens >= 1) {
        b->tokens -= 1;
        return gr_ok();
    }
    gr_err err = gr_fail(GR_LIMIT_EXCEEDED, "Too many requests: wait a little and try again");
    err.retry_after_ms = (uint64_t)((1 - b->tokens) / per_second * 1000) + 1;
    return err;
}

gr_err gr_rates_take(gr_rates *r, gr_rate what, gr_str who, uint64_t now_ms)
{
    return gr_rates_take_share(r, what, who, 1, now_ms);
}

gr_str gr_rates_network(gr_arena *a, gr_str address)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in6_addr raw;
    if (address.size >= sizeof text || gr_str_find(address, ':') < 0) return address;
    memcpy(text, address.ptr, address.size);
    text[address.size] = 0;
    if (inet_pton(AF_INET6, text, &raw) != 1 || IN6_IS_ADDR_V4MAPPED(&raw)) return address;
    return gr_arena_printf(a, "%02x%02x:%02x%02x:%02x%02x:%02x%02x/64", raw.s6_addr[0], raw.s6_addr[1], raw.s6_addr[2],
                           raw.s6_addr[3], raw.s6_addr[4], raw.s6_addr[5], raw.s6_addr[6], raw.s6_addr[7]);
}
