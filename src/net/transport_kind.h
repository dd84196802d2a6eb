/* What differs between the kinds of transports, as a table each of them fills: what is the
   same for all is in transport.h. */
#ifndef LM_NET_TRANSPORT_KIND_H
#define LM_NET_TRANSPORT_KIND_H

#include "base/lm.h"

struct LmTransportParts;

/* What differs between the types of transports. NULL where there is nothing to it. */
typedef struct {
    /* One wake-up: reads, and sends what is queued. They run Python; -1 with an exception
       that is reported as that of the method beside it. */
    int (*read)(PyObject *self);
    int (*flush)(PyObject *self);
    PyMethodDef *read_method;
    PyMethodDef *flush_method;
    /* Of streams, what a protocol in C writes by: bytes-like objects, and memory of its own. */
    int (*write)(PyObject *self, PyObject *data);
    int (*write_raw)(PyObject *self, const char *data, size_t size);
    /* Sends what is joined (join.h); of streams and datagrams. */
    int (*settle)(PyObject *self);
    /* Reads what was received already: lm_transport_read_left_soon. As read. */
    int (*read_left)(PyObject *self);
    /* Somebody else may use the socket from now on. -1 with an exception set. */
    int (*expose)(PyObject *self);
    /* Whether the number is still its owner's, where `own_fd` alone does not say, and whether
       to read at all. They run Python, which may end the transport. 1 or 0; -1 with an
       exception set. */
    int (*has_fd)(PyObject *self);
    int (*may_read)(PyObject *self);
    /* Whether an error that ends it is a part of its life, and no fault to report: each
       OSError, where this is NULL. */
    int (*expects)(PyObject *exc);
    /* Of a new one: before anything is scheduled. */
    int (*prepare)(PyObject *self, const struct LmTransportParts *parts);
    /* What stands behind the struct, visited and dropped. */
    int (*traverse)(PyObject *self, visitproc visit, void *arg);
    void (*release)(PyObject *self);
    uint8_t is_stream;
    /* The descriptor is the file object's alone, whether that is here or was taken away. */
    uint8_t is_files;
    /* CLOSING it reads on until the queue is sent, for the end says that nobody reads. */
    uint8_t reads_while_closing;
} LmTransportKind;

/* A protocol in C that is reached without Python calls: st->native_protocol, for instances
   of exactly st->SSLProtocolType. Everything else of such a protocol is an ordinary
   BufferedProtocol. */
typedef struct LmNativeProtocol {
    /* Where received bytes are to be put, and how many fit. NULL with an exception set. */
    char *(*get_buffer)(PyObject *protocol, size_t *room);
    /* That many were put there. -1 with an exception set. May run Python. */
    int (*received)(PyObject *protocol, size_t count);
} LmNativeProtocol;

#endif
