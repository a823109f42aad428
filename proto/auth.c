/* auth.c - authorisation rules but those of members and power levels. See auth.h. */
#include "proto/auth.h"

#include "proto/auth_rules.h"
#include "proto/ident.h"

gr_err gr_auth_deny(const gr_auth_case *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gr_str text = gr_arena_vprintf(c->arena, format, args);
    va_end(args);
    return gr_fail(GR_FORBIDDEN, text.ptr);
}

int64_t gr_auth_sender_power(const gr_auth_case *c) { return gr_power_of_user(&c->powers, c->event->sender); }

gr_str gr_auth_level_text(const gr_auth_case *c, int64_t level)
{
    if (level == GR_POWER_INFINITE) return GR_STR("that of a creator");
    return gr_arena_printf(c->arena, "%lld", (long long)level);
}

gr_err gr_auth_need_power(const gr_auth_case *c, int64_t needed, const char *what)
{
    int64_t level = gr_auth_sender_power(c);
    if (level >= needed) return gr_ok();
    return gr_auth_deny(c, "You can't %s: your power level %lld is below %lld", what, (long long)level,
                        (long long)needed);
}

/* --- the state --- */
static const gr_event *state_get(const gr_auth_state *state, const char *type, gr_str state_key)
{
    return state->get(state->arg, gr_str_c(type), state_key);
}

gr_powers gr_auth_powers(const gr_room_version *version, const gr_auth_state *state)
{
    return (gr_powers){.version = version, .create = state_get(state, "m.room.create", GR_STR("")),
                       .levels = state_get(state, "m.room.power_levels", GR_STR(""))};
}

gr_str gr_auth_membership(const gr_auth_state *state, gr_str user)
{
    const gr_event *member = state_get(state, "m.room.member", user);
    gr_str membership = member ? gr_json_text(member->content, "membership") : (gr_str){0};
    return gr_str_empty(membership) ? GR_STR("leave") : membership;
}

gr_str gr_auth_join_rule(const gr_auth_state *state)
{
    const gr_event *rules = state_get(state, "m.room.join_rules", GR_STR(""));
    const gr_json *rule = rules ? gr_json_get(rules->content, "join_rule") : NULL;
    return rule ? gr_json_string(rule) : GR_STR("invite");
}

/* --- rules --- */
static gr_err check_additional_creators(const gr_auth_case *c)
{
    const gr_json *more = gr_json_get(c->event->content, "additional_creators");
    if (!c->event->version->privileged_creators || !more) return gr_ok();
    if (!gr_json_is(more, GR_JSON_ARRAY))
        return gr_auth_deny(c, "additional_creators must be a list of user ids");
    for (uint32_t i = 0; i < more->count; i++)
        if (!gr_ident_user(gr_json_string(&more->items[i])))
            return gr_auth_deny(c, "additional_creators holds something that is no user id");
    return gr_ok();
}

/* That a hashed room's create event carries no room_id is part of the event format. */
static gr_err check_create(const gr_auth_case *c)
{
    const gr_event *event = c->event;
    const gr_json *version = gr_json_get(event->content, "room_version");
    if (event->prev_events.count) return gr_auth_deny(c, "m.room.create must be the first event of its room");
    if (!event->version->room_id_is_create_hash &&
        !gr_str_eq(gr_ident_domain(event->room_id), gr_ident_domain(event->sender)))
        return gr_auth_deny(c, "The room id is not of the server of the one who creates the room");
    if (version && !gr_room_version_find(gr_json_string(version)))
        return gr_auth_deny(c, "The room's version is not known");
    if (event->version->creator_in_content && !gr_json_get(event->content, "creator"))
        return gr_auth_deny(c, "m.room.create must name its creator in this room version");
    return check_additional_creators(c);
}

