/* uri.h - writing paths and queries. RFC 3986. */
#pragma once
#include "proto/str.h"

/* One segment or query value: all but A-Z a-z 0-9 - . _ ~ as %xx. */
gr_str gr_uri_encode(gr_arena *, gr_str text);
