/* ring.h - keys that a keys flow has found, as gr_sign_check wants them. */
#pragma once
#include "actors/keys/keys.h"
#include "proto/sign.h"

typedef struct {
    const gr_keys_known *servers;
    size_t count;
    const gr_signer *own;              /* this server's own; NULL: it is among the servers */
} gr_ring;

/* find of a gr_key_ring, with a gr_ring as arg.  A key counts until it expires, or as long as it is known to be valid. */
bool gr_ring_find(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char public_key[GR_SIGN_PUBLIC]);
