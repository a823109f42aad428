/* keys.h - the secret files of a node: its Ed25519 signing key and its other secrets.
 *
 * DIR/signing.key is one line `ed25519 <version> <unpadded base64 of the 32 byte seed>`; DIR/secrets
 * holds a line `<name> <unpadded base64 of 32 bytes>` per secret.  Both have mode 0600 and are made by
 * `greenroom init`. Losing the signing key makes this server a stranger to all others: nothing here ever
 * writes over one.
 */
#pragma once
#include "proto/err.h"

#define GR_KEYS_SIGNING_FILE "signing.key"
#define GR_KEYS_SECRETS_FILE "secrets"
enum { GR_KEYS_SECRET_SIZE = 32, GR_KEYS_VERSION_MAX = 32 };

typedef struct {
    char key_id[sizeof "ed25519:" + GR_KEYS_VERSION_MAX];    /* "ed25519:a_Xb3d" */
    uint8_t public_key[32];
    uint8_t secret_key[64];                   /* what libsodium's crypto_sign takes: seed and public key */
    uint8_t token_check[GR_KEYS_SECRET_SIZE];   /* keys the check part of access tokens */
    uint8_t paging[GR_KEYS_SECRET_SIZE];        /* keys tokens given to clients for paging */
    uint8_t bus_secret[GR_KEYS_SECRET_SIZE];    /* CURVE secret key of this node on the bus */
} gr_keys;

/* Makes the files that are missing in dir with new random keys, synced to disk; one that is there (a signing
 * key restored from a backup) is kept.  GR_UNAVAILABLE when the disk refuses; the text is in the arena. */
GR_MUST_USE gr_err gr_keys_create(gr_arena *, const char *dir);
/* The same for another node of one server: signing key and secrets as in the data directory `from`, only the node's own
 * key on the bus is new. */
GR_MUST_USE gr_err gr_keys_create_like(gr_arena *, const char *dir, const char *from);
/* Reads both files.  A secret that an older version did not know is made and added.  GR_NOT_FOUND,
 * GR_FORBIDDEN (others may read the file) or GR_INVALID_PARAM say what to do. */
GR_MUST_USE gr_err gr_keys_load(gr_arena *, const char *dir, gr_keys *);
/* Overwrites the keys with zeros. */
void gr_keys_wipe(gr_keys *);
