/* Reading: from a readable socket to data_received, get_buffer/buffer_updated,
   eof_received. */
#ifndef LM_NET_STREAM_READ_H
#define LM_NET_STREAM_READ_H

#include "net/transport.h"

/* One read. -1 with an exception that has to leave, or that an asyncio transport would
   let out of _read_ready. */
int lm_stream_read(PyObject *self);

#endif
