/* What a connection asks of the transport below. It is a SocketTransport of ours, which is
   called by the table of its kind (net/transport_kind.h), or any other transport (another
   connection's, a user's), which is called by its methods: nobody but this file knows the
   difference. The transport is held over each call, since most may end in its loss; where
   there is none, nothing happens.

   The calls return 0, or -1 with an exception set; all of them may run Python. */
#ifndef LM_TLS_BELOW_H
#define LM_TLS_BELOW_H

#include "core/loop.h"

typedef struct {
    LmLoop *loop;              /* the connection's, which holds it */
    PyObject *transport;       /* NULL before connection_made and after the loss */
    uint8_t is_ours;           /* and called in C */
    uint8_t is_reading_paused; /* we have told it so */
    uint8_t is_writing_paused; /* it has told us so: it is full */
} LmTlsBelow;

/* `self` is the connection, of which the transport is a shared field (threads.h). */
void lm_tls_below_set(LmTlsBelow *below, PyObject *self, PyObject *transport);

/* The transport is lost: returns it, to be dropped by the caller; maybe NULL. */
PyObject *lm_tls_below_take(LmTlsBelow *below, PyObject *self);

/* Sends a bytes object, or memory of ours. */
int lm_tls_below_write(const LmTlsBelow *below, PyObject *bytes);
int lm_tls_below_write_raw(const LmTlsBelow *below, const char *data, size_t size);

int lm_tls_below_pause_reading(LmTlsBelow *below, int is_paused);

/* In order, now or in the next turn; and at once, dropping what is queued there. */
int lm_tls_below_close(const LmTlsBelow *below);
int lm_tls_below_close_soon(const LmTlsBelow *below);
int lm_tls_below_force_close(const LmTlsBelow *below, PyObject *exc);

/* What is_closing() of it returns, in any thread; False where there is none. New reference,
   NULL with an exception set. */
PyObject *lm_tls_below_is_closing(const LmTlsBelow *below, PyObject *self);

#endif
