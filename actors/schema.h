/* schema.h - the layout of the rows that actors keep, as a version with the one-time changes that led to it.
 *
 * Whoever opens a store for actors runs gr_schema_upgrade with it first.
 */
#pragma once
#include "persistence/schema.h"

extern const gr_schema gr_schema_actors;
