/* email.c - sessions in which an address is validated, and their mails. See email.h. */
#include "actors/email/email.h"

#include "proto/base64.h"
#include "proto/sha256.h"

#define SESSION_KEY GR_STR("s")

enum { STEP_KNOWN = 1, STEP_SENT, TOKEN_BYTES = 24, ASK_MS = 8000 };

/* --- the row ----------------------------------------------------------------------------------------------- */
static bool read_session(gr_ctx *ctx, gr_email_session *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_email_session){0};
    if (!gr_ctx_get(ctx, SESSION_KEY, &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_email_session, bytes, &body))) return false;
    *out = *(gr_email_session *)body;
    return true;
}

static void put_session(gr_ctx *ctx, const gr_email_session *s)
{
    gr_ctx_put_body(ctx, SESSION_KEY, &gr_type_email_session, s);
}

/* --- sending ----------------------------------------------------------------------------------------------- */
/* First it is asked whose address it is.  The timer is there in case the answer or the mail's fate is never heard of. */
static void begin_mail(gr_ctx *ctx, gr_email_session *s)
{
    s->tries++;
    put_session(ctx, s);
    uint64_t wait_ms = (uint64_t)GR_EMAIL_RETRY_MS << (s->tries - 1);
    if (s->tries < GR_EMAIL_TRIES_MAX) gr_ctx_timer(ctx, GR_STR("send"), gr_ctx_now_ms(ctx) + wait_ms, true);
    gr_ctx_ask(ctx, gr_mail_name(gr_ctx_arena(ctx), s->address), &gr_type_name_look, &(gr_name_look){0}, ASK_MS,
               &(gr_resume){.step = STEP_KNOWN, .number = s->attempt});
}

static void mail_is_over(gr_ctx *ctx) { gr_ctx_timer_clear(ctx, GR_STR("send")); }

static gr_mail_text text_for(const gr_email_session *s, bool known)
{
    if (gr_str_is(s->purpose, "password")) return GR_MAIL_RESET;
    if (known) return GR_MAIL_TAKEN;
    return gr_str_is(s->purpose, "register") ? GR_MAIL_REGISTER : GR_MAIL_ADD;
}

static gr_str new_token(gr_ctx *ctx)
{
    unsigned char random[TOKEN_BYTES];
    gr_ctx_random(ctx, random, sizeof random);
    return gr_base64_url(gr_ctx_arena(ctx), gr_str_of(random, sizeof random));
}

static gr_str hash_of(gr_ctx *ctx, gr_str text)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(text.ptr, text.size, hash);
    return gr_arena_str(gr_ctx_arena(ctx), gr_str_of(hash, sizeof hash));
}

/* An unknown address gets no mail about a password: strangers would get mails from here that have no account. */
static void send_mail(gr_ctx *ctx, gr_email_session *s, bool known)
{
    gr_arena *a = gr_arena_new(0);
    gr_mail_text text = text_for(s, known);
    gr_str link = {0}, session = gr_address_id(gr_ctx_self(ctx)), token = new_token(ctx);
    if (text == GR_MAIL_RESET && !known) {
        mail_is_over(ctx);
        gr_arena_free(&a);
        return;
    }
    if (text != GR_MAIL_TAKEN) {
        s->token_hash = hash_of(ctx, token);
        s->guesses = 0;
        put_session(ctx, s);
        link = gr_arena_printf(a, "%" GR_FMT "/_greenroom/email/%" GR_FMT "?token=%" GR_FMT,
                               GR_ARG(gr_env_of(ctx)->email.base_url), GR_ARG(session), GR_ARG(token));
    }
    gr_str id = gr_str_head(gr_base64_url(a, hash_of(ctx, token)), 20);
    gr_mail mail = {.text = text, .language = s->language, .to = s->address, .link = link, .id = id};
    gr_str message = gr_mail_write(a, gr_env_of(ctx), &mail);
    gr_mail_send(ctx, s->address, message, &(gr_resume){.step = STEP_SENT, .number = s->attempt});
    explicit_bzero((char *)token.ptr, token.size);
    explicit_bzero((char *)message.ptr, message.size);
    gr_arena_free(&a);
}

