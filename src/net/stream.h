/* SocketTransport: bytes between a connected stream socket and a protocol. Reading is in
   stream_read.h, writing in stream_write.h. */
#ifndef LM_NET_STREAM_H
#define LM_NET_STREAM_H

#include "net/transport_make.h"

int lm_stream_init(PyObject *module, LmState *st);

/* An OPEN transport over a stream socket; as lm_transport_new. */
PyObject *lm_stream_new(LmLoop *loop, const LmTransportParts *parts);

#endif
