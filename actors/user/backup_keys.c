/* backup_keys.c - the server-side backup of room keys. See keys.h; client-server API, "Server-side key backups".
 *
 * Versions are numbers that are never used again.  Keys go to the newest version only; where there is a key already, the
 * better one is kept.  The keys of a deleted version are swept by and by.
 */
#include "actors/user/keys.h"

enum { PAGE_ROWS = 200, SESSION_ID_MAX = 255 };

/* --- versions ---------------------------------------------------------------------------------------------- */
/* "b" sub version rest. */
static gr_str row(gr_ctx *ctx, char sub, uint64_t version, gr_str rest)
{
    gr_buf tail = {0};
    gr_buf_char(&tail, sub);
    gr_buf_u64be(&tail, version);
    gr_buf_str(&tail, rest);
    gr_str key = gr_user_key(ctx, 'b', gr_buf_view(&tail));
    gr_buf_free(&tail);
    return key;
}

static bool decode(gr_ctx *ctx, gr_str bytes, gr_user_backup *out)
{
    void *body = NULL;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_user_backup, bytes, &body))) return false;
    *out = *(gr_user_backup *)body;
    return true;
}

static void save(gr_ctx *ctx, uint64_t version, const gr_user_backup *b)
{
    gr_ctx_put_body(ctx, row(ctx, 'v', version, (gr_str){0}), &gr_type_user_backup, b);
}

static bool take_version(void *arg, gr_str key, gr_str value)
{
    (void)value;
    *(uint64_t *)arg = key.size == 10 ? gr_u64be(key.ptr + 2) : 0;
    return false;
}

/* The newest version; 0 when there is none. */
static uint64_t newest(gr_ctx *ctx)
{
    uint64_t version = 0;
    gr_ctx_scan(ctx, GR_STR("bv"), GR_STR("bw"), true, 1, take_version, &version);
    return version;
}

static bool find(gr_ctx *ctx, gr_str text, uint64_t *version, gr_user_backup *out)
{
    gr_str bytes;
    return gr_str_u64(text, version) && gr_ctx_get(ctx, row(ctx, 'v', *version, (gr_str){0}), &bytes)
           && decode(ctx, bytes, out);
}

static void fail_unknown(gr_ctx *ctx)
{
    gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such backup version"));
}

static gr_str version_text(gr_ctx *ctx, uint64_t version)
{
    return gr_arena_printf(gr_ctx_arena(ctx), "%llu", (unsigned long long)version);
}

void gr_backup_on_make(const gr_user_backup_make *m, gr_ctx *ctx)
{
    gr_str bytes, counter = gr_user_key(ctx, 'b', GR_STR("n"));
    uint64_t version = 1 + (gr_ctx_get(ctx, counter, &bytes) && bytes.size == 8 ? gr_u64be(bytes.ptr) : 0);
    gr_user_backup b = {.algorithm = m->algorithm, .auth_data = m->auth_data};
    gr_buf next = {0};
    gr_buf_u64be(&next, version);
    gr_ctx_put(ctx, counter, gr_buf_view(&next));
    gr_buf_free(&next);
    save(ctx, version, &b);
    gr_ctx_json(ctx,
                gr_arena_printf(gr_ctx_arena(ctx), "{\"version\":\"%llu\"}", (unsigned long long)version));
}

void gr_backup_on_info(const gr_user_backup_info *m, gr_ctx *ctx)
{
    uint64_t version;
    gr_user_backup b;
    gr_str wanted = m->version.size ? m->version : version_text(ctx, newest(ctx));
    if (!find(ctx, wanted, &version, &b)) {
        fail_unknown(ctx);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "algorithm", b.algorithm);
    gr_jw_kraw(&w, "auth_data", b.auth_data);
    gr_jw_kint(&w, "count", (int64_t)b.count);
    gr_jw_kstr(&w, "etag", version_text(ctx, b.etag));
    gr_jw_kstr(&w, "version", version_text(ctx, version));
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

void gr_backup_on_set(const gr_user_backup_set *m, gr_ctx *ctx)
{
    uint64_t version;
    gr_user_backup b;
    if (!find(ctx, m->version, &version, &b)) {
        fail_unknown(ctx);
        return;
    }
    if (!gr_str_eq(b.algorithm, m->algorithm)) {
        gr_ctx_fail(
            ctx, gr_fail(GR_INVALID_PARAM, "The algorithm of a backup can't be changed: make a new version"));
        return;
    }
    b.auth_data = m->auth_data;
    save(ctx, version, &b);
    gr_ctx_done(ctx);
}

/* A version deleted before counts as deleted now. */
void gr_backup_on_end(const gr_user_backup_end *m, gr_ctx *ctx)
{
    uint64_t version;
    gr_user_backup b;
    gr_str gone;
    if (find(ctx, m->version, &version, &b)) {
        gr_ctx_del(ctx, row(ctx, 'v', version, (gr_str){0}));
        gr_ctx_put(ctx, row(ctx, 'd', version, (gr_str){0}), GR_STR("N"));
        gr_ctx_timer(ctx, GR_STR("backup"), gr_ctx_now_ms(ctx), true);
    } else if (!gr_str_u64(m->version, &version)
               || !gr_ctx_get(ctx, row(ctx, 'd', version, (gr_str){0}), &gone)) {
        fail_unknown(ctx);
        return;
    }
    gr_ctx_done(ctx);
}

/* --- keys -------------------------------------------------------------------------------------------------- */
static gr_str session_row(gr_ctx *ctx, uint64_t version, gr_str room, gr_str session)
{
    return row(ctx, 'k', version, gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){room, {"", 1}, session}));
}

