/* Writing: try at once, queue the rest, send it when the socket is writable. */
#ifndef LM_NET_STREAM_WRITE_H
#define LM_NET_STREAM_WRITE_H

#include "net/transport.h"

/* transport.write and writelines. -1 with asyncio's TypeError or RuntimeError set, or
   with an exception that has to leave the loop; failures of the socket close the
   transport instead. */
int lm_stream_write(PyObject *self, PyObject *data);
int lm_stream_writelines(PyObject *self, PyObject *pieces);

/* The same for memory of the caller's, which is copied as far as it is queued. */
int lm_stream_write_raw(PyObject *self, const char *data, size_t size);

/* transport.write_eof: shuts the sending half down once the buffer is sent. -1 with
   OSError set. */
int lm_stream_write_eof(PyObject *self);

/* Sends what was queued without a watch, and watches for the rest. A failure of the socket
   closes the transport; -1 with an exception that has to leave the loop. */
int lm_stream_send_fresh(PyObject *self);

/* Sends what is queued, as far as the socket takes it; with nothing left, what waited for
   that happens. -1 with an exception that has to leave, or that an asyncio transport
   would let out of _write_ready. */
int lm_stream_flush(PyObject *self);

#endif
