/* token.h - the form of access, refresh, login and browser tokens: "gr<kind>_<shard>_<random>_<check>".
 *
 * A token routes itself: the shard names the token index that knows it, and the check part (a short hash of the rest) turns
 * typing errors and scanners away without a look-up.  There is no user id inside.  Only SHA-256 hashes are stored.
 */
#pragma once
#include "proto/str.h"

enum { GR_TOKEN_RANDOM = 32, GR_TOKEN_HASH = 32, GR_TOKEN_TEXT_MAX = 128 };

/* Browser: who has signed in to the server's own pages. */
typedef enum { GR_TOKEN_ACCESS = 't', GR_TOKEN_REFRESH = 'r', GR_TOKEN_LOGIN = 'l', GR_TOKEN_BROWSER = 'b' } gr_token_kind;

/* Writes the text of a token from 32 random bytes. */
gr_str gr_token_make(gr_arena *, gr_token_kind, uint8_t shard, const unsigned char random[GR_TOKEN_RANDOM]);
/* Is this a token of that kind, whole, and which shard knows it? */
bool gr_token_read(gr_str token, gr_token_kind, uint8_t *shard);
void gr_token_hash(gr_str token, unsigned char hash[GR_TOKEN_HASH]);
/* The actor that knows a registration token, "name/regtoken/<hash>": addresses are logged, tokens must not be. */
gr_str gr_token_name(gr_arena *, gr_str registration_token);
