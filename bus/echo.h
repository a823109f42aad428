/* echo.h - the actor echo/<anything>: answers an echo with the same text, for tests and for trying the bus
 * by hand. */
#pragma once
#include "bus/actor.h"

extern const gr_actor_kind gr_echo_kind;
