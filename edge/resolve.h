/* resolve.h - from a server name to where its requests go: the order of the specification, as a state machine.
 *
 * Server-server API, "Resolving server names".  It says what is to be looked up next and is told what was found; no socket,
 * no clock.  What comes out is an address to connect to, the name that the certificate must have (also sent as SNI), and the
 * Host header; the last two never come from DNS.
 */
#pragma once
#include "proto/err.h"

enum { GR_RESOLVE_HOST = 256, GR_RESOLVE_TARGETS = 8, GR_RESOLVE_PORT = 8448, GR_RESOLVE_HTTPS = 443 };

typedef enum {
    GR_RESOLVE_WELL_KNOWN,      /* fetch https://<wanted>/.well-known/matrix/server; tell gr_resolve_well_known */
    GR_RESOLVE_SRV,             /* look up the SRV record <wanted>; tell gr_resolve_srv */
    GR_RESOLVE_DONE,            /* targets, in the order to be tried */
    GR_RESOLVE_NOWHERE          /* it says itself that there is no service, or its name is none */
} gr_resolve_step;

typedef struct { char host[GR_RESOLVE_HOST]; uint16_t port; } gr_resolve_target;

typedef struct {
    gr_resolve_step step;
    char wanted[GR_RESOLVE_HOST + 32];
    char name[GR_RESOLVE_HOST];         /* of the certificate: a host name, or an IP address (without brackets) */
    char header[GR_RESOLVE_HOST];       /* Host */
    gr_resolve_target targets[GR_RESOLVE_TARGETS];
    size_t target_count;
    bool is_old_srv;                    /* the deprecated service name is being looked up */
} gr_resolve;

typedef struct { const char *host; uint16_t port, priority, weight; } gr_resolve_record;

void gr_resolve_begin(gr_resolve *, gr_str server_name);
/* A host that is no Matrix server: at the port it names, or that of https. */
void gr_resolve_plain(gr_resolve *, gr_str host);
/* delegate: the server name that was found; empty: none, or no valid answer. */
void gr_resolve_well_known(gr_resolve *, gr_str delegate);
/* Records as found, none if there are none.  random: draws the order among those of one priority, by weight. */
void gr_resolve_srv(gr_resolve *, const gr_resolve_record *, size_t count, uint64_t random);
