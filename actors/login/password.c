/* password.c - hashing and verifying passwords. See password.h. */
#include "actors/login/password.h"

#include "proto/base64.h"
#include "proto/ident.h"

#include <crypt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { HASH_SIZE = 32, HEAD = 9 + GR_PASSWORD_SALT, BCRYPT_COST_MIN = 4, BCRYPT_PASSWORD_MAX = 72 };

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

/* --- what hashes cost -------------------------------------------------------------------------------------- */
/* Of Argon2id, in KiB that are written. */
static uint64_t own_cost(uint64_t memory) { return memory / 1024 * GR_PASSWORD_PASSES; }

static bool argon2id_cost(const char *stored, uint64_t *memory_kib, uint64_t *cost)
{
    uint64_t passes = 0;
    if (sscanf(stored, "$argon2id$v=19$m=%" SCNu64 ",t=%" SCNu64 ",", memory_kib, &passes) != 2) return false;
    if (*memory_kib > crypto_pwhash_MEMLIMIT_SENSITIVE / 1024 || passes > crypto_pwhash_OPSLIMIT_SENSITIVE) return false;
    *cost = *memory_kib * passes;
    return true;
}

static unsigned bcrypt_cost(const char *stored) { return (unsigned)(stored[4] - '0') * 10 + (unsigned)(stored[5] - '0'); }

static bool is_bcrypt(gr_str hash)
{
    bool named = gr_str_starts(hash, GR_STR("$2a$")) || gr_str_starts(hash, GR_STR("$2b$"))
        || gr_str_starts(hash, GR_STR("$2y$"));
    uint64_t cost = 0;
    return named && hash.size == 60 && gr_str_u64(gr_str_head(gr_str_from(hash, 4), 2), &cost) && hash.ptr[6] == '$'
        && cost >= BCRYPT_COST_MIN && cost <= GR_PASSWORD_BCRYPT_COST_MAX;
}

/* As libsodium reads it. */
static bool is_argon2id(gr_str hash, uint64_t *memory_kib, uint64_t *cost)
{
    char padded[crypto_pwhash_STRBYTES] = {0};
    if (!gr_str_starts(hash, GR_STR("$argon2id$v=19$m="))) return false;
    memcpy(padded, hash.ptr, hash.size);
    return crypto_pwhash_str_needs_rehash(padded, crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN) >= 0
        && argon2id_cost(padded, memory_kib, cost);
}

gr_err gr_password_hash_check(const gr_env *env, gr_str hash)
{
    uint64_t memory_kib = 0, cost = 0;
    bool is_text = hash.size < crypto_pwhash_STRBYTES && !memchr(hash.ptr, 0, hash.size);
    if (is_text && is_bcrypt(hash))
        return bcrypt_cost(hash.ptr) <= env->password_bcrypt_cost ? gr_ok()
            : gr_fail(GR_INVALID_PARAM, "This hash costs more than password.bcrypt_cost says: set that higher first");
    if (is_text && is_argon2id(hash, &memory_kib, &cost))
        return memory_kib <= env->password_memory / 1024 && cost <= own_cost(env->password_memory) ? gr_ok()
            : gr_fail(GR_INVALID_PARAM, "This hash costs more than those of this server: set password.memory higher");
    return gr_fail(GR_INVALID_PARAM, "This server can't use this hash of a password: give one of bcrypt or Argon2id");
}

/* --- hashes ------------------------------------------------------------------------------------------------ */
static gr_str head_of(gr_arena *arena, const gr_env *env, const unsigned char salt[GR_PASSWORD_SALT])
{
    char *bytes = gr_arena_alloc(arena, HEAD);
    for (int i = 0; i < 8; i++) bytes[i] = (char)(env->password_memory >> (56 - 8 * i));
    bytes[8] = (char)env->password_bcrypt_cost;
    memcpy(bytes + HEAD - GR_PASSWORD_SALT, salt, GR_PASSWORD_SALT);
    return gr_str_of(bytes, HEAD);
}

gr_str gr_password_hash_input(gr_arena *arena, const gr_env *env, const unsigned char salt[GR_PASSWORD_SALT], gr_str password)
{
    return gr_arena_cat(arena, 2, (gr_str[]){head_of(arena, env, salt), password});
}

