/* keys.c - keys of devices: upload, query, who is told of a change, and sweeping after devices. See keys.h. */
#include "actors/user/keys.h"

#include "proto/ident.h"
#include "proto/sign.h"

#include <stdlib.h>

gr_str gr_keys_row(gr_ctx *ctx, char sub, gr_str a)
{
    return gr_user_key(ctx, 'k', gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){{&sub, 1}, a}));
}

gr_str gr_keys_row2(gr_ctx *ctx, char sub, gr_str a, gr_str b)
{
    return gr_user_key2(ctx, 'k', gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){{&sub, 1}, a}), b);
}

bool gr_keys_has_device(gr_ctx *ctx, gr_str device)
{
    gr_str row;
    return gr_ident_device(device) && gr_ctx_get(ctx, gr_user_key(ctx, 'd', device), &row);
}

/* --- telling others ---------------------------------------------------------------------------------------- */
/* C <position> <user>: one row a user, the newest change. */
static gr_str note_row(gr_ctx *ctx, uint64_t position, gr_str user)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){gr_user_key_number(ctx, 'C', position), user});
}

void gr_keys_note(gr_ctx *ctx, gr_str user)
{
    gr_str row = gr_keys_row(ctx, 'n', user), before;
    uint64_t position = gr_ctx_position(ctx);
    gr_buf bytes = {0};
    if (gr_ctx_get(ctx, row, &before) && before.size == 8)
        gr_ctx_del(ctx, note_row(ctx, gr_u64be(before.ptr), user));
    gr_buf_u64be(&bytes, position);
    gr_ctx_put(ctx, row, gr_buf_view(&bytes));
    gr_ctx_put(ctx, note_row(ctx, position, user), user);
    gr_buf_free(&bytes);
}

typedef struct {
    gr_arena *arena;
    gr_strs users;
} notes;

static bool take_note(void *arg, gr_str key, gr_str value)
{
    notes *n = arg;
    (void)key;
    n->users.at[n->users.count++] = gr_arena_str(n->arena, value);
    return true;
}

gr_strs gr_keys_noted_after(gr_ctx *ctx, uint64_t position)
{
    notes n = {gr_ctx_arena(ctx),
               {gr_arena_alloc(gr_ctx_arena(ctx), GR_HANDLER_ROWS_MAX * sizeof(gr_str)), 0}};
    gr_ctx_scan(ctx, gr_user_key_number(ctx, 'C', position + 1), GR_STR("D"), false, GR_HANDLER_ROWS_MAX,
                take_note, &n);
    return n.users;
}

static int by_id(const void *x, const void *y) { return gr_str_cmp(*(const gr_str *)x, *(const gr_str *)y); }

/* Tells the next rooms after that one; kr and the timer remember how far it came. */
static void spread(gr_user *u, gr_ctx *ctx, gr_str after)
{
    gr_str *rooms = gr_arena_alloc(gr_ctx_arena(ctx), u->room_count * sizeof *rooms),
           cursor = gr_keys_row(ctx, 'r', (gr_str){0});
    gr_room_keys_changed body = {.user = u->id};
    size_t count = 0, told = 0;
    for (size_t i = 0; i < u->room_count; i++) {
        const gr_user_room *r = &u->rooms[i];
        bool shown = r->encrypted && gr_str_is(r->membership, "join");
        if (shown && gr_str_cmp(r->room_id, after) > 0) rooms[count++] = r->room_id;
    }
    if (count) qsort(rooms, count, sizeof *rooms, by_id);
    for (; told < count && told < GR_KEYS_ROOMS_STEP; told++)
        gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, rooms[told]), &gr_type_room_keys_changed,
                    &body);
    if (told < count) {
        gr_ctx_put(ctx, cursor, rooms[told - 1]);
        gr_ctx_timer(ctx, GR_STR("keys"), gr_ctx_now_ms(ctx), true);
    } else {
        gr_ctx_del(ctx, cursor);
    }
}

void gr_keys_on_spread_timer(gr_user *u, gr_ctx *ctx)
{
    gr_str after;
    if (gr_ctx_get(ctx, gr_keys_row(ctx, 'r', (gr_str){0}), &after)) spread(u, ctx, after);
}

