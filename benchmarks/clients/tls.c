/* TLS of the load, by OpenSSL; without its headers a TLS case fails and says so. The
 * server's certificate is not looked at: what is measured is the server. */
#include "load.h"

#include <errno.h>

#if __has_include(<openssl/ssl.h>)
#include <openssl/ssl.h>

void *
tls_open(int fd)
{
    static SSL_CTX *context;
    if (context == NULL && (context = SSL_CTX_new(TLS_client_method())) == NULL) {
        give_up("no TLS context");
    }
    SSL *tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, fd) != 1 || SSL_connect(tls) != 1) {
        give_up("the TLS handshake failed");
    }
    SSL_set_mode(tls,
                 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
}

void
tls_close(void *tls)
{
    SSL_free(tls);
}

static ssize_t
outcome(SSL *tls, int moved)
{
    if (moved > 0) {
        return moved;
    }
    int reason = SSL_get_error(tls, moved);
    if (reason == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
    errno = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? EAGAIN
                                                                            : EPROTO;
    return -1;
}

ssize_t
tls_send(void *tls, const char *data, size_t size)
{
    return outcome(tls, SSL_write(tls, data, (int)size));
}

ssize_t
tls_recv(void *tls, char *data, size_t size)
{
    return outcome(tls, SSL_read(tls, data, (int)size));
}
#else
void *
tls_open(int fd)
{
    (void)fd;
    give_up("built without OpenSSL's headers");
}

void
tls_close(void *tls)
{
    (void)tls;
}

ssize_t
tls_send(void *tls, const char *data, size_t size)
{
    (void)tls, (void)data, (void)size;
    return 0;
}

ssize_t
tls_recv(void *tls, char *data, size_t size)
{
    (void)tls, (void)data, (void)size;
    return 0;
}
#endif
