/* fetcher_inside.h - what the files of the fetcher share.
 *
 * fetcher.c         the thread, what is taken and handed back
 * fetcher_place.c   servers: where they are, and which requests wait for them
 * fetcher_curl.c    one transfer: a request, or a look at .well-known
 * fetcher_mail.c    mails
 */
#pragma once
#include "edge/fetcher.h"
#include "edge/outage.h"
#include "edge/resolve.h"
#include "edge/srv.h"
#include "edge/well_known.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

typedef struct fetcher_server fetcher_server;
typedef struct fetcher_transfer fetcher_transfer;
typedef struct fetcher_mail fetcher_mail;

/* A request of an actor, from when it was taken until it is handed back. */
typedef struct fetcher_request fetcher_request;
struct fetcher_request {
    fetcher_request *next;             /* waiting for its server */
    gr_job *job;
    gr_arena *arena;                   /* holds fetch; the request itself too */
    const gr_fetch *fetch;
    fetcher_server *server;
    uint64_t until_ms;                 /* monotonic */
    size_t target;                     /* which of the server's places is tried */
    uint64_t number;                   /* by which the next part is asked for */
    uint64_t rests_until_ms;           /* a part was given, job is NULL; else 0 */
};

struct fetcher_server {
    UT_hash_handle hh;                 /* in order of use */
    fetcher_server *next_ready;        /* waits for a turn while too much is under way in all */
    bool is_ready, is_resolving, is_used;  /* is_used: must not be forgotten just now */
    bool is_slow;                      /* its newest request that is over, or is found to be slow, was slow */
    gr_resolve place;
    uint64_t place_until_ms;           /* monotonic; 0: not known */
    gr_outage_server outage;
    fetcher_request *first, **last;    /* waiting */
    size_t waiting, under_way;
    struct gr_fetcher *fetcher;
    size_t name_size;
    char name[];
};

struct fetcher_transfer {
    fetcher_transfer *next, *prev;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct gr_fetcher *fetcher;
    fetcher_request *request;          /* NULL: a look at the .well-known of server */
    fetcher_server *server;
    gr_buf body;
    size_t body_max, head_size, given; /* given: bytes of body in parts before this one */
    gr_arena *arena;                   /* of headers that are kept */
    gr_str cache_control, expires;
    uint64_t retry_after_ms, started_ms;
    bool is_denied, is_too_large, is_slow;
};

struct gr_fetcher {
    gr_work_seam seam;                 /* first */
    gr_fetcher_options o;
    CURLM *multi;
    gr_srv *srv;
    gr_lru *well_known;
    fetcher_server *servers;
    fetcher_server *ready[2], **ready_last[2];     /* [1]: slow ones */
    fetcher_transfer *transfers;
    size_t transfer_count, slow_count; /* requests under way, and those that take a place of slow ones */
    fetcher_mail *mails;               /* on their way */
    size_t mail_count;
    fetcher_request *mail_waiting;
    gr_outage outage;
    uint64_t now_ms, wall_ms, random, next_look_ms, next_number;
    pthread_t thread;
    bool has_thread;
    atomic_bool stopping;
    pthread_mutex_t lock;              /* of what follows */
    gr_job *jobs, **jobs_last;
    size_t taken;
    gr_fetcher_counters n;
};

/* fetcher.c */
void gr_fetcher_end(gr_fetcher *, fetcher_request *, const gr_fetched *);    /* hands it back, frees it */
void gr_fetcher_give(gr_fetcher *, fetcher_request *, const gr_fetched *);   /* a part: the request goes on */
void gr_fetcher_fail(gr_fetcher *, fetcher_request *, gr_fetch_failure, const char *why);
void gr_fetcher_add(gr_fetcher *, uint64_t *counter);                        /* one more */

/* fetcher_place.c */
void gr_fetcher_wait(gr_fetcher *, fetcher_request *);       /* for its server's place and turn; consumes */
void gr_fetcher_pump(gr_fetcher *, fetcher_server *);
void gr_fetcher_ended(gr_fetcher *, fetcher_server *);       /* one under way is over: the next ones' turn */
void gr_fetcher_next(gr_fetcher *);                          /* servers that wait for a place, if there is one */
void gr_fetcher_well_known_read(gr_fetcher *, fetcher_server *);   /* the cache knows now */
void gr_fetcher_late(gr_fetcher *);                          /* fails those whose time is over while they wait */
void gr_fetcher_servers_free(gr_fetcher *);

/* fetcher_curl.c */
void gr_fetcher_start(gr_fetcher *, fetcher_request *);      /* to server->place.targets[request->target] */
bool gr_fetcher_go_on(gr_fetcher *, gr_job *, const gr_fetch *);   /* with its next part; false: there is none */
void gr_fetcher_slow(gr_fetcher *);                          /* finds those that have become slow: their places are free */
void gr_fetcher_rests(gr_fetcher *);                         /* ends those whose next part nobody wants */
void gr_fetcher_look(gr_fetcher *, fetcher_server *);        /* at the .well-known of place.wanted */
void gr_fetcher_finished(gr_fetcher *, fetcher_transfer *, CURLcode);
void gr_fetcher_transfer_free(gr_fetcher *, fetcher_transfer *);

/* fetcher_mail.c */
void gr_fetcher_mail(gr_fetcher *, fetcher_request *);       /* takes it; consumes */
bool gr_fetcher_mailed(gr_fetcher *, CURL *, CURLcode);      /* false: it was no mail */
void gr_fetcher_mails_stop(gr_fetcher *);
