/* call.h - one request of a client being served: from the route it matched, over asks to actors, to its
 * answer.
 *
 * A route's `serve` runs when the head was admitted, the body parsed and the token checked.  It answers
 * at once, or asks actors and goes on in the `then` it names; each call is answered exactly once, and is
 * gone after that.  Everything a call needs lives in its arena.  Runs on the edge thread only; nothing
 * here blocks.
 */
#pragma once
#include "edge/config.h"
#include "edge/http.h"
#include "edge/route.h"

#include "bus/port.h"
#include "proto/address.h"
#include "proto/json.h"

#include <uthash.h>

typedef struct gr_edge gr_edge;
typedef struct gr_call gr_call;

typedef enum {
    GR_CALL_NO_TOKEN,          /* anybody */
    GR_CALL_TOKEN,             /* a user; guests only with GR_CALL_GUEST_OK */
    GR_CALL_TOKEN_OPTIONAL,    /* user is empty when there is no token; a wrong token is refused */
    GR_CALL_SERVER             /* another server, which has signed the request: call->origin */
} gr_call_auth;

typedef enum {
    GR_CALL_NO_BODY,           /* ignored */
    GR_CALL_JSON,              /* a JSON object is needed: call->json */
    GR_CALL_JSON_OPTIONAL,     /* an empty body stands for {} */
    GR_CALL_ANY_JSON,          /* any JSON value */
    GR_CALL_FORM,              /* application/x-www-form-urlencoded: call->form; see page.h for those of pages */
    GR_CALL_STREAM             /* comes in pieces: see gr_call_route.piece */
} gr_call_body;

/* Buckets per user, device and address; rates in edge/rate.c. */
typedef enum {
    GR_RATE_READ, GR_RATE_MESSAGE, GR_RATE_RECEIPT, GR_RATE_LOGIN, GR_RATE_REGISTER, GR_RATE_ROOM, GR_RATE_JOIN,
    GR_RATE_INVITE, GR_RATE_MEDIA, GR_RATE_KEYS, GR_RATE_SERVER, GR_RATE_OAUTH, GR_RATE_EMAIL,
    GR_RATE_COUNT
} gr_rate;

typedef struct gr_call_route gr_call_route;
struct gr_call_route {
    gr_http_method method;
    const char *pattern;       /* as edge/route.h takes it */
    gr_call_auth auth;
    gr_call_body body;
    gr_rate rate;
    void (*serve)(gr_call *);
    bool guest_ok;
    bool page;                 /* people see it in a browser: errors are pages, forms are guarded (page.h) */
    bool mails;                /* sends a mail to whoever asks: their languages are kept */
    /* GR_CALL_STREAM: serve runs first (after the token was checked), then every piece, then end. */
    void (*piece)(gr_call *, gr_str);
    void (*end)(gr_call *);
};

/* What an actor answered.  Views live until `then` returns; gr_call_keep copies. */
typedef struct {
    const gr_type *type;       /* error: see err */
    const void *body;
    gr_err err;                /* code GR_OK when it worked */
    uint64_t number;           /* as given with the ask */
} gr_answer;
typedef void gr_call_then(gr_call *, const gr_answer *);

struct gr_call {
    gr_edge *edge;
    gr_arena *arena;
    const gr_call_route *route;
    gr_http_id id;
    gr_http_method method;
    gr_str path, peer, content_type, user_agent;
    gr_route_match match;      /* decoded path parameters: gr_call_param */
    gr_route_query query;      /* decoded: gr_call_query */
    gr_str token, user, device;        /* of the one who asks */
    gr_str client;             /* that it was given to by the OAuth 2.0 API; empty with a legacy login */
    bool guest, admin;
    gr_str origin;             /* of a server that asks, once its signature was checked */
    gr_str text;               /* the body as it came */
    const gr_json *json;       /* and parsed */
    gr_route_query form;       /* of GR_CALL_FORM */
    gr_str languages;          /* of a page, and of what sends mails: the header Accept-Language */
    /* Of a page only: what the browser sent, what it is known by (page.c's), and the cookies for it (cookie.h). */
    const gr_browser_is *signed_in;    /* to the server's pages: browser.h */
    gr_str cookies, browser, *set_cookies;
    size_t set_cookie_count;
    void *state;               /* the route's own, in the arena */
    uint64_t trace;
    uint64_t now_ms;           /* wall clock when the present callback began */
    unsigned open_asks;
    bool answered;
    void (*on_gone)(gr_call *);/* optional: the client went away (a file to close); the call is freed afterwards */
    struct gr_call_pending *asks;  /* the rest is call.c's */
    gr_call *next_finished;
    struct gr_call_stream *stream;     /* stream.c's: its answer is being sent */
    struct gr_call_signed *signed_by;  /* call_server.c's: what the head said of the server that asks */
    uint64_t started_ms;
    int64_t length;
    bool serving, ended;           /* of a stream: serve has run; the body is over */
    UT_hash_handle hh;
};

