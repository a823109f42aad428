/* appservice.h - the registration files of application services, as far as logging in needs them: whose token it is, and
 * which users are theirs. Application Service API, "Registration".
 *
 * Read once at the start.  Patterns are POSIX extended regular expressions here, which the usual ones are too.
 */
#pragma once
#include "edge/config.h"

#include <regex.h>

enum { GR_APPSERVICES_MAX = 64, GR_APPSERVICE_PATTERNS_MAX = 64, GR_APPSERVICE_FILE_MAX = 1 << 20 };

typedef struct {
    gr_str id, sender;                 /* sender: its own user, a localpart */
    unsigned char token_hash[32];      /* SHA-256 of as_token */
    struct { regex_t regex; bool is_exclusive; } users[GR_APPSERVICE_PATTERNS_MAX];
    size_t user_count;
} gr_appservice;

typedef struct gr_appservices gr_appservices;
/* GR_INVALID_PARAM names the file and what is wrong with it. */
GR_MUST_USE gr_err gr_appservices_read(gr_arena *, const gr_config_list *files, gr_str server_name, gr_appservices **);
void gr_appservices_free(gr_appservices **);
/* Whose token it is; NULL: nobody's.  All accept NULL for none. */
const gr_appservice *gr_appservices_find(const gr_appservices *, gr_str token);
/* Is this user (a whole id) its own: its sender, or in its namespaces? */
bool gr_appservice_owns(const gr_appservice *, gr_str user);
/* Does some application service want this user for itself? */
bool gr_appservices_exclusive(const gr_appservices *, gr_str user);
