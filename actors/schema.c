/* schema.c - the present schema. See schema.h. */
#include "actors/schema.h"

/* Version 1 is the first: nothing had to be changed so far. */
const gr_schema gr_schema_actors = {.version = 1, .compatible = 1};
