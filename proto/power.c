/* power.c - power levels. See power.h. */
#include "proto/power.h"

#define LARGEST 9.2e18

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* " +0100 " as old rooms may have it: blanks around one sign and digits. */
static bool stringy(gr_str s, int64_t *out)
{
    while (s.size && is_blank(s.ptr[0])) s = gr_str_from(s, 1);
    while (s.size && is_blank(s.ptr[s.size - 1])) s.size--;
    if (s.size > 1 && s.ptr[0] == '+' && s.ptr[1] != '-') s = gr_str_from(s, 1);
    return gr_str_i64(s, out);
}

bool gr_power_value(const gr_room_version *version, const gr_json *value, int64_t *out)
{
    *out = 0;
    if (gr_json_is(value, GR_JSON_INT)) {
        *out = value->integer;
        return true;
    }
    if (version->power != GR_POWER_INTEGER && gr_json_is(value, GR_JSON_STRING))
        return stringy(gr_json_string(value), out);
    if (version->power != GR_POWER_ANY_NUMBER || !gr_json_is(value, GR_JSON_REAL)) return false;
    /* Of what is past all integers here only the sign matters. */
    if (value->real >= LARGEST) *out = INT64_MAX - 1;      /* GR_POWER_INFINITE is of creators */
    else if (value->real <= -LARGEST) *out = INT64_MIN;
    else *out = (int64_t)value->real;
    return true;
}

static const gr_json *content_of(const gr_powers *p) { return p->levels ? p->levels->content : NULL; }

/* The level at content[key], else otherwise. */
static int64_t level_or(const gr_powers *p, const gr_json *value, int64_t otherwise)
{
    int64_t level;
    return gr_power_value(p->version, value, &level) ? level : otherwise;
}

bool gr_power_is_creator(const gr_powers *p, gr_str user)
{
    if (!p->create) return false;
    if (p->version->creator_in_content) return gr_str_eq(gr_json_text(p->create->content, "creator"), user);
    if (gr_str_eq(p->create->sender, user)) return true;
    const gr_json *more = gr_json_get(p->create->content, "additional_creators");
    if (!p->version->privileged_creators || !gr_json_is(more, GR_JSON_ARRAY)) return false;
    for (uint32_t i = 0; i < more->count; i++)
        if (gr_json_is(&more->items[i], GR_JSON_STRING) && gr_str_eq(gr_json_string(&more->items[i]), user))
            return true;
    return false;
}

int64_t gr_power_of_user(const gr_powers *p, gr_str user)
{
    if (p->version->privileged_creators && gr_power_is_creator(p, user)) return GR_POWER_INFINITE;
    if (!p->levels) return gr_power_is_creator(p, user) ? 100 : 0;
    const gr_json *users = gr_json_get(content_of(p), "users");
    return level_or(p, gr_json_get_str(users, user), gr_power_for(p, "users_default"));
}

int64_t gr_power_for(const gr_powers *p, const char *action)
{
    bool fifty = strcmp(action, "ban") == 0 || strcmp(action, "kick") == 0 || strcmp(action, "redact") == 0 ||
                 strcmp(action, "state_default") == 0;
    return level_or(p, gr_json_get(content_of(p), action), fifty ? 50 : 0);
}

int64_t gr_power_for_event(const gr_powers *p, gr_str type, bool state)
{
    const gr_json *own = gr_json_get_str(gr_json_get(content_of(p), "events"), type);
    return level_or(p, own, gr_power_for(p, state ? "state_default" : "events_default"));
}

int64_t gr_power_for_notification(const gr_powers *p, gr_str kind)
{
    return level_or(p, gr_json_get_str(gr_json_get(content_of(p), "notifications"), kind), 50);
}
