/* auth.h - may this event be in the room?  The authorisation rules of room versions 1 to 12.
 *
 * Server-server API, "Authorisation rules", and the rules of each room version, driven by its switches.
 * Pure: the state is asked through a callback, so the same code decides about a send, a received event and
 * each step of state resolution.  A refusal is GR_FORBIDDEN (GR_BAD_JSON for malformed events) with a text
 * that tells the sender why; the text lives in the arena.  Signatures are not judged here but by
 * gr_event_check.
 */
#pragma once
#include "proto/power.h"

typedef struct {
    /* The event of the room's state with this key, or NULL.  Valid at least until the decision is made. */
    const gr_event *(*get)(void *arg, gr_str type, gr_str state_key);
    void *arg;
} gr_auth_state;

/* All rules but those about the auth_events list: against the state before the event, against its auth
 * events (give a state made of them and the room's m.room.create), or against the current state. */
GR_MUST_USE gr_err gr_auth_check(gr_arena *, const gr_event *, const gr_auth_state *);

/* The rules about the list itself: no duplicates, only what selection asks for, none rejected, all of this
 * room, and a create event where the version wants one.  rejected[i] tells of auth_events[i]; NULL: none
 * is. */
GR_MUST_USE gr_err gr_auth_check_list(gr_arena *, const gr_event *, const gr_event *const *auth_events,
                                      const bool *rejected, size_t count);

/* Which state an event needs for its auth_events, in a fixed order, without duplicates. */
enum { GR_AUTH_NEEDS_MAX = 8 };
typedef struct { gr_str type, state_key; } gr_auth_key;
typedef struct { gr_auth_key at[GR_AUTH_NEEDS_MAX]; size_t count; } gr_auth_needs;
/* state_key is only looked at for m.room.member.  The views point into the arguments. */
gr_auth_needs gr_auth_select(const gr_room_version *, gr_str type, gr_str sender, gr_str state_key,
                             const gr_json *content);

/* May this redaction be applied to target?  ("Handling redactions": redact level, or same domain as the
 * target's sender.) Where redaction_rule is part of authorisation, an accepted redaction is always applied:
 * true. */
bool gr_auth_may_redact(const gr_auth_state *, const gr_event *redaction, const gr_event *target);

gr_powers gr_auth_powers(const gr_room_version *, const gr_auth_state *);
/* "join", "invite", "knock", "leave" or "ban"; "leave" when the user has no member event. */
gr_str gr_auth_membership(const gr_auth_state *, gr_str user);
/* "invite" when the room has none; empty when it is no text, and so none that is known */
gr_str gr_auth_join_rule(const gr_auth_state *);
