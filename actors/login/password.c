/* password.c - hashing and verifying passwords. See password.h. */
#include "actors/login/password.h"

#include "proto/base64.h"
#include "proto/ident.h"

#include <crypt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { HASH_SIZE = 32, HEAD = 8 + GR_PASSWORD_SALT };

/* --- the policy -------------------------------------------------------------------------------------------- */
static size_t characters(gr_str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return count;
}

static unsigned kinds_in(gr_str text)
{
    unsigned has = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.ptr[i];
        if (c >= 'a' && c <= 'z') has |= GR_PASSWORD_NEEDS_LOWERCASE;
        else if (c >= 'A' && c <= 'Z') has |= GR_PASSWORD_NEEDS_UPPERCASE;
        else if (c >= '0' && c <= '9') has |= GR_PASSWORD_NEEDS_DIGIT;
        else has |= GR_PASSWORD_NEEDS_SYMBOL;
    }
    return has;
}

static const char *missing_text(unsigned missing)
{
    if (missing & GR_PASSWORD_NEEDS_LOWERCASE) return "The password needs a letter from a to z";
    if (missing & GR_PASSWORD_NEEDS_UPPERCASE) return "The password needs a letter from A to Z";
    if (missing & GR_PASSWORD_NEEDS_DIGIT) return "The password needs a digit";
    return "The password needs a character that is neither a letter from A to Z nor a digit";
}

gr_err gr_password_check(gr_arena *arena, const gr_env *env, gr_str user, gr_str password)
{
    gr_str name = gr_ident_localpart(user);
    unsigned missing = env->password_needs & ~kinds_in(password);
    if (password.size > GR_PASSWORD_SIZE_MAX) return gr_fail(GR_INVALID_PARAM, "The password is too long: at most 512 bytes");
    if (characters(password) < env->password_min_length)
        return gr_failf(arena, GR_WEAK_PASSWORD, "The password needs at least %llu characters",
                        (unsigned long long)env->password_min_length);
    if (name.size && (gr_str_eq(name, password) || gr_str_eq(user, password)))
        return gr_fail(GR_WEAK_PASSWORD, "The password must not be the user name");
    return missing ? gr_fail(GR_WEAK_PASSWORD, missing_text(missing)) : gr_ok();
}

/* As libsodium reads it, with no more memory or passes than it takes for sensitive data. */
static bool argon2id_good(gr_str hash)
{
    char padded[crypto_pwhash_STRBYTES] = {0};
    uint64_t memory_kib = 0, passes = 0;
    memcpy(padded, hash.ptr, hash.size);
    if (crypto_pwhash_str_needs_rehash(padded, crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN) < 0) return false;
    int read = sscanf(padded, "$argon2id$v=19$m=%" SCNu64 ",t=%" SCNu64 ",", &memory_kib, &passes);
    return read == 2 && memory_kib <= crypto_pwhash_MEMLIMIT_SENSITIVE / 1024 && passes <= crypto_pwhash_OPSLIMIT_SENSITIVE;
}

bool gr_password_hash_good(gr_str hash)
{
    uint64_t cost = 0;
    if (hash.size >= crypto_pwhash_STRBYTES || memchr(hash.ptr, 0, hash.size)) return false;
    if (gr_str_starts(hash, GR_STR("$argon2id$v=19$m="))) return argon2id_good(hash);
    bool is_bcrypt = hash.size == 60 && (gr_str_starts(hash, GR_STR("$2a$")) || gr_str_starts(hash, GR_STR("$2b$"))
                                         || gr_str_starts(hash, GR_STR("$2y$")));
    return is_bcrypt && gr_str_u64(gr_str_head(gr_str_from(hash, 4), 2), &cost) && cost >= 4
        && cost <= GR_PASSWORD_BCRYPT_COST_MAX && hash.ptr[6] == '$';
}

/* --- hashes ------------------------------------------------------------------------------------------------ */
static gr_str memory_of(gr_arena *arena, uint64_t memory)
{
    char *bytes = gr_arena_alloc(arena, 8);
    for (int i = 0; i < 8; i++) bytes[i] = (char)(memory >> (56 - 8 * i));
    return gr_str_of(bytes, 8);
}

