/* text.h - texts that simulations keep in arrays. */
#pragma once
#include "proto/str.h"

#include <stdarg.h>
#include <stdio.h>

/* Nothing when something is there already: the first problem is the one to be told. */
static inline void text_once(char *to, size_t room, const char *format, va_list args)
{
    if (!to[0]) vsnprintf(to, room, format, args);
}

static inline void text_copy(char *to, size_t room, gr_str text)
{
    gr_assert(text.size < room);
    if (text.size) memcpy(to, text.ptr, text.size);
    to[text.size] = 0;
}
