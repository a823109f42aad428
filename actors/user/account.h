/* account.h - the account part of a user actor: password hash, flags, devices, profile. See user.h.
 *
 * Called by user.c only.  Files: account.c, guesses.c, threepids.c, validity.c, devices.c, sweep.c, profile.c.  Rows: "a"
 * (gr_user_account), "d <device>" (gr_user_device), "e <medium> 0 <address>" (gr_user_threepid), "y" (the profile, a JSON
 * object), "s <what>" (how far rooms were told: a room id), "w" (a logout of all devices that is under way).
 */
#pragma once
#include "actors/user/user.h"

enum {
    GR_USER_DEVICES_SHOWN_MAX = 1000, GR_USER_DEVICES_LOOKED_MAX = 200, GR_USER_DEVICES_INSPECTED_MAX = 200,
    GR_USER_THREEPIDS_MAX = 32,
    GR_USER_LOGOUT_STEP = 20,      /* devices ended by one message, when they are named */
    GR_USER_DEVICES_STEP = 50,     /* likewise, when it is all of them */
    GR_USER_SEEN_EVERY_MS = 5 * 60 * 1000,
    GR_USER_PROFILE_MAX = 64 * 1024, GR_USER_PROFILE_KEY_MAX = 255,
    GR_USER_DISPLAYNAME_MAX = 256, GR_USER_AVATAR_URL_MAX = 1000,
    GR_USER_ROOMS_STEP = 64        /* rooms told of a change by one message */
};

/* --- account.c --- */
gr_user_account gr_user_account_read(gr_ctx *);                    /* {0} when there is none; in the arena */
void gr_user_account_put(gr_user *, const gr_user_account *, gr_ctx *);
void gr_user_account_load(gr_user *, gr_ctx *);
void gr_user_account_drop(gr_user *);
/* The object {agreed, agreed_ts}: name and version of each policy that was agreed to, and when. */
void gr_user_account_inspect(gr_ctx *, gr_buf *out);
void gr_user_on_create(gr_user *, const gr_user_create *, gr_ctx *);
void gr_user_on_auth_info(gr_user *, const gr_user_auth_info *, gr_ctx *);
void gr_user_on_password(gr_user *, const gr_user_password *, gr_ctx *);
void gr_user_on_deactivate(gr_user *, const gr_user_deactivate *, gr_ctx *);

/* --- devices.c --- */
void gr_user_on_login(gr_user *, const gr_user_login *, gr_ctx *);
void gr_user_on_logout(gr_user *, const gr_user_logout *, gr_ctx *);
void gr_user_on_devices(gr_user *, const gr_user_devices *, gr_ctx *);
/* "devices":[...] for who runs the server: with who vouched for each. */
void gr_user_devices_inspect(gr_ctx *, gr_buf *out);
void gr_user_on_device_put(gr_user *, const gr_user_device_put *, gr_ctx *);
void gr_user_on_seen(gr_user *, const gr_user_seen *, gr_ctx *);
/* Deletes devices (these; all but keep when none is named) and ends their tokens; the token index answers. */
void gr_user_devices_end(gr_user *, gr_strs devices, gr_str keep, gr_ctx *);

/* Deletes one, with its keys; its tokens are ended already. */
void gr_user_device_end(const gr_user *, gr_ctx *, gr_str device, const gr_user_device *);
/* Was a device seen at this address? */
bool gr_user_devices_seen_at(gr_ctx *, gr_str ip);

/* --- guesses.c --- */
/* Counts an attempt at the password; answers how long it has to wait: then it was not counted. */
uint64_t gr_user_guess(gr_user *, gr_ctx *, gr_str ip);
void gr_user_on_guessed(gr_user *, const gr_user_guessed *, gr_ctx *);

/* --- threepids.c --- */
void gr_user_on_threepid_put(gr_user *, const gr_user_threepid_put *, gr_ctx *);
void gr_user_on_threepids(gr_ctx *);
void gr_user_on_threepid_drop(gr_user *, const gr_user_threepid_drop *, gr_ctx *);
void gr_user_threepids_end(gr_user *, gr_ctx *);                   /* all of them, with their names */

/* --- validity.c --- */
/* Sets it, with its timer, and whether tokens are held; the caller puts the account. */
void gr_user_valid_until(gr_user *, gr_user_account *, uint64_t until_ms, gr_ctx *);
void gr_user_on_valid(gr_user *, const gr_user_valid *, gr_ctx *);
void gr_user_on_renew(gr_user *, const gr_user_renew *, gr_ctx *);
void gr_user_on_valid_timer(gr_user *, gr_ctx *);

/* --- sweep.c --- */
void gr_user_sweep_devices(gr_user *, gr_ctx *, gr_str keep);      /* all but keep */
void gr_user_sweep_on_devices_timer(gr_user *, gr_ctx *);
void gr_user_sweep_erase(gr_ctx *);

/* --- profile.c --- */
void gr_user_profile_load(gr_user *, gr_ctx *);
void gr_user_on_profile(gr_user *, gr_ctx *);
void gr_user_on_profile_get(gr_user *, const gr_user_profile_get *, gr_ctx *);
void gr_user_on_profile_put(gr_user *, const gr_user_profile_put *, gr_ctx *);
void gr_user_profile_erase(gr_user *, gr_ctx *);
void gr_user_tell_directory(gr_user *, gr_ctx *);
/* Starts telling all rooms; goes on by the durable timer of that name.  what: "profile" or "leave". */
void gr_user_spread(gr_user *, const char *what, gr_ctx *);
void gr_user_spread_on(gr_user *, gr_str what, gr_ctx *);
