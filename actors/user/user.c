/* user.c - the user actor: load, dispatch, inspect. See user.h. */
#include "actors/user/account.h"
#include "actors/user/keys.h"
#include "actors/user/data.h"

#include <stdlib.h>

/* --- keys of rows ------------------------------------------------------------------------------------------ */
static gr_str key_of(gr_ctx *ctx, char letter, gr_str a, gr_str b, gr_str c)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 4, (gr_str[]){{&letter, 1}, a, b, c});
}

static const gr_str nul = {"", 1};

gr_str gr_user_key(gr_ctx *ctx, char letter, gr_str text) { return key_of(ctx, letter, text, (gr_str){0}, (gr_str){0}); }
gr_str gr_user_key2(gr_ctx *ctx, char letter, gr_str a, gr_str b) { return key_of(ctx, letter, a, nul, b); }

gr_str gr_user_key_number(gr_ctx *ctx, char letter, uint64_t number)
{
    return gr_arena_key(gr_ctx_arena(ctx), letter, number);
}

gr_str gr_user_key_text_number(gr_ctx *ctx, char letter, gr_str text, uint64_t number)
{
    return key_of(ctx, letter, text, nul, gr_str_from(gr_user_key_number(ctx, letter, number), 1));
}

/* --- the actor --------------------------------------------------------------------------------------------- */
static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_user *u = self;
    u->id = (gr_str){gr_str_dup(id), id.size};
    gr_user_account_load(u, ctx);
    gr_user_rooms_load(u, ctx);
    u->written_at = gr_ctx_newest(ctx);
}

static void on_timer(gr_user *u, gr_str name, gr_ctx *ctx)
{
    if (gr_str_is(name, "wait")) gr_user_on_wait_timer(u, ctx);
    else if (gr_str_is(name, "keys")) gr_keys_on_spread_timer(u, ctx);
    else if (gr_str_is(name, "sweep")) gr_keys_on_sweep_timer(ctx);
    else if (gr_str_is(name, "backup")) gr_backup_on_sweep_timer(ctx);
    else if (gr_str_is(name, "valid")) gr_user_on_valid_timer(u, ctx);
    else if (gr_str_is(name, "devices")) gr_user_sweep_on_devices_timer(u, ctx);
    else if (gr_str_is(name, "erase")) gr_user_sweep_erase(ctx);
    else gr_user_spread_on(u, name, ctx);
}

/* Messages about the account itself. */
static bool dispatch_account(gr_user *self, const gr_msg *m, gr_ctx *ctx)
{
    switch (m->type->id) {
    case GR_T_user_create: gr_user_on_create(self, m->body, ctx); return true;
    case GR_T_user_auth_info: gr_user_on_auth_info(self, m->body, ctx); return true;
    case GR_T_user_valid: gr_user_on_valid(self, m->body, ctx); return true;
    case GR_T_user_renew: gr_user_on_renew(self, m->body, ctx); return true;
    case GR_T_user_threepid_put: gr_user_on_threepid_put(self, m->body, ctx); return true;
    case GR_T_user_threepids: gr_user_on_threepids(ctx); return true;
    case GR_T_user_threepid_drop: gr_user_on_threepid_drop(self, m->body, ctx); return true;
    case GR_T_user_guessed: gr_user_on_guessed(self, m->body, ctx); return true;
    case GR_T_user_login: gr_user_on_login(self, m->body, ctx); return true;
    case GR_T_user_logout: gr_user_on_logout(self, m->body, ctx); return true;
    case GR_T_user_password: gr_user_on_password(self, m->body, ctx); return true;
    case GR_T_user_deactivate: gr_user_on_deactivate(self, m->body, ctx); return true;
    case GR_T_user_devices: gr_user_on_devices(self, m->body, ctx); return true;
    case GR_T_user_device_put: gr_user_on_device_put(self, m->body, ctx); return true;
    case GR_T_user_seen: gr_user_on_seen(self, m->body, ctx); return true;
    default: return false;
    }
}