/* A change during a spread starts it again: rooms told twice do no harm. */
void gr_keys_announce(gr_user *u, gr_ctx *ctx)
{
    gr_keys_note(ctx, u->id);
    spread(u, ctx, (gr_str){0});
    gr_user_changed(u, ctx);
}

/* --- upload ------------------------------------------------------------------------------------------------ */
static bool all_strings(const gr_json *j)
{
    for (uint32_t i = 0; i < j->count; i++) {
        const gr_json *item = j->kind == GR_JSON_ARRAY ? &j->items[i] : &j->members[i].value;
        if (!gr_json_is(item, GR_JSON_STRING)) return false;
    }
    return true;
}

static gr_err check_device_keys(const gr_user *u, gr_str device, const gr_json *keys)
{
    const gr_json *algorithms = gr_json_get(keys, "algorithms"), *public_keys = gr_json_get(keys, "keys");
    const gr_json *signatures = gr_json_get(keys, "signatures");
    if (!gr_json_is(keys, GR_JSON_OBJECT)) return gr_fail(GR_BAD_JSON, "'device_keys' must be an object");
    if (!gr_str_eq(gr_json_text(keys, "user_id"), u->id))
        return gr_fail(GR_INVALID_PARAM, "'user_id' in 'device_keys' is not the user who uploads");
    if (!gr_str_eq(gr_json_text(keys, "device_id"), device))
        return gr_fail(GR_INVALID_PARAM, "'device_id' in 'device_keys' is not the device that uploads");
    if (!gr_json_is(algorithms, GR_JSON_ARRAY) || !all_strings(algorithms))
        return gr_fail(GR_BAD_JSON, "'algorithms' in 'device_keys' must be an array of strings");
    if (!gr_json_is(public_keys, GR_JSON_OBJECT) || !all_strings(public_keys))
        return gr_fail(GR_BAD_JSON, "'keys' in 'device_keys' must be an object of strings");
    if (!gr_json_is(signatures, GR_JSON_OBJECT))
        return gr_fail(GR_BAD_JSON, "'signatures' in 'device_keys' must be an object");
    for (uint32_t i = 0; i < signatures->count; i++) {
        const gr_json *of = &signatures->members[i].value;
        if (!gr_json_is(of, GR_JSON_OBJECT) || !all_strings(of))
            return gr_fail(GR_BAD_JSON,
                           "'signatures' in 'device_keys' must be an object of objects of strings");
    }
    return gr_ok();
}

/* Keys that are there already stay as they are, with the signatures that were added to them. */
static gr_err put_device_keys(gr_user *u, gr_ctx *ctx, gr_str device, const gr_json *keys, bool *changed)
{
    static const char *const unsigned_only[] = {"unsigned", NULL};
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str row = gr_keys_row(ctx, 'd', device), held;
    const gr_json *before = NULL;
    gr_err err = check_device_keys(u, device, keys);
    if (gr_failed(err)) return err;
    if (gr_ctx_get(ctx, row, &held) && gr_failed(gr_json_parse(a, held, GR_JSON_LAX, &before))) before = NULL;
    if (before && gr_str_eq(gr_sign_text(a, before), gr_sign_text(a, keys))) return gr_ok();
    gr_buf text = {0};
    gr_json_print_without(&text, keys, unsigned_only);
    if (text.size > GR_DEVICE_KEYS_MAX) err = gr_fail(GR_TOO_LARGE, "'device_keys' is too large");
    else gr_ctx_put(ctx, row, gr_buf_view(&text));
    gr_buf_free(&text);
    *changed = !gr_failed(err);
    return err;
}

/* Rows of an earlier device of that id, if they have not been swept yet. */
static void sweep_keys_first(gr_ctx *ctx, gr_str device)
{
    gr_str row = gr_keys_row(ctx, 'g', device), gone;
    if (!gr_ctx_get(ctx, row, &gone) || gone.size != 9 || gone.ptr[8] == 'K') return;
    gr_one_time_keys_sweep(ctx, device);
    gr_ctx_put(ctx, row, gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){gr_str_head(gone, 8), GR_STR("K")}));
}

