/* cas.h - the XML of CAS: whom a ticket stands for, and which session ends. CAS Protocol 3.0, 2.5 to 2.7 and appendix A.
 *
 * Read by expat: no document type (so no entities), no references outside, at most GR_CAS_SIZE_MAX bytes.
 */
#pragma once
#include "proto/json.h"

enum { GR_CAS_SIZE_MAX = 256 * 1024, GR_CAS_DEPTH_MAX = 16 };

/* {"user", "sub", attribute: list of texts, ...} of a success of p3/serviceValidate.  GR_FORBIDDEN for anything else. */
GR_MUST_USE gr_err gr_cas_validated(gr_arena *, gr_str xml, const gr_json **person);
/* The SessionIndex of a samlp:LogoutRequest: the ticket that began the session; empty when it is none. */
gr_str gr_cas_logout_session(gr_arena *, gr_str xml);
