/* email.h - asking for a mail by which somebody shows that an address is theirs: for clients and for pages. */
#pragma once
#include "edge/call.h"

/* purpose: register, password or add.  secret: the client's, which it shows again later. */
typedef struct { gr_str purpose, address, secret, next_link; uint64_t attempt; } gr_email_wish;

/* The session of that wish; its address in lower case. */
gr_str gr_email_sid(gr_call *, const gr_email_wish *);
/* Has the mail sent, then calls `then`.  An error: it was not asked, because of what was given or how often. */
GR_MUST_USE gr_err gr_email_request(gr_call *, const gr_email_wish *, gr_call_then *then);
