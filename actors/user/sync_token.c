/* sync_token.c - the text of sync tokens. See sync_token.h. */
#include "actors/user/sync_token.h"

gr_str gr_sync_token_text(gr_arena *a, const gr_sync_token *t)
{
    return gr_arena_printf(a, "s1_%llx_%llx_%llx", (unsigned long long)t->incarnation, (unsigned long long)t->position,
                           (unsigned long long)t->to_device);
}

static bool read_hex(gr_str *rest, uint64_t *out)
{
    size_t digits = 0;
    *out = 0;
    while (rest->size && digits < 16) {
        char c = rest->ptr[0];
        unsigned value = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
        if (value > 15) break;
        *out = *out << 4 | value;
        *rest = gr_str_from(*rest, 1);
        digits++;
    }
    return digits > 0;
}

static bool read_bar(gr_str *rest)
{
    if (rest->size == 0 || rest->ptr[0] != '_') return false;
    *rest = gr_str_from(*rest, 1);
    return true;
}

bool gr_sync_token_read(gr_str text, gr_sync_token *t)
{
    *t = (gr_sync_token){0};
    if (!gr_str_starts(text, GR_STR("s1_"))) return false;
    gr_str rest = gr_str_from(text, 3);
    bool good = read_hex(&rest, &t->incarnation) && read_bar(&rest) && read_hex(&rest, &t->position) && read_bar(&rest)
        && read_hex(&rest, &t->to_device) && rest.size == 0;
    if (!good) *t = (gr_sync_token){0};
    return good;
}
