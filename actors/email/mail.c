/* mail.c - the mails that this server writes: all their texts, and their form. See email.h; RFC 5322. */
#include "actors/email/email.h"

/* {s} stands for the server's name, {l} for the link.  Lines end with \n; none is longer than 998 bytes. */
static const struct { const char *subject, *text; } texts[] = {
    [GR_MAIL_REGISTER] = {"Confirm your email address for {s}",
        "Somebody, probably you, is making an account on {s} with this email address.\n\n"
        "To confirm that the address is yours, open this page and go on there:\n\n{l}\n\n"
        "If it was not you, there is nothing to do: without this page no account is made.\n"},
    [GR_MAIL_TAKEN] = {"You have an account on {s}",
        "Somebody, probably you, wanted to use this email address on {s}. It belongs to an account there already.\n\n"
        "If you have forgotten your password, ask for a new one in your app, on the page where you log in.\n\n"
        "If it was not you, there is nothing to do.\n"},
    [GR_MAIL_RESET] = {"A new password for {s}",
        "Somebody, probably you, wants a new password for the account on {s} that has this email address.\n\n"
        "To allow that, open this page and go on there; then go back to your app:\n\n{l}\n\n"
        "If it was not you, do not open the page: your password stays what it is.\n"},
    [GR_MAIL_ADD] = {"Confirm your email address for {s}",
        "Somebody, probably you, is adding this email address to an account on {s}.\n\n"
        "To confirm that the address is yours, open this page and go on there; then go back to your app:\n\n{l}\n\n"
        "If it was not you, there is nothing to do.\n"},
    [GR_MAIL_RENEW] = {"Your account on {s} is about to end",
        "Your account on {s} is valid for a while only. To go on using it, open this page and go on there:\n\n{l}\n\n"
        "Without that you can't use the account once its time is over; nothing of it is lost.\n"}};

static void fill(gr_buf *out, const char *text, const gr_env *env, gr_str link)
{
    for (const char *p = text; *p; p++) {
        bool is_server = strncmp(p, "{s}", 3) == 0, is_link = strncmp(p, "{l}", 3) == 0;
        if (is_server) gr_buf_str(out, env->server_name);
        else if (is_link) gr_buf_str(out, link);
        else if (*p == '\n') gr_buf_c(out, "\r\n");
        else gr_buf_char(out, *p);
        if (is_server || is_link) p += 2;
    }
}

gr_str gr_mail_write(gr_arena *a, const gr_env *env, gr_mail_text what, gr_str to, gr_str link, gr_str message_id)
{
    gr_buf out = {0};
    gr_buf_printf(&out, "From: %" GR_FMT "\r\nTo: <%" GR_FMT ">\r\n", GR_ARG(env->email.from), GR_ARG(to));
    gr_buf_printf(&out, "Message-ID: <%" GR_FMT "@%" GR_FMT ">\r\nSubject: ", GR_ARG(message_id), GR_ARG(env->server_name));
    fill(&out, texts[what].subject, env, link);
    gr_buf_c(&out, "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n\r\n");
    fill(&out, texts[what].text, env, link);
    gr_str message = gr_arena_str(a, gr_buf_view(&out));
    explicit_bzero(out.ptr, out.size);
    gr_buf_free(&out);
    return message;
}

void gr_mail_send(gr_ctx *ctx, gr_str to, gr_str message, const gr_resume *resume)
{
    gr_fetch mail = {.method = GR_STR("MAIL"), .uri = to, .content = message, .timeout_ms = GR_EMAIL_SEND_MS};
    gr_ctx_fetch(ctx, &mail, resume);
}

gr_str gr_mail_name(gr_arena *a, gr_str address)
{
    return gr_arena_cat(a, 2, (gr_str[]){GR_STR("name/3pid/email/"), address});
}
