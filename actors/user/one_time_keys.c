/* one_time_keys.c - one-time and fallback keys of devices, their counts, and claiming them. See keys.h. */
#include "actors/user/keys.h"

#include "proto/ident.h"

typedef struct {
    gr_str row, algorithm, id, text;
    uint64_t position;
} held_key;
typedef struct {
    gr_arena *arena;
    size_t skip, count;
    held_key at[GR_ONE_TIME_KEYS_MAX + 1];
} held_keys;

static const gr_str usual = {"signed_curve25519", 17};

/* --- the summary ------------------------------------------------------------------------------------------- */
static bool read_summary(gr_ctx *ctx, gr_str device, gr_user_key_summary *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_user_key_summary){0};
    if (!gr_ctx_get(ctx, gr_keys_row(ctx, 'c', device), &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_user_key_summary, bytes, &body))) return false;
    *out = *(gr_user_key_summary *)body;
    return true;
}

static void write_summary(gr_ctx *ctx, gr_str device, gr_user_key_summary *s)
{
    s->at = gr_ctx_position(ctx);
    gr_ctx_put_body(ctx, gr_keys_row(ctx, 'c', device), &gr_type_user_key_summary, s);
}

static void count(gr_ctx *ctx, gr_user_key_summary *s, gr_str algorithm, int by)
{
    for (size_t i = 0; i < s->counts.count; i++) {
        gr_user_key_count *c = &s->counts.at[i];
        if (!gr_str_eq(c->algorithm, algorithm)) continue;
        if (by > 0 || c->count >= (uint64_t)-by) c->count += (uint64_t)(int64_t)by;
        return;
    }
    if (by < 0) return;
    gr_user_key_count *more = gr_arena_alloc(gr_ctx_arena(ctx), (s->counts.count + 1) * sizeof *more);
    if (s->counts.count) memcpy(more, s->counts.at, s->counts.count * sizeof *more);
    more[s->counts.count++] = (gr_user_key_count){.algorithm = algorithm, .count = (uint64_t)by};
    s->counts.at = more;
}

static void set_unused(gr_ctx *ctx, gr_user_key_summary *s, gr_str algorithm, bool unused)
{
    gr_strs list = {gr_arena_alloc(gr_ctx_arena(ctx), (s->unused.count + 1) * sizeof(gr_str)), 0};
    for (size_t i = 0; i < s->unused.count; i++)
        if (!gr_str_eq(s->unused.at[i], algorithm)) list.at[list.count++] = s->unused.at[i];
    if (unused) list.at[list.count++] = algorithm;
    s->unused = list;
}

void gr_user_key_counts(gr_ctx *ctx, gr_str device, gr_str *counts, gr_str *fallback)
{
    gr_user_key_summary s;
    gr_buf out = {0};
    bool listed = false;
    read_summary(ctx, device, &s);
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (size_t i = 0; i < s.counts.count; i++) {
        gr_jw_key_str(&w, s.counts.at[i].algorithm);
        gr_jw_int(&w, (int64_t)s.counts.at[i].count);
        if (gr_str_eq(s.counts.at[i].algorithm, usual)) listed = true;
    }
    /* Clients make new keys only when they are told that there are none. */
    if (!listed) gr_jw_kint(&w, "signed_curve25519", 0);
    gr_jw_end_object(&w);
    *counts = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_clear(&out);
    w = gr_jw_begin(&out);
    gr_jw_array(&w);
    for (size_t i = 0; i < s.unused.count; i++) gr_jw_str(&w, s.unused.at[i]);
    gr_jw_end_array(&w);
    *fallback = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
}

uint64_t gr_user_key_counts_at(gr_ctx *ctx, gr_str device)
{
    gr_user_key_summary s;
    read_summary(ctx, device, &s);
    return s.at;
}

/* --- what is there ----------------------------------------------------------------------------------------- */
/* Row: skip bytes up to the algorithm, algorithm, 0, position, key id. */
static bool hold(void *arg, gr_str key, gr_str value)
{
    held_keys *all = arg;
    gr_str rest = gr_str_from(key, all->skip);
    ptrdiff_t end = gr_str_find(rest, '\0');
    if (end < 0 || rest.size < (size_t)end + 9) return true;
    key = gr_arena_str(all->arena, key);
    rest = gr_str_from(key, all->skip);
    all->at[all->count++] =
        (held_key){key, gr_str_head(rest, (size_t)end), gr_str_from(rest, (size_t)end + 9),
                   gr_arena_str(all->arena, value), gr_u64be(rest.ptr + end + 1)};
    return all->count <= GR_ONE_TIME_KEYS_MAX;
}

static held_keys *held_of(gr_ctx *ctx, gr_str device)
{
    held_keys *all = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *all);
    gr_str prefix = gr_keys_row2(ctx, 'o', device, (gr_str){0});
    all->arena = gr_ctx_arena(ctx);
    all->skip = prefix.size;
    gr_ctx_scan_prefix(ctx, prefix, GR_ONE_TIME_KEYS_MAX + 1, hold, all);
    return all;
}

