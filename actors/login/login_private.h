/* login_private.h - what the files of the login actor share. See login.h. */
#pragma once
#include "actors/login/login.h"
#include "proto/json.h"

typedef enum {
    STEP_ACCOUNT = 1,                  /* of a new session: is the name free that is to be registered; what can the asker do */
    STEP_INFO,                     /* the account's password hash */
    STEP_VERIFY,                   /* the password is judged */
    STEP_INVITATION,               /* the registration token is looked up */
    STEP_VALIDATED,                /* is the email address validated */
    STEP_HOLDER,                   /* whose email address is it */
    STEP_NAMED,                    /* likewise, of the one that the password stage names */
    STEP_CLAIM,                    /* the email address is to be the new account's */
    STEP_ADDRESS,                  /* the new account has it */
    STEP_HASH,                     /* a new password is hashed */
    STEP_CREATE,                   /* the account is made */
    STEP_SET,                      /* the new password is set */
    STEP_LOGIN                     /* a device and tokens are made */
} login_step;

/* One attempt: in memory until it is answered.  Texts lie in its arena; the password is wiped when it ends. */
typedef struct {
    gr_arena *arena;
    gr_asker *asker;
    bool is_session;               /* of user-interactive authentication, else a plain login */
    gr_str user, device, password, display_name, ip, agent;
    gr_strs terms;                 /* that were agreed to in the session */
    gr_str email;                  /* that a login names instead of the user, or that was validated in the session */
    gr_str language;               /* of mails to it */
    gr_str hash;                   /* that the password is compared with */
    bool refreshable, inhibit_login;
    bool by_oauth;                 /* who asks is logged in by the OAuth 2.0 API */
    bool verify_only;              /* no device: the answer says who it is */
    bool is_account, admin, log_in;        /* an account made by the owner of the server */
    /* of a session */
    gr_str action, stage, new_password, request_hash, binding, asked_by;
    const gr_json *request, *auth;
    bool logout_devices;
    bool by_page;                  /* a page does one stage: nothing is done with the session yet */
} login_attempt;

typedef struct {
    gr_str id;                     /* owned */
    login_attempt *attempt;        /* NULL: none under way */
    struct gr_sso *sso;            /* a step of a login by a provider; NULL: none under way */
} gr_login;

/* --- login.c: steps that both share --- */
void gr_login_end(gr_login *);                                     /* forgets the attempt */
void gr_login_fail(gr_login *, gr_ctx *, gr_err);                  /* answers and forgets it */
void gr_login_answer_json(gr_login *, gr_ctx *, gr_str json);
void gr_login_ask_user(gr_login *, gr_ctx *, gr_str user, login_step, const gr_type *, const void *body);
/* The password of the attempt is judged: asks for the account of that user, then on STEP_INFO has it verified, and answers
 * false when it fails the attempt instead; on STEP_VERIFY says whether it was right. */
/* Asks whose email address it is; on that step says it: empty, nobody's. */
void gr_login_ask_holder(gr_login *, gr_ctx *, gr_str email, login_step);
gr_str gr_login_holder(gr_login *, const gr_msg *);
void gr_login_try_password(gr_login *, gr_ctx *, gr_str user);
void gr_login_verify(gr_login *, gr_ctx *, const gr_user_auth_is *);
bool gr_login_verified(gr_login *, gr_ctx *, gr_str user, const gr_work_done *);
void gr_login_make_tokens(gr_login *, gr_ctx *);                   /* for the attempt's user and device */

/* --- uia.c: sessions --- */
void gr_login_on_uia(gr_login *, const gr_login_uia *, gr_ctx *);
void gr_login_on_stage(gr_login *, const gr_login_stage *, gr_ctx *);
void gr_login_on_vouched(gr_login *, const gr_login_vouched *, gr_ctx *);
/* An answer to a step of a session's attempt. */
void gr_login_session_step(gr_login *, login_step, const gr_msg *, gr_ctx *);
void gr_login_session_over(gr_ctx *);
/* Are the terms the same that the session has shown?  If not they are from now on. */
bool gr_login_terms_shown(gr_login *, gr_ctx *);
/* The attempt's stage is done; it was tried in vain, and this is what was wrong. */
void gr_login_stage_done(gr_login *, gr_ctx *);
void gr_login_stage_failed(gr_login *, gr_ctx *, gr_err);

/* --- stages.c: which there are, and how each is done --- */
gr_strs gr_login_flows_register(gr_ctx *);
gr_strs gr_login_flows_reset(gr_ctx *);                            /* a new password for who can't log in */
gr_strs gr_login_flows_account(gr_ctx *, const gr_user_auth_is *);         /* of somebody who is logged in */
gr_strs gr_login_flows_oauth(gr_ctx *);                                    /* of somebody logged in by the OAuth 2.0 API */
bool gr_login_flow_has(gr_str flow, gr_str stage);
/* Does one flow consist of what is done. */
bool gr_login_flows_done(gr_strs flows, gr_strs done);
/* The object `params` of a 401, for the stages of these flows. */
void gr_login_stage_params(gr_jw *, gr_ctx *, gr_strs flows);
/* Name and version of each policy that there is, as in user_create. */
gr_strs gr_login_terms(gr_ctx *);
/* Tries the attempt's stage with its `auth`; ends, maybe after further steps, in gr_login_stage_done or _failed. */
void gr_login_try_stage(gr_login *, gr_ctx *);
void gr_login_stage_step(gr_login *, login_step, const gr_msg *, gr_ctx *);

/* --- register.c: what is done when all stages are --- */
gr_err gr_login_check_register(gr_login *, gr_ctx *);              /* name, password, and whether registration is open */
void gr_login_on_account(gr_login *, const gr_login_account *, gr_ctx *);    /* by the owner, open registration or not */
void gr_login_on_appservice(gr_login *, const gr_login_appservice *, gr_ctx *);
void gr_login_on_guest(gr_login *, const gr_login_guest *, gr_ctx *);        /* with no more ado: no password, no session */
void gr_login_act(gr_login *, gr_ctx *);
void gr_login_act_step(gr_login *, login_step, const gr_msg *, gr_ctx *);