static gr_err optional_object(const gr_json *body, const char *key, const gr_json **out)
{
    *out = gr_json_get(body, key);
    if (gr_json_is(*out, GR_JSON_NULL)) *out = NULL;
    return !*out || gr_json_is(*out, GR_JSON_OBJECT)
               ? gr_ok()
               : gr_fail(GR_BAD_JSON, "Keys must be given as an object");
}

static gr_err upload(gr_user *u, const gr_user_keys_upload *m, gr_ctx *ctx, bool *changed, bool *moved)
{
    const gr_json *body = NULL, *device_keys, *keys, *fallback;
    if (!gr_keys_has_device(ctx, m->device))
        return gr_fail(GR_INVALID_PARAM, "Keys belong to a device: log in with one");
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), m->body, GR_JSON_LAX, &body);
    if (!gr_failed(err)) err = optional_object(body, "device_keys", &device_keys);
    if (!gr_failed(err)) err = optional_object(body, "one_time_keys", &keys);
    if (!gr_failed(err)) err = optional_object(body, "fallback_keys", &fallback);
    if (gr_failed(err)) return err;
    sweep_keys_first(ctx, m->device);
    if (device_keys) err = put_device_keys(u, ctx, m->device, device_keys, changed);
    if (!gr_failed(err) && (keys || fallback))
        err = gr_one_time_keys_add(ctx, m->device, keys, fallback, moved);
    return err;
}

void gr_keys_on_upload(gr_user *u, const gr_user_keys_upload *m, gr_ctx *ctx)
{
    bool changed = false, moved = false;
    gr_str counts, fallback_types;
    gr_err err = upload(u, m, ctx, &changed, &moved);
    if (gr_failed(err)) {
        gr_ctx_undo(ctx);
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_user_key_counts(ctx, m->device, &counts, &fallback_types);
    gr_ctx_json(ctx, gr_arena_cat(gr_ctx_arena(ctx), 3,
                                  (gr_str[]){GR_STR("{\"one_time_key_counts\":"), counts, GR_STR("}")}));
    if (changed) gr_keys_tell_device(ctx, m->device);
    if (changed) gr_keys_announce(u, ctx);
    else if (moved) gr_user_changed(u, ctx);
}

/* --- query ------------------------------------------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    const gr_strs *wanted;
    gr_str ids[GR_KEYS_PAGE_DEVICES], texts[GR_KEYS_PAGE_DEVICES];
    size_t count, bytes, rows;
    gr_str last;
    bool full;
} page;

static bool is_wanted(const gr_strs *wanted, gr_str device)
{
    for (size_t i = 0; i < wanted->count; i++)
        if (gr_str_eq(wanted->at[i], device)) return true;
    return wanted->count == 0;
}

static bool take_device(void *arg, gr_str key, gr_str value)
{
    page *p = arg;
    gr_str device = gr_str_from(key, 2);
    p->full = p->count == GR_KEYS_PAGE_DEVICES || ++p->rows == GR_HANDLER_ROWS_MAX
              || p->bytes + value.size > GR_KEYS_PAGE_BYTES;
    if (p->full) return false;
    p->bytes += value.size;
    p->last = gr_arena_str(p->arena, device);
    if (!is_wanted(p->wanted, device)) return true;
    p->ids[p->count] = p->last;
    p->texts[p->count++] = gr_arena_str(p->arena, value);
    return true;
}

gr_str gr_keys_display_name(gr_ctx *ctx, gr_str device)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, gr_user_key(ctx, 'd', device), &bytes)) return (gr_str){0};
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_user_device, bytes, &body))) return (gr_str){0};
    return ((gr_user_device *)body)->display_name;
}

static gr_str unsigned_of(gr_ctx *ctx, gr_str device)
{
    gr_buf member = {0};
    gr_jw w = gr_jw_begin(&member);
    gr_str name = gr_keys_display_name(ctx, device);
    gr_jw_object(&w);
    if (name.size) gr_jw_kstr(&w, "device_display_name", name);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&member));
    gr_buf_free(&member);
    return text;
}

/* The stored object with an "unsigned" member: it is spliced in before the last bracket. */
static gr_str with_unsigned(gr_ctx *ctx, gr_str text, gr_str object)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 4,
                        (gr_str[]){gr_str_head(text, text.size - 1), GR_STR(",\"unsigned\":"), object, GR_STR("}")});
}

