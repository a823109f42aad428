/* profile.c - the profile, and telling rooms and the directory when it changes. See account.h. */
#include "actors/user/account.h"

#include "proto/ident.h"
#include "proto/json.h"

#include <stdlib.h>

static const gr_json *read_profile(gr_ctx *ctx)
{
    gr_str text;
    const gr_json *profile = NULL;
    if (!gr_ctx_get(ctx, GR_STR("y"), &text)) return NULL;
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &profile);
    return gr_failed(err) ? NULL : profile;
}

static void keep_text(gr_str *at, gr_str text)
{
    free((char *)at->ptr);
    *at = text.size ? (gr_str){gr_str_dup(text), text.size} : (gr_str){0};
}

static void keep_names(gr_user *u, const gr_json *profile)
{
    keep_text(&u->displayname, gr_json_text(profile, "displayname"));
    keep_text(&u->avatar_url, gr_json_text(profile, "avatar_url"));
}

void gr_user_profile_load(gr_user *u, gr_ctx *ctx) { keep_names(u, read_profile(ctx)); }

void gr_user_on_profile(gr_user *u, gr_ctx *ctx)
{
    gr_user_profile_is is = {.displayname = u->displayname, .avatar_url = u->avatar_url,
                             .blocks_invites = gr_user_blocks_invites(ctx)};
    if (u->exists) gr_ctx_reply(ctx, &gr_type_user_profile_is, &is);
    else gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such user"));
}

void gr_user_on_profile_get(gr_user *u, const gr_user_profile_get *m, gr_ctx *ctx)
{
    const gr_json *profile = read_profile(ctx), *value = gr_json_get_str(profile, m->field);
    gr_buf out = {0};
    if (!u->exists || (m->field.size && !value)) {
        gr_ctx_fail(ctx, u->exists ? gr_fail(GR_NOT_FOUND, "The profile has no such field")
                                   : gr_fail(GR_NOT_FOUND, "There is no such user"));
        return;
    }
    gr_jw w = gr_jw_begin(&out);
    if (m->field.size) {
        gr_jw_object(&w);
        gr_jw_key_str(&w, m->field);
        gr_jw_json(&w, value);
        gr_jw_end_object(&w);
    } else if (profile) {
        gr_jw_json(&w, profile);
    } else {
        gr_jw_raw(&w, GR_STR("{}"));
    }
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

/* --- changing ---------------------------------------------------------------------------------------------- */
static gr_err check_text(const gr_json *value, size_t size_max, const char *what, gr_arena *arena)
{
    if (!gr_json_is(value, GR_JSON_STRING)) return gr_failf(arena, GR_INVALID_PARAM, "'%s' must be a string", what);
    if (value->string.size <= size_max) return gr_ok();
    return gr_failf(arena, GR_TOO_LARGE, "'%s' is too long: at most %zu bytes", what, size_max);
}

static gr_err check_field(gr_str field, const gr_json *value, gr_arena *arena)
{
    if (field.size > GR_USER_PROFILE_KEY_MAX)
        return gr_fail(GR_KEY_TOO_LARGE, "The name of a profile field has at most 255 bytes");
    if (gr_str_is(field, "displayname"))
        return value ? check_text(value, GR_USER_DISPLAYNAME_MAX, "displayname", arena) : gr_ok();
    if (gr_str_is(field, "avatar_url"))
        return value ? check_text(value, GR_USER_AVATAR_URL_MAX, "avatar_url", arena) : gr_ok();
    if (!gr_ident_namespaced(field))
        return gr_fail(GR_INVALID_PARAM, "The name of a profile field begins with a-z and has only a-z 0-9 - _ .");
    if (gr_str_is(field, "m.tz")) return value ? check_text(value, 255, "m.tz", arena) : gr_ok();
    return gr_ok();
}

/* The profile with one field set, or removed when value is NULL. */
static gr_str changed(gr_ctx *ctx, const gr_json *profile, gr_str field, const gr_json *value)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; profile && i < profile->count; i++) {
        if (gr_str_eq(profile->members[i].key, field)) continue;
        gr_jw_key_str(&w, profile->members[i].key);
        gr_jw_json(&w, &profile->members[i].value);
    }
    if (value) {
        gr_jw_key_str(&w, field);
        gr_jw_json(&w, value);
    }
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* An empty text stands for none: what clients send to remove a name. */
static bool is_empty_text(gr_str field, const gr_json *value)
{
    bool may = gr_str_is(field, "displayname") || gr_str_is(field, "avatar_url");
    return may && gr_json_is(value, GR_JSON_STRING) && value->string.size == 0;
}

