/* password.c - hashing and verifying passwords. See password.h. */
#include "actors/login/password.h"

#include "proto/base64.h"

#include <sodium.h>

enum { HASH_SIZE = 32, HEAD = 8 + GR_PASSWORD_SALT };

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
gr_str gr_password_verify_input(gr_arena *arena, uint64_t memory, gr_str hash, gr_str password)
{
    char *padded = gr_arena_alloc(arena, crypto_pwhash_STRBYTES);
    if (hash.size < crypto_pwhash_STRBYTES && hash.size) memcpy(padded, hash.ptr, hash.size);
    gr_str stored = gr_str_of(padded, crypto_pwhash_STRBYTES);
    return gr_arena_cat(arena, 3, (gr_str[]){memory_of(arena, memory), stored, password});
}

static bool argon2id(uint64_t memory, const unsigned char *salt, gr_str password, unsigned char out[HASH_SIZE])
{
    return crypto_pwhash(out, HASH_SIZE, password.ptr, password.size, salt, GR_PASSWORD_PASSES, memory,
                         crypto_pwhash_ALG_ARGON2ID13) == 0;
}

static bool hash(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    unsigned char raw[HASH_SIZE];
    uint64_t memory = gr_u64be(input.ptr);
    const unsigned char *salt = (const unsigned char *)input.ptr + 8;
    (void)reader;
    if (!argon2id(memory, salt, gr_str_from(input, HEAD), raw)) return false;
    gr_str salt_text = gr_base64(arena, gr_str_of(salt, GR_PASSWORD_SALT));
    gr_str raw_text = gr_base64(arena, gr_str_of(raw, HASH_SIZE));
    gr_buf_printf(output, "$argon2id$v=19$m=%llu,t=%d,p=1$%" GR_FMT "$%" GR_FMT, (unsigned long long)(memory / 1024),
                  GR_PASSWORD_PASSES, GR_ARG(salt_text), GR_ARG(raw_text));
    return true;
}

static bool verify(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    unsigned char raw[HASH_SIZE], salt[GR_PASSWORD_SALT] = {0};
    const char *stored = input.ptr + 8;
    gr_str password = gr_str_from(input, 8 + crypto_pwhash_STRBYTES);
    (void)arena, (void)reader;
    bool good = false;
    if (stored[0]) good = crypto_pwhash_str_verify(stored, password.ptr, password.size) == 0;
    else if (!argon2id(gr_u64be(input.ptr), salt, password, raw)) return false;
    gr_buf_c(output, good ? "1" : "0");
    return true;
}

const gr_work gr_password_hash_work = {"password_hash", hash};
const gr_work gr_password_verify_work = {"password_verify", verify};
