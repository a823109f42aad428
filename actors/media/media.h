/* media.h - the media actor: what is known of one upload. Its bytes lie in the media store (edge/media_store.h).
 *
 * Addressed media/<media id>.
 *
 *   m    the upload (gr_media_row); one that was reserved and never came is deleted by the durable timer "reserved"
 */
#pragma once
#include "bus/actor.h"

enum { GR_MEDIA_RESERVED_MS = 24 * 3600 * 1000 };

extern const gr_actor_kind gr_media_kind;
