/* Sending to a stream socket, at once or from the queue. */
#ifndef LM_NET_STREAM_SEND_H
#define LM_NET_STREAM_SEND_H

#include "net/transport.h"

/* Bytes sent, or -1 with an exception set; 0 where the socket takes none now. By the
   socket's method it may end the transport. */
ssize_t lm_stream_send(LmTransport *t, const char *bytes, size_t length);

/* Shuts the sending half down. -1 with OSError set. */
int lm_stream_shut_down(LmTransport *t);

/* Sends what was queued without a watch, and watches for the rest. A failure of the socket
   closes the transport; -1 with an exception that has to leave the loop. */
int lm_stream_send_fresh(PyObject *self);

/* Sends what is queued, as far as the socket takes it; with nothing left, what waited for
   that happens. -1 with an exception that has to leave, or that an asyncio transport
   would let out of _write_ready. */
int lm_stream_flush(PyObject *self);

#endif