static void dispatch(gr_user *self, const gr_msg *m, gr_ctx *ctx)
{
    if (m->verb == GR_REPLY || dispatch_account(self, m, ctx)) return;     /* a reply: what became of a mail */
    switch (m->type->id) {
    case GR_T_user_profile: gr_user_on_profile(self, ctx); return;
    case GR_T_user_profile_get: gr_user_on_profile_get(self, m->body, ctx); return;
    case GR_T_user_profile_put: gr_user_on_profile_put(self, m->body, ctx); return;
    case GR_T_user_membership: gr_user_on_membership(self, m->body, ctx); return;
    case GR_T_user_outside_look: gr_user_on_outside_look(self, m->body, ctx); return;
    case GR_T_user_outside: gr_user_on_outside(self, m->body, ctx); return;
    case GR_T_user_joined_rooms: gr_user_on_joined_rooms(self, ctx); return;
    case GR_T_user_forget: gr_user_on_forget(self, m->body, ctx); return;
    case GR_T_user_in_rooms: gr_user_on_in_rooms(self, m->body, ctx); return;
    case GR_T_user_sync: gr_user_on_sync(self, m->body, ctx); return;
    case GR_T_user_wake: gr_user_on_wake(self, ctx); return;
    case GR_T_user_room_at: gr_user_on_room_at(self, m->body, ctx); return;
    case GR_T_user_encrypted_rooms: gr_user_on_encrypted_rooms(self, ctx); return;
    case GR_T_user_account_data_put: gr_user_on_account_data_put(self, m->body, ctx); return;
    case GR_T_user_account_data_get: gr_user_on_account_data_get(self, m->body, ctx); return;
    case GR_T_user_tag_put: gr_user_on_tag_put(self, m->body, ctx); return;
    case GR_T_user_tag_delete: gr_user_on_tag_delete(self, m->body, ctx); return;
    case GR_T_user_tag_list: gr_user_on_tag_list(self, m->body, ctx); return;
    case GR_T_user_push_rules_get: gr_user_on_push_rules_get(self, m->body, ctx); return;
    case GR_T_user_push_rule_put: gr_user_on_push_rule_put(self, m->body, ctx); return;
    case GR_T_user_push_rule_delete: gr_user_on_push_rule_delete(self, m->body, ctx); return;
    case GR_T_user_filter_put: gr_user_on_filter_put(self, m->body, ctx); return;
    case GR_T_user_filter_get: gr_user_on_filter_get(self, m->body, ctx); return;
    case GR_T_user_ignored: gr_user_on_ignored(ctx); return;
    case GR_T_user_notifications: gr_user_on_notifications(self, m->body, ctx); return;
    case GR_T_user_keys_upload: gr_keys_on_upload(self, m->body, ctx); return;
    case GR_T_user_keys_query: gr_keys_on_query(self, m->body, ctx); return;
    case GR_T_user_keys_claim: gr_one_time_keys_on_claim(self, m->body, ctx); return;
    case GR_T_user_cross_signing: gr_cross_signing_on_upload(self, m->body, ctx); return;
    case GR_T_user_sign: gr_cross_signing_on_sign(self, m->body, ctx); return;
    case GR_T_user_signed: gr_cross_signing_on_signed(m->body, ctx); return;
    case GR_T_user_send_to_device: gr_to_device_on_send(self, m->body, ctx); return;
    case GR_T_to_device_put: gr_to_device_on_put(self, m->body, ctx); return;
    case GR_T_user_backup_make: gr_backup_on_make(m->body, ctx); return;
    case GR_T_user_backup_info: gr_backup_on_info(m->body, ctx); return;
    case GR_T_user_backup_set: gr_backup_on_set(m->body, ctx); return;
    case GR_T_user_backup_end: gr_backup_on_end(m->body, ctx); return;
    case GR_T_user_backup_put: gr_backup_on_put(m->body, ctx); return;
    case GR_T_user_backup_drop: gr_backup_on_drop(m->body, ctx); return;
    case GR_T_user_backup_get: gr_backup_on_get(m->body, ctx); return;
    case GR_T_timer: on_timer(self, ((const gr_timer *)m->body)->name, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A user does not take this message"));
    }
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_user *u = self;
    dispatch(u, m, ctx);
    if (gr_ctx_has_written(ctx)) u->written_at = gr_ctx_newest(ctx);
}

static void drop(void *self)
{
    gr_user *u = self;
    gr_user_waiters_drop(u);
    gr_user_rooms_drop(u);
    gr_user_account_drop(u);
    free((char *)u->id.ptr);
}

static bool busy(const void *self) { return ((const gr_user *)self)->waiter_count > 0; }

static size_t memory(const void *self)
{
    const gr_user *u = self;
    return u->room_space * sizeof *u->rooms + u->room_count * 160 + u->waiter_count * 160;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_user *u = self;
    size_t joined = 0;
    for (size_t i = 0; i < u->room_count; i++) joined += gr_str_is(u->rooms[i].membership, "join");
    gr_buf_printf(out, "\"exists\":%s,\"deactivated\":%s,\"rooms\":%zu,\"joined\":%zu,\"waiters\":%zu",
                  u->exists ? "true" : "false", u->deactivated ? "true" : "false", u->room_count, joined, u->waiter_count);
    gr_buf_c(out, ",\"terms\":");
    gr_user_account_inspect(ctx, out);
    gr_buf_char(out, ',');
    gr_user_devices_inspect(ctx, out);
}

const gr_actor_kind gr_user_kind = {.kind = GR_KIND_USER, .size = sizeof(gr_user), .load = load, .handle = handle, .drop = drop,
                                    .busy = busy, .memory = memory, .inspect = inspect};