static gr_str devices_of(gr_ctx *ctx, const page *p, gr_keys_unsigned_fn *unsigned_of_device)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (size_t i = 0; i < p->count; i++) {
        gr_jw_key_str(&w, p->ids[i]);
        gr_jw_raw(&w, unsigned_of_device ? with_unsigned(ctx, p->texts[i], unsigned_of_device(ctx, p->ids[i])) : p->texts[i]);
    }
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(p->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

void gr_keys_read_page(gr_ctx *ctx, const gr_user_keys_query *m, gr_keys_unsigned_fn *unsigned_of_device, gr_user_keys *out)
{
    page p = {.arena = gr_ctx_arena(ctx), .wanted = &m->devices};
    gr_str from =
        m->after.size ? gr_keys_row2(ctx, 'd', m->after, (gr_str){0}) : gr_keys_row(ctx, 'd', (gr_str){0});
    *out = (gr_user_keys){0};
    gr_ctx_scan(ctx, from, GR_STR("ke"), false, 0, take_device, &p);
    out->device_keys = devices_of(ctx, &p, unsigned_of_device);
    if (p.full) out->next = p.last;
    if (m->after.size) return;
    gr_ctx_get(ctx, gr_keys_row(ctx, 'x', GR_STR("master")), &out->master);
    gr_ctx_get(ctx, gr_keys_row(ctx, 'x', GR_STR("self_signing")), &out->self_signing);
}

void gr_keys_on_query(gr_user *u, const gr_user_keys_query *m, gr_ctx *ctx)
{
    gr_user_keys keys = {0};
    if (!u->exists) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such user"));
        return;
    }
    gr_keys_read_page(ctx, m, unsigned_of, &keys);
    keys.changed_at = gr_keys_stream_id(ctx);
    if (m->after.size == 0 && m->own) gr_ctx_get(ctx, gr_keys_row(ctx, 'x', GR_STR("user_signing")), &keys.user_signing);
    gr_ctx_reply(ctx, &gr_type_user_keys, &keys);
}

/* --- devices that have gone -------------------------------------------------------------------------------- */
void gr_user_keys_device_gone(gr_ctx *ctx, gr_str device)
{
    gr_buf gone = {0};
    gr_ctx_del(ctx, gr_keys_row(ctx, 'd', device));
    gr_ctx_del(ctx, gr_keys_row(ctx, 'c', device));
    gr_buf_u64be(&gone, gr_ctx_position(ctx));
    gr_buf_char(&gone, 'N');
    gr_ctx_put(ctx, gr_keys_row(ctx, 'g', device), gr_buf_view(&gone));
    gr_buf_free(&gone);
    gr_to_device_gone(ctx, device);
}

void gr_user_keys_devices_gone(gr_user *u, gr_ctx *ctx)
{
    gr_ctx_timer(ctx, GR_STR("sweep"), gr_ctx_now_ms(ctx), true);
    gr_keys_announce(u, ctx);
}

typedef struct {
    gr_arena *arena;
    gr_str device, gone;
} sweeping;

static bool take_gone(void *arg, gr_str key, gr_str value)
{
    sweeping *s = arg;
    s->device = gr_str_from(gr_arena_str(s->arena, key), 2);
    s->gone = gr_arena_str(s->arena, value);
    return false;
}

/* One device, or a part of one, a turn. */
void gr_keys_on_sweep_timer(gr_ctx *ctx)
{
    sweeping s = {.arena = gr_ctx_arena(ctx)};
    gr_ctx_scan_prefix(ctx, GR_STR("kg"), 1, take_gone, &s);
    if (s.gone.size != 9) return;
    gr_ctx_timer(ctx, GR_STR("sweep"), gr_ctx_now_ms(ctx), true);
    if (s.gone.ptr[8] == 'N') {
        gr_keys_tell_device(ctx, s.device);
        sweep_keys_first(ctx, s.device);
    } else if (!gr_to_device_sweep(ctx, s.device, gr_u64be(s.gone.ptr))) {
        gr_ctx_del(ctx, gr_keys_row(ctx, 'g', s.device));
    }
}