static const held_key *find_held(const held_keys *all, gr_str algorithm, gr_str id)
{
    for (size_t i = 0; i < all->count; i++)
        if (gr_str_eq(all->at[i].id, id) && gr_str_eq(all->at[i].algorithm, algorithm)) return &all->at[i];
    return NULL;
}

/* Removes the oldest key. */
static void evict(gr_ctx *ctx, held_keys *all, gr_user_key_summary *s)
{
    size_t oldest = 0;
    for (size_t i = 1; i < all->count; i++)
        if (all->at[i].position < all->at[oldest].position) oldest = i;
    gr_ctx_del(ctx, all->at[oldest].row);
    count(ctx, s, all->at[oldest].algorithm, -1);
    all->at[oldest] = all->at[--all->count];
}

/* --- upload ------------------------------------------------------------------------------------------------ */
/* Splits "algorithm:id" and judges both parts and the key itself. */
static gr_err check_key(gr_ctx *ctx, const gr_json_member *m, gr_str *algorithm, gr_str *id, gr_str *text)
{
    ptrdiff_t colon = gr_str_find(m->key, ':');
    bool named = colon > 0 && (size_t)colon + 1 < m->key.size && m->key.size <= GR_KEY_ID_MAX;
    if (!named || memchr(m->key.ptr, '\0', m->key.size))
        return gr_fail(GR_INVALID_PARAM, "The name of a key must be of the form 'algorithm:key_id'");
    if (!gr_json_is(&m->value, GR_JSON_STRING) && !gr_json_is(gr_json_get(&m->value, "key"), GR_JSON_STRING))
        return gr_failf(gr_ctx_arena(ctx), GR_BAD_JSON,
                        "'%s' must be a key: a string, or an object with a 'key'", m->key.ptr);
    *algorithm = gr_str_head(m->key, (size_t)colon);
    *id = gr_str_from(m->key, (size_t)colon + 1);
    *text = gr_json_printed(gr_ctx_arena(ctx), &m->value);
    return text->size <= GR_ONE_TIME_KEY_MAX ? gr_ok() : gr_fail(GR_TOO_LARGE, "A one-time key is too large");
}

static gr_str one_time_row(gr_ctx *ctx, gr_str device, gr_str algorithm, gr_str id)
{
    gr_buf tail = {0};
    gr_buf_str(&tail, algorithm);
    gr_buf_char(&tail, '\0');
    gr_buf_u64be(&tail, gr_ctx_position(ctx));
    gr_buf_str(&tail, id);
    gr_str row = gr_keys_row2(ctx, 'o', device, gr_buf_view(&tail));
    gr_buf_free(&tail);
    return row;
}

static gr_err add_keys(gr_ctx *ctx, gr_str device, const gr_json *keys, gr_user_key_summary *s, bool *moved)
{
    if (keys->count > GR_ONE_TIME_KEYS_MAX)
        return gr_failf(gr_ctx_arena(ctx), GR_TOO_LARGE, "Upload at most %d one-time keys at once",
                        GR_ONE_TIME_KEYS_MAX);
    held_keys *all = held_of(ctx, device);
    size_t added = 0;
    for (uint32_t i = 0; i < keys->count; i++) {
        gr_str algorithm, id, text;
        gr_err err = check_key(ctx, &keys->members[i], &algorithm, &id, &text);
        if (gr_failed(err)) return err;
        const held_key *held = find_held(all, algorithm, id);
        if (held && gr_str_eq(held->text, text)) continue;
        if (held)
            return gr_failf(gr_ctx_arena(ctx), GR_INVALID_PARAM,
                            "There is another one-time key '%s' already: use new key ids",
                            keys->members[i].key.ptr);
        gr_ctx_put(ctx, one_time_row(ctx, device, algorithm, id), text);
        count(ctx, s, algorithm, 1);
        added++;
    }
    while (all->count && all->count + added > GR_ONE_TIME_KEYS_MAX) evict(ctx, all, s);
    if (added) *moved = true;
    return gr_ok();
}

static gr_err add_fallback(gr_ctx *ctx, gr_str device, const gr_json_member *m, gr_user_key_summary *s,
                           bool *moved)
{
    gr_str algorithm, id, text, old;
    gr_err err = check_key(ctx, m, &algorithm, &id, &text);
    if (gr_failed(err)) return err;
    gr_str row = gr_keys_row2(ctx, 'f', device, algorithm);
    gr_str value = gr_arena_cat(gr_ctx_arena(ctx), 4, (gr_str[]){GR_STR("N"), m->key, {"", 1}, text});
    if (gr_ctx_get(ctx, row, &old) && gr_str_eq(gr_str_from(old, 1), gr_str_from(value, 1))) return gr_ok();
    gr_ctx_put(ctx, row, value);
    set_unused(ctx, s, algorithm, true);
    *moved = true;
    return gr_ok();
}

