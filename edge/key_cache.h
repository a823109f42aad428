/* key_cache.h - signing keys of other servers that were seen lately, so that a signed request needs no question.
 *
 * One table per edge thread, bounded: the key used least recently goes first.  A key is kept for GR_KEY_CACHE_MS, and never
 * past the time until which it is valid; it is asked for again then, which is how a withdrawn one is noticed.
 */
#pragma once
#include "edge/lru.h"
#include "proto/sign.h"

enum { GR_KEY_CACHE_MAX = 16384, GR_KEY_CACHE_MS = 10 * 60 * 1000, GR_KEY_CACHE_HEARD_MS = 60 * 1000 };

gr_lru *gr_key_cache_new(void);
bool gr_key_cache_find(gr_lru *, gr_str server, gr_str key_id, uint64_t now_ms, unsigned char out[GR_SIGN_PUBLIC]);
/* True once a minute for a key that is kept: its server is heard of. */
bool gr_key_cache_heard(gr_lru *, gr_str server, gr_str key_id, uint64_t now_ms);
void gr_key_cache_put(gr_lru *, gr_str server, gr_str key_id, uint64_t now_ms, uint64_t valid_until_ms,
                      const unsigned char public_key[GR_SIGN_PUBLIC]);
