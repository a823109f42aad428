/* power.h - power levels of a room: who has how much, and what needs how much.
 *
 * Client-server API, "m.room.power_levels"; strings and floats as levels only where the version still has
 * them. A gr_powers is two views, read once per decision; it owns nothing.
 */
#pragma once
#include "proto/event.h"

/* creators, where the version gives them privileges; above any written level */
#define GR_POWER_INFINITE INT64_MAX

typedef struct {
    const gr_room_version *version;
    const gr_event *create;                /* NULL only before the room has one */
    const gr_event *levels;                /* NULL: the defaults of a room without m.room.power_levels */
} gr_powers;

int64_t gr_power_of_user(const gr_powers *, gr_str user);
int64_t gr_power_for_event(const gr_powers *, gr_str type, bool state);
/* action: "ban", "kick", "redact" (50 by default), "invite" (0), "users_default", "events_default" (0),
 * "state_default" (50). */
int64_t gr_power_for(const gr_powers *, const char *action);
int64_t gr_power_for_notification(const gr_powers *, gr_str kind);     /* 50 by default */
/* Is user a creator: content.creator, or the sender of m.room.create and where it counts its
 * additional_creators? */
bool gr_power_is_creator(const gr_powers *, gr_str user);
/* The number in a power level value by the version's rule.  False when it is none; *out is then 0. */
bool gr_power_value(const gr_room_version *, const gr_json *, int64_t *out);