static void on_reply(const gr_msg *m, gr_ctx *ctx)
{
    gr_email_session s;
    bool is_current = read_session(ctx, &s) && s.attempt == m->resume->number && s.validated_ms == 0;
    if (!is_current) return;               /* another mail was asked for since */
    if (m->resume->step == STEP_SENT) {
        if (!gr_failed(m->err) && ((const gr_fetched *)m->body)->failure == GR_FETCH_ANSWERED) mail_is_over(ctx);
        return;                            /* else the timer tries again */
    }
    if (!gr_failed(m->err)) send_mail(ctx, &s, true);
    else if (m->err.code == GR_NOT_FOUND) send_mail(ctx, &s, false);
}

/* --- messages ---------------------------------------------------------------------------------------------- */
static void on_ask(const gr_email_ask *m, gr_ctx *ctx)
{
    gr_email_session s;
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    bool known = read_session(ctx, &s);
    gr_ctx_done(ctx);
    if (known && (s.validated_ms || m->attempt <= s.attempt || s.mails >= GR_EMAIL_MAILS_MAX)) return;     /* no new mail */
    if (!known) {
        s = (gr_email_session){.address = m->address, .secret_hash = m->secret_hash, .purpose = m->purpose, .user = m->user,
                               .next_link = m->next_link, .made_ms = now_ms, .language = m->language};
        gr_ctx_timer(ctx, GR_STR("end"), now_ms + GR_EMAIL_SESSION_MS, true);
    }
    s.attempt = m->attempt;
    s.mails++;
    s.tries = 0;
    begin_mail(ctx, &s);
}

static void tell(gr_ctx *ctx, const gr_email_session *s)
{
    gr_email_is is = {.address = s->address, .purpose = s->purpose, .user = s->user, .validated_ms = s->validated_ms,
                      .next_link = s->next_link, .language = s->language};
    gr_ctx_reply(ctx, &gr_type_email_is, &is);
}

static bool same(gr_str a, gr_str b)
{
    unsigned char differ = a.size != b.size;
    for (size_t i = 0; i < a.size && i < b.size; i++) differ |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    return !differ;
}

static void on_submit(const gr_email_submit *m, gr_ctx *ctx)
{
    gr_email_session s;
    bool known = read_session(ctx, &s) && s.token_hash.size && s.guesses < GR_EMAIL_GUESSES_MAX
        && s.made_ms + GR_EMAIL_TOKEN_MS > gr_ctx_now_ms(ctx);
    bool right = known && same(s.token_hash, hash_of(ctx, m->token))
        && (m->secret_hash.size == 0 || same(s.secret_hash, m->secret_hash));
    if (!right) {
        if (known) {
            s.guesses++;
            put_session(ctx, &s);
        }
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "This link is not good, or no longer: ask for a new mail"));
        return;
    }
    if (s.validated_ms == 0) {
        s.validated_ms = gr_ctx_now_ms(ctx);
        put_session(ctx, &s);
    }
    tell(ctx, &s);
}

static void on_look(const gr_email_look *m, gr_ctx *ctx)
{
    gr_email_session s;
    if (read_session(ctx, &s) && same(s.secret_hash, m->secret_hash)) tell(ctx, &s);
    else gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such session: ask for a mail first"));
}

static void on_timer(gr_str name, gr_ctx *ctx)
{
    gr_email_session s;
    bool known = read_session(ctx, &s);
    if (gr_str_is(name, "end")) gr_ctx_del(ctx, SESSION_KEY), mail_is_over(ctx);
    else if (known && s.validated_ms == 0) begin_mail(ctx, &s);
}

/* --- the actor --------------------------------------------------------------------------------------------- */
static void load(void *self, gr_str id, gr_ctx *ctx) { (void)self, (void)id, (void)ctx; }

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    (void)self;
    if (m->verb == GR_REPLY) {
        on_reply(m, ctx);
        return;
    }
    switch (m->type->id) {
    case GR_T_email_ask: on_ask(m->body, ctx); return;
    case GR_T_email_submit: on_submit(m->body, ctx); return;
    case GR_T_email_look: on_look(m->body, ctx); return;
    case GR_T_timer: on_timer(((const gr_timer *)m->body)->name, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "An email session does not take this message"));
    }
}

static void drop(void *self) { (void)self; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    gr_email_session s;
    (void)self;
    bool known = read_session(ctx, &s);
    gr_buf_printf(out, "\"session\":%s,\"validated\":%s,\"tries\":%llu", known ? "true" : "false",
                  s.validated_ms ? "true" : "false", (unsigned long long)s.tries);
}

const gr_actor_kind gr_email_kind = {.kind = GR_KIND_EMAIL, .size = 1, .load = load, .handle = handle, .drop = drop,
                                     .inspect = inspect};
