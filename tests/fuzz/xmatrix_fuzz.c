/* xmatrix_fuzz.c - any bytes as an Authorization header of another server: what is accepted survives being written again. */
#include "proto/ident.h"
#include "proto/xmatrix.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quoted(gr_buf *out, const char *name, gr_str value)
{
    if (value.size == 0) return;
    gr_buf_printf(out, "%s%s=\"", out->size > sizeof "X-Matrix " - 1 ? "," : "", name);
    for (size_t i = 0; i < value.size; i++) {
        if (value.ptr[i] == '"' || value.ptr[i] == '\\') gr_buf_char(out, '\\');
        gr_buf_char(out, value.ptr[i]);
    }
    gr_buf_char(out, '"');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gr_arena *arena = gr_arena_new(0);
    /* An own copy on the heap, so that a read past the end is seen. */
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    gr_xmatrix x, again;
    if (!gr_failed(gr_xmatrix_parse(arena, (gr_str){copy, size}, &x))) {
        static const unsigned char key[GR_SIGN_PUBLIC] = {1};
        gr_xmatrix_request request = {.method = GR_STR("GET"), .uri = GR_STR("/")};
        gr_buf text = {0};
        gr_assert(gr_ident_server_name(x.origin) && x.sig.size && gr_ident_key(x.key));
        gr_buf_c(&text, "X-Matrix ");
        quoted(&text, "origin", x.origin);
        quoted(&text, "destination", x.destination);
        quoted(&text, "key", x.key);
        quoted(&text, "sig", x.sig);
        gr_err err = gr_xmatrix_parse(arena, gr_buf_view(&text), &again);
        gr_assert(text.size > GR_XMATRIX_HEADER_MAX || !gr_failed(err));
        if (!gr_failed(err)) gr_assert(gr_str_eq(x.sig, again.sig) && gr_str_eq(x.destination, again.destination));
        gr_assert(gr_failed(gr_xmatrix_check(arena, &x, &request, GR_STR("here"), key)));
        gr_buf_free(&text);
    }
    free(copy);
    gr_arena_free(&arena);
    return 0;
}