/* The first key that could come after this one: a room's keys all end in its name and a NUL. */
static gr_str behind(gr_ctx *ctx, gr_str key, char last)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){key, {&last, 1}});
}

static bool is_session(const gr_json *j)
{
    return gr_json_is(gr_json_get(j, "first_message_index"), GR_JSON_INT)
           && gr_json_is(gr_json_get(j, "forwarded_count"), GR_JSON_INT)
           && gr_json_is(gr_json_get(j, "is_verified"), GR_JSON_BOOL)
           && gr_json_is(gr_json_get(j, "session_data"), GR_JSON_OBJECT);
}

static bool is_better(const gr_json *a, const gr_json *b)
{
    bool verified = gr_json_boolean(gr_json_get(a, "is_verified"), false);
    if (verified != gr_json_boolean(gr_json_get(b, "is_verified"), false)) return verified;
    int64_t first = gr_json_integer(gr_json_get(a, "first_message_index"), 0);
    int64_t other = gr_json_integer(gr_json_get(b, "first_message_index"), 0);
    if (first != other) return first < other;
    return gr_json_integer(gr_json_get(a, "forwarded_count"), 0)
           < gr_json_integer(gr_json_get(b, "forwarded_count"), 0);
}

static gr_err put_session(gr_ctx *ctx, uint64_t version, gr_user_backup *b, const gr_user_backup_session *s,
                          bool *changed)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *given = NULL, *held = NULL;
    gr_str before;
    bool named = s->room.size && s->room.size <= SESSION_ID_MAX && s->session.size
                 && s->session.size <= SESSION_ID_MAX && !memchr(s->room.ptr, '\0', s->room.size)
                 && !memchr(s->session.ptr, '\0', s->session.size);
    if (!named) return gr_fail(GR_INVALID_PARAM, "A room id or session id is not valid");
    if (s->data.size > GR_BACKUP_SESSION_MAX)
        return gr_fail(GR_TOO_LARGE, "The key of a session is too large");
    gr_err err = gr_json_parse(a, s->data, GR_JSON_LAX, &given);
    if (gr_failed(err)) return err;
    if (!is_session(given))
        return gr_fail(
            GR_BAD_JSON,
            "A key needs 'first_message_index', 'forwarded_count', 'is_verified' and 'session_data'");
    gr_str key = session_row(ctx, version, s->room, s->session);
    if (!gr_ctx_get(ctx, key, &before)) b->count++;
    else if (!gr_failed(gr_json_parse(a, before, GR_JSON_LAX, &held)) && !is_better(given, held))
        return gr_ok();
    gr_ctx_put(ctx, key, s->data);
    *changed = true;
    return gr_ok();
}

static void reply_state(gr_ctx *ctx, const gr_user_backup *b, bool more)
{
    gr_user_backup_state state = {.etag = b->etag, .count = b->count, .more = more};
    gr_ctx_reply(ctx, &gr_type_user_backup_state, &state);
}

void gr_backup_on_put(const gr_user_backup_put *m, gr_ctx *ctx)
{
    uint64_t version, current = newest(ctx);
    gr_user_backup b;
    bool changed = false;
    gr_err err = gr_ok();
    if (!find(ctx, m->version, &version, &b)) {
        fail_unknown(ctx);
        return;
    }
    if (version != current) {
        gr_user_backup_state refused = {.current = version_text(ctx, current)};
        gr_ctx_reply(ctx, &gr_type_user_backup_state, &refused);
        return;
    }
    if (m->sessions.count > GR_BACKUP_STEP) err = gr_fail(GR_TOO_LARGE, "Too many keys in one message");
    for (size_t i = 0; i < m->sessions.count && !gr_failed(err); i++)
        err = put_session(ctx, version, &b, &m->sessions.at[i], &changed);
    if (gr_failed(err)) {
        gr_ctx_undo(ctx);
        gr_ctx_fail(ctx, err);
        return;
    }
    if (changed) {
        b.etag++;
        save(ctx, version, &b);
    }
    reply_state(ctx, &b, false);
}

