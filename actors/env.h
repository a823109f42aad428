/* env.h - what all actors of a node share: constants of this server, given when the node is opened.
 *
 * Read-only for the life of the process; got by gr_env_of(ctx).  No actor may change it or keep anything else global.
 */
#pragma once
#include "actors/delivery/backoff.h"
#include "actors/provider/provider.h"
#include "proto/sign.h"

typedef struct {
    gr_str server_name;
    gr_str base_url;                     /* under which clients reach this server, without a / at its end */
    const gr_signer *signer;             /* signs this server's events */
    gr_str default_room_version;
    bool registration_open, registration_token;     /* neither: closed */
    /* from: of mails, as RFC 5322 has it, empty when none can be sent.  base_url: of links in them. */
    struct { gr_str from, base_url; bool may_register, must_register; } email;
    struct { uint64_t period_ms, warn_ms; } validity;       /* of accounts: 0 for ever */
    gr_str terms;                        /* params of the stage m.login.terms, a JSON object; empty: there are none */
    uint64_t password_min_length, password_memory;  /* Argon2id memory in bytes */
    uint64_t password_bcrypt_cost;       /* up to which hashes of bcrypt are taken, and what each check costs; 0: none are */
    unsigned password_needs;             /* gr_password_need bits: actors/login/password.h */
    /* Wrong passwords for one account that cost nothing but the wait for the answer (0: no limit), and the longest wait. */
    struct { uint64_t free, wait_max_ms; } guesses;
    uint64_t access_token_lifetime_ms;   /* of refreshable tokens */
    uint64_t media_max_upload;
    uint64_t redaction_retention_ms;     /* how long redacted events keep their content; 0: not at all */
    /* Other servers: how long one that fails is left alone, and who is asked for keys of others (NULL-ended, may be NULL). */
    gr_backoff_policy retry;
    const char *const *notaries;
    /* Events that wait for one server, at most, and the bytes of them; the next wait from which on its queue is given up; and
     * how many rooms it is caught up in at a time. */
    struct { uint64_t events_max, bytes_max, catch_up_after_ms, catch_up_page; } queue;
    gr_providers providers;              /* of identities */
    uint64_t login_token_lifetime_ms;
    struct { bool is_on; uint64_t room_max; } presence;      /* room_max: members of a room that it travels through */
} gr_env;

static inline const gr_env *gr_env_of(gr_ctx *ctx) { return gr_ctx_env(ctx); }
