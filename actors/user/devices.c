/* devices.c - devices of an account, and their tokens. See account.h. */
#include "actors/user/account.h"
#include "actors/user/keys.h"

#include "proto/ident.h"
#include "proto/json.h"

static gr_str device_key(gr_ctx *ctx, gr_str device) { return gr_user_key(ctx, 'd', device); }

static bool read_device(gr_ctx *ctx, gr_str bytes, gr_user_device *out)
{
    void *body = NULL;
    gr_err err = gr_body_decode(gr_ctx_arena(ctx), &gr_type_user_device, bytes, &body);
    *out = gr_failed(err) ? (gr_user_device){0} : *(gr_user_device *)body;
    return !gr_failed(err);
}

static bool find_device(gr_ctx *ctx, gr_str device, gr_user_device *out)
{
    gr_str bytes;
    *out = (gr_user_device){0};
    return device.size && gr_ctx_get(ctx, device_key(ctx, device), &bytes) && read_device(ctx, bytes, out);
}

static void put_device(gr_ctx *ctx, gr_str device, const gr_user_device *d)
{
    gr_ctx_put_body(ctx, device_key(ctx, device), &gr_type_user_device, d);
}

static gr_str token_index(gr_ctx *ctx)
{
    return gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_TOKEN, gr_ctx_shard(ctx));
}

/* Clients of the OAuth 2.0 API are kept as long as they have sessions. */
static void tell_client(const gr_user *u, gr_ctx *ctx, gr_str client, gr_str device, bool ended)
{
    gr_client_session session = {.user = u->id, .device = device, .ended = ended};
    if (client.size) gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_CLIENT, client), &gr_type_client_session, &session);
}

/* So that it can end what came of its session. */
static void tell_provider(const gr_user *u, gr_ctx *ctx, const gr_user_device *d, gr_str device, bool ended)
{
    gr_provider_session m = {.session = d->session, .subject = d->subject, .user = u->id, .device = device, .ended = ended};
    gr_str to = gr_address(gr_ctx_arena(ctx), GR_KIND_PROVIDER, d->provider);
    if (d->provider.size) gr_ctx_post(ctx, to, &gr_type_provider_session, &m);
}

void gr_user_on_login(gr_user *u, const gr_user_login *m, gr_ctx *ctx)
{
    gr_user_device d;
    gr_err err = gr_ok();
    if (!u->exists || u->deactivated) err = gr_fail(GR_FORBIDDEN, "There is no such account");
    else if (u->held) err = gr_fail(GR_USER_LOCKED, "This account is no longer valid: renew it by the mail you were sent");
    else if (!gr_ident_device(m->device)) err = gr_fail(GR_INVALID_PARAM, "'device_id' is not a valid device id");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    if (!find_device(ctx, m->device, &d)) d.made_ms = gr_ctx_now_ms(ctx);
    tell_client(u, ctx, d.client, m->device, true);
    tell_client(u, ctx, m->client, m->device, false);
    tell_provider(u, ctx, &d, m->device, true);
    d.client = m->client;
    d.grant = m->grant;
    if (m->display_name.size && d.display_name.size == 0) d.display_name = m->display_name;
    d.ip = m->ip;
    d.agent = m->agent;
    d.seen_ms = d.login_ms = gr_ctx_now_ms(ctx);
    d.provider = m->provider;
    d.session = m->session;
    d.subject = m->subject;
    tell_provider(u, ctx, &d, m->device, false);
    put_device(ctx, m->device, &d);
    gr_token_issue issue = {.user = u->id, .device = m->device, .admin = u->admin, .guest = u->guest,
                            .refreshable = m->refreshable, .client = m->client, .scope = m->scope, .provider = m->provider};
    gr_ctx_post_forward(ctx, token_index(ctx), &gr_type_token_issue, &issue);
}

void gr_user_device_end(const gr_user *u, gr_ctx *ctx, gr_str device, const gr_user_device *d)
{
    tell_client(u, ctx, d->client, device, true);
    tell_provider(u, ctx, d, device, true);
    gr_ctx_del(ctx, device_key(ctx, device));
    gr_user_keys_device_gone(ctx, device);
}

void gr_user_devices_end(gr_user *u, gr_strs devices, gr_str keep, gr_ctx *ctx)
{
    gr_token_drop drop = {.user = u->id, .devices = devices, .keep = keep};
    gr_ctx_post_forward(ctx, token_index(ctx), &gr_type_token_drop, &drop);
    if (devices.count == 0) {
        gr_user_sweep_devices(u, ctx, keep);
        return;
    }
    for (size_t i = 0; i < devices.count; i++) {
        gr_user_device d;
        find_device(ctx, devices.at[i], &d);
        gr_user_device_end(u, ctx, devices.at[i], &d);
    }
    gr_user_keys_devices_gone(u, ctx);
}

/* A provider ends what came of its session: a device that was logged in anew since stays. */
static bool came_of_others(gr_ctx *ctx, const gr_user_logout *m)
{
    gr_user_device d;
    if (m->provider.size == 0) return false;
    bool same = find_device(ctx, m->devices.at[0], &d) && gr_str_eq(d.provider, m->provider) && gr_str_eq(d.session, m->session);
    return !same;
}

