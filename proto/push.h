/* push.h - push rules: the default ones, a user's changes to them, and what they make of an event.
 *
 * Client-server API, "Push Rules": kinds override, content, room, sender, underride in this order, the user's
 * own rules
 * before the server's within a kind, first match wins.  A user's rules are stored as JSON only when they
 * differ from the
 * defaults.  Pure.
 */
#pragma once
#include "proto/json.h"

/* Whom the rules are evaluated for, and facts of the room that conditions ask for. */
typedef struct {
    gr_str user, displayname; /* of the reader in that room; empty for nobody in particular */
    uint64_t members;         /* joined members */
    int64_t sender_power, room_notify_power;
} gr_push_who;

typedef struct {
    bool notify, highlight;
    gr_str sound;   /* empty: none */
    gr_str rule_id; /* which rule matched; empty: none */
} gr_push_result;

typedef struct gr_push_rules gr_push_rules;
/* A ruleset ready to be evaluated, in the arena: the defaults for this user, changed by what is stored
 * (JSON as
 * gr_push_change makes it; empty: nothing).  Stored text that can't be read counts as the defaults. */
const gr_push_rules *gr_push_compile(gr_arena *, gr_str user, gr_str stored);
/* event: a whole event with type, sender, room_id, content, state_key. */
gr_push_result gr_push_evaluate(const gr_push_rules *, const gr_json *event, const gr_push_who *);

/* The actions of a result, or of one of the server's rules as it is by default: a JSON array. */
gr_str gr_push_actions(gr_arena *, const gr_push_result *);
gr_str gr_push_default_actions(gr_arena *, gr_str rule_id);

/* JSON for clients: the object of GET /pushrules/ (global ruleset inside), or the part named by path
 * ("", "global/", "global/override/", "global/override/.m.rule.master", ".../actions", ".../enabled"). */
GR_MUST_USE gr_err gr_push_json(gr_arena *, gr_str user, gr_str stored, gr_str path, gr_str *json);
/* What to store after a change.  kind: "override" ...; body as in the PUT of the API. */
GR_MUST_USE gr_err gr_push_put(gr_arena *, gr_str user, gr_str stored, gr_str kind, gr_str rule_id,
                               const gr_json *body, gr_str before, gr_str after, gr_str *stored_after);
GR_MUST_USE gr_err gr_push_delete(gr_arena *, gr_str user, gr_str stored, gr_str kind, gr_str rule_id,
                                  gr_str *stored_after);
/* attribute: "enabled" (body {"enabled": bool}) or "actions" (body {"actions": [...]}) */
GR_MUST_USE gr_err gr_push_attribute(gr_arena *, gr_str user, gr_str stored, gr_str kind, gr_str rule_id,
                                     gr_str attribute, const gr_json *body, gr_str *stored_after);
