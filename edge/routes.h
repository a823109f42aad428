/* routes.h - the tables of client routes, one per topic; each ends with a row without a pattern. See call.h. */
#pragma once
#include "edge/sync.h"

extern const gr_call_route gr_routes_login[];
extern const gr_call_route gr_routes_account[];
extern const gr_call_route gr_routes_media[];
extern const gr_call_route gr_routes_directory[];
extern const gr_call_route gr_routes_discovery[];
extern const gr_call_route gr_routes_room[];
extern const gr_call_route gr_routes_member[];
extern const gr_call_route gr_routes_user[];
extern const gr_call_route gr_routes_room_read[];
extern const gr_call_route gr_routes_receipt[];
extern const gr_call_route gr_routes_keys[];
extern const gr_call_route gr_routes_room_keys[];
extern const gr_call_route gr_routes_space[];
extern const gr_call_route gr_routes_report[];
extern const gr_call_route gr_routes_mutual[];
