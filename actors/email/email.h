/* email.h - the email actor: one address that somebody says is theirs, and the mail by which they show it.
 *
 * Addressed email/<session id>, which the edge makes of purpose, address and client_secret, so that a repeated request comes to
 * the same session.  The answer leaves before the mail does and is the same whether the address is known here or not: that
 * is told only to whoever reads the mail.
 *
 *   s    the session (gr_email_session); deleted by the durable timer "end"
 *
 * A mail has a token that only its hash is kept of, so each try at sending makes a new one.  The durable timer "send" repeats a
 * mail that could not be sent, or whose fate was lost in a crash.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_EMAIL_SESSION_MS = 24 * 60 * 60 * 1000, GR_EMAIL_TOKEN_MS = 60 * 60 * 1000,
    GR_EMAIL_MAILS_MAX = 5,            /* of one session: the client asked for another */
    GR_EMAIL_TRIES_MAX = 5, GR_EMAIL_RETRY_MS = 60 * 1000, GR_EMAIL_SEND_MS = 30 * 1000,
    GR_EMAIL_GUESSES_MAX = 10
};

extern const gr_actor_kind gr_email_kind;

/* --- mail.c: the form of mails; their texts are in proto/page_text.h --- */
typedef enum {
    GR_MAIL_REGISTER,                  /* confirm the address of a new account */
    GR_MAIL_TAKEN,                     /* an account was to be made, or an address added, that is known */
    GR_MAIL_RESET,                     /* a new password */
    GR_MAIL_ADD,                       /* confirm the address of an account */
    GR_MAIL_RENEW                      /* the account's validity runs out */
} gr_mail_text;

typedef struct {
    gr_mail_text text;
    gr_str language;                   /* as HTML has it; what is unknown or empty is English */
    gr_str to;                         /* was checked (gr_ident_email) */
    gr_str link;                       /* may be empty */
    gr_str id;                         /* the left part of the Message-ID */
} gr_mail;
/* A message (RFC 5322; who sends it adds the date), in the arena. */
gr_str gr_mail_write(gr_arena *, const gr_env *, const gr_mail *);
/* Hands a mail to the loop that sends it; what came of it is a reply of type fetched: ANSWERED when it was taken. */
void gr_mail_send(gr_ctx *, gr_str to, gr_str message, const gr_resume *);
/* The address under which it is looked up whose address this is: "name/3pid/email/<address>". */
gr_str gr_mail_name(gr_arena *, gr_str address);
