/* fetcher_mail.c - mails: handed to the mail server of the configuration (SMTP), a few at a time. See fetcher_inside.h. */
#include "edge/fetcher_inside.h"
#include "edge/log.h"

#include <stdlib.h>
#include <time.h>

enum { MAILS_AT_ONCE = 4 };

struct fetcher_mail {
    fetcher_mail *next;
    CURL *easy;
    struct curl_slist *to;
    fetcher_request *request;
    gr_str text;                       /* with its date; heap */
    size_t at;
};

/* --- one mail ---------------------------------------------------------------------------------------------- */
static size_t give_text(char *out, size_t one, size_t count, void *arg)
{
    fetcher_mail *m = arg;
    gr_str piece = gr_str_head(gr_str_from(m->text, m->at), one * count);
    if (piece.size) memcpy(out, piece.ptr, piece.size);
    m->at += piece.size;
    return piece.size;
}

static gr_str with_date(uint64_t wall_ms, gr_str message)
{
    char date[64] = "";
    struct tm t;
    time_t now = (time_t)(wall_ms / 1000);
    gr_buf out = {0};
    if (gmtime_r(&now, &t)) strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &t);
    gr_buf_printf(&out, "Date: %s\r\n", date);
    gr_buf_str(&out, message);
    return gr_buf_view(&out);
}

static void set_server(CURL *e, const gr_fetcher_smtp *smtp)
{
    curl_easy_setopt(e, CURLOPT_URL, smtp->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(e, CURLOPT_USE_SSL, smtp->is_plain ? (long)CURLUSESSL_NONE : (long)CURLUSESSL_ALL);
    if (smtp->user[0]) {
        curl_easy_setopt(e, CURLOPT_USERNAME, smtp->user);
        curl_easy_setopt(e, CURLOPT_PASSWORD, smtp->password);
    }
    if (smtp->trusted_ca[0]) {
        curl_easy_setopt(e, CURLOPT_CAINFO, smtp->trusted_ca);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
}

static void start(gr_fetcher *f, fetcher_request *r)
{
    fetcher_mail *m = gr_alloc(sizeof *m);
    *m = (fetcher_mail){.next = f->mails, .easy = curl_easy_init(), .request = r,
                        .text = with_date(f->wall_ms, r->fetch->content)};
    gr_assert(m->easy);
    m->to = curl_slist_append(NULL, gr_arena_printf(r->arena, "<%" GR_FMT ">", GR_ARG(r->fetch->uri)).ptr);
    set_server(m->easy, &f->o.smtp);
    curl_easy_setopt(m->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(m->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(m->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)GR_FETCHER_CONNECT_MS);
    curl_easy_setopt(m->easy, CURLOPT_TIMEOUT_MS, (long)(r->until_ms > f->now_ms ? r->until_ms - f->now_ms : 1));
    curl_easy_setopt(m->easy, CURLOPT_MAIL_FROM, f->o.smtp.from);
    curl_easy_setopt(m->easy, CURLOPT_MAIL_RCPT, m->to);
    curl_easy_setopt(m->easy, CURLOPT_READFUNCTION, give_text);
    curl_easy_setopt(m->easy, CURLOPT_READDATA, m);
    curl_easy_setopt(m->easy, CURLOPT_UPLOAD, 1L);
    f->mails = m;
    f->mail_count++;
    curl_multi_add_handle(f->multi, m->easy);
}

static void mail_free(gr_fetcher *f, fetcher_mail *m)
{
    fetcher_mail **at = &f->mails;
    while (*at != m) at = &(*at)->next;
    *at = m->next;
    f->mail_count--;
    curl_multi_remove_handle(f->multi, m->easy);
    curl_easy_cleanup(m->easy);
    curl_slist_free_all(m->to);
    explicit_bzero((char *)m->text.ptr, m->text.size);
    free((char *)m->text.ptr);
    free(m);
}

/* --- taking and ending ------------------------------------------------------------------------------------- */
static void next(gr_fetcher *f)
{
    while (f->mail_waiting && f->mail_count < MAILS_AT_ONCE) {
        fetcher_request *r = f->mail_waiting;
        f->mail_waiting = r->next;
        start(f, r);
    }
}

void gr_fetcher_mail(gr_fetcher *f, fetcher_request *r)
{
    if (!f->o.smtp.url[0]) {
        gr_fetcher_fail(f, r, GR_FETCH_DENIED, "No mail server is configured");
        return;
    }
    fetcher_request **last = &f->mail_waiting;
    while (*last) last = &(*last)->next;
    r->next = NULL;
    *last = r;
    next(f);
}

bool gr_fetcher_mailed(gr_fetcher *f, CURL *easy, CURLcode code)
{
    fetcher_mail *m = f->mails;
    while (m && m->easy != easy) m = m->next;
    if (!m) return false;
    fetcher_request *r = m->request;
    mail_free(f, m);
    if (code == CURLE_OK) {
        gr_fetcher_end(f, r, &(gr_fetched){.failure = GR_FETCH_ANSWERED, .status = 250});
    } else {
        gr_log(GR_LOG_WARNING, "mail", "a mail could not be handed to %s: %s", f->o.smtp.url, curl_easy_strerror(code));
        gr_fetcher_fail(f, r, code == CURLE_OPERATION_TIMEDOUT ? GR_FETCH_TIMEOUT : GR_FETCH_UNREACHABLE,
                        curl_easy_strerror(code));
    }
    next(f);
    return true;
}

void gr_fetcher_mails_stop(gr_fetcher *f)
{
    while (f->mails) {
        fetcher_request *r = f->mails->request;
        mail_free(f, f->mails);
        gr_fetcher_fail(f, r, GR_FETCH_BUSY, "This server stops");
    }
    while (f->mail_waiting) {
        fetcher_request *r = f->mail_waiting;
        f->mail_waiting = r->next;
        gr_fetcher_fail(f, r, GR_FETCH_BUSY, "This server stops");
    }
}
