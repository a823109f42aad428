/* keys.c - the signing key and the secrets of a node. See keys.h. */
#include "edge/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_SIZE_MAX = 16384, BASE64_SIZE = 64 };

static const struct {
    const char *name;
    size_t offset;
} secrets[] = {
    {"token_check", offsetof(gr_keys, token_check)},
    {"paging", offsetof(gr_keys, paging)},
    {"bus_secret", offsetof(gr_keys, bus_secret)},
};
enum { SECRETS = sizeof secrets / sizeof secrets[0] };

static gr_err disk_error(gr_arena *a, const char *what, const char *path)
{
    return gr_failf(a, GR_UNAVAILABLE, "can't %s %s: %s", what, path, strerror(errno));
}

static void sync_folder_of(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static bool write_all(int fd, gr_str text)
{
    while (text.size) {
        ssize_t n = write(fd, text.ptr, text.size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text = gr_str_from(text, (size_t)n);
    }
    return fsync(fd) == 0;
}

/* Writes a file beside its place and links it there, so that it is whole or absent.  Only with replace
 * does it take the place of another. */
static gr_err write_file(gr_arena *a, const char *dir, const char *name, gr_str text, bool replace)
{
    const char *path = gr_arena_printf(a, "%s/%s", dir, name).ptr;
    const char *fresh = gr_arena_printf(a, "%s/.%s.new", dir, name).ptr;
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return disk_error(a, "write", fresh);
    bool good = write_all(fd, text);
    int problem = errno;
    close(fd);
    if (good) {
        good = replace ? rename(fresh, path) == 0 : link(fresh, path) == 0;
        problem = errno;
    }
    unlink(fresh);
    sync_folder_of(dir);
    errno = problem;
    return good ? gr_ok() : disk_error(a, "write", path);
}

static void base64(char *out, const uint8_t *bytes)
{
    sodium_bin2base64(out, BASE64_SIZE, bytes, GR_KEYS_SECRET_SIZE,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

static bool from_base64(gr_str text, uint8_t *out)
{
    size_t size = 0;
    const char *end = NULL;
    while (text.size && text.ptr[text.size - 1] == '=') text.size--;
    return sodium_base642bin(out, GR_KEYS_SECRET_SIZE, text.ptr ? text.ptr : "", text.size, NULL, &size, &end,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING)
               == 0
           && size == GR_KEYS_SECRET_SIZE && end == text.ptr + text.size;
}

static void secret_line(gr_buf *out, size_t which)
{
    uint8_t raw[GR_KEYS_SECRET_SIZE];
    char text[BASE64_SIZE];
    randombytes_buf(raw, sizeof raw);
    base64(text, raw);
    gr_buf_printf(out, "%s %s\n", secrets[which].name, text);
    sodium_memzero(raw, sizeof raw);
    sodium_memzero(text, sizeof text);
}

static void buf_wipe(gr_buf *b)
{
    if (b->ptr) sodium_memzero(b->ptr, b->room);
    gr_buf_free(b);
}

static void secret_line_like(gr_buf *out, size_t which, const gr_keys *keys)
{
    char text[BASE64_SIZE];
    base64(text, (const uint8_t *)keys + secrets[which].offset);
    gr_buf_printf(out, "%s %s\n", secrets[which].name, text);
    sodium_memzero(text, sizeof text);
}

static bool exists(gr_arena *a, const char *dir, const char *name)
{
    return access(gr_arena_printf(a, "%s/%s", dir, name).ptr, F_OK) == 0;
}

static gr_err create_signing(gr_arena *a, const char *dir)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t seed[GR_KEYS_SECRET_SIZE];
    char version[] = "a_XXXXXX", text[BASE64_SIZE];
    gr_buf line = {0};
    for (char *c = version + 2; *c; c++) *c = letters[randombytes_uniform(sizeof letters - 1)];
    randombytes_buf(seed, sizeof seed);
    base64(text, seed);
    gr_buf_printf(&line, "ed25519 %s %s\n", version, text);
    gr_err e = write_file(a, dir, GR_KEYS_SIGNING_FILE, gr_buf_view(&line), false);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(text, sizeof text);
    buf_wipe(&line);
    return e;
}

gr_err gr_keys_create(gr_arena *a, const char *dir)
{
    gr_buf lines = {0};
    gr_err e = {0};
    if (sodium_init() < 0)
        return gr_fail(GR_UNAVAILABLE, "libsodium could not start: no source of randomness");
    if (!exists(a, dir, GR_KEYS_SIGNING_FILE)) e = create_signing(a, dir);
    if (gr_failed(e) || exists(a, dir, GR_KEYS_SECRETS_FILE)) return e;
    for (size_t i = 0; i < SECRETS; i++) secret_line(&lines, i);
    e = write_file(a, dir, GR_KEYS_SECRETS_FILE, gr_buf_view(&lines), false);
    buf_wipe(&lines);
    return e;
}

static gr_err read_secret_file(gr_arena *a, const char *path, gr_buf *out)
{
    struct stat about;
    char piece[1024];
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return gr_failf(a, GR_NOT_FOUND,
                        "%s is missing: restore it from a backup, or start anew with `greenroom init`", path);
    if (fd < 0 || fstat(fd, &about) < 0) {
        gr_err e = disk_error(a, "read", path);
        if (fd >= 0) close(fd);
        return e;
    }
    if (about.st_mode & (S_IRWXG | S_IRWXO)) {
        close(fd);
        return gr_failf(a, GR_FORBIDDEN, "%s may be read by other users of this machine: run `chmod 600 %s`",
                        path, path);
    }
    while (out->size <= FILE_SIZE_MAX && (n = read(fd, piece, sizeof piece)) > 0)
        gr_buf_add(out, piece, (size_t)n);
    sodium_memzero(piece, sizeof piece);
    close(fd);
    if (n < 0 || out->size > FILE_SIZE_MAX)
        return gr_failf(a, GR_INVALID_PARAM, "%s can't be a key file", path);
    return gr_ok();
}

/* Takes the next word of a line; false at its end. */
static bool next_word(gr_str *line, gr_str *word)
{
    while (line->size && strchr(" \t\r\n", line->ptr[0])) *line = gr_str_from(*line, 1);
    size_t size = 0;
    while (size < line->size && !strchr(" \t\r\n", line->ptr[size])) size++;
    *word = gr_str_head(*line, size);
    *line = gr_str_from(*line, size);
    return size > 0;
}

static bool version_good(gr_str version)
{
    if (version.size == 0 || version.size > GR_KEYS_VERSION_MAX) return false;
    for (size_t i = 0; i < version.size; i++) {
        char b = version.ptr[i];
        if (!(b >= '0' && b <= '9') && !((b | 0x20) >= 'a' && (b | 0x20) <= 'z') && b != '_') return false;
    }
    return true;
}

static gr_err load_signing(gr_arena *a, const char *dir, gr_keys *keys)
{
    const char *path = gr_arena_printf(a, "%s/" GR_KEYS_SIGNING_FILE, dir).ptr;
    gr_buf text = {0};
    gr_str kind, version, seed, more;
    uint8_t raw[GR_KEYS_SECRET_SIZE];
    gr_err e = read_secret_file(a, path, &text);
    gr_str line = gr_buf_view(&text);
    if (gr_failed(e)) {
        buf_wipe(&text);
        return e;
    }
    if (next_word(&line, &kind) && next_word(&line, &version) && next_word(&line, &seed)
        && !next_word(&line, &more) && gr_str_is(kind, "ed25519") && version_good(version)
        && from_base64(seed, raw)) {
        snprintf(keys->key_id, sizeof keys->key_id, "ed25519:%" GR_FMT, GR_ARG(version));
        crypto_sign_seed_keypair(keys->public_key, keys->secret_key, raw);
        sodium_memzero(raw, sizeof raw);
    } else
        e = gr_failf(a, GR_INVALID_PARAM, "%s must be one line `ed25519 <version> <base64 of 32 bytes>`",
                     path);
    buf_wipe(&text);
    return e;
}

static gr_err load_secrets(gr_arena *a, const char *dir, gr_keys *keys)
{
    const char *path = gr_arena_printf(a, "%s/" GR_KEYS_SECRETS_FILE, dir).ptr;
    gr_buf text = {0};
    gr_str name, value;
    bool have[SECRETS] = {0}, missing = false;
    gr_err e = read_secret_file(a, path, &text);
    gr_str rest = gr_buf_view(&text);
    while (!gr_failed(e) && next_word(&rest, &name)) {
        bool pair = next_word(&rest, &value);
        for (size_t i = 0; i < SECRETS; i++) {
            if (!gr_str_is(name, secrets[i].name)) continue;
            have[i] = pair && from_base64(value, (uint8_t *)keys + secrets[i].offset);
            if (!have[i])
                e = gr_failf(a, GR_INVALID_PARAM, "%s: the secret %s must be base64 of 32 bytes", path,
                             secrets[i].name);
        }
    }
    for (size_t i = 0; i < SECRETS; i++) {
        if (have[i]) continue;
        if (!missing && text.size && text.ptr[text.size - 1] != '\n') gr_buf_char(&text, '\n');
        secret_line(&text, i);
        missing = true;
    }
    if (!gr_failed(e) && missing) {
        e = write_file(a, dir, GR_KEYS_SECRETS_FILE, gr_buf_view(&text), true);
        buf_wipe(&text);
        return gr_failed(e) ? e : load_secrets(a, dir, keys);
    }
    buf_wipe(&text);
    return e;
}

gr_err gr_keys_create_like(gr_arena *a, const char *dir, const char *from)
{
    gr_keys keys;
    gr_buf signing = {0}, lines = {0};
    gr_err e = gr_keys_load(a, from, &keys);
    if (gr_failed(e)) return e;
    for (size_t i = 0; i < SECRETS; i++)
        if (secrets[i].offset == offsetof(gr_keys, bus_secret)) secret_line(&lines, i);
        else secret_line_like(&lines, i, &keys);
    gr_keys_wipe(&keys);
    e = read_secret_file(a, gr_arena_printf(a, "%s/" GR_KEYS_SIGNING_FILE, from).ptr, &signing);
    if (!gr_failed(e)) e = write_file(a, dir, GR_KEYS_SIGNING_FILE, gr_buf_view(&signing), false);
    if (!gr_failed(e)) e = write_file(a, dir, GR_KEYS_SECRETS_FILE, gr_buf_view(&lines), false);
    buf_wipe(&signing);
    buf_wipe(&lines);
    return e;
}

gr_err gr_keys_load(gr_arena *a, const char *dir, gr_keys *keys)
{
    *keys = (gr_keys){0};
    if (sodium_init() < 0)
        return gr_fail(GR_UNAVAILABLE, "libsodium could not start: no source of randomness");
    gr_err e = load_signing(a, dir, keys);
    if (!gr_failed(e)) e = load_secrets(a, dir, keys);
    if (gr_failed(e)) gr_keys_wipe(keys);
    return e;
}

void gr_keys_wipe(gr_keys *keys) { sodium_memzero(keys, sizeof *keys); }
