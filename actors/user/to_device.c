/* to_device.c - to-device messages: sending them once, and keeping them until a device has them. See keys.h. */
#include "actors/user/keys.h"

#include "proto/base64.h"
#include "proto/ident.h"

enum { DELETE_MAX = 200 };

/* --- inboxes ----------------------------------------------------------------------------------------------- */
static gr_user_inbox read_inbox(gr_ctx *ctx, gr_str device)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, gr_user_key(ctx, 't', device), &bytes)) return (gr_user_inbox){0};
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_user_inbox, bytes, &body)))
        return (gr_user_inbox){0};
    return *(gr_user_inbox *)body;
}

static void write_inbox(gr_ctx *ctx, gr_str device, const gr_user_inbox *inbox)
{
    gr_ctx_put_body(ctx, gr_user_key(ctx, 't', device), &gr_type_user_inbox, inbox);
}

typedef struct {
    gr_ctx *ctx;
    size_t count, bytes, bytes_max;
} deleting;

static bool delete_row(void *arg, gr_str key, gr_str value)
{
    deleting *d = arg;
    gr_ctx_del(d->ctx, key);
    d->count++;
    d->bytes += value.size;
    return d->bytes < d->bytes_max;
}

/* Deletes the oldest events after `from` and up to `upto`, `most` of them; answers how many. */
static size_t delete_events(gr_ctx *ctx, gr_str device, uint64_t from, uint64_t upto, size_t most)
{
    deleting d = {.ctx = ctx, .bytes_max = GR_KEYS_PAGE_BYTES};
    if (upto <= from || upto == UINT64_MAX) return 0;
    gr_ctx_scan(ctx, gr_user_key_text_number(ctx, 't', device, from + 1),
                gr_user_key_text_number(ctx, 't', device, upto + 1), false, most, delete_row, &d);
    return d.count;
}

/* --- for /sync --------------------------------------------------------------------------------------------- */
typedef struct {
    gr_buf *out;
    uint64_t upto;
    size_t before;
} taking;

static bool take_event(void *arg, gr_str key, gr_str value)
{
    taking *t = arg;
    size_t taken = t->out->size - t->before;
    if (taken && taken + value.size > GR_KEYS_PAGE_BYTES) return false;
    if (taken) gr_buf_char(t->out, ',');
    gr_buf_str(t->out, value);
    t->upto = gr_u64be(key.ptr + key.size - 8);
    return true;
}

static void scan_after(gr_ctx *ctx, gr_str device, uint64_t after, size_t limit, gr_ctx_row_fn *fn, void *arg)
{
    gr_ctx_scan(ctx, gr_user_key_text_number(ctx, 't', device, after + 1),
                gr_user_key_text_number(ctx, 't', device, UINT64_MAX), false, limit, fn, arg);
}

void gr_user_to_device_take(gr_ctx *ctx, gr_str device, uint64_t acked, gr_buf *out, uint64_t *upto)
{
    gr_user_inbox inbox = read_inbox(ctx, device);
    *upto = acked;
    if (inbox.count == 0) return;
    size_t deleted = delete_events(ctx, device, inbox.floor, acked, DELETE_MAX);
    if (deleted) {
        inbox.count -= deleted < inbox.count ? deleted : inbox.count;
        write_inbox(ctx, device, &inbox);
    }
    taking t = {out, acked, out->size};
    scan_after(ctx, device, acked > inbox.floor ? acked : inbox.floor, GR_TO_DEVICE_PAGE, take_event, &t);
    *upto = t.upto;
}

static bool is_there(void *arg, gr_str key, gr_str value)
{
    (void)key;
    (void)value;
    *(bool *)arg = true;
    return false;
}

bool gr_user_to_device_waits(gr_ctx *ctx, gr_str device, uint64_t acked)
{
    gr_user_inbox inbox = read_inbox(ctx, device);
    bool any = false;
    if (inbox.count) scan_after(ctx, device, acked > inbox.floor ? acked : inbox.floor, 1, is_there, &any);
    return any;
}

/* --- transactions ------------------------------------------------------------------------------------------ */
static gr_str ring_row(gr_ctx *ctx, gr_str device, uint64_t number)
{
    gr_buf tail = {0};
    gr_buf_char(&tail, '\0');
    gr_buf_u64be(&tail, number % GR_TXNS_KEPT);
    gr_str row = gr_user_key2(ctx, 'x', device, gr_buf_view(&tail));
    gr_buf_free(&tail);
    return row;
}

