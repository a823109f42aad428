/* sign.c - Ed25519 over canonical JSON. See sign.h. */
#include "proto/sign.h"

#include <sodium.h>

#include "proto/base64.h"

#define ALGORITHM "ed25519:"

_Static_assert(GR_SIGN_SEED == crypto_sign_SEEDBYTES && GR_SIGN_PUBLIC == crypto_sign_PUBLICKEYBYTES &&
               GR_SIGN_SECRET == crypto_sign_SECRETKEYBYTES && GR_SIGN_SIGNATURE == crypto_sign_BYTES,
               "sizes are libsodium's");

static bool key_name_ok(gr_str name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!ok) return false;
    }
    return name.size >= 1 && name.size < GR_SIGN_KEY_ID_MAX - sizeof ALGORITHM + 1;
}

static gr_str key_name_of(const gr_signer *signer) { return gr_str_c(signer->key_id + sizeof ALGORITHM - 1); }

gr_err gr_signer_from_seed(gr_str server_name, gr_str key_name, const unsigned char seed[GR_SIGN_SEED],
                           gr_signer *out)
{
    *out = (gr_signer){0};
    if (!key_name_ok(key_name))
        return gr_fail(GR_INVALID_PARAM, "The name of a signing key is 1 to 63 of A-Z, a-z, 0-9 and _");
    if (sodium_init() < 0) return gr_fail(GR_UNKNOWN, "libsodium could not be initialised");
    out->server_name = server_name;
    memcpy(out->key_id, ALGORITHM, sizeof ALGORITHM - 1);
    memcpy(out->key_id + sizeof ALGORITHM - 1, key_name.ptr, key_name.size);
    crypto_sign_seed_keypair(out->public_key, out->secret, seed);
    return gr_ok();
}

/* The same base64 character with its lowest bits cleared. */
static char without_bits(char c, unsigned bits)
{
    static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(standard, c == '-' ? '+' : c == '_' ? '/' : c) : NULL;
    return at ? standard[(size_t)(at - standard) >> bits << bits] : c;
}

bool gr_sign_decode(gr_arena *arena, gr_str text, size_t size, gr_str *raw)
{
    *raw = (gr_str){0};
    size_t digits = (size * 8 + 5) / 6;
    if (text.size < digits || text.size > digits + 2) return false;
    gr_str copy = gr_arena_str(arena, text);
    char *last = (char *)copy.ptr + digits - 1;
    unsigned bits = (unsigned)(digits * 6 - size * 8);
    if (bits) *last = without_bits(*last, bits);
    if (!gr_base64_decode(arena, copy, raw) || raw->size != size) *raw = (gr_str){0};
    return raw->size == size;
}

/* Cuts the text before the next blank or line end off *rest. */
static gr_str next_word(gr_str *rest)
{
    size_t at = 0, end;
    while (at < rest->size && strchr(" \t\r\n", rest->ptr[at]) && rest->ptr[at]) at++;
    for (end = at; end < rest->size && !(rest->ptr[end] && strchr(" \t\r\n", rest->ptr[end]));) end++;
    gr_str word = gr_str_from(gr_str_head(*rest, end), at);
    *rest = gr_str_from(*rest, end);
    return word;
}

gr_err gr_signer_from_file(gr_arena *arena, gr_str server_name, gr_str text, gr_signer *out)
{
    *out = (gr_signer){0};
    gr_str algorithm = next_word(&text), name = next_word(&text), encoded = next_word(&text), seed;
    if (!gr_str_is(algorithm, "ed25519") || gr_str_empty(encoded) || !gr_str_empty(next_word(&text)))
        return gr_fail(GR_INVALID_PARAM,
                       "A signing key file is one line: ed25519 <key name> <base64 of the seed>");
    if (!gr_sign_decode(arena, encoded, GR_SIGN_SEED, &seed))
        return gr_fail(GR_INVALID_PARAM, "The seed in the signing key file is not the base64 of 32 bytes");
    return gr_signer_from_seed(server_name, name, (const unsigned char *)seed.ptr, out);
}

gr_str gr_signer_file_text(gr_arena *arena, const gr_signer *signer)
{
    gr_str name = key_name_of(signer);
    gr_str seed = gr_base64(arena, gr_str_of(signer->secret, GR_SIGN_SEED));
    return gr_arena_printf(arena, "ed25519 %" GR_FMT " %" GR_FMT "\n", GR_ARG(name), GR_ARG(seed));
}

gr_str gr_signer_public_text(gr_arena *arena, const gr_signer *signer)
{
    return gr_base64(arena, gr_str_of(signer->public_key, GR_SIGN_PUBLIC));
}

void gr_signer_wipe(gr_signer *signer) { sodium_memzero(signer, sizeof *signer); }

