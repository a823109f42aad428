/* password.h - password hashes: Argon2id, computed on the pool.
 *
 * A hash is text as libsodium's crypto_pwhash_str writes it.  The salt is given, so that the work is a pure function.
 */
#pragma once
#include "bus/actor.h"

enum { GR_PASSWORD_SALT = 16, GR_PASSWORD_PASSES = 2, GR_PASSWORD_SIZE_MAX = 512 };

/* Outputs the text of the hash. */
extern const gr_work gr_password_hash_work;
/* Outputs "1" when the password is the one, else "0".  An empty hash takes as long, and is nobody's. */
extern const gr_work gr_password_verify_work;

/* Their inputs, in the arena.  memory: bytes Argon2id may use. */
gr_str gr_password_hash_input(gr_arena *, uint64_t memory, const unsigned char salt[GR_PASSWORD_SALT], gr_str password);
gr_str gr_password_verify_input(gr_arena *, uint64_t memory, gr_str hash, gr_str password);