/* The rows that a room and a session (each may be empty) stand for. */
static void range_of(gr_ctx *ctx, uint64_t version, gr_str room, gr_str session, gr_str *from, gr_str *to)
{
    if (session.size) {
        *from = session_row(ctx, version, room, session);
        *to = behind(ctx, *from, '\0');
    } else if (room.size) {
        *from = session_row(ctx, version, room, (gr_str){0});
        *to = row(ctx, 'k', version, behind(ctx, room, 1));
    } else {
        *from = row(ctx, 'k', version, (gr_str){0});
        *to = version == UINT64_MAX ? GR_STR("bl") : row(ctx, 'k', version + 1, (gr_str){0});
    }
}

typedef struct {
    gr_ctx *ctx;
    size_t count, bytes;
} deleting;

static bool delete_row(void *arg, gr_str key, gr_str value)
{
    deleting *d = arg;
    gr_ctx_del(d->ctx, key);
    d->count++;
    d->bytes += key.size + value.size;
    return d->bytes < GR_KEYS_PAGE_BYTES;
}

static bool was_full(const deleting *d) { return d->count == PAGE_ROWS || d->bytes >= GR_KEYS_PAGE_BYTES; }

void gr_backup_on_drop(const gr_user_backup_drop *m, gr_ctx *ctx)
{
    uint64_t version;
    gr_user_backup b;
    gr_str from, to;
    deleting d = {.ctx = ctx};
    if (!find(ctx, m->version, &version, &b)) {
        fail_unknown(ctx);
        return;
    }
    range_of(ctx, version, m->room, m->session, &from, &to);
    gr_ctx_scan(ctx, from, to, false, PAGE_ROWS, delete_row, &d);
    if (d.count) {
        b.count -= d.count < b.count ? d.count : b.count;
        b.etag++;
        save(ctx, version, &b);
    }
    reply_state(ctx, &b, was_full(&d));
}

typedef struct {
    gr_arena *arena;
    size_t count, bytes;
    bool full;
    gr_user_backup_session at[PAGE_ROWS];
} page;

/* Key: b k version room 0 session. */
static bool take_session(void *arg, gr_str key, gr_str value)
{
    page *p = arg;
    gr_str name = gr_str_from(gr_arena_str(p->arena, key), 10);
    ptrdiff_t end = gr_str_find(name, '\0');
    p->full = p->count == PAGE_ROWS || (p->count && p->bytes + key.size + value.size > GR_KEYS_PAGE_BYTES);
    if (p->full || end < 0) return !p->full;
    p->bytes += key.size + value.size;
    p->at[p->count++] = (gr_user_backup_session){.room = gr_str_head(name, (size_t)end),
                                                 .session = gr_str_from(name, (size_t)end + 1),
                                                 .data = gr_arena_str(p->arena, value)};
    return true;
}

void gr_backup_on_get(const gr_user_backup_get *m, gr_ctx *ctx)
{
    uint64_t version;
    gr_user_backup b;
    gr_str from, to;
    page *p = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *p);
    p->arena = gr_ctx_arena(ctx);
    if (!find(ctx, m->version, &version, &b)) {
        fail_unknown(ctx);
        return;
    }
    range_of(ctx, version, m->room, m->session, &from, &to);
    if (m->after_session.size)
        from = behind(ctx, session_row(ctx, version, m->after_room, m->after_session), '\0');
    gr_ctx_scan(ctx, from, to, false, PAGE_ROWS + 1, take_session, p);
    gr_user_backup_page reply = {.sessions = {p->at, p->count}, .more = p->full};
    gr_ctx_reply(ctx, &gr_type_user_backup_page, &reply);
}

/* --- sweeping ---------------------------------------------------------------------------------------------- */
typedef struct {
    uint64_t version;
    bool found;
} unswept;

static bool take_unswept(void *arg, gr_str key, gr_str value)
{
    unswept *u = arg;
    if (!gr_str_is(value, "N") || key.size != 10) return true;
    *u = (unswept){gr_u64be(key.ptr + 2), true};
    return false;
}

/* A part of a deleted version a turn; what stays of it is that there was one. */
void gr_backup_on_sweep_timer(gr_ctx *ctx)
{
    unswept u = {0};
    gr_str from, to;
    deleting d = {.ctx = ctx};
    gr_ctx_scan(ctx, GR_STR("bd"), GR_STR("be"), true, GR_HANDLER_ROWS_MAX, take_unswept, &u);
    if (!u.found) return;
    range_of(ctx, u.version, (gr_str){0}, (gr_str){0}, &from, &to);
    gr_ctx_scan(ctx, from, to, false, PAGE_ROWS, delete_row, &d);
    if (!was_full(&d)) gr_ctx_put(ctx, row(ctx, 'd', u.version, (gr_str){0}), GR_STR("K"));
    gr_ctx_timer(ctx, GR_STR("backup"), gr_ctx_now_ms(ctx), true);
}