gr_str gr_sign_bytes(gr_arena *arena, const gr_signer *signer, gr_str message)
{
    unsigned char signature[GR_SIGN_SIGNATURE];
    if (signer->sign)
        signer->sign(signer, message, signature);
    else
        crypto_sign_detached(signature, NULL, (const unsigned char *)message.ptr, message.size,
                             signer->secret);
    return gr_base64(arena, gr_str_of(signature, sizeof signature));
}

static gr_str kept(gr_arena *arena, gr_buf *buf)
{
    gr_str text = gr_arena_str(arena, gr_buf_view(buf));
    gr_buf_free(buf);
    return text;
}

gr_str gr_sign_text(gr_arena *arena, const gr_json *object)
{
    static const char *const unsigned_parts[] = {"signatures", "unsigned", NULL};
    gr_buf buf = {0};
    gr_json_print_without(&buf, object, unsigned_parts);
    return kept(arena, &buf);
}

/* Writes the members of object (none when it is no object) in order, with {key: raw} put in or replaced. */
static void write_with(gr_jw *w, const gr_json *object, gr_str key, gr_str raw)
{
    bool written = false;
    size_t count = gr_json_is(object, GR_JSON_OBJECT) ? object->count : 0;
    gr_jw_object(w);
    for (size_t i = 0; i < count; i++) {
        const gr_json_member *member = &object->members[i];
        int order = gr_str_cmp(key, member->key);
        if (!written && order <= 0) {
            gr_jw_key_str(w, key);
            gr_jw_raw(w, raw);
            written = true;
        }
        if (order == 0) continue;
        gr_jw_key_str(w, member->key);
        gr_jw_json(w, &member->value);
    }
    if (!written) {
        gr_jw_key_str(w, key);
        gr_jw_raw(w, raw);
    }
    gr_jw_end_object(w);
}

static gr_str text_with(gr_arena *arena, const gr_json *object, gr_str key, gr_str raw)
{
    gr_buf buf = {0};
    gr_jw w = gr_jw_begin(&buf);
    write_with(&w, object, key, raw);
    return kept(arena, &buf);
}

gr_str gr_sign_add(gr_arena *arena, const gr_signer *signer, const gr_json *object, gr_str message)
{
    const gr_json *all = gr_json_get(object, "signatures");
    const gr_json *ours = gr_json_get_str(all, signer->server_name);
    gr_str signature = gr_sign_bytes(arena, signer, message);
    gr_str quoted = gr_arena_printf(arena, "\"%" GR_FMT "\"", GR_ARG(signature));
    gr_str own_text = text_with(arena, ours, gr_str_c(signer->key_id), quoted);
    gr_str all_text = text_with(arena, all, signer->server_name, own_text);
    return text_with(arena, object, GR_STR("signatures"), all_text);
}

gr_str gr_sign_json(gr_arena *arena, const gr_signer *signer, const gr_json *object)
{
    return gr_sign_add(arena, signer, object, gr_sign_text(arena, object));
}

bool gr_sign_verify(gr_arena *arena, const gr_key_ring *ring, const unsigned char public_key[GR_SIGN_PUBLIC],
                    gr_str message, gr_str signature_text)
{
    gr_str raw;
    if (!gr_sign_decode(arena, signature_text, GR_SIGN_SIGNATURE, &raw)) return false;
    const unsigned char *signature = (const unsigned char *)raw.ptr;
    if (ring && ring->verify) return ring->verify(public_key, message, signature);
    return crypto_sign_verify_detached(signature, (const unsigned char *)message.ptr, message.size,
                                       public_key) == 0;
}

gr_err gr_sign_check(gr_arena *arena, const gr_key_ring *ring, const gr_json *signatures, gr_str entity,
                     int64_t ts, gr_str message)
{
    const gr_json *theirs = gr_json_get_str(signatures, entity);
    size_t good = 0, count = gr_json_is(theirs, GR_JSON_OBJECT) ? theirs->count : 0;
    for (size_t i = 0; i < count; i++) {
        gr_str key_id = theirs->members[i].key;
        unsigned char public_key[GR_SIGN_PUBLIC];
        if (!gr_str_starts(key_id, GR_STR(ALGORITHM))) continue;
        if (!ring->find(ring->arg, entity, key_id, ts, public_key)) continue;
        if (!gr_sign_verify(arena, ring, public_key, message, gr_json_string(&theirs->members[i].value)))
            return gr_failf(arena, GR_INVALID_SIGNATURE, "The signature of %" GR_FMT " with key %" GR_FMT
                            " is wrong", GR_ARG(entity), GR_ARG(key_id));
        good++;
    }
    if (good) return gr_ok();
    return gr_failf(arena, GR_INVALID_SIGNATURE,
                    "There is no signature of %" GR_FMT " with a known, valid key", GR_ARG(entity));
}

gr_err gr_sign_check_json(gr_arena *arena, const gr_key_ring *ring, const gr_json *object, gr_str entity,
                          int64_t ts)
{
    return gr_sign_check(arena, ring, gr_json_get(object, "signatures"), entity, ts,
                         gr_sign_text(arena, object));
}