/* Remembers a transaction in the place of the one GR_TXNS_KEPT before it. */
static void remember(gr_ctx *ctx, gr_str device, gr_str txn_row)
{
    gr_str counter = gr_user_key(ctx, 'x', device), bytes, oldest;
    uint64_t number = gr_ctx_get(ctx, counter, &bytes) && bytes.size == 8 ? gr_u64be(bytes.ptr) : 0;
    gr_str ring = ring_row(ctx, device, number);
    gr_buf next = {0};
    if (gr_ctx_get(ctx, ring, &oldest)) gr_ctx_del(ctx, oldest);
    gr_buf_u64be(&next, number + 1);
    gr_ctx_put(ctx, ring, txn_row);
    gr_ctx_put(ctx, txn_row, GR_STR("1"));
    gr_ctx_put(ctx, counter, gr_buf_view(&next));
    gr_buf_free(&next);
}

/* --- receiving --------------------------------------------------------------------------------------------- */
static void store(gr_ctx *ctx, const gr_to_device_put *m, gr_str device, const gr_json *content)
{
    gr_buf event = {0};
    gr_user_inbox inbox = read_inbox(ctx, device);
    gr_jw w = gr_jw_begin(&event);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "type", m->type);
    gr_jw_kstr(&w, "sender", m->sender);
    gr_jw_kjson(&w, "content", content);
    gr_jw_end_object(&w);
    gr_ctx_put(ctx, gr_user_key_text_number(ctx, 't', device, gr_ctx_position(ctx)), gr_buf_view(&event));
    gr_buf_free(&event);
    if (inbox.count >= GR_TO_DEVICE_MAX && delete_events(ctx, device, inbox.floor, UINT64_MAX - 1, 1))
        inbox.dropped++;
    else inbox.count++;
    write_inbox(ctx, device, &inbox);
}

typedef struct {
    gr_arena *arena;
    size_t count;
    gr_str at[GR_TO_DEVICE_STEP];
} some_devices;

static bool take_device(void *arg, gr_str key, gr_str value)
{
    some_devices *d = arg;
    (void)value;
    d->at[d->count++] = gr_str_from(gr_arena_str(d->arena, key), 1);
    return d->count < GR_TO_DEVICE_STEP;
}

/* "*" stands for all devices but those that are named themselves.  Many devices are served by several messages to
 * oneself, so that each stays small. */
static bool store_for_all(const gr_user *u, gr_ctx *ctx, const gr_to_device_put *m, const gr_json *devices,
                          const gr_json *content)
{
    some_devices some = {.arena = gr_ctx_arena(ctx)};
    gr_str from = m->after.size ? gr_user_key2(ctx, 'd', m->after, (gr_str){0}) : GR_STR("d");
    gr_ctx_scan(ctx, from, GR_STR("e"), false, GR_TO_DEVICE_STEP, take_device, &some);
    for (size_t i = 0; i < some.count; i++)
        if (!gr_json_get_str(devices, some.at[i])) store(ctx, m, some.at[i], content);
    if (some.count == GR_TO_DEVICE_STEP) {
        gr_to_device_put next = *m;
        next.message_id = (gr_str){0};
        next.after = some.at[some.count - 1];
        gr_ctx_post(ctx, gr_address(some.arena, GR_KIND_USER, u->id), &gr_type_to_device_put, &next);
    }
    return some.count > 0;
}

/* No device id has a control character, so this row is of none. */
#define REMOTE GR_STR("\1remote")

/* Another server repeats a transaction until it hears that it has come: true when this message is one that has. */
static bool came_before(const gr_to_device_put *m, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str row, seen;
    if (m->message_id.size == 0) return false;
    row = gr_user_key2(ctx, 'x', REMOTE, gr_arena_cat(a, 3, (gr_str[]){m->sender, {"", 1}, m->message_id}));
    if (gr_ctx_get(ctx, row, &seen)) return true;
    remember(ctx, REMOTE, row);
    return false;
}

void gr_to_device_on_put(gr_user *u, const gr_to_device_put *m, gr_ctx *ctx)
{
    const gr_json *devices = NULL;
    bool any = false;
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), m->devices, GR_JSON_LAX, &devices);
    if (!u->exists || u->deactivated || gr_failed(err) || !gr_json_is(devices, GR_JSON_OBJECT)) {
        gr_ctx_done(ctx);
        return;
    }
    if (came_before(m, ctx)) {
        gr_ctx_done(ctx);
        return;
    }
    const gr_json *for_all = gr_json_get(devices, "*");
    for (uint32_t i = 0; i < devices->count && m->after.size == 0; i++) {
        const gr_json_member *d = &devices->members[i];
        if (&d->value == for_all || !gr_keys_has_device(ctx, d->key)) continue;
        store(ctx, m, d->key, &d->value);
        any = true;
    }
    if (for_all) any |= store_for_all(u, ctx, m, devices, for_all);
    gr_ctx_done(ctx);
    if (any) gr_user_changed(u, ctx);
}