gr_err gr_one_time_keys_add(gr_ctx *ctx, gr_str device, const gr_json *keys, const gr_json *fallback,
                            bool *moved)
{
    gr_user_key_summary s;
    read_summary(ctx, device, &s);
    gr_err err = keys ? add_keys(ctx, device, keys, &s, moved) : gr_ok();
    if (fallback && fallback->count > 16)
        return gr_fail(GR_INVALID_PARAM, "Upload one fallback key for each algorithm");
    for (uint32_t i = 0; fallback && i < fallback->count && !gr_failed(err); i++)
        err = add_fallback(ctx, device, &fallback->members[i], &s, moved);
    if (!gr_failed(err) && *moved) write_summary(ctx, device, &s);
    return err;
}

static bool drop_row(void *arg, gr_str key, gr_str value)
{
    (void)value;
    gr_ctx_del(arg, key);
    return true;
}

void gr_one_time_keys_sweep(gr_ctx *ctx, gr_str device)
{
    gr_ctx_scan_prefix(ctx, gr_keys_row2(ctx, 'o', device, (gr_str){0}), GR_ONE_TIME_KEYS_MAX + 1, drop_row,
                       ctx);
    gr_ctx_scan_prefix(ctx, gr_keys_row2(ctx, 'f', device, (gr_str){0}), 16, drop_row, ctx);
}

/* --- claiming ---------------------------------------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    size_t skip;
    gr_str row, id, text;
} oldest;

static bool take_oldest(void *arg, gr_str key, gr_str value)
{
    oldest *o = arg;
    o->row = gr_arena_str(o->arena, key);
    o->id = gr_str_from(o->row, o->skip);
    o->text = gr_arena_str(o->arena, value);
    return false;
}

static void write_claimed(gr_jw *w, gr_str device, gr_str key_id, gr_str text)
{
    gr_jw_key_str(w, device);
    gr_jw_object(w);
    gr_jw_key_str(w, key_id);
    gr_jw_raw(w, text);
    gr_jw_end_object(w);
}

/* Answers whether the counts the device is shown have changed. */
static bool claim_fallback(gr_ctx *ctx, gr_str device, gr_str algorithm, gr_user_key_summary *s, gr_jw *w)
{
    gr_str row = gr_keys_row2(ctx, 'f', device, algorithm), value;
    if (!gr_ctx_get(ctx, row, &value) || value.size < 2) return false;
    gr_str rest = gr_str_from(value, 1);
    ptrdiff_t end = gr_str_find(rest, '\0');
    if (end < 0) return false;
    write_claimed(w, device, gr_str_head(rest, (size_t)end), gr_str_from(rest, (size_t)end + 1));
    if (value.ptr[0] == 'U') return false;
    gr_ctx_put(ctx, row, gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("U"), rest}));
    set_unused(ctx, s, algorithm, false);
    return true;
}

static bool claim_one(gr_ctx *ctx, gr_str device, gr_str algorithm, gr_jw *w)
{
    gr_user_key_summary s;
    if (!read_summary(ctx, device, &s) || memchr(algorithm.ptr, '\0', algorithm.size)) return false;
    gr_str with_end = gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){algorithm, {"", 1}});
    gr_str prefix = gr_keys_row2(ctx, 'o', device, with_end);
    oldest o = {.arena = gr_ctx_arena(ctx), .skip = prefix.size + 8};
    gr_ctx_scan_prefix(ctx, prefix, 1, take_oldest, &o);
    bool moved = true;
    if (o.row.size) {
        gr_ctx_del(ctx, o.row);
        count(ctx, &s, algorithm, -1);
        write_claimed(w, device, gr_arena_cat(o.arena, 3, (gr_str[]){algorithm, GR_STR(":"), o.id}), o.text);
    } else {
        moved = claim_fallback(ctx, device, algorithm, &s, w);
    }
    if (moved) write_summary(ctx, device, &s);
    return moved;
}

void gr_one_time_keys_on_claim(gr_user *u, const gr_user_keys_claim *m, gr_ctx *ctx)
{
    if (m->devices.count > GR_CLAIM_MAX || m->devices.count != m->algorithms.count) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "Too many devices in one claim"));
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    bool moved = false;
    gr_jw_object(&w);
    for (size_t i = 0; i < m->devices.count; i++)
        if (gr_ident_device(m->devices.at[i]) && m->algorithms.at[i].size
            && m->algorithms.at[i].size <= GR_KEY_ID_MAX)
            moved |= claim_one(ctx, m->devices.at[i], m->algorithms.at[i], &w);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
    if (moved) gr_user_changed(u, ctx); /* the device is to make new keys */
}
