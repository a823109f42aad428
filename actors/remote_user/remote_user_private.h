/* remote_user_private.h - what the files of the remote user share. */
#pragma once
#include "actors/remote_user/remote_user.h"

#include "proto/json.h"

/* --- remote_user.c --- */
/* Where a text is in a sorted list, or belongs. */
bool gr_remote_find(const gr_strs *, gr_str, size_t *at);
void gr_remote_device_is(gr_remote_user *, gr_str device, bool there);      /* in list.devices */
void gr_remote_save(const gr_remote_user *, gr_ctx *);             /* row l */
/* Rooms are told, soon, that keys of this user changed. */
void gr_remote_announce(gr_remote_user *, gr_ctx *);
/* Forgets what is kept of the list, which is in that state now. */
void gr_remote_forget(gr_remote_user *, gr_remote_list_state, gr_ctx *);

/* --- update.c --- */
void gr_remote_on_devices(gr_remote_user *, const gr_remote_user_devices *, gr_ctx *);
void gr_remote_on_signing(gr_remote_user *, const gr_remote_user_signing *, gr_ctx *);
/* Keeps or forgets one device; keys NULL: it has none.  False when that is not what keys of the device look like. */
bool gr_remote_put_device(gr_remote_user *, gr_str device, const gr_json *keys, gr_str display_name, gr_ctx *);
/* Keeps the cross-signing keys among these that are keys of the user. */
void gr_remote_put_signing(gr_remote_user *, const gr_json *master, const gr_json *self_signing, gr_ctx *);

/* --- resync.c --- */
/* The list does not follow any more: it will be fetched. */
void gr_remote_stale(gr_remote_user *, gr_ctx *);
void gr_remote_on_resync_timer(gr_remote_user *, gr_ctx *);
void gr_remote_on_list(gr_remote_user *, const gr_msg *, gr_ctx *);
