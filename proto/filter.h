/* filter.h - is a filter one that a client may give?  Client-server API, "Filtering".  Pure. */
#pragma once
#include "proto/json.h"

/* GR_BAD_JSON, naming the field, for what has a wrong type, a limit that is negative, or ids that are
 * none. Fields the
 * specification does not know are let through. */
GR_MUST_USE gr_err gr_filter_check(gr_arena *, const gr_json *filter);
