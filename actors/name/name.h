/* name.h - the name actor: one name that belongs to one thing, with no two winners.
 *
 * Room aliases ("name/#a:b") and registration tokens (gr_token_name).  A claim holds until it is confirmed or its
 * time is over; who repeats it with the same holder is answered the same.
 *
 *   n            the claim (gr_name_row)
 *   u <holder>   has used it (names that count their uses)
 */
#pragma once
#include "bus/actor.h"

extern const gr_actor_kind gr_name_kind;
