/* splice.h - JSON objects that are put together from parts of others, as text. */
#pragma once
#include "edge/call.h"

/* An object without its brackets, so that several can be put into one. */
static inline gr_str gr_splice_inside(gr_str object) { return gr_str_head(gr_str_from(object, 1), object.size - 2); }

/* Members of two objects, in the arena of the call. */
static inline gr_str gr_splice_joined(gr_call *call, gr_str a, gr_str b)
{
    if (a.size == 0 || b.size == 0) return gr_call_keep(call, a.size ? a : b);
    return gr_arena_cat(call->arena, 3, (gr_str[]){a, GR_STR(","), b});
}

/* An object of these members. */
static inline gr_str gr_splice_object(gr_call *call, gr_str members)
{
    return gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("{"), members, GR_STR("}")});
}
