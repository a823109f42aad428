/* room_version.c - the table. See room_version.h. */
#include "proto/room_version.h"

#define DEPTH_64 INT64_MAX
#define DEPTH_53 GR_JSON_INT_MAX

/* Each row names all that holds in that version; what is false is left out. */
static const gr_room_version versions[GR_ROOM_VERSION_COUNT] = {
    {.id = "1", .event_id = GR_EVENT_ID_CHOSEN, .edges_carry_hashes = true, .depth_max = DEPTH_64,
     .state_res = GR_STATE_RES_1, .aliases_rule = true, .redaction_rule = true, .creator_in_content = true,
     .create_in_auth_events = true, .redaction_keeps_origin = true, .redaction_keeps_aliases = true},
    {.id = "2", .event_id = GR_EVENT_ID_CHOSEN, .edges_carry_hashes = true, .depth_max = DEPTH_64,
     .state_res = GR_STATE_RES_2, .aliases_rule = true, .redaction_rule = true, .creator_in_content = true,
     .create_in_auth_events = true, .redaction_keeps_origin = true, .redaction_keeps_aliases = true},
    {.id = "3", .event_id = GR_EVENT_ID_BASE64, .depth_max = DEPTH_64, .state_res = GR_STATE_RES_2,
     .aliases_rule = true, .creator_in_content = true, .create_in_auth_events = true,
     .redaction_keeps_origin = true, .redaction_keeps_aliases = true},
    {.id = "4", .event_id = GR_EVENT_ID_BASE64_URL, .depth_max = DEPTH_64, .state_res = GR_STATE_RES_2,
     .aliases_rule = true, .creator_in_content = true, .create_in_auth_events = true,
     .redaction_keeps_origin = true, .redaction_keeps_aliases = true},
    {.id = "5", .event_id = GR_EVENT_ID_BASE64_URL, .depth_max = DEPTH_64, .key_validity = true,
     .state_res = GR_STATE_RES_2, .aliases_rule = true, .creator_in_content = true,
     .create_in_auth_events = true, .redaction_keeps_origin = true, .redaction_keeps_aliases = true},
    {.id = "6", .event_id = GR_EVENT_ID_BASE64_URL, .json = GR_JSON_CANONICAL, .depth_max = DEPTH_53,
     .key_validity = true, .state_res = GR_STATE_RES_2, .notifications_rule = true,
     .power = GR_POWER_OR_STRING, .creator_in_content = true, .create_in_auth_events = true,
     .redaction_keeps_origin = true},
    {.id = "7", .event_id = GR_EVENT_ID_BASE64_URL, .json = GR_JSON_CANONICAL, .depth_max = DEPTH_53,
     .key_validity = true, .state_res = GR_STATE_RES_2, .notifications_rule = true, .knock = true,
     .power = GR_POWER_OR_STRING, .creator_in_content = true, .create_in_auth_events = true,
     .redaction_keeps_origin = true},
    {.id = "8", .event_id = GR_EVENT_ID_BASE64_URL, .json = GR_JSON_CANONICAL, .depth_max = DEPTH_53,
     .key_validity = true, .state_res = GR_STATE_RES_2, .notifications_rule = true, .knock = true,
     .restricted = true, .power = GR_POWER_OR_STRING, .creator_in_content = true,
     .create_in_auth_events = true, .redaction_keeps_origin = true, .redaction_keeps_allow = true},
    {.id = "9", .event_id = GR_EVENT_ID_BASE64_URL, .json = GR_JSON_CANONICAL, .depth_max = DEPTH_53,
     .key_validity = true, .state_res = GR_STATE_RES_2, .notifications_rule = true, .knock = true,
     .restricted = true, .power = GR_POWER_OR_STRING, .creator_in_content = true,
     .create_in_auth_events = true, .redaction_keeps_origin = true, .redaction_keeps_allow = true,
     .redaction_keeps_authorised = true},
    {.id = "10", .event_id = GR_EVENT_ID_BASE64_URL, .json = GR_JSON_CANONICAL, .depth_max = DEPTH_53,
     .key_validity = true, .state_res = GR_STATE_RES_2, .notifications_rule = true, .knock = true,
     .restricted = true, .knock_restricted = true, .power = GR_POWER_INTEGER, .creator_in_content = true,
     .create_in_auth_events = true, .redaction_keeps_origin = true, .redaction_keeps_allow = true,
     .redaction_keeps_authorised = true},
    {.id = "11", .event_id = GR_EVENT_ID_BASE64_URL, .json = GR_JSON_CANONICAL, .depth_max = DEPTH_53,
     .redacts_in_content = true, .key_validity = true, .state_res = GR_STATE_RES_2,
     .notifications_rule = true, .knock = true, .restricted = true, .knock_restricted = true,
     .power = GR_POWER_INTEGER, .create_in_auth_events = true, .redaction_keeps_allow = true,
     .redaction_keeps_authorised = true, .redaction_keeps_all_create = true, .redaction_keeps_invite = true},
    {.id = "12", .event_id = GR_EVENT_ID_BASE64_URL, .room_id_is_create_hash = true,
     .json = GR_JSON_CANONICAL, .depth_max = DEPTH_53, .redacts_in_content = true, .key_validity = true,
     .state_res = GR_STATE_RES_2_1, .notifications_rule = true, .knock = true, .restricted = true,
     .knock_restricted = true, .power = GR_POWER_INTEGER, .privileged_creators = true,
     .redaction_keeps_allow = true, .redaction_keeps_authorised = true, .redaction_keeps_all_create = true,
     .redaction_keeps_invite = true},
};

const gr_room_version *gr_room_version_find(gr_str id)
{
    for (size_t i = 0; i < GR_ROOM_VERSION_COUNT; i++)
        if (gr_str_is(id, versions[i].id)) return &versions[i];
    return NULL;
}

const gr_room_version *gr_room_version_at(size_t index)
{
    gr_assert(index < GR_ROOM_VERSION_COUNT);
    return &versions[index];
}
