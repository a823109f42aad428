/* upgrade.h - the upgrade of a room: a flow that has a new room made, closes the old one and moves what belongs along.
 *
 * Lives at upgrade/<old room>, so that a room is upgraded by one flow at a time.  Its step and all it needs to
 * repeat it are one row; a durable timer repeats a step that was not answered.  Asked by the edge with
 * upgrade_room; answers result {"replacement_room"}, or the first error.  Until the old room has its tombstone
 * an error ends the flow; after that what can't be moved is left.  A finished upgrade is remembered for a
 * while: the same request gets the same room.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_UPGRADE_STEP_MS = 15000,
    GR_UPGRADE_ASK_MS = 5000,
    GR_UPGRADE_TRIES_MAX = 8,
    GR_UPGRADE_KEPT_MS = 600000,
    GR_UPGRADE_ASKERS_MAX = 4,
    GR_UPGRADE_CREATORS_MAX = 64
};

typedef enum {
    GR_UPGRADE_LOOK, GR_UPGRADE_MAKE, GR_UPGRADE_CLOSE, GR_UPGRADE_CHILDREN, GR_UPGRADE_CHILD, GR_UPGRADE_ALIAS,
    GR_UPGRADE_ALIAS_NEW, GR_UPGRADE_ALIAS_OLD, GR_UPGRADE_CANONICAL, GR_UPGRADE_PUBLISH, GR_UPGRADE_UNPUBLISH,
    GR_UPGRADE_DONE
} gr_upgrade_step;

extern const gr_actor_kind gr_upgrade_kind;
