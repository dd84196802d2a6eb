/* The phases of a connection, and the one file that decides which is next.

   phase.c is the centre: it alone calls the phases, by the state, after whatever happens.
   The phases do not call it, nor each other, but that most end in a send (outgoing.c); they
   return what is next. Returns are as in tls.h where nothing else is said. */
#ifndef LM_TLS_PHASE_H
#define LM_TLS_PHASE_H

#include "tls/tls.h"

/* What a phase says is next, -1 with an exception set. */
enum {
    LM_NEXT_NOTHING, /* the connection has ended meanwhile */
    LM_NEXT_PEER,    /* the peer's turn, when what OpenSSL wrote has gone down */
    LM_NEXT_PHASE    /* this one is over */
};

/* --- handshake.c */

/* DO_HANDSHAKE, with its timer. */
int lm_tls_begin_handshake(LmTls *p);

/* One of LM_NEXT_*; when it is over, the application has its connection. */
int lm_tls_do_handshake(LmTls *p);

/* The peer is gone before the end of the handshake. */
int lm_tls_handshake_cut(LmTls *p);

/* --- incoming.c */

/* What one operation decrypted. */
typedef struct {
    PyObject *data; /* new reference to bytes, or NULL */
    size_t filled;  /* bytes in memory of the caller's */
    int is_end;     /* the peer's close_notify: what came behind it is dropped */
} LmTlsPlain;

/* Decrypts the whole records at the front of what has come. `raw` is p->in.raw's own, or
   fresh: then what is not whole is put by, before anything else runs. */
int lm_tls_decrypt(LmTls *p, const char *raw, size_t size, int is_fresh,
                   LmTlsPlain *plain);

/* The same into memory; what has no room there stays encrypted. */
int lm_tls_decrypt_into(LmTls *p, char *into, size_t room, LmTlsPlain *plain);

/* Whether there is anything to decrypt. */
int lm_tls_has_input(const LmTls *p);

/* The transport below reads between the marks of what waits. */
int lm_tls_control_input(LmTls *p);

/* --- outgoing.c */

int lm_tls_write(LmTls *p, PyObject *owner, const char *data, size_t size);
int lm_tls_writelines(LmTls *p, PyObject *pieces);

/* Encrypts what was written: all of it, or until the transport below is full. */
enum { LM_UNTIL_FULL, LM_ALL };
int lm_tls_do_write(LmTls *p, int how_much);

/* Hands down what was encrypted, and tells the application's protocol. */
int lm_tls_process_outgoing(LmTls *p);

/* --- shutdown.c */

/* The timeout counts from now on. */
int lm_tls_start_shutdown_timer(LmTls *p);

/* Our close_notify and the peer's. One of LM_NEXT_*. */
int lm_tls_do_shutdown(LmTls *p);

/* Both are exchanged: the transport below closes. */
int lm_tls_finish_shutdown(LmTls *p);

/* --- the centre: phase.c */

/* There is a transport below: the handshake begins. */
int lm_tls_start_handshake(LmTls *p, PyObject *transport);

/* Raw bytes have come. */
int lm_tls_on_bytes(LmTls *p, const char *raw, size_t size);

/* No more will come. 1 where the transport below shall stay open. */
int lm_tls_on_eof(LmTls *p);

/* The transport below takes bytes again. */
int lm_tls_on_writable(LmTls *p);

/* The application closes. */
int lm_tls_start_shutdown(LmTls *p);

/* Goes on by the state, in the next turn. */
int lm_tls_resume_soon(LmTls *p);

/* --- whatever the phase: protocol.c */

/* connection_lost: nothing is below any more, and the application is told so. */
int lm_tls_on_connection_lost(LmTls *p, PyObject *exc);

/* What LmTransport calls in place of get_buffer and buffer_updated. */
extern const LmNativeProtocol lm_tls_native;

#endif
