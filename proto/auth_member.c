/* auth_member.c - authorisation of m.room.member: join, invite, leave, ban, knock. See auth.h. */
#include "proto/auth_rules.h"

enum { PROOFS_MAX = 64 };      /* signatures tried for one third-party invite: each costs some 50 us */

static bool member_is(const gr_auth_case *c, gr_str user, const char *membership)
{
    return gr_str_is(gr_auth_membership(c->state, user), membership);
}

static bool sender_is_target(const gr_auth_case *c)
{
    return gr_str_eq(c->event->sender, c->event->state_key);
}

static gr_err need_joined(const gr_auth_case *c)
{
    if (member_is(c, c->event->sender, "join")) return gr_ok();
    return gr_auth_deny(c, "You are not in this room: %" GR_FMT " has not joined it",
                        GR_ARG(c->event->sender));
}

/* --- join --- */
/* The creator's own join right after m.room.create: there are no join rules yet. */
static bool is_first_join(const gr_auth_case *c)
{
    const gr_event *create = c->powers.create;
    bool named = create->version->creator_in_content;
    gr_str creator = named ? gr_json_text(create->content, "creator") : create->sender;
    return c->event->prev_events.count == 1 && gr_str_eq(c->event->prev_events.at[0], create->event_id) &&
           gr_str_eq(c->event->state_key, creator);
}

static gr_err check_authorised_join(const gr_auth_case *c)
{
    gr_str via = gr_json_text(c->event->content, "join_authorised_via_users_server");
    if (gr_str_empty(via))
        return gr_auth_deny(c, "You need an invite, or to be in a room whose members may join this one");
    if (!member_is(c, via, "join"))
        return gr_auth_deny(c, "%" GR_FMT " can't let you in: not a member of this room", GR_ARG(via));
    if (gr_power_of_user(&c->powers, via) < gr_power_for(&c->powers, "invite"))
        return gr_auth_deny(c, "%" GR_FMT " can't let you in: not allowed to invite here", GR_ARG(via));
    return gr_ok();
}

static gr_err check_join(const gr_auth_case *c)
{
    const gr_room_version *version = c->event->version;
    gr_str rule = gr_auth_join_rule(c->state);
    if (is_first_join(c)) return gr_ok();
    if (!sender_is_target(c)) return gr_auth_deny(c, "Nobody can join a room for somebody else");
    if (member_is(c, c->event->sender, "ban")) return gr_auth_deny(c, "You are banned from this room");
    bool invited = member_is(c, c->event->sender, "invite") || member_is(c, c->event->sender, "join");
    if (gr_str_is(rule, "public")) return gr_ok();
    if (gr_str_is(rule, "invite") || (version->knock && gr_str_is(rule, "knock")))
        return invited ? gr_ok() : gr_auth_deny(c, "You need an invite to join this room");
    if ((version->restricted && gr_str_is(rule, "restricted")) ||
        (version->knock_restricted && gr_str_is(rule, "knock_restricted")))
        return invited ? gr_ok() : check_authorised_join(c);
    return gr_auth_deny(c, "Nobody can join this room: its join rule is \"%" GR_FMT "\"", GR_ARG(rule));
}

/* --- invite --- */
/* Does any signature under `signatures` verify with this key? *left counts down over all keys. */
static bool key_signed(const gr_auth_case *c, const gr_json *signatures, gr_str text, gr_str key, int *left)
{
    gr_str raw;
    size_t entities = gr_json_is(signatures, GR_JSON_OBJECT) ? signatures->count : 0;
    if (!gr_sign_decode(c->arena, key, GR_SIGN_PUBLIC, &raw)) return false;
    for (size_t i = 0; i < entities; i++) {
        const gr_json *by = &signatures->members[i].value;
        size_t count = gr_json_is(by, GR_JSON_OBJECT) ? by->count : 0;
        for (size_t k = 0; k < count && *left > 0; k++) {
            if (!gr_str_starts(by->members[k].key, GR_STR("ed25519:"))) continue;
            --*left;
            if (gr_sign_verify(c->arena, NULL, (const unsigned char *)raw.ptr, text,
                               gr_json_string(&by->members[k].value)))
                return true;
        }
    }
    return false;
}

static bool proof_is_signed(const gr_auth_case *c, const gr_json *proof, const gr_event *offer)
{
    const gr_json *signatures = gr_json_get(proof, "signatures");
    const gr_json *keys = gr_json_get(offer->content, "public_keys");
    gr_str text = gr_sign_text(c->arena, proof);
    int left = PROOFS_MAX;
    if (key_signed(c, signatures, text, gr_json_text(offer->content, "public_key"), &left)) return true;
    size_t count = gr_json_is(keys, GR_JSON_ARRAY) ? keys->count : 0;
    for (size_t i = 0; i < count && left > 0; i++)
        if (key_signed(c, signatures, text, gr_json_text(&keys->items[i], "public_key"), &left)) return true;
    return false;
}