/* The room exists, is the one the event names, and lets the sender's server in. */
static gr_err check_room(const gr_auth_case *c)
{
    const gr_event *event = c->event, *create = c->powers.create;
    if (!create) return gr_auth_deny(c, "The room has no m.room.create event");
    if (event->version->room_id_is_create_hash &&
        (event->room_id.size < 2 || event->room_id.ptr[0] != '!' ||
         !gr_str_eq(gr_str_from(event->room_id, 1), gr_str_from(create->event_id, 1))))
        return gr_auth_deny(c, "The event's room id is not that of the room's m.room.create event");
    if (!gr_json_boolean(gr_json_get(create->content, "m.federate"), true) &&
        !gr_str_eq(gr_ident_domain(event->sender), gr_ident_domain(create->sender)))
        return gr_auth_deny(c, "This room does not federate: only users of %" GR_FMT " may take part",
                            GR_ARG(gr_ident_domain(create->sender)));
    return gr_ok();
}

static gr_err check_aliases(const gr_auth_case *c)
{
    if (!c->event->has_state_key) return gr_auth_deny(c, "m.room.aliases must be a state event");
    if (gr_str_eq(gr_ident_domain(c->event->sender), c->event->state_key)) return gr_ok();
    return gr_auth_deny(c, "A server's aliases are set by its own users only");
}

static gr_err check_redaction(const gr_auth_case *c)
{
    gr_str target = gr_ident_domain(c->event->redacts);
    if (gr_auth_sender_power(c) >= gr_power_for(&c->powers, "redact")) return gr_ok();
    if (target.size && gr_str_eq(target, gr_ident_domain(c->event->event_id))) return gr_ok();
    return gr_auth_need_power(c, gr_power_for(&c->powers, "redact"), "redact the events of others");
}

static gr_err check_sender_may_send(const gr_auth_case *c)
{
    const gr_event *event = c->event;
    if (!gr_str_is(gr_auth_membership(c->state, event->sender), "join"))
        return gr_auth_deny(c, "You are not in this room: %" GR_FMT " has not joined it",
                            GR_ARG(event->sender));
    if (gr_str_is(event->type, "m.room.third_party_invite"))
        return gr_auth_need_power(c, gr_power_for(&c->powers, "invite"), "invite people to this room");
    int64_t needed = gr_power_for_event(&c->powers, event->type, event->has_state_key);
    gr_str what = gr_arena_printf(c->arena, "send %" GR_FMT " here", GR_ARG(event->type));
    gr_err e = gr_auth_need_power(c, needed, what.ptr);
    if (gr_failed(e)) return e;
    if (event->has_state_key && event->state_key.size && event->state_key.ptr[0] == '@' &&
        !gr_str_eq(event->state_key, event->sender))
        return gr_auth_deny(c, "State under the user id %" GR_FMT " can only be set by that user",
                            GR_ARG(event->state_key));
    return gr_ok();
}

gr_err gr_auth_check(gr_arena *arena, const gr_event *event, const gr_auth_state *state)
{
    const gr_room_version *version = event->version;
    gr_auth_case c = {.arena = arena, .event = event, .state = state};
    if (gr_str_is(event->type, "m.room.create")) return check_create(&c);
    c.powers = gr_auth_powers(version, state);
    gr_err e = check_room(&c);
    if (gr_failed(e)) return e;
    if (version->aliases_rule && gr_str_is(event->type, "m.room.aliases")) return check_aliases(&c);
    if (gr_str_is(event->type, "m.room.member")) return gr_auth_check_member(&c);
    e = check_sender_may_send(&c);
    if (gr_failed(e)) return e;
    if (gr_str_is(event->type, "m.room.power_levels")) return gr_auth_check_powers(&c);
    if (version->redaction_rule && gr_str_is(event->type, "m.room.redaction")) return check_redaction(&c);
    return gr_ok();
}

bool gr_auth_may_redact(const gr_auth_state *state, const gr_event *redaction, const gr_event *target)
{
    if (redaction->version->redaction_rule) return true;
    gr_powers powers = gr_auth_powers(redaction->version, state);
    return gr_power_of_user(&powers, redaction->sender) >= gr_power_for(&powers, "redact") ||
           gr_str_eq(gr_ident_domain(redaction->sender), gr_ident_domain(target->sender));
}

