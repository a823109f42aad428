/* terms.h - terms that people agree to when they register, as the configuration names them (terms.policies).
 *
 * An entry is "NAME VERSION LANGUAGE URL TITLE": the same policy in several languages has several entries.
 */
#pragma once
#include "proto/err.h"

typedef struct { gr_str name, version, language, url, title; } gr_term;      /* views of the entry */

/* GR_INVALID_PARAM says what is wrong with it. */
GR_MUST_USE gr_err gr_term_parse(gr_arena *, gr_str entry, gr_term *);
/* What clients are told, {"policies": {..}} (Client-Server API, "Terms of service at registration"), in the arena; empty
 * when there are none.  The entries were checked. */
gr_str gr_term_params(gr_arena *, const char *const *entries, size_t count);
