/* http_tls.h - TLS on a non-blocking socket, for the socket loop. Internal to edge/http_*.c.
 *
 * The handshake happens inside the first reads.
 */
#pragma once
#include "edge/http.h"

enum { GR_HTTP_TLS_AGAIN = -1, GR_HTTP_TLS_AGAIN_WRITE = -2, GR_HTTP_TLS_FAILED = -3 };

void *gr_http_tls_open(gr_http_tls *, int fd); /* NULL when OpenSSL refuses; ends with gr_http_tls_close */
/* Bytes; 0 for the end (read only); or one of the values above. */
int gr_http_tls_read(void *ssl, char *dst, size_t room);
int gr_http_tls_write(void *ssl, const char *src, size_t size);
bool gr_http_tls_ready(void *ssl);                         /* the handshake is over */
void gr_http_tls_say_end(void *ssl);
void gr_http_tls_close(void *ssl);
