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
extern const gr_call_route gr_routes_enter[];
extern const gr_call_route gr_routes_alias[];
extern const gr_call_route gr_routes_user[];
extern const gr_call_route gr_routes_room_read[];
extern const gr_call_route gr_routes_receipt[];
extern const gr_call_route gr_routes_keys[];
extern const gr_call_route gr_routes_room_keys[];
extern const gr_call_route gr_routes_space[];
extern const gr_call_route gr_routes_report[];
extern const gr_call_route gr_routes_mutual[];
extern const gr_call_route gr_routes_openid[];
extern const gr_call_route gr_routes_shared_secret[];
extern const gr_call_route gr_routes_fallback[];
extern const gr_call_route gr_routes_oauth[];
extern const gr_call_route gr_routes_consent[];
extern const gr_call_route gr_routes_browser[];
extern const gr_call_route gr_routes_manage[];
extern const gr_call_route gr_routes_sso[];
extern const gr_call_route gr_routes_email[];

/* What users and other servers ask alike; each looks at who asks. */
void gr_routes_serve_keys_query(gr_call *);
void gr_routes_serve_keys_claim(gr_call *);
void gr_routes_serve_rooms(gr_call *);
void gr_routes_serve_rooms_post(gr_call *);
void gr_routes_serve_userinfo(gr_call *);
void gr_routes_serve_well_known_server(gr_call *);
/* {room_id, servers} of what an alias stands for here, as `then` of a name_look. */
void gr_routes_alias_known(gr_call *, const gr_answer *);

/* Those of other servers. */
extern const gr_call_route gr_routes_server_keys[];
extern const gr_call_route gr_routes_server[];
extern const gr_call_route gr_routes_transaction[];
extern const gr_call_route gr_routes_resident[];
extern const gr_call_route gr_routes_invite[];
extern const gr_call_route gr_routes_fetch[];
extern const gr_call_route gr_routes_server_space[];
extern const gr_call_route gr_routes_threepid[];
