/* trace_fuzz.c - any bytes as a copied segment of a message log: drawing it ends, in time, with text for a terminal and
 * with JSON. */
#include "bus/trace.h"
#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two segments of half the bytes each, so that nodes and their clocks meet. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gr_arena *a = gr_arena_new(0);
    gr_str bytes = gr_str_of(data, size), segments[] = {gr_str_head(bytes, size / 2), gr_str_from(bytes, size / 2), bytes};
    gr_trace_parts parts = {.segments = segments, .segment_count = 3};
    for (int json = 0; json < 2; json++) {
        gr_buf out = {0};
        const gr_json *tree = NULL;
        gr_err err = gr_trace_draw(&(gr_trace_query){.bodies = true, .json = json != 0}, &parts, a, &out);
        gr_assert(!gr_failed(err) || err.code == GR_NOT_FOUND);
        if (json) gr_assert(!gr_failed(gr_json_parse(a, gr_str_head(gr_buf_view(&out), out.size - 1), GR_JSON_LAX, &tree)));
        for (size_t i = 0; !json && i < out.size; i++) gr_assert(out.ptr[i] == '\n' || (unsigned char)out.ptr[i] >= ' ');
        gr_buf_free(&out);
    }
    gr_arena_free(&a);
    return 0;
}
