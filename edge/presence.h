/* presence.h - what requests of users say of their presence, told to their presence actors; may be lost. */
#pragma once
#include "edge/call.h"

extern const gr_call_route gr_routes_presence[];

/* Asks for news: shown is set_presence as given, may be empty. */
void gr_presence_polls(gr_call *, gr_str shown, uint64_t wait_ms);
/* Has done something that others see; told once a minute. */
void gr_presence_acted(gr_call *);
