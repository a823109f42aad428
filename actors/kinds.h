/* kinds.h - all kinds of actors that a node of Greenroom runs. */
#pragma once
#include "bus/actor.h"

extern const gr_actor_kind *const gr_kinds[];        /* NULL-ended */