gr_str gr_password_hash_input(gr_arena *arena, uint64_t memory, const unsigned char salt[GR_PASSWORD_SALT], gr_str password)
{
    return gr_arena_cat(arena, 3, (gr_str[]){memory_of(arena, memory), gr_str_of(salt, GR_PASSWORD_SALT), password});
}

/* The hash is padded with NULs to the size libsodium gives it. */
gr_str gr_password_verify_input(gr_arena *arena, uint64_t memory, const unsigned char salt[GR_PASSWORD_SALT], gr_str hash,
                                gr_str password)
{
    char *padded = gr_arena_alloc(arena, crypto_pwhash_STRBYTES);
    bool usable = hash.size && hash.size < crypto_pwhash_STRBYTES && password.size <= GR_PASSWORD_SIZE_MAX;
    if (usable) memcpy(padded, hash.ptr, hash.size);
    gr_str stored = gr_str_of(padded, crypto_pwhash_STRBYTES), tried = gr_str_head(password, GR_PASSWORD_SIZE_MAX);
    return gr_arena_cat(arena, 4, (gr_str[]){memory_of(arena, memory), gr_str_of(salt, GR_PASSWORD_SALT), stored, tried});
}

static bool argon2id(uint64_t memory, const unsigned char *salt, gr_str password, unsigned char out[HASH_SIZE])
{
    return crypto_pwhash(out, HASH_SIZE, password.ptr, password.size, salt, GR_PASSWORD_PASSES, memory,
                         crypto_pwhash_ALG_ARGON2ID13) == 0;
}

static bool write_hash(gr_arena *arena, uint64_t memory, const unsigned char *salt, gr_str password, gr_buf *output)
{
    unsigned char raw[HASH_SIZE];
    if (!argon2id(memory, salt, password, raw)) return false;
    gr_str salt_text = gr_base64(arena, gr_str_of(salt, GR_PASSWORD_SALT));
    gr_str raw_text = gr_base64(arena, gr_str_of(raw, HASH_SIZE));
    gr_buf_printf(output, "$argon2id$v=19$m=%llu,t=%d,p=1$%" GR_FMT "$%" GR_FMT, (unsigned long long)(memory / 1024),
                  GR_PASSWORD_PASSES, GR_ARG(salt_text), GR_ARG(raw_text));
    return true;
}

static bool hash(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    (void)reader;
    return write_hash(arena, gr_u64be(input.ptr), (const unsigned char *)input.ptr + 8, gr_str_from(input, HEAD), output);
}

static bool bcrypt_is(const char *stored, gr_str password)
{
    struct crypt_data *data = gr_alloc(sizeof *data);
    char *text = gr_str_dup(password);
    const char *made = memchr(password.ptr, 0, password.size) ? NULL : crypt_r(text, stored, data);
    size_t size = strlen(stored);
    bool good = made && strlen(made) == size && sodium_memcmp(made, stored, size) == 0;
    explicit_bzero(text, password.size);
    explicit_bzero(data, sizeof *data);
    free(text);
    free(data);
    return good;
}

static bool verify(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    unsigned char raw[HASH_SIZE];
    uint64_t memory = gr_u64be(input.ptr);
    const unsigned char *salt = (const unsigned char *)input.ptr + 8;
    const char *stored = input.ptr + HEAD;
    gr_str password = gr_str_from(input, HEAD + crypto_pwhash_STRBYTES);
    (void)reader;
    bool good = false, is_bcrypt = stored[0] == '$' && stored[1] == '2';
    if (is_bcrypt) good = bcrypt_is(stored, password);
    else if (stored[0]) good = crypto_pwhash_str_verify(stored, password.ptr, password.size) == 0;
    else if (!argon2id(memory, salt, password, raw)) return false;
    gr_buf_c(output, good ? "1" : "0");
    return !good || !is_bcrypt || write_hash(arena, memory, salt, password, output);
}

const gr_work gr_password_hash_work = {.name = "password_hash", .run = hash, .is_costly = true};
const gr_work gr_password_verify_work = {.name = "password_verify", .run = verify, .is_costly = true};
