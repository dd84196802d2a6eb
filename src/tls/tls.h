/* LmTls: a TLS connection between a transport below, which carries records, and the
   application's protocol above. It is the protocol of the one (SSLProtocol, a
   BufferedProtocol) and gives the other a transport (SSLTransport, transport.h here).

   States, those of asyncio's, with the function that performs each step:

       UNWRAPPED --start_handshake--> DO_HANDSHAKE --on_handshake_complete--> WRAPPED
       WRAPPED --lm_tls_start_shutdown, lm_tls_on_eof--> FLUSHING --do_flush--> SHUTDOWN
       any --lm_tls_abort, lm_tls_on_connection_lost, failed handshake--> UNWRAPPED

   FLUSHING: what has come is delivered, what was written is encrypted. SHUTDOWN: our
   close_notify is on its way, the peer's is waited for; application data ends the
   connection at once.

   The application's protocol, seen apart:

       INIT --connection_made--> CON_MADE --eof_received--> EOF_SEEN
       CON_MADE, EOF_SEEN --connection_lost--> CON_LOST

   Bytes in: `in` holds records that were not decrypted, since reading is paused or the
   record is not whole. Bytes out: `backlog` holds what was written and not encrypted,
   `out` what was encrypted and could not go down, since the transport below is full.
   Encryption waits while that is so, unless the connection is being closed.

   The calls below return 0, or -1 with an exception set that has to leave the call from
   the transport or the application; what asyncio treats as fatal they have reported. All
   of them may run Python, which may close, abort or nest a run. */
#ifndef LM_TLS_TLS_H
#define LM_TLS_TLS_H

#include "net/outbuf.h"
#include "net/transport.h"
#include "tls/engine.h"
#include "tls/rawbuf.h"

enum { LM_UNWRAPPED, LM_DO_HANDSHAKE, LM_WRAPPED, LM_FLUSHING, LM_SHUTDOWN };
enum { LM_APP_INIT, LM_APP_CON_MADE, LM_APP_EOF_SEEN, LM_APP_CON_LOST };

/* asyncio's marks for what waits in a connection. */
#define LM_TLS_HIGH_WATER_READ (256 * 1024)
#define LM_TLS_HIGH_WATER_WRITE (512 * 1024)

typedef struct LmTls {
    PyObject_HEAD
    LmState *st;
    LmLoop *loop;
    LmTlsEngine *engine;     /* the loop's */
    PyObject *app_protocol;  /* NULL once the connection is lost */
    PyObject *app_transport; /* NULL once the connection is lost */
    PyObject *transport;     /* below; NULL before connection_made and after the loss */
    PyObject *sslcontext;
    PyObject *sslobj;
    PyObject *ssl_read; /* bound methods of sslobj, or of what it stands for */
    PyObject *ssl_write;
    void *ssl; /* of sslobj, where the native gear has it (gear.h); else NULL */
    PyObject *server_hostname; /* or NULL */
    PyObject *waiter;          /* future to resolve after the handshake, or NULL */
    PyObject *extra;           /* dict behind get_extra_info */
    PyObject *handshake_timeout;
    PyObject *shutdown_timeout;
    PyObject *handshake_timer; /* TimerHandle or NULL */
    PyObject *shutdown_timer;
    PyObject *get_buffer; /* of an application's BufferedProtocol, bound; else NULL */
    PyObject *buffer_updated;
    PyObject
        *own_buffer; /* bytearray for a transport below that is not ours, or NULL */
    PyObject *weakrefs;
    LmRawbuf in;
    LmRawbuf out;
    LmOutbuf backlog;
    size_t lent; /* bytes of `in` that stand in front of what is being received */
    LmMarks in_marks;
    LmMarks out_marks;
    double handshake_started; /* debug mode: loop.time() */
    unsigned dropped_writes;  /* and 1 for the loss */
    uint8_t state;
    uint8_t app_state;
    uint8_t is_server;
    uint8_t is_direct;   /* `transport` is a SocketTransport of ours */
    uint8_t is_genuine;  /* ssl_read and ssl_write are _ssl's own */
    uint8_t in_ssl;      /* within a call of sslobj */
    uint8_t is_unframed; /* what came does not look like records: OpenSSL shall judge */
    uint8_t may_pend;    /* OpenSSL may hold decrypted bytes */
    uint8_t eof_received;
    uint8_t app_reading_paused;
    uint8_t app_writing_paused;
    uint8_t ssl_reading_paused;
    uint8_t ssl_writing_paused;
} LmTls;

int lm_tls_init(PyObject *module, LmState *st);

