/* kinds.c - the list of all kinds. See kinds.h. */
#include "actors/kinds.h"

#include "actors/create/create.h"
#include "actors/create/upgrade.h"
#include "actors/destination/destination.h"
#include "actors/directory/directory.h"
#include "actors/email/email.h"
#include "actors/feed/feed.h"
#include "actors/gap/gap.h"
#include "actors/herald/herald.h"
#include "actors/inbound/inbound.h"
#include "actors/join/join.h"
#include "actors/keys/keys.h"
#include "actors/login/login.h"
#include "actors/media/media.h"
#include "actors/name/name.h"
#include "actors/oauth/client.h"
#include "actors/oauth/grant.h"
#include "actors/policy/policy.h"
#include "actors/presence/presence.h"
#include "actors/provider/provider.h"
#include "actors/remote_user/remote_user.h"
#include "actors/room/room.h"
#include "actors/servers/servers.h"
#include "actors/token/token.h"
#include "actors/user/user.h"
#include "bus/echo.h"

const gr_actor_kind *const gr_kinds[] = {&gr_feed_kind, &gr_token_index_kind, &gr_login_kind, &gr_user_kind,
                                         &gr_room_kind, &gr_create_kind, &gr_name_kind, &gr_directory_kind,
                                         &gr_media_kind, &gr_upgrade_kind, &gr_destination_kind, &gr_keys_kind, &gr_inbound_kind,
                                         &gr_servers_kind, &gr_remote_user_kind, &gr_herald_kind, &gr_presence_kind,
                                         &gr_gap_kind, &gr_join_kind, &gr_email_kind, &gr_client_kind, &gr_grant_kind,
                                         &gr_provider_kind, &gr_policy_kind,
                                         &gr_echo_kind, NULL};
