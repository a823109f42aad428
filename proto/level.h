/* level.h - the feature levels that this program understands.
 *
 * Whatever changes what nodes say to each other or store - a new message type, a new field, another meaning of an old one -
 * belongs to a level: 1 above GR_LEVEL_HIGH of the last release. Fields name theirs in the catalogue, and a type is as old as
 * its first field; another meaning asks gr_ctx_level before it is written and gr_msg.level when it is read. A node
 * that still speaks GR_LEVEL_LOW can be talked with, so a release keeps the meaning of the level before its own.
 * See bus/level.h for when a new level comes into use.
 */
#pragma once

enum { GR_LEVEL_LOW = 1, GR_LEVEL_HIGH = 1 };
