/* password.h - which passwords are good enough, and their hashes: Argon2id, computed on the pool.
 *
 * A hash is text as libsodium's crypto_pwhash_str writes it, or for accounts that came from another server bcrypt's ("$2b$..").
 * The salt is given, so that the work is a pure function.
 *
 * A check costs the same whatever hash there is, and without one: so much of Argon2id as a new hash of this server does, and
 * with password_bcrypt_cost so much of bcrypt as a hash of that cost.  What the hash itself needs less is made up for.
 */
#pragma once
#include "actors/env.h"

enum { GR_PASSWORD_SALT = 16, GR_PASSWORD_PASSES = 2, GR_PASSWORD_SIZE_MAX = 512, GR_PASSWORD_BCRYPT_COST_MAX = 14 };

typedef enum {
    GR_PASSWORD_NEEDS_LOWERCASE = 1, GR_PASSWORD_NEEDS_UPPERCASE = 2, GR_PASSWORD_NEEDS_DIGIT = 4, GR_PASSWORD_NEEDS_SYMBOL = 8
} gr_password_need;

/* GR_WEAK_PASSWORD says what is missing; GR_INVALID_PARAM: too long.  user: whose it will be; not to be part of it. */
GR_MUST_USE gr_err gr_password_check(gr_arena *, const gr_env *, gr_str user, gr_str password);
/* Can this hash be verified at what a check costs?  GR_INVALID_PARAM says why not. */
GR_MUST_USE gr_err gr_password_hash_check(const gr_env *, gr_str hash);

/* Outputs the text of the hash. */
extern const gr_work gr_password_hash_work;
/* Outputs "1" when the password is the one, else "0"; after "1" the hash that is to be kept instead, when the one it was
 * compared with is not made as those of this server are.  An empty hash, and a password that is too long, are nobody's. */
extern const gr_work gr_password_verify_work;

/* Their inputs, in the arena. */
gr_str gr_password_hash_input(gr_arena *, const gr_env *, const unsigned char salt[GR_PASSWORD_SALT], gr_str password);
gr_str gr_password_verify_input(gr_arena *, const gr_env *, const unsigned char salt[GR_PASSWORD_SALT], gr_str hash,
                                gr_str password);
