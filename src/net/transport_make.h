/* Making transports of any kind. */
#ifndef LM_NET_TRANSPORT_MAKE_H
#define LM_NET_TRANSPORT_MAKE_H

#include "net/transport.h"

/* What a new transport is made of. */
typedef struct LmTransportParts {
    int fd;         /* non-blocking, of a stream connected; the transport closes it */
    PyObject *sock; /* Python object that owns fd, or NULL */
    PyObject *protocol;
    PyObject *waiter;   /* future to resolve after connection_made, or NULL */
    PyObject *extra;    /* mapping for get_extra_info, or NULL */
    PyObject *server;   /* or NULL */
    PyObject *context;  /* what all protocol calls run in, or NULL: by registration */
    PyObject *address;  /* of datagrams: the one peer to send to, or NULL */
    const LmAddr *peer; /* or NULL: asked of the kernel */
} LmTransportParts;

/* An OPEN transport of that type and kind: connection_made, the start of reading and the
   waiter's result are scheduled. New reference, or NULL with an exception set; then the
   descriptor is still the caller's. Runs Python. */
PyObject *lm_transport_new(LmLoop *loop, PyObject *type, const LmTransportKind *kind,
                           const LmTransportParts *parts);

/* In between, after what runs Python and has the transport: a run nested there may have
   ended it. -1 with RuntimeError set. */
int lm_transport_check_lives(const LmTransport *t);

#endif
