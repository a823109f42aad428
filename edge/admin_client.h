/* admin_client.h - the command line's way to a running node: requests over its admin socket.
 *
 * A data directory is found by --dir, else GREENROOM_DIR, else ./data or the present directory when there is a
 * configuration in it.  Texts of errors say what to do next.
 */
#pragma once
#include "edge/cli.h"
#include "edge/config.h"

/* The directory to work on; NULL after it has said on standard error that there is none. */
const char *gr_admin_client_dir(gr_arena *, const char *given);
/* Loads DIR's configuration; says what is wrong and gives false otherwise.  Followed by gr_config_free in both cases. */
bool gr_admin_client_config(gr_config *, const char *dir);
/* One request; body empty: GET.  *status is the HTTP status; *answer lies in the arena.  Fails when no node answers. */
GR_MUST_USE gr_err gr_admin_client_call(gr_arena *, const char *dir, const char *path, gr_str body, int *status, gr_str *answer);
/* The same for commands: prints errors (of the node too) and gives false. */
bool gr_admin_client_ask(gr_arena *, const char *dir, const char *path, gr_str body, gr_str *answer);
