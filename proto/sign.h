/* sign.h - Ed25519 signatures of JSON objects, the server's signing key, and its file.
 *
 * Appendices, "Signing JSON".  An object is signed as its canonical JSON without signatures and unsigned.
 * A signer and a key ring carry the primitive as a function pointer, so that a simulation can put a cheap one
 * in place; NULL means Ed25519 by libsodium.  A signer holds a secret: wipe it with gr_signer_wipe.
 */
#pragma once
#include "proto/json.h"

enum {
    GR_SIGN_SEED = 32, GR_SIGN_PUBLIC = 32, GR_SIGN_SECRET = 64, GR_SIGN_SIGNATURE = 64,    /* bytes */
    GR_SIGN_KEY_ID_MAX = 72
};

typedef struct gr_signer gr_signer;
struct gr_signer {
    gr_str server_name;                         /* owned by whoever made the signer */
    char key_id[GR_SIGN_KEY_ID_MAX];            /* "ed25519:abc", NUL-terminated */
    unsigned char public_key[GR_SIGN_PUBLIC];
    unsigned char secret[GR_SIGN_SECRET];       /* seed and public key */
    void (*sign)(const gr_signer *, gr_str message, unsigned char signature[GR_SIGN_SIGNATURE]);
};

/* Keys of others.  find fills public_key when (server, key id) is known and valid for something made at ts
 * (milliseconds; 0 when the time does not matter); false makes that signature count as absent. */
typedef struct {
    bool (*find)(void *arg, gr_str server, gr_str key_id, int64_t ts,
                 unsigned char public_key[GR_SIGN_PUBLIC]);
    void *arg;
    bool (*verify)(const unsigned char public_key[GR_SIGN_PUBLIC], gr_str message,
                   const unsigned char signature[GR_SIGN_SIGNATURE]);     /* NULL: Ed25519 */
} gr_key_ring;

/* key_name is the part after "ed25519:": 1..63 of A-Z a-z 0-9 _.  GR_INVALID_PARAM when it is not. */
GR_MUST_USE gr_err gr_signer_from_seed(gr_str server_name, gr_str key_name,
                                       const unsigned char seed[GR_SIGN_SEED], gr_signer *out);
/* The key file is one line: "ed25519 <key name> <unpadded base64 of the seed>". */
GR_MUST_USE gr_err gr_signer_from_file(gr_arena *, gr_str server_name, gr_str file_text, gr_signer *out);
/* a secret: write with mode 0600, wipe after */
gr_str gr_signer_file_text(gr_arena *, const gr_signer *);
/* unpadded base64, as /_matrix/key/v2/server has it */
gr_str gr_signer_public_text(gr_arena *, const gr_signer *);
void gr_signer_wipe(gr_signer *);

/* The signature of these bytes in unpadded base64. */
gr_str gr_sign_bytes(gr_arena *, const gr_signer *, gr_str message);
/* Canonical text of object with our signature added; other signatures and unsigned are kept. */
gr_str gr_sign_json(gr_arena *, const gr_signer *, const gr_json *object);

/* The same with a signature of message, where what is signed is not the object as it stands (an event). */
gr_str gr_sign_add(gr_arena *, const gr_signer *, const gr_json *object, gr_str message);

/* Is signature_text (base64, padded or not) a signature of message by the key? */
bool gr_sign_verify(gr_arena *, const gr_key_ring *, const unsigned char public_key[GR_SIGN_PUBLIC],
                    gr_str message, gr_str signature_text);
/* Has entity (a server name or user id) signed message?  signatures is the "signatures" member of the
 * signed object. At least one signature by a known Ed25519 key, and every such signature must be right;
 * unknown keys are skipped. */
GR_MUST_USE gr_err gr_sign_check(gr_arena *, const gr_key_ring *, const gr_json *signatures, gr_str entity,
                                 int64_t ts, gr_str message);
/* The same for a whole object: prints it without signatures and unsigned and checks that. */
GR_MUST_USE gr_err gr_sign_check_json(gr_arena *, const gr_key_ring *, const gr_json *object, gr_str entity,
                                      int64_t ts);
/* The bytes that are signed. */
gr_str gr_sign_text(gr_arena *, const gr_json *object);
/* A seed, key, signature or hash of exactly size bytes as others spell it: gr_base64_decode, but left-over
 * bits in the last character are ignored, as the specification's own vectors have them.  *raw is empty when
 * it is not that. */
bool gr_sign_decode(gr_arena *, gr_str text, size_t size, gr_str *raw);
