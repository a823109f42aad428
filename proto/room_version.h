/* room_version.h - one table with what distinguishes room versions 1 to 12.
 *
 * Specification, "Room Versions".  Code asks a field, never the version's name: a new version is a new row.
 * The rows are constant and live for ever; pointers to them may be kept and compared.
 */
#pragma once
#include "proto/json.h"

#define GR_ROOM_VERSION_DEFAULT "12"
enum { GR_ROOM_VERSION_COUNT = 12 };

typedef enum {
    GR_EVENT_ID_CHOSEN,        /* "$opaque:domain", a field of the event chosen by its origin */
    GR_EVENT_ID_BASE64,        /* "$" and the reference hash in unpadded base64 */
    GR_EVENT_ID_BASE64_URL     /* the same in the URL-safe alphabet */
} gr_event_id_rule;

typedef enum { GR_STATE_RES_1, GR_STATE_RES_2, GR_STATE_RES_2_1 } gr_state_res;

typedef enum {
    GR_POWER_ANY_NUMBER,       /* integers, floats (truncated) and strings of integers */
    GR_POWER_OR_STRING,        /* integers and strings of integers */
    GR_POWER_INTEGER           /* integers only, and every property is checked for it */
} gr_power_rule;

typedef struct {
    const char *id;                    /* "12" */
    /* Format */
    gr_event_id_rule event_id;
    bool edges_carry_hashes;           /* prev_events and auth_events are [id, {"sha256": ...}] pairs */
    /* "!" + reference hash of the create event, which itself has no room_id */
    bool room_id_is_create_hash;
    gr_json_mode json;                 /* GR_JSON_CANONICAL: canonical JSON is enforced */
    int64_t depth_max;
    bool redacts_in_content;           /* m.room.redaction names its target in content, not at top level */
    bool key_validity;                 /* a signing key must be valid at origin_server_ts */
    gr_state_res state_res;
    /* Authorisation */
    bool aliases_rule;                 /* m.room.aliases is allowed by its domain alone */
    bool redaction_rule;               /* the redact level is part of authorisation */
    /* changes of content.notifications are checked like those of content.events */
    bool notifications_rule;
    bool knock;
    bool restricted;                   /* join rule restricted, join_authorised_via_users_server */
    bool knock_restricted;
    gr_power_rule power;
    /* m.room.create needs content.creator; else the creator is the sender */
    bool creator_in_content;
    bool privileged_creators;          /* creators (with additional_creators) have infinite power */
    bool create_in_auth_events;        /* false where the room id already names the create event */
    /* Redaction */
    bool redaction_keeps_origin;       /* top-level origin, membership, prev_state */
    bool redaction_keeps_aliases;      /* content.aliases of m.room.aliases */
    bool redaction_keeps_allow;        /* content.allow of m.room.join_rules */
    bool redaction_keeps_authorised;   /* content.join_authorised_via_users_server of m.room.member */
    bool redaction_keeps_all_create;   /* all content of m.room.create, else just creator */
    /* content.invite of power levels, third_party_invite.signed, content.redacts */
    bool redaction_keeps_invite;
} gr_room_version;

/* The row of this version, or NULL when it is unknown.  An absent room_version in m.room.create means "1". */
const gr_room_version *gr_room_version_find(gr_str id);
const gr_room_version *gr_room_version_at(size_t index);      /* 0 .. GR_ROOM_VERSION_COUNT - 1, in order */
