/* level.h of the next version, as the tests imagine it. */
#pragma once

enum { GR_LEVEL_LOW = 1, GR_LEVEL_HIGH = 2 };
