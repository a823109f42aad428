/* mail.c - the form of the mails that this server writes. See email.h; RFC 5322, 2045 and 2047. */
#include "actors/email/email.h"

#include "proto/base64.h"
#include "proto/page_text.h"

/* LINE_MAX: characters of a line of encoded text; SUBJECT_STEP: bytes of a subject that one line holds. */
enum { LINE_MAX = 76, SUBJECT_STEP = 36 };

static const struct { gr_page_text subject, text; } texts[] = {
    [GR_MAIL_REGISTER] = {GR_PAGE_TEXT_mail_register_subject, GR_PAGE_TEXT_mail_register},
    [GR_MAIL_TAKEN] = {GR_PAGE_TEXT_mail_taken_subject, GR_PAGE_TEXT_mail_taken},
    [GR_MAIL_RESET] = {GR_PAGE_TEXT_mail_reset_subject, GR_PAGE_TEXT_mail_reset},
    [GR_MAIL_ADD] = {GR_PAGE_TEXT_mail_add_subject, GR_PAGE_TEXT_mail_add},
    [GR_MAIL_RENEW] = {GR_PAGE_TEXT_mail_renew_subject, GR_PAGE_TEXT_mail_renew}};

static gr_buf filled(gr_str text, const gr_env *env, gr_str link)
{
    gr_buf out = {0};
    while (text.size) {
        ptrdiff_t at = gr_str_find(text, '{');
        gr_buf_str(&out, at < 0 ? text : gr_str_head(text, (size_t)at));
        if (at < 0) break;
        gr_buf_str(&out, text.ptr[at + 1] == '1' ? env->server_name : link);
        text = gr_str_from(text, (size_t)at + 3);
    }
    return out;
}

/* RFC 2047: words of base64 where it is not plain ASCII; none splits a character. */
static void write_subject(gr_buf *out, gr_arena *a, gr_str subject)
{
    bool is_plain = true;
    for (size_t i = 0; i < subject.size; i++) is_plain = is_plain && (unsigned char)subject.ptr[i] < 0x80;
    if (is_plain) gr_buf_str(out, subject);
    for (const char *between = ""; !is_plain && subject.size; between = "\r\n ") {
        size_t size = subject.size < SUBJECT_STEP ? subject.size : SUBJECT_STEP;
        while (size < subject.size && ((unsigned char)subject.ptr[size] & 0xc0) == 0x80) size--;
        gr_str word = gr_base64(a, gr_str_head(subject, size));
        static const char *const padding[] = {"", "==", "="};
        gr_buf_printf(out, "%s=?utf-8?B?%" GR_FMT "%s?=", between, GR_ARG(word), padding[size % 3]);
        subject = gr_str_from(subject, size);
    }
}

/* RFC 2045, "Quoted-Printable": any mail server takes it. */
static void write_quoted(gr_buf *out, gr_str text)
{
    size_t column = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool ends_line = i + 1 == text.size || text.ptr[i + 1] == '\n';
        bool is_plain = (c > ' ' && c <= '~' && c != '=') || (c == ' ' && !ends_line);
        if (c == '\n') {
            gr_buf_c(out, "\r\n");
            column = 0;
            continue;
        }
        if (column + (is_plain ? 1 : 3) >= LINE_MAX) {
            gr_buf_c(out, "=\r\n");
            column = 0;
        }
        if (is_plain) gr_buf_char(out, (char)c);
        else gr_buf_printf(out, "=%02X", c);
        column += is_plain ? 1 : 3;
    }
}

gr_str gr_mail_write(gr_arena *a, const gr_env *env, const gr_mail *mail)
{
    gr_page_language language = gr_page_text_choose(mail->language);
    gr_buf out = {0}, subject = filled(gr_page_text_in(language, texts[mail->text].subject), env, mail->link);
    gr_buf text = filled(gr_page_text_in(language, texts[mail->text].text), env, mail->link);
    gr_buf_printf(&out, "From: %" GR_FMT "\r\nTo: <%" GR_FMT ">\r\n", GR_ARG(env->email.from), GR_ARG(mail->to));
    gr_buf_printf(&out, "Message-ID: <%" GR_FMT "@%" GR_FMT ">\r\nSubject: ", GR_ARG(mail->id), GR_ARG(env->server_name));
    write_subject(&out, a, gr_buf_view(&subject));
    gr_buf_printf(&out, "\r\nContent-Language: %s", gr_page_text_tag(language));
    gr_buf_c(&out, "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    write_quoted(&out, gr_buf_view(&text));
    gr_str message = gr_arena_str(a, gr_buf_view(&out));
    explicit_bzero(out.ptr, out.size);
    explicit_bzero(text.ptr, text.size);
    gr_buf_free(&out), gr_buf_free(&text), gr_buf_free(&subject);
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
