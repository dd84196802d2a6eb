/* The SSLObject of one connection: how it is made, and the reading and writing of one
   record with it, by the native gear where that has it (gear.h), else by its methods.
   Relies on engine.h.

   Reading and writing belong within an operation (tls.h), and run what OpenSSL calls
   back, and the Python of an SSLObject that is not the ssl module's. */
#ifndef LM_TLS_SESSION_H
#define LM_TLS_SESSION_H

#include "tls/engine.h"

typedef struct {
    LmTlsEngine *engine; /* the loop's, which outlives the connection */
    PyObject *context;
    PyObject *server_hostname; /* or NULL */
    PyObject *object;          /* what context.wrap_bio() gave */
    PyObject *read;            /* bound methods of it, or of what it stands for */
    PyObject *write;
    void *native; /* its SSL, where the native gear has it; else NULL */
#if LM_FREE_THREADED
    PyObject *guard; /* of the SSL: what `read` is bound to, borrowed of it */
#endif
    uint8_t is_server;
    uint8_t is_genuine; /* `read` and `write` are _ssl's own: may be lent memory */
    uint8_t is_busy;    /* within an operation */
} LmTlsSession;

/* Makes the SSLObject of context, engine and name. -1 with an exception set. */
int lm_tls_session_wrap(LmTlsSession *s, LmState *st);

/* What a read gave, if not a number of bytes, of which 0 is the end of the stream. */
enum { LM_READ_FAILED = -1, LM_READ_NOTHING = -2 };

/* One read into memory. */
Py_ssize_t lm_tls_session_read(LmTlsSession *s, char *into, size_t room);

/* One read into a bytes object of its own, which *data becomes; NULL where there is
   nothing. -1 with an exception set. */
int lm_tls_session_read_bytes(LmTlsSession *s, size_t size, PyObject **data);

/* Encrypts at most one record's worth. The bytes taken, 0 where OpenSSL takes none now,
   -1 with an exception set. */
Py_ssize_t lm_tls_session_write(LmTlsSession *s, const char *data, size_t size);

#endif