/* The hash is padded with NULs to the size libsodium gives it. */
gr_str gr_password_verify_input(gr_arena *arena, const gr_env *env, const unsigned char salt[GR_PASSWORD_SALT], gr_str hash,
                                gr_str password)
{
    char *padded = gr_arena_alloc(arena, crypto_pwhash_STRBYTES);
    bool usable = hash.size && hash.size < crypto_pwhash_STRBYTES && password.size <= GR_PASSWORD_SIZE_MAX;
    if (usable) memcpy(padded, hash.ptr, hash.size);
    gr_str stored = gr_str_of(padded, crypto_pwhash_STRBYTES), tried = gr_str_head(password, GR_PASSWORD_SIZE_MAX);
    return gr_arena_cat(arena, 3, (gr_str[]){head_of(arena, env, salt), stored, tried});
}

/* The end of an input; the libraries want a pointer for an empty one, too. */
static gr_str password_of(gr_str input, size_t at)
{
    gr_str password = gr_str_from(input, at);
    return password.size ? password : GR_STR("");
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
    return write_hash(arena, gr_u64be(input.ptr), (const unsigned char *)input.ptr + HEAD - GR_PASSWORD_SALT,
                      password_of(input, HEAD), output);
}

/* Of a password bcrypt takes the first 72 bytes; with more than 511, or with a NUL in it, crypt_r would do no work or other. */
static bool bcrypt_is(const char *stored, gr_str password)
{
    struct crypt_data *data = gr_alloc(sizeof *data);
    bool has_nul = memchr(password.ptr, 0, password.size) != NULL;
    char *text = gr_str_dup(gr_str_head(password, BCRYPT_PASSWORD_MAX));
    const char *made = crypt_r(text, stored, data);
    size_t size = strlen(stored);
    bool good = made && !has_nul && strlen(made) == size && sodium_memcmp(made, stored, size) == 0;
    explicit_bzero(text, password.size < BCRYPT_PASSWORD_MAX ? password.size : BCRYPT_PASSWORD_MAX);
    explicit_bzero(data, sizeof *data);
    free(text);
    free(data);
    return good;
}

/* In all as many rounds as a hash of cost has: 2^c by the hash's own c, then 2^c + 2^(c+1) + .. + 2^(cost-1). */
static bool bcrypt_is_at(unsigned cost, const char *stored, gr_str password)
{
    char other[] = "$2b$04$......................";
    bool known = stored[0] == '$' && stored[1] == '2';
    if (!known && cost < BCRYPT_COST_MIN) return false;
    bool good = bcrypt_is(known ? stored : other, password) && known;
    for (unsigned c = known ? bcrypt_cost(stored) : BCRYPT_COST_MIN; c < cost; c++) {
        other[4] = (char)('0' + c / 10);
        other[5] = (char)('0' + c % 10);
        (void)bcrypt_is(other, password);
    }
    return good;
}

static bool verify(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    unsigned char raw[HASH_SIZE];
    uint64_t memory = gr_u64be(input.ptr), memory_kib = 0, cost = 0;
    const unsigned char *salt = (const unsigned char *)input.ptr + HEAD - GR_PASSWORD_SALT;
    const char *stored = input.ptr + HEAD;
    gr_str password = password_of(input, HEAD + crypto_pwhash_STRBYTES);
    (void)reader;
    bool known = argon2id_cost(stored, &memory_kib, &cost);
    bool good = known && crypto_pwhash_str_verify(stored, password.ptr, password.size) == 0;
    bool own = known && cost == own_cost(memory) && memory_kib == memory / 1024;
    /* What is left of the work of a hash of our own is done for nothing. */
    uint64_t rest = own_cost(memory) > cost ? (own_cost(memory) - cost) / GR_PASSWORD_PASSES * 1024 : 0;
    if (rest >= crypto_pwhash_MEMLIMIT_MIN && !argon2id(rest, salt, password, raw)) return false;
    good = bcrypt_is_at((unsigned char)input.ptr[8], stored, password) || good;
    gr_buf_c(output, good ? "1" : "0");
    return !good || own || write_hash(arena, memory, salt, password, output);
}

const gr_work gr_password_hash_work = {.name = "password_hash", .run = hash, .is_costly = true};
const gr_work gr_password_verify_work = {.name = "password_verify", .run = verify, .is_costly = true};
