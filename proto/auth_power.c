/* auth_power.c - authorisation of changes of m.room.power_levels. See auth.h. */
#include "proto/auth_rules.h"
#include "proto/ident.h"

static const char *const properties[] = {"users_default", "events_default", "state_default",
                                         "ban", "redact", "kick", "invite", NULL};

/* --- form --- */
static gr_err check_levels_in(const gr_auth_case *c, const char *property, bool users)
{
    const gr_json *list = gr_json_get(c->event->content, property);
    int64_t level;
    if (!list) return gr_ok();
    if (!gr_json_is(list, GR_JSON_OBJECT))
        return gr_auth_deny(c, "%s must be an object of power levels", property);
    for (uint32_t i = 0; i < list->count; i++) {
        const gr_json_member *m = &list->members[i];
        if (users && !gr_ident_user(m->key))
            return gr_auth_deny(c, "users names %" GR_FMT ", which is no user id", GR_ARG(m->key));
        if (!gr_power_value(c->event->version, &m->value, &level))
            return gr_auth_deny(c, "The power level of %" GR_FMT " is not a whole number", GR_ARG(m->key));
        if (users && c->event->version->privileged_creators && gr_power_is_creator(&c->powers, m->key))
            return gr_auth_deny(c, "%" GR_FMT " created this room: no power level can be set for them",
                                GR_ARG(m->key));
    }
    return gr_ok();
}

static gr_err check_form(const gr_auth_case *c)
{
    gr_err e = check_levels_in(c, "users", true);
    if (gr_failed(e) || c->event->version->power != GR_POWER_INTEGER) return e;
    for (const char *const *name = properties; *name; name++) {
        const gr_json *value = gr_json_get(c->event->content, *name);
        if (value && !gr_json_is(value, GR_JSON_INT))
            return gr_auth_deny(c, "%s is not a whole number", *name);
    }
    e = check_levels_in(c, "events", false);
    return gr_failed(e) ? e : check_levels_in(c, "notifications", false);
}

/* --- change --- */
typedef struct { bool there; int64_t level; } entry;

static entry entry_of(const gr_auth_case *c, const gr_json *value)
{
    entry e = {0};
    e.there = gr_power_value(c->event->version, value, &e.level);
    return e;
}

static bool changed(entry before, entry after)
{
    return before.there != after.there || before.level != after.level;
}

/* strict: even a level equal to the sender's own may not be touched (other users). */
static gr_err check_change(const gr_auth_case *c, gr_str name, entry before, entry after, bool strict)
{
    int64_t mine = gr_auth_sender_power(c);
    if (!changed(before, after)) return gr_ok();
    if (before.there && (before.level > mine || (strict && before.level == mine)))
        return gr_auth_deny(c, "You can't change the power level of %" GR_FMT " from %lld: yours is %lld",
                            GR_ARG(name), (long long)before.level, (long long)mine);
    if (after.there && after.level > mine)
        return gr_auth_deny(c, "You can't set the power level of %" GR_FMT " to %lld: yours is %lld",
                            GR_ARG(name), (long long)after.level, (long long)mine);
    return gr_ok();
}

/* Every entry of either list.  A sender may lower the own level, so that one is not strict. */
static gr_err check_list(const gr_auth_case *c, const char *property, bool users)
{
    const gr_json *lists[2] = {gr_json_get(c->powers.levels->content, property),
                               gr_json_get(c->event->content, property)};
    for (size_t l = 0; l < 2; l++) {
        size_t count = gr_json_is(lists[l], GR_JSON_OBJECT) ? lists[l]->count : 0;
        for (size_t i = 0; i < count; i++) {
            gr_str key = lists[l]->members[i].key;
            const gr_json *value = gr_json_get_str(lists[1], key);
            entry before = entry_of(c, gr_json_get_str(lists[0], key)), after = entry_of(c, value);
            if (value && !after.there)
                return gr_auth_deny(c, "The power level of %" GR_FMT " is not a whole number", GR_ARG(key));
            bool strict = users && !gr_str_eq(key, c->event->sender);
            gr_err e = check_change(c, key, before, after, strict);
            if (gr_failed(e)) return e;
        }
    }
    return gr_ok();
}

static gr_err check_properties(const gr_auth_case *c)
{
    for (const char *const *name = properties; *name; name++) {
        const gr_json *value = gr_json_get(c->event->content, *name);
        entry before = entry_of(c, gr_json_get(c->powers.levels->content, *name)), after = entry_of(c, value);
        if (value && !after.there) return gr_auth_deny(c, "%s is not a power level", *name);
        gr_err e = check_change(c, gr_str_c(*name), before, after, false);
        if (gr_failed(e)) return e;
    }
    return gr_ok();
}

gr_err gr_auth_check_powers(const gr_auth_case *c)
{
    gr_err e = check_form(c);
    if (gr_failed(e) || !c->powers.levels) return e;
    e = check_properties(c);
    if (!gr_failed(e)) e = check_list(c, "events", false);
    if (!gr_failed(e) && c->event->version->notifications_rule) e = check_list(c, "notifications", false);
    if (!gr_failed(e)) e = check_list(c, "users", true);
    return e;
}
