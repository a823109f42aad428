/* fetcher.h - outgoing HTTP: the thread that makes the requests actors ask for (gr_ctx_fetch), and hands back what came.
 *
 * One event loop over libcurl and c-ares; connections are reused.  A request goes to a server name, which is resolved as the
 * specification says (resolve.h); redirects are not followed but for .well-known.  Everything has a bound: requests taken,
 * under way per server and in all, bytes of an answer (counted unpacked) and of its head, and time.  Slow servers have places
 * of their own, so that others do not wait for them.  Whoever the server is, a socket is connected only to what ip_rules.h
 * allows.  A large answer may be taken in parts: the connection rests until the next part is asked for, so nobody holds more of
 * it than that.
 */
#pragma once
#include "bus/work.h"
#include "edge/ip_rules.h"

enum {
    GR_FETCHER_REQUESTS = 4096,      /* taken, waiting ones included; more are refused */
    GR_FETCHER_PER_SERVER = 512,     /* likewise */
    GR_FETCHER_UNDER_WAY = 256,      /* to servers that answer; with the next one it bounds the sockets */
    GR_FETCHER_SLOW = 768,           /* longer than GR_FETCHER_SLOW_MS, or to servers that were the last time */
    GR_FETCHER_SLOW_MS = 3000,
    GR_FETCHER_UNDER_WAY_SERVER = 8,
    GR_FETCHER_SERVERS = 4096,       /* whose place is remembered */
    GR_FETCHER_PLACE_MS = 5 * 60 * 1000,
    GR_FETCHER_HEAD_MAX = 64 * 1024,
    GR_FETCHER_CONNECT_MS = 10000,
    GR_FETCHER_TIMEOUT_MAX_MS = 300000,
    GR_FETCHER_PART_MS = 30000,      /* a part was given, and nobody asks for the next: the rest is given up */
    GR_FETCHER_REDIRECTS = 5,
    GR_FETCHER_TRIES = 4             /* places of one server, when the first can't be connected to */
};

/* The mail server that takes mails (a fetch of method MAIL, to the address in its uri). */
typedef struct {
    const char *url;                 /* "smtp://host:port" or "smtps://host:port"; empty: mails are refused */
    const char *user, *password;     /* empty: it asks for none */
    const char *from;                /* "<address>": where failures go */
    const char *trusted_ca;          /* PEM file; empty: the system's authorities */
    bool is_plain;                   /* no TLS at all */
} gr_fetcher_smtp;

typedef struct {
    const char *trusted_ca;          /* PEM file; empty: the system's authorities */
    const char *dns_servers;         /* "address:port" separated by commas; empty: the system's */
    gr_ip_rules rules;
    /* May this server be talked to?  NULL: all may. Called on the fetcher's thread. */
    bool (*allows)(void *arg, gr_str server);
    void *allows_arg;
    uint16_t well_known_port;        /* 0: 443 */
    gr_fetcher_smtp smtp;
} gr_fetcher_options;

typedef struct {
    uint64_t requests, refused;                        /* taken; not even taken */
    uint64_t answered, denied, unreachable, timeouts, broken, too_large;
    uint64_t offline;                                  /* not tried: our own network is out (outage.h) */
    uint64_t well_known, srv;                          /* look-ups */
    uint64_t connections;                              /* made; requests over kept ones make none */
    uint64_t taken, under_way;                         /* now */
} gr_fetcher_counters;

typedef struct gr_fetcher gr_fetcher;
GR_MUST_USE gr_err gr_fetcher_open(const gr_fetcher_options *, gr_arena *, gr_fetcher **);
gr_work_seam *gr_fetcher_seam(gr_fetcher *);
/* What is under way is handed back as failed, what comes later refused; joins the thread.  Before the node is closed. */
void gr_fetcher_stop(gr_fetcher *);
void gr_fetcher_close(gr_fetcher **);                  /* after the node was closed */
void gr_fetcher_count(gr_fetcher *, gr_fetcher_counters *);    /* any thread */
