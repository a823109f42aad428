/* sha256.c - SHA-256 by OpenSSL's EVP with the algorithm fetched once. See sha256.h. */
#include "proto/sha256.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

struct gr_sha256_run { EVP_MD_CTX *ctx; };

static EVP_MD *algorithm;
static pthread_key_t ctx_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local EVP_MD_CTX *thread_ctx;

static void ctx_drop(void *ctx) { EVP_MD_CTX_free(ctx); }

static void fetch(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    gr_assert(algorithm);
    gr_assert(pthread_key_create(&ctx_key, ctx_drop) == 0);
}

static EVP_MD_CTX *ctx_new(void)
{
    pthread_once(&once, fetch);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    gr_assert(ctx && EVP_DigestInit_ex2(ctx, algorithm, NULL) == 1);
    return ctx;
}

static void ctx_finish(EVP_MD_CTX *ctx, unsigned char out[GR_SHA256_SIZE])
{
    gr_assert(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
}

void gr_sha256(const void *ptr, size_t size, unsigned char out[GR_SHA256_SIZE])
{
    if (!thread_ctx) {
        thread_ctx = ctx_new();
        pthread_setspecific(ctx_key, thread_ctx);       /* so that it is freed when the thread ends */
    } else {
        gr_assert(EVP_DigestInit_ex2(thread_ctx, NULL, NULL) == 1);
    }
    gr_assert(EVP_DigestUpdate(thread_ctx, ptr, size) == 1);
    ctx_finish(thread_ctx, out);
}

gr_sha256_run *gr_sha256_new(void)
{
    gr_sha256_run *run = gr_alloc(sizeof *run);
    run->ctx = ctx_new();
    return run;
}

void gr_sha256_add(gr_sha256_run *run, const void *ptr, size_t size)
{
    gr_assert(EVP_DigestUpdate(run->ctx, ptr, size) == 1);
}

void gr_sha256_finish(gr_sha256_run *run, unsigned char out[GR_SHA256_SIZE])
{
    ctx_finish(run->ctx, out);
    gr_assert(EVP_DigestInit_ex2(run->ctx, NULL, NULL) == 1);
}

void gr_sha256_free(gr_sha256_run **run)
{
    if (!*run) return;
    EVP_MD_CTX_free((*run)->ctx);
    free(*run);
    *run = NULL;
}
