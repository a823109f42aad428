/* directory.h - the directories: directory/rooms lists published rooms, directory/users the local users.
 *
 * Rooms and users post what is shown of them; questions are answered by work over a snapshot of the own keyspace, so that
 * nothing grows in memory with the number of entries.
 *
 *   e <room id or user id>    what was posted (gr_directory_put, gr_directory_user)
 */
#pragma once
#include "bus/actor.h"

enum { GR_DIRECTORY_PAGE_MAX = 500, GR_DIRECTORY_ASKERS_MAX = 256 };

extern const gr_actor_kind gr_directory_kind;

/* The scans behind the two questions; input: the encoded question, output: JSON. */
extern const gr_work gr_directory_rooms_work, gr_directory_users_work;
