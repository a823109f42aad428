/* threepid.c - third-party invites. See threepid.h. */
#include "edge/threepid.h"
#include "edge/policy.h"
#include "edge/remote.h"

#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/sha256.h"
#include "proto/uri.h"

enum { IDENTITY_MS = 15 * 1000, TOKEN_MAX = 255, ANSWER_MAX = 256 * 1024 };

/* --- asking the identity server ------------------------------------------------------------------------ */
static void finish(gr_call *call, gr_err err, gr_str user)
{
    gr_threepid_invite *t = call->state;
    call->state = t->state;
    t->then(call, gr_failed(err) ? gr_call_keep_err(call, err) : err, user);
}

static void ask(gr_call *call, const char *method, const char *path, gr_str content, gr_call_then *then)
{
    const gr_threepid_invite *t = call->state;
    gr_destination_request m = {.method = gr_str_c(method), .content = content, .timeout_ms = IDENTITY_MS,
                                .answer_max = ANSWER_MAX, .is_plain = true, .token = t->token,
                                .uri = gr_arena_cat(call->arena, 2, (gr_str[]){GR_STR("/_matrix/identity/v2"), gr_str_c(path)})};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_DESTINATION, t->id_server), &gr_type_destination_request, &m, then, 0,
                     2 * IDENTITY_MS, false);
}

/* NULL: it failed, and that was told. */
static const gr_json *object_of(gr_call *call, const gr_answer *a)
{
    const gr_json *object = NULL;
    gr_err err = a->err;
    if (!gr_failed(err))
        err = gr_json_parse(call->arena, gr_call_keep(call, ((const gr_result *)a->body)->body), GR_JSON_LAX, &object);
    if (!gr_failed(err) && !gr_json_is(object, GR_JSON_OBJECT))
        err = gr_fail(GR_BAD_GATEWAY, "The identity server's answer makes no sense");
    if (!gr_failed(err)) return object;
    finish(call, err, (gr_str){0});
    return NULL;
}

/* --- an address that nobody has shown to be theirs -------------------------------------------------------- */
static void on_sent(gr_call *call, const gr_answer *a)
{
    const gr_threepid_invite *t = call->state;
    if (!gr_policy_takes(call, a, t->room_id, (gr_str){0}, on_sent)) finish(call, a->err, (gr_str){0});
}

static bool is_token(gr_str token)
{
    for (size_t i = 0; i < token.size; i++) {
        char c = token.ptr[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr(".=_-", c);
        if (!good || c == 0) return false;
    }
    return token.size > 0 && token.size <= TOKEN_MAX;
}

static gr_str offer_content(gr_call *call, const gr_json *stored)
{
    const gr_json *keys = gr_json_get(stored, "public_keys");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "display_name", gr_json_text(stored, "display_name"));
    gr_jw_kstr(&w, "key_validity_url", gr_json_text(&keys->items[0], "key_validity_url"));
    gr_jw_kstr(&w, "public_key", gr_json_text(&keys->items[0], "public_key"));
    gr_jw_kjson(&w, "public_keys", keys);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(call->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static void on_stored(gr_call *call, const gr_answer *a)
{
    const gr_threepid_invite *t = call->state;
    const gr_json *stored = object_of(call, a), *keys = gr_json_get(stored, "public_keys");
    gr_str token = gr_json_text(stored, "token");
    if (!stored) return;
    bool has_key = gr_json_is(keys, GR_JSON_ARRAY) && keys->count && gr_json_text(&keys->items[0], "public_key").size;
    if (!is_token(token) || !has_key) {
        finish(call, gr_fail(GR_BAD_GATEWAY, "The identity server's answer makes no sense"), (gr_str){0});
        return;
    }
    gr_room_send m = {.user = call->user, .device = call->device, .type = GR_STR("m.room.third_party_invite"), .is_state = true,
                      .state_key = token, .content = offer_content(call, stored)};
    gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, t->room_id), &gr_type_room_send, &m, on_sent);
}

static void write_if(gr_jw *w, const char *key, gr_str value)
{
    if (value.size) gr_jw_kstr(w, key, value);
}