/* --- facts --- */
gr_str gr_call_param(const gr_call *, const char *name);            /* decoded path parameter; empty if there is none */
bool gr_call_query(const gr_call *, const char *name, gr_str *value);       /* decoded query parameter */
gr_str gr_call_server_name(const gr_call *);
gr_str gr_call_terms(const gr_call *);                               /* what people agree to (edge/terms.h); empty: nothing */
/* A user id from what people call a user: a whole id, or a localpart of ours. */
gr_str gr_call_whole_id(gr_call *, gr_str name);
const gr_config *gr_call_config(const gr_call *);
gr_str gr_call_base_url(const gr_call *);                           /* under which clients reach this server; no / at its end */
gr_str gr_call_address(gr_call *, gr_kind, gr_str id);              /* "room/!id" in the arena */
gr_str gr_call_user_address(gr_call *, gr_str user);                /* of the actor of a user of this server or another */
gr_str gr_call_keep(gr_call *, gr_str);
gr_err gr_call_keep_err(gr_call *, gr_err);                         /* with its text, of an answer that will be gone */

/* --- body fields: on a mistake these answer the call (M_MISSING_PARAM, M_BAD_JSON) and return false --- */
bool gr_call_want_str(gr_call *, const char *key, gr_str *);        /* needed, a string */
bool gr_call_may_str(gr_call *, const char *key, gr_str *);         /* empty if absent; must be a string if there */
bool gr_call_may_bool(gr_call *, const char *key, bool otherwise, bool *);
bool gr_call_may_int(gr_call *, const char *key, int64_t otherwise, int64_t *);
bool gr_call_may(gr_call *, const char *key, gr_json_kind, const gr_json **);        /* NULL if absent; the kind if there */
bool gr_call_want(gr_call *, const char *key, gr_json_kind, const gr_json **);
/* Query parameters as numbers and switches: M_INVALID_PARAM when they are none. */
bool gr_call_query_u64(gr_call *, const char *name, uint64_t otherwise, uint64_t *);
bool gr_call_query_bool(gr_call *, const char *name, bool otherwise, bool *);

/* --- asking actors --- */
enum { GR_CALL_TIMEOUT_MS = 10000 };
/* then is called once, unless the client has gone by then.  A refused ask (no credit, node stopping)
 * comes to then as well. */
void gr_call_ask(gr_call *, gr_str to, const gr_type *, const void *body, gr_call_then *);
/* The same with a number that comes back in the answer (parallel asks), a timeout, and patient for long
 * polls. */
void gr_call_ask_more(gr_call *, gr_str to, const gr_type *, const void *body, gr_call_then *, uint64_t number,
                      uint64_t timeout_ms, bool patient);
/* Asks and passes the answer on: result -> 200 with it, done -> 200 {}, error -> error. */
void gr_call_pass(gr_call *, gr_str to, const gr_type *, const void *body);
void gr_call_passed(gr_call *, const gr_answer *);                  /* that `then` */

/* --- answering: once per call --- */
void gr_call_json(gr_call *, int status, gr_str body);              /* body is copied */
void gr_call_json_take(gr_call *, int status, gr_buf *body);        /* the heap buffer is taken over, no copy */
void gr_call_empty(gr_call *);                                      /* 200 {} */
void gr_call_fail(gr_call *, gr_err);
void gr_call_fail_with(gr_call *, gr_errcode, const char *text);
/* Is it good?  Else the call fails, with INVALID_PARAM. */
bool gr_call_fits(gr_call *, bool good, const char *text);
void gr_call_fail_status(gr_call *, int status, gr_err, gr_str extra_members);      /* extra: `"soft_logout":true` or empty */
void gr_call_reply(gr_call *, const gr_http_answer *);              /* anything else: media, redirects */

/* For stream.c: begins an answer that is still being made; the call lives until that was sent. */
void gr_call_reply_on(gr_call *, const gr_http_answer *);
void gr_call_streamed(gr_call *);

/* A random id for a new actor: it will run on this node, or else on one that can be reached, when there is any. */
gr_str gr_call_new_id(gr_call *, size_t random_bytes);

/* A bit for each shard whose node can be reached; empty when all can. */
gr_str gr_call_reached(gr_call *);

/* Drops a token from the memory of this edge (logout). */
void gr_call_forget_token(gr_call *, gr_str token_hash);

/* All routes, of clients and of other servers: tables of the route files, NULL-pattern-ended each; the lists are NULL-ended
 * (edge/routes.c). */
extern const gr_call_route *const gr_call_routes[];
extern const gr_call_route *const gr_call_server_routes[];

/* --- for the edge thread (edge.c): the HTTP server's and the port's callbacks --- */
extern const gr_http_handler gr_call_http_handler;
extern const gr_port_handler gr_call_port_handler;         /* arg is to be set to the edge */
void gr_call_end_waiting(gr_edge *);   /* long polls are told in the next step that the server stops */
void gr_call_sweep(gr_edge *);         /* tells refused asks, frees finished calls */
gr_route *gr_call_table(const gr_call_route *const *routes, size_t *count);    /* for the tree; the caller frees */

/* --- call_server.c, for call.c: a call of another server --- */
/* Reads the Authorization header: 401 without one, 403 for a server that is not talked with. */
GR_MUST_USE gr_err gr_call_server_head(gr_call *, const gr_http_req *);
/* Finds the server's key and checks the signature of the request, then calls `checked`; or answers the call. */
void gr_call_server_check(gr_call *, void (*checked)(gr_call *));
bool gr_call_server_allowed(const gr_config *, gr_str server);