/* --- auth events --- */
static void need(gr_auth_needs *needs, const char *type, gr_str state_key)
{
    for (size_t i = 0; i < needs->count; i++)
        if (gr_str_is(needs->at[i].type, type) && gr_str_eq(needs->at[i].state_key, state_key)) return;
    gr_assert(needs->count < GR_AUTH_NEEDS_MAX);
    needs->at[needs->count++] = (gr_auth_key){gr_str_c(type), state_key};
}

static void need_for_member(gr_auth_needs *needs, const gr_room_version *version, gr_str target,
                            const gr_json *content)
{
    gr_str membership = gr_json_text(content, "membership");
    bool join = gr_str_is(membership, "join"), invite = gr_str_is(membership, "invite");
    need(needs, "m.room.member", target);
    if (join || invite || gr_str_is(membership, "knock")) need(needs, "m.room.join_rules", GR_STR(""));
    const gr_json *token = gr_json_path(content, "third_party_invite/signed/token");
    if (invite && gr_json_is(token, GR_JSON_STRING))
        need(needs, "m.room.third_party_invite", gr_json_string(token));
    const gr_json *via = gr_json_get(content, "join_authorised_via_users_server");
    if (join && version->restricted && gr_json_is(via, GR_JSON_STRING))
        need(needs, "m.room.member", gr_json_string(via));
}

gr_auth_needs gr_auth_select(const gr_room_version *version, gr_str type, gr_str sender, gr_str state_key,
                             const gr_json *content)
{
    gr_auth_needs needs = {0};
    if (gr_str_is(type, "m.room.create")) return needs;
    if (version->create_in_auth_events) need(&needs, "m.room.create", GR_STR(""));
    need(&needs, "m.room.power_levels", GR_STR(""));
    need(&needs, "m.room.member", sender);
    if (gr_str_is(type, "m.room.member")) need_for_member(&needs, version, state_key, content);
    return needs;
}

static bool wanted(const gr_auth_needs *needs, const gr_event *auth)
{
    for (size_t i = 0; i < needs->count; i++)
        if (gr_str_eq(needs->at[i].type, auth->type) && gr_str_eq(needs->at[i].state_key, auth->state_key))
            return auth->has_state_key;
    return false;
}

static gr_err check_entry(const gr_auth_case *c, const gr_auth_needs *needs, const gr_event *auth,
                          bool rejected)
{
    if (!wanted(needs, auth))
        return gr_auth_deny(c, "The event lists %" GR_FMT " in its auth_events, which does not belong there",
                            GR_ARG(auth->type));
    if (rejected)
        return gr_auth_deny(c, "An event in auth_events was rejected: %" GR_FMT, GR_ARG(auth->event_id));
    if (!gr_str_eq(auth->room_id, c->event->room_id))
        return gr_auth_deny(c, "An event in auth_events is of another room: %" GR_FMT,
                            GR_ARG(auth->event_id));
    return gr_ok();
}

gr_err gr_auth_check_list(gr_arena *arena, const gr_event *event, const gr_event *const *auth_events,
                          const bool *rejected, size_t count)
{
    gr_auth_case c = {.arena = arena, .event = event};
    bool created = !event->version->create_in_auth_events;
    if (gr_str_is(event->type, "m.room.create")) return gr_ok();      /* its own rules say all about it */
    gr_auth_needs needs = gr_auth_select(event->version, event->type, event->sender, event->state_key,
                                         event->content);
    for (size_t i = 0; i < count; i++) {
        gr_err e = check_entry(&c, &needs, auth_events[i], rejected && rejected[i]);
        if (gr_failed(e)) return e;
        for (size_t j = 0; j < i; j++)
            if (gr_str_eq(auth_events[i]->type, auth_events[j]->type) &&
                gr_str_eq(auth_events[i]->state_key, auth_events[j]->state_key))
                return gr_auth_deny(&c, "The event lists two events of one kind among its auth_events");
        created = created || gr_event_is(auth_events[i], "m.room.create", "");
    }
    return created ? gr_ok() : gr_auth_deny(&c, "The event's auth_events lack m.room.create");
}