/* What the identity server may say of the room in its mail. */
static void store(gr_call *call, const gr_json *summary)
{
    const gr_threepid_invite *t = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "address", t->address);
    gr_jw_kstr(&w, "medium", t->medium);
    write_if(&w, "room_alias", gr_json_text(summary, "canonical_alias"));
    write_if(&w, "room_avatar_url", gr_json_text(summary, "avatar_url"));
    gr_jw_kstr(&w, "room_id", t->room_id);
    write_if(&w, "room_join_rules", gr_json_text(summary, "join_rule"));
    write_if(&w, "room_name", gr_json_text(summary, "name"));
    write_if(&w, "room_type", gr_json_text(summary, "room_type"));
    gr_jw_kstr(&w, "sender", call->user);
    write_if(&w, "sender_avatar_url", t->avatar_url);
    write_if(&w, "sender_display_name", t->displayname);
    gr_jw_end_object(&w);
    ask(call, "POST", "/store-invite", gr_buf_view(&out), on_stored);
    gr_buf_free(&out);
}

static void on_summary(gr_call *call, const gr_answer *a)
{
    const gr_json *summary = object_of(call, a);
    if (!summary) return;
    if (gr_str_is(gr_json_text(summary, "membership"), "join")) store(call, summary);
    else finish(call, gr_fail(GR_FORBIDDEN, "You are not in this room"), (gr_str){0});
}

static void on_profile(gr_call *call, const gr_answer *a)
{
    gr_threepid_invite *t = call->state;
    const gr_user_profile_is *profile = a->body;
    if (!gr_failed(a->err)) {
        t->displayname = gr_call_keep(call, profile->displayname);
        t->avatar_url = gr_call_keep(call, profile->avatar_url);
    }
    gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, t->room_id), &gr_type_room_summary,
                &(gr_room_summary){.user = call->user}, on_summary);
}

/* --- whose address it is -------------------------------------------------------------------------------------- */
static void on_looked_up(gr_call *call, const gr_answer *a)
{
    const gr_threepid_invite *t = call->state;
    const gr_json *object = object_of(call, a);
    if (!object) return;
    gr_str user = gr_json_string(gr_json_get_str(gr_json_get(object, "mappings"), t->hash));
    if (gr_ident_user(user)) finish(call, gr_ok(), user);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_profile, &(gr_user_profile){0},
                     on_profile);
}

static void look_up(gr_call *call)
{
    const gr_threepid_invite *t = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "addresses");
    gr_jw_array(&w);
    gr_jw_str(&w, t->hash);
    gr_jw_end_array(&w);
    gr_jw_kc(&w, "algorithm", t->is_hashed ? "sha256" : "none");
    gr_jw_kstr(&w, "pepper", t->pepper);
    gr_jw_end_object(&w);
    ask(call, "POST", "/lookup", gr_buf_view(&out), on_looked_up);
    gr_buf_free(&out);
}

static bool has_algorithm(const gr_json *list, const char *name)
{
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++)
        if (gr_str_is(gr_json_string(&list->items[i]), name)) return true;
    return false;
}

static void on_details(gr_call *call, const gr_answer *a)
{
    gr_threepid_invite *t = call->state;
    const gr_json *details = object_of(call, a), *algorithms = gr_json_get(details, "algorithms");
    if (!details) return;
    t->pepper = gr_json_text(details, "lookup_pepper");
    t->is_hashed = has_algorithm(algorithms, "sha256");
    if (!t->is_hashed && !has_algorithm(algorithms, "none")) {
        finish(call, gr_fail(GR_BAD_GATEWAY, "The identity server hashes addresses in no way that is known here"), (gr_str){0});
        return;
    }
    gr_str text = gr_arena_printf(call->arena, "%" GR_FMT " %" GR_FMT, GR_ARG(t->address), GR_ARG(t->medium));
    if (t->is_hashed) {
        unsigned char hash[GR_SHA256_SIZE];
        text = gr_arena_cat(call->arena, 3, (gr_str[]){text, GR_STR(" "), t->pepper});
        gr_sha256(text.ptr, text.size, hash);
        text = gr_base64_url(call->arena, gr_str_of((const char *)hash, sizeof hash));
    }
    t->hash = text;
    look_up(call);
}

void gr_threepid_invite_send(gr_call *call, gr_threepid_invite *t)
{
    t->state = call->state;
    call->state = t;
    t->address = gr_arena_lower(call->arena, t->address);
    ask(call, "GET", "/hash_details", (gr_str){0}, on_details);
}

