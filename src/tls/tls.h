/* LmTls: a TLS connection between a transport below, which carries records, and the
   application's protocol above. It is the protocol of the one (SSLProtocol, a
   BufferedProtocol) and gives the other a transport (SSLTransport, app_transport.c).

   States, those of asyncio's, with the function that performs each step:

       UNWRAPPED --lm_tls_start_handshake--> DO_HANDSHAKE --lm_tls_do_handshake--> WRAPPED
       WRAPPED --lm_tls_start_shutdown, lm_tls_on_eof--> FLUSHING --flush_tls--> SHUTDOWN
       any --lm_tls_abort, lm_tls_on_connection_lost, failed handshake--> UNWRAPPED

   What holds in each, and what becomes of what comes and of what is written:

   UNWRAPPED:    before connection_made nothing is below; what comes is kept, for the
                 handshake. After the end (`dropped_writes` > 0 behind the loss) it is
                 dropped, and so is what is written, ever after.
   DO_HANDSHAKE: the handshake's timer runs. What comes goes to OpenSSL as it is; what is
                 written waits in the backlog.
   WRAPPED:      connection_made is called first. Records are decrypted and delivered unless
                 the application pauses; what is written is encrypted unless what is below
                 is full.
   FLUSHING:     the end has begun, by us or by the peer. As WRAPPED, but writes are
                 dropped. It lasts while the application pauses reading.
   SHUTDOWN:     the backlog is empty; our close_notify is on its way and the peer's
                 waited for. Application data ends the connection at once.

   The application's protocol, seen apart:

       INIT --lm_tls_app_made--> CON_MADE --lm_tls_app_eof--> EOF_SEEN
       CON_MADE, EOF_SEEN --lm_tls_app_lost--> CON_LOST

   This header has the connection and what all its phases rest on; the phases, and phase.c
   which alone calls them, are in phase.h. The calls below return 0, or -1 with an
   exception set that has to leave the call from the transport or the application; what
   asyncio treats as fatal they have reported. All of them may run Python, which may close,
   abort or nest a run. */
#ifndef LM_TLS_TLS_H
#define LM_TLS_TLS_H

#include "net/outbuf.h"
#include "net/transport.h"
#include "tls/below.h"
#include "tls/later.h"
#include "tls/rawbuf.h"
#include "tls/session.h"

enum { LM_UNWRAPPED, LM_DO_HANDSHAKE, LM_WRAPPED, LM_FLUSHING, LM_SHUTDOWN };
enum { LM_APP_INIT, LM_APP_CON_MADE, LM_APP_EOF_SEEN, LM_APP_CON_LOST };

/* asyncio's marks for what waits in a connection. */
#define LM_TLS_HIGH_WATER_READ (256 * 1024)
#define LM_TLS_HIGH_WATER_WRITE (512 * 1024)

/* The application's side. */
typedef struct {
    PyObject *protocol;       /* this and the next: NULL once the connection is lost */
    PyObject *transport;      /* its SSLTransport, which holds the connection in turn */
    PyObject *get_buffer;     /* of a BufferedProtocol, bound; else NULL */
    PyObject *buffer_updated; /* the same */
    uint8_t state;
    uint8_t is_closed;         /* its transport; kept behind the loss */
    uint8_t is_reading_paused; /* it has told us so */
    uint8_t is_writing_paused; /* we have told it so */
} LmTlsApp;

/* From the transport below: what was not decrypted, since the application pauses reading
   or the record is not whole. */
typedef struct {
    LmRawbuf raw;
    LmMarks marks;
    size_t lent; /* bytes of `raw` that stand in front of what is being received */
    PyObject *own_buffer; /* a bytearray for foreign transports; NULL until asked for */
    uint8_t is_unframed;  /* it does not look like records: OpenSSL shall judge */
    uint8_t may_pend;     /* OpenSSL may hold decrypted bytes */
    uint8_t is_at_end;    /* eof_received() was called */
} LmTlsInput;

/* To the transport below: the backlog was written and not encrypted, the records could not
   go down, since that is full. Encryption waits while it is, unless the connection is being
   closed. */
typedef struct {
    LmRawbuf records;
    LmOutbuf backlog;
    LmMarks marks;
} LmTlsOutput;

typedef struct LmTls {
    PyObject_HEAD
    LmState *st;  /* held */
    LmLoop *loop; /* owned; never NULL */
    PyObject *weakrefs;
    PyObject *extra;         /* dict behind get_extra_info; never NULL */
    PyObject *waiter;        /* future to resolve after the handshake, or NULL */
    LmTlsTimer handshake;    /* its timeout */
    LmTlsTimer shutdown;     /* the same */
    double handshake_began;  /* debug mode: loop.time() */
    unsigned dropped_writes; /* and 1 for the loss */
    uint8_t state;
    LmTlsSession session; /* kept behind the loss: an operation may be at it */
    LmTlsBelow below;
    LmTlsApp app;
    LmTlsInput in;
    LmTlsOutput out;
} LmTls;

int lm_tls_init(PyObject *module, LmState *st);

/* Whose a connection is, for core/owner.h. */
static inline LmLoop *
lm_tls_owner(PyObject *self)
{
    return ((LmTls *)self)->loop;
}

static inline size_t
lm_tls_unsent(const LmTls *p)
{
    return LM_LOAD(p->out.records.size) + LM_LOAD(p->out.backlog.size);
}

/* --- the end out of order: fatal.c */

int lm_tls_abort(LmTls *p, PyObject *exc);

/* asyncio's _fatal_error, with an exception object. */
int lm_tls_fatal(LmTls *p, PyObject *exc, const char *message);

/* The end of what asyncio wraps in `except Exception`: fatal for an exception, unless it
   is none that this catches. */
int lm_tls_guard(LmTls *p, int failed);

/* asyncio's log line "%r <text>", in debug mode only. */
int lm_tls_debug_log(LmTls *p, const char *text);

/* --- what the application's protocol is told: app.c */

int lm_tls_app_set_protocol(LmTls *p, PyObject *protocol);
int lm_tls_app_made(LmTls *p);
int lm_tls_app_eof(LmTls *p);

/* connection_lost(exc), in the next turn. */
int lm_tls_app_lost(LmTls *p, PyObject *exc);

/* Bytes for a plain protocol. */
int lm_tls_app_data(LmTls *p, PyObject *data);

/* Asks a BufferedProtocol for its buffer, to be released by the caller. */
int lm_tls_app_lend_buffer(LmTls *p, Py_buffer *view);

/* pause_writing or resume_writing, by what is unsent. */
int lm_tls_app_control_writing(LmTls *p);

/* --- operations (engine.h): operation.c */

int lm_tls_begin(LmTls *p, LmTlsOuter *outer);

/* The pair is empty behind it. What OpenSSL wrote goes to `out.records`, or after a failure
   nowhere. `failed`, or -1 with an exception set. */
int lm_tls_end(LmTls *p, LmTlsOuter *outer, int failed);

/* The same, with a new reference to the bytes; NULL with an exception set. */
PyObject *lm_tls_end_with_records(LmTls *p, LmTlsOuter *outer, int failed);

/* All that has come goes to OpenSSL; what that has not read goes back to the front. */
int lm_tls_feed_all(LmTls *p);
int lm_tls_put_back_unread(LmTls *p);

/* --- the application's transport: app_transport.c */

int lm_app_transport_init(PyObject *module, LmState *st);
PyObject *lm_app_transport_new(LmTls *p);

#endif
