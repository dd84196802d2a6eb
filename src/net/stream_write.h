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

#endif
