/* old_key.h - an entry of federation.old_keys: "ed25519:NAME PUBLICKEY TIME", a key with which this server signed once. */
#pragma once
#include "proto/err.h"

typedef struct { gr_str id, key; uint64_t expired_ms; } gr_old_key;    /* views; key: base64 */

/* GR_INVALID_PARAM, with a text in the arena that names the entry, when it is none. */
GR_MUST_USE gr_err gr_old_key_parse(gr_arena *, gr_str entry, gr_old_key *);
