/* routes.c - all routes. See routes.h. */
#include "edge/presence.h"
#include "edge/routes.h"
#include "edge/sync.h"

const gr_call_route *const gr_call_routes[] = {gr_routes_login, gr_routes_account, gr_routes_room, gr_routes_member,
                                                gr_routes_enter, gr_routes_alias,
                                                gr_routes_media, gr_routes_directory, gr_routes_discovery, gr_routes_user,
                                                gr_routes_sync, gr_routes_room_read, gr_routes_receipt, gr_routes_keys,
                                                gr_routes_room_keys, gr_routes_space, gr_routes_report,
                                                gr_routes_mutual, gr_routes_openid, gr_routes_presence,
                                                gr_routes_shared_secret, gr_routes_fallback, gr_routes_oauth, gr_routes_consent,
                                                gr_routes_browser, gr_routes_manage, gr_routes_sso, gr_routes_email, NULL};

const gr_call_route *const gr_call_server_routes[] = {gr_routes_server_keys, gr_routes_server, gr_routes_transaction,
                                                       gr_routes_resident, gr_routes_invite, gr_routes_fetch,
                                                       gr_routes_server_space, gr_routes_threepid, NULL};
