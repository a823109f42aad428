/* err.c - error values. See err.h. */
#include "proto/err.h"

static const struct { const char *wire; int status; } codes[] = {
#define X(name, wire, status) {wire, status},
    GR_ERRCODES(X)
#undef X
};

gr_err gr_failf(gr_arena *a, gr_errcode code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gr_str text = gr_arena_vprintf(a, format, args);
    va_end(args);
    return gr_fail(code, text.ptr);
}

const char *gr_errcode_wire(gr_errcode code) { gr_assert(code < GR_ERRCODE_COUNT); return codes[code].wire; }
int gr_errcode_status(gr_errcode code) { gr_assert(code < GR_ERRCODE_COUNT); return codes[code].status; }