/* --- an address that somebody has shown to be theirs --------------------------------------------------------- */
static void end(gr_call *call, gr_err err)
{
    gr_threepid_accept *t = call->state;
    call->state = t->state;
    t->then(call, gr_failed(err) ? gr_call_keep_err(call, err) : err);
}

static void on_accepted(gr_call *call, const gr_answer *a)
{
    const gr_threepid_accept *t = call->state;
    if (!gr_policy_takes(call, a, t->room_id, (gr_str){0}, on_accepted)) end(call, a->err);
}

static gr_str invite_content(gr_call *call)
{
    const gr_threepid_accept *t = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kc(&w, "membership", "invite");
    gr_jw_key(&w, "third_party_invite");
    gr_jw_object(&w);
    gr_jw_kstr(&w, "display_name", t->display_name.size ? t->display_name : t->user);
    gr_jw_key(&w, "signed");
    gr_jw_object(&w);
    gr_jw_kstr(&w, "mxid", t->user);
    gr_jw_kjson(&w, "signatures", gr_json_get(t->signed_by, "signatures"));
    gr_jw_kstr(&w, "token", gr_json_text(t->signed_by, "token"));
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(call->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* By the sender, who is of this server: whether the signature is right and the sender may invite, the room decides. */
static void invite(gr_call *call)
{
    gr_threepid_accept *t = call->state;
    gr_str content = invite_content(call);
    if (!gr_ident_is_local(t->user, gr_call_server_name(call))) {
        t->inviting = (gr_inviting){.room_id = t->room_id, .then = end,
                                    .invite = {.user = t->sender, .target = t->user, .content = content}};
        gr_inviting_send(call, &t->inviting);
        return;
    }
    gr_room_send m = {.user = t->sender, .type = GR_STR("m.room.member"), .is_state = true, .state_key = t->user,
                      .content = content};
    gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, t->room_id), &gr_type_room_send, &m, on_accepted);
}

static void on_offer(gr_call *call, const gr_answer *a)
{
    gr_threepid_accept *t = call->state;
    const gr_json *offer = NULL;
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(call->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &offer);
    if (gr_failed(err)) {
        end(call, err.code == GR_NOT_FOUND ? gr_fail(GR_FORBIDDEN, "The room has no third-party invite with this token") : err);
        return;
    }
    t->display_name = gr_call_keep(call, gr_json_text(offer, "display_name"));
    invite(call);
}

static void exchange(gr_call *call)
{
    const gr_threepid_accept *t = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kraw(&w, "content", invite_content(call));
    gr_jw_kstr(&w, "room_id", t->room_id);
    gr_jw_kstr(&w, "sender", t->sender);
    gr_jw_kstr(&w, "state_key", t->user);
    gr_jw_kc(&w, "type", "m.room.member");
    gr_jw_end_object(&w);
    gr_str uri = gr_arena_cat(call->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/exchange_third_party_invite/"),
                                                         gr_uri_encode(call->arena, t->room_id)});
    gr_remote_ask(call, gr_ident_domain(t->sender), "PUT", uri, gr_buf_view(&out), on_accepted, 0);
    gr_buf_free(&out);
}

void gr_threepid_accept_send(gr_call *call, gr_threepid_accept *t)
{
    t->state = call->state;
    call->state = t;
    gr_str token = gr_json_text(t->signed_by, "token");
    bool is_ours = gr_ident_is_local(t->sender, gr_call_server_name(call));
    bool is_mine = gr_ident_is_local(t->user, gr_call_server_name(call));
    if (token.size == 0 || !gr_json_is(gr_json_get(t->signed_by, "signatures"), GR_JSON_OBJECT)
        || !gr_str_eq(gr_json_text(t->signed_by, "mxid"), t->user)) {
        end(call, gr_fail(GR_INVALID_PARAM, "That is no signed third-party invite of this user"));
    } else if (is_ours) {
        gr_room_state_get m = {.user = t->sender, .type = GR_STR("m.room.third_party_invite"), .state_key = token};
        gr_call_ask(call, gr_call_address(call, GR_KIND_ROOM, t->room_id), &gr_type_room_state_get, &m, on_offer);
    } else if (is_mine) {
        exchange(call);
    } else {
        end(call, gr_fail(GR_FORBIDDEN, "Neither the sender nor the user is of this server"));
    }
}
