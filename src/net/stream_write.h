/* Writing: try at once, queue the rest, send it when the socket is writable. */
#ifndef LM_NET_STREAM_WRITE_H
#define LM_NET_STREAM_WRITE_H

#include "net/transport.h"

/* transport.write and writelines. -1 with asyncio's TypeError or RuntimeError set, or
   with an exception that has to leave the loop; failures of the socket close the
   transport instead. */
int lm_stream_write(PyObject *self, PyObject *data);
int lm_stream_writelines(PyObject *self, PyObject *pieces);

/* transport.write_eof: shuts the sending half down once the buffer is sent. -1 with
   OSError set. */
int lm_stream_write_eof(PyObject *self);

/* on_ready of a transport's writer watch. */
void lm_stream_on_writable(LmWatch *watch);

void lm_stream_stop_writing(PyObject *self);

#endif
