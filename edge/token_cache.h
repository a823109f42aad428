/* token_cache.h - whose access token is this, as this edge thread remembers it under a lease.
 *
 * Only positive answers are kept, by hash of the token, until the lease given by the token index runs out; a logout makes
 * the token index ask every edge that holds a lease to forget.  Bounded; the oldest goes first.
 */
#pragma once
#include "proto/catalogue.h"
#include "proto/token.h"

enum { GR_TOKEN_CACHE_MAX = 65536 };

typedef struct gr_token_cache gr_token_cache;
/* client: of the OAuth 2.0 API; empty with a legacy login. */
typedef struct { gr_str user, device, client; bool guest, admin; } gr_token_owned;

gr_token_cache *gr_token_cache_new(void);
void gr_token_cache_free(gr_token_cache **);
/* Views live until the next change of the cache. */
bool gr_token_cache_find(gr_token_cache *, gr_str hash, uint64_t now_ms, gr_token_owned *);
void gr_token_cache_put(gr_token_cache *, gr_str hash, const gr_token_owner *, uint64_t until_ms);
void gr_token_cache_forget(gr_token_cache *, gr_str hash);
