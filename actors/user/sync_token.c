/* sync_token.c - the text of sync tokens. See sync_token.h. */
#include "actors/user/sync_token.h"

static gr_str owed_text(gr_arena *a, const gr_sync_owed *o)
{
    static const char digits[] = "0123456789abcdef";
    char set[2 * GR_SHARD_SET];
    for (size_t i = 0; i < sizeof set; i++) set[i] = digits[o->shards.bits[i / 2] >> i % 2 * 4 & 15];
    return gr_arena_printf(a, "_%llx_%.*s", (unsigned long long)o->position, (int)sizeof set, set);
}

gr_str gr_sync_token_text(gr_arena *a, const gr_sync_token *t)
{
    gr_str parts[1 + GR_SYNC_OWED_MAX];
    parts[0] = gr_arena_printf(a, "s1_%llx_%llx_%llx", (unsigned long long)t->incarnation, (unsigned long long)t->position,
                               (unsigned long long)t->to_device);
    for (size_t i = 0; i < t->owed_count; i++) parts[1 + i] = owed_text(a, &t->owed[i]);
    return gr_arena_cat(a, 1 + t->owed_count, parts);
}

static unsigned digit_of(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

static bool read_hex(gr_str *rest, uint64_t *out)
{
    size_t digits = 0;
    *out = 0;
    while (rest->size && digits < 16) {
        unsigned value = digit_of(rest->ptr[0]);
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

static bool read_set(gr_str *rest, gr_shard_set *set)
{
    if (rest->size < 2 * GR_SHARD_SET) return false;
    for (size_t i = 0; i < 2 * GR_SHARD_SET; i++) {
        unsigned value = digit_of(rest->ptr[i]);
        if (value > 15) return false;
        set->bits[i / 2] |= (unsigned char)(value << i % 2 * 4);
    }
    *rest = gr_str_from(*rest, 2 * GR_SHARD_SET);
    return true;
}

static bool read_owed(gr_str *rest, gr_sync_token *t)
{
    if (t->owed_count == GR_SYNC_OWED_MAX) return false;
    gr_sync_owed *o = &t->owed[t->owed_count++];
    return read_bar(rest) && read_hex(rest, &o->position) && read_bar(rest) && read_set(rest, &o->shards);
}

bool gr_sync_token_read(gr_str text, gr_sync_token *t)
{
    *t = (gr_sync_token){0};
    if (!gr_str_starts(text, GR_STR("s1_"))) return false;
    gr_str rest = gr_str_from(text, 3);
    bool good = read_hex(&rest, &t->incarnation) && read_bar(&rest) && read_hex(&rest, &t->position) && read_bar(&rest)
        && read_hex(&rest, &t->to_device);
    while (good && rest.size) good = read_owed(&rest, t);
    if (!good) *t = (gr_sync_token){0};
    return good;
}

uint64_t gr_sync_token_seen(const gr_sync_token *t, uint8_t shard)
{
    for (size_t i = 0; i < t->owed_count; i++)
        if (gr_shard_set_has(&t->owed[i].shards, shard)) return t->owed[i].position;
    return t->position;
}

static bool owe(gr_sync_token *t, uint8_t shard, uint64_t position)
{
    size_t i = 0;
    if (position == t->position) return true;
    while (i < t->owed_count && t->owed[i].position != position) i++;
    if (i == GR_SYNC_OWED_MAX) return false;
    if (i == t->owed_count) t->owed[t->owed_count++].position = position;
    gr_shard_set_add(&t->owed[i].shards, shard);
    return true;
}

gr_str gr_sync_token_owe(gr_arena *a, gr_str since, gr_str next, const gr_shard_set *lacking)
{
    gr_sync_token before, after;
    bool fits = true;
    gr_sync_token_read(since, &before);
    gr_sync_token_read(next, &after);
    gr_sync_token out = {.incarnation = after.incarnation, .position = after.position, .to_device = after.to_device};
    for (unsigned shard = 0; shard < GR_SHARDS && fits; shard++) {
        const gr_sync_token *seen = gr_shard_set_has(lacking, (uint8_t)shard) ? &before : &after;
        fits = owe(&out, (uint8_t)shard, gr_sync_token_seen(seen, (uint8_t)shard));
    }
    return fits ? gr_sync_token_text(a, &out) : (gr_str){0};
}
