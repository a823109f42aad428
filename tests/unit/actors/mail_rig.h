/* mail_rig.h - mails as people read them, for tests. */
#pragma once
#include "proto/str.h"

#include <stdio.h>

/* The message, in the arena, with what is quoted in it as it was (RFC 2045, "Quoted-Printable"). */
static inline gr_str mail_rig_read(gr_arena *a, gr_str message)
{
    gr_buf out = {0};
    for (size_t i = 0; i < message.size; i++) {
        unsigned byte = 0;
        if (message.ptr[i] != '=') gr_buf_char(&out, message.ptr[i]);
        else if (gr_str_starts(gr_str_from(message, i + 1), GR_STR("\r\n"))) i += 2;
        else if (sscanf(message.ptr + i + 1, "%2X", &byte) == 1) gr_buf_char(&out, (char)byte), i += 2;
    }
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}
