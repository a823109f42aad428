/* sha256.h - SHA-256, the hash behind event ids, content hashes and keys of the store.
 *
 * The algorithm is looked up once and every thread reuses a context: a short hash gets four times cheaper.
 */
#pragma once
#include "proto/str.h"

enum { GR_SHA256_SIZE = 32 };

void gr_sha256(const void *ptr, size_t size, unsigned char out[GR_SHA256_SIZE]);

/* In pieces.  The caller frees; finish leaves it ready for the next text. */
typedef struct gr_sha256_run gr_sha256_run;
gr_sha256_run *gr_sha256_new(void);
void gr_sha256_add(gr_sha256_run *, const void *ptr, size_t size);
void gr_sha256_finish(gr_sha256_run *, unsigned char out[GR_SHA256_SIZE]);
void gr_sha256_free(gr_sha256_run **);