static gr_err check_third_party_invite(const gr_auth_case *c, const gr_json *invite)
{
    const gr_json *proof = gr_json_get(invite, "signed");
    const gr_json *mxid = gr_json_get(proof, "mxid"), *token = gr_json_get(proof, "token");
    if (member_is(c, c->event->state_key, "ban"))
        return gr_auth_deny(c, "%" GR_FMT " is banned from this room", GR_ARG(c->event->state_key));
    if (!gr_json_is(mxid, GR_JSON_STRING) || !gr_json_is(token, GR_JSON_STRING))
        return gr_auth_deny(c, "The third-party invite lacks its signed user id and token");
    if (!gr_str_eq(gr_json_string(mxid), c->event->state_key))
        return gr_auth_deny(c, "The third-party invite was accepted by %" GR_FMT ", not by %" GR_FMT,
                            GR_ARG(gr_json_string(mxid)), GR_ARG(c->event->state_key));
    const gr_event *offer = c->state->get(c->state->arg, GR_STR("m.room.third_party_invite"),
                                          gr_json_string(token));
    if (!offer)
        return gr_auth_deny(c, "The room has no third-party invite with this token; it may be revoked");
    if (!gr_str_eq(offer->sender, c->event->sender))
        return gr_auth_deny(c, "The third-party invite was made by %" GR_FMT, GR_ARG(offer->sender));
    if (proof_is_signed(c, proof, offer)) return gr_ok();
    return gr_auth_deny(c, "The third-party invite is not signed by a key that the room knows");
}

static gr_err check_invite(const gr_auth_case *c)
{
    gr_str target = c->event->state_key;
    const gr_json *third = gr_json_get(c->event->content, "third_party_invite");
    if (third) return check_third_party_invite(c, third);
    gr_err e = need_joined(c);
    if (gr_failed(e)) return e;
    if (member_is(c, target, "join"))
        return gr_auth_deny(c, "%" GR_FMT " is already in this room", GR_ARG(target));
    if (member_is(c, target, "ban"))
        return gr_auth_deny(c, "%" GR_FMT " is banned from this room", GR_ARG(target));
    return gr_auth_need_power(c, gr_power_for(&c->powers, "invite"), "invite people to this room");
}

/* --- leave, ban, knock --- */
static gr_err check_own_leave(const gr_auth_case *c)
{
    gr_str user = c->event->sender;
    if (member_is(c, user, "join") || member_is(c, user, "invite")) return gr_ok();
    if (c->event->version->knock && member_is(c, user, "knock")) return gr_ok();
    if (member_is(c, user, "ban")) return gr_auth_deny(c, "You are banned from this room");
    return gr_auth_deny(c, "You are not in this room");
}

/* Acting on somebody needs the level of the act and more power than the target has. */
static gr_err need_power_over(const gr_auth_case *c, const char *level, const char *verb)
{
    gr_str target = c->event->state_key;
    gr_str what = gr_arena_printf(c->arena, "%s %" GR_FMT, verb, GR_ARG(target));
    gr_err e = gr_auth_need_power(c, gr_power_for(&c->powers, level), what.ptr);
    if (gr_failed(e)) return e;
    int64_t theirs = gr_power_of_user(&c->powers, target), mine = gr_auth_sender_power(c);
    if (theirs < mine) return gr_ok();
    gr_str own = gr_auth_level_text(c, mine), other = gr_auth_level_text(c, theirs);
    return gr_auth_deny(c, "You can't %s: your power level is %" GR_FMT " and theirs %" GR_FMT, what.ptr,
                        GR_ARG(own), GR_ARG(other));
}

static gr_err check_leave(const gr_auth_case *c)
{
    if (sender_is_target(c)) return check_own_leave(c);
    gr_err e = need_joined(c);
    if (gr_failed(e)) return e;
    bool banned = member_is(c, c->event->state_key, "ban");
    if (banned) {
        gr_str what = gr_arena_printf(c->arena, "unban %" GR_FMT, GR_ARG(c->event->state_key));
        e = gr_auth_need_power(c, gr_power_for(&c->powers, "ban"), what.ptr);
        if (gr_failed(e)) return e;
    }
    return need_power_over(c, "kick", banned ? "unban" : "kick");
}

static gr_err check_ban(const gr_auth_case *c)
{
    gr_err e = need_joined(c);
    return gr_failed(e) ? e : need_power_over(c, "ban", "ban");
}

static gr_err check_knock(const gr_auth_case *c)
{
    gr_str rule = gr_auth_join_rule(c->state), user = c->event->sender;
    if (!gr_str_is(rule, "knock") &&
        !(c->event->version->knock_restricted && gr_str_is(rule, "knock_restricted")))
        return gr_auth_deny(c, "This room does not take knocks: its join rule is \"%" GR_FMT "\"",
                            GR_ARG(rule));
    if (!sender_is_target(c)) return gr_auth_deny(c, "Nobody can knock for somebody else");
    if (member_is(c, user, "ban")) return gr_auth_deny(c, "You are banned from this room");
    if (member_is(c, user, "invite")) return gr_auth_deny(c, "You are invited to this room: join it instead");
    if (member_is(c, user, "join")) return gr_auth_deny(c, "You are already in this room");
    return gr_ok();
}

gr_err gr_auth_check_member(const gr_auth_case *c)
{
    const gr_json *value = gr_json_get(c->event->content, "membership");
    gr_str membership = gr_json_string(value);
    if (!c->event->has_state_key)
        return gr_fail(GR_BAD_JSON, "m.room.member needs a state_key, the user's id");
    if (!value) return gr_fail(GR_BAD_JSON, "m.room.member needs a membership");
    if (gr_str_is(membership, "join")) return check_join(c);
    if (gr_str_is(membership, "invite")) return check_invite(c);
    if (gr_str_is(membership, "leave")) return check_leave(c);
    if (gr_str_is(membership, "ban")) return check_ban(c);
    if (c->event->version->knock && gr_str_is(membership, "knock")) return check_knock(c);
    return gr_auth_deny(c, "The membership is none that this room version knows");
}