/* What is left of the constructor's arguments when they have been checked. */
typedef struct {
    LmLoop *loop;
    PyObject *app_protocol;
    PyObject *sslcontext;
    PyObject *waiter;
    PyObject *server_hostname;
    PyObject *handshake_timeout;
    PyObject *shutdown_timeout;
    int is_server;
    int call_connection_made;
} LmTlsParts;

/* A connection without a transport below. New reference, NULL with an exception set. */
PyObject *lm_tls_new(PyTypeObject *type, const LmTlsParts *parts);
int lm_tls_set_app_protocol(LmTls *p, PyObject *protocol);

/* --- from below: protocol.c */

int lm_tls_on_connection_made(LmTls *p, PyObject *transport);
int lm_tls_on_connection_lost(LmTls *p, PyObject *exc);
/* 1 where the transport below shall stay open. */
int lm_tls_on_eof(LmTls *p);
/* Raw bytes have come. */
int lm_tls_on_bytes(LmTls *p, const char *raw, size_t size);

/* What LmTransport calls in place of get_buffer and buffer_updated. */
extern const LmNativeProtocol lm_tls_native;

/* --- life: protocol.c */

/* Goes on by the state, in the next turn. */
int lm_tls_resume_soon(LmTls *p);

int lm_tls_abort(LmTls *p, PyObject *exc);
int lm_tls_force_close(LmTls *p, PyObject *exc);

/* asyncio's _fatal_error, with an exception object. */
int lm_tls_fatal(LmTls *p, PyObject *exc, const char *message);

/* The end of what asyncio wraps in `except Exception`: fatal for an exception, unless it
   is none that this catches. */
int lm_tls_guard(LmTls *p, int failed, const char *message);

int lm_tls_wakeup_waiter(LmTls *p, PyObject *exc);
int lm_tls_cancel_timer(PyObject **timer);

/* loop.call_later(delay, p.<def>). New reference, or NULL with an exception set. */
PyObject *lm_tls_call_later(LmTls *p, PyObject *delay, PyMethodDef *def);
int lm_tls_call_soon(LmTls *p, PyObject *callback, PyObject *arg);

/* asyncio's log line "%r <text>", in debug mode only. */
int lm_tls_debug_log(LmTls *p, const char *text);

/* --- handshake.c */

int lm_tls_start_handshake(LmTls *p);
int lm_tls_do_handshake(LmTls *p);

/* The peer is gone before the end of the handshake. */
int lm_tls_handshake_cut(LmTls *p);

/* --- shutdown.c */

int lm_tls_start_shutdown(LmTls *p);
int lm_tls_do_flush(LmTls *p);
int lm_tls_do_shutdown(LmTls *p);
int lm_tls_call_eof_received(LmTls *p);

/* --- incoming.c */

/* Decrypts and delivers, if the application reads, and answers. */
int lm_tls_do_read(LmTls *p);

/* The same of bytes that have just come; they are copied only as far as they are kept. */
int lm_tls_read_fresh(LmTls *p, const char *raw, size_t size);

int lm_tls_pause_reading(LmTls *p);
int lm_tls_resume_reading(LmTls *p);
int lm_tls_control_ssl_reading(LmTls *p);

/* --- outgoing.c */

int lm_tls_write(LmTls *p, PyObject *owner, const char *data, size_t size);
int lm_tls_writelines(LmTls *p, PyObject *pieces);

/* Encrypts what was written: all of it, or until the transport below is full. */
enum { LM_UNTIL_FULL, LM_ALL };
int lm_tls_do_write(LmTls *p, int how_much);

/* Hands down what was encrypted, and tells the application's protocol. */
int lm_tls_process_outgoing(LmTls *p);
int lm_tls_control_app_writing(LmTls *p);

static inline size_t
lm_tls_unsent(const LmTls *p)
{
    return p->out.size + p->backlog.size;
}

/* --- operations: outgoing.c, see engine.h */

int lm_tls_begin(LmTls *p, LmTlsOuter *outer);

/* What OpenSSL was fed and has not read goes to the front of `in`. */
int lm_tls_put_back_unread(LmTls *p);

/* What OpenSSL wrote goes to `out`, or after a failure nowhere; the pair is empty. `failed`,
   or -1 with an exception set. */
int lm_tls_end(LmTls *p, LmTlsOuter *outer, int failed);

/* --- the application's transport: app_transport.c */

int lm_app_transport_init(PyObject *module, LmState *st);
PyObject *lm_app_transport_new(LmTls *p);

/* So that it does not complain of being dropped. */
void lm_app_transport_mark_closed(PyObject *self);

#endif
