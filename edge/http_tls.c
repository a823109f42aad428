/* http_tls.c - TLS by OpenSSL. See http_tls.h and http.h. */
#include "edge/http_tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Threads take new connections from the present context while another replaces it: a replaced context is kept
 * until the end, which costs some kilobytes per renewal of the certificate and no lock. */
typedef struct retired { struct retired *next; SSL_CTX *context; } retired;

struct gr_http_tls {
    _Atomic(SSL_CTX *) context;
    retired *old;
    char *cert_file, *key_file;
};

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *size,
                           const unsigned char *offered, unsigned offered_size, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";
    (void)ssl, (void)arg;
    int found = SSL_select_next_proto((unsigned char **)out, size, ours, sizeof ours - 1, offered,
                                      offered_size);
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static gr_err tls_error(gr_arena *arena, const char *what, const char *file)
{
    char reason[160];
    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
    ERR_clear_error();
    return gr_failf(arena, GR_UNKNOWN, "Cannot use the %s file %s: %s", what, file, reason);
}

static gr_err load(gr_arena *arena, const char *cert_file, const char *key_file, SSL_CTX **out)
{
    gr_err err = gr_ok();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    *out = NULL;
    gr_assert(context);
    ERR_clear_error();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);   /* tickets: nothing is kept here */
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
        err = tls_error(arena, "certificate", cert_file);
    else if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1)
        err = tls_error(arena, "key", key_file);
    else if (SSL_CTX_check_private_key(context) != 1) err = tls_error(arena, "key", key_file);
    if (gr_failed(err)) SSL_CTX_free(context);
    else *out = context;
    return err;
}

gr_err gr_http_tls_new(gr_arena *arena, const char *cert_file, const char *key_file, gr_http_tls **out)
{
    SSL_CTX *context;
    *out = NULL;
    gr_err err = load(arena, cert_file, key_file, &context);
    if (gr_failed(err)) return err;
    signal(SIGPIPE, SIG_IGN);                      /* OpenSSL writes with write(2), which raises it */
    gr_http_tls *t = gr_alloc(sizeof *t);
    atomic_init(&t->context, context);
    t->cert_file = gr_str_dup(gr_str_c(cert_file));
    t->key_file = gr_str_dup(gr_str_c(key_file));
    *out = t;
    return gr_ok();
}

gr_err gr_http_tls_reload(gr_http_tls *t, gr_arena *arena)
{
    SSL_CTX *context;
    gr_err err = load(arena, t->cert_file, t->key_file, &context);
    if (gr_failed(err)) return err;
    retired *r = gr_alloc(sizeof *r);
    r->context = atomic_exchange(&t->context, context);
    r->next = t->old;
    t->old = r;
    return gr_ok();
}

void gr_http_tls_free(gr_http_tls **tls)
{
    gr_http_tls *t = *tls;
    if (!t) return;
    SSL_CTX_free(atomic_load(&t->context));
    while (t->old) {
        retired *r = t->old;
        t->old = r->next;
        SSL_CTX_free(r->context);
        free(r);
    }
    free(t->cert_file);
    free(t->key_file);
    free(t);
    *tls = NULL;
}

void *gr_http_tls_open(gr_http_tls *t, int fd)
{
    SSL *ssl = SSL_new(atomic_load(&t->context));
    if (!ssl) return NULL;
    if (SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

static int result(SSL *ssl, int got)
{
    if (got > 0) return got;
    switch (SSL_get_error(ssl, got)) {
    case SSL_ERROR_WANT_READ: return GR_HTTP_TLS_AGAIN;
    case SSL_ERROR_WANT_WRITE: return GR_HTTP_TLS_AGAIN_WRITE;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: return GR_HTTP_TLS_FAILED;
    }
}

int gr_http_tls_read(void *ssl, char *dst, size_t room)
{
    ERR_clear_error();
    return result(ssl, SSL_read(ssl, dst, room > INT_MAX ? INT_MAX : (int)room));
}

int gr_http_tls_write(void *ssl, const char *src, size_t size)
{
    ERR_clear_error();
    return result(ssl, SSL_write(ssl, src, size > INT_MAX ? INT_MAX : (int)size));
}

bool gr_http_tls_ready(void *ssl) { return SSL_is_init_finished(ssl); }

void gr_http_tls_say_end(void *ssl)
{
    ERR_clear_error();
    if (SSL_is_init_finished(ssl)) SSL_shutdown(ssl);
}

void gr_http_tls_close(void *ssl)
{
    SSL_free(ssl);
    ERR_clear_error();
}