void gr_user_on_profile_put(gr_user *u, const gr_user_profile_put *m, gr_ctx *ctx)
{
    gr_arena *arena = gr_ctx_arena(ctx);
    const gr_json *value = NULL, *profile = read_profile(ctx);
    gr_str text = {0};
    gr_err err = u->exists && !u->deactivated ? gr_ok() : gr_fail(GR_NOT_FOUND, "There is no such user");
    if (!gr_failed(err) && m->value.size) err = gr_json_parse(arena, m->value, GR_JSON_LAX, &value);
    if (!gr_failed(err)) err = check_field(m->field, value, arena);
    if (!gr_failed(err)) {
        text = changed(ctx, profile, m->field, is_empty_text(m->field, value) ? NULL : value);
        if (text.size > GR_USER_PROFILE_MAX) err = gr_fail(GR_PROFILE_TOO_LARGE, "The whole profile has at most 64 KiB");
    }
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_ctx_put(ctx, GR_STR("y"), text);
    if (gr_str_is(m->field, "displayname") || gr_str_is(m->field, "avatar_url")) {
        keep_names(u, read_profile(ctx));
        gr_user_tell_directory(u, ctx);
        gr_user_spread(u, "profile", ctx);
    }
    gr_ctx_done(ctx);
}

void gr_user_profile_erase(gr_user *u, gr_ctx *ctx)
{
    gr_ctx_del(ctx, GR_STR("y"));
    keep_names(u, NULL);
}

void gr_user_tell_directory(gr_user *u, gr_ctx *ctx)
{
    gr_directory_user entry = {.user = u->id, .displayname = u->displayname, .avatar_url = u->avatar_url,
                               .gone = u->deactivated};
    gr_ctx_post(ctx, GR_STR("directory/users"), &gr_type_directory_user, &entry);
}

/* --- telling rooms, a step at a time ----------------------------------------------------------------------- */
typedef struct { gr_user *user; gr_ctx *ctx; bool leaving; size_t count; gr_str last; } spreading;

static void tell_room(spreading *s, gr_str room_id, gr_str membership)
{
    gr_user *u = s->user;
    gr_str room = gr_address(gr_ctx_arena(s->ctx), GR_KIND_ROOM, room_id);
    gr_room_profile profile = {.user = u->id, .displayname = u->displayname, .avatar_url = u->avatar_url, .guest = u->guest};
    gr_room_member leave = {.user = u->id, .target = u->id, .action = GR_STR("leave")};
    if (s->leaving) {
        if (!gr_str_is(membership, "leave") && !gr_str_is(membership, "ban"))
            gr_ctx_post(s->ctx, room, &gr_type_room_member, &leave);
    } else if (gr_str_is(membership, "join")) {
        gr_ctx_post(s->ctx, room, &gr_type_room_profile, &profile);
    }
}

static bool spread_row(void *arg, gr_str key, gr_str value)
{
    spreading *s = arg;
    (void)value;
    s->last = gr_arena_str(gr_ctx_arena(s->ctx), gr_str_from(key, 1));
    const gr_user_room *room = gr_user_room_find(s->user, s->last);
    if (room) tell_room(s, s->last, room->membership);
    s->count++;
    return true;
}

void gr_user_spread_on(gr_user *u, gr_str what, gr_ctx *ctx)
{
    gr_str cursor_key = gr_user_key(ctx, 's', what), cursor, from;
    spreading s = {.user = u, .ctx = ctx, .leaving = gr_str_is(what, "leave")};
    if (!gr_ctx_get(ctx, cursor_key, &cursor)) return;
    from = cursor.size ? gr_user_key2(ctx, 'r', cursor, GR_STR("")) : GR_STR("r");
    gr_ctx_scan(ctx, from, GR_STR("s"), false, GR_USER_ROOMS_STEP, spread_row, &s);
    if (s.count < GR_USER_ROOMS_STEP) {
        gr_ctx_del(ctx, cursor_key);
        return;
    }
    gr_ctx_put(ctx, cursor_key, s.last);
    gr_ctx_timer(ctx, what, gr_ctx_now_ms(ctx), true);
}

void gr_user_spread(gr_user *u, const char *what, gr_ctx *ctx)
{
    gr_ctx_put(ctx, gr_user_key(ctx, 's', gr_str_c(what)), GR_STR(""));
    gr_user_spread_on(u, gr_str_c(what), ctx);
}