/* --- sending ----------------------------------------------------------------------------------------------- */
/* To a user of another server: an EDU for the queue of that server. Its id is new: a post is applied once. */
static void post_to_server(gr_ctx *ctx, gr_str user, const gr_to_device_put *body)
{
    gr_arena *a = gr_ctx_arena(ctx);
    unsigned char random[16];
    gr_buf edu = {0};
    gr_jw w = gr_jw_begin(&edu);
    gr_ctx_random(ctx, random, sizeof random);
    gr_jw_object(&w);
    gr_jw_key(&w, "content");
    gr_jw_object(&w);
    gr_jw_kstr(&w, "message_id", gr_base64_url(a, gr_str_of(random, sizeof random)));
    gr_jw_key(&w, "messages");
    gr_jw_object(&w);
    gr_jw_key_str(&w, user);
    gr_jw_raw(&w, body->devices);
    gr_jw_end_object(&w);
    gr_jw_kstr(&w, "sender", body->sender);
    gr_jw_kstr(&w, "type", body->type);
    gr_jw_end_object(&w);
    gr_jw_kc(&w, "edu_type", "m.direct_to_device");
    gr_jw_end_object(&w);
    gr_ctx_post(ctx, gr_address(a, GR_KIND_DESTINATION, gr_ident_domain(user)), &gr_type_destination_queue,
                &(gr_destination_queue){.edu = gr_buf_view(&edu)});
    gr_buf_free(&edu);
}

static void post_put(gr_ctx *ctx, gr_str user, gr_to_device_put *body, gr_buf *devices, gr_jw *w)
{
    gr_jw_end_object(w);
    body->devices = gr_buf_view(devices);
    if (gr_ident_is_local(user, gr_env_of(ctx)->server_name))
        gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, user), &gr_type_to_device_put, body);
    else post_to_server(ctx, user, body);
    gr_buf_clear(devices);
}

/* In messages of bounded size; a "*" keeps company with the devices that it does not stand for. */
static void post_to(const gr_user *u, gr_ctx *ctx, const gr_user_send_to_device *m, gr_str user,
                    const gr_json *devices)
{
    gr_to_device_put body = {.sender = u->id, .type = m->type};
    gr_buf text = {0};
    gr_jw w = {0};
    size_t count = 0;
    const gr_json *for_all = gr_json_get(devices, "*");
    for (uint32_t i = 0; i < devices->count; i++) {
        gr_str content = gr_json_printed(gr_ctx_arena(ctx), &devices->members[i].value);
        bool full = count == GR_TO_DEVICE_STEP || text.size + content.size > GR_TO_DEVICE_BYTES;
        if (count && full && !for_all) {
            post_put(ctx, user, &body, &text, &w);
            count = 0;
        }
        if (count++ == 0) {
            w = gr_jw_begin(&text);
            gr_jw_object(&w);
        }
        gr_jw_key_str(&w, devices->members[i].key);
        gr_jw_raw(&w, content);
    }
    if (count) post_put(ctx, user, &body, &text, &w);
    gr_buf_free(&text);
}

void gr_to_device_on_send(gr_user *u, const gr_user_send_to_device *m, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str seen;
    if (!gr_ident_txn(m->txn) || (m->device.size && !gr_ident_device(m->device))) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "The transaction id is not valid"));
        return;
    }
    gr_str row =
        gr_user_key2(ctx, 'x', m->device,
                     gr_arena_printf(a, "%.*s%c%llu", GR_ARG(m->txn), 0, (unsigned long long)m->part));
    if (gr_ctx_get(ctx, row, &seen)) {
        gr_ctx_done(ctx);
        return;
    }
    for (size_t i = 0; i < m->messages.count; i++) {
        const gr_json *devices = NULL;
        gr_err err = gr_json_parse(a, m->messages.at[i].devices, GR_JSON_LAX, &devices);
        if (!gr_failed(err) && gr_json_is(devices, GR_JSON_OBJECT))
            post_to(u, ctx, m, m->messages.at[i].user, devices);
    }
    remember(ctx, m->device, row);
    gr_ctx_done(ctx);
}

/* --- devices that have gone -------------------------------------------------------------------------------- */
void gr_to_device_gone(gr_ctx *ctx, gr_str device)
{
    gr_user_inbox inbox = {.floor = gr_ctx_position(ctx)};
    write_inbox(ctx, device, &inbox);
}

bool gr_to_device_sweep(gr_ctx *ctx, gr_str device, uint64_t position)
{
    deleting d = {.ctx = ctx, .bytes_max = GR_KEYS_PAGE_BYTES};
    if (delete_events(ctx, device, 0, position, DELETE_MAX)) return true;
    if (gr_keys_has_device(ctx, device)) return false;
    gr_ctx_scan_prefix(ctx, gr_user_key2(ctx, 'x', device, (gr_str){0}), DELETE_MAX, delete_row, &d);
    if (d.count) return true;
    gr_ctx_del(ctx, gr_user_key(ctx, 't', device));
    gr_ctx_del(ctx, gr_user_key(ctx, 'x', device));
    return false;
}
