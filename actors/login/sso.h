/* sso.h - a login by an identity provider, from the first redirect to the login token: a flow of its own login actor.
 *
 * Addressed login/<state>: what the provider gets as `state` is the flow's id, so whoever has none knows no flow.  The row
 * says which step comes next; each step is taken once, its batch before its effects, so that a code, a state or a page that
 * comes again finds nothing.  What lies between the browser's return and the account known is in memory only: when the node
 * stops there, the person begins again, and nothing is half-made: an account that was being made is found by the subject it is
 * made for, and finished.
 *
 *   f    the flow (gr_sso_flow); deleted by the durable timer "sso"
 *
 * sso.c      the messages, the row, and which step answers what
 * oidc.c     OpenID Connect: to the provider, and from its code to a subject and attributes
 * cas.c      CAS: the same by a ticket
 * person.c   from the subject to an account of ours: found, linked, named, made
 */
#pragma once
#include "actors/login/login_private.h"

enum {
    GR_SSO_FLOW_MS = 15 * 60 * 1000, GR_SSO_FETCH_MS = 8000, GR_SSO_ANSWER_MAX = 256 * 1024, GR_SSO_VALUE_MAX = 512
};

/* As the row keeps it: what the flow waits for. */
typedef enum {
    GR_SSO_AT_PROVIDER = 1,        /* the browser, back from the provider */
    GR_SSO_CHECKING,               /* answers of the provider; never left after a restart */
    GR_SSO_NAMING,                 /* the name of a new account */
    GR_SSO_READY,                  /* the word to go back to the client */
    GR_SSO_FINISHED
} gr_sso_step;

typedef enum { GR_SSO_FINE, GR_SSO_NAME_BAD, GR_SSO_NAME_TAKEN } gr_sso_problem;

/* Steps of the work under way, by the answer that ends each; apart from those of login_step. */
typedef enum {
    SSO_ABOUT = 100,               /* where to send the browser */
    SSO_ABOUT_BACK,                /* metadata and keys, with the code in hand */
    SSO_CODE,                      /* the code was exchanged for tokens */
    SSO_KEYS,                      /* keys once more, because one was unknown */
    SSO_USERINFO,
    SSO_TICKET,                    /* CAS has judged the ticket */
    SSO_LOOK,                      /* whom the subject stands for */
    SSO_KNOWN,                     /* the account it stands for */
    SSO_WANTED,                    /* the account that has the wanted name */
    SSO_CLAIM, SSO_LINK,           /* the subject is claimed: for a new account, for one that is there */
    SSO_CREATE, SSO_PROFILE, SSO_CONFIRM,
    SSO_TOKEN,                     /* the login token is good */
    SSO_VOUCHED                    /* the session of user-interactive authentication was told */
} sso_work;

/* One step of the flow: in memory until it is answered. */
typedef struct gr_sso {
    gr_arena *arena;
    gr_asker *asker;
    gr_sso_flow flow;
    const gr_provider *provider;
    gr_str code, access_token, id_token, token;
    const gr_json *metadata, *keys;
    const gr_json *claims, *userinfo;      /* what the provider says of the person; userinfo may be NULL */
    gr_sso_problem problem;
    bool issuer_named;             /* the answer said whose it is */
    bool registers;                /* the person wants a new account; on the way to the provider only */
} gr_sso;

/* --- sso.c: for login.c --- */
bool gr_sso_is_step(uint32_t step);
void gr_sso_handle(gr_login *, const gr_msg *, gr_ctx *);
void gr_sso_on_reply(gr_login *, const gr_msg *, gr_ctx *);
void gr_sso_end(gr_login *);               /* forgets what is under way */
void gr_sso_over(gr_ctx *);                /* the timer */

/* --- sso.c: for the other files --- */
void gr_sso_fail(gr_login *, gr_ctx *, gr_err);
void gr_sso_move(gr_login *, gr_ctx *, gr_sso_step);       /* the row, at that step */
void gr_sso_answer(gr_login *, gr_ctx *, gr_str url);      /* sso_is; the work is over */
void gr_sso_ask(gr_login *, gr_ctx *, gr_str to, sso_work, const gr_type *, const void *body);
void gr_sso_fetch(gr_login *, gr_ctx *, sso_work, gr_fetch *);     /* with limits set */
/* "{name} text {name:localpart}" filled from what the provider said; empty when something is missing. */
gr_str gr_sso_fill(const gr_sso *, gr_str pattern);
gr_str gr_sso_callback(const gr_sso *, gr_ctx *);          /* where the provider sends the browser */
gr_str gr_sso_with_query(gr_arena *, gr_str url, gr_str query);    /* url may have a query already, and a fragment */

/* --- oidc.c --- */
void gr_sso_oidc_begin(gr_login *, gr_ctx *, const gr_provider_is *);
void gr_sso_oidc_back(gr_login *, gr_ctx *);
void gr_sso_oidc_step(gr_login *, sso_work, const gr_msg *, gr_ctx *);

/* --- cas.c --- */
gr_str gr_sso_cas_url(gr_login *, gr_ctx *);
void gr_sso_cas_back(gr_login *, gr_ctx *);
void gr_sso_cas_step(gr_login *, const gr_msg *, gr_ctx *);

/* --- person.c: claims are there --- */
void gr_sso_person(gr_login *, gr_ctx *);
void gr_sso_person_named(gr_login *, gr_ctx *, gr_str localpart);
void gr_sso_person_step(gr_login *, sso_work, const gr_msg *, gr_ctx *);
