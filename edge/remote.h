/* remote.h - what a call of a user asks of other servers, through their destination actors.
 *
 * What another server says is checked before a client sees it: an object of the right shape, and only about its own users.
 */
#pragma once
#include "edge/call.h"

/* Asks `server`; the answer is `result` (JSON, an object or array) or an error that may be passed on.  uri: encoded. */
void gr_remote_ask(gr_call *, gr_str server, const char *method, gr_str uri, gr_str content, gr_call_then *, uint64_t number);
/* The object that was answered; on failure the call is answered and NULL comes back. */
const gr_json *gr_remote_object(gr_call *, const gr_answer *);

/* --- one question about users of many servers, split by server: keys/query and keys/claim --- */
typedef struct {
    gr_str server;
    const gr_json *answer;     /* NULL: there is none yet, or it failed */
    gr_err err;
} gr_remote_part;
typedef struct { gr_remote_part *at; size_t count; uint64_t until_ms; } gr_remote_parts;

#define GR_REMOTE_KEYS_QUERY "/_matrix/federation/v1/user/keys/query"
/* by_user: user id -> what is asked of them.  Users of this server and what is no user id are left out.  All parts together
 * have the "timeout" (ms) that the body of the call asks for, at most GR_REMOTE_WAIT_MAX_MS: a slow server fails alone. */
enum { GR_REMOTE_WAIT_MS = 10 * 1000, GR_REMOTE_WAIT_MAX_MS = 30 * 1000 };
gr_remote_parts gr_remote_parts_of(gr_call *, const gr_json *by_user);
/* Asks part `number` with {"<key>": its users of by_user}. */
void gr_remote_part_ask(gr_call *, const gr_remote_parts *, uint64_t number, const char *uri, const char *key,
                        const gr_json *by_user, gr_call_then *);
void gr_remote_part_told(gr_call *, gr_remote_part *, const gr_answer *);
/* Within an object: user -> value, of member `key` of all answers, each server's about its own users only. */
void gr_remote_parts_write(gr_jw *, const gr_remote_parts *, const char *key);
void gr_remote_parts_failures(gr_jw *, const gr_remote_parts *);       /* "failures": {server: error} */
