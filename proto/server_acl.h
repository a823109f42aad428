/* server_acl.h - may a server take part in a room?  m.room.server_acl.
 *
 * Client-server API, "Server Access Control Lists".  Asked for every request of another server about a room.  Pure.
 */
#pragma once
#include "proto/json.h"

/* content: of the room's m.room.server_acl; NULL: it has none, and everybody may.  The port of server_name does not matter;
 * what is no server name may not.  Lists of a wrong type count as empty, entries that are no strings as absent. */
bool gr_server_acl_allows(const gr_json *content, gr_str server_name);
/* '*' stands for any number of characters, '?' for one; the case of ASCII letters does not matter.  Takes no more time than
 * the product of the sizes. */
bool gr_server_acl_matches(gr_str pattern, gr_str text);
