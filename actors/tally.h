/* tally.h - the running sums of a node that actors keep. See gr_ctx_tally. */
#pragma once
#include "bus/actor.h"

enum {
    GR_TALLY_GAP_LOADED,       /* bodies of events parsed in order to take what a gap flow brought */
    GR_TALLY_GAP_FETCHED,      /* events that gap flows got from other servers */
    GR_TALLY_GAP_HEADERS,      /* headers of events read to make a state out of ids */
    GR_TALLY_GAP_INCOMPLETE,   /* states that were told and taken without events that nobody gave */
    GR_TALLY_COUNT
};
_Static_assert((int)GR_TALLY_COUNT <= (int)GR_TALLIES, "one sum each");
