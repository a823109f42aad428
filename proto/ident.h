/* ident.h - grammar and limits of Matrix identifiers, and their parts as views.
 *
 * Appendices, "Identifier Grammar".  Every identifier with a sigil is at most 255 bytes.  What other servers
 * may have made long ago (historical user ids) is accepted; what this server makes itself follows the
 * strict rules. Views point into the argument.  Nothing here allocates.
 */
#pragma once
#include "proto/str.h"

enum { GR_IDENT_MAX = 255, GR_SERVER_NAME_MAX = 230, GR_LOCALPART_MAX = 253 };

typedef struct {
    char sigil;            /* '@' '!' '$' '#' */
    gr_str localpart;      /* between the sigil and the first ':' (or the end) */
    gr_str domain;         /* after the first ':'; empty for ids without one */
} gr_ident;

/* Splits without judging the parts.  False when id is empty or has no sigil of the four; *out is then
 * zeroed. */
bool gr_ident_split(gr_str id, gr_ident *out);
gr_str gr_ident_localpart(gr_str id);                     /* empty when there is none */
/* empty for version 12 rooms and hashed event ids */
gr_str gr_ident_domain(gr_str id);
/* does its domain equal server_name (case matters) */
bool gr_ident_is_local(gr_str id, gr_str server_name);

/* Whole identifiers. */
bool gr_ident_user(gr_str);             /* any user id that may appear in a room, historical ones too */
/* one that may be shown outside of events: U+0021..U+007E, not empty */
bool gr_ident_user_strict(gr_str);
bool gr_ident_room(gr_str);             /* "!opaque:domain" or "!" and 43 characters of URL-safe base64 */
/* "$opaque:domain" or "$" and 43 characters of either base64 alphabet */
bool gr_ident_event(gr_str);
bool gr_ident_alias(gr_str);

/* server_name = hostname [":" port]; hostname is a DNS name, a dotted quad or an IPv6 literal in brackets. */
bool gr_ident_server_name(gr_str);
/* Splits a valid server name: host without brackets, port 0 when none is given, *literal when host is an IP
 * address. */
bool gr_ident_server_split(gr_str server_name, gr_str *host, uint16_t *port, bool *literal);

/* Parts and ids without a sigil. */
bool gr_ident_localpart_new(gr_str);    /* may be registered: 1..253 of a-z 0-9 . _ = - / + */
bool gr_ident_opaque(gr_str);           /* 1..255 of A-Z a-z 0-9 - . _ ~ ("Opaque Identifiers") */
/* an address that mail can be sent to: printable ASCII without blanks and marks of lists, at most 254 bytes */
bool gr_ident_email(gr_str);
/* 1..255 bytes of UTF-8 without control characters; clients choose freely */
bool gr_ident_device(gr_str);
bool gr_ident_txn(gr_str);              /* as a device id */
bool gr_ident_key(gr_str);              /* "algorithm:name", for example "ed25519:a_1" */
/* common namespaced identifier: 1..255, starts a-z, then a-z 0-9 - _ . */
bool gr_ident_namespaced(gr_str);