void gr_user_on_logout(gr_user *u, const gr_user_logout *m, gr_ctx *ctx)
{
    gr_user_device d;
    bool given_again = m->grant.size && !(find_device(ctx, m->devices.at[0], &d) && gr_str_eq(d.grant, m->grant));
    if (given_again || came_of_others(ctx, m)) {
        gr_ctx_done(ctx);
        return;
    }
    gr_strs step = {m->devices.at, m->devices.count < GR_USER_LOGOUT_STEP ? m->devices.count : GR_USER_LOGOUT_STEP};
    if (step.count < m->devices.count) {           /* the rest by a message of its own, which answers */
        gr_user_logout rest = {.devices = {m->devices.at + step.count, m->devices.count - step.count}};
        gr_ctx_post_forward(ctx, gr_ctx_self(ctx), &gr_type_user_logout, &rest);
    }
    gr_user_devices_end(u, step, m->keep, ctx);
}

typedef struct { gr_ctx *ctx; gr_str ip; bool found; } looking;

static bool look_at(void *arg, gr_str key, gr_str value)
{
    looking *l = arg;
    gr_user_device d;
    (void)key;
    l->found = read_device(l->ctx, value, &d) && gr_str_eq(d.ip, l->ip);
    return !l->found;
}

bool gr_user_devices_seen_at(gr_ctx *ctx, gr_str ip)
{
    looking l = {.ctx = ctx, .ip = ip};
    if (ip.size) gr_ctx_scan_prefix(ctx, GR_STR("d"), GR_USER_DEVICES_LOOKED_MAX, look_at, &l);
    return l.found;
}

/* --- showing ----------------------------------------------------------------------------------------------- */
static void write_device(gr_jw *w, gr_str device, const gr_user_device *d)
{
    gr_jw_object(w);
    gr_jw_kstr(w, "device_id", device);
    if (d->display_name.size) gr_jw_kstr(w, "display_name", d->display_name);
    if (d->ip.size) gr_jw_kstr(w, "last_seen_ip", d->ip);
    if (d->seen_ms) gr_jw_kint(w, "last_seen_ts", (int64_t)d->seen_ms);
    gr_jw_end_object(w);
}

typedef struct { gr_ctx *ctx; gr_jw *w; } showing;

static bool show_device(void *arg, gr_str key, gr_str value)
{
    showing *s = arg;
    gr_user_device d;
    if (read_device(s->ctx, value, &d)) write_device(s->w, gr_str_from(key, 1), &d);
    return true;
}

void gr_user_on_devices(gr_user *u, const gr_user_devices *m, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_user_device d;
    (void)u;
    if (m->device.size && !find_device(ctx, m->device, &d)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such device"));
        return;
    }
    if (m->device.size) {
        write_device(&w, m->device, &d);
    } else {
        gr_jw_object(&w);
        gr_jw_key(&w, "devices");
        gr_jw_array(&w);
        gr_ctx_scan_prefix(ctx, GR_STR("d"), GR_USER_DEVICES_SHOWN_MAX, show_device, &(showing){ctx, &w});
        gr_jw_end_array(&w);
        gr_jw_end_object(&w);
    }
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

static bool inspect_device(void *arg, gr_str key, gr_str value)
{
    showing *s = arg;
    gr_user_device d;
    if (!read_device(s->ctx, value, &d)) return true;
    gr_jw_object(s->w);
    gr_jw_kstr(s->w, "device_id", gr_str_from(key, 1));
    if (d.display_name.size) gr_jw_kstr(s->w, "display_name", d.display_name);
    if (d.ip.size) gr_jw_kstr(s->w, "last_seen_ip", d.ip);
    if (d.provider.size) gr_jw_kstr(s->w, "auth_provider", d.provider);
    if (d.session.size) gr_jw_kstr(s->w, "provider_session", d.session);
    gr_jw_end_object(s->w);
    return true;
}

void gr_user_devices_inspect(gr_ctx *ctx, gr_buf *out)
{
    gr_buf_c(out, "\"devices\":");
    gr_jw w = gr_jw_begin(out);
    gr_jw_array(&w);
    gr_ctx_scan_prefix(ctx, GR_STR("d"), GR_USER_DEVICES_INSPECTED_MAX, inspect_device, &(showing){ctx, &w});
    gr_jw_end_array(&w);
}

void gr_user_on_device_put(gr_user *u, const gr_user_device_put *m, gr_ctx *ctx)
{
    gr_user_device d;
    gr_str keys;
    if (!find_device(ctx, m->device, &d)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such device"));
        return;
    }
    bool is_new = m->named && !gr_str_eq(d.display_name, m->display_name);
    if (is_new) {
        d.display_name = m->display_name;
        put_device(ctx, m->device, &d);
    }
    gr_ctx_done(ctx);
    if (!is_new || !gr_ctx_get(ctx, gr_keys_row(ctx, 'd', m->device), &keys)) return;
    gr_keys_tell_device(ctx, m->device);       /* the name is shown with the keys */
    gr_keys_announce(u, ctx);
}

/* Kept coarsely: a write for every request would cost more than what it tells. */
void gr_user_on_seen(gr_user *u, const gr_user_seen *m, gr_ctx *ctx)
{
    gr_user_device d;
    (void)u;
    if (!find_device(ctx, m->device, &d)) return;
    if (d.seen_ms + GR_USER_SEEN_EVERY_MS > gr_ctx_now_ms(ctx)) return;
    d.ip = m->ip;
    d.agent = m->agent;
    d.seen_ms = gr_ctx_now_ms(ctx);
    put_device(ctx, m->device, &d);
}
